/**
 * Where this browser can keep sound: the best place that works.
 */

import { StorageError, whenFree } from "./files-common.js";
import { MemoryStore } from "./files-memory.js";
import { openOpfs } from "./files-opfs.js";

/** @import { FileStore } from "./files-common.js" */
/** @import { StoreKind } from "./types.js" */

export { StorageError, whenFree };

/** @type {Record<StoreKind, () => FileStore | Promise<FileStore>>} */
const PLACES = {
  opfs: openOpfs,
  // Fetched by browsers only that need it.
  indexeddb: async () => (await import("./files-idb.js")).openIndexedDb(),
  memory: () => new MemoryStore(),
};

/**
 * Open the first place that works, tried by a real write.
 *
 * @param {StoreKind[]} [kinds]
 * @returns {Promise<FileStore>}
 * @throws {StorageError} `no-storage`: none works.
 */
export async function openStore(kinds = ["opfs", "indexeddb", "memory"]) {
  const causes = [];
  for (const kind of kinds) {
    try {
      return await PLACES[kind]();
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw new StorageError("no-storage", `this browser keeps no sound: ${causes.join("; ")}`);
}
