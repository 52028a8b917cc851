/**
 * The worker: everything between the microphone and the server happens here, so that a busy
 * page costs no sound. Orders come in, reports go out; the shapes of both are below.
 */

import { openStore, whenFree } from "./files.js";
import { Take } from "./take.js";
import { Upload } from "./upload.js";

/**
 * @import { FileStore, Level, Mark, RecordingGap, ResultMessage, ServerReceipt, StoreKind, Unfinished } from "./types.js"
 * @import { Source, TakeFacts } from "./take.js"
 * @import { UploadHandler } from "./upload.js"
 */

/**
 * @typedef {object} Orders What the page may ask for, and what it gets.
 * @property {(order: {server: string}) => {keeping: StoreKind}} open
 * @property {(order: {now: string}) => void} owner Who is signed in.
 * @property {(order: {facts: TakeFacts, source: Source}) => void} begin
 * @property {(order: {source: Source}) => void} next
 * @property {(order: {delivered: number | null}) => void} drain End the current part; the take goes on.
 * @property {() => void} pause
 * @property {() => void} resume
 * @property {(order: {label: string}) => Mark | null} mark
 * @property {(order: {delivered: number | null}) => void} stop
 * @property {(order: {take: string | null}) => void} discard
 * @property {(order: {total: number, delivered: number}) => void} counted
 * @property {(order: {isMuted: boolean}) => void} muted
 * @property {(order: {seconds: number}) => void} stoodStill
 * @property {() => void} hurry The network is back.
 * @property {(order: {recording: string}) => {blob: Blob, firstFrame: number, frames: number}} copy
 * @property {(order: {recording: string}) => void} forget
 * @property {() => void} close
 */

/**
 * @typedef {object} PartProgress
 * @property {string} recording
 * @property {number} part
 * @property {number} takeTimeS
 * @property {number} sampleRate
 * @property {number} channels
 * @property {number} capturedFrames
 * @property {number} keptFrames
 * @property {number} durableFrames
 * @property {number} clippedSamples
 * @property {boolean} isFinished
 */

/**
 * @typedef {{say: "progress", take: string, parts: PartProgress[], level: Level | null, keeping: StoreKind | null, isDurableMoving: boolean, isOnline: boolean}
 *   | {say: "gap", gap: RecordingGap}
 *   | {say: "result", recording: string, result: ResultMessage}
 *   | {say: "notice", code: string, message: string}
 *   | {say: "refused", isEarlier: boolean, code: string, message: string, retry: boolean}
 *   | {say: "finished", recording: string, receipt: ServerReceipt, marks: Mark[], gaps: import("./types.js").Gap[], clipped: number}
 *   | {say: "discarded", recording: string}
 *   | {say: "keeping", code: string, message: string}
 *   | {say: "failed", message: string}
 *   | {say: "unfinished", unfinished: Unfinished[]}
 *   | {say: "counts"} | {say: "ticket", id: number, isOwned: boolean}} Report
 */

/** @type {Omit<Unfinished, "recording" | "state">} what is known of another tab's */
const UNKNOWN = {
  title: null, startedAt: "", sampleRate: 1, channels: 1, capturedFrames: 0, durableFrames: 0, releasedFrames: 0,
  code: null, message: null, url: null,
};
const TICK_MS = 125; // each is a frame that the page draws
const MOVING_MS = 2_000;
const LOOK_MS = 5_000;
const SLEPT_MS = 2_000;

/** @type {FileStore} */ let store;
/** @type {FileStore} */ let memory;
/** @type {FileStore[]} where earlier visits may have left something */ const places = [];
let server = "";
/** @type {string | null} who is signed in; null: not known yet */ let owner = null;
/** @type {Take | null} */ let take = null;
/** @type {Map<string, Upload>} of takes of this visit that are not over */ const current = new Map();
/** @type {Map<string, {upload: Upload | null, state: Unfinished["state"]}>} of earlier visits */ const earlier = new Map();
/** @type {Set<string>} of this visit, or not readable: not to be recovered */ const known = new Set();
/** @type {Map<string, Upload>} of this visit, which the server takes no more */ const refused = new Map();
/** @type {Map<number, {resolve(ticket: string | null): void, reject(error: Error): void}>} */ const wanted = new Map();
let asked = 0;
let shown = ""; // the last list of unfinished recordings, to say only news
let awakeSince = Date.now() - performance.now();
let movedTo = 0;
let movedAt = -Infinity;

/** @param {Report} report */
function say(report) {
  postMessage(report);
}

