// What the address says is shown: #/SESSION/TAB/MESSAGE/VIEW?q=FILTER. It shows nothing itself.

/**
 * @typedef {Object} Place
 * @property {string} session an id, a beginning of one, or "latest"; "" for none
 * @property {"conversation"|"timing"|"message"} tab
 * @property {number} message counts from 1
 * @property {string} view of a message: html, text, headers, parts, source, files; "" for the best there is
 * @property {string} filter
 */

const TABS = new Set(["conversation", "timing", "message"]);

/** @returns {Place} */
export function readPlace(hash = location.hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [session = "", tab = "", message = "", view = ""] = path.split("/").map(decode);
  return {
    session,
    tab: TABS.has(tab) ? tab : "conversation",
    message: /^[1-9]\d{0,8}$/.test(message) ? Number(message) : 1,
    view,
    filter: new URLSearchParams(search).get("q") ?? "",
  };
}

/** @param {Partial<Place>} place */
export function hashOf({ session = "", tab = "conversation", message = 1, view = "", filter = "" }) {
  let path = "#/";
  if (session) {
    path += encodeURIComponent(session);
    if (tab === "timing") path += "/timing";
    if (tab === "message") path += `/message/${message}${view ? `/${view}` : ""}`;
  }
  return filter ? `${path}?${new URLSearchParams({ q: filter })}` : path;
}

/** Goes there; `replace` leaves no step in the browser's history. */
export function go(place, { replace = false } = {}) {
  const hash = hashOf(place);
  if (hash === location.hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = hash;
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
