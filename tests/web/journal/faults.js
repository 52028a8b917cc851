/**
 * Places for sound that are full, broken, or not there.
 */

import { openStore } from "../../../src/micwire/web/recorder/files.js";
import { MemoryStore } from "../../../src/micwire/web/recorder/files-memory.js";
import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import { BLOCK, FRAME_BYTES, HEADER_BYTES, aboutOf, codeOf, expect, isWhole, recovered, same, sound } from "./model.js";

/** @import { RecordingFiles } from "../../../src/micwire/web/recorder/files-common.js" */
/** @import { StoreKind } from "../../../src/micwire/web/recorder/types.js" */

/** @type {Journal | null} */
let full = null;

/**
 * Write until there is no room; the journal stays open. Another recording is there as well.
 *
 * @param {StoreKind} kind
 * @param {string} id
 * @param {string} other
 */
export async function fillUp(kind, id, other) {
  const store = await openStore([kind]);
  const ballast = await Journal.create(store, aboutOf(other));
  for (let block = 0; block < 40; block++) await ballast.audio(block * 10_000, sound(block * 10_000, 10_000));
  await ballast.close();
  const journal = await Journal.create(store, aboutOf(id));
  full = journal;
  const more = () => journal.audio(journal.keptFrames, sound(journal.keptFrames, 16_000));
  let code = null;
  let kept = -1;
  // Some room comes back by itself, as logs are tidied up.
  for (let failures = 0; failures < 2; ) {
    failures = journal.keptFrames > kept ? 0 : failures + 1;
    kept = journal.keptFrames;
    code = await codeOf(async () => {
      while (journal.keptFrames < 20_000_000) await more();
    });
    same(code, "local-storage-full", "why there is no more room");
  }
  await isWhole(journal);
  return kept;
}

/**
 * There is room again.
 *
 * @param {string} other
 */
export async function goOn(other) {
  expect(full !== null, "nothing was filled");
  const store = await openStore([full.kind]);
  await store.remove(other);
  const kept = full.keptFrames;
  await full.audio(kept, sound(kept, 16_000));
  await full.close();
  const again = await recovered(store, full.about.open.recording);
  same(again.keptFrames, kept + 16_000, "frames once there was room");
  await isWhole(again);
  await again.remove();
}

/**
 * An earlier page had filled it: what is there is found, and can be removed.
 *
 * @param {StoreKind} kind
 * @param {string} id
 */
export async function findWhenFull(kind, id) {
  const store = await openStore([kind]);
  expect((await store.list()).includes(id), "it is not listed");
  const journal = await recovered(store, id);
  const kept = journal.keptFrames;
  await isWhole(journal);
  await journal.remove();
  expect(!(await store.list()).includes(id), "it is listed after it was removed");
  return kept;
}

/** Writes that fail, stop short, or can't even be taken back. */
export async function outlivesBadWrites() {
  const { prototype } = FileSystemSyncAccessHandle;
  const { write, truncate } = prototype;
  /** @type {(name: string) => () => never} */
  const fail = (name) => () => {
    throw new DOMException("no", name);
  };
  const short = (/** @type {number} */ most) =>
    /**
     * @this {FileSystemSyncAccessHandle}
     * @param {Uint8Array<ArrayBuffer>} bytes
     * @param {FileSystemReadWriteOptions} options
     */
    function (bytes, options) {
      return write.call(this, bytes.subarray(0, most), options);
    };
  /** @type {[string, unknown, unknown, string][]} */
  const cases = [
    ["short", short(50), truncate, "local-storage-full"],
    ["nothing", short(0), truncate, "local-storage-full"],
    ["quota", fail("QuotaExceededError"), truncate, "local-storage-full"],
    ["broken", fail("InvalidStateError"), truncate, "local-storage-failed"],
    ["short and stuck", short(300), fail("InvalidStateError"), "local-storage-full"],
  ];
  const store = await openStore(["opfs"]);
  for (const [what, badWrite, badTruncate, wanted] of cases) {
    for (const isReopened of [false, true]) {
      const about = aboutOf();
      let journal = await Journal.create(store, about);
      await journal.audio(0, sound(0, 100));
      Object.assign(prototype, { write: badWrite, truncate: badTruncate });
      const codes = [
        await codeOf(() => journal.audio(100, sound(100, 100))),
        await codeOf(() => journal.mark({ frame: 0, label: "x".repeat(600) })),
      ];
      Object.assign(prototype, { write, truncate });
      same(codes, [wanted, wanted], what);
      same([journal.keptFrames, journal.marks], [100, []], `${what}: frames and marks`);
      await isWhole(journal);
      if (isReopened) {
        await journal.close();
        journal = await recovered(store, about.open.recording);
        same([journal.keptFrames, journal.marks], [100, []], `${what}: frames and marks of the next page`);
      }
      await journal.audio(100, sound(100, 5)); // shorter than what was torn
      await journal.mark({ frame: 1, label: "y" });
      await journal.close();
      const late = await recovered(store, about.open.recording);
      same([late.keptFrames, late.marks], [105, [{ frame: 1, label: "y" }]], `${what}: at last`);
      await isWhole(late);
      await late.remove();
    }
  }
  const code = await codeOf(async () => {
    prototype.write = fail("QuotaExceededError");
    await Journal.create(store, aboutOf()).finally(() => Object.assign(prototype, { write }));
  });
  same([code, await store.list()], ["local-storage-full", []], "nothing of what could not be created");
}

