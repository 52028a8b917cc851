/**
 * Sound in the origin's private file system: `micwire/<recording>/{head,a,b}`.
 *
 * A sync access handle writes in 0.1 ms, to the operating system, so what is written outlives
 * the browser's processes. It is an exclusive lock as well.
 */

import { FILE_NAMES, StorageError, openLocked, storageError } from "./files-common.js";

/** @import { FileStore, RecordingFiles } from "./files-common.js" */
/** @import { FileName } from "./types.js" */

/**
 * @typedef {object} SyncHandle A FileSystemSyncAccessHandle.
 * @property {(bytes: Uint8Array<ArrayBuffer>, options: { at: number }) => number} read
 * @property {(bytes: Uint8Array<ArrayBuffer>, options: { at: number }) => number} write
 * @property {(bytes: number) => void} truncate
 * @property {() => number} getSize
 * @property {() => void} flush
 * @property {() => void} close
 */
/** @typedef {Record<FileName, SyncHandle>} Handles */

const PATIENCE_MS = 2000; // the handles of a tab that was killed are freed a moment later
const PAUSE_MS = 50;

/**
 * @returns {Promise<FileStore>}
 * @throws It doesn't work here: too old, no worker, a private window.
 */
export async function openOpfs() {
  const root = await navigator.storage.getDirectory();
  const home = await root.getDirectoryHandle("micwire", { create: true });
  await probe(home);
  return new OpfsStore(home);
}

/**
 * A real write: the methods are there where they don't work, too.
 *
 * @param {FileSystemDirectoryHandle} home
 */
async function probe(home) {
  const name = `probe-${crypto.randomUUID()}`; // other tabs do the same now
  const handle = await openHandle(home, name);
  try {
    handle.write(new Uint8Array(1), { at: 0 });
  } catch (cause) {
    // Full is not broken: the recordings in it want to be found and sent.
    if (storageError(cause).code !== "local-storage-full") throw cause;
  } finally {
    handle.close();
  }
  await patiently(() => home.removeEntry(name));
}

/** @implements {FileStore} */
class OpfsStore {
  /** @type {"opfs"} */
  kind = "opfs";
  #home;

  /** @param {FileSystemDirectoryHandle} home */
  constructor(home) {
    this.#home = home;
  }

  async list() {
    const ids = [];
    for await (const [name, { kind }] of this.#home.entries()) if (kind === "directory") ids.push(name);
    return ids;
  }

  /**
   * @param {string} id
   * @returns {Promise<RecordingFiles>}
   */
  open(id) {
    return openLocked(id, async (unlock) => {
      const directory = await this.#home.getDirectoryHandle(id, { create: true });
      /** @type {Partial<Handles>} */
      const handles = {};
      try {
        for (const name of FILE_NAMES) handles[name] = await openHandle(directory, name);
      } catch (cause) {
        closeAll(handles);
        throw cause;
      }
      const drop = () => patiently(() => this.#home.removeEntry(id, { recursive: true }));
      return new OpfsFiles(/** @type {Handles} */ (handles), drop, unlock);
    });
  }

  /** @param {string} id */
  async remove(id) {
    await (await this.open(id)).remove();
  }
}

/** @implements {RecordingFiles} */
class OpfsFiles {
  #handles;
  #drop;
  #unlock;
  /** @type {Record<FileName, number>} */
  #sizes;
  /** @type {Set<FileName>} */
  #unflushed = new Set();

  /**
   * @param {Handles} handles
   * @param {() => Promise<void>} drop
   * @param {() => Promise<void>} unlock
   */
  constructor(handles, drop, unlock) {
    this.#handles = handles;
    this.#drop = drop;
    this.#unlock = unlock;
    this.#sizes = { head: handles.head.getSize(), a: handles.a.getSize(), b: handles.b.getSize() };
  }

  /** @param {FileName} name */
  size(name) {
    return this.#sizes[name];
  }

  /**
   * @param {FileName} name
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  append(name, bytes) {
    const at = this.#sizes[name];
    this.#unflushed.add(name);
    try {
      const written = this.#handles[name].write(bytes, { at });
      // Without room Chromium throws, or writes less, or says that it wrote 2^32 - 8.
      if (written !== bytes.length) throw new StorageError("local-storage-full", "the browser has no room left for sound");
    } catch (cause) {
      try {
        this.#handles[name].truncate(at);
      } catch {
        // Half a record stays behind the end. The next one is laid over it, and what is left
        // of it then is no record: nothing but room is lost.
      }
      throw storageError(cause);
    }
    this.#sizes[name] = at + bytes.length;
  }

  /**
   * @param {FileName} name
   * @param {number} offset
   * @param {number} bytes
   */
  read(name, offset, bytes) {
    const found = new Uint8Array(bytes);
    const count = attempt(() => this.#handles[name].read(found, { at: offset }));
    if (count !== bytes) throw new StorageError("local-storage-failed", `only ${count} of ${bytes} bytes were read`);
    return found;
  }

  /**
   * @param {FileName} name
   * @param {number} bytes
   */
  truncate(name, bytes) {
    this.#unflushed.add(name);
    attempt(() => this.#handles[name].truncate(bytes));
    this.#sizes[name] = bytes;
  }

  flush() {
    for (const name of this.#unflushed) {
      attempt(() => this.#handles[name].flush());
      this.#unflushed.delete(name);
    }
  }

  async close() {
    closeAll(this.#handles);
    await this.#unlock();
  }

  async remove() {
    try {
      // The head goes first, and goes for good: sound without a head is nobody's, but a head
      // without its sound would be a recording that lost it.
      this.#handles.head.truncate(0);
      this.#handles.head.flush();
      closeAll(this.#handles);
      await this.#drop();
    } catch (cause) {
      throw storageError(cause);
    } finally {
      await this.close();
    }
  }
}

/** @param {Partial<Handles>} handles */
function closeAll(handles) {
  for (const name of FILE_NAMES.toReversed()) handles[name]?.close();
}

/**
 * @param {FileSystemDirectoryHandle} directory
 * @param {string} name
 * @returns {Promise<SyncHandle>}
 */
async function openHandle(directory, name) {
  const file = await directory.getFileHandle(name, { create: true });
  // Page and worker are checked as one program, and pages have no such method.
  const { createSyncAccessHandle } = /** @type {{ createSyncAccessHandle(): Promise<SyncHandle> }} */ (
    /** @type {unknown} */ (file)
  );
  return patiently(() => createSyncAccessHandle.call(file));
}

/**
 * @template T
 * @param {() => Promise<T>} open
 * @returns {Promise<T>}
 */
async function patiently(open) {
  for (let waited = 0; ; waited += PAUSE_MS) {
    try {
      return await open();
    } catch (cause) {
      const isLocked = cause instanceof DOMException && cause.name === "NoModificationAllowedError";
      if (!isLocked) throw cause;
      if (waited >= PATIENCE_MS) throw new StorageError("locked", "the recording is open elsewhere", cause);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/**
 * @template T
 * @param {() => T} act
 * @returns {T}
 */
function attempt(act) {
  try {
    return act();
  } catch (cause) {
    throw storageError(cause);
  }
}
