/** What is shown, piece by piece: elements, and texts by `textContent` alone. Nothing here knows of sound. */

/**
 * Make an element. `id` names it for tests and styles, `data-t` is the key of its text, `data-label` that of its name.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 */
export function h(tag, { id = "", ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, `${value}`);
  if (id) node.classList.add(node.dataset.testid = `${id}`);
  node.append(...children);
  return node;
}

/** @param {string} id @param {string} [look] @param {string} [key] */
export const button = (id, look = "quiet", key = id) =>
  /** @type {HTMLButtonElement} */ (h("button", { id, type: "button", class: look }, h("i"), h("span", { "data-t": key })));

/** @param {string} id @param {string} tag */
export const field = (id, tag) => h("label", { class: id }, h("span", { "data-t": id }), h(tag, { id }));

/** Change a text only if it is another. @param {Element} node @param {string} text */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Put the texts of a language into what has any. @param {Element} part @param {{say: (key: string) => string}} speaker */
export function translate(part, { say }) {
  for (const node of part.querySelectorAll("[data-t], [data-label]")) {
    const { t, label } = /** @type {HTMLElement} */ (node).dataset;
    if (t) put(node, say(t));
    if (label) node.ariaLabel = say(label);
  }
}

/** Put choices into a select, keeping what is chosen. @param {HTMLSelectElement} select @param {string[][]} choices @param {string} first */
export function choose(select, choices, first) {
  const value = select.value || first || choices[0][0];
  select.replaceChildren(...choices.map(([name, text]) => new Option(text, name)));
  select.value = value;
}
