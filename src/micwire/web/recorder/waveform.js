/**
 * The sound as it comes in, the latest at the right edge; at the end, all of it.
 *
 * What is safe is drawn strong and what isn't pale; gaps are hatched where they happened, marks
 * are flags. It takes as much memory after a day as after a minute.
 */

/** @typedef {"ink" | "pale" | "safe" | "high" | "lost"} Colour */
/** @typedef {{at: number, seconds: number}} Place In the take, in seconds. */

const COLUMNS_S = 15; // so little is new each second that all can be drawn again
const PITCH = 3; // CSS pixels
const KEPT = 1024; // columns: more than the widest window shows
const NONE = -1;

/** A canvas that is as large as its place, and the colours that look.js gave it. */
export class Canvas {
  #node;
  #context;
  #width = 0;
  #height = 0;
  /** @type {Record<Colour, string> | null} */ #colours = null;

  /** @param {HTMLCanvasElement} node @param {AbortSignal} signal @param {() => void} onChange It has to be drawn again. */
  constructor(node, signal, onChange) {
    this.#node = node;
    this.#context = /** @type {CanvasRenderingContext2D} */ (node.getContext("2d"));
    const refresh = () => {
      this.#colours = null;
      onChange();
    };
    const watch = new ResizeObserver(([{ contentRect: { width, height } }]) => {
      [this.#width, this.#height] = [width, height];
      refresh();
    });
    watch.observe(node);
    signal.addEventListener("abort", () => watch.disconnect());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh, { signal });
  }

  /** Clear it; sizes are in CSS pixels. */
  begin() {
    const context = this.#context, node = this.#node, width = this.#width, height = this.#height;
    const [w, h] = [width, height].map((size) => Math.round(size * devicePixelRatio));
    if (node.width !== w || node.height !== h) [node.width, node.height] = [w, h];
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height, colours: this.#colours ??= this.#read() };
  }

  #read() {
    // Only real properties resolve colours that follow the scheme: these carry them.
    const { color, caretColor, borderTopColor, borderRightColor, borderBottomColor } = getComputedStyle(this.#node);
    return { ink: color, pale: caretColor, safe: borderTopColor, high: borderRightColor, lost: borderBottomColor };
  }
}

export class Waveform {
  #canvas;
  #recent = new Float32Array(KEPT).fill(NONE); // a ring of peaks
  #whole = new Float32Array(KEPT).fill(NONE);
  #each = 1; // columns in one of the whole
  #column = 0;

  /** @param {Canvas} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  reset() {
    this.#recent.fill(NONE);
    this.#whole.fill(NONE);
    this.#each = 1;
    this.#column = 0;
  }

  /**
   * @param {number} seconds Up to where in the take there is sound.
   * @param {number} peak 1 is full scale.
   * @returns {boolean} whether there is a new column to draw
   */
  add(seconds, peak) {
    const column = Math.floor(seconds * COLUMNS_S), before = this.#column;
    // News that comes late speaks of all columns since the last; where much is left out is a gap.
    const first = column - before > COLUMNS_S / 4 ? column : before + 1;
    for (let next = Math.max(before, column - KEPT) + 1; next <= column; next++) this.#recent[next % KEPT] = next < first ? NONE : peak;
    this.#column = column;
    while (column >= KEPT * this.#each) {
      this.#whole = this.#whole.map((_, at) => at < KEPT / 2 ? Math.max(this.#whole[2 * at], this.#whole[2 * at + 1]) : NONE);
      this.#each *= 2;
    }
    this.#recent[column % KEPT] = Math.max(this.#recent[column % KEPT], peak);
    for (let next = Math.min(first, column); next <= column; next++) {
      const at = Math.floor(next / this.#each);
      this.#whole[at] = Math.max(this.#whole[at], peak);
    }
    return column !== before;
  }

  /**
   * @param {number} safe Seconds that are durable.
   * @param {Place[]} gaps
   * @param {Place[]} marks
   * @param {number | null} length Draw all of these seconds; null: the latest.
   */
  draw(safe, gaps, marks, length) {
    const { context, width, height, colours } = this.#canvas.begin();
    const count = Math.floor(width / PITCH), middle = height / 2;
    const first = length === null ? this.#column + 1 - count : 0;
    const step = length === null ? 1 : (length * COLUMNS_S) / count; // columns from one line to the next
    const x = (/** @type {number} */ seconds) => ((seconds * COLUMNS_S - first) / step) * PITCH;
    context.fillStyle = colours.pale;
    context.fillRect(0, middle, width, 0.5);
    context.lineWidth = 2;
    context.lineCap = "round";
    for (const isSafe of [true, false]) {
      context.beginPath();
      for (let place = 0; place < count; place++) {
        const column = first + place * step;
        if (column < 0 || isSafe !== (length !== null || column + 1 <= safe * COLUMNS_S)) continue;
        const peak = length === null ? this.#recent[column % KEPT] : Math.max(...this.#whole.subarray(column / this.#each, (column + step) / this.#each + 1));
        if (peak === NONE) continue;
        const tall = Math.sqrt(Math.min(1, peak)) * (middle - 8) + 0.5;
        context.moveTo(place * PITCH + 1, middle - tall);
        context.lineTo(place * PITCH + 1, middle + tall);
      }
      context.strokeStyle = isSafe ? colours.ink : colours.pale;
      context.stroke();
    }
    for (const { at, seconds } of gaps) hatch(context, x(at), Math.max(4, x(at + seconds) - x(at)), height, colours.lost); // the shortest is seen
    context.fillStyle = colours.safe;
    for (const { at } of marks) {
      const left = Math.min(Math.round(x(at)), width - 10);
      context.fillRect(left, 0, 2, height);
      context.fillRect(left, 0, 9, 9);
    }
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} left @param {number} wide @param {number} height @param {string} colour */
export function hatch(context, left, wide, height, colour) {
  if (left + wide < 0) return;
  context.save();
  context.beginPath();
  context.rect(left, 0, wide, height);
  context.clip();
  context.fillStyle = context.strokeStyle = colour;
  context.globalAlpha = 0.2;
  context.fillRect(left, 0, wide, height);
  context.globalAlpha = 1;
  context.beginPath();
  for (let at = left - height; at < left + wide; at += 7) {
    context.moveTo(at, height);
    context.lineTo(at + height, 0);
  }
  context.stroke();
  context.restore();
}
