/** One recording's way through a journal in memory, to a socket that the test holds. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { StorageError } from "../../src/micwire/web/recorder/files-common.js";
import { MemoryStore } from "../../src/micwire/web/recorder/files-memory.js";
import { Journal } from "../../src/micwire/web/recorder/journal.js";
import { Upload } from "../../src/micwire/web/recorder/upload.js";
import "./node.js";

const RATE = 8_000;
const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

/** What Node 20 has not: a socket; the test is its other end. */
class Socket {
  static CLOSING = 2;
  /** @type {Socket[]} */ static all = [];
  readyState = 1;
  /** @type {any[]} */ sent = [];
  /** @type {any} */ onopen = null;
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onclose = null;

  constructor() { Socket.all.push(this); }
  /** @param {any} message */ send(message) { this.sent.push(message); }
  close() { this.readyState = 3; }

  /** Shake hands and open; what came is thrown back in order. @param {string} recording @param {number} frames */
  async open(recording, frames) {
    this.onopen();
    await soon();
    const limits = { ack_interval_ms: 40, max_message_bytes: 1 << 20, max_unacked_frames: 1 << 20 };
    this.onmessage({ data: JSON.stringify({ type: "opened", recording, epoch: 1, frames, level: "durable", ...limits }) });
    await soon();
  }
}
Object.assign(globalThis, { WebSocket: Socket });

/** @param {any} [store] */
async function begin(store = new MemoryStore()) {
  /** @type {any[]} */ const problems = [];
  /** @type {any[]} */ const gaps = [];
  const open = /** @type {any} */ ({
    type: "open", recording: crypto.randomUUID(), key: "q83vEjRWeJq83vEjRWeJqg",
    format: { encoding: "pcm_s16le", sample_rate: RATE, channels: 1 },
  });
  const upload = await Upload.begin(store, new MemoryStore(), "http://127.0.0.1:1/", open, {
    ticket: async () => null, happened: () => {}, gap: (_, gap) => gaps.push(gap), keepingFailed: (_, error) => problems.push(error.code),
  });
  return { upload, problems, gaps, store };
}

/** @param {Upload} upload @param {number} frames */
const say = (upload, frames) => upload.sound(new Uint8Array(2 * frames).fill(7), 0);

test("a gap of days is gaps of a day each", async () => {
  const { upload, gaps } = await begin();
  say(upload, 400);
  upload.gap({ frames: 60 * 3600 * RATE, cause: "suspended", exact: false });
  say(upload, 400);
  await upload.finish();
  const day = 24 * 3600 * RATE;
  assert.deepEqual(gaps.map(({ first_frame, frames }) => [first_frame, frames]), [[400, day], [400 + day, day], [400 + 2 * day, day / 2]]);
  assert.equal(upload.keptFrames, 800 + 60 * 3600 * RATE);
  await upload.close();
});

test("one mark too many is told, and those before it stay", async () => {
  const { upload } = await begin();
  for (let n = 0; n < 10_000; n++) assert.equal(upload.mark({ frame: 0, label: `${n}` }), true);
  assert.equal(upload.mark({ frame: 0, label: "7" }), true); // twice is once
  assert.throws(() => upload.mark({ frame: 0, label: "more" }), { code: "quota" });
  assert.equal(upload.marks.length, 10_000);
  const wordy = (await begin()).upload;
  for (let n = 0; n < 1_000; n++) wordy.mark({ frame: n && 0, label: `${n}`.padEnd(1000, "x") });
  assert.throws(() => wordy.mark({ frame: 0, label: "y".repeat(1000) }), { code: "quota" });
  await upload.close();
  await wordy.close();
});

test("what is ended takes neither marks nor a discard", async () => {
  const { upload, problems } = await begin();
  say(upload, 400);
  await upload.finish();
  assert.equal(upload.mark({ frame: 0, label: "late" }), false);
  assert.equal(await upload.discard(), false);
  assert.deepEqual([upload.marks, problems, upload.keeping], [[], [], "memory"]);
  await upload.close();
});

