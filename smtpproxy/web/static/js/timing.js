// Where a session's time went: steps from what was said to what was answered, and who was waited for. No drawing.

/**
 * @typedef {Object} Step
 * @property {string} label
 * @property {"greeting"|"command"|"content"|"tls"} kind
 * @property {number} from seconds since the session began
 * @property {number|null} to null while it goes on
 * @property {number|null} code of the reply
 * @property {number} n of the event it begins with
 */

export class Timing {
  /** @type {Step[]} */
  steps = [];
  /** Seconds spent waiting for each. */
  spent = { server: 0, client: 0, content: 0, tls: 0 };
  until = 0;

  #owed = new Map(); // n → step
  #bdatN = -1;
  #content = null;

  add(event) {
    this.#attribute(event);
    this[`_${event.kind}`]?.(event);
    this.until = event.t;
  }

  /** Steps that took longer than most people would guess, longest first. */
  slowest(count) {
    return this.steps.filter(({ to }) => to !== null).sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, count);
  }

  /** Between two events somebody was waited for: who, is told by what is owed and by what comes. */
  #attribute(event) {
    const elapsed = event.t - this.until;
    if (elapsed <= 0) return;
    const who = event.kind === "tls" ? "tls" : this.#owed.size ? "server" : event.kind === "content" ? "content" : "client";
    this.spent[who] += elapsed;
  }

  _session(event) {
    this.#owe(event.n, { label: "greeting", kind: "greeting", from: 0, n: event.n });
  }

  _command(event) {
    if (event.verb === "BDAT") this.#bdatN = event.n;
    if (event.verb === "DATA") this.#bdatN = -1;
    const words = event.from === "proxy" ? `${event.verb} (proxy)` : event.verb || "blank line";
    this.#owe(event.n, { label: words, kind: "command", from: event.t, n: event.n });
  }

  _auth(event) {
    this.#owe(event.n, { label: `AUTH ${event.mechanism}, line ${event.step}`, kind: "command", from: event.t, n: event.n });
  }

  _content(event) {
    if (this.#content?.message !== event.message) {
      this.#content = this.#push({ label: `message ${event.message}`, kind: "content", from: event.t, n: event.n });
      this.#content.message = event.message;
    }
    this.#content.to = event.t;
    if (!event.end) return;
    this.#content = null;
    if (this.#bdatN < 0) this.#owe(event.n, { label: `message ${event.message}, reply`, kind: "command", from: event.t, n: event.n });
  }

  _reply(event) {
    const answers = event.answers ?? 0;
    const step = this.#owed.get(answers);
    if (!step) return;
    step.to = event.t;
    step.code = event.code ?? null;
    if (!event.partial) this.#owed.delete(answers);
  }

  _tls(event) {
    const step = this.#push({ label: `TLS, ${event.leg} leg`, kind: "tls", from: this.until, n: event.n });
    step.to = event.t;
  }

  _end() {
    this.#owed.clear();
  }

  #owe(n, step) {
    this.#owed.set(n, this.#push(step));
  }

  #push(step) {
    const whole = { to: null, code: null, ...step };
    this.steps.push(whole);
    return whole;
  }
}
