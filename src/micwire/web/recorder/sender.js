/**
 * The page's side of a recording, over any number of connections, as a pure state machine.
 *
 * It knows positions, not sound: the journal keeps each frame until it is acknowledged here.
 * Nothing waits, reads a clock or makes a number by chance: the carrier connects, reconnects
 * and gives up. Three verbs for the link, `connected`, `receive`, `disconnected`, and
 * `outgoing` for what is to be sent; five for the sound: `append`, `gap`, `mark`, `finish`,
 * `discard`. The same machine as `micwire.core.sender`, tested from the same vectors.
 */

import {
  AUDIO_HEADER_BYTES,
  BadMessageError,
  CLOSE_CODES,
  GAP_CAUSES,
  decodeServer,
  encodeClient,
  frameBytes,
  isLabel,
} from "./wire.js";

/**
 * @import { AudioRange, Gap, Mark, OpenMessage, OpenedMessage, FinishedMessage, SenderEvent,
 *   SenderMemory, SenderState, ServerMessage } from "./types.js"
 */

/** The most audio in one message, whatever the server would take: proxies like small ones. */
export const MESSAGE_BYTES = 64 * 1024;
const MAX_GAP_S = 24 * 60 * 60;
const MAX_MARKS = 10_000;
const NORMAL_CLOSURE = 1000;

/**
 * What is not listed is a mistake of the server: the link is given up, the copy kept.
 * Sending `finish` or `discard` leads from streaming to finishing or discarding. The code of
 * an `error` decides, see `#refused`; where it isn't known, the close code that follows.
 * @type {Readonly<Partial<Record<SenderState, Partial<Record<ServerMessage["type"], SenderState>>>>>}
 */
const TRANSITIONS = {
  opening: { opened: "streaming", notice: "opening", error: "opening" },
  // An earlier connection may have brought the `finish`, and the answer got lost.
  streaming: { ...staying("streaming"), finished: "finished" },
  finishing: { ...staying("finishing"), finished: "finished" },
  discarding: staying("discarding"),
};

/** @param {SenderState} state */
function staying(state) {
  return { ack: state, result: state, notice: state, error: state };
}

/** Codes after which the client reconnects, with all that is not acknowledged. */
const RETRIED = ["gap-undeclared", "quota", "storage-failed", "storage-full"];

/** One recording, as its page has it. */
export class Sender {
  /** @type {SenderState} */
  state = "offline";
  /** The end of the recording so far: all frames appended, gaps included. */
  capturedFrames;
  /** All frames before this one are durable on the server. */
  durableFrames;
  /** The server has answered `opened` at least once. */
  wasOpened = false;
  #open;
  #frameBytes;
  #isRecovered;
  /** Where the server stands on this connection, if all that was sent arrives. */
  #sentEnd;
  /** @type {Gap[]} Those that end behind `durableFrames`, in order. */
  #gaps;
  /** @type {Mark[]} */
  #marks;
  #sentMarks = 0;
  #lastSeq;
  #isFinishing = false;
  #isDiscarding = false;
  /** @type {string | null} */
  #digest = null;
  /** The server has more than the journal: the digest is not that of all frames. */
  #hasUnknownEnd = false;
  #ghosts = 0;
  #maxUnacked = 1;
  #messageFrames = 1;
  /** @type {string[]} */
  #outgoing = [];

  /**
   * @param {OpenMessage} open What to open; `acked` and `results_since` are filled in here.
   * @param {SenderMemory} [memory] What a journal remembers of it. `recovered`: an earlier
   *   page began the recording, and the end of its journal may be lost; if the server has
   *   more, that is where the recording ends, and nobody knows its digest.
   */
  constructor(open, memory = {}) {
    this.#open = open;
    this.#frameBytes = frameBytes(open.format);
    this.capturedFrames = memory.capturedFrames ?? 0;
    this.durableFrames = this.#sentEnd = memory.durableFrames ?? 0;
    this.#gaps = (memory.gaps ?? []).filter((gap) => endOf(gap) > this.durableFrames);
    this.#marks = [...(memory.marks ?? [])];
    this.#lastSeq = memory.lastSeq ?? null;
    this.#isRecovered = memory.recovered ?? false;
  }

