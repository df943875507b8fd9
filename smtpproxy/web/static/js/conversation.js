// A session's conversation in view: items that come in are shown, and the end is followed while it is in sight.

import { Blocks } from "./blocks.js";
import { h } from "./dom.js";
import { itemElement } from "./lines.js";

const NEAR_END_PX = 60;

export class Conversation {
  element = h("div", { class: "conversation", role: "log", "aria-live": "off", "aria-label": "Conversation" });

  #dialogue;
  #scroller;
  #blocks;
  #isFollowing;

  /** @param {Element} scroller what scrolls the conversation */
  constructor(dialogue, scroller) {
    this.#dialogue = dialogue;
    this.#scroller = scroller;
    this.#blocks = new Blocks(this.element, scroller, (index) => itemElement(dialogue.items[index], dialogue.bracket(index)));
    this.update(dialogue.items.keys());
    // A session that has ended is read from its beginning; one that goes on is watched.
    this.#isFollowing = false;
    new ResizeObserver(() => this.#follow()).observe(this.element);
    scroller.addEventListener("scroll", this.#onScroll, { passive: true });
  }

  /** Items with these indices are new or have changed. */
  update(indices) {
    this.#blocks.update(this.#dialogue.items.length, indices);
  }

  /** Shows what a finding or a step is about. */
  reveal(n) {
    const index = this.#dialogue.indexOf(n);
    const element = index === undefined ? null : this.#blocks.reveal(index);
    element?.classList.add("is-revealed");
  }

  close() {
    this.#blocks.close();
    this.#scroller.removeEventListener("scroll", this.#onScroll);
  }

  #onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const isScrolled = scrollTop > 0;
    this.#isFollowing = isScrolled && scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  };

  #follow() {
    if (this.#isFollowing && !this.#dialogue.end) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}
