/** A take from its sources to its parts: what is said is in the part in which it was said. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Take } from "../../src/micwire/web/recorder/take.js";
import "./node.js";

const RATE = 48_000, BUFFER = 480;
const FACTS = { take: "t", encoding: /** @type {const} */ ("pcm_f32le"), title: null, metadata: null, analyzers: null };

/** What a take does to a recording, noted; `Upload` itself has its tests in real browsers. */
class Noted {
  /** @type {(number | string)[]} frames in a row, gaps and marks as text */ heard = [];
  capturedFrames = 0;
  isEnded = false;
  isDiscarded = false;

  /** @param {any} open */
  constructor(open) { this.open = open; }

  /** @param {Uint8Array} bytes */
  sound(bytes) {
    const frames = bytes.length / 4 / this.open.format.channels, last = this.heard.at(-1);
    if (typeof last === "number") this.heard[this.heard.length - 1] = last + frames;
    else this.heard.push(frames);
    this.capturedFrames += frames;
  }

  /** @param {any} lost */
  gap({ frames, cause }) {
    this.heard.push(`${cause} ${frames}`);
    this.capturedFrames += frames;
  }

  /** @param {any} mark */
  mark({ label }) {
    if (this.isEnded) return false;
    this.heard.push(label.replace(/[\d.]+ s/, "a while"));
    return true;
  }

  async finish() { this.isEnded = true; }

  async discard() {
    this.isDiscarded = !this.isEnded;
    return this.isDiscarded;
  }
}

/** A take, and a microphone that says loud samples when it is told to. */
class Studio {
  /** @type {Noted[]} */ parts = [];
  /** @type {Error[]} */ failures = [];
  /** @type {any} */ microphone = null;
  clock = 0;

  constructor() {
    this.take = new Take(FACTS, {
      begin: async (open) => {
        const part = new Noted(open);
        this.parts.push(part);
        return /** @type {any} */ (part);
      },
      wantCounts: () => {},
      failed: (error) => this.failures.push(error),
    });
  }

  /** @param {object} [more] of the source */
  source(more) {
    const track = new ReadableStream({ start: (controller) => { this.microphone = controller; } });
    return /** @type {any} */ ({ track, channels: 2, device: {}, settings: {}, hasCounts: false, ...more });
  }

  /** @param {number} buffers @param {{rate?: number, channels?: number}} [shape] */
  async say(buffers, { rate = RATE, channels = 1 } = {}) {
    for (let n = 0; n < buffers; n++) {
      this.microphone.enqueue({
        numberOfFrames: BUFFER, numberOfChannels: channels, sampleRate: rate, timestamp: (this.clock * 1e6) / rate,
        copyTo: (/** @type {Float32Array} */ plane) => plane.fill(0.5),
        close() {},
      });
      this.clock += BUFFER;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async begin() {
    const begun = this.take.next(this.source());
    await this.say(10);
    await begun;
  }
}

test("what was said before a pause is in the recording, what is said in it is not", async () => {
  const studio = new Studio();
  await studio.begin();
  studio.take.pause();
  await studio.say(20);
  studio.take.resume();
  await studio.say(5);
  studio.microphone.close();
  await studio.take.drain(null);
  assert.deepEqual(studio.parts[0].heard, [10 * BUFFER, "pause a while", 5 * BUFFER]);
});

test("a clock under suspicion moves nothing over a pause's edges", async () => {
  const before = new Studio();
  await before.begin();
  before.clock += RATE; // a second is missing, and is being judged when the pause comes
  await before.say(20);
  before.take.pause();
  await before.say(5);
  before.microphone.close();
  await before.take.drain(null);
  assert.deepEqual(before.parts[0].heard, [10 * BUFFER, `suspended ${RATE}`, 20 * BUFFER]);

  const within = new Studio();
  await within.begin();
  within.take.pause();
  within.clock += RATE;
  await within.say(20);
  within.take.resume();
  await within.say(5);
  within.microphone.close();
  await within.take.drain(null);
  assert.deepEqual(within.parts[0].heard, [10 * BUFFER, "pause a while", 5 * BUFFER]);
});

test("another rate, and another number of channels, begin the next part", async () => {
  const studio = new Studio();
  await studio.begin();
  await studio.say(4, { channels: 2 });
  await studio.say(3, { rate: 44_100, channels: 2 });
  studio.microphone.close();
  await studio.take.drain(null);
  assert.deepEqual(studio.parts.map(({ open, heard, isEnded }) => [open.part, open.format.sample_rate, open.format.channels, heard, isEnded]), [
    [0, RATE, 1, [10 * BUFFER], true],
    [1, RATE, 2, [4 * BUFFER], true],
    [2, 44_100, 2, [3 * BUFFER], true],
  ]);
});

test("no more channels are taken than were asked for", async () => {
  const studio = new Studio();
  const begun = studio.take.next(studio.source({ channels: 1 }));
  await studio.say(3, { channels: 2 });
  await begun;
  assert.equal(studio.parts[0].open.format.channels, 1);
  await studio.take.discard();
});

test("a discard ends a source of the audio thread, which tells no end by itself", async () => {
  const studio = new Studio(), { port1, port2 } = new MessageChannel();
  const begun = studio.take.next(studio.source({ track: undefined, port: port1 }));
  port2.postMessage({ planes: [new Float32Array(1024).fill(0.5)], firstFrame: 0, sampleRate: RATE });
  await begun;
  await studio.take.discard();
  assert.ok(studio.parts[0].isDiscarded);
  port2.close();
});

test("a discard that can't take back a finished part says so, and discards the others", async () => {
  const studio = new Studio();
  await studio.begin();
  await studio.say(2, { channels: 2 });
  await assert.rejects(studio.take.discard(), { code: "finished" });
  assert.deepEqual(studio.parts.map(({ isDiscarded }) => isDiscarded), [false, true]);
});

test("sound that can't be read any more is told", async () => {
  const broken = new Studio();
  await broken.begin();
  broken.microphone.error(new Error("the track broke"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(broken.failures[0]?.message ?? "", /the track broke/);
});

test("there is no mark where nothing is recorded", async () => {
  const studio = new Studio();
  assert.equal(studio.take.mark("too early"), null);
  await studio.begin();
  assert.deepEqual(studio.take.mark("here"), { frame: 10 * BUFFER, label: "here" });
  studio.microphone.close();
  await studio.take.drain(null);
  assert.equal(studio.take.mark("too late"), null);
});