/** @type {UploadHandler} */
const handler = {
  async ticket(upload) {
    const ticket = upload.server === server ? await new Promise((resolve, reject) => {
      wanted.set(++asked, { resolve, reject });
      say({ say: "ticket", id: asked, isOwned: !!upload.owner });
    }) : null; // ours are for our server only
    if (isForeign(upload)) throw new Error("not theirs"); // asked again with the next try
    return ticket;
  },
  gap: (upload, gap) => say({ say: "gap", gap: { ...gap, recording: upload.recording } }),
  keepingFailed: (_upload, { code = "local-storage-failed", message }) => say({ say: "keeping", code, message }),
  happened(upload, event) {
    const { recording } = upload;
    switch (event.type) {
      case "acked":
        return; // the next tick tells it, with all others
      case "result":
        say({ say: "result", recording, result: event.result });
        return;
      case "notice":
        say({ say: "notice", code: event.code, message: event.message });
        break;
      case "refused":
        say({ say: "refused", isEarlier: earlier.has(recording), code: event.code, message: event.message, retry: event.retry });
        break;
      case "finished":
        say({
          say: "finished", recording, receipt: event.receipt,
          marks: upload.marks, gaps: upload.gaps, clipped: upload.clippedSamples,
        });
        break;
      case "discarded":
        say({ say: "discarded", recording });
        break;
    }
    if (upload.isOver) current.delete(recording);
    if (event.type === "discarded") refused.delete(recording);
    else if (upload.refusal !== null && !earlier.has(recording)) refused.set(recording, upload);
    tick();
  },
};

// ---- earlier visits ------------------------------------------------------------------

/** An earlier visit may have had no other place. */
async function addDatabase() {
  const all = await indexedDB.databases();
  if (all.some(({ name }) => name === "micwire")) places.push(await openStore(["indexeddb"]));
}

async function look() {
  for (const place of places) {
    for (const id of await place.list().catch(() => [])) {
      if (!earlier.has(id)) recover(place, id);
    }
  }
}

/** @param {FileStore} place @param {string} id */
async function recover(place, id) {
  if (known.has(id)) return;
  earlier.set(id, { upload: null, state: "waiting" });
  try {
    const upload = await Upload.recover(place, memory, id, handler);
    if (upload === null) earlier.delete(id);
    else {
      earlier.set(id, { upload, state: "waiting" });
      if (!isForeign(upload)) upload.connect();
    }
  } catch (error) {
    const { code, message } = /** @type {Error & {code?: string}} */ (error);
    if (code !== "locked") {
      earlier.delete(id);
      known.add(id);
      say({ say: "keeping", code: code ?? "local-storage-failed", message });
      return;
    }
    earlier.set(id, { upload: null, state: "elsewhere" });
    // Its tab may end before the recording has: then it is ours to finish.
    whenFree(id).then(() => recover(place, id));
  }
  tick();
}

/** Somebody else said it, who has to be signed in for it to go out, or to be heard. @param {Upload} upload */
function isForeign(upload) {
  return upload.owner !== "" && (upload.server !== server || upload.owner !== owner);
}

/** @returns {Unfinished[]} */
function unfinished() {
  /** @type {Unfinished[]} */ const list = [];
  for (const [recording, { upload, state }] of earlier) {
    if (upload === null ? state === "waiting" : upload.owner && owner === null) continue; // nobody knows yet whose it is
    if (upload === null) {
      list.push({ ...UNKNOWN, recording, state });
    } else list.push(entry(upload));
  }
  // A part of this visit that the server refused for good waits here too.
  for (const upload of refused.values()) list.push(entry(upload));
  // One that waits for the server: the person may want to save a copy before it is back.
  for (const upload of current.values()) if (upload.isEnded && !upload.isOnline) list.push(entry(upload));
  return list;
}

/** @param {Upload} upload @returns {Unfinished} */
function entry(upload) {
  const { receipt, refusal, open } = upload, isOthers = isForeign(upload);
  return {
    recording: upload.recording,
    title: isOthers ? null : open.title ?? null,
    startedAt: open.started_at ?? "",
    sampleRate: upload.sampleRate,
    channels: open.format.channels,
    capturedFrames: upload.capturedFrames,
    durableFrames: upload.durableFrames,
    releasedFrames: upload.releasedFrames,
    state: isOthers ? "foreign" : refusal !== null ? "refused" : receipt !== null ? "finished" : upload.isOnline ? "uploading" : "waiting",
    code: refusal?.code ?? null,
    message: refusal?.message ?? null,
    url: receipt === null ? null : new URL(receipt.url, upload.server).href,
  };
}

/** @param {string} recording */
function find(recording) {
  const upload = earlier.get(recording)?.upload ?? current.get(recording) ?? refused.get(recording);
  if (upload === undefined) throw new Error("no such recording here");
  return upload;
}

// ---- reports -------------------------------------------------------------------------

/**
 * Some systems' clocks stand still while the computer sleeps, and so does the microphone. The time
 * of day shows it, but a clock that was set looks the same: so it is a mark, no gap.
 */
function watchSleep() {
  const now = Date.now() - performance.now(), slept = now - awakeSince;
  awakeSince = now;
  if (Math.abs(slept) > SLEPT_MS) take?.mark(`the computer slept, or its clock was set: ${Math.round(slept / 1000)} s`);
}

