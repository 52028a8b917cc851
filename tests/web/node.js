/** What the tests in Node share: the vectors from the disk, and numbers by a seed. */

import { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

// Browsers have it, and Node from 20 on.
if (!("crypto" in globalThis)) Object.assign(globalThis, { crypto: webcrypto });

/** @param {string} name Of a file in `spec/vectors`. */
export async function load(name) {
  return JSON.parse(await readFile(new URL(`../../spec/vectors/${name}`, import.meta.url), "utf8"));
}

/**
 * Make a test of each check.
 * @param {Promise<import("./vectors.js").Check[]>} checks
 */
export async function testEach(checks) {
  for (const { name, run } of await checks) test(name, run);
}

/**
 * Return a function that returns an integer from 0 to below its argument: always the same
 * ones for the same seed (mulberry32).
 * @param {number} seed
 */
export function dice(seed) {
  let state = seed;
  return (/** @type {number} */ sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}
