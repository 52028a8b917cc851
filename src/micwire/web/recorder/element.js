/**
 * <micwire-recorder>: the recorder as a person sees and hears it.
 *
 * It shows what `Recorder` says and hands on what the person does; it decides nothing about
 * sound. Texts are put in by `textContent` alone. One AbortController ends every listener,
 * timer and observer; nothing is drawn that nobody sees, and nothing oftener than the worker brings news.
 */

/** @import { Gap, Level, Mark, RecordingResult, StartOptions, Status, Unfinished } from "./types.js" */
/** @import { Place } from "./waveform.js" */
/** @typedef {{code: string, message: string, cure: string, isFatal: boolean}} Trouble */

// Texts first, then code: so a bundle is 1% smaller when it is compressed.
import { Speaker, clock } from "./words.js";
import { sheet } from "./look.js";
import { button, choose, field, h, put, translate } from "./dom.js";
import { Recorder } from "./recorder.js";
import { Capture } from "./capture.js";
import { check, play, test } from "./checks.js";
import { Meter, decibels } from "./meter.js";
import { Canvas, Waveform } from "./waveform.js";

const FRAME_MS = 125;
const WAVE_MS = 200; // the waveform can do with fewer frames than the meter
const BAR_STEPS = 200;
const UNSAFE_S = 2; // what is on its way for less is nothing to speak of
const SPEAK_MS = 10_000;
const EVENTS = ["state", "level", "ack", "gap", "result", "finished", "error", "devices", "unfinished"];
const RAW = ["echoCancellation", "noiseSuppression", "autoGainControl"];
const TEXTS_KEPT = 100;
const POINTS_KEPT = 60;
const RESULTS_MS = 500;
const COUNTS = ["captured", "kept", "safe"];
const SIGNS = /** @type {Record<string, string>} */ ({
  idle: "○", checking: "◌", recording: "●", paused: "‖", offline: "▲", finishing: "↑", finished: "✓", failed: "✗",
});
const NOT_YET = /** @type {any} */ (null);

const skeleton = () => h("div", { class: "app" },
  h("div", { class: "main" },
    h("section", { class: "stage" },
      h("header", {}, h("p", { id: "state", role: "status" }), h("button", { id: "lang", type: "button", class: "quiet", "data-t": "other" })),
      h("p", { id: "elapsed", role: "timer", "data-label": "elapsed" }),
      h("p", { id: "hint" }),
      h("div", { id: "problem", role: "alert" }, h("strong"), h("p"), h("p", { "aria-live": "off" })),
      h("canvas", { id: "waveform", role: "img", "data-label": "waveform" }),
      h("p", { id: "notes" }),
      h("div", { class: "level" },
        h("canvas", { id: "meter", role: "meter", "data-label": "level", "aria-valuemin": -60, "aria-valuemax": 0 }),
        h("p", { id: "loudest", "aria-hidden": "true" }),
        h("p", { class: "scale", "aria-hidden": "true" }, "−60 −48 −36 −24 −12 0\u2009dB")),
      h("div", { class: "bar", "aria-hidden": "true" }, ...COUNTS.map((id) => h("i", { id: `${id}Bar` }))),
      h("p", { id: "warning" }),
      h("dl", {}, ...COUNTS.map((id) => h("div", { class: id }, h("dt", { "data-t": id }), h("dd", { id })))),
      h("div", { class: "controls" },
        button("pause", "round"), button("resume", "round"),
        button("record", "round big"), button("stop", "round big"), button("mark", "round")),
      h("div", { id: "under" }, button("test"), h("p", { id: "verdict", role: "status" })),
      h("p", { id: "notyet", role: "status", class: "spoken" })),
    h("section", { id: "receipt", "data-label": "receipt" }),
    h("section", { id: "events" }, h("ul", { id: "gaps" }), h("ul", { id: "marks" })),
    h("section", { id: "results", "data-label": "results" })),
  h("div", { class: "aside" },
    h("section", { class: "setup" }, field("title", "input"), field("device", "select"), field("channels", "select"), field("quality", "select")),
    h("section", { class: "before" }, h("h2", { "data-t": "before" }), h("ul", { id: "checks" })),
    h("section", { id: "earlier" }, h("h2", { "data-t": "earlier" }), h("ul", { id: "unfinished" }))));

