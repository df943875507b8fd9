// A long column of items of any height, of which only the blocks near the view are in the document.

const BLOCK_ITEMS = 40;
const GUESSED_ITEM_PX = 18.75; // one line: most items are

export class Blocks {
  #container;
  #render;
  #blocks = []; // {element, isMounted, nodes}
  #count = 0;
  #stale = new Set();
  #frame = 0;
  #observer;

  /**
   * @param {Element} container
   * @param {Element|null} scroller whose view counts; null is the window's
   * @param {(index: number) => Element} render
   */
  constructor(container, scroller, render) {
    this.#container = container;
    this.#render = render;
    this.#observer = new IntersectionObserver((entries) => this.#onSeen(entries), { root: scroller, rootMargin: "300px 0px" });
  }

  /** There are that many items now; those whose index is given are new or have changed. */
  update(count, indices) {
    this.#count = count;
    for (const index of indices) this.#stale.add(index);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Scrolls an item into view, and returns its element. */
  reveal(index) {
    this.#draw();
    const block = this.#blocks[Math.floor(index / BLOCK_ITEMS)];
    if (!block) return null;
    this.#mount(block);
    const node = block.nodes[index % BLOCK_ITEMS];
    node?.scrollIntoView({ block: "center" });
    return node ?? null;
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
  }

  #draw() {
    const wanted = Math.ceil(this.#count / BLOCK_ITEMS);
    while (this.#blocks.length < wanted) {
      const element = document.createElement("div");
      element.className = "block";
      const block = { element, index: this.#blocks.length, isMounted: false, nodes: [] };
      element.block = block;
      this.#blocks.push(block);
      this.#container.append(element);
      this.#observer.observe(element);
    }
    const stale = [...this.#stale].sort((a, b) => a - b);
    this.#stale.clear();
    for (const index of stale) {
      const block = this.#blocks[Math.floor(index / BLOCK_ITEMS)];
      if (block.isMounted) this.#place(block, index % BLOCK_ITEMS);
      else this.#guess(block);
    }
  }

  #onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) this.#mount(target.block);
      else this.#unmount(target.block);
    }
  }

  #mount(block) {
    if (block.isMounted) return;
    block.isMounted = true;
    block.element.style.height = "";
    const items = Math.min(BLOCK_ITEMS, this.#count - block.index * BLOCK_ITEMS);
    for (let at = 0; at < items; at += 1) this.#place(block, at);
  }

  #unmount(block) {
    if (!block.isMounted) return;
    if (block.element.contains(document.activeElement)) return; // focus must not get lost
    const height = block.element.offsetHeight;
    block.isMounted = false;
    block.nodes = [];
    block.element.replaceChildren();
    block.element.style.height = `${height}px`;
  }

  #place(block, at) {
    const node = this.#render(block.index * BLOCK_ITEMS + at);
    const old = block.nodes[at];
    block.nodes[at] = node;
    if (old) old.replaceWith(node);
    else block.element.append(node);
  }

  #guess(block) {
    const items = Math.min(BLOCK_ITEMS, this.#count - block.index * BLOCK_ITEMS);
    block.element.style.height = `${items * GUESSED_ITEM_PX}px`;
  }
}