  // ---- the sound -----------------------------------------------------------------

  /**
   * The journal has the next frames.
   * @param {number} frames
   * @throws {Error} The recording takes no more.
   */
  append(frames) {
    this.#checkAppendable();
    must(Number.isSafeInteger(frames) && frames >= 0, `${frames} is no number of frames`);
    this.capturedFrames += frames;
  }

  /**
   * Declare that the next frames are lost for good.
   * @param {number} frames
   * @param {Gap["cause"]} cause
   * @param {boolean} exact
   * @throws {RangeError} No such cause, or longer than 24 h.
   * @throws {Error} The recording takes no more.
   */
  gap(frames, cause, exact) {
    this.#checkAppendable();
    must(GAP_CAUSES.includes(cause), `${cause} is none of ${GAP_CAUSES.join(", ")}`);
    const most = MAX_GAP_S * this.#open.format.sample_rate;
    must(Number.isInteger(frames) && frames >= 0 && frames <= most, "a gap has 24 hours at most");
    if (frames === 0) return;
    this.#gaps.push({ first_frame: this.capturedFrames, frames, cause, exact });
    this.capturedFrames += frames;
  }

  /**
   * Set a cue point; the same frame and label twice is one.
   * @param {number} frame
   * @param {string} label
   * @throws {RangeError} Behind the end, a label too long, or 10,000 are there already.
   * @throws {Error} The recording takes no more.
   */
  mark(frame, label) {
    this.#checkAppendable();
    must(Number.isInteger(frame) && frame >= 0 && frame <= this.capturedFrames, "no such frame");
    must(isLabel(label), "a label has at most 1,000 characters");
    if (this.#marks.some((mark) => mark.frame === frame && mark.label === label)) return;
    must(this.#marks.length < MAX_MARKS, "a recording has at most 10,000 marks");
    this.#marks.push({ frame, label });
  }

  /**
   * No more frames will come. Twice is once.
   * @param {string | null} digest Of all frames; null where nobody knows it.
   * @throws {Error} It is being discarded.
   */
  finish(digest) {
    if (this.#isFinishing) return;
    this.#checkAppendable();
    this.#isFinishing = true;
    this.#digest = digest;
  }

  /**
   * Delete the recording on the server, as soon as it can be told.
   * @throws {Error} It is finished, or is being finished.
   */
  discard() {
    if (this.#isFinishing || this.state === "finished") throw new Error("it is finished");
    this.#isDiscarding = true;
    if (this.state === "offline" && !this.wasOpened && !this.#ghosts && !this.#isRecovered) {
      this.state = "discarded"; // the server never heard of it
    }
  }

  get #finalDigest() {
    return this.#hasUnknownEnd ? null : this.#digest;
  }

  #checkAppendable() {
    if (this.#isFinishing || this.#isDiscarding || this.isOver) {
      throw new Error("the recording is over: it takes nothing more");
    }
  }

  /** Nothing more is to do: finished, discarded, or refused for good. */
  get isOver() {
    return ["finished", "discarded", "refused"].includes(this.state);
  }

  // ---- the link ------------------------------------------------------------------

  /**
   * A connection is there and its handshake done: `open` goes out first.
   * @throws {Error} There is one already, or the recording is over.
   */
  connected() {
    if (this.state !== "offline") throw new Error(`connected, and the sender is ${this.state}`);
    this.state = "opening";
    const acked = this.durableFrames || undefined;
    this.#outgoing = [encodeClient({ ...this.#open, acked, results_since: this.#lastSeq })];
  }

  /**
   * The connection is gone; what was sent may be lost.
   * @param {number | null} [closeCode] Decides where the `error` before it did not come.
   * @returns {SenderEvent[]}
   */
  disconnected(closeCode = null) {
    if (this.state === "offline" || this.isOver) return [];
    if (this.state === "discarding" && closeCode === NORMAL_CLOSURE) return this.#discarded();
    for (const [code, close] of Object.entries(CLOSE_CODES)) {
      if (close === closeCode) return this.#refused(code, `the server closed with ${close}`);
    }
    // Its `open` may still be on the way, and take over the next connection.
    if (this.state === "opening") this.#ghosts++;
    this.#dropLink();
    return [];
  }

  /**
   * Take one message from the server; return what has happened, in order.
   *
   * A server that breaks the rules is news, not an exception.
   * @param {string} text
   * @returns {SenderEvent[]}
   */
  receive(text) {
    if (this.state === "offline" || this.isOver) return [];
    let message;
    try {
      message = decodeServer(text);
    } catch (error) {
      if (!(error instanceof BadMessageError)) throw error;
      return this.#giveUp("bad-message", `the server broke a rule: ${error.message}`, true);
    }
    if (message === null) return []; // of a later version
    const next = TRANSITIONS[this.state]?.[message.type];
    if (next === undefined) {
      return this.#giveUp("bad-message", `the server sent ${message.type} while ${this.state}`, true);
    }
    this.state = next;
    switch (message.type) {
      case "opened":
        return this.#receiveOpened(message);
      case "ack":
        return this.#receiveAck(message.frames);
      case "result":
        this.#lastSeq = Math.max(this.#lastSeq ?? 0, message.seq);
        return [{ type: "result", result: message }];
      case "notice":
        return [{ type: "notice", code: message.code, message: message.message }];
      case "finished":
        return this.#receiveFinished(message);
      case "error":
        if (!Object.hasOwn(CLOSE_CODES, message.code)) return [];
        return this.#refused(message.code, message.message);
    }
  }

  /**
   * @param {OpenedMessage} message
   * @returns {SenderEvent[]}
   */
  #receiveOpened(message) {
    const { frames } = message;
    if (message.recording !== this.#open.recording) {
      return this.#giveUp("bad-message", "the server opened another recording", true);
    }
    if (this.#isRecovered && !this.wasOpened && frames > this.capturedFrames) {
      this.capturedFrames = frames;
      this.#hasUnknownEnd = true;
    }
    if (!this.#isDiscarding && (frames < this.durableFrames || frames > this.capturedFrames)) {
      const words = `the server has ${frames} frames; ${this.durableFrames} were acknowledged`;
      return this.#giveUp("diverged", `${words} and ${this.capturedFrames} captured`, false);
    }
    this.wasOpened = true;
    this.#maxUnacked = Math.max(1, message.max_unacked_frames);
    const bytes = Math.min(message.max_message_bytes - AUDIO_HEADER_BYTES, MESSAGE_BYTES);
    this.#messageFrames = Math.max(1, Math.floor(bytes / this.#frameBytes));
    this.#forget(frames);
    this.#sentEnd = this.durableFrames;
    this.#sentMarks = 0;
    return [{ type: "opened", frames }];
  }

  /**
   * @param {number} frames
   * @returns {SenderEvent[]}
   */
  #receiveAck(frames) {
    if (this.#isDiscarding) return [];
    if (frames > this.#sentEnd) {
      return this.#giveUp("bad-message", `ack of ${frames}, never sent`, true);
    }
    this.#forget(frames);
    return [{ type: "acked", frames: this.durableFrames }];
  }

  /**
   * @param {FinishedMessage} message
   * @returns {SenderEvent[]}
   */
  #receiveFinished({ recording, frames, digest, matches, url }) {
    if (!this.#isFinishing || frames !== this.capturedFrames) {
      const words = `the server finished the recording with ${frames} frames;`;
      return this.#giveUp("diverged", `${words} ${this.capturedFrames} were captured`, false);
    }
    this.#forget(frames);
    const ours = this.#finalDigest;
    if (ours !== null) matches = digest === ours;
    return [{ type: "finished", receipt: { recording, frames, digest, matches, url } }];
  }

