// What asks, and what explains: a question before something is deleted, and the help. Native dialogs.

import { h } from "./dom.js";
import { KEYS } from "./keys.js";

const FILTERS = [
  ["from:alice@example.com to:@example.com", "envelope addresses"],
  ['subject:"password reset"', "a message's subject"],
  ["code:5xx enhanced:5.7.*", "replies"],
  ["is:rejected is:open", "how it ended: delivered, partial, empty…"],
  ["tls:none tls:1.3", "TLS, on either leg"],
  ["verb:AUTH mechanism:PLAIN user:alice", "what the client said"],
  ["finding:bare-lf has:finding", "findings"],
  ["after:30m duration:>2s size:>1M", "when, how long, how large"],
  ["-is:delivered", "a minus negates"],
  ["invoice overdue", "words search the text"],
];

/** Asks; resolves to whether the answer was yes. */
export function confirmDeletion(question, details) {
  return new Promise((resolve) => {
    const dialog = show(
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "dialog-title" }, question),
        h("p", {}, details),
        h("div", { class: "dialog-actions" }, h("button", { value: "no", autofocus: true }, "Keep"), h("button", { value: "yes", class: "is-danger" }, "Delete")),
      ),
    );
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"));
  });
}

/** Keys and filters. @param {(filter: string) => void} onFilter called when an example is chosen */
export function showHelp(onFilter) {
  const dialog = show(
    h(
      "div",
      {},
      h("h2", { id: "dialog-title" }, "Keys"),
      h("dl", { class: "help-keys" }, KEYS.map(([keys, what]) => h("div", {}, h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what)))),
      h("h2", {}, "Filters"),
      h(
        "ul",
        { class: "help-filters" },
        FILTERS.map(([example, what]) =>
          h(
            "li",
            {},
            h(
              "button",
              {
                class: "example",
                type: "button",
                onclick: () => {
                  dialog.close();
                  onFilter(example);
                },
              },
              example,
            ),
            h("span", { class: "aside" }, what),
          ),
        ),
      ),
      h("form", { method: "dialog", class: "dialog-actions" }, h("button", { autofocus: true }, "Close")),
    ),
  );
}

function show(content) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
