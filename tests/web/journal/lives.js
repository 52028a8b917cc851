/**
 * What is written is read, and found again.
 */

import { savedCopy } from "../../../src/micwire/web/recorder/copy.js";
import { openStore } from "../../../src/micwire/web/recorder/files.js";
import { Journal } from "../../../src/micwire/web/recorder/journal.js";
import { BLOCK, Model, aboutOf, codeOf, contents, dice, equal, expect, gapOf, isWhole, recovered, same, sound } from "./model.js";

/** @import { StoreKind } from "../../../src/micwire/web/recorder/types.js" */

/**
 * A life of any operations; the journal and a model of it must agree at each look.
 *
 * @param {StoreKind} kind
 * @param {number} seed
 * @param {number} steps
 */
export async function keepsWhatItIsGiven(kind, seed, steps) {
  const { below, chance } = dice(seed);
  const store = await openStore([kind]);
  const about = { ...aboutOf(), startedAt: "2026-01-01T00:00:00Z", note: "ü" };
  const id = about.open.recording;
  const model = new Model();
  let journal = await Journal.create(store, about);
  let looks = 0;
  /** @type {[number, () => unknown][]} How often, and what. */
  const operations = [
    [50, async () => {
      const frames = 1 + below(chance(0.1) ? 60_000 : 3000); // some take several records
      const done = journal.audio(model.end, sound(model.end, frames));
      if (done !== undefined) same(journal.keptFrames, model.end, "kept before it is written");
      await done;
      model.end += frames;
    }],
    [5, async () => {
      const gap = gapOf(model.end, 1 + below(chance(0.1) ? 2 ** 36 : 5000));
      await journal.gap(gap);
      model.gaps.push(gap);
      model.end += gap.frames;
    }],
    [4, async () => {
      const mark = { frame: below(model.end + 1), label: `mark ${below(1000)} あ` };
      await journal.mark(mark);
      model.marks.push(mark);
    }],
    [4, async () => {
      const hash = new Uint8Array(32).map(() => below(256));
      await journal.piece(model.hashes.length, hash);
      model.hashes.push([...hash]);
      await journal.piece(0, new Uint8Array(32)); // is known
    }],
    [6, async () => {
      model.acked += below(model.end - model.acked + 1);
      await journal.ack(model.acked);
    }],
    [8, () => {
      model.released = Math.max(model.released, below(model.acked + 1));
      journal.release(model.released);
    }],
    [14, async () => {
      const ranges = model.ranges(model.released);
      if (ranges.length === 0) return;
      const [start, end] = ranges[below(ranges.length)];
      const first = start + below(end - start);
      const frames = 1 + below(Math.min(end - first, 20_000));
      expect(equal(await journal.read(first, frames), sound(first, frames)), `other sound at ${first}`);
    }],
    [3, () => journal.flush()],
    [4, async () => {
      await model.check(journal);
      looks++;
    }],
    [2, async () => {
      await journal.close();
      journal = await recovered(store, id);
      same(journal.about, about, "about");
      await model.check(journal);
      looks++;
    }],
  ];
  for (let step = 0; step < steps; step++) {
    let dealt = below(100);
    const [, act] = operations.find(([share]) => (dealt -= share) < 0) ?? operations[0];
    await act();
  }
  model.finished = { frames: model.end, digest: chance(0.5) ? "d".repeat(64) : null };
  await journal.finish(model.finished.frames, model.finished.digest);
  for (let times = 0; times < 2; times++) {
    await journal.close();
    const before = await contents(store, id);
    journal = await recovered(store, id);
    await model.check(journal);
    await journal.close();
    const after = await contents(store, id);
    expect(equal(before.head, after.head) && equal(before.a, after.a) && equal(before.b, after.b), "a whole journal was altered");
    journal = await recovered(store, id);
  }
  expect((await store.list()).includes(id), "it is not listed");
  await journal.remove();
  expect(!(await store.list()).includes(id), "it is listed after it was removed");
  same(await Journal.recover(store, id), null, "a removed recording");
  return { end: model.end, looks };
}

/**
 * Nobody waits for an answer, and each is right.
 *
 * @param {StoreKind} kind
 */
export async function takesCallsInTheirOrder(kind) {
  const journal = await Journal.create(await openStore([kind]), aboutOf());
  /** @type {unknown[]} */
  const answers = [];
  for (let block = 0; block < 300; block++) {
    answers.push(journal.audio(block * BLOCK, sound(block * BLOCK, BLOCK)));
    if (block % 50 === 20) answers.push(journal.mark({ frame: block, label: "here" }));
    const first = (block - 10) * BLOCK;
    if (block < 10) continue;
    const reading = Promise.resolve(journal.read(first, BLOCK));
    answers.push(reading.then((found) => expect(equal(found, sound(first, BLOCK)), `other sound at ${first}`)));
  }
  await Promise.all(answers);
  same([journal.keptFrames, journal.marks.length], [300 * BLOCK, 6], "frames and marks");
  await isWhole(journal);
  await journal.remove();
}

/**
 * Nothing is read between two looks at the same place of a file, which has begun anew meanwhile.
 *
 * @param {StoreKind} kind
 */
