/** What is judged lost, and what is not: buffers, clocks and counts in, sound and gaps out. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Intake } from "../../src/micwire/web/recorder/intake.js";
import { dice } from "./node.js";

const RATE = 48_000, BUFFER = 480;

/** A microphone whose samples count, and what came of it. */
class Bench {
  next = 0; // the next sample
  clock = 0; // of the next buffer, in frames
  /** @type {(number | string)[]} each run of sound as its length, each gap as text */ heard = [];
  /** @type {number[]} */ samples = [];

  /** @param {ConstructorParameters<typeof Intake>[0]} [options] */
  constructor(options = { sampleRate: RATE }) {
    this.intake = new Intake(options);
  }

  /** @param {ReturnType<Intake["push"]>} found */
  take(found) {
    for (const { planes, gap } of found) {
      if (gap !== undefined) {
        this.heard.push(`${gap.cause} ${gap.frames}${gap.exact ? "" : " or so"}`);
        continue;
      }
      this.samples.push(...planes[0]);
      const last = this.heard.at(-1);
      if (typeof last === "number") this.heard[this.heard.length - 1] = last + planes[0].length;
      else this.heard.push(planes[0].length);
    }
  }

  /** @param {{frames?: number, jitter?: number, zeros?: boolean, late?: boolean, quiet?: number}} [buffer] */
  push({ frames = BUFFER, jitter = 0, zeros = false, late = false, quiet = 1 } = {}) {
    const plane = Float32Array.from({ length: frames }, () => zeros ? 0 : quiet * (1 + this.next++));
    this.take(this.intake.push([plane], this.clock + jitter, late));
    this.clock += frames;
  }

  /** @param {number} count @param {Parameters<Bench["push"]>[0]} [buffer] */
  many(count, buffer) { for (let n = 0; n < count; n++) this.push(buffer); }

  end() { this.take(this.intake.end()); }

  /** All sound that is no zero came through, once and in order. */
  assertWhole() {
    const sound = this.samples.filter((sample) => sample !== 0);
    assert.equal(sound.length, this.next);
    sound.forEach((sample, n) => assert.equal(sample, n + 1));
  }
}

test("an even clock is one run of sound", () => {
  const bench = new Bench();
  bench.many(500);
  bench.end();
  assert.deepEqual(bench.heard, [500 * BUFFER]);
  bench.assertWhole();
});

test("a clock that jumps to and fro, and drifts for an hour, loses nothing", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true }), roll = dice(3);
  for (let n = 0; n < 20_000; n++) {
    bench.push({ jitter: n * 0.01 * BUFFER + roll(57 * 48) }); // 1 % fast, and up to 57 ms off
    if (n % 100 === 0) bench.take(bench.intake.counted(bench.next, bench.next, bench.next - roll(4) * BUFFER));
  }
  bench.end();
  assert.deepEqual(bench.heard, [20_000 * BUFFER]);
});

test("a clock that stays ahead by seconds is a gap of about that length, and the sound goes on behind it", () => {
  const bench = new Bench();
  bench.many(100);
  bench.clock += 2 * RATE;
  bench.many(100);
  bench.end();
  assert.deepEqual(bench.heard, [100 * BUFFER, `suspended ${2 * RATE} or so`, 100 * BUFFER]);
  bench.assertWhole();
});

test("a clock that is bent to where it should be, as browsers do, is one gap of the whole", () => {
  // Measured: Chromium 156 on PulseAudio, stopped for 30 s; buffer, and milliseconds ahead.
  const curve = [[0, -11], [43, -11], [93, 7], [193, 15], [293, 42], [593, 66], [1093, 97], [1143, 488], [1193, 1558], [1243, 2629], [1293, 3688], [1343, 4759], [1378, 5500], [1600, 5500]];
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  for (let n = 0; n < 1600; n++) {
    const next = curve.findIndex(([buffer]) => buffer > n), [from, low] = curve[next - 1], [to, high] = curve[next];
    bench.push({ frames: 1024, jitter: 48 * (low + (high - low) * (n - from) / (to - from)) });
    bench.take(bench.intake.counted(bench.next, bench.next, bench.next));
  }
  bench.end();
  assert.equal(bench.heard.length, 3, `${bench.heard}`);
  const [, what, frames] = /(suspended) (\d+) or so/.exec(`${bench.heard[1]}`) ?? [];
  assert.equal(what, "suspended");
  assert.ok(Math.abs(Number(frames) - 5.5 * RATE) < 0.4 * RATE, frames);
  bench.assertWhole();
});

