/**
 * <micwire-recorder>: the recorder as a person sees and hears it.
 *
 * It shows what `Recorder` says and hands on what the person does; it decides nothing about
 * sound. Texts are put in by `textContent` alone. One AbortController ends every listener,
 * timer and observer; nothing is drawn that nobody sees, and nothing oftener than 20 times a second.
 */

/** @import { Gap, Level, Mark, RecordingResult, StartOptions, Status, Unfinished } from "./types.js" */
/** @import { Place } from "./waveform.js" */
/** @typedef {{code: string, message: string, cure: string, isFatal: boolean}} Trouble */

import { Capture } from "./capture.js";
import { check, play, test } from "./checks.js";
import { sheet } from "./look.js";
import { Meter, decibels } from "./meter.js";
import { Recorder } from "./recorder.js";
import { Canvas, Waveform } from "./waveform.js";
import { Speaker, clock } from "./words.js";

const FRAME_MS = 50;
const UNSAFE_S = 2; // what is on its way for less is nothing to speak of
const SPEAK_MS = 10_000;
const EVENTS = ["state", "level", "ack", "gap", "result", "finished", "error", "devices", "unfinished"];
const RAW = ["echoCancellation", "noiseSuppression", "autoGainControl"];
const TEXTS_KEPT = 100;
const POINTS_KEPT = 60;
const RESULTS_MS = 250;
const NOTHING = { capturedSeconds: 0, keptSeconds: 0, durableSeconds: 0 };
const NOT_YET = /** @type {any} */ (null);

/**
 * Make an element. `id` names it for tests and styles, `t` is the key of its text, `label` that of its name.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name !== "class") node.setAttribute({ id: "data-testid", t: "data-t", label: "data-label" }[name] ?? name, `${value}`);
    if (name === "class" || name === "id") node.className += ` ${value}`;
  }
  node.append(...children);
  return node;
}

/** @param {string} id @param {string} [look] @param {string} [key] */
const button = (id, look = "quiet", key = id) =>
  /** @type {HTMLButtonElement} */ (h("button", { id, type: "button", class: look }, h("i"), h("span", { t: key })));

/** @param {string} id @param {string} tag */
const field = (id, tag) => h("label", { class: id }, h("span", { t: id }), h(tag, { id }));

