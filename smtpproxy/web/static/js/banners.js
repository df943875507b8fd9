// What the user must know at once: the connection is lost, recording has trouble, a request failed.

import { byId, fill, h } from "./dom.js";
import { count } from "./format.js";

/** Shows one banner for each topic, until it is over. */
export class Banners {
  #element = byId("banners");
  #texts = new Map(); // topic → {text, level}

  /** @param {"connection"|"recording"|"request"} topic @param {string} text "" when it is over */
  set(topic, text, level = "warning") {
    if ((this.#texts.get(topic)?.text ?? "") === text) return;
    if (text) this.#texts.set(topic, { text, level });
    else this.#texts.delete(topic);
    fill(
      this.#element,
      [...this.#texts].map(([name, banner]) =>
        h(
          "div",
          { class: `banner is-${banner.level}`, role: "alert" },
          h("p", {}, banner.text),
          name === "request" ? h("button", { class: "quiet", type: "button", onclick: () => this.set("request", "") }, "Dismiss") : null,
        ),
      ),
    );
  }

  /** @param {object} recording of the state */
  showRecording({ state, error, lost_events: lost, lag_s: lag }) {
    const missing = lost ? ` ${count(lost, "event")} could not be recorded.` : "";
    if (state === "failed") this.set("recording", `Recording has failed: ${error || "the store cannot be written"}.${missing} Mail is still passed on.`, "error");
    else if (state === "degraded") this.set("recording", `Recording is behind${lag >= 1 ? ` by ${Math.round(lag)} s` : ""}${error ? `: ${error}` : ""}.${missing} Mail is still passed on.`);
    else this.set("recording", "");
  }
}
