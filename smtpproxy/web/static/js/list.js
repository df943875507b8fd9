// The list of sessions: as many rows as fit the window, whatever the number of sessions. It asks for no data.

import { address, codeMark, findingsBadge, outcomeBadge, recipients, tlsBadge } from "./badges.js";
import { byId, fill, h } from "./dom.js";
import { clock, count, fullTime, number, seconds } from "./format.js";
import { hashOf } from "./route.js";

const ROW_PX = 58; // as in page.css
const SPARE_ROWS = 8;
const SETTLED_MS = 120;

export class List {
  cursor = null; // the session that j and k move
  open = null; // the session that is shown

  #store;
  #subjects;
  #scroller = byId("sessions-scroll");
  #rows = byId("rows");
  #elements = new Map(); // session → {element, session, signature}
  #frame = 0;
  #settled = 0;
  #top = null; // the first session of the list when it was last drawn
  #unseen = 0;

  constructor(store, subjects) {
    this.#store = store;
    this.#subjects = subjects;
    this.#scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.#scroller);
    byId("new-sessions").addEventListener("click", () => this.#scroller.scrollTo({ top: 0 }));
    store.addEventListener("change", () => this.draw());
  }

  /** Draws soon, once for all that changes until then. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Moves the cursor by that many rows; returns the session it is on, or null. */
  move(by) {
    const { sessions } = this.#store;
    if (!sessions.length) return null;
    const at = sessions.findIndex(({ session }) => session === this.cursor);
    const to = at < 0 ? 0 : Math.max(0, Math.min(sessions.length - 1, at + by));
    this.cursor = sessions[to].session;
    const top = to * ROW_PX;
    const { scrollTop, clientHeight } = this.#scroller;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.#scroller.scrollTop = top + ROW_PX - clientHeight;
    this.#draw();
    this.#elements.get(this.cursor)?.element.firstChild.focus({ preventScroll: true });
    return this.cursor;
  }

  /** The session after (or else before) that one, for when it is deleted. */
  neighbour(id) {
    const { sessions } = this.#store;
    const at = sessions.findIndex(({ session }) => session === id);
    return (sessions[at + 1] ?? sessions[at - 1])?.session ?? "";
  }

  #draw() {
    const { sessions, hasMore, isLoading, isReady, filter } = this.#store;
    this.#keepPlace(sessions);
    const { scrollTop, clientHeight } = this.#scroller;
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(sessions.length, Math.ceil((scrollTop + clientHeight) / ROW_PX) + SPARE_ROWS);
    this.#rows.style.height = `${sessions.length * ROW_PX}px`;
    const stays = new Set();
    let before = null;
    for (let at = first; at < last; at += 1) {
      before = this.#place(sessions[at], at, sessions.length, before);
      stays.add(sessions[at].session);
    }
    for (const [id, { element }] of this.#elements) {
      if (stays.has(id) || element.contains(document.activeElement)) continue;
      element.remove();
      this.#elements.delete(id);
    }
    this.#drawBar(sessions.length, hasMore);
    const note = byId("rows-note");
    note.textContent = !isReady ? (isLoading ? "Reading…" : "Nothing could be read.") : sessions.length ? "" : isLoading ? "Searching…" : filter ? "Nothing matches this filter." : "Nothing yet.";
    note.hidden = !note.textContent;
    if (hasMore && last > sessions.length - 100) this.#store.loadMore();
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => this.#subjects.want(sessions.slice(first, last)), SETTLED_MS);
  }

  /** What is looked at stays where it is while new sessions come in above. */
  #keepPlace(sessions) {
    const newest = sessions[0]?.session ?? null;
    if (this.#scroller.scrollTop < ROW_PX / 2) {
      this.#unseen = 0;
    } else if (this.#top !== null && newest !== this.#top) {
      const added = sessions.findIndex(({ session }) => session === this.#top);
      if (added > 0) {
        this.#rows.style.height = `${sessions.length * ROW_PX}px`;
        this.#scroller.scrollTop += added * ROW_PX;
        this.#unseen += added;
      }
    }
    this.#top = newest;
  }

  #drawBar(length, hasMore) {
    byId("sessions-count").textContent = hasMore ? `${number(length)}+ sessions` : count(length, "session");
    const button = byId("new-sessions");
    button.hidden = !this.#unseen;
    button.textContent = `↑ ${number(this.#unseen)} new`;
    byId("delete-all").hidden = !length;
  }

  #place(session, at, total, before) {
    const id = session.session;
    const subject = this.#subjects.of(session);
    const isOpen = id === this.open;
    const isCursor = id === this.cursor;
    const signature = [session.outcome, session.duration, session.last_code, session.mail_from, session.rcpt_to.length, session.tls_client, session.tls_server, session.findings.length, session.messages, subject, isOpen, isCursor, this.#store.filter].join("\u0000");
    let row = this.#elements.get(id);
    if (!row) {
      row = { element: h("li", { class: "row" }, h("a", { class: "row-link", "data-session": id })), signature: "" };
      this.#elements.set(id, row);
    }
    const { element } = row;
    if (row.signature !== signature) {
      row.signature = signature;
      const link = element.firstChild;
      link.href = hashOf({ session: id, filter: this.#store.filter });
      link.classList.toggle("is-cursor", isCursor);
      if (isOpen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      fill(link, rowParts(session, subject));
    }
    element.style.transform = `translateY(${at * ROW_PX}px)`;
    element.setAttribute("aria-posinset", at + 1);
    element.setAttribute("aria-setsize", total);
    // In order in the document too: focus and screen readers go by it.
    const next = before ? before.nextSibling : this.#rows.firstChild;
    if (next !== element) this.#rows.insertBefore(element, next);
    return element;
  }
}

function rowParts(session, subject) {
  return [
    h(
      "span",
      { class: "row-line" },
      outcomeBadge(session.outcome),
      h("span", { class: `row-subject${subject ? "" : " is-none"}` }, subject ?? (session.messages ? "…" : "no message")),
      h("time", { class: "row-time", datetime: session.started, title: fullTime(session.started) }, clock(session.started)),
    ),
    h(
      "span",
      { class: "row-line row-facts" },
      h("span", { class: "row-who", title: session.rcpt_to.slice(0, 20).join("\n") || session.client }, session.mail_from === null && !session.rcpt_to.length ? session.client : `${address(session.mail_from)} → ${recipients(session.rcpt_to)}`),
      findingsBadge(session.findings),
      tlsBadge(session),
      codeMark(session.last_code),
      h("span", { class: "row-duration" }, seconds(session.duration)),
    ),
  ];
}
