/**
 * A recorder for a page: one take at a time, from start to receipt, and what earlier visits left.
 *
 * This is the part that the page talks to. Sound never passes here: the worker has it. What is
 * said of a recording is what the worker reports, no more.
 */

import { Capture, RecorderError, listDevices } from "./capture.js";

/**
 * @import { Device, Gap, Mark, Receipt, RecorderEvents, RecorderOptions, SavedCopy, StartOptions, Status, StoreKind, Unfinished } from "./types.js"
 * @import { Orders, PartProgress, Report } from "./worker.js"
 */

export { RecorderError };

const DEVICE_POLL_MS = 500; // some systems move a stream to another microphone without a word
const RETRY_MS = 5_000; // to open a microphone that is gone
const OPEN_BYTES = 8 * 1024; // of title and metadata: the first message has 16 KiB
/** Codes of a server that takes no more of a recording. */
const WAITS = ["quota", "storage-full", "storage-failed", "gap-undeclared"];

/**
 * @typedef {object} PartFacts What the page knows of one part.
 * @property {Gap[]} gaps
 * @property {Mark[]} marks
 * @property {{deviceId: string, label: string}} device
 * @property {Record<string, unknown>} settings
 * @property {string[]} mismatches
 * @property {boolean} verifiable
 */

/**
 * Records a microphone to a micwire server.
 *
 * Events are `CustomEvent`s, see `RecorderEvents` for their `detail`. A recorder that is made
 * begins at once to send what earlier visits have left in this browser.
 */
export class Recorder extends EventTarget {
  /** @type {Unfinished[]} What this browser keeps of earlier visits. */
  unfinished = [];
  /** @type {string} */ #server;
  #ticket;
  #owner;
  /** @type {string | undefined} as of the last time it was asked */ #known;
  #analyzers;
  #worker;
  /** @type {Map<number, {resolve(value: any): void, reject(error: Error): void}>} */ #asked = new Map();
  #lastAsked = 0;
  #end = new AbortController();
  #opened;

  /** @type {Status["state"]} what the page asked for; "recording" and "offline" are told apart by the worker */
  #phase = /** @type {Status["state"]} */ ("idle");
  /** @type {Required<Pick<StartOptions, "channels" | "encoding" | "raw">> & StartOptions} */
  #options = { channels: 1, encoding: "pcm_f32le", raw: true };
  /** @type {string | null} */ #take = null;
  /** @type {Capture | null} */ #capture = null;
  /** @type {PartProgress[]} */ #parts = [];
  /** @type {Map<string, PartFacts>} */ #facts = new Map();
  /** @type {Map<string, Receipt>} */ #receipts = new Map();
  /** @type {{resolve(receipt: Receipt): void, reject(error: Error): void} | null} */ #stopping = null;
  /** @type {RecorderError | null} why the server takes no more of this take */ #refusal = null;
  /** @type {Receipt | null} */ #receipt = null;
  /** @type {StoreKind | null} */ #keeping = null;
  #isDurableMoving = true;
  #isOnline = true;
  /** @type {{code: string, message: string} | null} */ #error = null;
  #said = ""; // the last state event, to send only news
  /** @type {WakeLockSentinel | null} */ #awake = null;
  /** @type {string[]} the microphones when the part began */ #present = [];
  #standard = ""; // the system's choice among them
  #listed = "";
  #triedAt = 0;
  #isSwitching = false;
  #isDraining = false;

