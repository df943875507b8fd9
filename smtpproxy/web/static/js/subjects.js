// The subjects of the sessions in view. Summaries have none, so they are asked for when somebody looks.

import { listMessages } from "./api.js";

const AT_ONCE = 3;

/** Knows subjects by session; says when it has learnt one. */
export class Subjects {
  #known = new Map(); // session → {messages, text}
  #wanted = new Map(); // session → messages
  #running = 0;
  #told;

  /** @param {() => void} told called when there is something new to show */
  constructor(told) {
    this.#told = told;
  }

  /** The subject of a session's first message, or null while it is not known. */
  of(session) {
    return this.#known.get(session.session)?.text ?? null;
  }

  /** These are in view; all others can wait. */
  want(sessions) {
    this.#wanted.clear();
    for (const { session, messages } of sessions) {
      if (messages && this.#known.get(session)?.messages !== messages) this.#wanted.set(session, messages);
    }
    while (this.#running < AT_ONCE && this.#wanted.size) this.#next();
  }

  async #next() {
    const [id, messages] = this.#wanted.entries().next().value;
    this.#wanted.delete(id);
    this.#running += 1;
    const before = this.#known.get(id);
    this.#known.set(id, { messages, text: before?.text ?? null });
    try {
      const found = await listMessages(id);
      const more = found.length > 1 ? ` (+${found.length - 1})` : "";
      if (found.length) this.#known.set(id, { messages, text: (found[0].subject || "(no subject)") + more });
      this.#told();
    } catch {
      this.#known.delete(id); // asked for again when the list is next drawn
    } finally {
      this.#running -= 1;
      if (this.#wanted.size) this.#next();
    }
  }
}