export class MicwireRecorder extends HTMLElement {
  static observedAttributes = ["lang"];

  /** @type {Recorder} */ #recorder = NOT_YET;
  #root = this.attachShadow({ mode: "open" });
  #app = skeleton();
  /** @type {Record<string, any>} */ #at = {};
  #end = new AbortController();
  #speaker = new Speaker("en");
  /** @type {Waveform} */ #waveform = NOT_YET;
  /** @type {Meter} */ #meter = NOT_YET;
  #isSeen = true;
  #isWanted = false; // an animation frame was asked for
  #isWaveStale = true;
  #waveAt = -Infinity;
  #bars = [-1, -1, -1];
  #drawnAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #spokenAt = 0;
  #toldAt = 0;
  /** @type {Trouble | null} */ #trouble = null;
  /** @type {string | undefined} of the trouble that lasts */ #cause;
  /** @type {AbortController | null} */ #testing = null;
  /** @type {string | null} */ #keeping = null;
  /** @type {RecordingResult[]} */ #news = [];
  /** @type {Map<string, {node: HTMLElement, lines: Map<string, {line: HTMLElement, course: number[]}>}>} */ #analyzers = new Map();
  /** @type {Map<string, {gaps: (Place & Gap)[], marks: (Place & Mark)[]}>} what each part of the take has */ #parts = new Map();
  #shown = ""; // what the lists were made of
  #isPaused = false; // by the person
  /** @type {Map<string, string>} of every microphone there was */ #labels = new Map();
  #lost = "";

  /** One-use tickets, as `Recorder` takes them; wins over the attribute. @type {string | (() => Promise<string>) | undefined} */
  ticket = /** @type {any} */ (this).ticket; // it may have been set before the element was known

  /** Who is signed in, as `Recorder` takes it. @type {string | (() => Promise<string>) | undefined} */
  owner = /** @type {any} */ (this).owner;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#app);
    this.#app.querySelector(".under")?.append(this.#confirmed("discard", () => this.#speaker.say("discardAsk", { time: this.#speaker.time(this.status.capturedSeconds) }), this.discard));
    for (const node of this.#app.querySelectorAll("[data-testid]")) this.#at[/** @type {HTMLElement} */ (node).dataset.testid ?? ""] = node;
  }

  /** @returns {Recorder} Made when the element is first connected. */
  get recorder() {
    return this.#recorder;
  }

  /** @returns {Status} */
  get status() {
    return this.#recorder.status;
  }

