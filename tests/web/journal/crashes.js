/**
 * What is left of a journal after an end at any moment.
 */

import { FILE_NAMES } from "../../../src/micwire/web/recorder/files-common.js";
import { openStore } from "../../../src/micwire/web/recorder/files.js";
import { MemoryStore } from "../../../src/micwire/web/recorder/files-memory.js";
import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import {
  FRAME_BYTES, HEADER_BYTES, Model, NONE, aboutOf, codeOf, contents, dice, equal, expect, gapOf, isWhole, place, recovered, same, sound, startOf,
} from "./model.js";

/** @import { FileStore } from "../../../src/micwire/web/recorder/files-common.js" */
/** @import { About } from "../../../src/micwire/web/recorder/journal.js" */
/** @import { FileName, StoreKind } from "../../../src/micwire/web/recorder/types.js" */
/** @import { Contents } from "./model.js" */

/**
 * The last records are cut at each byte, and each of their bytes is altered.
 *
 * @param {StoreKind} kind
 */
export async function dropsATornTail(kind) {
  const store = await openStore([kind]);
  const about = aboutOf();
  const id = about.open.recording;
  const journal = await Journal.create(store, about);
  for (let step = 0; step < 5; step++) {
    await journal.audio(step * 10, sound(step * 10, 10));
    await journal.mark({ frame: step, label: `${step}` });
  }
  await journal.close();
  const whole = await contents(store, id);
  const soundBytes = HEADER_BYTES + 10 * FRAME_BYTES;
  const markBytes = HEADER_BYTES + JSON.stringify({ frame: 0, label: "0" }).length;
  same(whole.a.length, 5 * soundBytes, "the length of the file");
  let cases = 0;
  /** @type {(bytes: Contents, frames: number, marks: number, what: string) => Promise<void>} */
  const look = async (bytes, frames, marks, what) => {
    await place(store, id, bytes);
    const first = await recovered(store, id);
    same([first.keptFrames, first.marks.length], [frames, marks], `${what}: frames and marks`);
    await first.audio(frames, sound(frames, 7));
    await first.mark({ frame: 9, label: "9" });
    await first.close();
    const second = await recovered(store, id);
    same([second.keptFrames, second.marks.length], [frames + 7, marks + 1], `${what}: once it went on`);
    await isWhole(second);
    await second.close();
    cases++;
  };
  for (let cut = 3 * soundBytes; cut <= whole.a.length; cut++) {
    await look({ ...whole, a: whole.a.subarray(0, cut) }, 10 * Math.floor(cut / soundBytes), 5, `${cut} bytes of sound`);
  }
  for (let cut = 0; cut <= 2 * markBytes; cut++) {
    const head = whole.head.subarray(0, whole.head.length - cut);
    await look({ ...whole, head }, 50, 5 - Math.ceil(cut / markBytes), `${cut} bytes less of the head`);
  }
  for (let back = 1; back <= soundBytes; back++) {
    const a = whole.a.slice();
    a[a.length - back] ^= 1 << back % 8;
    await look({ ...whole, a }, 40, 5, `byte ${-back} altered`);
  }
  // Behind a bad record nothing is believed.
  const a = whole.a.slice();
  a[soundBytes + HEADER_BYTES] ^= 1;
  await look({ ...whole, a }, 10, 5, "a bad record amid good ones");
  // What is of an earlier life of the file is not, either: it doesn't go on.
  const stale = new Uint8Array([...whole.a.subarray(3 * soundBytes), ...whole.a.subarray(0, soundBytes)]);
  await place(store, id, { ...whole, a: stale });
  const journalOfStale = await recovered(store, id);
  same(journalOfStale.keptFrames, 50, "frames before stale ones");
  await journalOfStale.close();
  same((await contents(store, id)).a.length, 2 * soundBytes, "the file without the stale ones");
  await store.remove(id);
  return cases;
}

/** @param {StoreKind} kind */
export async function knowsWhatIsNoRecording(kind) {
  const store = await openStore([kind]);
  const about = aboutOf();
  const id = about.open.recording;
  await (await Journal.create(store, about)).close();
  const { head } = await contents(store, id);
  // Killed while it was created: the first record is torn, or there is none.
  for (let cut = 0; cut < head.length; cut++) {
    await place(store, id, { head: head.subarray(0, cut), a: NONE, b: NONE });
    same(await Journal.recover(store, id), null, `${cut} bytes of a head`);
    expect(!(await store.list()).includes(id), `${cut} bytes of a head: still listed`);
  }
  // Killed while it was removed: the head went first.
  await place(store, id, { head: NONE, a: sound(0, 100), b: sound(0, 100) });
  same(await Journal.recover(store, id), null, "without a head");
  expect(!(await store.list()).includes(id), "without a head: still listed");
  same(await Journal.recover(store, crypto.randomUUID()), null, "what never was");
  // Damage is neither: somebody's speech is in it.
  const damaged = { head: head.slice(), a: sound(0, 100), b: NONE };
  damaged.head[30] ^= 1;
  await place(store, id, damaged);
  same(await codeOf(() => Journal.recover(store, id)), "local-storage-failed", "a damaged head");
  const left = await contents(store, id);
  expect(equal(left.head, damaged.head) && equal(left.a, damaged.a), "the damaged journal was altered");
  await store.remove(id);
  same(await store.list(), [], "what is left");
}

