/**
 * How much room and time a journal takes.
 */

import { crc32c } from "../../../src/micwire/web/recorder/crc32c.js";
import { openStore } from "../../../src/micwire/web/recorder/files.js";
import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import { BLOCK, aboutOf, dice, equal, expect, recovered, same, sound } from "./model.js";

/** @import { FileStore, RecordingFiles } from "../../../src/micwire/web/recorder/files-common.js" */
/** @import { StoreKind } from "../../../src/micwire/web/recorder/types.js" */

const RATE = 100_000; // of 4 bytes: 400 kB/s
const FRAMES = 16_000; // in a block of these jobs
const SECOND = 6; // blocks

/**
 * A store whose files can be looked at.
 *
 * @param {StoreKind} kind
 */
async function watched(kind) {
  const inner = await openStore([kind]);
  /** @type {{ files: RecordingFiles | null }} */
  const seen = { files: null };
  /** @type {FileStore} */
  const store = {
    kind,
    list: () => inner.list(),
    remove: (id) => inner.remove(id),
    open: async (id) => (seen.files = await inner.open(id)),
  };
  const used = (/** @type {("head" | "a" | "b")[]} */ ...names) => names.reduce((sum, name) => sum + (seen.files?.size(name) ?? 0), 0);
  return { store, used };
}

/**
 * Acknowledgements come as they like: late, in bursts, not at all for a while.
 *
 * @param {StoreKind} kind
 * @param {number} seed
 * @param {number} minutes
 */
export async function runsOnline(kind, seed, minutes) {
  const { below, chance } = dice(seed);
  const { store, used } = await watched(kind);
  const about = aboutOf();
  const journal = await Journal.create(store, about);
  const block = sound(0, FRAMES);
  const blocks = Math.round((minutes * 60 * RATE) / FRAMES);
  let sent = 0;
  let acked = 0;
  let excess = 0; // beyond two files of 1 MiB and what was not released
  let most = 0;
  const began = performance.now();
  for (let at = 0; at < blocks; at++) {
    await journal.audio(at * FRAMES, block);
    if (chance(0.9)) {
      for (; sent < journal.keptFrames; sent += FRAMES) {
        const found = await journal.read(sent, FRAMES);
        if (at % 100 === 0) expect(equal(found, block), "other sound");
      }
    }
    if (chance(0.5)) acked = Math.max(acked, sent - below(5) * FRAMES);
    if (at % SECOND === 0) await journal.ack(acked);
    journal.release(acked);
    if (at % SECOND === 0) await journal.flush();
    const now = used("a", "b");
    most = Math.max(most, now);
    excess = Math.max(excess, now - (journal.keptFrames - acked) * 4);
  }
  const seconds = (performance.now() - began) / 1000;
  const head = used("head");
  await journal.close();
  const again = await recovered(store, about.open.recording);
  same(again.keptFrames, blocks * FRAMES, "kept frames");
  await again.remove();
  return { seconds, most, excess, head, frames: blocks * FRAMES };
}

/**
 * Nothing is acknowledged; then all is sent, while somebody still speaks.
 *
 * @param {StoreKind} kind
 * @param {number} minutes
 */
export async function runsOffline(kind, minutes) {
  const { store, used } = await watched(kind);
  const about = aboutOf();
  let journal = await Journal.create(store, about);
  const blocks = Math.round((minutes * 60 * RATE) / FRAMES);
  const block = sound(0, FRAMES);
  /** @type {(at: number) => Uint8Array} Each begins with its number. */
  const blockAt = (at) => {
    new DataView(block.buffer).setUint32(0, at, true);
    return block;
  };
  const times = { writing: 0, recovering: 0, reading: 0 };
  let began = performance.now();
  /** @type {(what: keyof typeof times) => void} */
  const lap = (what) => {
    times[what] = (performance.now() - began) / 1000;
    began = performance.now();
  };
  for (let at = 0; at < blocks; at++) await journal.audio(at * FRAMES, blockAt(at));
  lap("writing");
  const most = used("a", "b");
  await journal.close();
  began = performance.now();
  journal = await recovered(store, about.open.recording);
  lap("recovering");
  same(journal.keptFrames, blocks * FRAMES, "kept frames");
  const { below } = dice(1);
  for (let times = 0; times < 50; times++) {
    const at = below(blocks);
    const found = await journal.read(at * FRAMES, FRAMES);
    same(new DataView(found.buffer).getUint32(0, true), at, "the block found");
  }
  began = performance.now();
  let next = blocks;
  for (let at = 0; at < next; at++) {
    const found = await journal.read(at * FRAMES, FRAMES);
    same(new DataView(found.buffer).getUint32(0, true), at, "the block sent");
    journal.release((at + 1) * FRAMES);
    if (at % 10 === 0) await journal.audio(next * FRAMES, blockAt(next++));
    if (at % 60 === 0) await journal.flush();
  }
  lap("reading");
  for (let at = 0; at < 50; at++) {
    await journal.audio(next * FRAMES, blockAt(next++));
    journal.release(journal.keptFrames);
    if (at % SECOND === 0) await journal.flush();
  }
  const left = used("a", "b");
  await journal.remove();
  return { ...times, most, left, bytes: next * FRAMES * 4 };
}

/**
 * What it costs, for people to read.
 *
 * @param {StoreKind} kind
 * @param {number} blocks
 */
export async function measures(kind, blocks) {
  const journal = await Journal.create(await openStore([kind]), aboutOf());
  const block = sound(0, BLOCK * 2);
  /** @type {number[]} */
  const times = [];
  for (let at = 0; at < blocks; at++) {
    const began = performance.now();
    await journal.audio(at * BLOCK * 2, block);
    times.push(performance.now() - began);
  }
  times.sort((one, other) => one - other);
  const began = performance.now();
  await journal.flush();
  const flush = performance.now() - began;
  await journal.remove();
  const big = new Uint8Array(2 ** 20);
  crc32c(big);
  const crcBegan = performance.now();
  for (let round = 0; round < 50; round++) crc32c(big);
  const crc = 50 / ((performance.now() - crcBegan) / 1000);
  const p = (/** @type {number} */ share) => times[Math.floor(share * (times.length - 1))];
  return { p50: p(0.5), p99: p(0.99), worst: p(1), sum: times.reduce((sum, time) => sum + time, 0), flush, crc };
}
