// The search box: hands over a filter when it is meant, and shows where one is wrong.

import { byId, fill, h } from "./dom.js";

const PAUSE_MS = 350;

export class Search {
  #input = byId("filter");
  #problem = byId("filter-problem");
  #timer = 0;
  #current = "";
  #onFilter;

  /** @param {(filter: string) => void} onFilter */
  constructor(onFilter) {
    this.#onFilter = onFilter;
    this.#input.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#apply(), PAUSE_MS);
    });
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#apply();
    });
  }

  /** Shows the filter that an address asks for; what somebody is typing is left alone. */
  set(filter) {
    this.#current = filter;
    if (this.#input.value.trim() !== filter) this.#input.value = filter;
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  /** Empties the box; returns whether there was anything in it. */
  clear() {
    const had = this.#input.value !== "";
    this.#input.value = "";
    this.#apply();
    return had;
  }

  /** Shows what is wrong with the filter, under the character where it is; null takes it back. */
  showProblem(error) {
    const isFilter = error?.code === "bad-filter";
    this.#problem.hidden = !isFilter;
    this.#input.toggleAttribute("aria-invalid", isFilter);
    if (isFilter) this.#input.setAttribute("aria-invalid", "true");
    if (!isFilter) {
      fill(this.#problem);
      return;
    }
    const text = this.#input.value.trim();
    const at = Math.max(0, (error.column ?? 1) - 1);
    fill(
      this.#problem,
      h("pre", { "aria-hidden": "true" }, `${text}\n${" ".repeat(at)}^`),
      h("p", {}, `Column ${at + 1}: ${error.message}`),
    );
  }

  #apply() {
    clearTimeout(this.#timer);
    const filter = this.#input.value.trim();
    if (filter === this.#current) return;
    this.#current = filter;
    this.#onFilter(filter);
  }
}
