/**
 * A list of any length whose rows are elements only while they are near the window.
 *
 * All rows are of one height, that of the list's first. An element is used again for another
 * row once its own has left; the one that has the focus stays. Nothing here knows what a row is.
 */

const OVERSCAN = 4; // rows beyond either edge

/**
 * @typedef {{
 *   make: () => HTMLElement,
 *   bind: (row: HTMLElement, index: number) => void,
 *   onRange: (first: number, end: number) => void,
 * }} Rows `bind` fills an element for a row, again whenever that may have changed.
 */

export class Scroller {
  #list;
  #rows;
  #count = 0;
  #height = 0;
  #isWanted = false;
  /** @type {Map<number, HTMLElement>} */ #shown = new Map();
  /** @type {HTMLElement[]} */ #spare = [];

  /** @param {HTMLElement} list @param {Rows} rows @param {AbortSignal} signal Ends the listeners. */
  constructor(list, rows, signal) {
    this.#list = list;
    this.#rows = rows;
    const wake = () => this.#wake();
    addEventListener("scroll", wake, { signal, passive: true });
    const watch = new ResizeObserver(() => {
      this.#height = 0;
      wake();
    });
    watch.observe(list);
    watch.observe(document.documentElement);
    signal.addEventListener("abort", () => watch.disconnect());
  }

  get count() {
    return this.#count;
  }

  /** The height of a row in CSS pixels. */
  get height() {
    return this.#height ||= this.#measure();
  }

  /** There are so many rows, and any may be another than before. @param {number} count */
  show(count) {
    this.#count = count;
    for (const [index, row] of this.#shown) if (index >= count) this.#drop(index, row);
    for (const [index, row] of this.#shown) this.#rows.bind(row, index);
    this.#draw();
  }

  /** @param {number} index @returns {HTMLElement | undefined} */
  row(index) {
    return this.#shown.get(index);
  }

  /** Bring a row into the window, if it isn't there; return its element. @param {number} index @param {number} [margin] What covers the window's edges. */
  reveal(index, margin = 96) {
    const top = this.#list.getBoundingClientRect().top + index * this.height;
    if (top < margin) scrollBy({ top: top - margin, behavior: "instant" });
    else if (top + this.height > innerHeight - margin) scrollBy({ top: top + this.height - innerHeight + margin, behavior: "instant" });
    this.#draw();
    return this.#shown.get(index);
  }

  #measure() {
    const shown = this.#shown.values().next().value;
    if (shown) return shown.getBoundingClientRect().height;
    const row = this.#take();
    this.#list.append(row);
    const { height } = row.getBoundingClientRect();
    row.remove();
    this.#spare.push(row);
    return height;
  }

  #wake() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    requestAnimationFrame(() => {
      this.#isWanted = false;
      this.#draw();
    });
  }

  #draw() {
    const height = this.#list.isConnected ? this.height : 0;
    if (!height) return; // not to be seen now
    this.#list.style.height = `${this.#count * height}px`;
    const above = -this.#list.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(above / height) - OVERSCAN);
    const end = Math.min(this.#count, Math.ceil((above + innerHeight) / height) + OVERSCAN);
    for (const [index, row] of this.#shown) if (index < first || index >= end) this.#drop(index, row);
    for (let index = first; index < end; index++) {
      let row = this.#shown.get(index);
      if (!row) {
        row = this.#take();
        this.#shown.set(index, row);
        this.#rows.bind(row, index);
        if (!row.isConnected) this.#put(row, index);
      }
      row.style.translate = `0 ${index * height}px`;
    }
    this.#rows.onRange(first, end);
  }

  /** In the order of the rows, for who reads them one by one. @param {HTMLElement} row @param {number} index */
  #put(row, index) {
    let next = index + 1;
    while (next < index + 100 && !this.#shown.get(next)?.isConnected) next++;
    this.#list.insertBefore(row, this.#shown.get(next) ?? null);
  }

  #take() {
    return this.#spare.pop() ?? this.#rows.make();
  }

  /** @param {number} index @param {HTMLElement} row */
  #drop(index, row) {
    if (index < this.#count && row.matches(":focus-within")) return;
    this.#shown.delete(index);
    row.remove();
    this.#spare.push(row);
  }
}