test("forgetting twice is forgetting once", async () => {
  const { upload, store } = await begin();
  say(upload, 400);
  await upload.forget();
  await upload.forget();
  assert.deepEqual(await store.list(), []);
});

test("a discard before the server was heard of forgets all, and takes no more sound", async () => {
  const { upload, store, problems } = await begin();
  say(upload, 100);
  assert.equal(await upload.discard(), true);
  say(upload, 400);
  await soon();
  assert.deepEqual([await store.list(), problems], [[], []]);
});

test("a read of the journal that fails once is told, and all is sent again after it", async () => {
  const store = new MemoryStore(), open = store.open.bind(store);
  let isBroken = true;
  store.open = async (id) => {
    const files = await open(id), read = files.read.bind(files);
    files.read = (name, offset, bytes) => {
      if (!isBroken) return read(name, offset, bytes);
      isBroken = false;
      throw new StorageError("local-storage-failed", "the disk is away");
    };
    return files;
  };
  const { upload, problems } = await begin(store);
  for (let n = 0; n < 4; n++) say(upload, 400);
  Socket.all.length = 0;
  upload.connect();
  await Socket.all[0].open(upload.recording, 0);
  assert.deepEqual(problems, ["local-storage-failed"]);
  await new Promise((resolve) => setTimeout(resolve, 400)); // it comes back after its back-off
  assert.equal(Socket.all.length, 2);
  await Socket.all[1].open(upload.recording, 0);
  const sound = Socket.all[1].sent.filter((message) => typeof message !== "string");
  assert.equal(sound.reduce((sum, { length }) => sum + length - 8, 0), 2 * 1600);
  await upload.close();
});

test("a browser that refuses a socket at all stops nothing", async () => {
  const { upload, problems } = await begin();
  Object.assign(globalThis, { WebSocket: class { constructor() { throw new DOMException("mixed content", "SecurityError"); } } });
  upload.connect();
  say(upload, 400);
  await soon();
  assert.deepEqual([upload.keptFrames, upload.isOnline, problems], [400, false, []]);
  Object.assign(globalThis, { WebSocket: Socket });
  await upload.close();
});

test("memory that is full is told once, and what it can't hold is one gap", async () => {
  const { upload, problems, gaps } = await begin();
  const block = new Uint8Array(1 << 20);
  for (let n = 0; n < 260; n++) upload.sound(block, 0);
  assert.deepEqual([problems, gaps], [["local-storage-full"], []]);
  const kept = upload.keptFrames;
  await upload.finish();
  assert.ok(kept * 2 > 256 << 20 && kept * 2 <= 258 << 20, `${kept}`);
  assert.deepEqual(gaps, [{ first_frame: kept, frames: 130 * (1 << 20) - kept, cause: "overflow", exact: true }]);
  await upload.close();
});

test("whose a recording is outlives the page; one of an older page is anybody's", async () => {
  const store = new MemoryStore(), memory = new MemoryStore();
  const open = /** @type {any} */ ({ type: "open", key: "q83vEjRWeJq83vEjRWeJqg", format: { encoding: "pcm_s16le", sample_rate: RATE, channels: 1 } });
  /** @type {any} */ const handler = { ticket: async () => null, happened() {}, gap() {}, keepingFailed() {} };
  const [anna, old] = [crypto.randomUUID(), crypto.randomUUID()];
  await (await Upload.begin(store, memory, "http://127.0.0.1:1/", { ...open, recording: anna }, handler, "anna")).close();
  await (await Journal.create(store, { server: "http://127.0.0.1:1/", open: { ...open, recording: old } })).close();
  for (const [recording, owner] of [[anna, "anna"], [old, ""]]) {
    const found = await Upload.recover(store, memory, recording, handler);
    assert.equal(found?.owner, owner);
    await found?.close();
  }
});
