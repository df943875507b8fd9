// The pane of one session: its head, its tabs, and whichever of them is shown. It owns what was read of it.

import { listMessages, urls } from "./api.js";
import { address, codeMark, outcomeBadge, recipients } from "./badges.js";
import { Conversation } from "./conversation.js";
import { Dialogue } from "./dialogue.js";
import { byId, fill, h } from "./dom.js";
import { Fold } from "./fold.js";
import { Follow } from "./follow.js";
import { clock, count, fullTime, seconds, size } from "./format.js";
import { MessageView } from "./message.js";
import { visible } from "./octets.js";
import { go, hashOf } from "./route.js";
import { Timing } from "./timing.js";
import { waterfall } from "./waterfall.js";

const TIMING_PAUSE_MS = 250;

export class SessionPane {
  id = ""; // in full; "" while none is shown

  #main = byId("main");
  #place = null;
  #onDelete;
  #shown = null; // what belongs to the session that is shown

  /** @param {(id: string) => void} onDelete called when the user wants the session gone */
  constructor(onDelete) {
    this.#onDelete = onDelete;
  }

  /** Shows what a place asks for; the session is read anew only if it is another one. */
  show(place) {
    this.#place = place;
    const isSame = this.#shown && (place.session === this.#shown.asked || place.session === this.id);
    if (!isSame) this.#begin(place.session);
    else this.#drawHead();
    this.#drawTab();
  }

  /** Reads the session once more, if it could not be read. */
  retry() {
    if (!this.#shown?.hasFailed) return;
    this.#begin(this.#shown.asked);
    this.#drawTab();
  }

  /** Shows no session. */
  clear() {
    this.#end();
    this.#main.replaceChildren();
  }

  #begin(asked) {
    this.#end();
    const shown = {
      asked,
      dialogue: new Dialogue(),
      timing: new Timing(),
      fold: null,
      messages: [],
      conversation: null,
      messageView: null,
      tab: "",
      timer: 0,
      head: h("header", { class: "session-head" }),
      body: h("div", { class: "session-body", tabindex: -1 }),
      follow: null,
      hasFailed: false,
    };
    this.#shown = shown;
    fill(this.#main, h("article", { class: "session", "aria-label": "Session" }, shown.head, shown.body));
    fill(shown.head, backLink(this.#place), h("p", { class: "aside pad" }, "Reading…"));
    shown.follow = new Follow(asked, {
      session: (detail) => this.#onSession(shown, detail),
      events: (events) => this.#onEvents(shown, events),
      problem: (error) => this.#onProblem(shown, error),
    });
  }

  #end() {
    const shown = this.#shown;
    if (!shown) return;
    clearTimeout(shown.timer);
    shown.follow.close();
    shown.conversation?.close();
    shown.messageView?.close();
    this.#shown = null;
    this.id = "";
  }

  #onSession(shown, detail) {
    const { first_seq: _first, last_seq: lastSeq, ...summary } = detail;
    shown.fold = new Fold(summary, lastSeq);
    this.id = summary.session;
    this.#readMessages(shown);
    this.#drawHead();
    this.#drawTab();
    dispatchEvent(new CustomEvent("session-shown", { detail: this.id }));
  }

  #onEvents(shown, events) {
    const touched = [];
    let hasMessage = false;
    for (const event of events) {
      if (event.kind === "session") Object.assign(event, { listen: event.listen ?? "" });
      touched.push(...shown.dialogue.add(event));
      shown.timing.add(event);
      shown.fold.add(event);
      hasMessage ||= event.kind === "end" || (event.kind === "content" && event.end);
    }
    shown.conversation?.update(touched);
    if (hasMessage) this.#readMessages(shown);
    this.#drawHead();
    if (shown.tab === "timing") this.#drawTimingSoon(shown);
  }

  #onProblem(shown, error) {
    shown.hasFailed = error.status === 0;
    fill(
      shown.head,
      backLink(this.#place),
      h("p", { class: "problem pad", role: "alert" }, error.message),
    );
  }

  async #readMessages(shown) {
    try {
      shown.messages = await listMessages(shown.fold.summary.session);
    } catch {
      return; // the conversation is there all the same
    }
    if (shown !== this.#shown) return;
    this.#drawHead();
    if (shown.tab === "message") this.#drawTab();
  }

