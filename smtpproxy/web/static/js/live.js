// The live websocket: comes back by itself, and goes on behind the last event it has seen. It reads no event.

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;

/**
 * One subscription, until it is closed.
 *
 * `on.state("connecting" | "live" | "waiting")`, `on.hello(hello)`, `on.events(events)`, `on.removed(range)`.
 * A hello is told on every connection; if its `log` is another one, the positions seen so far mean nothing,
 * and the owner starts anew.
 */
export class Live {
  #socket = null;
  #timer = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #isClosed = false;
  #retry = () => this.#hurry();

  constructor({ after, filter, on }) {
    this.after = after;
    this.#open(filter, on);
    this.#reopen = () => this.#open(filter, on);
    addEventListener("online", this.#retry);
    document.addEventListener("visibilitychange", this.#retry);
  }

  #reopen;

  #open(filter, on) {
    on.state("connecting");
    const url = new URL("/live", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ after: this.after, content: "none", ...(filter && { filter }) });
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      const events = [];
      for (const line of data.split("\n")) {
        const event = JSON.parse(line);
        if (event.kind === "hello") {
          this.#pauseMs = FIRST_PAUSE_MS;
          on.state("live");
          on.hello(event);
        } else if (event.seq === undefined) {
          if (event.kind === "removed") on.removed(event);
        } else if (event.seq > this.after) {
          this.after = event.seq;
          events.push(event);
        }
      }
      if (events.length && socket === this.#socket) on.events(events);
    };
    socket.onclose = () => {
      if (socket !== this.#socket || this.#isClosed) return;
      this.#socket = null;
      on.state("waiting");
      this.#timer = setTimeout(this.#reopen, this.#pauseMs);
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    };
  }

  /** Something changed: if we wait, try now. */
  #hurry() {
    if (this.#socket || this.#isClosed || document.hidden) return;
    clearTimeout(this.#timer);
    this.#reopen();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#retry);
    document.removeEventListener("visibilitychange", this.#retry);
    this.#socket?.close();
    this.#socket = null;
  }
}
