/**
 * Several pages, one after another or at once, and one recording.
 */

import { openStore, whenFree } from "../../../src/micwire/web/recorder/files.js";
import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import { BLOCK, aboutOf, codeOf, expect, isWhole, recovered, same, sound } from "./model.js";

/** @import { StoreKind } from "../../../src/micwire/web/recorder/types.js" */

/** @type {Journal | null} */
let mine = null;

/**
 * @param {StoreKind} kind
 * @param {string} id
 */
export async function begin(kind, id) {
  mine = await Journal.create(await openStore([kind]), aboutOf(id));
  await mine.audio(0, sound(0, 5000));
}

/** Why it can't be had: a code, or null if it can.
 *
 * @param {StoreKind} kind
 * @param {string} id
 */
export async function tryToTake(kind, id) {
  const store = await openStore([kind]);
  const codes = [await codeOf(() => store.remove(id))];
  codes.push(
    await codeOf(async () => {
      mine = await recovered(store, id);
    }),
  );
  return codes;
}

/**
 * @param {StoreKind} kind
 * @param {string} id
 */
export async function takeWhenFree(kind, id) {
  const store = await openStore([kind]);
  for (;;) {
    await whenFree(id);
    const code = await codeOf(async () => {
      mine = await recovered(store, id);
    });
    if (code === null) break;
    same(code, "locked", "why it can't be had");
  }
  expect(mine !== null, "nothing was taken");
  await isWhole(mine);
  return mine.keptFrames;
}

export async function letGo() {
  await mine?.close();
}

/** @param {StoreKind} kind */
export async function listed(kind) {
  return (await openStore([kind])).list();
}

/**
 * Speak for ever: numbered blocks, as fast as real time. What is kept is said at once to
 * somebody who will outlive this browser.
 *
 * @param {StoreKind} kind
 * @param {string} id
 * @param {string} witness The address of a WebSocket.
 * @returns {Promise<number>} When frame 0 was, by the clock on the wall, in ms.
 */
export async function speak(kind, id, witness) {
  const about = aboutOf(id);
  const journal = await Journal.create(await openStore([kind]), about);
  const socket = new WebSocket(witness);
  await new Promise((resolve) => (socket.onopen = resolve));
  const { sample_rate } = about.open.format;
  const origin = Date.now();
  const due = () => ((Date.now() - origin) / 1000) * sample_rate;
  const keepUp = async () => {
    while (journal.keptFrames + BLOCK <= due()) {
      await journal.audio(journal.keptFrames, sound(journal.keptFrames, BLOCK));
      socket.send(`${journal.keptFrames}`);
      journal.release(journal.keptFrames - 20 * BLOCK);
      if (journal.keptFrames % (40 * BLOCK) === 0) await journal.flush();
    }
    setTimeout(keepUp, 5);
  };
  keepUp();
  return origin;
}

/**
 * What another page left: how many frames.
 *
 * @param {StoreKind} kind
 * @param {string} id
 */
export async function inherit(kind, id) {
  const store = await openStore([kind]);
  same(await store.list(), [id], "recordings");
  const journal = await recovered(store, id);
  same(journal.gaps, [], "gaps");
  await isWhole(journal);
  const { keptFrames } = journal;
  await journal.remove();
  return keptFrames;
}

/**
 * A handle that its killed owner still has for a while, though the lock of its page is gone.
 *
 * @param {number} heldMs
 */
export async function openWhileHeld(heldMs) {
  const store = await openStore(["opfs"]);
  const about = aboutOf();
  const journal = await Journal.create(store, about);
  await journal.audio(0, sound(0, 100));
  await journal.close();
  const home = await (await navigator.storage.getDirectory()).getDirectoryHandle("micwire");
  const directory = await home.getDirectoryHandle(about.open.recording);
  const handle = await (await directory.getFileHandle("b")).createSyncAccessHandle();
  const began = performance.now();
  const timer = setTimeout(() => handle.close(), heldMs);
  const code = await codeOf(async () => (await recovered(store, about.open.recording)).remove());
  const waitedMs = performance.now() - began;
  clearTimeout(timer);
  handle.close();
  if (code !== null) await store.remove(about.open.recording);
  return { code, waitedMs, left: await store.list() };
}
