/**
 * The peaks of recordings as the server has computed them: asked for when they are needed,
 * kept while they may be needed again, a few at a time.
 */

import { isAbort } from "./api.js";

/** @import { Api } from "./api.js" */
/** @import { Peaks } from "./types.js" */

const THUMBNAIL_COLUMNS = 64;
const GROWN = 1.1;
const AT_ONCE = 4;
const KEPT = 600;
const COMPUTING_MS = 1_000;
export const TILE_COLUMNS = 512;

/** What was used last is kept longest. @template T */
class Kept {
  /** @type {Map<string, T>} */ #map = new Map();

  /** @param {string} key */
  get(key) {
    const value = this.#map.get(key);
    if (value !== undefined) {
      this.#map.delete(key);
      this.#map.set(key, value);
    }
    return value;
  }

  /** @param {string} key @param {T} value */
  set(key, value) {
    this.#map.set(key, value);
    if (this.#map.size > KEPT) this.#map.delete(/** @type {string} */ (this.#map.keys().next().value));
  }
}

/** Whole recordings in a few columns, 0 to 1. */
export class Thumbnails {
  #api;
  #onDone;
  /** @type {Kept<{frames: number, columns: number[]}>} */ #kept = new Kept();
  /** @type {Map<string, number>} frames by recording */ #wanted = new Map();
  /** @type {{recording: string, frames: number}[]} */ #seen = [];
  #running = 0;
  #later = 0;

  /** @param {Api} api @param {(recording: string) => void} onDone There is another picture of it. */
  constructor(api, onDone) {
    this.#api = api;
    this.#onDone = onDone;
  }

  /** What there is of it, which may be of fewer frames. @param {string} recording */
  get(recording) {
    return this.#kept.get(recording)?.columns;
  }

  /** Ask for these, where there is nothing or it has grown, and for no others. @param {{recording: string, frames: number}[]} seen */
  fetch(seen) {
    this.#seen = seen;
    clearTimeout(this.#later);
    const fresh = seen.filter(({ recording, frames }) => frames > (this.#kept.get(recording)?.frames ?? 0) * GROWN);
    this.#wanted = new Map(fresh.map(({ recording, frames }) => [recording, frames]));
    while (this.#running < AT_ONCE && this.#wanted.size > 0) this.#next();
  }

  async #next() {
    const [[recording, frames]] = this.#wanted;
    this.#wanted.delete(recording);
    this.#running += 1;
    try {
      const peaks = await this.#api.peaks(recording, { columns: Math.min(THUMBNAIL_COLUMNS, frames) });
      this.#kept.set(recording, { frames: peaks.known_frames, columns: loudest(peaks) });
      this.#onDone(recording);
      if (peaks.known_frames >= peaks.frames) return;
      clearTimeout(this.#later);
      this.#later = setTimeout(() => this.fetch(this.#seen), COMPUTING_MS);
    } catch {
      // A row without a picture is a row all the same; it is asked for again when it is seen again.
    } finally {
      this.#running -= 1;
      if (this.#wanted.size > 0 && this.#running < AT_ONCE) this.#next();
    }
  }
}

/** The loudest of all channels in each column, 0 to 1. @param {Peaks} peaks */
export const loudest = ({ min, max }) =>
  max[0].map((_, n) => Math.max(...max.map((row, channel) => Math.max(row[n], -min[channel][n]))) / 128);

/**
 * One recording at any zoom. Level n has 2^n frames in a column; a tile is 512 columns.
 */
export class Tiles {
  #api;
  #recording;
  #onTile;
  /** @type {Kept<Peaks>} */ #kept = new Kept();
  /** @type {Map<string, AbortController>} */ #asked = new Map();

  /** @param {Api} api @param {string} recording @param {(error?: unknown) => void} onTile There is another tile, or it can't be had. */
  constructor(api, recording, onTile) {
    this.#api = api;
    this.#recording = recording;
    this.#onTile = onTile;
  }

  /**
   * Return the tiles of a part, coarser ones where the right ones are still under way.
   * @param {number} level @param {number} first @param {number} end In frames. @param {number} total Frames that there are.
   */
  cover(level, first, end, total) {
    const size = TILE_COLUMNS * 2 ** level;
    const found = new Set();
    const wanted = new Set();
    for (let index = Math.floor(Math.max(0, first) / size); index * size < Math.min(end, total); index++) {
      wanted.add(`${level} ${index}`);
      const tile = this.#tile(level, index, total);
      if (tile) found.add(tile);
      else for (const coarser of this.#coarser(level, index)) found.add(coarser);
    }
    for (const [key, asking] of this.#asked) {
      if (key.startsWith(`${level} `) && wanted.has(key)) continue;
      asking.abort(); // it has left the window
      this.#asked.delete(key);
    }
    return /** @type {Peaks[]} */ ([...found]);
  }

  close() {
    for (const asking of this.#asked.values()) asking.abort();
    this.#asked.clear();
  }

  /** @param {number} level @param {number} index */
  *#coarser(level, index) {
    for (let up = 1; up < 24; up++) {
      const tile = this.#kept.get(`${level + up} ${Math.floor(index / 2 ** up)}`);
      if (tile) {
        yield tile;
        return;
      }
    }
  }

  /** @param {number} level @param {number} index @param {number} total */
  #tile(level, index, total) {
    const key = `${level} ${index}`, tile = this.#kept.get(key);
    const first = index * TILE_COLUMNS * 2 ** level;
    const frames = Math.min(TILE_COLUMNS * 2 ** level, total - first);
    if ((!tile || tile.known_frames < frames) && !this.#asked.has(key)) this.#ask(key, first, frames, Math.ceil(frames / 2 ** level));
    return tile;
  }

  /** @param {string} key @param {number} first @param {number} frames @param {number} columns */
  async #ask(key, first, frames, columns) {
    const asking = new AbortController();
    this.#asked.set(key, asking);
    try {
      const peaks = await this.#api.peaks(this.#recording, { columns, first_frame: first, frames }, asking.signal);
      this.#kept.set(key, peaks);
      this.#onTile();
      if (peaks.known_frames < peaks.frames) this.#retry(key, asking);
      else this.#asked.delete(key);
    } catch (error) {
      if (isAbort(error)) return;
      this.#retry(key, asking);
      this.#onTile(error);
    }
  }

  /** Ask again in a while, if it is still to be seen then. @param {string} key @param {AbortController} asking */
  #retry(key, asking) {
    setTimeout(() => {
      if (asking.signal.aborted) return;
      this.#asked.delete(key);
      this.#onTile();
    }, COMPUTING_MS);
  }
}
