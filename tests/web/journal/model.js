/**
 * What the jobs share: sound whose every frame names its place, and a model of a journal.
 */

import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import { FILE_NAMES } from "../../../src/micwire/web/recorder/files-common.js";

/** @import { FileStore } from "../../../src/micwire/web/recorder/files-common.js" */
/** @import { About, Finish } from "../../../src/micwire/web/recorder/journal.js" */
/** @import { FileName, Format, Gap, Mark } from "../../../src/micwire/web/recorder/types.js" */

/** @typedef {Record<FileName, Uint8Array>} Contents */

export const FRAME_BYTES = 4;
export const HEADER_BYTES = 24; // of a record
export const BLOCK = 1200; // frames: 25 ms
export const NONE = new Uint8Array(0);

/**
 * @param {string} [recording]
 * @param {Partial<Format>} [format]
 * @returns {About}
 */
export function aboutOf(recording = crypto.randomUUID(), format = {}) {
  return {
    server: "http://127.0.0.1/",
    open: {
      type: "open",
      recording,
      key: "k".repeat(22),
      format: { encoding: "pcm_f32le", sample_rate: 48_000, channels: 1, ...format },
    },
  };
}

/**
 * @param {number} first_frame
 * @param {number} frames
 * @returns {Gap}
 */
export function gapOf(first_frame, frames) {
  return { first_frame, frames, cause: "capture", exact: true };
}

/**
 * Sound of 4 bytes a frame, no two frames alike.
 *
 * @param {number} firstFrame
 * @param {number} frames
 */
export function sound(firstFrame, frames) {
  const words = new Uint32Array(frames);
  for (let at = 0; at < frames; at++) words[at] = wordAt(firstFrame + at);
  return new Uint8Array(words.buffer);
}

/** @param {number} frame */
function wordAt(frame) {
  const mixed = Math.imul(frame + 1, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/**
 * Whether it is the sound from a frame on.
 *
 * @param {Uint8Array} bytes That begin where a word does.
 * @param {number} firstFrame
 */
export function isSound(bytes, firstFrame) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let at = 0; at < words.length; at++) if (words[at] !== wordAt(firstFrame + at)) return false;
  return true;
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function equal(one, other) {
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return one.length === other.length;
}

/**
 * @param {boolean} isSo
 * @param {string} what
 * @returns {asserts isSo}
 */
export function expect(isSo, what) {
  if (!isSo) throw new Error(what);
}

/**
 * @param {unknown} found
 * @param {unknown} wanted
 * @param {string} what
 */
export function same(found, wanted, what) {
  const one = JSON.stringify(found);
  const other = JSON.stringify(wanted);
  expect(one === other, `${what}: ${one}, not ${other}`);
}

/**
 * Dice that fall the same way for the same seed (mulberry32).
 *
 * @param {number} seed
 */
export function dice(seed) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    below: (/** @type {number} */ end) => Math.floor(next() * end),
    chance: (/** @type {number} */ share) => next() < share,
  };
}

/** What a journal should know: numbers and arrays, nothing else. */
export class Model {
  end = 0;
  released = 0;
  acked = 0;
  /** @type {Gap[]} */
  gaps = [];
  /** @type {Mark[]} */
  marks = [];
  /** @type {number[][]} */
  hashes = [];
  /** @type {Finish | null} */
  finished = null;

  /**
   * @param {number} start
   * @returns {[number, number][]} Ranges of sound from there on.
   */
  ranges(start) {
    /** @type {[number, number][]} */
    const ranges = [];
    let frame = start;
    for (const gap of [...this.gaps, gapOf(this.end, 0)]) {
      if (gap.first_frame > frame) ranges.push([frame, gap.first_frame]);
      frame = Math.max(frame, gap.first_frame + gap.frames);
    }
    return ranges;
  }

  /**
   * Fail unless the journal knows and holds the same.
   *
   * @param {Journal} journal
   */
  async check(journal) {
    same(journal.keptFrames, this.end, "kept frames");
    same(journal.gaps, this.gaps, "gaps");
    same(journal.marks, this.marks, "marks");
    same(journal.finished, this.finished, "finish");
    same([...journal.hashes], this.hashes.flat(), "hashes");
    expect(journal.ackedFrames >= this.acked, "an ack is forgotten");
    expect(journal.ackedFrames <= Math.max(this.acked, this.released), "an ack that was none");
    const start = startOf(journal);
    expect(start <= this.released, `kept from ${start} on, but released only to ${this.released}`);
    await isWhole(journal);
  }
}

/** @param {Journal} journal */
export function startOf(journal) {
  return journal.runs()[0]?.firstFrame ?? journal.keptFrames;
}

/**
 * Fail unless the runs leave no hole, end where the journal does, and hold the right sound.
 *
 * @param {Journal} journal
 */
export async function isWhole(journal) {
  const runs = journal.runs();
  let frame = startOf(journal);
  for (const { firstFrame, frames, lost } of runs) {
    same(firstFrame, frame, "where a run begins");
    expect(frames > 0, "a run without frames");
    const end = firstFrame + frames;
    for (; frame < end && lost === null; frame += Math.min(40_000, end - frame)) {
      const count = Math.min(40_000, end - frame);
      const bytes = await journal.read(frame, count);
      expect(bytes.length === count * FRAME_BYTES && isSound(bytes, frame), `other sound at frame ${frame}`);
    }
    frame = end;
  }
  same(frame, journal.keptFrames, "where the runs end");
}

/**
 * The bytes of the files of a recording that nobody has open.
 *
 * @param {FileStore} store
 * @param {string} id
 * @returns {Promise<Contents>}
 */
export async function contents(store, id) {
  const files = await store.open(id);
  const found = { head: NONE, a: NONE, b: NONE };
  for (const name of FILE_NAMES) found[name] = (await files.read(name, 0, files.size(name))).slice();
  await files.close();
  return found;
}

/**
 * Make the files of a recording from their bytes.
 *
 * @param {FileStore} store
 * @param {string} id
 * @param {Contents} bytes
 */
export async function place(store, id, bytes) {
  const files = await store.open(id);
  for (const name of FILE_NAMES) {
    await files.truncate(name, 0);
    if (bytes[name].length > 0) await files.append(name, bytes[name].slice());
  }
  await files.close();
}

/**
 * Recover a journal that must be there.
 *
 * @param {FileStore} store
 * @param {string} id
 */
export async function recovered(store, id) {
  const journal = await Journal.recover(store, id);
  expect(journal !== null, "nothing was recovered");
  return journal;
}

/**
 * The `code` of what a function throws or rejects with; null if it does neither.
 *
 * @param {() => unknown} act
 */
export async function codeOf(act) {
  try {
    await act();
  } catch (error) {
    return String(/** @type {{ code?: unknown }} */ (error).code ?? error);
  }
  return null;
}
