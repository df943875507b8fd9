// The keyboard: which key means what, and when keys are text. What is done about it is told by the caller.

/** What each key does, in the order of the help. */
export const KEYS = [
  ["j", "next session"],
  ["k", "previous session"],
  ["Enter", "open the session"],
  ["1 2 3", "conversation, timing, message"],
  ["/", "search"],
  ["Esc", "close the session, or leave the search"],
  ["?", "this help"],
];

/** @param {Object<string, () => void>} actions by key; `Escape` is called in text fields too */
export function listenToKeys(actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return; // it has its own
    const isTyping = event.target.matches("input, textarea, select");
    if (isTyping && event.key !== "Escape") return;
    // What has the focus means what Enter says, unless it is nothing.
    if (event.key === "Enter" && event.target.matches("a, button, summary")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
