/**
 * What the three places for sound share: their shape, their errors, and the lock.
 *
 * One recording is open in one place of one tab at a time. Web Locks say so between tabs, as
 * IndexedDB has no lock of its own; they end with their tab, however it ends.
 */

/** @import { FileName, StoreKind } from "./types.js" */

/**
 * @typedef {object} RecordingFiles The three files of one recording. Each call is made after
 *   the last one has returned or resolved.
 * @property {(name: FileName, bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>} append
 *   Survives a killed browser when it returns or resolves. If it fails, the file is as before.
 *   The bytes are not to be altered afterwards.
 * @property {(name: FileName, offset: number, bytes: number) => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>} read
 * @property {(name: FileName) => number} size In bytes.
 * @property {(name: FileName, bytes: number) => void | Promise<void>} truncate
 * @property {() => void | Promise<void>} flush What was appended survives a power cut as well.
 * @property {() => Promise<void>} close And let others open it.
 * @property {() => Promise<void>} remove Close, and delete all three. Cut short by a crash, it
 *   leaves a recording with an empty head, or none.
 */

/**
 * @typedef {object} FileStore
 * @property {StoreKind} kind
 * @property {() => Promise<string[]>} list The ids of the recordings that it holds.
 * @property {(id: string) => Promise<RecordingFiles>} open Throws a StorageError with `locked`
 *   if the recording is open already, here or in another tab. Files that are not there are made.
 * @property {(id: string) => Promise<void>} remove Delete a recording that nobody has open.
 */

/** @type {readonly FileName[]} The head comes first: it is opened first, and closed last. */
export const FILE_NAMES = ["head", "a", "b"];

/** The browser did not keep what it was to keep, or not for us. */
export class StorageError extends Error {
  /**
   * @param {"local-storage-full" | "local-storage-failed" | "locked" | "no-storage"} code
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(code, message, cause) {
    super(message, { cause });
    this.name = "StorageError";
    this.code = code;
  }
}

/**
 * @param {unknown} cause What the browser threw.
 * @returns {StorageError}
 */
export function storageError(cause) {
  if (cause instanceof StorageError) return cause;
  const { name = "", message = String(cause) } = cause instanceof Error || cause instanceof DOMException ? cause : {};
  return name === "QuotaExceededError"
    ? new StorageError("local-storage-full", "the browser has no room left for sound", cause)
    : new StorageError("local-storage-failed", `the browser did not keep the sound: ${name} ${message}`, cause);
}

/**
 * Do what opens a recording, under its lock.
 *
 * @template T
 * @param {string} id
 * @param {(unlock: () => Promise<void>) => T | Promise<T>} open
 * @returns {Promise<T>} `unlock` is its to call, unless it fails.
 */
export async function openLocked(id, open) {
  const unlock = await lock(id);
  try {
    return await open(unlock);
  } catch (cause) {
    await unlock();
    throw storageError(cause);
  }
}

/**
 * @param {string} id
 * @returns {Promise<() => Promise<void>>}
 */
function lock(id) {
  return new Promise((resolve, reject) => {
    /** @type {Promise<unknown>} */
    const held = navigator.locks.request(lockName(id), { ifAvailable: true }, (granted) => {
      if (granted === null) throw new StorageError("locked", `recording ${id} is open elsewhere`);
      return new Promise((release) => {
        resolve(async () => {
          release(undefined);
          await held; // so that who opens it next finds it free
        });
      });
    });
    held.catch(reject);
  });
}

/**
 * Wait until nobody has this recording open. Who opens it then may still find it `locked`, if
 * others waited as well.
 *
 * @param {string} id
 * @returns {Promise<void>}
 */
export async function whenFree(id) {
  await navigator.locks.request(lockName(id), () => {});
}

/** @param {string} id */
function lockName(id) {
  return `micwire:${id}`;
}