  #drawHead() {
    const shown = this.#shown;
    if (!shown?.fold) return;
    const session = shown.fold.summary;
    const id = session.session;
    const subject = shown.messages[0]?.subject;
    const focused = shown.head.contains(document.activeElement) ? document.activeElement.textContent : null;
    fill(
      shown.head,
      h(
        "div",
        { class: "head-line" },
        backLink(this.#place),
        outcomeBadge(session.outcome),
        h("h2", { class: "head-title" }, visible(subject || (session.mail_from === null ? session.client : `${address(session.mail_from)} → ${recipients(session.rcpt_to)}`))),
        h(
          "div",
          { class: "actions" },
          h("a", { class: "quiet", href: urls.transcript(id), target: "_blank", title: "As text, in a new tab" }, "Transcript"),
          h("a", { class: "quiet", href: urls.recording(id), download: true, title: "NAME.smtp.jsonl, to replay or to mock" }, "Recording"),
          h("button", { class: "quiet is-danger", type: "button", onclick: () => this.#onDelete(id), disabled: session.outcome === "open", title: session.outcome === "open" ? "It is still open" : null }, "Delete"),
        ),
      ),
      h("dl", { class: "head-facts" }, headFacts(session).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      session.findings.length ? this.#findings(shown) : null,
      this.#tabs(shown),
    );
    // It is drawn anew while events come in: the keyboard's place in it must not get lost.
    if (focused !== null) [...shown.head.querySelectorAll("a, button")].find((element) => element.textContent === focused)?.focus();
  }

  #findings(shown) {
    return h(
      "ul",
      { class: "head-findings", "aria-label": "Findings" },
      [...shown.dialogue.findings.values()].map((event) => h("li", {}, h("button", { class: "finding-badge", type: "button", title: event.text, onclick: () => this.#reveal(event.n) }, `⚑ ${event.code}`))),
    );
  }

  #tabs(shown) {
    const { tab } = this.#place;
    const link = (name, words) => h("a", { href: hashOf({ ...this.#place, session: this.id, tab: name, message: 1, view: "" }), "aria-current": tab === name ? "page" : null }, words);
    const { length } = shown.messages;
    return h(
      "nav",
      { class: "tabs", "aria-label": "Views of the session" },
      link("conversation", "Conversation"),
      link("timing", "Timing"),
      length || tab === "message" ? link("message", length > 1 ? `Messages ${length}` : "Message") : null,
    );
  }

  #drawTab() {
    const shown = this.#shown;
    if (!shown.fold) return;
    const { tab } = this.#place;
    if (shown.tab !== tab) {
      shown.conversation?.close();
      shown.conversation = null;
      shown.messageView?.close();
      shown.messageView = null;
      shown.tab = tab;
      shown.body.className = `session-body is-${tab}`;
      shown.body.scrollTop = 0;
      if (tab === "conversation") {
        shown.conversation = new Conversation(shown.dialogue, shown.body);
        fill(shown.body, shown.conversation.element);
      } else if (tab === "message") {
        shown.messageView = new MessageView();
        fill(shown.body, shown.messageView.element);
      }
    }
    if (tab === "timing") this.#drawTiming(shown);
    if (tab === "message") shown.messageView.show({ ...this.#place, session: this.id }, shown.messages);
  }

  #drawTimingSoon(shown) {
    shown.timer ||= setTimeout(() => {
      shown.timer = 0;
      if (shown.tab === "timing") this.#drawTiming(shown);
    }, TIMING_PAUSE_MS);
  }

  #drawTiming(shown) {
    fill(shown.body, waterfall(shown.timing, (n) => this.#reveal(n)));
  }

  /** Shows an event in the conversation. */
  #reveal(n) {
    go({ ...this.#place, session: this.id, tab: "conversation" });
    // The tab changes when the address has.
    setTimeout(() => this.#shown?.conversation?.reveal(n), 0);
  }
}

function backLink(place) {
  return h("a", { class: "back", href: hashOf({ filter: place.filter }), "aria-label": "Back to the list" }, "‹ Sessions");
}

function headFacts(session) {
  const rcpt = session.rcpt_to.slice(0, 3).join(", ") + (session.rcpt_to.length > 3 ? ` and ${count(session.rcpt_to.length - 3, "other")}` : "");
  const facts = [
    ["from", visible(address(session.mail_from))],
    ["to", visible(rcpt || "–")],
    ["client", tlsFact(session.client, session.tls_client)],
    ["upstream", /^(sandbox|mock):/.test(session.upstream) ? session.upstream : tlsFact(session.upstream, session.tls_server)],
    ["began", h("time", { datetime: session.started, title: fullTime(session.started) }, clock(session.started))],
    ["took", seconds(session.duration)],
    ["last reply", codeMark(session.last_code) ?? "–"],
  ];
  if (session.bytes) facts.push(["content", size(session.bytes)]);
  return facts;
}

function tlsFact(where, version) {
  return [visible(where), " ", h("span", { class: `leg-tls${version ? " is-safe" : ""}` }, version || "plain")];
}
