/**
 * The records of a page's journal, as they lie in its files: written, and read with distrust.
 *
 * All numbers are unsigned and little endian:
 *
 *     0  4  CRC-32C of all behind these four bytes
 *     4  4  length of the payload
 *     8  4  kind: `mw`, version 1, and one of KIND
 *    12  4  frames
 *    16  8  first frame
 *    24     payload: interleaved sound, a SHA-256, or JSON
 */

import { crc32c } from "./crc32c.js";

/** @import { RecordingFiles } from "./files-common.js" */
/** @import { Steps } from "./steps.js" */
/** @import { FileName } from "./types.js" */

/** @typedef {{ kind: number, first: number, frames: number, payload: Uint8Array }} Content What a record says. */
/** @typedef {Content & { offset: number }} Entry And where it begins. */

export const KIND = { ABOUT: 1, SOUND: 2, GAP: 3, MARK: 4, HASH: 5, ACK: 6, FINISH: 7, DISCARD: 8 };
const VERSION = 0x0177_6d00;
const HEADER_BYTES = 24;
const MAX_PAYLOAD_BYTES = 2 ** 20;
/** What is read at once, if there is as much. */
export const WINDOW_BYTES = 256 * 1024;

/**
 * Records as they lie in a file, one behind the other.
 *
 * @param {Content[]} records
 * @throws {RangeError} A payload is over 1 MiB, or `first` is no count.
 */
export function encode(records) {
  const bytes = new Uint8Array(records.reduce((sum, record) => sum + bytesOf(record), 0));
  let start = 0;
  for (const record of records) {
    const { kind, first, frames, payload } = record;
    if (payload.length > MAX_PAYLOAD_BYTES) throw new RangeError(`a record of ${payload.length} bytes`);
    const end = start + bytesOf(record);
    const view = new DataView(bytes.buffer, start);
    view.setUint32(4, payload.length, true);
    view.setUint32(8, VERSION | kind, true);
    view.setUint32(12, frames, true);
    view.setBigUint64(16, BigInt(first), true);
    bytes.set(payload, start + HEADER_BYTES);
    view.setUint32(0, crc32c(bytes.subarray(start + 4, end)), true);
    start = end;
  }
  return bytes;
}

/** @param {Content} record */
export function bytesOf({ payload }) {
  return HEADER_BYTES + payload.length;
}

export class Reader {
  #files;
  #name = "";
  #start = 0;
  #bytes = new Uint8Array(0); // of that file, from there on

  /** @param {RecordingFiles} files */
  constructor(files) {
    this.#files = files;
  }

  /** A file was cut: what was read of it may be no more. */
  forget() {
    this.#name = "";
  }

  /**
   * @param {FileName} name
   * @param {number} offset
   * @returns {Steps<Entry | null>} Null: there is no whole record. The payload may be a view
   *   of many; it stays as it is.
   */
  *entry(name, offset) {
    const room = this.#files.size(name) - offset - HEADER_BYTES;
    if (room < 0) return null;
    const header = yield* this.#read(name, offset, HEADER_BYTES);
    const view = new DataView(header.buffer, header.byteOffset);
    const length = view.getUint32(4, true);
    if (length > Math.min(room, MAX_PAYLOAD_BYTES)) return null;
    const bytes = yield* this.#read(name, offset, HEADER_BYTES + length);
    if (crc32c(bytes.subarray(4)) !== view.getUint32(0, true)) return null;
    const kind = view.getUint32(8, true) ^ VERSION;
    const first = Number(view.getBigUint64(16, true));
    return { kind, first, frames: view.getUint32(12, true), payload: bytes.subarray(HEADER_BYTES), offset };
  }

  /**
   * @param {FileName} name
   * @param {number} offset
   * @param {number} count
   * @returns {Steps<Uint8Array>}
   */
  *#read(name, offset, count) {
    const isHere = name === this.#name && this.#start <= offset && offset + count <= this.#start + this.#bytes.length;
    if (!isHere) {
      const most = Math.min(Math.max(count, WINDOW_BYTES), this.#files.size(name) - offset);
      this.#bytes = yield this.#files.read(name, offset, most);
      this.#name = name;
      this.#start = offset;
    }
    return this.#bytes.subarray(offset - this.#start, offset - this.#start + count);
  }
}
