/**
 * Buffers of a microphone to frames in a row, and the gaps between them.
 *
 * Pure: every judgement on what was lost before it came to us is in this file. The buffers'
 * clock says where something may be missing, the browser's counts say how much. The clock is
 * the system's, not the microphone's: it drifts, and jumps by tens of milliseconds where
 * nothing is lost. So it is suspected only after we were late ourselves, or when it has come to
 * be half a second ahead, and convicts alone only if it doesn't come back. While a case is open, what follows is held
 * here, at most HOLD_MAX_S.
 */

/** @typedef {{planes: Float32Array[], gap?: undefined}} Sound Frames of each channel. */
/** @typedef {{gap: {frames: number, cause: "capture" | "overflow" | "suspended" | "device", exact: boolean}, planes?: undefined}} Lost */

/** @typedef {{blocks: Float32Array[][], frames: number, ahead: number, most: number, wasLate: boolean, counts: Counts}} Held A case
 *   that is open; `frames` have come since the clock was `most` ahead. */

const JITTER_S = 0.5; // a clock that is ahead by less proves nothing by itself
const DRIFT = 0.02; // of two clocks; what grows faster is a loss
const HOLD_S = 0.3; // how long a clock is watched for its return
const HOLD_MAX_S = 12; // how much is held until the main thread brings the counts
const SUSPENDED_S = 1;
const DROPOUT_MAX_S = 0.25; // longer digital silence is what the device said
const SILENCE_HELD_S = 1.5; // or a microphone that was muted: browsers tell up to a second late
const EDGE_FRAMES = 8; // beside a run of zeros
const AUDIBLE = 0.001; // -60 dBFS: silence between quieter sound is no dropout
const COUNT_STEPS = 4; // in buffers, what a count may be ahead
const COUNTS = 5; // what is on its way differs: the least of some counts is the truth

export class Intake {
  #rate;
  #leastZeros;
  #isClockExact;
  #hasCounts;
  /** @type {number | null} where the next buffer should begin, by the source's clock, in frames */ #next = null;
  #ahead = 0; // of where it should be, but for what drift may be
  /** @type {Held | null} */ #held = null;
  /** @type {Float32Array[][]} */ #zeros = [];
  #zeroFrames = 0;
  #before = 0; // how loud it was just before; 0 once silence is what the device said
  #isMuted = false;
  #mutedFrames = 0;
  #counts = new Counts();

  /**
   * @param {object} source
   * @param {number} source.sampleRate In Hz.
   * @param {number} [source.leastZeros] The shortest run of zeros that the browser puts in; default: a buffer.
   * @param {boolean} [source.isClockExact] The clock counts frames: each jump is a loss.
   * @param {boolean} [source.hasCounts] `counted` will be called.
   */
  constructor({ sampleRate, leastZeros = 0, isClockExact = false, hasCounts = false }) {
    this.#rate = sampleRate;
    this.#leastZeros = leastZeros;
    this.#isClockExact = isClockExact;
    this.#hasCounts = hasCounts;
  }

  /** How soon a count is wanted, in ms. */
  get countInterval() {
    return this.#held !== null || !this.#counts.isSettled ? 20 : 1000;
  }

