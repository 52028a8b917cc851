/**
 * Sound in IndexedDB, where there are no sync access handles: chunks by recording, file and offset.
 *
 * What is appended is one transaction, so it is there as a whole or not at all.
 */

import { FILE_NAMES, StorageError, openLocked, storageError } from "./files-common.js";

/** @import { FileStore, RecordingFiles } from "./files-common.js" */
/** @import { FileName } from "./types.js" */

const CHUNKS = "chunks";

/**
 * @returns {Promise<FileStore>}
 * @throws It doesn't work here.
 */
export async function openIndexedDb() {
  /** @type {IDBDatabase} */
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open("micwire", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(CHUNKS);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const store = new IdbStore(database);
  await store.probe();
  return store;
}

/** @implements {FileStore} */
class IdbStore {
  /** @type {"indexeddb"} */
  kind = "indexeddb";
  #database;

  /** @param {IDBDatabase} database */
  constructor(database) {
    this.#database = database;
  }

  /** A real write, that leaves nothing. */
  async probe() {
    try {
      await put(this.#database, [], new Uint8Array(1));
    } catch (cause) {
      // Full is not broken: the recordings in it want to be found and sent.
      if (storageError(cause).code !== "local-storage-full") throw cause;
    }
    await erase(this.#database, IDBKeyRange.only([]));
  }

  async list() {
    /** @type {string[]} */
    const ids = [];
    await transact(this.#database, "readonly", (chunks) => {
      const request = chunks.openKeyCursor(IDBKeyRange.lowerBound([""])); // behind what a probe may have left
      request.onsuccess = () => {
        if (request.result === null) return;
        const [id] = /** @type {[string]} */ (request.result.key);
        ids.push(id);
        request.result.continue([id, []]); // behind all of its chunks: arrays sort after strings
      };
    });
    return ids;
  }

  /**
   * @param {string} id
   * @returns {Promise<RecordingFiles>}
   */
  open(id) {
    return openLocked(id, async (unlock) => {
      const sizes = { head: 0, a: 0, b: 0 };
      await transact(this.#database, "readonly", (chunks) => {
        for (const name of FILE_NAMES) {
          const request = chunks.openCursor(keys(id, name), "prev");
          request.onsuccess = () => {
            if (request.result !== null) sizes[name] = offsetOf(request.result.key) + request.result.value.length;
          };
        }
      });
      return new IdbFiles(this.#database, id, sizes, unlock);
    });
  }

  /** @param {string} id */
  async remove(id) {
    await (await this.open(id)).remove();
  }
}

/** @implements {RecordingFiles} */
class IdbFiles {
  #database;
  #id;
  #sizes;
  close;

  /**
   * @param {IDBDatabase} database
   * @param {string} id
   * @param {Record<FileName, number>} sizes
   * @param {() => Promise<void>} unlock
   */
  constructor(database, id, sizes, unlock) {
    this.#database = database;
    this.#id = id;
    this.#sizes = sizes;
    this.close = unlock;
  }

  /** @param {FileName} name */
  size(name) {
    return this.#sizes[name];
  }

  /**
   * @param {FileName} name
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  async append(name, bytes) {
    // A view is stored with all of the buffer that it looks at.
    const own = bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
    await put(this.#database, [this.#id, name, this.#sizes[name]], own);
    this.#sizes[name] += bytes.length;
  }

  /**
   * @param {FileName} name
   * @param {number} offset
   * @param {number} bytes
   */
  async read(name, offset, bytes) {
    const found = new Uint8Array(bytes);
    let end = offset;
    await transact(this.#database, "readonly", (chunks) => {
      const first = chunks.openKeyCursor(keys(this.#id, name, -1, offset + 1), "prev");
      first.onsuccess = () => {
        if (first.result === null) return;
        const start = offsetOf(first.result.key);
        const rest = chunks.getAll(keys(this.#id, name, start, offset + bytes));
        rest.onsuccess = () => {
          end = start;
          for (const chunk of rest.result) {
            const part = chunk.subarray(Math.max(0, offset - end), offset + bytes - end);
            found.set(part, Math.max(0, end - offset));
            end += chunk.length;
          }
        };
      };
    });
    if (end < offset + bytes) throw new StorageError("local-storage-failed", `only ${end - offset} of ${bytes} bytes were read`);
    return found;
  }

  /**
   * @param {FileName} name
   * @param {number} bytes
   */
  async truncate(name, bytes) {
    await erase(this.#database, keys(this.#id, name, bytes));
    await transact(this.#database, "readwrite", (chunks) => {
      const last = chunks.openCursor(keys(this.#id, name, -1, bytes), "prev");
      last.onsuccess = () => last.result?.update(last.result.value.slice(0, bytes - offsetOf(last.result.key)));
    });
    this.#sizes[name] = bytes;
  }

  /** What is strict takes all before it along: they share one log. */
  async flush() {
    await put(this.#database, [this.#id, "flush", 0], new Uint8Array(1), "strict");
  }

  async remove() {
    try {
      await erase(this.#database, IDBKeyRange.bound([this.#id], [this.#id, []]));
    } finally {
      await this.close();
    }
  }
}

/**
 * @param {IDBDatabase} database
 * @param {IDBValidKey} key Of no chunk that is needed: if this fails there is none.
 * @param {Uint8Array} bytes
 * @param {IDBTransactionDurability} [durability]
 */
async function put(database, key, bytes, durability) {
  try {
    await transact(database, "readwrite", (chunks) => chunks.put(bytes, key), durability);
  } catch (cause) {
    // In Firefox the first transaction after one that found no room may only delete: let it be
    // this one, so that whatever comes next can be tried.
    await erase(database, IDBKeyRange.only(key)).catch(() => {});
    throw cause;
  }
}

/**
 * @param {IDBDatabase} database
 * @param {IDBKeyRange} range
 */
async function erase(database, range) {
  const work = (/** @type {IDBObjectStore} */ chunks) => chunks.delete(range);
  try {
    await transact(database, "readwrite", work);
  } catch {
    await transact(database, "readwrite", work); // and that one finds room where there was none
  }
}

/**
 * @param {IDBDatabase} database
 * @param {IDBTransactionMode} mode
 * @param {(chunks: IDBObjectStore) => void} work Makes the requests; a request that fails undoes all.
 * @param {IDBTransactionDurability} [durability] "relaxed": the operating system has it.
 * @returns {Promise<void>} Resolves once the transaction is complete.
 */
async function transact(database, mode, work, durability = "relaxed") {
  try {
    await new Promise((resolve, reject) => {
      const transaction = database.transaction(CHUNKS, mode, { durability });
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
      work(transaction.objectStore(CHUNKS));
    });
  } catch (cause) {
    throw storageError(cause);
  }
}

/**
 * The keys of a file's chunks that begin in a range of offsets.
 *
 * @param {string} id
 * @param {FileName} name
 * @param {number} [start] Less than `end`, or it is an error.
 * @param {number} [end]
 */
function keys(id, name, start = -1, end = Infinity) {
  return IDBKeyRange.bound([id, name, start], [id, name, end], false, true);
}

/** @param {IDBValidKey} key */
function offsetOf(key) {
  return /** @type {[string, string, number]} */ (key)[2];
}
