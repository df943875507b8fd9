// The octets of an event as lines for eyes: secrets marked, control characters shown, odd line ends told.

import { h } from "./dom.js";
import { count } from "./format.js";

const MAX_CHARACTERS = 2000; // of one line, as in the transcript
// What moves a cursor, reorders text or cannot be seen: C0, C1, zero-width and bidirectional marks.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const NOT_ASCII = /[\u0080-\u00ff]/g;
const ENCODER = new TextEncoder();

/**
 * The lines an event says, without their line ends.
 * @returns {Array<{parts: Array<{text: string, secret?: object}>, end: "crlf"|"lf"|""}>}
 */
export function spokenLines(event) {
  const isBinary = event.raw === undefined && event.raw_b64 !== undefined;
  const lines = [];
  let parts = [];
  for (const piece of pieces(event)) {
    if (piece.secret) {
      parts.push(piece);
      continue;
    }
    let start = 0;
    for (let at; (at = piece.text.indexOf("\n", start)) >= 0; start = at + 1) {
      let text = piece.text.slice(start, at);
      const end = text.endsWith("\r") ? "crlf" : "lf";
      if (end === "crlf") text = text.slice(0, -1);
      parts.push({ text, isBinary });
      lines.push({ parts, end });
      parts = [];
    }
    if (start < piece.text.length) parts.push({ text: piece.text.slice(start), isBinary });
  }
  if (parts.length) lines.push({ parts, end: "" });
  return lines;
}

/** The text of a line, for comparing. */
export function plainText(line) {
  return line.parts.map(({ text }) => text).join("");
}

/** The nodes that show a line. */
export function lineNodes(line) {
  const nodes = [];
  let room = MAX_CHARACTERS;
  let left = 0;
  for (const part of line.parts) {
    if (part.secret) {
      const { kind, length } = part.secret;
      nodes.push(h("span", { class: "secret", title: `${kind}, ${count(length, "octet")}; kept out of the recording` }, kind));
      continue;
    }
    nodes.push(...visible(part.text.slice(0, room), part.isBinary));
    left += Math.max(0, part.text.length - room);
    room = Math.max(0, room - part.text.length);
  }
  if (left) nodes.push(h("span", { class: "aside" }, ` … ${count(left, "character")} more`));
  if (line.end === "lf") nodes.push(h("span", { class: "odd", title: "ended by LF alone" }, "LF"));
  return nodes;
}

/** Text as nodes, what cannot be seen as escapes. */
export function visible(text, isBinary = false) {
  const nodes = [];
  let start = 0;
  const matches = isBinary ? [...text.matchAll(UNSEEN), ...text.matchAll(NOT_ASCII)].sort((a, b) => a.index - b.index) : text.matchAll(UNSEEN);
  for (const { index } of matches) {
    if (index < start) continue; // both patterns have the C1 characters
    if (index > start) nodes.push(text.slice(start, index));
    nodes.push(h("span", { class: "odd" }, escapeOf(text.charCodeAt(index))));
    start = index + 1;
  }
  if (start < text.length) nodes.push(text.slice(start));
  return nodes;
}

function escapeOf(code) {
  if (code === 13) return "CR";
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** The octets as characters, cut at the placeholders of secrets. */
function* pieces(event) {
  const text = event.raw ?? (event.raw_b64 === undefined ? "" : atob(event.raw_b64));
  let start = 0;
  for (const span of event.redacted ?? []) {
    const at = event.raw === undefined ? span.at : characterAt(text, span.at);
    const close = text.indexOf("}}", at);
    if (at < start || !text.startsWith("{{", at) || close < 0) continue;
    if (at > start) yield { text: text.slice(start, at) };
    start = close + 2;
    yield { text: text.slice(at, start), secret: span };
  }
  if (start < text.length) yield { text: text.slice(start) };
}

/** Where in a text that octet stands. */
function characterAt(text, octet) {
  let octets = 0;
  let at = 0;
  for (const character of text) {
    if (octets >= octet) break;
    octets += character.codePointAt(0) < 128 ? 1 : ENCODER.encode(character).length;
    at += character.length;
  }
  return at;
}