test("a clock that comes back within the time it is watched is no gap", () => {
  const bench = new Bench();
  bench.many(100);
  bench.many(5, { jitter: RATE });
  bench.many(100);
  bench.end();
  assert.deepEqual(bench.heard, [205 * BUFFER]);
  bench.assertWhole();
});

test("what the browser dropped while we were late is a gap of exactly that length", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  const count = (/** @type {number} */ lost) => {
    const read = bench.next;
    bench.take(bench.intake.counted(read + lost + 960, read + lost + 960, read));
  };
  for (let n = 0; n < 10; n++) { bench.push(); count(0); }
  bench.clock += 7 * BUFFER;
  bench.push({ late: true });
  for (let n = 0; n < 60; n++) { bench.push(); count(7 * BUFFER); }
  bench.end();
  assert.deepEqual(bench.heard, [10 * BUFFER, `overflow ${7 * BUFFER}`, 61 * BUFFER]);
  bench.assertWhole();
});

test("we were late, the clock is ahead, and the counts say that nothing is missing: no gap", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  const count = () => bench.take(bench.intake.counted(bench.next, bench.next, bench.next));
  for (let n = 0; n < 10; n++) { bench.push(); count(); }
  bench.clock += 3 * BUFFER;
  bench.push({ late: true });
  for (let n = 0; n < 60; n++) { bench.push(); count(); }
  bench.end();
  assert.deepEqual(bench.heard, [71 * BUFFER]);
});

test("what the device lost before the browser is a gap of the length that is counted", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  for (let n = 0; n < 20; n++) { bench.push(); bench.take(bench.intake.counted(bench.next, bench.next, bench.next)); }
  for (let n = 0; n < 20; n++) { bench.push(); bench.take(bench.intake.counted(bench.next + 1234, bench.next, bench.next)); }
  bench.end();
  assert.deepEqual(bench.heard, [21 * BUFFER, "capture 1234 or so", 19 * BUFFER]);
});

test("what was lost before the first count is not ours to list", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  for (let n = 0; n < 20; n++) { bench.push(); bench.take(bench.intake.counted(bench.next + 999, bench.next + 441, bench.next)); }
  bench.end();
  assert.deepEqual(bench.heard, [20 * BUFFER]);
});

test("no answer to the counts holds the sound for a while only", () => {
  const bench = new Bench({ sampleRate: RATE, hasCounts: true });
  bench.many(10);
  bench.clock += RATE;
  bench.many(1200);
  assert.deepEqual(bench.heard.slice(0, 2), [10 * BUFFER, `suspended ${RATE} or so`]);
  bench.end();
  bench.assertWhole();
});

test("buffers of zeros between loud ones are a drop-out, of about their length", () => {
  const bench = new Bench();
  bench.many(3);
  bench.many(4, { zeros: true });
  bench.many(3);
  bench.end();
  assert.deepEqual(bench.heard, [3 * BUFFER, `capture ${4 * BUFFER} or so`, 3 * BUFFER]);
});

test("long digital silence, quiet surroundings and zeros at either end are sound", () => {
  const long = new Bench();
  long.many(3);
  long.many(60, { zeros: true });
  long.many(3);
  long.many(200, { zeros: true });
  long.many(3);
  long.end();
  assert.deepEqual(long.heard, [269 * BUFFER]);
  const quiet = new Bench();
  quiet.many(3, { quiet: 1e-7 });
  quiet.many(3, { zeros: true });
  quiet.many(3, { quiet: 1e-7 });
  quiet.end();
  assert.deepEqual(quiet.heard, [9 * BUFFER]);
  const ends = new Bench();
  ends.many(3, { zeros: true });
  ends.many(3);
  ends.many(3, { zeros: true });
  ends.end();
  assert.deepEqual(ends.heard, [9 * BUFFER]);
});

