// One item of a conversation as an element. It asks for no data, but for a message's octets when unfolded.

import { listEvents } from "./api.js";
import { outcomeBadge } from "./badges.js";
import { certificateDetails } from "./certificate.js";
import { fill, h, spoken } from "./dom.js";
import { count, number, seconds, size } from "./format.js";
import { lineNodes, spokenLines, visible } from "./octets.js";

const SLOW_S = 0.5;
const VERY_SLOW_S = 2;
const UNFOLDED_LINES = 200;

const MARKS = {
  "client server": "→",
  "server client": "←",
  "client proxy": "→│",
  "proxy client": "←│",
  "proxy server": "│→",
  "server proxy": "│←",
};

const RENDERERS = { start, spoken: said, ehlo, content, dot, tls, gap, finding: looseFinding, end, other };

/**
 * @param {import("./dialogue.js").Item} item
 * @param {string|null} bracket where it stands in its pipelined group
 */
export function itemElement(item, bracket) {
  const element = RENDERERS[item.kind](item);
  element.classList.add("item");
  element.id = `n${item.event.n}`;
  if (bracket) element.classList.add("is-grouped", `is-group-${bracket}`);
  if (bracket === "first") element.prepend(spoken("pipelined group: "));
  if (item.findings.length) {
    element.append(h("div", { class: "findings" }, item.findings.map(findingNote)));
  }
  return element;
}

function findingNote(event) {
  return h("p", { class: "finding" }, h("span", { class: "finding-code" }, `⚑ ${event.code}`), " ", visible(event.text));
}

function row(item, { speaker, mark, title = null, kind, body }) {
  const { since } = item;
  const slow = since >= VERY_SLOW_S ? " is-very-slow" : since >= SLOW_S ? " is-slow" : "";
  return h(
    "div",
    { class: `line is-${kind}` },
    h("span", { class: `since${slow}`, title: `${item.event.t.toFixed(6)} s into the session` }, since === null ? "" : `+${seconds(since)}`),
    h("span", { class: "bracket", "aria-hidden": "true" }),
    h("span", { class: "speaker", title }, speaker),
    h("span", { class: "mark", "aria-hidden": "true", title }, mark),
    h("div", { class: "body" }, body),
  );
}

function spokenRow(item, kind, body) {
  const { from, to } = item.event;
  const title = `${from} to ${to}${item.isTls ? ", over TLS" : ""}`;
  const element = row(item, { speaker: [from, spoken(` to ${to}${item.isTls ? " over TLS" : ""}: `)], mark: MARKS[`${from} ${to}`] ?? "?", title, kind, body });
  element.classList.add(`by-${from}`);
  if (item.isTls) element.classList.add("is-tls");
  return element;
}

function said(item) {
  const { event } = item;
  if (event.octets !== undefined && event.raw === undefined && event.raw_b64 === undefined) {
    return spokenRow(item, "opaque", h("span", { class: "aside" }, `${count(event.octets, "octet")} not kept`));
  }
  const kind = event.kind === "reply" && event.code >= 400 ? "rejection" : event.kind;
  const lines = spokenLines(event);
  const body = lines.length ? lines.map((line) => h("div", { class: "said" }, lineNodes(line))) : h("span", { class: "aside" }, "blank line");
  const element = spokenRow(item, kind, body);
  if (event.identity) element.querySelector(".said").append(h("span", { class: "aside" }, " as ", visible(event.identity)));
  if (event.partial) element.querySelector(".body").append(h("span", { class: "aside" }, "goes on in the next piece"));
  return element;
}

function ehlo(item) {
  const hidden = item.diff.filter(({ change }) => change === "hidden").length;
  const added = item.diff.filter(({ change }) => change === "added").length;
  const words = [hidden && `${hidden} hidden from the client`, added && `${added} added by the proxy`].filter(Boolean).join(", ") || "passed on unchanged";
  const element = row(item, {
    speaker: ["server", spoken(" to client, rewritten by the proxy: ")],
    mark: "←",
    title: "server to client, rewritten by the proxy",
    kind: "ehlo",
    body: [
      item.diff.map(({ text, change }) =>
        h(
          "div",
          { class: `said diff${change ? ` is-${change}` : ""}` },
          h("span", { class: "diff-sign", "aria-hidden": "true" }, change === "hidden" ? "−" : change === "added" ? "+" : " "),
          change ? spoken(`${change}: `) : null,
          h(change === "hidden" ? "del" : change === "added" ? "ins" : "span", {}, visible(text)),
        ),
      ),
      h("p", { class: "aside" }, `EHLO reply: ${words}`),
    ],
  });
  element.classList.add("by-server");
  if (item.isTls) element.classList.add("is-tls");
  return element;
}

