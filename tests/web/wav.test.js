/** WAV headers against the vectors. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { header } from "../../src/micwire/web/recorder/wav.js";
import { load, testEach } from "./node.js";
import { wavs } from "./vectors.js";

await testEach(wavs(load));

test("a header of no count, or of a format that is none, is our mistake", () => {
  const format = { encoding: /** @type {const} */ ("pcm_s16le"), sample_rate: 8000, channels: 1 };
  for (const frames of [-1, 0.5, NaN, 2 ** 53]) assert.throws(() => header(format, frames), RangeError);
  for (const wrong of [{ channels: 0 }, { channels: 65 }, { sample_rate: 7999 }]) {
    assert.throws(() => header({ ...format, ...wrong }, 1), RangeError);
  }
});
