/**
 * The waveform of one recording at any zoom, with gaps, marks and the place that is heard.
 *
 * Places are frames. The strip on top is always the whole. A drag moves the window, a click
 * seeks, wheel and pinch zoom around the pointer. Only the playhead moves while it plays.
 */

import { h } from "../recorder/dom.js";
import { Canvas, hatch } from "../recorder/waveform.js";
import { clock } from "../recorder/words.js";
import { isAbort } from "./api.js";
import { Tiles, loudest } from "./peaks.js";
import { lane, thumbnail } from "./wave.js";

/** @import { Api } from "./api.js" */
/** @import { Detail, Mark } from "./types.js" */
/** @import { Speaker } from "./words.js" */

const RULER = 22; // CSS pixels
const FLAGS = 30;
const LANES_MOST = 4; // more channels are drawn as one
const DRAG = 4;
const STEP = 2;
const CLOSEST = 8; // CSS pixels for a frame
const TICK = 88;
const TICKS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const FLAG_APART = 14;
const LABEL_ROOM = 72;
const OVERVIEW_COLUMNS = 600;
const WHOLE_MS = 1_000;

/** @typedef {{onSeek: (frame: number) => void, onTrouble: (error?: unknown) => void}} Acts `onTrouble` without any: it is over. */

export class View {
  #api;
  #speaker;
  #acts;
  #facts;
  #tiles;
  #first = 0;
  #frames = 0; // in the window; 0: not drawn yet
  #width = 0;
  #position = 0;
  #isFollowing = true;
  #isWanted = false;
  /** @type {{frames: number, columns: number[]}} */ #whole = { frames: 0, columns: [] };
  /** @type {Map<number, {x: number, y: number}>} */ #pointers = new Map();
  #isDragging = false;
  #isFetching = false;
  #hasTrouble = false;
  #flagsKey = "";
  #signal;
  #main;
  #overview;

  #canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { id: "wave" }));
  #strip = /** @type {HTMLCanvasElement} */ (h("canvas", { id: "overview", "aria-hidden": "true" }));
  #frame = h("i", { id: "window" });
  #head = h("i", { id: "playhead" });
  #stripHead = h("i", { class: "playhead" });
  #flags = h("div", { id: "flags" });
  #slider = h("div", { id: "position", role: "slider", tabindex: 0, "aria-valuemin": 0 }, this.#canvas, this.#head);