// ---- at each operation -----------------------------------------------------------------

/** @typedef {{ op: "append" | "truncate" | "flush", name?: FileName, bytes?: Uint8Array, size?: number }} Operation */

/**
 * A store in memory that writes down all that is done to its files.
 *
 * @param {Operation[]} log
 * @returns {FileStore}
 */
function writtenDown(log) {
  const store = new MemoryStore();
  return {
    kind: "memory",
    list: () => store.list(),
    remove: (id) => store.remove(id),
    open: async (id) => {
      const files = await store.open(id);
      return {
        append(name, bytes) {
          log.push({ op: "append", name, bytes: bytes.slice() });
          return files.append(name, bytes);
        },
        truncate(name, size) {
          log.push({ op: "truncate", name, size });
          return files.truncate(name, size);
        },
        flush() {
          log.push({ op: "flush" });
          return files.flush();
        },
        read: (name, offset, bytes) => files.read(name, offset, bytes),
        size: (name) => files.size(name),
        close: () => files.close(),
        remove: () => files.remove(),
      };
    },
  };
}

/**
 * @param {Contents} disk
 * @param {Operation} operation
 * @param {number} [most] Bytes that a write got to.
 */
function apply(disk, { op, name, bytes = NONE, size }, most = bytes.length) {
  if (name === undefined) return;
  const before = disk[name];
  if (op === "truncate") disk[name] = before.slice(0, size);
  else {
    disk[name] = new Uint8Array(before.length + most);
    disk[name].set(before);
    disk[name].set(bytes.subarray(0, most), before.length);
  }
}

/**
 * A life of some turns, what was done to the files, and what was true after how much of it.
 *
 * @param {number} seed
 */
async function life(seed) {
  const { below, chance } = dice(seed);
  const isNoting = seed % 2 === 0; // what is acknowledged, or it is only released
  /** @type {Operation[]} */
  const log = [];
  const about = aboutOf();
  const journal = await Journal.create(writtenDown(log), about);
  const model = new Model();
  /** @type {(Model & { done: number })[]} */
  const states = [];
  const note = () => states.push(Object.assign(new Model(), structuredClone({ ...model }), { done: log.length }));
  note();
  for (let step = 0; step < 100; step++) {
    const dealt = below(20);
    if (dealt < 10) {
      const frames = 1 + below(64_000);
      await journal.audio(model.end, sound(model.end, frames));
      model.end += frames;
    } else if (dealt < 12) {
      const gap = gapOf(model.end, 1 + below(20_000));
      await journal.gap(gap);
      model.gaps.push(gap);
      model.end += gap.frames;
    } else if (dealt < 15) {
      await journal.flush();
    } else if (dealt < 16) {
      const hash = new Uint8Array(32).fill(model.hashes.length);
      await journal.piece(model.hashes.length, hash);
      model.hashes.push([...hash]);
    } else {
      model.acked = Math.max(model.acked, model.end - below(120_000));
      if (isNoting && chance(0.3)) await journal.ack(model.acked);
      model.released = model.acked;
      journal.release(model.released);
    }
    note();
  }
  return { about, log, states };
}

/**
 * Recover a disk, twice.
 *
 * @param {About} about
 * @param {Contents} disk
 */
async function recoveredTwice(about, disk) {
  const store = new MemoryStore();
  const id = about.open.recording;
  await place(store, id, disk);
  const journal = await Journal.recover(store, id);
  if (journal === null) return null;
  await isWhole(journal);
  const facts = factsOf(journal);
  await journal.close();
  const again = await recovered(store, id);
  same(factsOf(again), facts, "the second recovery");
  return again;
}

/** @param {Journal} journal */
function factsOf(journal) {
  const { keptFrames, ackedFrames, releasedFrames, gaps, marks } = journal;
  return { keptFrames, ackedFrames, releasedFrames, gaps, marks, hashes: [...journal.hashes], runs: journal.runs() };
}

