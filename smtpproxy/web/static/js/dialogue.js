// One session's events as the items of a conversation: what belongs together is one item. It draws nothing.
//
// A message's pieces are one item; a rewritten EHLO reply is one, with both versions; findings hang on the item
// they are about; commands that were pipelined share a bracket with the replies to them.

import { plainText, spokenLines } from "./octets.js";

const GREETING_VERBS = new Set(["EHLO", "LHLO"]);

/**
 * @typedef {Object} Item
 * @property {"start"|"spoken"|"ehlo"|"content"|"dot"|"tls"|"gap"|"finding"|"end"|"other"} kind
 * @property {object} event the event, or the first of several
 * @property {number|null} since seconds since the item before; null for the first
 * @property {boolean} isTls the speaker's leg was under TLS
 * @property {object[]} findings
 * @property {number} group which commands were pipelined together; 0 for none
 * @property {boolean} isOpen unfolded by the user
 */

export class Dialogue {
  /** @type {Item[]} */
  items = [];
  events = 0;
  lastN = -1;
  session = null; // the session event
  end = null;
  findings = new Map(); // code → the first event with it

  #byN = new Map(); // event's n → index of its item
  #groups = new Map(); // group → {first, last, commands}: the indices of its items, how many commands it has
  #serverEhlo = null; // the latest EHLO reply that the proxy kept to itself
  #lastT = 0;
  #isBdat = false;
  #isUnderTls = { client: false, server: false };

  /**
   * Takes the next event.
   * @returns {number[]} the indices of items that are new or have changed
   */
  add(event) {
    if (event.n <= this.lastN) return [];
    this.lastN = event.n;
    this.events += 1;
    const touched = this[`_${event.kind}`]?.(event) ?? [this.#push("other", event)];
    this.#lastT = event.t;
    return touched;
  }

  /** Where an item stands in its group: "first", "inner", "last", or null where nothing was pipelined. */
  bracket(index) {
    const group = this.#groups.get(this.items[index].group);
    if (!group || group.commands < 2) return null;
    return index === group.first ? "first" : index === group.last ? "last" : "inner";
  }

  /** The index of the item that an event is in. */
  indexOf(n) {
    return this.#byN.get(n);
  }

  _session(event) {
    this.session = event;
    return [this.#push("start", event)];
  }

  _command(event) {
    if (event.verb === "DATA" || event.verb === "BDAT") this.#isBdat = event.verb === "BDAT";
    const index = this.#push("spoken", event);
    if (!event.group || event.from !== "client") return [index];
    const group = this.#groups.get(event.group) ?? { first: index, commands: 0 };
    this.#groups.set(event.group, group);
    group.commands += 1;
    return this.#extend(event.group, index);
  }

  _auth(event) {
    return [this.#push("spoken", event)];
  }

  _preface(event) {
    return [this.#push("spoken", event)];
  }

  _opaque(event) {
    return [this.#push("spoken", event)];
  }

  _reply(event) {
    const asked = this.items[this.#byN.get(event.answers)];
    const isEhlo = GREETING_VERBS.has(asked?.event.verb) && event.code === 250;
    if (isEhlo && event.from === "server" && event.to === "proxy") {
      const index = this.#push("spoken", event);
      this.#serverEhlo = { event, index };
      return [index];
    }
    const original = this.#serverEhlo;
    if (isEhlo && original && event.from === "proxy" && event.to === "client") {
      this.#serverEhlo = null;
      return this.#pushEhlo(event, original);
    }
    const index = this.#push("spoken", event);
    return asked?.group ? this.#extend(asked.group, index) : [index];
  }

  _content(event) {
    const { items } = this;
    const last = items.at(-1);
    const octets = event.octets ?? 0;
    if (event.end && !this.#isBdat) return [this.#push("dot", event)];
    if (last?.kind === "content" && last.event.message === event.message && !last.isEnded) {
      last.octets += octets;
      last.lastN = event.n;
      last.until = event.t;
      last.isEnded = Boolean(event.end);
      last.isDigest ||= event.sha256 !== undefined;
      this.#byN.set(event.n, items.length - 1);
      return [items.length - 1];
    }
    const index = this.#push("content", event);
    Object.assign(items[index], { octets, lastN: event.n, until: event.t, isEnded: Boolean(event.end), isDigest: event.sha256 !== undefined });
    return [index];
  }

  _tls(event) {
    if (!event.error) this.#isUnderTls[event.leg] = true;
    return [this.#push("tls", event)];
  }

  _finding(event) {
    if (!this.findings.has(event.code)) this.findings.set(event.code, event);
    const about = this.#byN.get(event.about);
    if (about === undefined) return [this.#push("finding", event)];
    this.items[about].findings.push(event);
    this.#byN.set(event.n, about);
    return [about];
  }

  _gap(event) {
    return [this.#push("gap", event)];
  }

  _end(event) {
    this.end = event;
    return [this.#push("end", event)];
  }

  /** Both versions of an EHLO reply: one item where the server's stands right before, else two. */
  #pushEhlo(event, original) {
    const isNext = original.index === this.items.length - 1 && !this.items[original.index].findings.length;
    const diff = compareEhlo(original.event, event);
    if (isNext) {
      const item = this.items[original.index];
      Object.assign(item, { kind: "ehlo", client: event, diff });
      this.#byN.set(event.n, original.index);
      return [original.index];
    }
    const index = this.#push("ehlo", event);
    Object.assign(this.items[index], { client: event, diff });
    return [index];
  }

  #push(kind, event) {
    const leg = event.from === "proxy" ? event.to : event.from;
    const index = this.items.length;
    this.items.push({
      kind,
      event,
      since: index ? event.t - this.#lastT : null,
      isTls: this.#isUnderTls[leg] ?? false,
      findings: [],
      group: 0,
      isOpen: false,
    });
    this.#byN.set(event.n, index);
    return index;
  }

  /** An item belongs to a group too; returns the items whose brackets change by that. */
  #extend(number, index) {
    const group = this.#groups.get(number);
    const before = group.last ?? index;
    group.last = index;
    this.items[index].group = number;
    return before === index ? [index] : [before, index];
  }
}

/**
 * The lines of an EHLO reply as the server said it and as the client got it.
 * @returns {Array<{text: string, change: ""|"hidden"|"added"}>}
 */
function compareEhlo(server, client) {
  const said = ehloLines(server);
  const got = ehloLines(client);
  const words = (line) => line.slice(4).trim().toUpperCase();
  const gotWords = new Set(got.map(words));
  const saidWords = new Set(said.map(words));
  const lines = [];
  let at = 0;
  for (const text of said) {
    if (!gotWords.has(words(text))) {
      lines.push({ text, change: "hidden" });
      continue;
    }
    while (at < got.length && words(got[at]) !== words(text)) {
      if (!saidWords.has(words(got[at]))) lines.push({ text: got[at], change: "added" });
      at += 1;
    }
    lines.push({ text: got[at] ?? text, change: "" });
    at += 1;
  }
  for (const text of got.slice(at)) {
    if (!saidWords.has(words(text))) lines.push({ text, change: "added" });
  }
  return lines;
}

function ehloLines(event) {
  return spokenLines(event).map(plainText);
}
