// One message: its envelope beside its headers, and the ways to look at it. HTML is framed, never put in the page.

import { getMessage, getSource, urls } from "./api.js";
import { address, outcomeBadge } from "./badges.js";
import { fill, h } from "./dom.js";
import { number, size } from "./format.js";
import { visible } from "./octets.js";
import { fileList, filesOf, partTree } from "./parts.js";
import { hashOf } from "./route.js";

const MAX_SOURCE = 256 * 1024;
const SHOWN_HEADERS = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID"];
const VIEWS = [
  ["html", "HTML"],
  ["text", "Text"],
  ["headers", "Headers"],
  ["parts", "MIME"],
  ["source", "Source"],
  ["files", "Attachments"],
];

/** Shows a message in an element, until another place is asked for. */
export class MessageView {
  element = h("div", { class: "message" });
  #aborter = new AbortController();
  #key = "";
  #detail = null;

  close() {
    this.#aborter.abort();
  }

  /**
   * @param {import("./route.js").Place} place
   * @param {object[]} messages all of the session
   */
  async show(place, messages) {
    const key = `${place.session}/${place.message}`;
    try {
      if (key !== this.#key) {
        this.#aborter.abort();
        this.#aborter = new AbortController();
        this.#key = key;
        fill(this.element, h("p", { class: "aside pad" }, "Reading…"));
        this.#detail = null;
        this.#detail = await getMessage(place.session, place.message, this.#aborter.signal);
      }
      if (this.#detail) this.#draw(place, messages, this.#detail);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#key = "";
      fill(this.element, h("p", { class: "problem pad" }, error.message));
    }
  }

  #draw(place, messages, detail) {
    const view = viewOf(place.view, detail);
    const panel = h("section", { class: `view view-${view}`, "aria-label": VIEWS.find(([name]) => name === view)[1], tabindex: view === "html" ? null : 0 });
    fill(
      this.element,
      messages.length > 1 ? picker(place, messages) : null,
      envelope(detail),
      viewLinks(place, view, detail),
      panel,
    );
    this.#fillView(panel, view, detail);
  }

  #fillView(panel, view, detail) {
    const { session, message } = detail;
    if (view === "html") {
      fill(panel, htmlFrame(session, message), h("p", { class: "aside frame-note" }, "Scripts do not run here, and nothing is loaded from the network."));
    } else if (view === "text") {
      fill(panel, detail.text === null ? h("p", { class: "aside" }, "There is no plain text.") : h("pre", {}, visible(detail.text)));
    } else if (view === "headers") {
      fill(panel, headerTable(detail.headers));
    } else if (view === "parts") {
      fill(panel, partTree(session, message, detail.parts), defects(detail.defects));
    } else if (view === "files") {
      fill(panel, fileList(session, message, detail.parts));
    } else {
      this.#fillSource(panel, session, message);
    }
  }

  async #fillSource(panel, session, message) {
    try {
      const { text, hasMore } = await getSource(session, message, MAX_SOURCE, this.#aborter.signal);
      fill(
        panel,
        h("pre", {}, visible(text.replaceAll("\r\n", "\n"))),
        hasMore ? h("p", { class: "aside" }, `The first ${number(MAX_SOURCE)} characters; `, h("a", { href: urls.source(session, message), target: "_blank" }, "all of it")) : null,
      );
    } catch (error) {
      if (error.name !== "AbortError") fill(panel, h("p", { class: "problem" }, error.message));
    }
  }
}

function viewOf(asked, detail) {
  if (VIEWS.some(([name]) => name === asked) && (asked !== "html" || detail.html)) return asked;
  return detail.html ? "html" : detail.text !== null ? "text" : "headers";
}

function htmlFrame(session, message) {
  // No token at all: no script, no form, no top navigation, an origin of its own. The answer's CSP says so too.
  return h("iframe", { class: "html-frame", sandbox: "", referrerpolicy: "no-referrer", title: "The message's HTML", src: urls.html(session, message) });
}

