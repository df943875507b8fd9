// Where the time went, to look at: one bar for the whole session, then a bar for each step. It measures nothing.

import { codeMark } from "./badges.js";
import { h } from "./dom.js";
import { number, seconds } from "./format.js";

const MAX_STEPS = 400;
const SLOW_S = 0.5;
const VERY_SLOW_S = 2;
const LEGEND = [
  ["server", "waiting for the server"],
  ["content", "the message on its way"],
  ["tls", "TLS handshakes"],
  ["client", "waiting for the client"],
];

/**
 * @param {import("./timing.js").Timing} timing
 * @param {(n: number) => void} onStep called with the event that a step begins with
 */
export function waterfall(timing, onStep) {
  const whole = Math.max(timing.until, 1e-6);
  const { steps, left } = shown(timing);
  return h(
    "div",
    { class: "waterfall" },
    spentBar(timing, whole),
    scale(whole),
    h("ol", { class: "steps" }, steps.map((step) => stepRow(step, whole, timing.until, onStep))),
    left ? h("p", { class: "aside" }, `The ${number(steps.length)} slowest steps; ${number(left)} quicker ones are left out.`) : null,
  );
}

function spentBar({ spent }, whole) {
  const parts = LEGEND.filter(([who]) => spent[who] > 0);
  const bar = h("div", { class: "spent", "aria-hidden": "true" });
  for (const [who] of parts) {
    const piece = h("span", { class: `spent-part by-${who}` });
    piece.style.flexGrow = spent[who] / whole;
    bar.append(piece);
  }
  return h(
    "section",
    { "aria-label": "Where the time went" },
    bar,
    h(
      "ul",
      { class: "legend" },
      parts.map(([who, words]) => h("li", {}, h("span", { class: `swatch by-${who}`, "aria-hidden": "true" }), `${words} `, h("strong", {}, seconds(spent[who])), ` ${Math.round((spent[who] / whole) * 100)} %`)),
    ),
  );
}

function scale(whole) {
  return h("div", { class: "scale", "aria-hidden": "true" }, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, part ? seconds(whole * part) : "0")));
}

function stepRow(step, whole, until, onStep) {
  const to = step.to ?? until;
  const took = to - step.from;
  const slow = took >= VERY_SLOW_S ? " is-very-slow" : took >= SLOW_S ? " is-slow" : "";
  const bar = h("span", { class: `step-bar by-${step.kind === "command" || step.kind === "greeting" ? "server" : step.kind}${step.to === null ? " is-open" : ""}` });
  bar.style.left = `${(step.from / whole) * 100}%`;
  bar.style.width = `${(took / whole) * 100}%`;
  return h(
    "li",
    { class: `step${slow}` },
    h("button", { class: "step-label", type: "button", title: "Show it in the conversation", onclick: () => onStep(step.n) }, step.label, " ", codeMark(step.code)),
    h("span", { class: "step-track", "aria-hidden": "true" }, bar),
    h("span", { class: "step-took" }, step.to === null ? "no answer" : seconds(took)),
  );
}

/** All steps in order; of very many the slowest. */
function shown(timing) {
  const { steps } = timing;
  if (steps.length <= MAX_STEPS) return { steps, left: 0 };
  const chosen = new Set(timing.slowest(MAX_STEPS));
  return { steps: steps.filter((step) => chosen.has(step)), left: steps.length - chosen.size };
}