function content(item) {
  const { event } = item;
  const words = `message ${event.message}: ${size(item.octets)}${item.isDigest ? ", not kept in full" : ""}`;
  const inside = h("div", { class: "unfolded" });
  const details = h("details", { class: "content", open: item.isOpen }, h("summary", {}, words), inside);
  details.addEventListener("toggle", () => {
    item.isOpen = details.open;
    if (details.open && !inside.hasChildNodes()) unfold(item, inside, UNFOLDED_LINES);
  });
  if (item.isOpen) unfold(item, inside, item.shownLines ?? UNFOLDED_LINES);
  return spokenRow(item, "content", details);
}

/** Shows a message's first lines as they stood on the wire. */
async function unfold(item, inside, limit) {
  const { event, lastN } = item;
  item.shownLines = limit;
  if (!inside.hasChildNodes()) fill(inside, h("p", { class: "aside" }, "Reading…"));
  try {
    const lines = [];
    let afterN = event.n - 1;
    let hasMore = false;
    while (afterN !== null && afterN < lastN && lines.length <= limit) {
      const page = await listEvents(event.session, { afterN, limit: 20, content: "full" });
      for (const piece of page.events) {
        if (piece.kind === "content" && piece.n <= lastN) lines.push(...(piece.raw === undefined && piece.raw_b64 === undefined ? [{ parts: [{ text: `(${count(piece.octets, "octet")} not kept)` }], end: "" }] : spokenLines(piece)));
      }
      afterN = page.next;
      hasMore = afterN !== null && afterN < lastN;
    }
    const more = lines.length > limit || hasMore;
    fill(
      inside,
      lines.slice(0, limit).map((line) => h("div", { class: "said" }, line.parts.length ? lineNodes(line) : "\u200b")),
      more ? h("button", { class: "quiet", type: "button", onclick: () => unfold(item, inside, limit * 5) }, `Show ${number(limit * 4)} more lines`) : null,
    );
  } catch (error) {
    fill(inside, h("p", { class: "problem" }, error.message));
  }
}

function dot(item) {
  return spokenRow(item, "command", h("div", { class: "said" }, ".", h("span", { class: "aside" }, ` end of message ${item.event.message}`)));
}

function note(item, kind, body) {
  return row(item, { speaker: "", mark: kind === "failure" ? "✕" : "·", kind: `note is-${kind}`, body });
}

function start(item) {
  const { event } = item;
  return note(item, "info", [h("span", {}, `${event.client} connected${event.listen ? ` to ${event.listen}` : ""}`), h("span", { class: "aside" }, `, upstream ${event.upstream}, route ${event.route}`)]);
}

function tls(item) {
  const { event } = item;
  const leg = h("strong", {}, `TLS, ${event.leg} leg`);
  if (event.error) {
    return note(item, "failure", [
      h("p", {}, leg, " failed: ", visible(event.error), event.alert ? ` (alert ${event.alert})` : ""),
      event.advice ? h("p", { class: "advice" }, visible(event.advice)) : null,
      certificateDetails(event.certificates, item),
    ]);
  }
  const facts = [event.version, event.cipher, event.sni && `SNI ${event.sni}`, event.alpn && `ALPN ${event.alpn}`].filter(Boolean).join(" · ");
  const verified = event.leg === "server" ? h("span", { class: event.verified ? "good" : "bad" }, event.verified ? " · verified" : " · not verified") : null;
  return note(item, "info", [h("p", {}, leg, ": ", visible(facts), verified), certificateDetails(event.certificates, item)]);
}

function gap(item) {
  const { event } = item;
  return note(item, "failure", `Not recorded: ${count(event.events, "event")} (${size(event.octets)}): ${event.reason}`);
}

function looseFinding(item) {
  return note(item, "finding", findingNote(item.event));
}

function end(item) {
  const { event } = item;
  return note(item, event.outcome === "failed" || event.outcome === "interrupted" ? "failure" : "info", [
    outcomeBadge(event.outcome),
    ` ${count(event.messages ?? 0, "message")} in ${seconds(event.t)}`,
    event.reason ? h("span", { class: "aside" }, `, ended by ${event.reason}`) : null,
  ]);
}

function other(item) {
  return note(item, "info", `An event of kind ${item.event.kind}, which this page does not know.`);
}