function picker(place, messages) {
  return h(
    "nav",
    { class: "picker", "aria-label": "Messages of the session" },
    messages.map((message) =>
      h(
        "a",
        { href: hashOf({ ...place, message: message.message }), "aria-current": message.message === place.message ? "page" : null },
        h("span", { class: "picker-number" }, `${message.message}`),
        " ",
        visible(message.subject || "(no subject)"),
      ),
    ),
  );
}

function viewLinks(place, view, detail) {
  const files = filesOf(detail.parts).length;
  const labels = VIEWS.filter(([name]) => name !== "html" || detail.html);
  return h(
    "div",
    { class: "view-bar" },
    h(
      "nav",
      { class: "tabs", "aria-label": "Ways to look at the message" },
      labels.map(([name, words]) => h("a", { href: hashOf({ ...place, view: name }), "aria-current": name === view ? "page" : null }, words, name === "files" && files ? ` ${files}` : "")),
    ),
    h("a", { class: "quiet", href: urls.raw(detail.session, detail.message), download: true }, "Save .eml"),
  );
}

/** What the server was told, beside what the reader will see. */
function envelope(detail) {
  const { mail_from: mailFrom, rcpt_to: rcptTo, mismatches } = detail.envelope;
  const disputed = mismatches.join(" ").toLowerCase();
  const isDisputed = (path) => (path === "" ? disputed.includes("<>") : disputed.includes(path.toLowerCase()));
  const headers = SHOWN_HEADERS.flatMap((name) => detail.headers.filter(([other]) => other.toLowerCase() === name.toLowerCase()));
  return h(
    "div",
    { class: "envelope" },
    h(
      "section",
      { class: "card", "aria-label": "Envelope" },
      h("h3", {}, "Envelope", h("span", { class: "aside" }, " what the server was told")),
      factList([["MAIL FROM", mailFrom], ...(rcptTo.length ? rcptTo : [null]).slice(0, 50).map((path) => ["RCPT TO", path])].map(([name, path]) => ({ name, value: address(path), isMarked: path !== null && isDisputed(path) }))),
      h("p", { class: "envelope-facts" }, outcomeBadge(detail.outcome), ` ${size(detail.size)}`, detail.is_complete ? "" : ", not finished", detail.is_kept ? "" : ", not kept in full"),
    ),
    h(
      "section",
      { class: "card", "aria-label": "Headers in short" },
      h("h3", {}, "Headers", h("span", { class: "aside" }, " what the reader sees")),
      factList(headers.map(([name, value]) => ({ name, value, isMarked: /^(from|sender|to|cc|bcc)$/i.test(name) && isNamedIn(disputed, name, value) }))),
    ),
    mismatches.length ? h("ul", { class: "mismatches", "aria-label": "Where envelope and headers differ" }, mismatches.map((sentence) => h("li", {}, "≠ ", visible(sentence)))) : null,
  );
}

/** Whether a mismatch speaks of an address in that header. */
function isNamedIn(disputed, name, value) {
  if (/^bcc$/i.test(name)) return true;
  const addresses = value.toLowerCase().match(/[^\s<>,;"']+@[^\s<>,;"']+/g) ?? [];
  return addresses.some((one) => disputed.includes(one));
}

function factList(facts) {
  return h("dl", { class: "facts" }, facts.map(({ name, value, isMarked }) => h("div", { class: isMarked ? "is-mismatch" : null }, h("dt", {}, name), h("dd", {}, visible(value), isMarked ? h("span", { class: "mismatch-mark", title: "differs, see below" }, " ≠") : null))));
}

function headerTable(headers) {
  return h(
    "table",
    { class: "headers" },
    h("thead", { class: "hidden" }, h("tr", {}, h("th", { scope: "col" }, "Header"), h("th", { scope: "col" }, "Value"))),
    h("tbody", {}, headers.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, visible(name)), h("td", {}, visible(value))))),
  );
}

function defects(list) {
  return list.length ? h("ul", { class: "mismatches", "aria-label": "Defects" }, list.map((sentence) => h("li", {}, visible(sentence)))) : null;
}
