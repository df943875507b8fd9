// The small marks that the list and a session's head share: what it came to, TLS of the legs, findings.

import { h, spoken } from "./dom.js";
import { count, tlsVersion } from "./format.js";

const MEANINGS = {
  open: "still going on",
  delivered: "every message was taken by the server",
  partial: "some mail was taken, some refused",
  rejected: "no mail was taken, and something was refused",
  empty: "no mail was tried",
  aborted: "an end left in mid-transaction, or while a reply was owed",
  failed: "ended by smtpproxy: relaying could not go on",
  interrupted: "cut short when smtpproxy ended",
  pending: "not answered yet",
};

const EMBEDDED = /^(sandbox|mock):/;

export function outcomeBadge(outcome) {
  return h("span", { class: `badge is-${outcome}`, title: MEANINGS[outcome] }, outcome);
}

/** TLS of both legs, such as "1.3 | –". A sandbox has no leg of its own. */
export function tlsBadge(session) {
  const hasServerLeg = !EMBEDDED.test(session.upstream);
  const client = legWords("client", session.tls_client);
  const server = hasServerLeg ? legWords("server", session.tls_server) : "the sandbox answers";
  const isSafe = session.tls_client && (session.tls_server || !hasServerLeg);
  const isPlain = !session.tls_client && !session.tls_server;
  return h(
    "span",
    { class: `tls-badge${isSafe ? " is-safe" : isPlain ? " is-plain" : ""}`, title: `TLS: ${client}, ${server}` },
    spoken(`TLS: ${client}, ${server}`),
    h("span", { "aria-hidden": "true" }, isPlain ? "plain" : tlsVersion(session.tls_client) + (hasServerLeg ? `│${tlsVersion(session.tls_server)}` : "")),
  );
}

function legWords(leg, version) {
  return `${leg} leg ${version || "plain"}`;
}

export function findingsBadge(findings) {
  if (!findings.length) return null;
  const words = count(findings.length, "finding");
  return h("span", { class: "finding-badge", title: findings.join("\n") }, h("span", { "aria-hidden": "true" }, `⚑ ${findings.length}`), spoken(words));
}

/** A reply's code, coloured by its class. */
export function codeMark(code) {
  return code === null || code === undefined ? null : h("span", { class: `code is-${String(code)[0]}xx` }, code);
}

/** An address of the envelope; "" is the null path, null is none. */
export function address(path) {
  if (path === null || path === undefined) return "–";
  return path === "" ? "<>" : path;
}

/** The first recipient and how many more there are. */
export function recipients(paths) {
  if (!paths.length) return "–";
  return paths.length === 1 ? paths[0] : `${paths[0]} +${paths.length - 1}`;
}