  /**
   * @param {string} code
   * @param {string} message
   * @returns {SenderEvent[]}
   */
  #refused(code, message) {
    if (code === "deleted" && this.#isDiscarding) return this.#discarded();
    let retry = RETRIED.includes(code);
    if (code === "taken-over" && this.#ghosts > 0) {
      // By an `open` of our own that came late: each can do that once.
      this.#ghosts--;
      retry = true;
    }
    // Who has been let in before was only slow, or must be let in again later.
    if (code === "unauthenticated") retry = this.wasOpened;
    return this.#giveUp(code, message, retry);
  }

  /** @returns {SenderEvent[]} */
  #discarded() {
    this.state = "discarded";
    return [{ type: "discarded" }];
  }

  /**
   * @param {string} code
   * @param {string} message
   * @param {boolean} retry
   * @returns {SenderEvent[]}
   */
  #giveUp(code, message, retry) {
    this.#dropLink();
    if (!retry) this.state = "refused";
    return [{ type: "refused", code, message, retry }];
  }

  #dropLink() {
    this.state = "offline";
    this.#outgoing = [];
  }

  /** @param {number} frames All before are durable. */
  #forget(frames) {
    this.durableFrames = Math.max(this.durableFrames, frames);
    while (this.#gaps.length > 0 && endOf(this.#gaps[0]) <= this.durableFrames) this.#gaps.shift();
  }

  // ---- to the server ---------------------------------------------------------------

  /**
   * What to send now, in order; it is taken as sent. Audio is named, for the journal to read.
   *
   * Never more than the server takes before its next acknowledgement: after each `receive`
   * there may be more.
   * @returns {Array<string | AudioRange>}
   */
  outgoing() {
    /** @type {Array<string | AudioRange>} */
    const messages = this.#outgoing;
    this.#outgoing = [];
    if (this.state !== "streaming") return messages;
    if (this.#isDiscarding) {
      this.state = "discarding";
      return [...messages, encodeClient({ type: "discard" })];
    }
    // A mark may go ahead of its frame: the server keeps it aside. But not for ever, so that
    // one whose frame was lost with the end of a journal would spoil the `finish`.
    for (const mark of this.#marks.slice(this.#sentMarks)) {
      if (mark.frame <= this.capturedFrames) messages.push(encodeClient({ type: "mark", ...mark }));
    }
    this.#sentMarks = this.#marks.length;
    while (this.#sentEnd < this.capturedFrames) {
      const message = this.#next(this.durableFrames + this.#maxUnacked - this.#sentEnd);
      if (message === null) return messages;
      messages.push(message);
    }
    if (this.#isFinishing) {
      this.state = "finishing";
      const frames = this.capturedFrames;
      messages.push(encodeClient({ type: "finish", frames, digest: this.#finalDigest }));
    }
    return messages;
  }

  /**
   * @param {number} room How many frames more the server takes.
   * @returns {string | AudioRange | null}
   */
  #next(room) {
    const firstFrame = this.#sentEnd;
    const gap = this.#gaps.find((one) => endOf(one) > firstFrame);
    if (gap !== undefined && gap.first_frame <= firstFrame) {
      const frames = endOf(gap) - firstFrame;
      // A gap is never divided: one larger than the window goes when nothing else does.
      if (frames > room && room < this.#maxUnacked) return null;
      this.#sentEnd += frames;
      const { cause, exact } = gap;
      return encodeClient({ type: "gap", first_frame: firstFrame, frames, cause, exact });
    }
    const audioEnd = gap?.first_frame ?? this.capturedFrames;
    const frames = Math.min(room, this.#messageFrames, audioEnd - firstFrame);
    if (frames <= 0) return null;
    this.#sentEnd += frames;
    return { firstFrame, frames };
  }
}

/** @param {Gap} gap */
function endOf(gap) {
  return gap.first_frame + gap.frames;
}

/**
 * @param {boolean} isSo
 * @param {string} rule
 */
function must(isSo, rule) {
  if (!isSo) throw new RangeError(rule);
}
