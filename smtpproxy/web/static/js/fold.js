// One session's events, as they happen, folded into what the list says of it. It asks nobody for anything.
// The same rules as the server's own summary, so that a row says the same before and after a reload.

const OPENING = new Set(["MAIL", "SEND", "SOML", "SAML"]);
const NO_FAILURE = new Set(["keep-secrets", "upstream-not-verified", "client-reset", "truncated-tls", "shutdown"]);
const MAX_RECIPIENTS = 1000;
const TERMINATOR_OCTETS = 3; // ".CRLF"

/** A fold from the session's first event on, or from a summary that counts up to `afterSeq`. */
export class Fold {
  #quitN = -1;
  #isBdat = false;
  #hasFailed = false;
  #hasSpoken;

  constructor(summary, afterSeq = -1) {
    this.summary = summary;
    this.lastSeq = afterSeq;
    this.#hasSpoken = summary.mail_from !== null || summary.messages > 0;
  }

  static begin(event) {
    return new Fold({
      session: event.session,
      started: event.started,
      duration: 0,
      client: event.client,
      upstream: event.upstream,
      outcome: "open",
      mail_from: null,
      rcpt_to: [],
      last_code: null,
      messages: 0,
      bytes: 0,
      tls_client: "",
      tls_server: "",
      findings: [],
      route: event.route,
      listen: event.listen ?? "",
    });
  }

  /** It ended, nobody said a word, and nothing went wrong: somebody looked whether the port is open. */
  get isProbe() {
    return this.summary.outcome !== "open" && !this.hasHappened;
  }

  /** There is something to look at. */
  get hasHappened() {
    return this.#hasSpoken || this.#hasFailed;
  }

  add(event) {
    if (event.seq <= this.lastSeq) return;
    this.lastSeq = event.seq;
    this.summary.duration = event.t;
    this[`_${event.kind}`]?.(event);
  }

  _preface(event) {
    if (event.source) this.summary.client = event.source;
  }

  _command(event) {
    if (event.from !== "client") return;
    this.#hasSpoken = true;
    const { summary } = this;
    if (event.verb === "RCPT") {
      if (summary.rcpt_to.length < MAX_RECIPIENTS) summary.rcpt_to.push(pathOf(event.raw ?? ""));
    } else if (OPENING.has(event.verb)) {
      summary.mail_from ??= pathOf(event.raw ?? "");
    } else if (event.verb === "DATA" || event.verb === "BDAT") {
      this.#isBdat = event.verb === "BDAT";
    } else if (event.verb === "QUIT") {
      this.#quitN = event.n;
    }
  }

  _auth() {
    this.#hasSpoken = true;
  }

  _opaque(event) {
    if (event.from === "client") this.#hasSpoken = true;
  }

  _reply(event) {
    if (event.to === "client" && event.code !== undefined && event.answers !== this.#quitN) {
      this.summary.last_code = event.code;
    }
  }

  _content(event) {
    this.#hasSpoken = true;
    const isTerminator = event.end && !this.#isBdat && event.octets === TERMINATOR_OCTETS;
    if (!isTerminator) this.summary.bytes += event.octets ?? 0;
    if (event.end) this.summary.messages += 1;
  }

  _tls(event) {
    if (event.error) this.#hasFailed = true;
    else this.summary[`tls_${event.leg}`] = event.version;
  }

  _finding(event) {
    if (!NO_FAILURE.has(event.code)) this.#hasFailed = true;
    if (!this.summary.findings.includes(event.code)) this.summary.findings.push(event.code);
  }

  _gap() {
    this.#hasSpoken = true;
  }

  _end(event) {
    this.summary.outcome = event.outcome;
  }
}

/** The address in "MAIL FROM:<a@b> SIZE=3": what stands between the brackets, or the first word without them. */
function pathOf(line) {
  const argument = line.slice(line.indexOf(":") + 1).trim();
  const bracketed = /^<([^>]*)>/.exec(argument);
  const address = bracketed ? bracketed[1] : argument.split(/\s/, 1)[0];
  return address.replace(/^@[^:]*:/, ""); // a source route (RFC 5321 4.1.1.3)
}
