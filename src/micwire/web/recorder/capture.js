/**
 * A microphone's track to the worker, without touching a sample on this thread.
 *
 * MediaStreamTrackProcessor where it exists: it lost nothing in any measurement, and what it
 * could lose it counts. Elsewhere the audio thread hands blocks over by a port of its own:
 * browsers drop sound before it, unseen, so that such a recording is "not verifiable".
 */

import { explain } from "./checks.js";

/** @import { Device } from "./types.js" */

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const QUEUE_BUFFERS = 1000; // ten seconds and more: the default of ten loses what exceeds 100 ms
const WARM_UP_S = 0.5; // an output that is just opening costs up to 0.85 s of sound
const WARM_UP_MAX_MS = 3_000;
const TAIL_MS = 100; // what is on its way to the audio thread

/** What stood in the way, for a person and for a program. */
export class RecorderError extends Error {
  /** @param {string} code @param {string} message @param {string} [cure] */
  constructor(code, message, cure = "") {
    super(message);
    this.name = "RecorderError";
    this.code = code;
    this.cure = cure;
  }
}

/**
 * @typedef {object} CaptureHandler
 * @property {(isMuted: boolean) => void} muted
 * @property {() => void} ended The device is gone, or was taken away.
 * @property {(seconds: number) => void} stoodStill
 */

/** One open microphone. */
export class Capture {
  /** @type {AudioContext | null} */ #context = null;
  /** @type {AudioWorkletNode | null} */ #node = null;
  #end = new AbortController();

  /**
   * Open a microphone.
   *
   * @param {{deviceId?: string, channels: number, raw: boolean}} options
   * @param {CaptureHandler} handler
   * @returns {Promise<Capture>}
   * @throws {RecorderError}
   */
  static async open({ deviceId, channels, raw }, handler) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: {
          // Never another one than was asked for: ids rotate, and a stale one has to fail.
          ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
          channelCount: { ideal: channels },
          ...(raw ? RAW : {}),
        },
      });
      return new Capture(stream, channels, raw, handler);
    } catch (error) {
      const isStale = error instanceof DOMException && error.name === "OverconstrainedError" && deviceId;
      const { code } = isStale ? { code: "device-gone" } : explain(error);
      throw new RecorderError(code, error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {MediaStream} stream @param {number} channels @param {boolean} raw @param {CaptureHandler} handler */
  constructor(stream, channels, raw, handler) {
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    this.channels = channels;
    this.handler = handler;
    this.isVerifiable = "MediaStreamTrackProcessor" in globalThis;
    const settings = this.track.getSettings();
    this.settings = { ...settings, label: this.track.label, capture: this.isVerifiable ? "track processor" : "audio worklet", verifiable: this.isVerifiable };
    /** What was asked for and not honoured. */
    this.mismatches = Object.entries(raw ? RAW : {})
      .filter(([name, wanted]) => (settings[/** @type {keyof MediaTrackSettings} */ (name)] ?? wanted) !== wanted)
      .map(([name]) => name);
    const { signal } = this.#end;
    this.track.addEventListener("mute", () => handler.muted(true), { signal });
    this.track.addEventListener("unmute", () => handler.muted(false), { signal });
    this.track.addEventListener("ended", () => handler.ended(), { signal });
  }

  get isMuted() { return this.track.muted; }
  get device() {
    return { deviceId: this.track.getSettings().deviceId ?? "", label: this.track.label };
  }

  /** Resolves once the track brings sound: it may be live and muted. */
  async unmuted() {
    const { signal } = this.#end;
    while (this.track.muted && this.track.readyState === "live" && !signal.aborted) {
      await new Promise((resolve) => {
        this.track.addEventListener("unmute", resolve, { once: true, signal });
        this.track.addEventListener("ended", resolve, { once: true, signal });
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
    if (this.track.readyState !== "live" || signal.aborted) throw new RecorderError("device-gone", "the microphone went away");
  }

  /** How many frames the track has made and handed on; null where the browser doesn't tell. */
  get counts() {
    const { totalFrames, deliveredFrames } = /** @type {any} */ (this.track).stats ?? {};
    return deliveredFrames === undefined ? null : { total: totalFrames, delivered: deliveredFrames };
  }

  /**
   * What the worker reads, and what has to be transferred to it.
   *
   * @returns {Promise<{source: import("./take.js").Source, transfer: Transferable[]}>}
   */
  async source() {
    const { channels, settings, device } = this;
    const facts = { channels, settings, device, hasCounts: this.counts !== null };
    if (this.isVerifiable) {
      const { readable } = new MediaStreamTrackProcessor({ track: this.track, maxBufferSize: QUEUE_BUFFERS });
      return { source: { ...facts, track: readable }, transfer: [readable] };
    }
    const port = await this.#openWorklet();
    return { source: { ...facts, port }, transfer: [port] };
  }

  async #openWorklet() {
    const { channels, track } = this;
    const { sampleRate } = track.getSettings(); // Firefox doesn't tell: then the default is its rate
    const context = this.#context = new AudioContext({
      sampleRate,
      // No output has to be opened, where the browser can do without.
      ...("setSinkId" in AudioContext.prototype ? { sinkId: { type: "none" } } : {}),
    });
    this.#watch(context);
    await context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    const node = this.#node = new AudioWorkletNode(context, "micwire-tap", {
      numberOfOutputs: 1,
      channelCount: channels,
      channelCountMode: "clamped-max",
      channelInterpretation: "discrete",
    });
    node.connect(context.destination); // it plays nothing, but is called only if it leads somewhere
    await this.#warmUp(context);
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage("port", [port1]);
    context.createMediaStreamSource(this.stream).connect(node);
    return port2;
  }

  /** @param {AudioContext} context */
  async #warmUp(context) {
    await Promise.race([context.resume(), wait(WARM_UP_MAX_MS)]);
    const began = performance.now();
    while (context.currentTime < WARM_UP_S) {
      if (performance.now() - began > WARM_UP_MAX_MS) throw new RecorderError("unsupported", "the browser's audio does not start");
      await wait(50);
    }
  }

  /** @param {AudioContext} context */
  #watch(context) {
    /** @type {number | null} */ let since = null;
    context.addEventListener("statechange", () => {
      if (context.state === "running") {
        if (since !== null) this.handler.stoodStill((performance.now() - since) / 1000);
        since = null;
      } else if (context.state !== "closed") { // suspended, or interrupted by a call
        if (context.currentTime > 0) since ??= performance.now();
        context.resume().catch(() => {});
      }
    }, { signal: this.#end.signal });
  }

  /**
   * Let the worker read to the end of what was said until now.
   *
   * @param {(delivered: number | null) => Promise<void>} drain
   */
  async drain(drain) {
    const delivered = this.counts?.delivered ?? null;
    const node = this.#node;
    if (node !== null) {
      await wait(TAIL_MS);
      node.port.postMessage("stop");
    }
    // Stopping the track would throw away what is queued.
    await drain(delivered);
    this.close();
  }

  close() {
    this.#end.abort();
    for (const track of this.stream.getTracks()) track.stop();
    this.#context?.close();
    this.#context = null;
  }
}

/** @returns {Promise<Device[]>} the microphones, with labels once one was allowed */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const inputs = all.filter(({ kind }) => kind === "audioinput");
  const standard = inputs.find(({ deviceId }) => deviceId === "default");
  return inputs.filter(({ deviceId }) => deviceId !== "communications").map(({ deviceId, label }, index) => ({
    deviceId,
    label,
    isDefault: standard ? deviceId === "default" : index === 0,
  }));
}

/** @param {number} milliseconds */
function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
