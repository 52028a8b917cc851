/** The level meter: a bar a channel in dBFS; RMS solid, peak pale, the held peak a line. Draws when told to. */

/** @import { Canvas, Colour } from "./waveform.js" */

const FLOOR_DB = -60;
const FALL_DB_S = 20;
const HOLD_MS = 1500;
/** Where each colour ends. @type {[number, Colour][]} */
const ZONES = [[-12, "safe"], [-3, "high"], [0, "lost"]];

/** @param {number} size 1 is full scale. @returns {number} dBFS, not below the meter's floor */
export const decibels = (size) => Math.max(FLOOR_DB, 20 * Math.log10(size));

export class Meter {
  #canvas;
  #rows = [{ rms: FLOOR_DB, peak: FLOOR_DB, held: FLOOR_DB, heldAt: 0 }];
  #drawnAt = 0;

  /** @param {Canvas} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** The loudest held peak in dBFS. */
  get held() {
    return Math.max(...this.#rows.map(({ held }) => held));
  }

  /** @param {number[]} peaks One a channel, 1 is full scale. @param {number[]} rms @param {number} now In ms. */
  level(peaks, rms, now) {
    this.#rows = peaks.map((size, channel) => {
      const peak = decibels(size), row = this.#rows[channel] ?? this.#rows[0];
      const isHigher = peak >= row.held;
      return {
        rms: decibels(rms[channel] * Math.SQRT2), // a full-scale sine reads 0 (AES17)
        peak: Math.max(peak, row.peak),
        held: isHigher ? peak : row.held,
        heldAt: isHigher ? now : row.heldAt,
      };
    });
  }

  /** @param {number} now In ms. @returns {boolean} whether something still falls: draw again */
  draw(now) {
    const { context, width, height, colours } = this.#canvas.begin();
    const isFalling = this.held > FLOOR_DB; // as drawn now: the last is drawn at the floor
    const fall = (Math.min(200, now - this.#drawnAt) / 1000) * FALL_DB_S;
    const pitch = height / this.#rows.length;
    const tall = Math.max(1, pitch - Math.min(4, pitch / 4));
    const x = (/** @type {number} */ level) => (1 - level / FLOOR_DB) * width;
    this.#drawnAt = now;
    this.#rows.forEach((row, channel) => {
      const y = channel * pitch;
      let from = FLOOR_DB;
      for (const [to, colour] of ZONES) {
        context.fillStyle = colours[colour];
        for (const level of [row.peak, row.rms]) {
          context.globalAlpha = level === row.peak ? 0.4 : 1;
          if (level > from) context.fillRect(x(from), y, x(Math.min(level, to)) - x(from), tall);
        }
        context.globalAlpha = 1;
        if (row.held > from && (row.held <= to || to === 0)) context.fillRect(Math.min(x(row.held), width) - 2, y, 2, tall);
        from = to;
      }
      row.rms = Math.max(FLOOR_DB, row.rms - fall);
      row.peak = Math.max(FLOOR_DB, row.peak - fall);
      if (now - row.heldAt > HOLD_MS) row.held = Math.max(FLOOR_DB, row.held - fall);
    });
    return isFalling;
  }
}
