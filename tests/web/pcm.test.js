/** Floats to bytes: against the vectors, bit for bit, and channel by channel. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Level, encodePcm } from "../../src/micwire/web/recorder/pcm.js";
import { load } from "./node.js";

/** @param {string} hex */
const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

test("samples become what the vectors say", async () => {
  const { samples } = await load("pcm.json");
  const floats = bytesOf(samples.map((/** @type {any} */ one) => one.pcm_f32le).join(""));
  const plane = new Float32Array(floats.buffer);
  for (const [place, encoding] of /** @type {const} */ ([[0, "pcm_s16le"], [1, "pcm_s24le"]])) {
    const { bytes, clipped } = encodePcm([plane], encoding);
    assert.deepEqual(bytes, bytesOf(samples.map((/** @type {any} */ one) => one[encoding]).join("")));
    assert.equal(clipped, samples.filter((/** @type {any} */ one) => one.clipped[place]).length);
  }
  // Floats are kept bit for bit: NaN, infinities and minus zero as well.
  assert.deepEqual(encodePcm([plane], "pcm_f32le").bytes, floats);
});

test("channels are interleaved, none twice and none swapped", () => {
  const planes = [Float32Array.of(0.25, 0.5), Float32Array.of(-0.25, -0.5), Float32Array.of(0.125, 0)];
  const { bytes } = encodePcm(planes, "pcm_s16le");
  assert.deepEqual([...new Int16Array(bytes.buffer)], [8192, -8192, 4096, 16384, -16384, 0]);
  const view = new DataView(encodePcm(planes, "pcm_f32le").bytes.buffer);
  assert.deepEqual([0, 1, 2, 3, 4, 5].map((n) => view.getFloat32(4 * n, true)), [0.25, -0.25, 0.125, 0.5, -0.5, 0]);
  const s24 = encodePcm(planes, "pcm_s24le").bytes;
  assert.deepEqual([...s24.subarray(0, 9)], [0, 0, 0x20, 0, 0, 0xe0, 0, 0, 0x10]);
});

test("a part of a larger array is encoded as that part", () => {
  const plane = Float32Array.of(9, 0.5, -0.5, 9).subarray(1, 3);
  for (const encoding of /** @type {const} */ (["pcm_s16le", "pcm_s24le", "pcm_f32le"])) {
    assert.deepEqual(encodePcm([plane], encoding).bytes, encodePcm([Float32Array.from(plane)], encoding).bytes);
  }
});

test("a level is that of all sound since it was last taken", () => {
  const level = new Level();
  level.add([Float32Array.of(0.5, -0.5), Float32Array.of(0, 1)], 0);
  level.add([Float32Array.of(-0.75, 0.5), Float32Array.of(0, 0)], 3);
  const taken = level.take();
  assert.deepEqual([taken.frames, taken.clipped, taken.peak], [4, 3, [0.75, 1]]);
  assert.ok(Math.abs(taken.rms[0] - Math.sqrt((3 * 0.25 + 0.5625) / 4)) < 1e-12);
  assert.equal(level.frames, 0);
  level.add([Float32Array.of(0.1)], 0); // another number of channels
  assert.equal(level.take().peak.length, 1);
});
