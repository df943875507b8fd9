// All events of one session: those recorded so far page by page, then the rest as it happens. It draws nothing.

import { getSession, listEvents } from "./api.js";
import { Live } from "./live.js";

/**
 * Follows a session until it has ended, or until it is closed.
 *
 * `on.session(detail)` once, `on.events(events)` in order and without gaps, `on.problem(error)`.
 */
export class Follow {
  #aborter = new AbortController();
  #live = null;
  #lastN = -1;
  #lastSeq = 0;
  #on;

  constructor(id, on) {
    this.#on = on;
    this.#run(id);
  }

  close() {
    this.#aborter.abort();
    this.#live?.close();
  }

  async #run(id) {
    const { signal } = this.#aborter;
    try {
      const session = await getSession(id, signal);
      this.#on.session(session);
      const hasEnded = await this.#read(session.session);
      if (!hasEnded && !signal.aborted) this.#listen(session);
    } catch (error) {
      if (error.name !== "AbortError") this.#on.problem(error);
    }
  }

  /** Reads pages up to the newest one; tells whether the session has ended there. */
  async #read(id) {
    const { signal } = this.#aborter;
    let hasEnded = false;
    for (let afterN = this.#lastN; afterN !== null; ) {
      const { events, next } = await listEvents(id, { afterN, signal });
      hasEnded = this.#take(events) || hasEnded;
      afterN = next;
    }
    return hasEnded;
  }

  #listen({ session, first_seq: firstSeq }) {
    this.#live = new Live({
      after: Math.max(this.#lastSeq, firstSeq - 1),
      filter: `session:${session}`,
      on: {
        state: () => {},
        hello: () => {},
        removed: () => {},
        events: (events) => {
          if (this.#take(events.filter((event) => event.session === session))) this.#live.close();
        },
      },
    });
  }

  /** Passes on what is new; tells whether the session's end is among it. */
  #take(events) {
    const fresh = events.filter(({ n }) => n > this.#lastN);
    if (!fresh.length) return false;
    this.#lastN = fresh.at(-1).n;
    this.#lastSeq = fresh.at(-1).seq;
    this.#on.events(fresh);
    return fresh.some(({ kind }) => kind === "end");
  }
}