  /**
   * @param {RecorderOptions} [options] `server`: its base URL, by default where this module
   *   came from. `ticket`: one-use tickets, if the server wants them. `owner`: who is signed in.
   *   `analyzers`: names.
   */
  constructor({ server, ticket, owner, analyzers } = {}) {
    super();
    this.#server = new URL(server ?? "../", server === undefined ? import.meta.url : location.href).href;
    if (!this.#server.endsWith("/")) this.#server += "/";
    this.#ticket = ticket;
    this.#owner = owner;
    this.#analyzers = analyzers;
    this.#worker = startWorker();
    this.#worker.onmessage = ({ data }) => this.#report(data);
    this.#worker.onerror = ({ message }) => {
      const error = new RecorderError("unsupported", message || "the worker can't be loaded");
      for (const { reject } of this.#asked.values()) reject(error);
      this.#problem(error.code, error.message, true);
    };
    const { signal } = this.#end;
    this.#opened = this.#ask("open", { server: this.#server }).then(
      ({ keeping }) => {
        this.#keeping = keeping;
        this.#news();
      },
    );
    this.#opened.catch((error) => this.#problem(error.code, error.message, true));
    this.#who().catch(() => {}); // asked again
    addEventListener("online", () => this.#ask("hurry"), { signal });
    addEventListener("beforeunload", (event) => { if (!this.#isSafe) event.preventDefault(); }, { signal });
    document.addEventListener("visibilitychange", () => this.#stayAwake(), { signal });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#devicesChanged(), { signal });
    const poll = setInterval(() => this.#isLive && this.#devicesChanged(), DEVICE_POLL_MS);
    this.#devicesChanged();
    signal.addEventListener("abort", () => clearInterval(poll));
  }

  /**
   * @template {keyof RecorderEvents} Name
   * @overload
   * @param {Name} name
   * @param {(event: CustomEvent<RecorderEvents[Name]>) => void} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} name
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * As any event target's; the events and their details are typed.
   *
   * @param {string} name
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(name, listener, options) {
    super.addEventListener(name, listener, options);
  }

  // ---- what a page asks for --------------------------------------------------------

  /**
   * Record; resolves once sound flows.
   *
   * @param {StartOptions} [options]
   * @throws {RecorderError} There is no microphone for us, or a take is under way.
   */
  async start(options = {}) {
    if (this.#isBusy) throw new RecorderError("busy", "a take is under way");
    checkFacts(options);
    this.#options = { ...options, channels: options.channels ?? 1, encoding: options.encoding ?? "pcm_f32le", raw: options.raw ?? true };
    const take = this.#take = crypto.randomUUID();
    const mustBeWanted = () => {
      if (this.#take !== take) throw new RecorderError("discarded", "discarded before it began");
    };
    this.#parts = [];
    this.#facts.clear();
    this.#receipts.clear();
    this.#receipt = this.#error = this.#refusal = null;
    this.#isDurableMoving = true;
    this.#become("checking");
    try {
      await this.#opened;
      await this.#who().catch((error) => {
        if (this.#known === undefined) throw error;
      });
      mustBeWanted();
      const { title = null, metadata = null, encoding } = this.#options;
      const facts = { take, encoding, title, metadata, analyzers: this.#analyzers ?? null };
      // Not waited for: some browsers ask the person. Those that don't keep our copy longer then.
      if ("MediaStreamTrackProcessor" in globalThis) navigator.storage?.persist?.();
      await this.#begin(options.deviceId, facts, mustBeWanted);
      this.#become("recording");
      this.#stayAwake();
    } catch (error) {
      if (this.#take !== take) { // discarded, or closed, meanwhile: another take may be under way
        if (!this.#end.signal.aborted) this.#ask("discard", { take }).catch(() => {});
        mustBeWanted();
      }
      const { code = "failed", message } = /** @type {RecorderError} */ (error);
      this.#error = { code, message };
      this.#take = null;
      this.#become("idle");
      throw error instanceof RecorderError ? error : new RecorderError(code, message);
    }
  }

  /** Leave out what is said from now on; the microphone stays open. */
  pause() {
    if (this.#phase !== "recording") return;
    this.#ask("pause");
    this.#become("paused");
  }

  resume() {
    if (this.#phase !== "paused") return;
    this.#ask("resume");
    this.#isDurableMoving = true;
    this.#become("recording");
  }

  /**
   * Set a cue point at this moment.
   *
   * @param {string} [label] At most 1,000 characters.
   */
  async mark(label = "") {
    const mark = await this.#ask("mark", { label: label.slice(0, 1000) });
    if (mark === null) throw new RecorderError("idle", "nothing is being recorded");
    const part = this.#parts.at(-1);
    if (part !== undefined) this.#of(part.recording).marks.push(mark);
    this.#news();
  }

  /**
   * End the take; resolves once everything is durable on the server, however long that takes.
   *
   * @returns {Promise<Receipt>}
   * @throws {RecorderError} The server refuses it for good: the copy stays in this browser.
   */
  async stop() {
    if (!this.#isLive) throw new RecorderError("idle", "nothing is being recorded");
    this.#become("finishing");
    const receipt = new Promise((resolve, reject) => { this.#stopping = { resolve, reject }; });
    receipt.catch(() => {}); // told by an event as well
    this.#isDraining = true;
    try {
      await this.#drain("stop");
    } catch (error) {
      const { code = "failed", message } = /** @type {RecorderError} */ (error);
      this.#refusal ??= new RecorderError(code, message);
    } finally {
      this.#isDraining = false;
    }
    this.#stayAwake();
    this.#settle();
    return receipt;
  }

  /** Delete the take, here and on the server. */
  async discard() {
    if (this.#phase === "finishing") throw new RecorderError("finished", "it is being finished");
    if (!this.#isLive && this.#phase !== "checking") return;
    const capture = this.#capture, take = this.#take;
    this.#capture = null;
    this.#take = null;
    this.#parts = [];
    this.#error = null;
    this.#become("idle");
    try {
      await this.#ask("discard", { take });
    } finally {
      capture?.close();
      this.#stayAwake();
    }
  }

  /**
   * Go on with another microphone: the next part of the take.
   *
   * @param {string} [deviceId] Default: the system's choice.
   * @throws {RecorderError} It can't be opened; the take goes on as before.
   */
  async setDevice(deviceId) {
    if (!this.#isLive) return;
    if (this.#isSwitching) throw new RecorderError("busy", "the microphone is being changed");
    this.#isSwitching = true;
    try {
      const next = await this.#open(deviceId);
      await this.#drain("drain");
      if (!this.#isLive) next.close(); // stopped meanwhile
      else {
        await this.#hand("next", next, {}).catch((error) => {
          this.#drop(next); // tried again when devices change
          throw error;
        });
        this.#error = null;
        this.#news();
      }
    } finally {
      this.#isSwitching = false;
    }
  }

  /** @returns {Promise<Device[]>} The microphones; they have labels once one was allowed. */
  devices() { return listDevices(); }

  /**
   * What this browser still has of a recording, as a WAV.
   *
   * @param {string} recording
   * @returns {Promise<SavedCopy>} From `firstFrame` on: what lies before is durable on the server.
   */
  saveCopy(recording) { return this.#ask("copy", { recording }); }

  /** Delete this browser's copy of an unfinished recording. @param {string} recording */
  async forget(recording) {
    await this.#ask("forget", { recording });
  }

  /** End everything; what is not durable yet goes on at the next visit. */
  async close() {
    this.#end.abort();
    this.#take = null;
    this.#awake?.release();
    await Promise.race([this.#ask("close"), new Promise((resolve) => setTimeout(resolve, 1000))]);
    this.#capture?.close();
    this.#capture = null;
    this.#worker.terminate();
    const error = new RecorderError("closed", "the recorder was closed");
    for (const { reject } of this.#asked.values()) reject(error);
    this.#stopping?.reject(error);
  }

  /** @returns {Status} */
  get status() {
    const part = this.#parts.at(-1), facts = part && this.#of(part.recording);
    /** @param {"capturedFrames" | "keptFrames" | "durableFrames"} name */
    const seconds = (name) => this.#parts.reduce((sum, one) => sum + one[name] / one.sampleRate, 0);
    return {
      state: this.#state,
      recording: part?.recording ?? null,
      take: this.#take,
      part: part?.part ?? 0,
      title: this.#options.title ?? null,
      capturedFrames: part?.capturedFrames ?? 0,
      keptFrames: part?.keptFrames ?? 0,
      durableFrames: part?.durableFrames ?? 0,
      sampleRate: part?.sampleRate ?? 0,
      channels: part?.channels ?? this.#options.channels,
      encoding: this.#options.encoding,
      gaps: [...(facts?.gaps ?? [])],
      marks: [...(facts?.marks ?? [])],
      verifiable: facts?.verifiable ?? this.#capture?.isVerifiable ?? "MediaStreamTrackProcessor" in globalThis,
      settings: facts?.settings ?? this.#capture?.settings ?? null,
      mismatches: facts?.mismatches ?? this.#capture?.mismatches ?? [],
      device: facts?.device ?? this.#capture?.device ?? null,
      keeping: this.#keeping,
      isMuted: this.#capture?.isMuted ?? false,
      isDurableMoving: this.#isDurableMoving,
      clippedSamples: this.#parts.reduce((sum, one) => sum + one.clippedSamples, 0),
      capturedSeconds: seconds("capturedFrames"),
      keptSeconds: seconds("keptFrames"),
      durableSeconds: seconds("durableFrames"),
      parts: this.#parts.map(({ clippedSamples: _, ...one }) => one),
      receipt: this.#receipt,
      error: this.#error,
    };
  }

  // ---- the microphone ----------------------------------------------------------------

  /** @param {string | undefined} deviceId */
  async #open(deviceId) {
    const { channels, raw } = this.#options;
    /** @type {Capture} */
    const capture = await Capture.open({ deviceId, channels, raw }, {
      muted: (isMuted) => {
        if (this.#capture === capture) this.#ask("muted", { isMuted });
        this.#news();
      },
      ended: () => { if (this.#capture === capture) this.#lost(); },
      stoodStill: (seconds) => { if (this.#capture === capture) this.#ask("stoodStill", { seconds }); },
    });
    this.#options.deviceId = deviceId;
    return capture;
  }

  /** @param {string | undefined} deviceId @param {object} facts @param {() => void} mustBeWanted */
  async #begin(deviceId, facts, mustBeWanted) {
    const capture = await this.#open(deviceId);
    try {
      mustBeWanted();
      this.#capture = capture;
      this.#news();
      await capture.unmuted();
      mustBeWanted();
      await this.#hand("begin", capture, { facts });
      mustBeWanted();
    } catch (error) {
      this.#drop(capture);
      throw error;
    }
  }

  /** @param {Capture} capture */
  #drop(capture) {
    capture.close();
    if (this.#capture === capture) this.#capture = null;
  }

  /** @param {"begin" | "next"} order @param {Capture} capture @param {object} more */
  async #hand(order, capture, more) {
    this.#capture = capture;
    const { source, transfer } = await capture.source();
    this.#remember((await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput"));
    await this.#ask(order, { ...more, source }, transfer);
  }

  /** @param {MediaDeviceInfo[]} inputs What there is when a part begins. */
  #remember(inputs) {
    this.#present = inputs.map(({ deviceId }) => deviceId);
    this.#standard = standardOf(inputs);
  }

  /** @param {"drain" | "stop"} order */
  async #drain(order) {
    const capture = this.#capture;
    this.#capture = null;
    if (capture === null) await this.#ask(order, { delivered: 0 });
    else await capture.drain((delivered) => this.#ask(order, { delivered }));
  }

  /** The microphone is gone. Who took the standard one goes on with the next; a chosen one is never replaced. */
  async #lost() {
    const { deviceId } = this.#options;
    const label = this.#capture?.device.label ?? "";
    await this.#drain("drain").catch(() => {});
    this.#problem("device-gone", `the microphone went away: ${label}`, false);
    if (!deviceId) await this.#resumeDevice();
  }

  async #resumeDevice() {
    if (this.#capture !== null || this.#isSwitching || !this.#isLive) return;
    await this.setDevice(this.#options.deviceId).catch(() => {}); // tried again when devices change
  }

  async #devicesChanged() {
    const all = await navigator.mediaDevices?.enumerateDevices().catch(() => null);
    if (!all || this.#end.signal.aborted) return;
    const inputs = all.filter(({ kind }) => kind === "audioinput"), text = JSON.stringify(inputs);
    const isNew = text !== this.#listed;
    if (isNew) {
      this.#listed = text;
      this.#tell("devices", await listDevices());
    }
    if (!this.#isLive || this.#isSwitching) return;
    if (this.#capture === null) {
      const now = performance.now();
      if (!isNew && now - this.#triedAt < RETRY_MS) return;
      this.#triedAt = now;
      await this.#resumeDevice();
      return;
    }
    const isStandard = !this.#options.deviceId || this.#options.deviceId === "default";
    const ids = new Set(inputs.map(({ deviceId }) => deviceId)), { deviceId } = this.#capture.device;
    if (!isStandard && deviceId !== "" && !ids.has(deviceId)) await this.#lost();
    // The system's choice is known by no name: it may be any that is gone, or that took its place.
    else if (isStandard && (this.#present.some((id) => !ids.has(id)) || standardOf(inputs) !== this.#standard)) {
      this.#remember(inputs);
      this.#problem("device-changed", "the next part begins", false);
      await this.setDevice(this.#options.deviceId).catch((error) => this.#problem(error.code, error.message, false));
    }
  }

  /** Keep the screen on while somebody speaks; the system takes that back when the page is hidden. */
  async #stayAwake() {
    if (["recording", "checking"].includes(this.#phase)) {
      if (document.visibilityState === "visible" && (this.#awake?.released ?? true)) {
        this.#awake = await navigator.wakeLock?.request("screen").catch(() => null) ?? null;
      }
    } else {
      this.#awake?.release();
      this.#awake = null;
    }
  }

  // ---- what the worker says ------------------------------------------------------------

  /**
   * @template {keyof Orders} Name
   * @param {Name} name
   * @param {any} [order]
   * @param {Transferable[]} [transfer]
   * @returns {Promise<Awaited<ReturnType<Orders[Name]>>>}
   */
  #ask(name, order = {}, transfer = []) {
    const id = ++this.#lastAsked;
    this.#worker.postMessage({ do: name, id, order }, transfer);
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  /** @param {Report | {say?: undefined, re: number, value?: any, error?: {code: string, message: string}}} report */
  #report(report) {
    switch (report.say) {
      case undefined: {
        const { re, value, error } = report, asked = this.#asked.get(re);
        this.#asked.delete(re);
        if (error === undefined) asked?.resolve(value);
        else asked?.reject(new RecorderError(error.code, error.message));
        return;
      }
      case "progress": {
        if (report.take !== this.#take || report.parts.length === 0) break;
        const before = this.#parts;
        this.#parts = report.parts;
        this.#keeping = report.keeping;
        this.#isDurableMoving = report.isDurableMoving;
        this.#isOnline = report.isOnline;
        if (report.isDurableMoving && WAITS.includes(this.#error?.code ?? "")) this.#error = null;
        this.#news();
        if (report.level !== null) this.#tell("level", report.level);
        for (const { recording, part, durableFrames: frames } of report.parts) {
          if (frames > (before[part]?.durableFrames ?? 0)) this.#tell("ack", { recording, frames });
        }
        break;
      }
      case "gap":
        this.#of(report.gap.recording).gaps.push(withoutRecording(report.gap));
        this.#tell("gap", report.gap);
        this.#news();
        break;
      case "result":
        this.#tell("result", { ...report.result, recording: report.recording });
        break;
      case "notice":
        this.#tell("error", { code: report.code, message: report.message, cure: "", isFatal: false });
        break;
      case "keeping":
        this.#problem(report.code, report.message, false);
        break;
      case "failed":
        this.#problem("failed", report.message, true);
        break;
      case "refused":
        this.#refused(report);
        break;
      case "finished":
        this.#finished(report);
        break;
      case "unfinished":
        this.unfinished = report.unfinished;
        this.#tell("unfinished", report.unfinished);
        break;
      case "counts": {
        const counts = this.#capture?.counts;
        if (counts) this.#ask("counted", counts);
        break;
      }
      case "ticket":
        this.#giveTicket(report);
        break;
    }
  }

  /** Ask who is signed in, and let the worker know. */
  async #who() {
    const owner = this.#owner;
    this.#known = typeof owner === "function" ? await owner() : owner ?? "";
    this.#ask("owner", { now: this.#known });
  }

  /** @param {{id: number, isOwned: boolean}} asked */
  async #giveTicket({ id, isOwned }) {
    try {
      // A browser's session may have become another's since.
      if (isOwned) await this.#who();
    } catch {
      this.#worker.postMessage({ do: "ticket", id, failed: true });
      return;
    }
    try {
      const ticket = typeof this.#ticket === "function" ? await this.#ticket() : this.#ticket ?? null;
      this.#worker.postMessage({ do: "ticket", id, ticket });
    } catch (error) {
      this.#problem("unauthenticated", `no ticket could be had: ${error}`, false);
      this.#worker.postMessage({ do: "ticket", id, failed: true });
    }
  }

  /** @param {Extract<Report, {say: "refused"}>} report */
  #refused({ isEarlier, code, message, retry }) {
    if (isEarlier) return; // `unfinished` says it
    this.#problem(code, message, !retry);
    if (!retry) {
      this.#refusal = new RecorderError(code, message, "its copy is kept");
      this.#settle();
    }
  }

  /** @param {Extract<Report, {say: "finished"}>} report */
  #finished({ recording, receipt, marks, gaps, clipped }) {
    const part = this.#parts.find((one) => one.recording === recording);
    if (part === undefined || this.#take === null) return;
    const { settings, mismatches, device, verifiable } = this.#of(recording);
    this.#receipts.set(recording, {
      ...receipt, url: new URL(receipt.url, this.#server).href, take: this.#take, sampleRate: part.sampleRate,
      channels: part.channels, encoding: this.#options.encoding, gaps, marks, settings, mismatches, device, verifiable,
      clippedSamples: clipped, title: this.#options.title ?? null, parts: [],
    });
    if (receipt.matches === false) {
      this.#problem("digest-mismatch", "the server's WAV is not what was recorded", true);
    }
    this.#settle();
  }

  /** Give the receipt once the take is stopped and all its parts are final. */
  #settle() {
    const stopping = this.#stopping;
    if (stopping === null || this.#isDraining) return;
    if (this.#parts.length === 0) this.#refusal ??= new RecorderError("device-gone", "nothing came from the microphone");
    if (this.#refusal !== null) {
      this.#stopping = null;
      this.#become("failed");
      stopping.reject(this.#refusal);
      return;
    }
    const parts = this.#parts.map(({ recording }) => this.#receipts.get(recording));
    if (parts.some((receipt) => receipt === undefined)) return;
    this.#stopping = null;
    const receipts = /** @type {Receipt[]} */ (parts);
    const matches = receipts.every((one) => one.matches) || (receipts.some((one) => one.matches === false) ? false : null);
    this.#receipt = { ...receipts[0], matches, parts: receipts };
    this.#become("finished");
    this.#tell("finished", this.#receipt);
    stopping.resolve(this.#receipt);
  }

  /** What is known of a part, from the microphone that is open now if it is new. @param {string} recording */
  #of(recording) {
    let facts = this.#facts.get(recording);
    if (facts === undefined) {
      const capture = this.#capture;
      facts = {
        gaps: [], marks: [], device: capture?.device ?? { deviceId: "", label: "" }, settings: capture?.settings ?? {},
        mismatches: capture?.mismatches ?? [], verifiable: capture?.isVerifiable ?? false,
      };
      this.#facts.set(recording, facts);
    }
    return facts;
  }

  // ---- what the page is told -------------------------------------------------------------

  get #isLive() { return ["recording", "paused"].includes(this.#phase); }
  get #isBusy() { return ["checking", "recording", "paused", "finishing"].includes(this.#phase); }

  get #state() {
    if (this.#phase !== "recording" || this.#isDurableMoving) return this.#phase;
    // "Recording" is only said while the server's disk has more of it than two seconds ago.
    // With all safe and the server there, it is the microphone that brings nothing.
    const isSafe = this.#parts.every(({ capturedFrames, durableFrames }) => durableFrames >= capturedFrames);
    return this.#isOnline && isSafe ? "paused" : "offline";
  }

  /** Nothing would be lost or held up if the page were left now. */
  get #isSafe() {
    return ["idle", "finished", "failed"].includes(this.#phase) &&
      (this.#keeping !== "memory" || this.unfinished.length === 0);
  }

  /** @param {Status["state"]} phase */
  #become(phase) {
    this.#phase = phase;
    this.#news();
  }

  /** Send a state event if anything but the counters has changed. */
  #news() {
    const { capturedFrames: _1, keptFrames: _2, durableFrames: _3, capturedSeconds: _4, keptSeconds: _5, durableSeconds: _6, ...rest } = this.status;
    const { parts, gaps, marks, receipt, ...facts } = rest; // lists only grow: their lengths tell
    const ended = parts.map(({ isFinished }) => isFinished);
    const text = JSON.stringify([facts, ended, gaps.length, marks.length, receipt !== null]);
    if (text === this.#said) return;
    this.#said = text;
    this.#tell("state", this.status);
  }

  /** @param {string} code @param {string} message @param {boolean} isFatal */
  #problem(code, message, isFatal) {
    this.#error = { code, message };
    const cure = WAITS.includes(code) ? "its copy is kept" : "";
    this.#tell("error", { code, message, cure, isFatal });
    if (isFatal && this.#phase === "checking") this.#become("failed");
    this.#news();
  }

  /** @template {keyof RecorderEvents} Name @param {Name} name @param {RecorderEvents[Name]} detail */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * What the server would refuse is refused before the microphone opens.
 *
 * @param {StartOptions} options
 */
function checkFacts({ title, metadata }) {
  const isText = Object.values(metadata ?? {}).every((value) => typeof value === "string");
  if (!isText) throw new RecorderError("invalid", "metadata is an object of strings");
  if (new TextEncoder().encode(JSON.stringify([title, metadata])).length > OPEN_BYTES) {
    throw new RecorderError("invalid", "title and metadata have 8 KiB at most");
  }
}

/** @param {MediaDeviceInfo[]} inputs */
function standardOf(inputs) {
  const standard = inputs.find(({ deviceId }) => deviceId === "default");
  return standard ? `${standard.groupId} ${standard.label}` : "";
}

/** @param {Gap & {recording?: string}} gap @returns {Gap} */
function withoutRecording({ first_frame, frames, cause, exact }) {
  return { first_frame, frames, cause, exact };
}

/** A page may only start workers of its own origin: elsewhere a small one of its own imports ours. */
function startWorker() {
  const url = new URL("worker.js", import.meta.url);
  if (url.origin === location.origin) return new Worker(new URL("worker.js", import.meta.url), { type: "module" }); // as bundlers know it
  const text = `import ${JSON.stringify(url.href)};`;
  const own = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  return new Worker(own, { type: "module" });
}
