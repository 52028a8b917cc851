/**
 * Floats to the bytes of a recording's encoding, interleaved, little endian.
 *
 * Pure. Full scale is at -1 and 1. Integers are clip(rint(x * 2^(bits - 1))), halves to the
 * even number, NaN to 0, as the server converts; floats are kept bit for bit.
 */

/** @typedef {"pcm_s16le" | "pcm_s24le" | "pcm_f32le"} Encoding */

/** @type {Record<Encoding, number>} */
export const SAMPLE_BYTES = { pcm_s16le: 2, pcm_s24le: 3, pcm_f32le: 4 };

// Adding and taking away 1.5 * 2^52 rounds a double to an integer, halves to the even one.
const ROUNDER = 6755399441055744;

/**
 * Encode one block.
 *
 * @param {Float32Array[]} planes The samples of each channel, all of the same length.
 * @param {Encoding} encoding
 * @returns {{bytes: Uint8Array<ArrayBuffer>, clipped: number}} `clipped` counts samples beyond full scale.
 */
export function encodePcm(planes, encoding) {
  const channels = planes.length, frames = planes[0].length;
  const bytes = new Uint8Array(frames * channels * SAMPLE_BYTES[encoding]);
  const view = new DataView(bytes.buffer);
  if (encoding === "pcm_f32le") return { bytes, clipped: floats(planes, view) };
  const full = encoding === "pcm_s16le" ? 32768 : 8388608;
  let clipped = 0;
  for (let channel = 0; channel < channels; channel++) {
    const plane = planes[channel];
    for (let frame = 0, at = channel; frame < frames; frame++, at += channels) {
      let value = plane[frame] * full;
      if (!(value >= -full && value <= full - 1)) { // NaN too
        if (value >= full - 0.5 || value < -full - 0.5) clipped++;
        value = value > 0 ? Math.min(value, full - 1) : value < 0 ? Math.max(value, -full) : 0;
      }
      value = value + ROUNDER - ROUNDER;
      if (full === 32768) view.setInt16(2 * at, value, true);
      else {
        view.setUint16(3 * at, value & 0xffff, true);
        view.setInt8(3 * at + 2, value >> 16);
      }
    }
  }
  return { bytes, clipped };
}

/** @param {Float32Array[]} planes @param {DataView<ArrayBuffer>} view */
function floats(planes, view) {
  const channels = planes.length, frames = planes[0].length;
  let clipped = 0;
  // As 32-bit patterns: copying a float may quieten a signalling NaN. All that browsers run on is little endian.
  const to = new Uint32Array(view.buffer);
  for (let channel = 0; channel < channels; channel++) {
    const plane = planes[channel], from = new Uint32Array(plane.buffer, plane.byteOffset, frames);
    for (let frame = 0, at = channel; frame < frames; frame++, at += channels) {
      to[at] = from[frame];
      if (plane[frame] > 1 || plane[frame] < -1) clipped++;
    }
  }
  return clipped;
}

/** How loud a stretch of sound is; collects until it is taken. */
export class Level {
  #frames = 0;
  #clipped = 0;
  /** @type {number[]} */ #peak = [];
  /** @type {number[]} */ #squares = [];

  /** @param {Float32Array[]} planes @param {number} clipped */
  add(planes, clipped) {
    if (planes.length !== this.#peak.length) {
      this.#peak = planes.map(() => 0);
      this.#squares = planes.map(() => 0);
      this.#frames = 0;
    }
    this.#frames += planes[0].length;
    this.#clipped += clipped;
    planes.forEach((plane, channel) => {
      let peak = this.#peak[channel], squares = 0;
      for (let frame = 0; frame < plane.length; frame++) {
        const value = plane[frame], size = value < 0 ? -value : value;
        if (size > peak) peak = size;
        squares += value * value;
      }
      this.#peak[channel] = peak;
      this.#squares[channel] += squares;
    });
  }

  get frames() { return this.#frames; }

  /** Return the level since the last call: linear, 1 is full scale; per channel. */
  take() {
    const level = {
      frames: this.#frames,
      clipped: this.#clipped,
      peak: this.#peak,
      rms: this.#squares.map((sum) => Math.sqrt(sum / this.#frames)),
    };
    this.#peak = this.#peak.map(() => 0);
    this.#squares = this.#squares.map(() => 0);
    this.#frames = this.#clipped = 0;
    return level;
  }
}
