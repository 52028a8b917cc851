/**
 * The page's own copy of a recording, until the server has it: a log of records over three files.
 *
 * `head` holds what is small and kept to the end: what the recording is, its gaps, marks, the
 * digest's hashes, acknowledgements, the finish. The sound goes to `a` and `b` in turn: the one
 * that is not written to is cut to nothing once all in it is released. So an hour online takes
 * some 3 MiB, an hour offline what it takes, and no file is opened while recording.
 *
 * A record is believed if its checksum is right and it goes on where the one before it ended;
 * nothing behind the first that isn't.
 *
 * Calls take effect in the order in which they were made, awaited or not. What they return is a
 * promise only where the files need time.
 */

import { StorageError } from "./files-common.js";
import { KIND, Reader, WINDOW_BYTES, bytesOf, encode } from "./records.js";
import { Turns, run } from "./steps.js";
import { frameBytes } from "./wire.js";

/** @import { FileStore, RecordingFiles } from "./files-common.js" */
/** @import { Content, Entry } from "./records.js" */
/** @import { Steps } from "./steps.js" */
/** @import { FileName, Gap, Mark, OpenMessage, StoreKind } from "./types.js" */

/** @typedef {{ server: string, open: OpenMessage, owner?: string } & Record<string, unknown>} About Facts that JSON can hold. */
/** @typedef {{ frames: number, digest: string | null }} Finish */
/** @typedef {{ firstFrame: number, frames: number, lost: Gap | null }} Run Sound in a row, or a gap. */
/** @typedef {{ first: number, end: number }} Range */

const SOUND_BYTES = 64 * 1024; // of one record: no more than that is lost with a torn one
const TURN_BYTES = 2 ** 20;
const HASH_BYTES = 32;

/** One of the two files with sound, which is one range of frames, but for gaps. */
class Half {
  firstFrame = 0;
  endFrame = 0;
  /** @type {{ frame: number, offset: number }[]} One in each WINDOW_BYTES: a day offline has room. */
  places = [];

  /** @param {"a" | "b"} name */
  constructor(name) {
    this.name = name;
  }

  /** @param {Entry} entry */
  add({ first, frames, offset }) {
    const last = this.places.at(-1);
    if (last === undefined) this.firstFrame = first;
    if (last === undefined || offset >= last.offset + WINDOW_BYTES) this.places.push({ frame: first, offset });
    this.endFrame = first + frames;
  }

  clear() {
    this.firstFrame = this.endFrame = 0;
    this.places = [];
  }

  /**
   * @param {number} frame
   * @returns {number} Where a record begins that is not behind it, and not far before.
   */
  offsetOf(frame) {
    let low = 0;
    for (let high = this.places.length; high - low > 1; ) {
      const middle = (low + high) >>> 1;
      if (this.places[middle].frame <= frame) low = middle;
      else high = middle;
    }
    return this.places[low].offset;
  }
}

export class Journal {
  #files;
  #reader;
  #turns = new Turns();
  /** @type {About | null} */
  #about = null;
  #frameBytes = 0;
  /** @type {Gap[]} */
  #gaps = [];
  /** @type {Mark[]} */
  #marks = [];
  #hashes = new Uint8Array(64 * HASH_BYTES);
  #hashCount = 0;
  /** @type {Finish | null} */
  #finish = null;
  #isDiscarded = false;
  #acked = 0;
  #first = 0; // all before it was released, and is gone
  #end = 0;
  #released = 0;
  #current = new Half("a");
  #other = new Half("b");
  #place = { half: this.#current, frame: 0, offset: 0 }; // where the last read ended

  /**
   * @param {RecordingFiles} files
   * @param {StoreKind} kind
   */
  constructor(files, kind) {
    this.#files = files;
    this.#reader = new Reader(files);
    this.kind = kind;
  }