/** The memory for sound has an end. */
export async function fillsMemory() {
  const journal = await Journal.create(new MemoryStore(100_000), aboutOf());
  const code = await codeOf(() => {
    while (journal.keptFrames < 100_000) journal.audio(journal.keptFrames, sound(journal.keptFrames, 1000));
  });
  await isWhole(journal);
  return { code, kept: journal.keptFrames };
}

/**
 * A byte changes on the disk, after it was recovered.
 *
 * @param {StoreKind} kind
 */
export async function refusesAlteredSound(kind) {
  const store = await openStore([kind]);
  const about = aboutOf();
  /** @type {RecordingFiles | null} */
  let files = null;
  const journal = await Journal.create({ ...boundTo(store), open: async (id) => (files = await store.open(id)) }, about);
  for (let block = 0; block < 100; block++) await journal.audio(block * BLOCK, sound(block * BLOCK, BLOCK));
  expect(files !== null, "no files");
  const { read } = /** @type {RecordingFiles} */ (files);
  const bad = 50 * (HEADER_BYTES + BLOCK * FRAME_BYTES) + 1000;
  Object.assign(files, {
    /** @type {RecordingFiles["read"]} */
    async read(name, offset, bytes) {
      const found = await read.call(files, name, offset, bytes);
      if (offset <= bad && bad < offset + bytes) found[bad - offset] ^= 1;
      return found;
    },
  });
  same((await journal.read(49 * BLOCK, BLOCK)).length, BLOCK * FRAME_BYTES, "the block before");
  same(await codeOf(() => journal.read(50 * BLOCK, BLOCK)), "local-storage-failed", "the bad block");
  await journal.remove();
}

/** @param {import("../../../src/micwire/web/recorder/files-common.js").FileStore} store */
function boundTo(store) {
  const { kind } = store;
  return { kind, list: () => store.list(), open: (/** @type {string} */ id) => store.open(id), remove: (/** @type {string} */ id) => store.remove(id) };
}

/**
 * Which place is taken where some don't work.
 *
 * @param {StoreKind[]} broken
 */
export async function placeWithout(broken) {
  const fail = () => {
    throw new DOMException("not here", "SecurityError");
  };
  if (broken.includes("opfs")) navigator.storage.getDirectory = async () => fail();
  if (broken.includes("indexeddb")) indexedDB.open = fail;
  const { kind } = await openStore();
  return kind;
}

/** The methods are there, and throw when they are used. */
export async function placeWithBadHandles() {
  FileSystemSyncAccessHandle.prototype.write = () => {
    throw new DOMException("not here", "InvalidStateError");
  };
  const { kind } = await openStore();
  return kind;
}

/** Where a browser that is to remember nothing keeps sound, and that it does. */
export async function placeOfThisWindow() {
  const store = await openStore();
  const about = aboutOf();
  const journal = await Journal.create(store, about);
  for (let block = 0; block < 300; block++) await journal.audio(block * BLOCK, sound(block * BLOCK, BLOCK));
  await journal.close();
  const again = await recovered(store, about.open.recording);
  same(again.keptFrames, 300 * BLOCK, "frames");
  await isWhole(again);
  await again.remove();
  return store.kind;
}
