// What is shown while no session is: where to send mail to, with lines to try. It knows the state, no session.

import { urls } from "./api.js";
import { h } from "./dom.js";

/** @param {object} state as the API tells it @param {boolean} isEmpty nothing was recorded yet */
export function welcome(state, isEmpty) {
  const { routes } = state;
  return h(
    "section",
    { class: "welcome", "aria-label": "Getting started" },
    h("h2", {}, isEmpty ? "Waiting for mail" : "Pick a session"),
    h("p", {}, isEmpty ? "Point the app at this address. What it says appears here while it says it." : "Each row is one connection of the app. Press j and k to walk through them, ? for all keys."),
    state.store ? null : h("p", { class: "bad" }, "Nothing is recorded (--store none): sessions are listed while this page is open, and cannot be looked into."),
    h(
      "table",
      { class: "routes" },
      h("thead", {}, h("tr", {}, ["Route", "The app sends to", "It leads to"].map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", {}, routes.map((route) => h("tr", {}, h("td", {}, route.name), h("td", {}, h("code", {}, route.listen)), h("td", {}, h("code", {}, route.upstream), route.upstream.startsWith("sandbox") ? h("span", { class: "aside" }, " takes everything, delivers nothing") : null)))),
    ),
    routes.length ? tries(routes[0]) : null,
    h("p", { class: "aside" }, "The app must trust ", h("a", { href: urls.ca, download: true }, "this CA"), " to use TLS; ", h("code", {}, "smtpproxy trust"), " prints the line for its language. The ", h("a", { href: urls.openapi }, "API"), " has everything that this page has."),
  );
}

/** Lines to try, for a listener on TCP. */
function tries({ listen }) {
  const found = /^(smtps?):\/\/(.+):(\d+)$/.exec(listen);
  if (!found) return null;
  const [, scheme, bound, port] = found;
  const host = bound === "0.0.0.0" || bound === "[::]" ? location.hostname : bound;
  const tls = scheme === "smtps" ? " --tls-on-connect" : "";
  return h(
    "div",
    { class: "tries" },
    h("h3", {}, "Try it"),
    h("pre", { tabindex: 0, "aria-label": "With swaks" }, `swaks --server ${host}:${port}${tls} --from me@example.com --to you@example.com`),
    h("pre", { tabindex: 0, "aria-label": "With Python" }, `python3 -c "import smtplib; smtplib.SMTP${tls ? "_SSL" : ""}('${host.replace(/^\[|\]$/g, "")}', ${port}).sendmail('me@example.com', ['you@example.com'], 'Subject: Hello\\r\\n\\r\\nHi!')"`),
  );
}