/** Change a text only if it is another. @param {Element} node @param {string} text */
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const skeleton = () => h("div", { class: "app" },
  h("div", { class: "main" },
    h("section", { class: "stage" },
      h("header", {}, h("p", { id: "state", role: "status" }), h("button", { id: "lang", type: "button", class: "quiet" })),
      h("p", { id: "elapsed", role: "timer", label: "elapsed" }),
      h("p", { id: "hint" }),
      h("div", { id: "problem", role: "alert" }),
      h("canvas", { id: "waveform", role: "img", label: "waveform" }),
      h("p", { id: "notes" }),
      h("div", { class: "level" },
        h("canvas", { id: "meter", role: "meter", label: "level", "aria-valuemin": -60, "aria-valuemax": 0 }),
        h("p", { id: "loudest", "aria-hidden": "true" }),
        h("p", { class: "scale", "aria-hidden": "true" }, ...["−60", "−48", "−36", "−24", "−12", "0 dB"].map((text) => h("span", {}, text)))),
      h("div", { class: "bar", "aria-hidden": "true" }, h("i", { id: "keptBar" }), h("i", { id: "safeBar" })),
      h("p", { id: "warning" }),
      h("dl", {}, ...["captured", "kept", "safe"].map((id) => h("div", { class: id }, h("dt", { t: id }), h("dd", { id })))),
      h("div", { class: "controls" },
        button("pause", "round"), button("resume", "round"),
        button("record", "round big"), button("stop", "round big"), button("mark", "round")),
      h("div", { id: "under" }, button("test"), h("p", { id: "verdict", role: "status" })),
      h("p", { id: "notyet", role: "status", class: "spoken" })),
    h("section", { id: "receipt", label: "receipt" }),
    h("section", { id: "events" }, h("ul", { id: "gaps" }), h("ul", { id: "marks" })),
    h("section", { id: "results", label: "results" })),
  h("div", { class: "aside" },
    h("section", { class: "setup" }, field("title", "input"), field("device", "select"), field("channels", "select"), field("quality", "select")),
    h("section", { class: "before" }, h("h2", { t: "before" }), h("ul", { id: "checks" })),
    h("section", { id: "earlier" }, h("h2", { t: "earlier" }), h("ul", { id: "unfinished" }))));

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
  #drawnAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #spokenAt = 0;
  #toldAt = 0;
  /** @type {Trouble | null} */ #trouble = null;
  /** @type {AbortController | null} */ #testing = null;
  /** @type {string | null} */ #keeping = null;
  /** @type {RecordingResult[]} */ #news = [];
  /** @type {Map<string, {node: HTMLElement, points: Map<string, number[]>}>} */ #analyzers = new Map();
  /** @type {Map<string, {gaps: (Place & Gap)[], marks: (Place & Mark)[]}>} what each part of the take has */ #parts = new Map();
  #shown = ""; // what the lists were made of
  /** @type {Map<string, string>} of every microphone there was */ #labels = new Map();
  #lost = "";

  /** One-use tickets, as `Recorder` takes them; wins over the attribute. @type {string | (() => Promise<string>) | undefined} */
  ticket;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#app);
    for (const node of this.#app.querySelectorAll("[data-testid]")) this.#at[node.getAttribute("data-testid") ?? ""] = node;
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
        deviceId: device.value || undefined, channels: Number(channels.value), encoding: quality.value, title: title.value.trim() || undefined, ...options,
      });
    } catch (error) {
      this.#report(error);
      throw error;
    } finally {
      this.#check();
    }
  }

  pause = () => this.#recorder.pause();
  resume = () => this.#recorder.resume();
  mark = (label = `${this.#speaker.say("mark")} ${this.#at.marks.children.length + 1}`) => this.#recorder.mark(label);
  stop = () => this.#recorder.stop();
  discard = () => this.#recorder.discard();

  connectedCallback() {
    const { signal } = this.#end = new AbortController();
    const at = this.#at;
    const list = this.getAttribute("analyzers");
    if (this.#recorder === NOT_YET) this.#recorder = new Recorder({
      server: this.getAttribute("server") ?? undefined,
      ticket: this.ticket ?? this.getAttribute("ticket") ?? undefined,
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
    const acts = { record: () => this.start(), stop: () => this.stop(), pause: this.pause, resume: this.resume, mark: () => this.mark(), test: () => this.#test(), lang: () => this.#switch() };
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
    if (!at.discard) {
      at.under.append(this.#confirmed("discard", () => this.#speaker.say("discardAsk", { time: this.#speaker.time(this.status.capturedSeconds) }), "keep", () => this.discard()));
      at.discard = at.under.querySelector("[data-testid=discard]");
    }
    at.device.addEventListener("change", () => this.#isLive() && this.#recorder.setDevice(at.device.value).catch((/** @type {Trouble} */ error) => this.#report(error)), { signal });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#check(), { signal });
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
    if (this.#recorder !== NOT_YET) this.#translate();
  }

  // ---- what happens ------------------------------------------------------------------

  /** @param {string} name @param {any} detail */
  #hear(name, detail) {
    if (name === "level") this.#level(detail, this.status.capturedSeconds);
    if (name === "error") this.#report(detail);
    if (name === "devices" || (name === "state" && detail.keeping !== this.#keeping)) {
      this.#keeping = this.status.keeping;
      this.#check();
    }
    if (name === "unfinished") this.#list(detail);
    if (name === "result") this.#news.push(detail);
    if (name === "finished" && detail.matches !== false) this.#trouble = null;
    if (name === "state" || name === "ack" || name === "gap" || name === "finished") this.#isWaveStale = true;
    this.#wake();
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  /** @param {Level} level @param {number} seconds Up to where. */
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
      verdict = say(db >= 0 ? "testLoud" : db > -45 ? "testGood" : "testSilent", { db: number(Math.ceil(db) || 0) });
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
    const checks = await check(this.#keeping);
    const found = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
    const devices = await this.#recorder?.devices().catch(() => []);
    if (this.#end.signal.aborted) return;
    at.checks.replaceChildren(...checks.map(({ code, ok }) =>
      h("li", { "data-ok": `${ok}` }, h("i", {}, ok ? "✓" : ok === null ? "?" : "✗"), say(`is:${code}`))));
    const failed = checks.find(({ code, ok }) => ok === false && code !== "no-storage")?.code;
    if (failed && this.status.state === "idle") this.#report({ code: failed });
    at.record.disabled = at.test.disabled = failed === "insecure-origin" || failed === "unsupported";
    /** @param {string} name */
    const wanted = (name) => this.getAttribute(name) ?? "";
    const most = Math.max(2, Number(wanted("channels")), ...found.map((/** @type {any} */ device) => device.kind === "audioinput" && device.getCapabilities?.().channelCount?.max || 0));
    choose(at.channels, Array.from({ length: most }, (_, n) => [`${n + 1}`, n < 2 ? say(`channels${n + 1}`) : `${n + 1}`]), wanted("channels"));
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
    const at = this.#at, status = this.status, { state } = status;
    const { capturedSeconds, keptSeconds, durableSeconds } = status.take ? status : NOTHING;
    const { say, time, number } = this.#speaker;
    const unsafe = capturedSeconds - durableSeconds;
    if (this.#app.dataset.state !== state) this.#arrange(state);
    put(at.state, say(state));
    put(at.elapsed, clock(capturedSeconds));
    put(at.hint, this.#hint(status, unsafe));
    put(at.captured, time(capturedSeconds));
    put(at.kept, time(keptSeconds));
    put(at.safe, time(durableSeconds));
    for (const [bar, seconds] of /** @type {const} */ ([[at.keptBar, keptSeconds], [at.safeBar, durableSeconds]])) {
      const scale = `scaleX(${capturedSeconds > 0 ? Math.min(1, seconds / capturedSeconds).toFixed(4) : 0})`;
      if (bar.style.transform !== scale) bar.style.transform = scale;
    }
    if (unsafe <= UNSAFE_S || state === "finished") put(at.notyet, "");
    else if (at.notyet.textContent === "" || now - this.#spokenAt > SPEAK_MS) {
      this.#spokenAt = now;
      put(at.notyet, say("notYet", { time: time(Math.ceil(unsafe)) }));
    }
    const key = [state, this.#speaker.lang, status.gaps.length, status.marks.length, status.part, status.take, status.clippedSamples, this.#trouble?.code, this.#trouble?.message, status.keeping, this.#testing?.signal.aborted].join();
    if (key !== this.#shown) {
      this.#shown = key;
      this.#lists(status);
      this.#tell(status);
    }
    if (now - this.#toldAt > RESULTS_MS) {
      this.#toldAt = now;
      for (const news of this.#news.splice(0)) this.#result(news, status.sampleRate);
    }
    if (!this.#isSeen) return;
    const isFalling = this.#meter.draw(now);
    const held = this.#meter.held;
    put(at.loudest, held > -60 ? `${number(Math.ceil(held) || 0)} dB` : "");
    if (Math.abs(Number(at.meter.ariaValueNow) - held) > 3) [at.meter.ariaValueNow, at.meter.ariaValueText] = [`${Math.round(held)}`, `${number(Math.round(held) || 0)} dBFS`];
    if (this.#isWaveStale) {
      this.#isWaveStale = false;
      const parts = [...this.#parts.values()];
      this.#waveform.draw(this.#testing ? 0 : durableSeconds, parts.flatMap(({ gaps }) => gaps), parts.flatMap(({ marks }) => marks),
        state === "finished" && !this.#testing ? capturedSeconds : null);
    }
    if (isFalling) this.#wake();
  }

  /** @param {Status} status @param {number} unsafe In seconds. */
  #hint({ state, isMuted, capturedSeconds, keptSeconds, durableSeconds }, unsafe) {
    const { say, time } = this.#speaker;
    const open = { time: time(Math.ceil(unsafe)) }; // rounded up: what is not safe; down: what is kept
    const notYet = unsafe > UNSAFE_S && say("notYetHint", open);
    if (isMuted && (state === "checking" || state === "recording")) return say("muted");
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

  /** Show and lock what a state asks for; the focus goes to what took the place of what had it. @param {string} state */
  #arrange(state) {
    const at = this.#at;
    const isLive = this.#isLive(), isBusy = isLive || state === "checking" || state === "finishing";
    const focused = this.#root.activeElement;
    this.#app.dataset.state = state;
    if (state === "idle") this.#clear();
    at.record.hidden = at.test.hidden = at.verdict.hidden = isBusy;
    at.stop.hidden = !isBusy;
    at.stop.ariaDisabled = isLive ? null : "true"; // not `disabled`: it keeps the focus
    at.pause.hidden = state === "paused";
    at.resume.hidden = !at.pause.hidden;
    at.mark.disabled = at.pause.disabled = !isLive;
    at.discard.parentNode.hidden = !isLive && state !== "checking";
    put(at.discard.lastChild, this.#speaker.say(state === "checking" ? "cancel" : "discard"));
    at.title.disabled = at.channels.disabled = at.quality.disabled = isBusy;
    if (focused instanceof HTMLElement && !focused.checkVisibility()) [at.resume, at.pause, at.stop, at.record].find((node) => node !== at.pause || focused === at.resume ? node.checkVisibility() : false)?.focus();
  }

  /** The lists that change now and then: gaps, marks, the receipt. @param {Status} status */
  #lists(status) {
    const at = this.#at, { say, lost, number } = this.#speaker;
    let base = 0;
    for (const part of status.take ? status.parts : []) {
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
  #tell({ keeping, mismatches, capturedSeconds, keptSeconds, durableSeconds }) {
    const at = this.#at, { say, has, time } = this.#speaker;
    const trouble = this.#trouble;
    const lines = [];
    if (trouble) {
      const { code, message, cure, isFatal } = trouble;
      const values = { message, host: location.hostname, port: location.port || 80 };
      lines.push(...(!has(code) && (cure || !isFatal) ? [message, cure] : say(has(code) ? code : "unknown", values).split("\n")).filter(Boolean));
      if (capturedSeconds > 0) lines.push(["kept", "safe"].map((name, n) => `${say(name)}: ${time(n ? durableSeconds : keptSeconds)}`).join(" · "));
    }
    at.problem.replaceChildren(...lines.map((line, n) => h(n ? "p" : "strong", {}, line)));
    const altered = mismatches.length > 0 && say("mismatch", { list: mismatches.map((name) => say(name)).join(", ") });
    put(at.warning, [keeping === "memory" && say("no-storage"), altered].filter(Boolean).join(" "));
  }

  /** The same rows while finishing and when finished: nothing moves when the receipt comes. @param {Status} status */
  #receipt({ receipt, capturedSeconds, capturedFrames, sampleRate, channels, encoding, settings, mismatches, verifiable }) {
    const { say, time, number } = this.#speaker, row = this.#row;
    const parts = receipt?.parts.length ? receipt.parts : [receipt];
    const isMatch = receipt && (parts.some((part) => part?.matches === false) ? false : parts.every((part) => part?.matches) || null);
    const verdict = receipt ? isMatch === null ? "matchesUnknown" : isMatch ? "matches" : "matchesNot" : "finishing";
    const applied = /** @type {Record<string, unknown>} */ (settings ?? {});
    const frames = receipt ? parts.reduce((sum, part) => sum + (part?.frames ?? 0), 0) : capturedFrames;
    return [
      h("p", { class: "said", "data-match": `${isMatch}` }, say(verdict)),
      h("dl", {},
        ...row("length", `${time(capturedSeconds)} · ${say("frames", { n: number(frames) })}`),
        ...row("gaps", this.#lost || "0"),
        ...row("format", `${number(sampleRate)} Hz · ${say(channels < 3 ? `channels${channels}` : `${channels}`)} · ${say(encoding)}`),
        ...row("sound", ...RAW.filter((name) => name in applied).map((name) =>
          h("span", mismatches.includes(name) ? { class: "bad" } : {}, `${say(name)} ${say(applied[name] ? "on" : "off")}`))),
        ...parts.flatMap((part) => row("digest", ...this.#digest(part?.digest ?? "")))),
      ...(verifiable ? [] : [h("p", { class: "note" }, say("unverifiable"))]),
      ...parts.flatMap((part, n) => [
        h("audio", { id: "player", controls: "", preload: "metadata", "aria-label": say("receipt"), ...(part && { src: part.url }) }),
        h("a", { id: "download", download: "", class: "quiet", ...(part && { href: part.url }) }, `${say("download")}${parts.length > 1 ? ` ${n + 1}` : ""}`),
      ]),
    ];
  }

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
    if (!card) this.#analyzers.set(analyzer, card = { node: h("article", {}, h("h3", {}, analyzer)), points: new Map() });
    const { node, points } = card;
    this.#at.results.append(node);
    const values = data !== null && typeof data === "object" && !Array.isArray(data) ? Object.entries(data) : /** @type {[string, unknown][]} */ ([["", data]]);
    for (const [name, value] of values) {
      let line = [...node.children].find((child) => /** @type {HTMLElement} */ (child).dataset.name === name);
      const numbers = [value].flat();
      if (numbers.every((one) => typeof one === "number" || one === null)) {
        if (!line) node.append(line = h("p", { "data-name": name }, h("span", {}, name), h("b"), document.createElementNS("http://www.w3.org/2000/svg", "svg")));
        const course = [...points.get(name) ?? [], ...numbers.slice(0, 1).filter((one) => one !== null)].slice(-POINTS_KEPT);
        points.set(name, course);
        put(line.children[1], numbers.map((one) => one === null ? "–" : this.#speaker.number(one)).join("  "));
        sparkline(line.children[2], course);
      } else if (value !== "") {
        if (!line) node.append(line = h("ul", { "data-name": name }));
        const text = typeof value === "string" ? value : JSON.stringify(value);
        if (line.lastElementChild?.classList.contains("draft")) line.lastElementChild.remove();
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
          h("div", { class: "buttons" }, copy, this.#confirmed("forget", () => this.#speaker.say("forgetAsk"), "keep", () => this.#recorder.forget(recording))));
        list.append(row);
        this.#translate(row);
      }
      const [, , progress, text, buttons] = row.children;
      progress.value = durableFrames / Math.max(1, capturedFrames);
      const left = { time: time(Math.ceil((capturedFrames - durableFrames) / sampleRate)) };
      text.replaceChildren(state !== "finished" ? say(state, left) : url ? h("a", { href: url }, say("done")) : say("done"), state === "refused" && code ? ` ${say(code)}` : "");
      buttons.firstChild.hidden = releasedFrames >= capturedFrames;
    }
    this.#wake();
  }

  /** @param {string} recording @param {string} name */
  async #save(recording, name) {
    const { blob } = await this.#recorder.saveCopy(recording);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${name}.wav`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  /**
   * A button that asks, in its own place, before it does what can't be undone.
   * @param {string} id
   * @param {() => string} ask
   * @param {string} keep
   * @param {() => Promise<unknown>} act
   */
  #confirmed(id, ask, keep, act) {
    const open = button(id), yes = button(`${id}Yes`, "danger", "delete"), no = button(`${id}No`, "quiet", keep);
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

  /** Put the texts of the language into what has any. @param {Element} [part] */
  #translate(part) {
    const lang = this.lang || this.parentElement?.closest("[lang]")?.getAttribute("lang") || navigator.language;
    if (!part) {
      this.#speaker = new Speaker(lang);
      this.#app.lang = this.#speaker.lang;
    }
    const { say } = this.#speaker;
    for (const node of (part ?? this.#app).querySelectorAll("[data-t], [data-label]")) {
      const { t, label } = /** @type {HTMLElement} */ (node).dataset;
      if (t) put(node, say(t));
      if (label) node.ariaLabel = say(label);
    }
    if (part) return;
    put(this.#at.lang, say("other"));
    this.#at.lang.lang = this.#speaker.lang === "en" ? "ja" : "en";
    this.#shown = this.#app.dataset.state = "";
    this.#at.unfinished.replaceChildren();
    this.#list(this.#recorder.unfinished);
    this.#check();
  }

  #switch() {
    this.lang = this.#at.lang.lang;
    this.dispatchEvent(new CustomEvent("language", { detail: this.lang, bubbles: true, composed: true }));
  }
}

/** Put choices into a select, keeping what is chosen. @param {HTMLSelectElement} select @param {string[][]} choices @param {string} first */
function choose(select, choices, first) {
  const value = select.value || first || choices[0][0];
  select.replaceChildren(...choices.map(([name, text]) => h("option", { value: name }, text)));
  select.value = value;
}

/** @param {Element} svg @param {number[]} course */
function sparkline(svg, course) {
  const low = Math.min(...course), high = Math.max(...course);
  const points = course.map((value, n) => `${(n / (POINTS_KEPT - 1)) * 120},${22 - (high > low ? (value - low) / (high - low) : 0.5) * 20}`);
  svg.setAttribute("viewBox", "0 0 120 24");
  svg.setAttribute("aria-hidden", "true");
  const line = svg.firstElementChild ?? svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "polyline"));
  line.setAttribute("points", points.join(" "));
}