  /** @param {Api} api @param {Detail} facts @param {Speaker} speaker @param {Acts} acts @param {AbortSignal} signal */
  constructor(api, facts, speaker, acts, signal) {
    this.#api = api;
    this.#facts = facts;
    this.#speaker = speaker;
    this.#acts = acts;
    this.#signal = signal;
    this.#tiles = new Tiles(api, facts.recording, (error) => {
      if (error || this.#hasTrouble) acts.onTrouble(error);
      this.#hasTrouble = Boolean(error);
      this.#wake();
    });
    signal.addEventListener("abort", () => this.#tiles.close());
    this.#slider.ariaLabel = speaker.say("position");
    this.node = h("div", { id: "view" },
      h("div", { class: "strip" }, this.#strip, this.#frame, this.#stripHead),
      h("div", { class: "lanes" }, this.#slider, this.#flags));
    this.#main = new Canvas(this.#canvas, signal, () => this.#wake());
    this.#overview = new Canvas(this.#strip, signal, () => this.#wake());
    this.#listen();
    this.show(facts);
  }

  /** The recording is as these facts say; it may have grown. @param {Detail} facts */
  show(facts) {
    const wasAll = this.isAll;
    this.#facts = facts;
    if (wasAll) this.fit();
    this.#fetchWhole();
    this.#flagsKey = "";
    this.#wake();
  }

  /** Whether the window shows everything. */
  get isAll() {
    return this.#frames === 0 || this.#frames >= this.#total - 1;
  }

  get #total() {
    return Math.max(1, this.#facts.frames);
  }

  /** @param {number} frame What is heard. @param {boolean} isPlaying */
  at(frame, isPlaying) {
    this.#position = frame;
    if (isPlaying && this.#isFollowing && (frame < this.#first || frame > this.#first + this.#frames)) this.#move(frame - this.#frames * 0.05, this.#frames);
    this.#drawHead();
  }

  /** Go where the sound is, from now on. */
  follow() {
    this.#isFollowing = true;
  }

  /** Show a place, if it is not in the window. @param {number} frame */
  reveal(frame) {
    if (frame < this.#first || frame > this.#first + this.#frames) this.#move(frame - this.#frames / 2, this.#frames);
  }

  /** @param {number} steps More is closer. @param {number} [x] Around which place, CSS pixels; else what is heard, or the middle. */
  zoom(steps, x) {
    const heard = (this.#position - this.#first) / this.#frames;
    const part = x !== undefined ? x / this.#width : heard >= 0 && heard <= 1 ? heard : 0.5;
    const frames = this.#frames * STEP ** -steps;
    const least = Math.min(this.#total, this.#width / CLOSEST);
    const next = Math.min(this.#total, Math.max(least, frames));
    this.#move(this.#first + part * (this.#frames - next), next);
  }

  fit() {
    this.#move(0, this.#total);
  }

  // ---- the window ------------------------------------------------------------------------

  /** @param {number} first @param {number} frames */
  #move(first, frames) {
    this.#frames = Math.min(frames, this.#total);
    this.#first = Math.max(0, Math.min(first, this.#total - this.#frames));
    this.#wake();
  }

  get #each() {
    return this.#frames / this.#width;
  }

  /** @param {number} frame */
  #x(frame) {
    return (frame - this.#first) / this.#each;
  }

  #listen() {
    const signal = this.#signal, options = { signal };
    const at = (/** @type {MouseEvent} */ event) => event.clientX - this.#canvas.getBoundingClientRect().left;
    this.#canvas.addEventListener("wheel", (event) => {
      const isPan = !event.ctrlKey && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY));
      if (isPan) this.#pan(event.deltaX || event.deltaY);
      else if (event.deltaY > 0 && this.isAll) return; // nothing to zoom out of: the page scrolls
      else this.zoom(-event.deltaY * (event.ctrlKey ? 0.02 : 0.005) / (event.deltaMode === 0 ? 1 : 0.03), at(event));
      event.preventDefault();
    }, { signal, passive: false });
    this.#canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      this.#canvas.setPointerCapture(event.pointerId);
      if (this.#pointers.size === 1) this.#isDragging = false;
    }, options);
    this.#canvas.addEventListener("pointermove", (event) => this.#drag(event), options);
    this.#canvas.addEventListener("pointerup", (event) => {
      if (this.#pointers.delete(event.pointerId) && this.#pointers.size === 0 && !this.#isDragging) this.#acts.onSeek(this.#first + at(event) * this.#each);
    }, options);
    this.#canvas.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId), options);
    const goTo = (/** @type {PointerEvent} */ event) => {
      const { left, width } = this.#strip.getBoundingClientRect();
      const frame = Math.min(1, Math.max(0, (event.clientX - left) / width)) * this.#total;
      this.#isFollowing = false;
      this.#move(frame - this.#frames / 2, this.#frames);
      return frame;
    };
    this.#strip.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#strip.setPointerCapture(event.pointerId);
      const frame = goTo(event);
      if (this.isAll) this.#acts.onSeek(frame);
    }, options);
    this.#strip.addEventListener("pointermove", (event) => this.#strip.hasPointerCapture(event.pointerId) && goTo(event), options);
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.#pointers.size === 1) {
      if (!this.#isDragging && Math.abs(now.x - before.x) < DRAG) return;
      this.#pan(before.x - now.x);
    } else {
      const [other] = [...this.#pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (/** @type {{x: number, y: number}} */ place) => Math.max(16, Math.hypot(place.x - other.x, place.y - other.y));
      const middle = (now.x + other.x) / 2 - this.#canvas.getBoundingClientRect().left;
      this.#pan((before.x - now.x) / 2);
      this.zoom(Math.log2(apart(now) / apart(before)), middle);
    }
    this.#isDragging = true;
    this.#pointers.set(event.pointerId, now);
  }

  /** @param {number} pixels */
  #pan(pixels) {
    this.#isFollowing = false;
    this.#move(this.#first + pixels * this.#each, this.#frames);
  }

  // ---- the picture -----------------------------------------------------------------------

  #wake() {
    if (this.#isWanted || this.#signal.aborted) return;
    this.#isWanted = true;
    requestAnimationFrame(() => {
      this.#isWanted = false;
      if (!this.#signal.aborted) this.#draw();
    });
  }

  #draw() {
    const { context, width, height, colours } = this.#main.begin();
    this.#width = width;
    if (!width) return;
    const { format: { channels, sample_rate: rate }, gaps, marks } = this.#facts;
    const each = this.#each, end = this.#first + this.#frames;
    const bottom = height - FLAGS, count = channels > LANES_MOST ? 1 : channels, tall = (bottom - RULER) / count;
    const tiles = this.#facts.frames > 0 ? this.#tiles.cover(Math.max(0, Math.floor(Math.log2(each))), this.#first, end, this.#total) : [];
    for (let channel = 0; channel < count; channel++) {
      const place = { top: RULER + channel * tall, height: tall, width, first: this.#first, each };
      context.fillStyle = colours.pale;
      context.fillRect(0, place.top + tall / 2, width, 0.5);
      if (channel > 0) context.fillRect(0, place.top, width, 0.5);
      for (const tile of tiles) lane(context, place, colours.ink, tile, ...curve(tile, channel, count));
    }
    for (const gap of gaps) {
      const left = this.#x(gap.first_frame), right = this.#x(gap.first_frame + gap.frames);
      if (right < -4 || left > width) continue;
      const from = Math.max(-8, left), wide = Math.max(4, Math.min(width + 8, right) - from); // the shortest is seen
      context.save();
      context.translate(0, RULER);
      hatch(context, from, wide, bottom - RULER, colours.lost);
      context.restore();
    }
    context.fillStyle = colours.safe;
    for (const { frame } of marks) if (frame >= this.#first && frame <= end) context.fillRect(Math.round(this.#x(frame)) - 1, RULER, 2, height - RULER);
    this.#ruler(context, width, rate, colours.ink, colours.pale);
    this.#drawOverview();
    this.#drawFlags();
    this.#drawHead();
  }

  /** @param {CanvasRenderingContext2D} context @param {number} width @param {number} rate @param {string} ink @param {string} pale */
  #ruler(context, width, rate, ink, pale) {
    const second = rate / this.#each; // in CSS pixels
    const step = TICKS_S.find((seconds) => seconds * second >= TICK) ?? TICKS_S[TICKS_S.length - 1];
    context.font = `12px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.textBaseline = "middle";
    for (let n = Math.ceil(this.#first / rate / step); ; n++) {
      const x = this.#x(n * step * rate);
      if (x > width) break;
      context.fillStyle = pale;
      context.fillRect(Math.round(x), 0, 1, RULER);
      const text = step < 0.1 ? `${clock(n * step).slice(0, -1)}${(n * step % 1).toFixed(3).slice(2)}` : step < 1 ? clock(n * step) : clock(n * step).slice(0, -2);
      context.fillStyle = ink;
      if (x + 5 + context.measureText(text).width < width) context.fillText(text, x + 5, RULER / 2);
    }
  }

  #drawOverview() {
    const { context, width, height, colours } = this.#overview.begin();
    if (!width) return;
    thumbnail(context, width, height, colours.ink, this.#whole.columns.length > 0 ? this.#whole.columns : [0]);
    for (const { first_frame, frames } of this.#facts.gaps) hatch(context, (first_frame / this.#total) * width, Math.max(4, (frames / this.#total) * width), height, colours.lost);
    this.#frame.style.left = `${(this.#first / this.#total) * 100}%`;
    this.#frame.style.width = `${(this.#frames / this.#total) * 100}%`;
    this.#frame.hidden = this.isAll;
  }

  #drawHead() {
    const x = this.#width ? this.#x(this.#position) : -1;
    this.#head.hidden = x < 0 || x > this.#width;
    this.#head.style.translate = `${x}px 0`;
    this.#stripHead.style.translate = `${(this.#position / this.#total) * this.#strip.clientWidth}px 0`;
    const { sample_rate: rate } = this.#facts.format, seconds = Math.floor(this.#position / rate);
    if (this.#slider.ariaValueNow === `${seconds}`) return;
    this.#slider.ariaValueNow = `${seconds}`;
    this.#slider.ariaValueMax = `${Math.floor(this.#total / rate)}`;
    this.#slider.ariaValueText = this.#speaker.say("positionOf", { at: this.#speaker.time(seconds), end: this.#speaker.time(this.#total / rate) });
  }

  /** Marks as buttons, where there is room for them. */
  #drawFlags() {
    const key = `${this.#first} ${this.#frames} ${this.#width}`;
    if (key === this.#flagsKey) return;
    this.#flagsKey = key;
    const marks = this.#facts.marks.map((mark) => ({ mark, x: this.#x(mark.frame) })).filter(({ x }) => x >= 0 && x <= this.#width);
    let last = -Infinity;
    const shown = marks.filter(({ x }) => {
      const isFree = x - last >= FLAG_APART;
      if (isFree) last = x;
      return isFree;
    });
    this.#flags.replaceChildren(...shown.map(({ mark, x }, n) => this.#flag(mark, x, (shown[n + 1]?.x ?? this.#width) - x)));
  }

  /** @param {Mark} mark @param {number} x @param {number} room */
  #flag(mark, x, room) {
    const { say, time } = this.#speaker;
    const name = say("jumpTo", { label: mark.label, at: time(mark.frame / this.#facts.format.sample_rate) });
    const flag = h("button", { type: "button", class: "flag", tabindex: -1, "aria-label": name, title: mark.label }, room >= LABEL_ROOM ? mark.label : "");
    flag.style.left = `${Math.min(x, this.#width - 12)}px`;
    flag.style.maxWidth = `${Math.max(12, room - 2)}px`;
    flag.onclick = () => this.#acts.onSeek(mark.frame);
    return flag;
  }

  async #fetchWhole() {
    const frames = this.#facts.frames;
    if (this.#isFetching || frames <= this.#whole.frames * 1.02) return;
    this.#isFetching = true;
    try {
      const peaks = await this.#api.peaks(this.#facts.recording, { columns: Math.min(OVERVIEW_COLUMNS, frames) }, this.#signal);
      this.#whole = { frames: peaks.known_frames, columns: loudest(peaks) };
      this.#wake();
    } catch (error) {
      if (!isAbort(error)) this.#acts.onTrouble(error);
    }
    setTimeout(() => {
      this.#isFetching = false;
      if (!this.#signal.aborted) this.#fetchWhole(); // if it has grown, or was not computed yet
    }, WHOLE_MS);
  }
}

/** The lowest and highest of a channel, or of all where they share a lane. @param {import("./types.js").Peaks} tile @param {number} channel @param {number} count @returns {[number[], number[]]} */
function curve({ min, max }, channel, count) {
  if (count === max.length) return [min[channel], max[channel]];
  return [min[0].map((_, n) => Math.min(...min.map((row) => row[n]))), max[0].map((_, n) => Math.max(...max.map((row) => row[n])))];
}