  /**
   * Begin the journal of a new recording; when this resolves it would survive a power cut.
   *
   * @param {FileStore} store
   * @param {About} about
   * @param {number} [firstFrame] All before it are kept elsewhere.
   * @returns {Promise<Journal>}
   * @throws {StorageError} Nothing is left of it then.
   */
  static async create(store, about, firstFrame = 0) {
    const files = await store.open(about.open.recording);
    const journal = new Journal(files, store.kind);
    if (files.size("head") + files.size("a") + files.size("b") > 0) {
      await files.close();
      throw new RangeError(`recording ${about.open.recording} exists already`);
    }
    try {
      await run(journal.#put(KIND.ABOUT, firstFrame, asJson(about)));
      await files.flush();
    } catch (cause) {
      // If that fails too, what is left has no head, and the next `recover` removes it.
      await files.remove().catch(() => {});
      throw cause;
    }
    return journal;
  }

  /**
   * Take up the journal of an earlier page. Twice is as once.
   *
   * @param {FileStore} store
   * @param {string} id
   * @returns {Promise<Journal | null>} Null: it was being created, or removed, when its page
   *   ended; now it is gone.
   * @throws {StorageError} `locked`: another tab has it; else it can't be read, and is left alone.
   */
  static async recover(store, id) {
    const files = await store.open(id);
    const journal = new Journal(files, store.kind);
    try {
      if (await run(journal.#recover())) return journal;
    } catch (cause) {
      await files.close();
      throw cause;
    }
    await files.remove();
    return null;
  }

  // ---- what is known ---------------------------------------------------------------

  get about() {
    return /** @type {About} */ (this.#about);
  }

  /** All frames before it are in the journal, gaps too, or are released. */
  get keptFrames() {
    return this.#end;
  }

  /** The same: the journal knows of no others. */
  get capturedFrames() {
    return this.#end;
  }

  /** All frames before it may be forgotten; after a recovery: are forgotten. */
  get releasedFrames() {
    return this.#released;
  }

  /** The largest `ack` that was noted. */
  get ackedFrames() {
    return this.#acked;
  }

  /** Of the whole recording, in order. */
  get gaps() {
    return this.#gaps;
  }

  /** Of the whole recording, as they were set. */
  get marks() {
    return this.#marks;
  }

  /** Of the pieces from the first on without a hole, 32 bytes each. */
  get hashes() {
    return this.#hashes.slice(0, this.#hashCount * HASH_BYTES);
  }

  /** What `finish` was told last. */
  get finished() {
    return this.#finish;
  }

  get isDiscarded() {
    return this.#isDiscarded;
  }

  /**
   * What can be read, and the gaps between.
   *
   * @returns {Run[]} In order, up to `keptFrames` without a hole.
   */
  runs() {
    /** @type {Run[]} */
    const runs = [];
    let frame = this.#first;
    /** @type {(end: number, lost: Gap | null) => void} */
    const add = (end, lost) => {
      if (end > frame) runs.push({ firstFrame: frame, frames: end - frame, lost });
      frame = Math.max(frame, end);
    };
    for (const gap of this.#gaps) {
      add(gap.first_frame, null);
      add(endOf(gap), gap);
    }
    add(this.#end, null);
    return runs;
  }

  // ---- writing ---------------------------------------------------------------------

  /**
   * Keep the next frames. Where this throws, none of them is kept, and they can be tried again.
   *
   * @param {number} firstFrame
   * @param {Uint8Array} bytes Whole frames; not to be altered before this is done.
   * @returns {void | Promise<void>}
   * @throws {StorageError} `local-storage-full` or `local-storage-failed`.
   * @throws {RangeError} They are not the next, or no whole frames.
   */
  audio(firstFrame, bytes) {
    return this.#turns.take(this.#audio(firstFrame, bytes));
  }

  /**
   * Note that the next frames are lost.
   *
   * @param {Gap} gap
   * @returns {void | Promise<void>}
   * @throws As `audio`.
   */
  gap({ first_frame, frames, cause, exact }) {
    return this.#turns.take(this.#gap({ first_frame, frames, cause, exact }));
  }

  /**
   * @param {Mark} mark
   * @returns {void | Promise<void>}
   */
  mark({ frame, label }) {
    return this.#turns.take(this.#put(KIND.MARK, frame, asJson({ frame, label })));
  }

  /**
   * Note the hash of a piece, before what it is made of is released.
   *
   * @param {number} index From 0; one that is known already changes nothing.
   * @param {Uint8Array} hash
   * @returns {void | Promise<void>}
   */
  piece(index, hash) {
    return this.#turns.take(this.#piece(index, hash));
  }

  /**
   * @param {number} frames All before are durable on the server.
   * @returns {void | Promise<void>}
   */
  ack(frames) {
    return this.#turns.take(this.#put(KIND.ACK, frames));
  }

  /**
   * @param {number} frames The end of the recording.
   * @param {string | null} digest
   * @returns {void | Promise<void>}
   */
  finish(frames, digest) {
    return this.#turns.take(this.#put(KIND.FINISH, frames, asJson({ frames, digest })));
  }

  /**
   * Note that the recording is not wanted, until the server knows as well.
   *
   * @returns {void | Promise<void>}
   */
  discard() {
    return this.#turns.take(this.#put(KIND.DISCARD, 0));
  }

  /** @param {number} frames All before are durable on the server, and their hashes noted. */
  release(frames) {
    this.#released = Math.max(this.#released, Math.min(frames, this.#end));
  }

  /**
   * Let all of it survive a power cut, too, and give back the room of what is released: to be
   * called each second.
   *
   * @returns {void | Promise<void>}
   */
  flush() {
    return this.#turns.take(this.#flush());
  }

  /**
   * Let go of it; it stays where it is.
   *
   * @returns {void | Promise<void>}
   */
  close() {
    return this.#turns.take(this.#close());
  }

  /**
   * Delete it, for good, and let go of it.
   *
   * @returns {void | Promise<void>}
   */
  remove() {
    return this.#turns.take(this.#remove());
  }

  /**
   * @param {number} firstFrame
   * @param {Uint8Array} bytes
   * @returns {Steps<void>}
   */
  *#audio(firstFrame, bytes) {
    this.#mustFollow(firstFrame, bytes.length / this.#frameBytes);
    const most = SOUND_BYTES - (SOUND_BYTES % this.#frameBytes);
    const records = [];
    for (let at = 0; at < bytes.length; at += most) {
      const payload = bytes.subarray(at, at + most);
      const first = firstFrame + at / this.#frameBytes;
      records.push({ kind: KIND.SOUND, first, frames: payload.length / this.#frameBytes, payload });
    }
    if (records.length > 0) yield* this.#write(this.#current.name, records);
  }

  /** @returns {Steps<void>} */
  *#flush() {
    const isTurn = this.#files.size(this.#current.name) >= TURN_BYTES && this.#other.endFrame <= this.#released;
    // Why what is in the other file may go is noted, and its hashes are, before it goes; and this
    // one is durable before there is sound behind it.
    if (isTurn && this.#acked < this.#other.endFrame) yield* this.#put(KIND.ACK, this.#other.endFrame);
    yield this.#files.flush();
    if (!isTurn) return;
    yield this.#files.truncate(this.#other.name, 0);
    this.#first = Math.max(this.#first, this.#other.endFrame);
    this.#other.clear();
    this.#forgetReads();
    [this.#current, this.#other] = [this.#other, this.#current];
  }

  /**
   * @param {Gap} gap
   * @returns {Steps<void>}
   */
  *#gap(gap) {
    this.#mustFollow(gap.first_frame, gap.frames);
    if (gap.frames > 0) yield* this.#put(KIND.GAP, gap.first_frame, asJson(gap));
  }

  /**
   * @param {number} index
   * @param {Uint8Array} hash
   * @returns {Steps<void>}
   */
  *#piece(index, hash) {
    if (hash.length !== HASH_BYTES) throw new RangeError(`a hash of ${hash.length} bytes`);
    if (index >= this.#hashCount) yield* this.#put(KIND.HASH, index, hash);
  }

  /** @returns {Steps<void>} */
  *#close() {
    yield this.#files.close();
  }

  /** @returns {Steps<void>} */
  *#remove() {
    yield this.#files.remove();
  }

  /**
   * @param {number} firstFrame
   * @param {number} frames
   */
  #mustFollow(firstFrame, frames) {
    const isNext = firstFrame === this.#end && Number.isSafeInteger(firstFrame + frames) && frames >= 0;
    if (!isNext) throw new RangeError(`${frames} frames at ${firstFrame} do not follow ${this.#end}`);
  }

  /**
   * @param {number} kind
   * @param {number} first
   * @param {Uint8Array} [payload]
   * @returns {Steps<void>}
   */
  #put(kind, first, payload = new Uint8Array(0)) {
    return this.#write("head", [{ kind, first, frames: 0, payload }]);
  }

  /**
   * @param {FileName} name
   * @param {Content[]} records All are kept, or none.
   * @returns {Steps<void>}
   */
  *#write(name, records) {
    let offset = this.#files.size(name);
    yield this.#files.append(name, encode(records));
    for (const record of records) {
      this.#learn(name, { ...record, offset });
      offset += bytesOf(record);
    }
  }

  // ---- reading ---------------------------------------------------------------------

  /**
   * @param {number} firstFrame
   * @param {number} frames Of one run, and not released.
   * @returns {Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>}
   * @throws {RangeError} They are not all here.
   * @throws {StorageError} `local-storage-failed`: the browser altered them, or can't read them.
   */
  read(firstFrame, frames) {
    return this.#turns.take(this.#read(firstFrame, firstFrame + frames));
  }

  /**
   * @param {number} firstFrame
   * @param {number} end
   * @returns {Steps<Uint8Array<ArrayBuffer>>}
   */
  *#read(firstFrame, end) {
    const found = new Uint8Array((end - firstFrame) * this.#frameBytes);
    let frame = firstFrame;
    while (frame < end) {
      const half = [this.#current, this.#other].find((one) => one.firstFrame <= frame && frame < one.endFrame);
      if (half === undefined) throw new RangeError(`frame ${frame} is not kept`);
      let offset = half.offsetOf(frame);
      const last = this.#place;
      if (last.half === half && last.frame <= frame && last.offset > offset) offset = last.offset;
      while (frame < Math.min(end, half.endFrame)) {
        const entry = yield* this.#reader.entry(half.name, offset);
        if (entry === null) throw new StorageError("local-storage-failed", `frame ${frame} is damaged in the journal`);
        if (entry.first > frame) throw new RangeError(`frame ${frame} is in a gap`);
        this.#place = { half, frame: entry.first, offset };
        const part = entry.payload.subarray((frame - entry.first) * this.#frameBytes, (end - entry.first) * this.#frameBytes);
        found.set(part, (frame - firstFrame) * this.#frameBytes);
        frame += part.length / this.#frameBytes;
        offset += bytesOf(entry);
      }
    }
    return found;
  }

  #forgetReads() {
    this.#reader.forget();
    this.#place = { half: this.#current, frame: 0, offset: 0 };
  }

  // ---- recovery --------------------------------------------------------------------

  /** @returns {Steps<boolean>} Whether there is a recording. */
  *#recover() {
    /** @type {Range[]} */
    const kept = [];
    for (const name of /** @type {FileName[]} */ (["head", "a", "b"])) {
      let offset = 0;
      for (;;) {
        const entry = yield* this.#reader.entry(name, offset);
        if (entry === null || !this.#isBelievable(name, entry)) break;
        this.#learn(name, entry);
        if (name !== "head") addTo(kept, { first: entry.first, end: entry.first + entry.frames });
        offset += bytesOf(entry);
      }
      // The head comes first: without it nothing is cut.
      if (this.#about === null) return this.#isNone();
      if (offset < this.#files.size(name)) yield this.#files.truncate(name, offset);
      this.#forgetReads();
    }
    if (this.#other.endFrame > this.#current.endFrame) {
      [this.#current, this.#other] = [this.#other, this.#current];
    }
    yield* this.#mend(kept);
    this.#released = this.#first;
    return true;
  }

  /**
   * There is no word of what the recording is. Its first record is durable before there is any
   * sound, and goes in one cut when it is removed: so with any of both left it is damage.
   *
   * @returns {false}
   */
  #isNone() {
    if (this.#files.size("head") > 0 && this.#files.size("a") + this.#files.size("b") > 0) {
      throw new StorageError("local-storage-failed", "the head of the recording is damaged in the journal");
    }
    return false;
  }

  /**
   * Nothing is missing inside after a killed browser. After a power cut there may be, of what
   * was not flushed: it becomes a gap, but for what the server has.
   *
   * @param {Range[]} kept The sound that is here.
   * @returns {Steps<void>}
   */
  *#mend(kept) {
    const known = [...kept, ...this.#gaps.map((gap) => ({ first: gap.first_frame, end: endOf(gap) }))];
    for (const end of [this.#acked, this.#finish?.frames ?? 0]) known.push({ first: end, end });
    known.sort((one, other) => one.first - other.first);
    this.#first = Math.max(this.#first, Math.min(this.#acked, ...kept.map(({ first }) => first)));
    let end = this.#first;
    for (const range of known) {
      if (range.first > end) {
        // What lies before a hole that the server can fill is on the server as well.
        if (this.#acked > end) this.#first = Math.min(range.first, this.#acked);
        const first_frame = Math.max(end, this.#first);
        const gap = { first_frame, frames: range.first - first_frame, cause: "overflow", exact: true };
        if (gap.frames > 0) yield* this.#put(KIND.GAP, first_frame, asJson(gap));
      }
      end = Math.max(end, range.end);
    }
    this.#end = end;
  }

  /**
   * @param {FileName} name
   * @param {Entry} entry Its checksum is right.
   */
  #isBelievable(name, { kind, first, frames, payload }) {
    if (name === "head") return kind === KIND.ABOUT ? this.#about === null : this.#about !== null;
    const half = name === this.#current.name ? this.#current : this.#other;
    return kind === KIND.SOUND && first >= half.endFrame && payload.length === frames * this.#frameBytes;
  }

  /**
   * The one place where the journal's state changes by what is written: now, or found again.
   *
   * @param {FileName} name
   * @param {Entry} entry
   */
  #learn(name, entry) {
    const { kind, first, payload } = entry;
    switch (kind) {
      case KIND.ABOUT:
        this.#about = fromJson(payload);
        this.#frameBytes = frameBytes(this.about.open.format);
        this.#first = this.#end = this.#released = first;
        break;
      case KIND.SOUND:
        (name === this.#current.name ? this.#current : this.#other).add(entry);
        this.#end = Math.max(this.#end, first + entry.frames);
        break;
      case KIND.GAP: {
        const gap = fromJson(payload);
        this.#gaps.push(gap);
        this.#gaps.sort((one, other) => one.first_frame - other.first_frame);
        this.#end = Math.max(this.#end, endOf(gap));
        break;
      }
      case KIND.MARK:
        this.#marks.push(fromJson(payload));
        break;
      case KIND.HASH: {
        if (first !== this.#hashCount) break; // behind a hole it is of no use
        const at = HASH_BYTES * this.#hashCount++;
        if (at === this.#hashes.length) {
          const more = new Uint8Array(2 * at);
          more.set(this.#hashes);
          this.#hashes = more;
        }
        this.#hashes.set(payload, at);
        break;
      }
      case KIND.ACK:
        this.#acked = Math.max(this.#acked, first);
        break;
      case KIND.FINISH:
        this.#finish = fromJson(payload);
        break;
      case KIND.DISCARD:
        this.#isDiscarded = true;
        break;
    }
  }
}

/**
 * @param {Range[]} ranges
 * @param {Range} next
 */
function addTo(ranges, next) {
  const last = ranges.at(-1);
  if (last?.end === next.first) last.end = next.end;
  else ranges.push(next);
}

/** @param {Gap} gap */
function endOf({ first_frame, frames }) {
  return first_frame + frames;
}

/** @param {object} value */
function asJson(value) {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** @param {Uint8Array} bytes */
function fromJson(bytes) {
  return JSON.parse(new TextDecoder().decode(bytes));
}
