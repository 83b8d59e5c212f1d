// Builds DOM nodes. Text only ever enters as text: nothing on this page parses HTML.

/** Return an element: h("button", {class: "chip", onclick: f, "aria-pressed": "true"}, "cat"). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Return an SVG element. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Say something to screen readers; the last sentence wins. */
export function announce(sentence) {
  byId("announcer").textContent = sentence;
}

/** Show a sentence at the foot of the window for a few seconds. */
export function toast(sentence) {
  const box = byId("toast");
  box.textContent = sentence;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, 5000);
}