export async function readsWhatTookThePlace(kind) {
  const journal = await Journal.create(await openStore([kind]), aboutOf());
  for (let turn = 0; turn < 6; turn++) {
    const first = journal.keptFrames;
    await journal.audio(first, sound(first, 16_000));
    if (turn % 2 === 1) expect(equal(await journal.read(first, 16_000), sound(first, 16_000)), `other sound at ${first}`);
    while (journal.keptFrames < first + 280_000) await journal.audio(journal.keptFrames, sound(journal.keptFrames, 16_000));
    journal.release(journal.keptFrames);
    await journal.flush();
  }
  await isWhole(journal);
  await journal.remove();
}

/** @param {StoreKind} kind */
export async function refusesWhatDoesNotFollow(kind) {
  const store = await openStore([kind]);
  const about = aboutOf();
  const journal = await Journal.create(store, about);
  await journal.audio(0, sound(0, 100));
  await journal.gap(gapOf(100, 10));
  await journal.audio(110, sound(110, 100));
  /** @type {Record<string, () => unknown>} */
  const wrong = {
    "frames again": () => journal.audio(209, sound(209, 100)),
    "frames behind a hole": () => journal.audio(211, sound(211, 100)),
    "half a frame": () => journal.audio(210, new Uint8Array(3)),
    "a gap behind a hole": () => journal.gap(gapOf(211, 10)),
    "a gap of less than none": () => journal.gap(gapOf(210, -1)),
    "reading beyond the end": () => journal.read(200, 11),
    "reading over a gap": () => journal.read(50, 100),
  };
  for (const [what, act] of Object.entries(wrong)) {
    expect((await codeOf(act))?.startsWith("RangeError") === true, `${what}: no RangeError`);
  }
  same(await codeOf(() => Journal.create(store, about)), "locked", "another of the same id");
  same(journal.keptFrames, 210, "kept frames");
  await isWhole(journal);
  await journal.close();
  expect((await codeOf(() => Journal.create(store, about)))?.startsWith("RangeError") === true, "made again: no RangeError");
  await store.remove(about.open.recording);
  same(await store.list(), [], "what is left");
}

/**
 * A copy for the person, of what is left: a part is released, there are gaps, one of them long.
 *
 * @param {StoreKind} kind
 * @param {"pcm_s24le" | "pcm_f32le"} encoding
 */
export async function savesACopy(kind, encoding) {
  const size = encoding === "pcm_s24le" ? 3 : 4;
  const journal = await Journal.create(await openStore([kind]), aboutOf(undefined, { encoding }));
  /** @type {(frames: number) => Promise<void>} */
  const speak = async (frames) => {
    const bytes = sound(0, Math.ceil(((journal.keptFrames + frames) * size) / 4)).subarray(journal.keptFrames * size);
    await journal.audio(journal.keptFrames, bytes.subarray(0, frames * size));
  };
  for (let block = 0; block < 30; block++) await speak(16_000);
  await journal.flush();
  journal.release(journal.keptFrames);
  await journal.gap(gapOf(journal.keptFrames, 1_000_000));
  for (let block = 0; block < 30; block++) await speak(16_000);
  await journal.flush();
  await journal.gap(gapOf(journal.keptFrames, 1));
  await speak(16_000);
  const { blob, firstFrame, frames } = await savedCopy(journal);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const start = bytes.length - frames * size - ((frames * size) % 2);
  const expected = sound(0, Math.ceil((journal.keptFrames * size) / 4)).slice(firstFrame * size, journal.keptFrames * size);
  for (const gap of journal.gaps) {
    const from = Math.max(0, gap.first_frame - firstFrame) * size;
    expected.fill(0, from, Math.max(from, (gap.first_frame + gap.frames - firstFrame) * size));
  }
  expect(equal(bytes.subarray(start, start + frames * size), expected), "other sound in the copy");
  const end = journal.keptFrames;
  await journal.remove();
  return { header: [...bytes.subarray(0, start)], type: blob.type, bytes: bytes.length, firstFrame, frames, end };
}

/**
 * A copy of what is in two places, as the first was full: of which there is nothing sent.
 *
 * @param {StoreKind} kind
 */
export async function savesACopyOfTwo(kind) {
  const about = aboutOf();
  const first = await Journal.create(await openStore([kind]), about);
  for (let block = 0; block < 100; block++) await first.audio(block * BLOCK, sound(block * BLOCK, BLOCK));
  const memory = await openStore(["memory"]);
  let second = await Journal.create(memory, about, first.keptFrames);
  for (let block = 100; block < 150; block++) await second.audio(block * BLOCK, sound(block * BLOCK, BLOCK));
  await second.close();
  second = await recovered(memory, about.open.recording);
  same([second.releasedFrames, second.runs()], [100 * BLOCK, [{ firstFrame: 100 * BLOCK, frames: 50 * BLOCK, lost: null }]], "runs");
  const { blob, firstFrame, frames } = await savedCopy(first, second);
  const bytes = new Uint8Array(await blob.arrayBuffer());
  same([firstFrame, frames], [0, 150 * BLOCK], "what the copy holds");
  expect(equal(bytes.subarray(bytes.length - frames * 4), sound(0, frames)), "other sound in the copy");
  await first.remove();
  await second.remove();
}
