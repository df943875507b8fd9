// The sessions that the list shows: read page by page, kept up to date by live events. It draws nothing.
//
// How nothing is missed and nothing counted twice: the log's newest position is asked for first, then the first
// page of sessions, then events behind that position. A session whose first event comes live is folded from
// there. Of any other one the summary is read anew together with the position it counts up to, and only
// events behind that are added to it.

import * as api from "./api.js";
import { Fold } from "./fold.js";

const FIRST_PAGE = 100;
const PAGE = 500;
const SILENT_MS = 1000; // a connection on which nothing happens is listed after this: probes come and go sooner

/** Emits "change" (the list), "problem" (detail: ApiError or null) and "arrival" (detail: Session). */
export class Store extends EventTarget {
  filter = "";
  sessions = []; // newest first
  hasMore = false;
  isLoading = false;
  isReady = false;

  #byId = new Map();
  #folds = new Map();
  #joining = new Map(); // session → events that wait for its summary
  #cursor = null;
  #aborter = new AbortController();

  get(id) {
    return this.#byId.get(id);
  }

  /**
   * Reads the first page for a filter, in place of all that was known.
   * @returns {Promise<number|null>} the position to go on from, live; null where a later start came first
   */
  async start(filter) {
    this.#aborter.abort();
    const aborter = (this.#aborter = new AbortController());
    const { signal } = aborter;
    this.isLoading = true;
    try {
      const { newest } = await api.getState(signal);
      const page = await api.listSessions({ filter, limit: FIRST_PAGE, signal });
      this.filter = filter;
      this.sessions = [];
      this.#byId.clear();
      this.#folds.clear();
      this.#joining.clear();
      this.isReady = true;
      this.#takePage(page);
      this.dispatchEvent(new CustomEvent("problem", { detail: null }));
      return newest;
    } catch (error) {
      if (error.name === "AbortError") return null;
      this.dispatchEvent(new CustomEvent("problem", { detail: error }));
      throw error;
    } finally {
      if (aborter === this.#aborter) this.isLoading = false;
      this.#changed();
    }
  }

  /** Reads the next page, if there is one and none is on its way. */
  async loadMore() {
    if (!this.hasMore || this.isLoading) return;
    const { signal } = this.#aborter;
    this.isLoading = true;
    try {
      this.#takePage(await api.listSessions({ filter: this.filter, limit: PAGE, cursor: this.#cursor, signal }));
    } catch (error) {
      if (error.name !== "AbortError") this.dispatchEvent(new CustomEvent("problem", { detail: error }));
    } finally {
      if (signal === this.#aborter.signal) this.isLoading = false;
      this.#changed();
    }
  }

  /** Live events, in order. */
  take(events) {
    for (const event of events) this.#takeOne(event);
    this.#changed();
  }

  /** These are gone. */
  remove(id) {
    this.#forget(id);
    this.#changed();
  }

  #takePage({ sessions, cursor }) {
    for (const session of sessions) {
      if (this.#byId.has(session.session)) continue; // came live meanwhile, and knows more
      this.#byId.set(session.session, session);
      this.sessions.push(session);
    }
    this.#cursor = cursor;
    this.hasMore = cursor !== null;
  }

  #takeOne(event) {
    const id = event.session;
    const waiting = this.#joining.get(id);
    if (waiting) {
      waiting.push(event);
      return;
    }
    let fold = this.#folds.get(id);
    if (!fold) {
      if (event.kind !== "session") {
        this.#join(id, event);
        return;
      }
      fold = Fold.begin(event);
      this.#folds.set(id, fold);
      setTimeout(() => this.#listSilent(fold), SILENT_MS);
    }
    fold.add(event);
    this.#showFold(fold);
  }

  #showFold(fold) {
    const { session: id, outcome } = fold.summary;
    if (fold.hasHappened) this.#list(fold.summary);
    else if (fold.isProbe) this.#unlist(id);
    if (outcome !== "open") this.#folds.delete(id);
  }

  #listSilent(fold) {
    if (fold.summary.outcome !== "open" || this.#folds.get(fold.summary.session) !== fold) return;
    this.#list(fold.summary);
    this.#changed();
  }

  /** Takes part in a session that is going on already: its summary is asked for, its events wait. */
  async #join(id, event) {
    const waiting = [event];
    this.#joining.set(id, waiting);
    const { signal } = this.#aborter;
    try {
      const { first_seq: _, last_seq: lastSeq, ...summary } = await api.getSession(id, signal);
      const fold = new Fold(summary, lastSeq);
      this.#joining.delete(id);
      this.#folds.set(id, fold);
      for (const later of waiting) fold.add(later);
      if (fold.hasHappened || summary.outcome !== "open") this.#list(fold.summary);
      this.#showFold(fold);
      this.#changed();
    } catch (error) {
      if (!signal.aborted) this.#joining.delete(id);
    }
  }

  #list(summary) {
    const known = this.#byId.get(summary.session);
    this.#byId.set(summary.session, summary);
    if (known === summary) return;
    if (known) {
      this.sessions[this.sessions.indexOf(known)] = summary;
      return;
    }
    // Newest first: almost always at the top.
    let at = 0;
    while (at < this.sessions.length && isBefore(summary, this.sessions[at])) at += 1;
    if (at === this.sessions.length && this.hasMore) {
      this.#byId.delete(summary.session); // older than what has been read so far
      return;
    }
    this.sessions.splice(at, 0, summary);
    this.dispatchEvent(new CustomEvent("arrival", { detail: summary }));
  }

  #unlist(id) {
    const known = this.#byId.get(id);
    if (!known) return;
    this.#byId.delete(id);
    this.sessions.splice(this.sessions.indexOf(known), 1);
  }

  #forget(id) {
    this.#folds.delete(id);
    this.#joining.delete(id);
    this.#unlist(id);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function isBefore(one, other) {
  return one.started < other.started || (one.started === other.started && one.session < other.session);
}
