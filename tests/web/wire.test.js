/** The messages of the wire against the vectors, and what they leave open. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  BadMessageError,
  CLOSE_CODES,
  decodeServer,
  encodeAudio,
  encodeClient,
  frameBytes,
} from "../../src/micwire/web/recorder/wire.js";
import { load, testEach } from "./node.js";
import { messages, refusals } from "./vectors.js";

/** @import { ClientMessage, OpenMessage } from "../../src/micwire/web/recorder/types.js" */

await testEach(messages(load));
await testEach(refusals(load));

/** @type {OpenMessage} */
const OPEN = {
  type: "open",
  recording: "7f3a9c2e-0b51-4d7e-9a68-3c1de4f05b72",
  key: "q83vEjRWeJq83vEjRWeJqg",
  format: { encoding: "pcm_s16le", sample_rate: 48_000, channels: 2 },
};

test("a field that is null or undefined is left out", () => {
  const written = encodeClient({ ...OPEN, ticket: null, title: undefined, acked: 0 });
  assert.deepEqual(JSON.parse(written), { ...OPEN, acked: 0 });
});

test("half a character is replaced, so that a title which was cut opens all the same", () => {
  const written = encodeClient({ ...OPEN, title: "a\ud83c", metadata: { b: "\udf99" } });
  assert.deepEqual(JSON.parse(written), { ...OPEN, title: "a\ufffd", metadata: { b: "\ufffd" } });
});

/** @type {unknown[]} */
const MISTAKES = [
  { type: "pause" },
  { type: "toString" },
  { ...OPEN, recording: OPEN.recording.toUpperCase() },
  { ...OPEN, recording: `${OPEN.recording}\n` },
  { ...OPEN, key: "short" },
  { ...OPEN, take: "1" },
  { ...OPEN, format: { ...OPEN.format, encoding: "opus" } },
  { ...OPEN, format: { ...OPEN.format, encoding: "toString" } },
  { ...OPEN, format: { ...OPEN.format, sample_rate: 44_100.5 } },
  { ...OPEN, format: { ...OPEN.format, channels: 65 } },
  { type: "gap", first_frame: 0, frames: 1, cause: "boredom", exact: true },
  { type: "gap", first_frame: -1, frames: 1, cause: "capture", exact: true },
  { type: "gap", first_frame: 0, frames: 0.5, cause: "capture", exact: true },
  { type: "gap", first_frame: 2 ** 53 - 1, frames: 1, cause: "capture", exact: true },
  { type: "mark", frame: NaN, label: "" },
  { type: "mark", frame: 0, label: "x".repeat(1001) },
  { type: "finish", frames: 2 ** 53 },
  { type: "finish", frames: 0, digest: "F".repeat(64) },
];
for (const message of MISTAKES) {
  test(`our mistake is an exception: ${JSON.stringify(message).slice(0, 120)}`, () => {
    assert.throws(
      () => encodeClient(/** @type {ClientMessage} */ (message)),
      (error) => error instanceof RangeError || error instanceof TypeError,
    );
  });
}

test("audio begins at a frame that is a count", () => {
  assert.throws(() => encodeAudio(-1, new Uint8Array(4)), RangeError);
  assert.throws(() => encodeAudio(2 ** 53, new Uint8Array(4)), RangeError);
  assert.throws(() => encodeAudio(0.5, new Uint8Array(4)), RangeError);
});

test("audio may be a part of a larger buffer", () => {
  const part = Uint8Array.of(9, 1, 2, 3, 4, 9).subarray(1, 5);
  assert.deepEqual([...encodeAudio(258, part)], [2, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
});

test("a frame has a sample for each channel", () => {
  const sizes = { pcm_s16le: 6, pcm_s24le: 9, pcm_f32le: 12 };
  for (const [encoding, size] of Object.entries(sizes)) {
    const format = /** @type {OpenMessage["format"]} */ ({ ...OPEN.format, encoding, channels: 3 });
    assert.equal(frameBytes(format), size);
  }
});

const RESULT = { type: "result", analyzer: "a", seq: 1, first_frame: 0, frames: 1, final: true };

/** @param {string} data JSON. */
function resultWith(data) {
  return `${JSON.stringify(RESULT).slice(0, -1)},"data":${data}}`;
}

const TOLD = {
  "a number with a point that is whole": ["1.0", 1],
  "a text that looks like numbers": ['"1.0 2e5 \\" 3.0"', '1.0 2e5 " 3.0'],
  "counts deeper down, which are no counts": ['{"frames":1.0,"seq":1e3}', { frames: 1, seq: 1000 }],
  "a character beyond the basic plane, escaped": ['"\\ud83c\\udf99"', "🎙"],
};
for (const [name, [written, value]] of Object.entries(TOLD)) {
  test(`data may be ${name}`, () => {
    assert.deepEqual(decodeServer(resultWith(String(written))), { ...RESULT, data: value });
  });
}

test("what a server may leave out is null, and an error without frames stands at 0", () => {
  const digest = "0".repeat(64);
  const finished = { type: "finished", recording: OPEN.recording, frames: 1, digest, url: "/x" };
  assert.deepEqual(decodeServer(JSON.stringify(RESULT)), { ...RESULT, data: null });
  assert.deepEqual(decodeServer(JSON.stringify(finished)), { ...finished, matches: null });
  for (const frames of [undefined, null]) {
    const error = { type: "error", code: "quota", message: "", frames };
    assert.deepEqual(decodeServer(JSON.stringify(error)), { ...error, frames: 0 });
  }
});

const REFUSED = {
  "a count with an exponent": '{"type":"ack","frames":1e3}',
  "a count with a point among others without": '{"type":"error","code":"","message":"","frames":0.0}',
  "a count that is true where another number has a point": '{"type":"ack","x":1.5,"frames":true}',
  "a number beyond a double, deep down": resultWith('[{"x":1e999}]'),
  "a lone surrogate as a key": resultWith('{"\\ud800":1}'),
  "a lone surrogate in data": resultWith('["\\udc00"]'),
  "65 levels": resultWith("[".repeat(64) + "]".repeat(64)),
  "a level for each byte": resultWith("[".repeat(500_000) + "]".repeat(500_000)),
  "nothing but a byte order mark": '\ufeff{"type":"ack","frames":1}',
};
for (const [name, text] of Object.entries(REFUSED)) {
  test(`refused: ${name}`, () => {
    assert.throws(() => decodeServer(text), BadMessageError);
  });
}

test("64 levels are read", () => {
  assert.ok(decodeServer(resultWith("[".repeat(63) + "]".repeat(63))));
});

test("a type of a later version, or a name of the language, is none of ours", () => {
  for (const type of ["weather", "toString", "__proto__", ""]) {
    assert.equal(decodeServer(JSON.stringify({ type, frames: -1 })), null);
  }
});

test("a long text with numbers is read without a deep stack", () => {
  const words = `${"grün \\\\ \\\" 1.5 ".repeat(60_000)}`;
  const message = decodeServer(resultWith(`["${words}", 1.5]`));
  assert.equal(message?.type, "result");
});

test("each code has its own close code", () => {
  assert.equal(new Set(Object.values(CLOSE_CODES)).size, Object.keys(CLOSE_CODES).length);
});
