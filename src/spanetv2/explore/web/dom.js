// @ts-check
/** Short ways to find and make elements. */

/** @param {string} id @returns {any} the element, which the template has */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes, or handlers as `onclick`
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/** @param {number} value in 0..1 @returns {string} */
export function percent(value) {
  const shown = 100 * value;
  return `${shown >= 99.95 || shown < 0.05 ? Math.round(shown) : shown.toFixed(1)} %`;
}

/** @returns {Promise<void>} once the browser has drawn */
export function frame() {
  return new Promise((resolve) => {
    // A page in the background is not drawn; what waits for a frame must go on there too.
    const timer = setTimeout(resolve, 100);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
