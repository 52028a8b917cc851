/** The digest against the vectors, and against its definition by another SHA-256. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { PIECE_BYTES, PieceDigest } from "../../src/micwire/web/recorder/digest.js";
import { dice, load, testEach } from "./node.js";
import { digests } from "./vectors.js";

await testEach(digests(load));

/** @param {Uint8Array} data */
function sha256(data) {
  return createHash("sha256").update(data).digest();
}

/** @param {Uint8Array} data */
function hashesOf(data) {
  const hashes = [];
  for (let at = 0; at < data.length; at += PIECE_BYTES) {
    hashes.push(sha256(data.subarray(at, at + PIECE_BYTES)));
  }
  return hashes;
}

/** @param {Uint8Array} data */
function byDefinition(data) {
  return sha256(Buffer.concat(hashesOf(data))).toString("hex");
}

/** @param {number} bytes */
function noise(bytes) {
  const roll = dice(bytes);
  return Uint8Array.from({ length: bytes }, () => roll(256));
}

test("the digest does not depend on how bytes and zeros are cut", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const roll = dice(seed);
    const data = noise(roll(3 * PIECE_BYTES));
    const digest = new PieceDigest();
    for (let at = 0; at < data.length; ) {
      const end = Math.min(data.length, at + roll(roll(2) ? 2 * PIECE_BYTES : 5000));
      if (roll(3) === 0) {
        data.fill(0, at, end);
        digest.updateZeros(end - at);
      } else {
        digest.update(data.subarray(at, end));
      }
      at = end;
    }
    assert.equal(digest.bytes, data.length);
    assert.equal(await digest.hexdigest(), byDefinition(data), `seed ${seed}`);
  }
});

test("what was given may be overwritten at once", async () => {
  const data = noise(2 * PIECE_BYTES + 5);
  const buffer = data.slice();
  const digest = new PieceDigest();
  digest.update(buffer);
  buffer.fill(7);
  assert.equal(await digest.hexdigest(), byDefinition(data));
});

test("asking for the digest does not end it, and does not wait for what comes after", async () => {
  const data = noise(2 * PIECE_BYTES);
  const digest = new PieceDigest();
  digest.update(data.subarray(0, 1000));
  const early = digest.hexdigest();
  digest.update(data.subarray(1000));
  const late = digest.hexdigest();
  digest.update(new Uint8Array(1));
  assert.equal(await early, byDefinition(data.subarray(0, 1000)));
  assert.equal(await late, byDefinition(data));
});

test("pieces are told in order, also those of zeros, and no byte is hashed before", async () => {
  const data = Buffer.concat([noise(PIECE_BYTES), new Uint8Array(2 * PIECE_BYTES), noise(PIECE_BYTES)]);
  const digest = new PieceDigest();
  /** @type {Array<[number, string]>} */
  const told = [];
  digest.onPiece = (index, hash) => {
    assert.equal(digest.hashedBytes, (index + 1) * PIECE_BYTES);
    told.push([index, Buffer.from(hash).toString("hex")]);
  };
  digest.update(data.subarray(0, PIECE_BYTES));
  assert.equal(digest.hashedBytes, 0);
  digest.updateZeros(2 * PIECE_BYTES);
  digest.update(data.subarray(3 * PIECE_BYTES));
  digest.update(noise(10));
  await digest.hexdigest();
  assert.deepEqual(
    told,
    hashesOf(data).map((hash, index) => [index, hash.toString("hex")]),
  );
});

test("a digest goes on from the hashes of its pieces", async () => {
  const data = noise(3 * PIECE_BYTES + 17);
  const before = new PieceDigest();
  /** @type {Uint8Array[]} */
  const hashes = [];
  before.onPiece = (_, hash) => hashes.push(hash);
  before.update(data.subarray(0, 2 * PIECE_BYTES + 400));
  await before.hexdigest();
  const after = new PieceDigest(Buffer.concat(hashes));
  assert.equal(after.bytes, 2 * PIECE_BYTES);
  assert.equal(after.hashedBytes, 2 * PIECE_BYTES);
  after.update(data.subarray(2 * PIECE_BYTES));
  assert.equal(await after.hexdigest(), byDefinition(data));
});

test("a day of zeros takes no time", async () => {
  const pieces = 16_000; // a day of 48 kHz, 16 bit, stereo
  const digest = new PieceDigest();
  const started = performance.now();
  digest.update(Uint8Array.of(0, 0));
  digest.updateZeros(pieces * PIECE_BYTES);
  const zeros = sha256(new Uint8Array(PIECE_BYTES));
  const last = sha256(new Uint8Array(2));
  const whole = Buffer.concat([...Array(pieces).fill(zeros), last]);
  assert.equal(await digest.hexdigest(), sha256(whole).toString("hex"));
  assert.ok(performance.now() - started < 2000);
});

test("half a hash is our mistake", () => {
  assert.throws(() => new PieceDigest(new Uint8Array(31)), RangeError);
});