/** @param {(n: number) => number} sample @param {number[]} [cuts] where one buffer ends and the next begins */
function heardOf(sample, cuts = []) {
  const intake = new Intake({ sampleRate: RATE, leastZeros: 8, isClockExact: true }), all = [];
  const edges = [0, ...cuts, 1024];
  for (let n = 1; n < edges.length; n++) {
    const plane = Float32Array.from({ length: edges[n] - edges[n - 1] }, (_, at) => sample(edges[n - 1] + at));
    all.push(...intake.push([plane, plane], edges[n - 1]));
  }
  all.push(...intake.end());
  return all.map(({ planes, gap }) => gap === undefined ? planes[0].length : -gap.frames);
}

test("on the audio thread a run of zeros is found wherever it begins and a buffer ends", () => {
  const sample = (/** @type {number} */ n) => n >= 250 && n < 281 ? 0 : 0.5;
  for (const cuts of [[], [250], [281], [260], [249], [282], [251, 280], [100, 250, 281, 900]]) {
    const heard = heardOf(sample, cuts), at = heard.indexOf(-31);
    const sum = (/** @type {number[]} */ all) => all.reduce((one, other) => one + other, 0);
    assert.ok(at >= 0, `${cuts}: ${heard}`);
    assert.deepEqual([sum(heard.slice(0, at)), sum(heard.slice(at + 1))], [250, 1024 - 281]);
  }
});

test("zeros of a quiet microphone, of a zero crossing, and on one channel only are sound", () => {
  assert.deepEqual(heardOf((n) => n % 40 < 20 ? 0 : 1 / 32768), [1024]);
  assert.deepEqual(heardOf((n) => n >= 300 && n < 307 ? 0 : 0.5), [1024]);
  const intake = new Intake({ sampleRate: RATE, leastZeros: 8, isClockExact: true });
  const loud = new Float32Array(1024).fill(0.5), holed = Float32Array.from(loud).fill(0, 300, 400);
  assert.equal(intake.push([loud, holed], 0).length, 1);
});

test("a clock that counts frames makes every jump an exact gap", () => {
  const bench = new Bench({ sampleRate: RATE, leastZeros: 8, isClockExact: true });
  bench.many(2, { frames: 1024 });
  bench.clock += 128;
  bench.many(2, { frames: 1024 });
  bench.end();
  assert.deepEqual(bench.heard, [2048, "capture 128", 2048]);
});

test("zeros of a muted microphone are a gap, and what it says all the same is sound", () => {
  const bench = new Bench();
  bench.many(2);
  bench.take(bench.intake.muted(true));
  bench.many(1); // what was on its way
  bench.many(100, { zeros: true });
  bench.take(bench.intake.muted(false));
  bench.many(2);
  bench.end();
  assert.deepEqual(bench.heard, [3 * BUFFER, `suspended ${100 * BUFFER}`, 2 * BUFFER]);
  bench.assertWhole();
});

test("zeros that came before the browser told of the mute belong to it", () => {
  const bench = new Bench();
  bench.many(2);
  bench.many(90, { zeros: true });
  bench.take(bench.intake.muted(true));
  bench.many(100, { zeros: true });
  bench.many(2); // it says late that it is over, too
  bench.take(bench.intake.muted(false));
  bench.end();
  assert.deepEqual(bench.heard, [2 * BUFFER, `suspended ${190 * BUFFER}`, 2 * BUFFER]);
  bench.assertWhole();
});

test("a context that stood still is a gap of about that time", () => {
  const bench = new Bench({ sampleRate: RATE, leastZeros: 8, isClockExact: true });
  bench.many(2, { frames: 1024 });
  bench.take(bench.intake.stoodStill(1.5));
  bench.many(2, { frames: 1024 });
  assert.deepEqual(bench.heard, [2048, "suspended 72000 or so", 2048]);
});

test("NaN is no silence", () => {
  const intake = new Intake({ sampleRate: RATE });
  intake.push([Float32Array.of(0.5, 0.5)], 0);
  const [{ planes }] = intake.push([Float32Array.of(NaN, 0)], 2);
  assert.ok(planes !== undefined && Number.isNaN(planes[0][0]));
});
