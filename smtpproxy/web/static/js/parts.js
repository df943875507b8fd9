// A message's MIME tree and its attachments, from what the API tells of its parts.

import { urls } from "./api.js";
import { h } from "./dom.js";
import { size } from "./format.js";
import { visible } from "./octets.js";

/** The tree, as nested lists. */
export function partTree(id, message, parts) {
  return h("ul", { class: "tree" }, parts.map((part) => branch(id, message, part)));
}

function branch(id, message, part) {
  const facts = [part.charset, part.disposition, part.content_id && `<${part.content_id}>`].filter(Boolean).join(" · ");
  return h(
    "li",
    {},
    h(
      "div",
      { class: "part" },
      h("span", { class: "part-path" }, part.path || "·"),
      h("span", { class: "part-type" }, visible(part.content_type)),
      part.filename ? h("span", { class: "part-name" }, visible(part.filename)) : null,
      h("span", { class: "aside" }, visible(facts)),
      part.parts.length ? null : h("span", { class: "part-size" }, size(part.size)),
      part.parts.length ? null : saveLink(id, message, part),
    ),
    part.parts.length ? h("ul", {}, part.parts.map((inner) => branch(id, message, inner))) : null,
  );
}

/** The parts that are files: named ones, and those that say they are attachments. */
export function filesOf(parts) {
  const leaves = (part) => (part.parts.length ? part.parts.flatMap(leaves) : [part]);
  return parts.flatMap(leaves).filter(({ filename, disposition }) => filename || disposition === "attachment");
}

export function fileList(id, message, parts) {
  const files = filesOf(parts);
  if (!files.length) return h("p", { class: "aside" }, "Nothing is attached.");
  return h(
    "ul",
    { class: "files" },
    files.map((part) =>
      h(
        "li",
        {},
        h("span", { class: "part-name" }, visible(part.filename || `part ${part.path}`)),
        h("span", { class: "aside" }, visible(part.content_type)),
        h("span", { class: "part-size" }, size(part.size)),
        saveLink(id, message, part),
      ),
    ),
  );
}

function saveLink(id, message, part) {
  return h("a", { class: "quiet", href: urls.part(id, message, part.path), download: true, "aria-label": `Save ${part.filename || `part ${part.path}`}` }, "Save");
}