function tick() {
  watchSleep();
  if (take !== null) {
    const upload = take.current, now = performance.now();
    upload?.tend();
    const durable = take.parts.reduce((sum, part) => sum + part.durableFrames, 0);
    if (durable > movedTo || upload === null) {
      movedTo = durable;
      movedAt = now;
    }
    say({
      say: "progress",
      take: take.id,
      parts: take.parts.map((part) => ({
        recording: part.recording,
        part: part.open.part ?? 0,
        takeTimeS: part.open.take_time_s ?? 0,
        sampleRate: part.sampleRate,
        channels: part.open.format.channels,
        capturedFrames: part.capturedFrames,
        keptFrames: part.keptFrames,
        durableFrames: part.durableFrames,
        clippedSamples: part.clippedSamples,
        isFinished: part.receipt !== null,
      })),
      level: take.level.frames > 0 ? take.level.take() : null,
      keeping: upload?.keeping ?? store.kind,
      isDurableMoving: now - movedAt < MOVING_MS,
      isOnline: upload?.isOnline ?? false,
    });
  }
  const list = unfinished(), text = JSON.stringify(list);
  if (text !== shown) {
    shown = text;
    say({ say: "unfinished", unfinished: list });
  }
}

setInterval(tick, TICK_MS);

// ---- orders --------------------------------------------------------------------------

/** @type {{[Name in keyof Orders]: (...order: Parameters<Orders[Name]>) => ReturnType<Orders[Name]> | Promise<ReturnType<Orders[Name]>>}} */
const orders = {
  async open(order) {
    server = order.server;
    memory = await openStore(["memory"]);
    store = await openStore();
    if (store.kind !== "memory") places.push(store);
    if (store.kind === "opfs") await addDatabase().catch(() => {});
    await look();
    setInterval(look, LOOK_MS); // other tabs may have left something meanwhile
    return { keeping: store.kind };
  },

  owner({ now }) {
    owner = now;
    for (const { upload } of earlier.values()) if (upload && !isForeign(upload)) upload.connect();
    tick();
  },

  async begin({ facts, source }) {
    const speaker = owner ?? "";
    const begun = take = new Take(facts, {
      async begin(open) {
        known.add(open.recording);
        const upload = await Upload.begin(store, memory, server, open, handler, speaker);
        current.set(open.recording, upload);
        movedAt = performance.now();
        upload.connect();
        return upload;
      },
      wantCounts: () => say({ say: "counts" }),
      failed: ({ message }) => say({ say: "failed", message }),
    });
    movedTo = 0;
    movedAt = performance.now();
    await begun.next(source);
    if (begun.parts.length === 0) throw Object.assign(new Error("nothing came from the microphone"), { code: "device-gone" });
  },

  async next({ source }) { await take?.next(source); },
  async drain({ delivered }) { await take?.drain(delivered); },
  pause() { take?.pause(); },
  resume() { take?.resume(); },
  mark({ label }) { return take?.mark(label) ?? null; },

  async stop({ delivered }) {
    await take?.drain(delivered);
    tick();
  },

  async discard(order) {
    const unwanted = take;
    if (unwanted === null || unwanted.id !== order.take) return;
    take = null;
    await unwanted.discard();
  },

  counted({ total, delivered }) { take?.counted(total, delivered); },
  muted({ isMuted }) { take?.muted(isMuted); },
  stoodStill({ seconds }) { take?.stoodStill(seconds); },

  hurry() {
    for (const upload of current.values()) upload.hurry();
    for (const { upload } of earlier.values()) upload?.hurry();
  },

  copy({ recording }) {
    const upload = find(recording);
    if (isForeign(upload)) throw Object.assign(new Error("somebody else's"), { code: "forbidden" });
    return upload.copy();
  },

  async forget({ recording }) {
    const upload = find(recording);
    await upload.forget();
    earlier.delete(recording);
    current.delete(recording);
    refused.delete(recording);
    tick();
  },

  async close() {
    await take?.drain(null);
    await Promise.all([...current.values(), ...refused.values()].map((upload) => upload.close()));
    await Promise.all([...earlier.values()].map(({ upload }) => upload?.close()));
    close();
  },
};

addEventListener("message", async ({ data }) => {
  if (data.do === "ticket") {
    if (data.failed) wanted.get(data.id)?.reject(new Error("no ticket"));
    else wanted.get(data.id)?.resolve(data.ticket);
    wanted.delete(data.id);
    return;
  }
  const { id, order } = data;
  try {
    const value = await orders[/** @type {keyof Orders} */ (data.do)](order);
    postMessage({ re: id, value });
  } catch (error) {
    const { code = "failed", message } = /** @type {Error & {code?: string}} */ (error);
    postMessage({ re: id, error: { code, message } });
  }
});
