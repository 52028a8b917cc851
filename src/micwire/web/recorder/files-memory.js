/**
 * Sound in this worker's memory, where the browser keeps nothing for us: gone with the tab.
 *
 * Nobody else sees it, so it needs no Web Lock, which such browsers may refuse as well.
 */

import { StorageError } from "./files-common.js";

/** @import { FileStore, RecordingFiles } from "./files-common.js" */
/** @import { FileName } from "./types.js" */

const BLOCK_BYTES = 64 * 1024;
const MAX_BYTES = 2 ** 30; // a worker that takes more is killed, and all is lost

/** @typedef {{ blocks: Uint8Array[], size: number }} MemoryFile In blocks: it grows without being copied. */

/** @implements {FileStore} */
export class MemoryStore {
  /** @type {"memory"} */
  kind = "memory";
  /** @type {Map<string, Record<FileName, MemoryFile>>} */
  #recordings = new Map();
  /** @type {Set<string>} */
  #open = new Set();
  #maxBytes;

  /** @param {number} [maxBytes] Of one recording. */
  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  async list() {
    return [...this.#recordings.keys()];
  }

  /**
   * @param {string} id
   * @returns {Promise<RecordingFiles>}
   */
  async open(id) {
    if (this.#open.has(id)) throw new StorageError("locked", `recording ${id} is open already`);
    this.#open.add(id);
    const empty = () => ({ blocks: [], size: 0 });
    const files = this.#recordings.get(id) ?? { head: empty(), a: empty(), b: empty() };
    this.#recordings.set(id, files);
    const drop = () => this.#recordings.delete(id);
    return new MemoryFiles(files, this.#maxBytes, drop, async () => void this.#open.delete(id));
  }

  /** @param {string} id */
  async remove(id) {
    await (await this.open(id)).remove();
  }
}

/** @implements {RecordingFiles} */
class MemoryFiles {
  #files;
  #maxBytes;
  #drop;
  close;

  /**
   * @param {Record<FileName, MemoryFile>} files
   * @param {number} maxBytes
   * @param {() => void} drop
   * @param {() => Promise<void>} unlock
   */
  constructor(files, maxBytes, drop, unlock) {
    this.#files = files;
    this.#maxBytes = maxBytes;
    this.#drop = drop;
    this.close = unlock;
  }

  /** @param {FileName} name */
  size(name) {
    return this.#files[name].size;
  }

  /**
   * @param {FileName} name
   * @param {Uint8Array} bytes
   */
  append(name, bytes) {
    const used = this.size("head") + this.size("a") + this.size("b");
    if (used + bytes.length > this.#maxBytes) throw new StorageError("local-storage-full", "the memory for sound is full");
    const file = this.#files[name];
    for (let done = 0; done < bytes.length; ) {
      const at = file.size % BLOCK_BYTES;
      if (at === 0) file.blocks.push(new Uint8Array(BLOCK_BYTES));
      const part = bytes.subarray(done, done + BLOCK_BYTES - at);
      file.blocks[file.blocks.length - 1].set(part, at);
      done += part.length;
      file.size += part.length;
    }
  }

  /**
   * @param {FileName} name
   * @param {number} offset
   * @param {number} bytes
   */
  read(name, offset, bytes) {
    const found = new Uint8Array(bytes);
    for (let done = 0; done < bytes; ) {
      const at = (offset + done) % BLOCK_BYTES;
      const block = this.#files[name].blocks[(offset + done - at) / BLOCK_BYTES];
      const part = block.subarray(at, Math.min(BLOCK_BYTES, at + bytes - done));
      found.set(part, done);
      done += part.length;
    }
    return found;
  }

  /**
   * @param {FileName} name
   * @param {number} bytes
   */
  truncate(name, bytes) {
    const file = this.#files[name];
    file.size = bytes;
    file.blocks.length = Math.ceil(bytes / BLOCK_BYTES);
  }

  flush() {}

  async remove() {
    this.#drop();
    await this.close();
  }
}