/**
 * The browser is killed within and after each operation: what was kept is there, and nothing
 * is made up.
 *
 * @param {number} seed
 */
export async function survivesAKillAnywhere(seed) {
  const { about, log, states } = await life(seed);
  const { below } = dice(seed + 1);
  /** @type {Contents} */
  const disk = { head: NONE, a: NONE, b: NONE };
  for (let done = 0; done < log.length; done++) {
    const torn = { ...disk };
    if (log[done].op === "append") apply(torn, log[done], below(log[done].bytes?.length ?? 0));
    apply(disk, log[done]);
    for (const [image, count] of /** @type {[Contents, number][]} */ ([[torn, done], [disk, done + 1]])) {
      const before = states.findLast((state) => state.done <= count);
      // Of a torn write some records may be whole.
      const after = states.find((state) => state.done > done) ?? states[states.length - 1];
      const journal = await recoveredTwice(about, image);
      if (before === undefined) continue; // it was being created
      const what = `killed at operation ${count}`;
      expect(journal !== null, `${what}: nothing is left`);
      const { keptFrames, gaps } = journal;
      expect(before.end <= keptFrames && keptFrames <= after.end, `${what}: ${keptFrames} frames, not ${before.end} to ${after.end}`);
      same(gaps, after.gaps.slice(0, gaps.length), `${what}: gaps`);
      expect(gaps.length >= before.gaps.length, `${what}: a gap is forgotten`);
      expect(journal.hashes.length >= before.hashes.length * 32, `${what}: a hash is forgotten`);
      expect(startOf(journal) <= after.released, `${what}: what was not released is gone`);
    }
  }
  return { operations: log.length, turns: log.filter(({ op }) => op === "truncate").length };
}

/**
 * The power is cut after each operation, and each file has what was flushed and a part of what
 * came behind: what was flushed is there, and what is missing is a gap, or on the server.
 *
 * @param {number} seed
 */
export async function survivesAPowerCutAnywhere(seed) {
  const { about, log, states } = await life(seed);
  const { below } = dice(seed + 2);
  let cuts = 0;
  for (let done = 2; done <= log.length; done++) {
    const flushed = log.findLastIndex(({ op }, at) => at < done && op === "flush") + 1;
    const late = log.slice(flushed, done);
    /** @type {Record<FileName, number>[]} What share of what was not flushed each file has. */
    const shares = [{ head: below(101), a: below(101), b: below(101) }];
    if (late.some(({ op }) => op === "truncate")) {
      for (let which = 0; which < 8; which++) shares.push({ head: which & 1 && 100, a: which & 2 && 100, b: which & 4 && 100 });
    }
    for (const share of shares) {
      /** @type {Contents} */
      const disk = { head: NONE, a: NONE, b: NONE };
      for (const operation of log.slice(0, flushed)) apply(disk, operation);
      for (const name of FILE_NAMES) {
        const own = late.filter((operation) => operation.name === name);
        for (const operation of own.slice(0, Math.round((own.length * share[name]) / 100))) apply(disk, operation);
      }
      const safe = states.findLast((state) => state.done <= flushed);
      const last = states.find((state) => state.done >= done) ?? states[states.length - 1];
      const journal = await recoveredTwice(about, disk);
      if (safe === undefined) continue;
      looksAfterPowerCut(journal, safe, last, `no power at operation ${done}, flushed at ${flushed}, ${JSON.stringify(share)}`);
      cuts++;
    }
  }
  return cuts;
}

/**
 * @param {Journal | null} journal
 * @param {Model} safe What had been flushed.
 * @param {Model} last What had been said to be kept.
 * @param {string} what
 */
function looksAfterPowerCut(journal, safe, last, what) {
  expect(journal !== null, `${what}: nothing is left`);
  const { keptFrames, ackedFrames, gaps } = journal;
  expect(safe.end <= keptFrames && keptFrames <= last.end, `${what}: ${keptFrames} frames, not ${safe.end} to ${last.end}`);
  expect(startOf(journal) <= last.released, `${what}: what was not released is gone`);
  expect(journal.hashes.length >= safe.hashes.length * 32, `${what}: a hash is forgotten`);
  for (const gap of safe.gaps) expect(gaps.some((one) => one.first_frame === gap.first_frame), `${what}: a gap is forgotten`);
  for (const gap of gaps) {
    if (last.gaps.some((one) => one.first_frame === gap.first_frame && one.frames === gap.frames)) continue;
    expect(gap.first_frame >= Math.max(safe.end, ackedFrames), `${what}: a gap in what was flushed or acknowledged`);
  }
}
