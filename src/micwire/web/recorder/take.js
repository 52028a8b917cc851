/**
 * One take: what a person records from start to stop, from one source after the other.
 *
 * Each source, and each change of rate or channels, begins the next part: a recording of its
 * own on the take's one timeline. Here sound is judged, encoded and numbered.
 */

import { Intake } from "./intake.js";
import { Level, encodePcm } from "./pcm.js";

/**
 * @import { Encoding, OpenMessage } from "./types.js"
 * @import { Lost, Sound } from "./intake.js"
 * @import { Upload } from "./upload.js"
 */

/**
 * @typedef {object} TakeFacts
 * @property {string} take
 * @property {Encoding} encoding
 * @property {string | null} title
 * @property {Record<string, string> | null} metadata
 * @property {string[] | null} analyzers
 */

/**
 * @typedef {object} Source Where sound comes from.
 * @property {ReadableStream<AudioData>} [track] Of a MediaStreamTrackProcessor.
 * @property {MessagePort} [port] Of the audio thread.
 * @property {object} device
 * @property {Record<string, unknown>} settings As applied, with `verifiable`.
 * @property {number} channels How many of them are wanted: the first ones.
 * @property {boolean} hasCounts The browser tells how many frames it delivered.
 */

/**
 * @typedef {object} TakeHandler
 * @property {(open: OpenMessage) => Promise<Upload>} begin
 * @property {() => void} wantCounts
 * @property {(error: Error) => void} failed
 */

const LEAST_ZEROS = 8; // Firefox puts some tens to hundreds between two frames, of any number
const LATE_BUFFERS = 800; // the browser keeps a thousand for us
const DRAIN_MS = 250; // how long to go on reading where nothing tells how much is to come
const DRAIN_MAX_MS = 1_500;

export class Take {
  level = new Level();
  /** @type {Upload[]} one for each part, the last is the current one */ parts = [];
  isPaused = false;
  #facts;
  #handler;
  /** @type {SourceReader | null} */ #reader = null;
  #startedAt = 0;
  #pausedAt = 0;

  /** @param {TakeFacts} facts @param {TakeHandler} handler */
  constructor(facts, handler) {
    this.#facts = facts;
    this.#handler = handler;
  }