  /** Start with what is chosen here. @param {StartOptions} [options] Win over the choices. */
  async start(options) {
    this.#testing?.abort();
    this.#testing = this.#trouble = null;
    this.#clear();
    put(this.#at.verdict, "");
    const { title, device, channels, quality } = this.#at;
    try {
      await this.#recorder.start({
        // Whoever is quick presses before there is a choice.
        deviceId: device.value, channels: Number(channels.value) || undefined, encoding: quality.value || undefined, title: title.value.trim() || undefined, ...options,
      });
    } catch (error) {
      this.#report(error);
      throw error;
    } finally {
      this.#check();
    }
  }

  pause = () => this.#hold(true);
  resume = () => this.#hold(false);
  mark = (label = `${this.#speaker.say("mark")} ${this.#at.marks.children.length + 1}`) => this.#recorder.mark(label);
  stop = () => this.#recorder.stop();
  discard = () => this.#recorder.discard();

  connectedCallback() {
    const { signal } = this.#end = new AbortController();
    const at = this.#at, { stop, pause, resume, mark } = this;
    const list = this.getAttribute("analyzers");
    this.#recorder ??= new Recorder({
      server: this.getAttribute("server") ?? undefined,
      ticket: this.ticket ?? this.getAttribute("ticket") ?? undefined,
      owner: this.owner,
      analyzers: list?.split(/[\s,]+/).filter(Boolean),
    });
    const refresh = () => this.#wake();
    const stale = () => { this.#isWaveStale = true; this.#wake(); };
    this.#waveform = new Waveform(new Canvas(at.waveform, signal, stale));
    this.#meter = new Meter(new Canvas(at.meter, signal, refresh));
    const seen = new IntersectionObserver((entries) => { this.#isSeen = entries.at(-1)?.isIntersecting ?? true; stale(); });
    seen.observe(this);
    signal.addEventListener("abort", () => seen.disconnect());
    for (const name of EVENTS) this.#recorder.addEventListener(name, (event) => this.#hear(name, /** @type {CustomEvent} */ (event).detail), { signal });
    /** @type {Record<string, () => unknown>} */
    const acts = { record: () => this.start(), stop, pause, resume, mark, test: () => this.#test(), lang: () => this.#switch() };
    for (const [id, act] of Object.entries(acts)) {
      at[id].addEventListener("click", async () => {
        if (at[id].ariaDisabled === "true") return;
        try {
          await act();
        } catch (error) {
          this.#report(error);
        }
      }, { signal });
    }
    at.device.addEventListener("change", () => this.#isLive() && this.#recorder.setDevice(at.device.value).catch((/** @type {Trouble} */ error) => this.#report(error)), { signal });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    at.title.value ||= this.getAttribute("recording-title") ?? "";
    this.#translate();
    this.#render(performance.now()); // at once: nothing is to move when the texts come
  }

  disconnectedCallback() {
    this.#end.abort();
    this.#testing?.abort();
    clearTimeout(this.#timer);
    this.#isWanted = false;
    // Moved within the page, it is back at once, and a recording goes on.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#recorder.close();
      this.#recorder = NOT_YET;
    });
  }

  attributeChangedCallback() {
    if (this.#recorder) this.#translate();
  }

  /** @param {boolean} isPaused */
  #hold(isPaused) {
    this.#isPaused = isPaused;
    if (isPaused) this.#recorder.pause();
    else this.#recorder.resume();
    this.#wake();
  }

  // ---- what happens ------------------------------------------------------------------

  /** @param {string} name @param {any} detail */
  #hear(name, detail) {
    if (name === "level") this.#level(detail, this.status.capturedSeconds);
    if (name === "error") this.#report(detail);
    if (name === "state") {
      put(this.#at.state, this.#speaker.say(detail.state)); // at once: however short, it is said
      const code = detail.error?.code, trouble = this.#trouble;
      // What is over is said no longer; that there is a next part with another microphone is.
      if (trouble && trouble.code === this.#cause && code !== this.#cause) this.#trouble = /^device/.test(trouble.code) ? { ...trouble, code: "device-changed" } : null;
      this.#cause = code;
    }
    if (name === "devices" || (name === "state" && detail.keeping !== this.#keeping)) {
      this.#keeping = this.status.keeping;
      this.#check();
    }
    if (name === "unfinished") this.#list(detail);
    if (name === "result") this.#news.push(detail);
    if (name === "finished" && this.#trouble?.code !== "digest-mismatch") this.#trouble = null; // that of any part
    if (name !== "level") this.#isWaveStale = true;
    this.#wake();
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  /** @param {Pick<Level, "peak" | "rms">} level @param {number} seconds Up to where. */
  #level({ peak, rms }, seconds) {
    this.#meter.level(peak, rms, performance.now());
    if (this.#waveform.add(seconds, Math.max(...peak))) this.#isWaveStale = true;
    this.#wake();
  }

  /** @param {any} error */
  #report({ code = "unknown", message = "", cure = "", isFatal = true }) {
    if (code === "discarded") return; // by the person, who knows
    this.#trouble = { code, message, cure, isFatal };
    this.#shown = "";
    this.#wake();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [target] = event.composedPath();
    const isText = target instanceof Element && target.matches("input, textarea, select, [contenteditable]");
    if (event.code !== "KeyM" || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isText) return;
    this.#at.mark.click();
  }

  #clear() {
    this.#parts.clear();
    this.#analyzers.clear();
    this.#at.results.replaceChildren();
    this.#waveform.reset();
  }

  #isLive() {
    return ["recording", "paused", "offline"].includes(this.status.state);
  }

  async #test() {
    const at = this.#at, { say, number } = this.#speaker, { signal } = this.#testing = new AbortController();
    this.#trouble = null;
    this.#waveform.reset();
    at.test.ariaDisabled = "true";
    put(at.verdict, say("testing"));
    let verdict = "", capture;
    try {
      const { value: deviceId } = at.device, ignore = () => {};
      capture = await Capture.open({ deviceId, channels: Number(at.channels.value), raw: true }, { muted: ignore, ended: ignore, stoodStill: ignore });
      signal.throwIfAborted();
      const sample = await test(capture, (level, seconds) => this.#level(level, seconds), signal);
      capture.close();
      const db = decibels(sample.peak);
      put(at.verdict, say("playing"));
      await play(sample, signal);
      verdict = say(db >= 0 ? "testLoud" : db > -45 ? "testGood" : "testSilent", { db: number(Math.ceil(db)) });
    } catch (error) {
      if (!signal.aborted) this.#report(error);
    } finally {
      capture?.close();
      put(at.verdict, verdict);
      at.test.ariaDisabled = null;
      this.#check();
    }
  }

  /** What stands in the way, and what there is to choose from. */
  async #check() {
    const at = this.#at, { say } = this.#speaker;
    const all = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    const inputs = all.filter(({ kind }) => kind === "audioinput");
    const checks = await check(this.#keeping, inputs.length > 0);
    const devices = await this.#recorder?.devices().catch(() => []);
    if (this.#end.signal.aborted) return;
    at.checks.replaceChildren(...checks.map(({ code, ok }) =>
      h("li", { "data-ok": `${ok}` }, h("i", {}, ok ? "✓" : ok === null ? "?" : "✗"), say(`is:${code}`))));
    const failed = checks.find(({ code, ok }) => ok === false && code !== "no-storage")?.code;
    if (failed && this.status.state === "idle") this.#report({ code: failed });
    at.record.disabled = at.test.disabled = failed === "insecure-origin" || failed === "unsupported";
    /** @param {string} name */
    const wanted = (name) => this.getAttribute(name) ?? "";
    const most = Math.max(2, Number(wanted("channels")), ...inputs.map((/** @type {any} */ input) => input.getCapabilities?.().channelCount?.max || 0));
    choose(at.channels, Array.from({ length: most }, (_, n) => [`${n + 1}`, this.#channels(n + 1)]), wanted("channels"));
    choose(at.quality, ["pcm_f32le", "pcm_s24le", "pcm_s16le"].map((name) => [name, say(name)]), wanted("encoding"));
    const chosen = at.device.value || wanted("device-id");
    const there = devices.filter(({ deviceId }) => deviceId).map(({ deviceId, label }) => [deviceId, label]);
    for (const [id, label] of there) this.#labels.set(id, label);
    // A chosen microphone that went away stays chosen: never silently another one.
    if (chosen && !there.some(([id]) => id === chosen)) there.push([chosen, say("deviceAway", { label: this.#labels.get(chosen) ?? say("device") })]);
    choose(at.device, [["", say("deviceDefault")], ...there], chosen);
  }

  // ---- what is shown -----------------------------------------------------------------

  #wake() {
    if (this.#isWanted || this.#end.signal.aborted) return;
    this.#isWanted = true;
    // Not by skipping frames: the browser does half the work of a frame before it asks.
    this.#timer = setTimeout(() => requestAnimationFrame((now) => {
      this.#isWanted = false;
      this.#drawnAt = now;
      if (!this.#end.signal.aborted) this.#render(now);
    }), this.#drawnAt + FRAME_MS - performance.now() - 8);
  }

  /** @param {number} now In ms. */
  #render(now) {
    const at = this.#at, status = this.status, { state, capturedSeconds, keptSeconds, durableSeconds } = status;
    const { say, time, number } = this.#speaker;
    const unsafe = capturedSeconds - durableSeconds;
    // Why there is no sound, if it isn't the person's will.
    const silence = this.#isPaused || !/checking|recording|paused/.test(state) ? "" : status.isMuted ? "muted" : status.error?.code === "device-gone" ? "device-gone" : "";
    put(at.state, say(state));
    put(at.elapsed, clock(capturedSeconds, 0));
    put(at.hint, this.#hint(status, unsafe, silence));
    put(at.problem.lastChild, this.#trouble && capturedSeconds > 0 ? `${say("kept")}: ${time(keptSeconds)} · ${say("safe")}: ${time(durableSeconds)}` : "");
    [capturedSeconds, keptSeconds, durableSeconds].forEach((seconds, n) => {
      put(at[COUNTS[n]], time(seconds));
      const steps = Math.floor(BAR_STEPS * Math.min(1, seconds / capturedSeconds || 0));
      if (steps !== this.#bars[n]) at[`${COUNTS[n]}Bar`].style.scale = `${(this.#bars[n] = steps) / BAR_STEPS} 1`;
    });
    if (unsafe <= UNSAFE_S || state === "finished") put(at.notyet, "");
    else if (at.notyet.textContent === "" || now - this.#spokenAt > SPEAK_MS) {
      this.#spokenAt = now;
      put(at.notyet, say("notYet", { time: time(Math.ceil(unsafe)) }));
    }
    const key = [state, silence, this.#speaker.lang, status.gaps.length, status.marks.length, status.recording, status.clippedSamples, status.keeping, this.#trouble?.code, this.#testing?.signal.aborted].join();
    if (key !== this.#shown) {
      this.#shown = key;
      this.#arrange(state, silence);
      this.#lists(status);
      this.#tell(status);
    }
    if (now - this.#toldAt > RESULTS_MS) {
      this.#toldAt = now;
      for (const news of this.#news.splice(0)) this.#result(news, status.sampleRate);
    }
    if (!this.#isSeen) return;
    const isFalling = this.#meter.draw(now);
    const held = Math.ceil(this.#meter.held), loudest = `${number(held)} dB`;
    put(at.loudest, isFalling ? loudest : "");
    if (!isFalling || Math.abs(at.meter.ariaValueNow - held) > 3) [at.meter.ariaValueNow, at.meter.ariaValueText] = [held, loudest];
    if (this.#isWaveStale && now - this.#waveAt >= WAVE_MS) {
      this.#isWaveStale = false;
      this.#waveAt = now;
      const parts = [...this.#parts.values()];
      this.#waveform.draw(this.#testing ? 0 : durableSeconds, parts.flatMap(({ gaps }) => gaps), parts.flatMap(({ marks }) => marks),
        state === "finished" && !this.#testing ? capturedSeconds : null);
    }
    if (isFalling || this.#isWaveStale) this.#wake();
  }

  /** @param {Status} status @param {number} unsafe In seconds. @param {string} silence */
  #hint({ state, capturedSeconds, keptSeconds, durableSeconds }, unsafe, silence) {
    const { say, time } = this.#speaker;
    const open = { time: time(Math.ceil(unsafe)) }; // rounded up: what is not safe; down: what is kept
    const notYet = unsafe > UNSAFE_S && say("notYetHint", open);
    // What #tell says as well is not said twice.
    if (silence) return say(silence).split("\n", this.#trouble?.code === silence ? 1 : 2).join(" ");
    switch (state) {
      case "offline": return say("offlineHint", { time: time(keptSeconds - durableSeconds) });
      case "finishing": return say("finishingHint", open);
      case "finished": return say("finishedHint", { time: time(capturedSeconds) });
      case "paused": return `${say("pausedHint")} ${notYet || ""}`;
      case "recording": return notYet || say("recordingHint");
      case "failed": return "";
      default: return say(`${state}Hint`);
    }
  }

  /** Show and lock what a state asks for; the focus goes to what took the place of what had it. @param {string} state @param {string} silence */
  #arrange(state, silence) {
    const at = this.#at;
    const isLive = this.#isLive(), isBusy = isLive || state === "checking" || state === "finishing";
    const focused = this.#root.activeElement;
    if (state === "idle" && this.#app.dataset.state !== state) this.#clear();
    this.#app.dataset.state = state;
    at.state.dataset.sign = SIGNS[state];
    this.#isPaused &&= state === "paused";
    at.record.hidden = at.test.hidden = at.verdict.hidden = isBusy;
    at.stop.hidden = !isBusy;
    at.stop.ariaDisabled = isLive ? null : "true"; // not `disabled`: it keeps the focus
    at.pause.hidden = state === "paused" && !silence; // where the microphone is silent there is nothing to resume
    at.resume.hidden = !at.pause.hidden;
    at.mark.disabled = at.pause.disabled = !isLive;
    at.discard.parentNode.hidden = !isLive && state !== "checking";
    put(at.discard.lastChild, this.#speaker.say(state === "checking" ? "cancel" : "discard"));
    at.title.disabled = at.channels.disabled = at.quality.disabled = isBusy;
    if (focused?.checkVisibility() === false) [focused === at.resume ? at.pause : at.resume, at.stop, at.record].find((node) => node.checkVisibility())?.focus();
  }

  /** The lists that change now and then: gaps, marks, the receipt. @param {Status} status */
  #lists(status) {
    const at = this.#at, { say, lost, number } = this.#speaker;
    let base = 0;
    for (const part of status.parts) {
      const place = (/** @type {number} */ frame) => base + frame / part.sampleRate;
      if (part.recording === status.recording) {
        this.#parts.set(part.recording, {
          gaps: status.gaps.map((gap) => ({ ...gap, at: place(gap.first_frame), seconds: gap.frames / part.sampleRate })),
          marks: status.marks.map((mark) => ({ ...mark, at: place(mark.frame), seconds: 0 })),
        });
      }
      base += part.capturedFrames / part.sampleRate;
    }
    const parts = [...this.#parts.values()], gaps = parts.flatMap((part) => part.gaps), marks = parts.flatMap((part) => part.marks);
    at.gaps.replaceChildren(...gaps.map(({ at, seconds, cause, exact }) =>
      h("li", {}, h("b", {}, clock(at)), say("gap", { time: `${exact ? "" : "≈ "}${lost(seconds)}`, cause: say(`by:${cause}`) }))));
    at.marks.replaceChildren(...marks.map(({ at, label }) => h("li", {}, h("b", {}, clock(at)), label)));
    at.events.hidden = gaps.length + marks.length === 0;
    this.#lost = gaps.length > 0 ? say("gapsCount", { n: gaps.length, time: lost(gaps.reduce((sum, { seconds }) => sum + seconds, 0)) }) : "";
    at.notes.replaceChildren(...[
      this.#lost && h("b", {}, `${say("gaps")}: ${this.#lost}`),
      status.clippedSamples > 0 && h("b", {}, `${say("clipped")}: ${number(status.clippedSamples)}`),
      marks.length > 0 && h("span", {}, `${say("marks")}: ${marks.length}`),
      this.#isLive() && marks.length === 0 && h("span", { class: "key" }, say("markKey")),
    ].filter((node) => node instanceof Node));
    at.receipt.hidden = status.state !== "finishing" && status.state !== "finished";
    if (!at.receipt.hidden) at.receipt.replaceChildren(...this.#receipt(status));
  }

  /** Trouble and what is safe; what the person should know of this browser. @param {Status} status */
  #tell({ state, keeping, mismatches }) {
    const at = this.#at, { say, has } = this.#speaker;
    const trouble = this.#trouble;
    at.problem.hidden = !trouble;
    if (trouble) {
      const { message, cure, isFatal } = trouble;
      // Where sound can't be kept while there is some, it goes on in memory: no reason to begin anew.
      const code = /^local-storage/.test(trouble.code) ? `local-storage-${state === "idle" ? "failed" : "full"}` : trouble.code;
      const values = { message, host: location.hostname, port: location.port || 80 };
      const lines = !has(code) && (cure || !isFatal) ? [message, cure] : say(has(code) ? code : "unknown", values).split("\n", 2);
      lines.forEach((line, n) => put(at.problem.children[n], line));
    }
    const altered = mismatches.length > 0 && say("mismatch", { list: mismatches.map((name) => say(name)).join(", ") });
    put(at.warning, [keeping === "memory" && say("no-storage"), altered].filter(Boolean).join(" "));
  }

  /** The same rows while finishing and when finished: nothing moves when the receipt comes. @param {Status} status */
  #receipt({ receipt, parts: captured, capturedSeconds, sampleRate, channels, encoding, settings, mismatches, verifiable }) {
    const { say, time, number } = this.#speaker, row = this.#row;
    const parts = receipt?.parts ?? [null];
    const matches = parts.map((part) => part?.matches);
    const verdict = !receipt ? "finishing" : matches.includes(false) ? "matchesNot" : matches.every(Boolean) ? "matches" : "matchesUnknown";
    const applied = /** @type {Record<string, unknown>} */ (settings ?? {});
    const frames = (receipt?.parts ?? captured).reduce((sum, part) => sum + ("frames" in part ? part.frames : part.capturedFrames), 0);
    return [
      h("p", { class: `said ${verdict}` }, say(verdict)),
      h("dl", {},
        ...row("elapsed", `${time(capturedSeconds)} · ${say("frames", { n: number(frames) })}`),
        ...row("gaps", this.#lost || "0"),
        ...row("format", `${number(sampleRate)} Hz · ${this.#channels(channels)} · ${say(encoding)}`),
        ...row("sound", ...RAW.filter((name) => name in applied).map((name) =>
          h("span", mismatches.includes(name) ? { class: "bad" } : {}, `${say(name)} ${say(applied[name] ? "on" : "off")}`))),
        ...parts.flatMap((part) => row("digest", ...this.#digest(part?.digest ?? "")))),
      ...(verifiable ? [] : [h("p", { class: "note" }, say("unverifiable"))]),
      // Whoever may only record is not offered what the server would refuse.
      ...this.hasAttribute("record-only") ? [] : parts.flatMap((part, n) => [
        h("audio", { id: "player", controls: "", "aria-label": say("receipt"), ...(part && { src: part.url }) }),
        h("a", { id: "download", download: "", class: "quiet", ...(part && { href: part.url }) }, `${say("download")}${parts.length > 1 ? ` ${n + 1}` : ""}`),
      ]),
    ];
  }

  /** @param {number} count */
  #channels = (count) => count < 3 ? this.#speaker.say(`channels${count}`) : `${count}`;

  /** @param {string} key @param {(Node | string)[]} value */
  #row = (key, ...value) => [h("dt", {}, this.#speaker.say(key)), h("dd", {}, ...value)];

  /** Its beginning, and a button that copies all of it; shown whole where pages may not copy. @param {string} digest */
  #digest(digest) {
    const code = h("code", {}, `${digest.slice(0, 12)}…`), copy = button("copyDigest", "link"), text = this.#speaker.say("copyDigest");
    put(copy, text);
    copy.disabled = !digest;
    copy.onclick = () => navigator.clipboard.writeText(digest).then(() => put(copy, `✓ ${text}`), () => put(code, digest));
    return [code, copy];
  }

  /** Numbers, one or one a channel, as figures with their course; all else as lines of text. @param {RecordingResult} result @param {number} sampleRate */
  #result({ analyzer, first_frame, final, data }, sampleRate) {
    let card = this.#analyzers.get(analyzer);
    if (!card) this.#analyzers.set(analyzer, card = { node: h("article", {}, h("h3", {}, analyzer)), lines: new Map() });
    const { node, lines } = card;
    this.#at.results.append(node);
    const values = data instanceof Object && !Array.isArray(data) ? Object.entries(data) : /** @type {[string, unknown][]} */ ([["", data]]);
    for (const [name, value] of values) {
      if (value === "") continue;
      const numbers = [value].flat(), isNumbers = numbers.every((one) => typeof one === "number" || one === null);
      let entry = lines.get(name);
      if (!entry) {
        lines.set(name, entry = { line: isNumbers ? h("p", {}, h("span", {}, name), h("b"), h("i")) : h("ul"), course: [] });
        node.append(entry.line);
      }
      const { line, course } = entry;
      if (isNumbers) {
        course.push(...numbers.slice(0, 1).filter((one) => one !== null));
        course.splice(0, course.length - POINTS_KEPT);
        put(line.children[1], numbers.map((one) => one === null ? "–" : this.#speaker.number(one)).join("  "));
        sparkline(/** @type {HTMLElement} */ (line.children[2]), course);
      } else {
        const text = typeof value === "string" ? value : JSON.stringify(value);
        line.querySelector(".draft")?.remove();
        line.append(h("li", final ? {} : { class: "draft" }, h("b", {}, clock(first_frame / sampleRate)), text.slice(0, 1000)));
        if (line.children.length > TEXTS_KEPT) line.firstElementChild?.remove();
      }
    }
  }

  /** Recordings of earlier visits; their rows stay, so that the focus does. @param {Unfinished[]} unfinished */
  #list(unfinished) {
    const { say, time, date } = this.#speaker;
    const list = this.#at.unfinished;
    this.#at.earlier.hidden = unfinished.length === 0;
    for (const row of [...list.children]) if (!unfinished.some(({ recording }) => recording === row.dataset.recording)) row.remove();
    for (const { recording, title, startedAt, sampleRate, capturedFrames, durableFrames, releasedFrames, state, code, url } of unfinished) {
      let row = [...list.children].find((child) => child.dataset.recording === recording);
      if (!row) {
        const copy = button("copy");
        copy.onclick = () => this.#save(recording, title || startedAt).catch((error) => this.#report(error));
        row = h("li", { "data-recording": recording }, h("strong", {}, title || date(startedAt)), h("small", {}, title ? date(startedAt) : ""), h("progress", { "aria-label": say("safe") }), h("p"),
          h("div", { class: "buttons" }, copy, this.#confirmed("forget", () => this.#speaker.say(row.dataset.state === "foreign" ? "foreignAsk" : "forgetAsk"), () => this.#recorder.forget(recording))));
        list.append(row);
        translate(row, this.#speaker);
      }
      const [, , progress, text, buttons] = row.children;
      progress.value = durableFrames / Math.max(1, capturedFrames);
      const left = { time: time(Math.ceil((capturedFrames - durableFrames) / sampleRate)) };
      text.replaceChildren(state === "finished" ? h("a", url ? { href: url } : {}, say("safe")) : say(state, left), state === "refused" && code ? ` ${say(code)}` : "");
      row.dataset.state = state;
      buttons.firstChild.hidden = releasedFrames >= capturedFrames || state === "foreign";
    }
    this.#wake();
  }

  /** @param {string} recording @param {string} name */
  async #save(recording, name) {
    const { blob } = await this.#recorder.saveCopy(recording);
    const href = URL.createObjectURL(blob);
    h("a", { href, download: `${name}.wav` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }

  /**
   * A button that asks, in its own place, before it does what can't be undone.
   * @param {string} id
   * @param {() => string} ask
   * @param {() => Promise<unknown>} act
   */
  #confirmed(id, ask, act) {
    const open = button(id), yes = button(`${id}Yes`, "danger", "delete"), no = button(`${id}No`, "quiet", "keep");
    const question = h("span", { id: `${id}Ask` });
    const asked = h("span", { class: "ask", role: "group" }, question, yes, no);
    const show = (/** @type {boolean} */ isAsking) => {
      open.hidden = isAsking;
      asked.hidden = !isAsking;
    };
    const run = () => act().catch((error) => this.#report(error));
    open.onclick = () => {
      if (this.status.state === "checking") return run();
      put(question, ask());
      asked.ariaLabel = ask();
      show(true);
      no.focus();
    };
    no.onclick = () => {
      show(false);
      open.focus();
    };
    yes.onclick = () => {
      show(false);
      run();
    };
    asked.onkeydown = ({ key }) => key === "Escape" && no.click();
    show(false);
    return h("span", { class: "confirm" }, open, asked);
  }

  // ---- languages ---------------------------------------------------------------------

  #translate() {
    this.#speaker = new Speaker(this.closest("[lang]")?.getAttribute("lang") || navigator.language);
    this.#app.lang = this.#speaker.lang;
    translate(this.#app, this.#speaker);
    this.#at.lang.lang = this.#speaker.lang === "en" ? "ja" : "en";
    this.#shown = "";
    this.#at.unfinished.replaceChildren();
    this.#list(this.#recorder.unfinished);
    this.#check();
  }

  #switch() {
    this.lang = this.#at.lang.lang;
    this.dispatchEvent(new CustomEvent("language", { detail: this.lang, bubbles: true, composed: true }));
  }
}

/** Draw a course as an area, from its lowest to its highest. @param {HTMLElement} area @param {number[]} course */
function sparkline(area, course) {
  const low = Math.min(...course), high = Math.max(...course);
  const x = (/** @type {number} */ n) => `${(n / (POINTS_KEPT - 1)) * 100}%`;
  const points = course.map((value, n) => `${x(n)} ${high > low ? 90 - ((value - low) / (high - low)) * 90 : 45}%`);
  area.style.clipPath = `polygon(0 100%, ${[...points, x(course.length - 1)].join()} 100%)`;
}
