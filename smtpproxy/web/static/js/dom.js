// Builds elements out of text. Whatever was recorded becomes a text node or an attribute's value, never markup.

/**
 * An element with properties and children.
 * @param {string} tag
 * @param {Object<string, any>} properties `class`, `onclick` and the like; all others are attributes.
 *   null and false leave an attribute out, true sets it empty.
 * @param {...(Node|string|number|null|undefined|Array)} children strings become text nodes.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Replaces everything in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Text for screen readers alone. */
export function spoken(text) {
  return h("span", { class: "hidden" }, text);
}

/** The element with that id; it is in index.html. */
export function byId(id) {
  return document.getElementById(id);
}