  get id() { return this.#facts.take; }
  get current() { return this.parts.at(-1) ?? null; }

  /**
   * Go on with the next source; resolves once its first part has begun.
   *
   * @param {Source} source
   */
  async next(source) {
    await this.drain(null);
    const reader = this.#reader = new SourceReader(source, this.level, () => this.isPaused, {
      begin: async (format, now) => {
        if (this.parts.length === 0) this.#startedAt = now;
        const upload = await this.#handler.begin({
          ...this.#facts,
          type: "open",
          recording: crypto.randomUUID(),
          key: secret(),
          format: { encoding: this.#facts.encoding, ...format },
          started_at: new Date().toISOString(),
          part: this.parts.length,
          take_time_s: Math.max(0, now - this.#startedAt) / 1000,
          device: source.device,
          settings: source.settings,
        });
        this.parts.push(upload);
        return upload;
      },
      wantCounts: this.#handler.wantCounts,
      failed: this.#handler.failed,
    });
    await reader.run();
  }

  /** @param {number} total @param {number} delivered */
  counted(total, delivered) { this.#reader?.counted(total, delivered); }

  /** @param {boolean} isMuted */
  muted(isMuted) { this.#reader?.muted(isMuted); }

  /** @param {number} seconds */
  stoodStill(seconds) { this.#reader?.stoodStill(seconds); }

  pause() {
    if (this.isPaused) return;
    this.#reader?.settle();
    this.isPaused = true;
    this.#pausedAt = performance.now();
  }

  resume() {
    if (!this.isPaused) return;
    this.#reader?.settle();
    this.isPaused = false;
    // Left out because the person wanted it: a mark, no gap.
    this.mark(`pause ${((performance.now() - this.#pausedAt) / 1000).toFixed(1)} s`);
  }

  /** @param {string} label */
  mark(label) {
    const upload = this.current;
    if (upload === null) return null;
    const mark = { frame: upload.capturedFrames, label };
    return upload.mark(mark) ? mark : null;
  }

  /**
   * Read what the source had delivered when it was told to stop, and finish the part.
   *
   * @param {number | null} delivered How much that is, where the browser tells.
   */
  async drain(delivered) {
    const reader = this.#reader;
    this.#reader = null;
    if (reader === null) return;
    await reader.drain(delivered);
  }

  /** Stop without reading on, and delete everything. */
  async discard() {
    const reader = this.#reader;
    this.#reader = null;
    this.isPaused = true;
    await reader?.drain(0, false).catch(() => {});
    const done = await Promise.allSettled(this.parts.map((upload) => upload.discard()));
    if (done.some((one) => one.status === "rejected" || !one.value)) {
      throw Object.assign(new Error("finished parts stay on the server"), { code: "finished" });
    }
  }
}

/** @typedef {{sample_rate: number, channels: number}} Shape */
/** @typedef {{shape: Shape, upload: Upload | null, waiting: (Sound | Lost)[], ready: Promise<void>}} Part */

/** Reads one source to its end. */
class SourceReader {
  #source;
  #level;
  #isPaused;
  #owner;
  /** @type {Part | null} */ #part = null;
  /** @type {Intake | null} */ #intake = null;
  #read = 0;
  #readWhenAsked = -1;
  #lastRead = 0;
  /** @type {ReadableStreamDefaultReader<AudioData> | null} */ #stream = null;
  /** @type {Promise<void>} */ #ended = Promise.resolve();
  #hasEnded = false;
  #isFinal = true;
  /** @type {number | null} how many frames to read until it ends */ #until = null;
  #close = () => {}; // the port, without waiting for its end
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #askTimer;

  /**
   * @param {Source} source
   * @param {Level} level
   * @param {() => boolean} isPaused
   * @param {{begin(shape: Shape, began: number): Promise<Upload>, wantCounts(): void, failed(error: Error): void}} owner
   */
  constructor(source, level, isPaused, owner) {
    this.#source = source;
    this.#level = level;
    this.#isPaused = isPaused;
    this.#owner = owner;
  }

  /** Begin to read; resolves once the first part has begun, and at the end if none has. */
  run() {
    const { track, port } = this.#source;
    return new Promise((resolve, reject) => {
      const begun = () => this.#part?.ready.then(resolve, reject);
      this.#ended = (track ? this.#readTrack(track, begun) : this.#readPort(/** @type {MessagePort} */ (port), begun))
        .finally(() => resolve(undefined));
      this.#ended.catch(this.#owner.failed);
    });
  }

  /** @param {ReadableStream<AudioData>} track @param {() => void} begun */
  async #readTrack(track, begun) {
    const stream = this.#stream = track.getReader();
    this.#ask();
    while (this.#until === null || this.#read < this.#until) {
      const { value: data, done } = await stream.read();
      if (done) break;
      const { numberOfFrames: frames, sampleRate, timestamp } = data;
      // Chromium gives both channels of a stereo microphone to who asked for one.
      const length = Math.min(data.numberOfChannels, this.#source.channels);
      const planes = Array.from({ length }, (_, planeIndex) => {
        const plane = new Float32Array(frames);
        data.copyTo(plane, { planeIndex, format: "f32-planar" });
        return plane;
      });
      data.close();
      this.#read += frames;
      this.#take(planes, sampleRate, (timestamp * sampleRate) / 1e6, begun);
    }
    clearTimeout(this.#askTimer);
    await stream.cancel();
    await this.#end();
  }

  /** @param {MessagePort} port @param {() => void} begun */
  async #readPort(port, begun) {
    await new Promise((resolve) => {
      this.#close = () => resolve(undefined);
      port.onmessage = ({ data }) => {
        if (data === null) resolve(undefined);
        else this.#take(data.planes, data.sampleRate, data.firstFrame, begun);
      };
    });
    port.close();
    await this.#end();
  }

  /** @param {Float32Array[]} planes @param {number} sampleRate @param {number} clock @param {() => void} begun */
  #take(planes, sampleRate, clock, begun) {
    const now = performance.now(), bufferMs = (1000 * planes[0].length) / sampleRate;
    const wasLate = this.#lastRead > 0 && now - this.#lastRead > LATE_BUFFERS * bufferMs;
    this.#lastRead = now;
    const shape = { sample_rate: sampleRate, channels: planes.length };
    const before = this.#part?.shape;
    if (before?.sample_rate !== sampleRate || before.channels !== planes.length) {
      this.#begin(shape, now - bufferMs);
      begun();
    }
    this.#store(/** @type {Intake} */ (this.#intake).push(planes, clock, wasLate));
  }

  /**
   * A recording has one rate and one number of channels: others begin the next part.
   *
   * @param {Shape} shape @param {number} began
   */
  #begin(shape, began) {
    const before = this.#part, isTrack = this.#source.track !== undefined;
    if (this.#intake !== null) this.#store(this.#intake.end());
    this.#intake = new Intake({
      sampleRate: shape.sample_rate,
      leastZeros: isTrack ? 0 : LEAST_ZEROS,
      isClockExact: !isTrack,
      hasCounts: this.#source.hasCounts,
    });
    /** @type {Part} */
    const part = this.#part = { shape, upload: null, waiting: [], ready: Promise.resolve() };
    part.ready = (async () => {
      await before?.ready;
      await before?.upload?.finish();
      part.upload = await this.#owner.begin(shape, began);
      this.#store([], part);
    })();
    part.ready.catch(this.#owner.failed);
  }

  /** @param {(Sound | Lost)[]} found @param {Part | null} part */
  #store(found, part = this.#part) {
    if (part === null) return;
    part.waiting.push(...found);
    if (part.upload === null) return;
    const waiting = part.waiting;
    part.waiting = [];
    if (this.#isPaused()) return;
    for (const { planes, gap } of waiting) {
      if (gap !== undefined) part.upload.gap(gap);
      else {
        const { bytes, clipped } = encodePcm(planes, part.upload.open.format.encoding);
        this.#level.add(planes, clipped);
        part.upload.sound(bytes, clipped);
      }
    }
  }

  // ---- what the main thread knows of the track ---------------------------------------

  #ask() {
    if (!this.#source.hasCounts) return;
    this.#askTimer = setTimeout(() => {
      this.#readWhenAsked = this.#read;
      this.#owner.wantCounts();
      this.#ask();
    }, this.#intake?.countInterval ?? 20);
  }

  /** @param {number} total @param {number} delivered */
  counted(total, delivered) {
    // Only if nothing was read between question and answer is it known what was read then.
    if (this.#read === this.#readWhenAsked && this.#intake !== null) {
      this.#store(this.#intake.counted(total, delivered, this.#read));
    }
  }

  /** @param {boolean} isMuted */
  muted(isMuted) { if (this.#intake !== null) this.#store(this.#intake.muted(isMuted)); }

  /** @param {number} seconds */
  stoodStill(seconds) { if (this.#intake !== null) this.#store(this.#intake.stoodStill(seconds)); }

  // ---- the end -------------------------------------------------------------------------

  /**
   * @param {number | null} delivered How many frames the track had delivered when it was to stop.
   * @param {boolean} [isFinal] Finish the part.
   */
  async drain(delivered, isFinal = true) {
    this.#isFinal = isFinal;
    const stream = this.#stream;
    if (stream !== null) {
      const asked = performance.now();
      this.#until = delivered === null ? null : this.#intake?.expected(delivered) ?? null;
      // Without a count: what a quarter of a second brings. With one: a device that brings
      // nothing for a while has nothing more.
      while (!this.#hasEnded && (this.#until === null || this.#read < this.#until)) {
        const now = performance.now();
        if (this.#until === null ? now - asked > DRAIN_MS : now - Math.max(asked, this.#lastRead) > DRAIN_MAX_MS) break;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await stream.cancel();
    } else setTimeout(() => this.#close(), isFinal ? DRAIN_MAX_MS : 0);
    await this.#ended;
  }

  /** Judge what is held by what is known now. */
  settle() {
    if (this.#intake !== null) this.#store(this.#intake.end());
  }

  /** Judge what is held, and end the last part. */
  async #end() {
    this.#hasEnded = true;
    if (this.#intake !== null) this.#store(this.#intake.end());
    await this.#part?.ready;
    if (this.#isFinal) await this.#part?.upload?.finish();
  }
}

/** 160 random bits in base64url. */
function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