  /**
   * Take the next buffer.
   *
   * @param {Float32Array[]} planes
   * @param {number} clock When it began by the source's own clock, in frames.
   * @param {boolean} [wasLate] So much time went by before it was read that buffers may have been dropped.
   * @returns {(Sound | Lost)[]}
   */
  push(planes, clock, wasLate = false) {
    /** @type {(Sound | Lost)[]} */ const out = [];
    const frames = planes[0].length;
    const step = this.#next === null ? 0 : clock - this.#next;
    this.#next = clock + frames;
    if (this.#isClockExact) {
      if (step > 0.5) this.#lose(step, "capture", true, out);
      this.#sound(planes, out);
    } else if (this.#held !== null) this.#hold(this.#held, planes, step, out);
    else {
      this.#ahead = Math.max(0, Math.max(0, this.#ahead - DRIFT * frames) + step);
      if (this.#ahead < (wasLate ? 0.9 * frames : JITTER_S * this.#rate)) this.#sound(planes, out);
      else this.#held = { blocks: [planes], frames: 0, ahead: this.#ahead, most: this.#ahead, wasLate, counts: this.#counts.fresh() };
    }
    return out;
  }

  /** @param {Held} held @param {Float32Array[]} planes @param {number} step @param {(Sound | Lost)[]} out */
  #hold(held, planes, step, out) {
    const frames = planes[0].length;
    held.blocks.push(planes);
    held.ahead += step;
    held.frames += frames;
    if (held.ahead > held.most + 2 * DRIFT * held.frames + frames / 2) { // browsers bend their clock to where it should be
      held.most = held.ahead;
      held.frames = 0;
    }
    const isCounted = !this.#hasCounts || held.counts.isSettled;
    const isDue = held.frames >= HOLD_S * this.#rate && isCounted;
    const isBack = held.ahead < (held.wasLate ? frames : JITTER_S * this.#rate) / 2; // what is lost stays lost
    if (isDue || isBack || held.blocks.length * frames >= HOLD_MAX_S * this.#rate) this.#judge(out);
  }

  /** @param {(Sound | Lost)[]} out */
  #judge(out) {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    this.#ahead = 0;
    const unit = held.blocks[0][0].length;
    const { overflow, capture } = held.counts.lost();
    if (held.counts.isSettled) this.#counts = held.counts.settled();
    // Counts come in steps of some buffers: they confirm the clock, which is exact to a buffer.
    const byClock = Math.round(held.ahead / unit) * unit;
    const isConfirmed = held.wasLate && overflow + capture >= unit && Math.abs(overflow + capture - byClock) <= COUNT_STEPS * unit;
    if (isConfirmed) this.#lose(byClock, "overflow", true, out);
    // The counts know only of what the browser itself dropped, not of what never came to it.
    else if (held.ahead >= JITTER_S * this.#rate && held.ahead > capture + COUNT_STEPS * unit) {
      this.#lose(held.ahead, held.ahead >= SUSPENDED_S * this.#rate ? "suspended" : "capture", false, out);
    } else if (capture > 0) this.#lose(capture, "capture", false, out);
    for (const planes of held.blocks) this.#sound(planes, out);
  }

  /**
   * Take the browser's own counts of the track.
   *
   * @param {number} total Frames that the device made, lost ones too.
   * @param {number} delivered Frames that were handed on by the track.
   * @param {number} read Frames that had been read here, at that very moment.
   * @returns {(Sound | Lost)[]}
   */
  counted(total, delivered, read) {
    /** @type {(Sound | Lost)[]} */ const out = [];
    if (this.#held !== null) {
      this.#held.counts.add(total, delivered, read);
      return out;
    }
    this.#counts.add(total, delivered, read);
    const { capture } = this.#counts.lost();
    // Where is not known: somewhere since the last count.
    if (capture > 0) this.#lose(capture, "capture", false, out);
    if (this.#counts.isSettled || capture > 0) this.#counts = this.#counts.settled();
    return out;
  }

  /**
   * How many frames will have been read when all is read that was delivered; null: unknown.
   *
   * @param {number} delivered
   */
  expected(delivered) { return this.#counts.expected(delivered); }

  /**
   * The system has taken the microphone's sound away, or given it back.
   *
   * @param {boolean} isMuted
   * @returns {(Sound | Lost)[]}
   */
  muted(isMuted) {
    /** @type {(Sound | Lost)[]} */ const out = [];
    if (isMuted) {
      this.#mutedFrames += this.#zeroFrames;
      this.#zeroFrames = 0;
      this.#zeros = [];
    } else this.#unmute(out);
    this.#isMuted = isMuted;
    return out;
  }

  /**
   * The source stood still for a time, such as a suspended context.
   *
   * @param {number} seconds
   * @returns {(Sound | Lost)[]}
   */
  stoodStill(seconds) {
    /** @type {(Sound | Lost)[]} */ const out = [];
    this.#silenceIsSound(out);
    this.#lose(seconds * this.#rate, "suspended", false, out);
    return out;
  }

  /** No more will come: what is held is judged by what is known. */
  end() {
    /** @type {(Sound | Lost)[]} */ const out = [];
    this.#judge(out);
    this.#unmute(out);
    this.#silenceIsSound(out);
    return out;
  }

  /** @param {number} frames @param {Lost["gap"]["cause"]} cause @param {boolean} exact @param {(Sound | Lost)[]} out */
  #lose(frames, cause, exact, out) {
    this.#silenceIsSound(out);
    const whole = Math.round(frames);
    if (whole > 0) out.push({ gap: { frames: whole, cause, exact } });
  }

  // ---- zeros ---------------------------------------------------------------------

  /** @param {Float32Array[]} planes @param {(Sound | Lost)[]} out */
  #sound(planes, out) {
    const frames = planes[0].length;
    let start = 0; // of what is not handed on yet
    for (let at = 0; at < frames; ) {
      const [first, end] = this.#zeroRun(planes, at);
      if (first > at) {
        const level = peak(planes, at, Math.min(at + EDGE_FRAMES, first));
        if (this.#isMuted) this.#unmute(out);
        if (this.#zeroFrames > 0) this.#dropout(level, out);
        this.#before = peak(planes, Math.max(at, first - EDGE_FRAMES), first);
      }
      at = end;
      if (first === end || (!this.#isMuted && this.#before < AUDIBLE)) continue; // silence is what the device says
      if (first > start) out.push({ planes: cut(planes, start, first) });
      start = end;
      if (this.#isMuted) this.#mutedFrames += end - first;
      else {
        this.#zeros.push(cut(planes, first, end));
        this.#zeroFrames += end - first;
        if (this.#zeroFrames > SILENCE_HELD_S * this.#rate) this.#silenceIsSound(out);
      }
    }
    if (start < frames) out.push({ planes: start === 0 ? planes : cut(planes, start, frames) });
  }

  /**
   * Find zeros that the browser may have put in: a long enough run, or one that goes on in the
   * next buffer or began in the last.
   *
   * @param {Float32Array[]} planes @param {number} from
   * @returns {[number, number]} Where they begin and end; both at the end of the buffer: none.
   */
  #zeroRun(planes, from) {
    const frames = planes[0].length, least = this.#leastZeros || frames;
    if (this.#leastZeros === 0 && planes.some((plane) => plane[from] !== 0)) return [frames, frames]; // only a whole buffer would do
    let first = from;
    for (let frame = from; frame <= frames; frame++) {
      if (frame < frames && planes.every((plane) => plane[frame] === 0)) continue;
      const isOpen = this.#leastZeros > 0 && ((frame === frames && first < frame) || (first === 0 && this.#zeroFrames > 0));
      if (frame - first >= least || (isOpen && frame > first)) return [first, frame];
      first = frame + 1;
    }
    return [frames, frames];
  }

  /** @param {number} after @param {(Sound | Lost)[]} out */
  #dropout(after, out) {
    const frames = this.#zeroFrames;
    if (after < AUDIBLE || frames < this.#leastZeros || frames > DROPOUT_MAX_S * this.#rate) {
      this.#silenceIsSound(out);
      return;
    }
    this.#zeros = [];
    this.#zeroFrames = 0;
    out.push({ gap: { frames, cause: "capture", exact: false } });
  }

  /** @param {(Sound | Lost)[]} out */
  #silenceIsSound(out) {
    for (const planes of this.#zeros) out.push({ planes });
    if (this.#zeroFrames > 0) this.#before = 0;
    this.#zeros = [];
    this.#zeroFrames = 0;
  }

  /** @param {(Sound | Lost)[]} out */
  #unmute(out) {
    if (this.#mutedFrames > 0) out.push({ gap: { frames: this.#mutedFrames, cause: "suspended", exact: true } });
    this.#mutedFrames = 0;
  }
}

/** What the browser says it delivered, against what was read. */
class Counts {
  /** @type {number[]} */ #behind = []; // delivered and not read: lost, or still on its way
  /** @type {number | null} */ #dropped = null; // never delivered
  #behindBase;
  #droppedBase;

  /** @param {number | null} behindBase @param {number | null} droppedBase */
  constructor(behindBase = null, droppedBase = null) {
    this.#behindBase = behindBase;
    this.#droppedBase = droppedBase;
  }

  /** @param {number} total @param {number} delivered @param {number} read */
  add(total, delivered, read) {
    this.#behind.push(delivered - read);
    if (this.#behind.length > COUNTS) this.#behind.shift();
    this.#dropped = total - delivered;
    this.#droppedBase ??= this.#dropped;
  }

  get isSettled() { return this.#behind.length === COUNTS; }

  lost() {
    const isKnown = this.isSettled && this.#behindBase !== null;
    return {
      overflow: isKnown ? Math.max(0, Math.min(...this.#behind) - /** @type {number} */ (this.#behindBase)) : 0,
      capture: this.#dropped === null ? 0 : Math.max(0, this.#dropped - (this.#droppedBase ?? 0)),
    };
  }

  /** @param {number} delivered */
  expected(delivered) { return this.#behindBase === null ? null : delivered - this.#behindBase; }

  /** The same bases, nothing counted yet. */
  fresh() { return new Counts(this.#behindBase, this.#droppedBase); }

  /** What is counted now is the new base. */
  settled() {
    const counts = new Counts(Math.min(...this.#behind), this.#dropped);
    counts.#behind = this.#behind;
    return counts;
  }
}

/** @param {Float32Array[]} planes @param {number} start @param {number} end */
function peak(planes, start, end) {
  let most = 0;
  for (const plane of planes) {
    for (let frame = start; frame < end; frame++) {
      const size = Math.abs(plane[frame]);
      if (size > most) most = size;
      else if (size !== size) most = Infinity; // NaN is no silence
    }
  }
  return most;
}

/** @param {Float32Array[]} planes @param {number} start @param {number} end */
function cut(planes, start, end) {
  return planes.map((plane) => plane.subarray(start, end));
}
