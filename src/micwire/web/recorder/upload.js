/**
 * One recording's way to the server: encoded sound, journal, sender, link.
 *
 * A frame is written to the journal before it is sent, and forgotten once it is durable on
 * the server and in the digest. The same way whether somebody is speaking or the page found
 * the recording on a later visit.
 */

import { PieceDigest } from "./digest.js";
import { savedCopy } from "./copy.js";
import { Journal } from "./journal.js";
import { Link } from "./link.js";
import { Sender } from "./sender.js";
import { encodeAudio, frameBytes } from "./wire.js";

/**
 * @import { FileStore, Gap, Mark, OpenMessage, SenderEvent, ServerReceipt, StoreKind } from "./types.js"
 */

/**
 * @typedef {object} UploadHandler What an upload tells its owner.
 * @property {(upload: Upload) => Promise<string | null>} ticket A ticket for the next connection.
 * @property {(upload: Upload, event: SenderEvent) => void} happened
 * @property {(upload: Upload, gap: Gap) => void} gap
 * @property {(upload: Upload, error: Error & { code?: string }) => void} keepingFailed
 */

const BATCH_S = 0.03; // of sound, for one record of the journal and one message
const BATCH_MS = 50; // without sound, after which less than that is kept as well
const CUT_OFF = "cut off: the page ended here";
const MAX_GAP_S = 24 * 60 * 60;
const MAX_MARKS = 10_000;
const MAX_MARK_CHARACTERS = 1_000_000;
const FLUSH_MS = 2_000; // of what a power cut would take; a killed browser takes nothing
const MEMORY_BYTES = 256 * 1024 * 1024; // the most that is kept where the disk refused

export class Upload {
  /** The end of the recording, frames that are still being written included. */
  capturedFrames;
  isOnline = false;
  /** No more sound will come. */
  isEnded = false;
  /** @type {ServerReceipt | null} */ receipt = null;
  /** @type {{code: string, message: string} | null} why the server takes no more of it */ refusal = null;
  clippedSamples = 0;
  #handler;
  #open;
  #frameBytes;
  #sender;
  #digest;
  #link;
  /** @type {Journal} where new sound goes */ #journal;
  /** @type {Journal | null} what was kept before the disk refused */ #earlier = null;
  /** @type {FileStore} */ #memory;
  /** @type {Promise<void> | null} */ #switching = null;
  #keptFrames;
  #isDigestKnown = true;
  #isDiscarded = false;
  /** @type {Promise<void> | null} */ #removed = null;
  #pending = 0; // writes that are under way
  #markCharacters = 0;
  #lostFrames = 0; // there was no room for them
  #connection = 0;
  #isSending = false;
  #isMore = false;
  /** @type {Uint8Array<ArrayBuffer>[]} what came since the last record */ #batch = [];
  #batchFrames = 0;
  #heardAt = 0;
  /** @type {{firstFrame: number, bytes: Uint8Array<ArrayBuffer>}} the last record: it need not be read again */
  #recent = { firstFrame: 0, bytes: new Uint8Array(0) };
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #flushTimer;
  #notedAck = 0;
  /** @type {Promise<void>} done when all that was given is written */ #written = Promise.resolve();

  /**
   * Begin a recording.
   *
   * @param {FileStore} store
   * @param {FileStore} memory Where sound goes when the store refuses.
   * @param {string} server
   * @param {OpenMessage} open Without a ticket.
   * @param {UploadHandler} handler
   * @param {string} [owner] Who speaks; empty: it may go out as anybody's.
   */
  static async begin(store, memory, server, open, handler, owner = "") {
    const about = { server, open, owner };
    const journal = await Journal.create(store, about).catch((error) => {
      if (store === memory) throw error;
      return Journal.create(memory, about);
    });
    return new Upload(journal, memory, server, open, handler);
  }

  /**
   * Go on with what an earlier page has left; it takes no more sound.
   *
   * @param {FileStore} store
   * @param {FileStore} memory
   * @param {string} id
   * @param {UploadHandler} handler
   * @returns {Promise<Upload | null>} null: there is nothing of it
   */
  static async recover(store, memory, id, handler) {
    const journal = await Journal.recover(store, id);
    if (journal === null) return null;
    const { server, open } = journal.about;
    const upload = new Upload(journal, memory, server, open, handler, true);
    await upload.#recoverDigest();
    if (journal.isDiscarded) upload.#sender.discard();
    else {
      // What may have come after this was never kept: nobody knows how much, and the file says so.
      const mark = { frame: upload.keptFrames, label: CUT_OFF };
      const hasRoom = upload.marks.length < MAX_MARKS;
      if (journal.finished === null && hasRoom) upload.mark(mark);
      await upload.finish();
    }
    return upload;
  }

  /**
   * @param {Journal} journal
   * @param {FileStore} memory
   * @param {string} server
   * @param {OpenMessage} open
   * @param {UploadHandler} handler
   * @param {boolean} [recovered]
   */
  constructor(journal, memory, server, open, handler, recovered = false) {
    this.#journal = journal;
    this.#memory = memory;
    this.#handler = handler;
    this.#open = { ...open };
    this.server = server;
    this.owner = journal.about.owner ?? ""; // older ones have none
    this.capturedFrames = this.#keptFrames = journal.capturedFrames;
    this.#frameBytes = frameBytes(open.format);
    this.#digest = new PieceDigest(journal.hashes);
    this.#sender = new Sender(this.#open, {
      capturedFrames: journal.capturedFrames,
      durableFrames: journal.ackedFrames,
      gaps: journal.gaps,
      marks: journal.marks,
      recovered,
    });
    this.gaps = [...journal.gaps];
    this.marks = [...journal.marks];
    this.#link = new Link(server, {
      connected: () => this.#connected(),
      received: (text) => this.#happened(this.#sender.receive(text)),
      disconnected: (code) => this.#disconnected(code),
    });
    this.#digest.onPiece = (index, hash) => {
      this.#guard(() => this.#journal.piece(index, hash));
      this.#release();
    };
  }

  get recording() { return this.#open.recording; }
  get open() { return this.#open; }
  get sampleRate() { return this.#open.format.sample_rate; }
  get keptFrames() { return this.#keptFrames; }
  get durableFrames() { return this.#sender.durableFrames; }
  get releasedFrames() { return (this.#earlier ?? this.#journal).releasedFrames; }
  get isOver() { return this.#sender.isOver; }
  /** @returns {StoreKind} */
  get keeping() { return this.#journal.kind; }

  // ---- the sound -------------------------------------------------------------------

  /**
   * Take the next frames.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @param {number} clipped How many samples were beyond full scale.
   */
  sound(bytes, clipped) {
    if (this.#isDiscarded) return;
    const frames = bytes.length / this.#frameBytes;
    if (this.keeping === "memory" && this.#unackedBytes() > MEMORY_BYTES) {
      if (this.#lostFrames === 0) {
        const error = new Error("no room is left: what comes is lost until the server is back");
        this.#handler.keepingFailed(this, Object.assign(error, { code: "local-storage-full" }));
      }
      this.#lostFrames += frames;
      return;
    }
    if (this.#lostFrames > 0) this.#overflow();
    this.capturedFrames += frames;
    this.clippedSamples += clipped;
    this.#batch.push(bytes);
    this.#batchFrames += frames;
    if (this.#batchFrames >= BATCH_S * this.sampleRate) this.#keepBatch();
    else this.#heardAt = performance.now();
  }

  /** Keep the last sound before a silence; to be called some times a second: a timer for each batch costs more than its journal. */
  tend() {
    if (this.#batchFrames > 0 && performance.now() - this.#heardAt > BATCH_MS) this.#keepBatch();
  }

  /** Journal what has come, and then let it go out. */
  #keepBatch() {
    const frames = this.#batchFrames;
    if (frames === 0) return;
    const bytes = joined(this.#batch, frames * this.#frameBytes), firstFrame = this.capturedFrames - frames;
    this.#batch = [];
    this.#batchFrames = 0;
    this.#digest.update(bytes);
    this.#write(
      () => this.#journal.audio(firstFrame, bytes),
      () => {
        this.#sender.append(frames);
        this.#recent = { firstFrame, bytes };
      },
    );
  }

  /** What has to be kept: gaps take no room. */
  #unackedBytes() {
    let frames = this.capturedFrames - this.durableFrames;
    for (const gap of this.gaps.toReversed()) {
      const unacked = gap.first_frame + gap.frames - this.durableFrames;
      if (unacked <= 0) break;
      frames -= Math.min(gap.frames, unacked);
    }
    return frames * this.#frameBytes;
  }

  #overflow() {
    const frames = this.#lostFrames;
    this.#lostFrames = 0;
    this.gap({ frames, cause: "overflow", exact: true });
  }

  /** @param {Omit<Gap, "first_frame">} lost */
  gap({ frames, cause, exact }) {
    const most = MAX_GAP_S * this.sampleRate;
    for (; frames > most; frames -= most) this.gap({ frames: most, cause, exact });
    this.#keepBatch();
    if (this.#lostFrames > 0) this.#overflow();
    const gap = { first_frame: this.capturedFrames, frames, cause, exact };
    this.capturedFrames += frames;
    this.gaps.push(gap);
    this.#digest.updateZeros(frames * this.#frameBytes);
    this.#write(
      () => this.#journal.gap(gap),
      () => this.#sender.gap(frames, cause, exact),
    );
    this.#handler.gap(this, gap);
  }

  /**
   * @param {Mark} mark Twice is once.
   * @returns {boolean} It takes marks still.
   * @throws {Error} With code `quota`: there are too many, for the server's limits.
   */
  mark(mark) {
    if (this.isEnded || this.isOver || this.#isDiscarded) return false;
    if (this.marks.some(({ frame, label }) => frame === mark.frame && label === mark.label)) return true;
    this.#markCharacters += mark.label.length;
    if (this.marks.length >= MAX_MARKS || this.#markCharacters > MAX_MARK_CHARACTERS) {
      throw Object.assign(new Error("a recording has at most 10,000 marks"), { code: "quota" });
    }
    this.#keepBatch();
    this.marks.push(mark);
    this.#write(
      () => this.#journal.mark(mark),
      () => this.#sender.mark(mark.frame, mark.label),
    );
    return true;
  }

  /** No more will come. */
  async finish() {
    if (this.isEnded) return;
    this.#keepBatch();
    if (this.#lostFrames > 0) this.#overflow();
    this.isEnded = true;
    await this.#written;
    const digest = this.#isDigestKnown ? await this.#digest.hexdigest() : null;
    await this.#guard(() => this.#journal.finish(this.#keptFrames, digest));
    if (this.isOver) return;
    this.#sender.finish(digest);
    this.#send();
  }

  /**
   * Delete it, here and on the server; `happened` tells when the server has.
   *
   * @returns {Promise<boolean>} False: it is finished, which can't be taken back.
   */
  async discard() {
    if (this.isEnded) return false;
    this.#isDiscarded = true;
    await this.#written;
    await this.#guard(() => this.#journal.discard());
    this.#sender.discard();
    if (this.#sender.isOver) this.#happened([{ type: "discarded" }]);
    else this.#send();
    return true;
  }

  /**
   * Write to the journal, and then tell the sender what is there; in order. A server that
   * takes no more of it is told nothing: the copy goes on.
   *
   * @param {() => void | Promise<void>} write
   * @param {() => void} then
   */
  #write(write, then) {
    const end = this.capturedFrames;
    const done = () => {
      this.#keptFrames = end;
      if (!this.isOver && !this.#isDiscarded) then();
      if (this.isOnline) this.#send();
    };
    const attempt = () => {
      try {
        return write();
      } catch (error) {
        return Promise.reject(error);
      }
    };
    const writing = this.#pending === 0 ? attempt() : this.#written.then(attempt);
    if (writing === undefined) {
      done();
      return;
    }
    this.#pending++;
    this.#written = writing.catch((error) => this.#keptInMemory(error, write)).then(done).finally(() => { this.#pending--; });
  }

  /**
   * The disk takes no more: what comes is kept in memory.
   *
   * @param {Error} error @param {() => void | Promise<void>} write
   */
  async #keptInMemory(error, write) {
    this.#switching ??= this.#switch(error);
    await this.#switching;
    await write();
  }

  /** @param {Error} error */
  async #switch(error) {
    this.#earlier = this.#journal;
    this.#journal = await Journal.create(this.#memory, this.#earlier.about, this.#earlier.keptFrames);
    this.#handler.keepingFailed(this, error);
    try {
      await this.#earlier.flush();
    } catch {
      // Full: what is written outlives the browser's processes all the same.
    }
  }

  /** @param {() => void | Promise<void>} write What a full disk may refuse without harm to the sound. */
  async #guard(write) {
    try {
      await write();
    } catch (error) {
      this.#handler.keepingFailed(this, /** @type {Error} */ (error));
    }
  }

  // ---- the link ----------------------------------------------------------------------

  /** Begin to talk to the server; again and again until it is over. */
  connect() {
    this.#link.connect();
    this.#flushTimer ??= setInterval(() => this.#flush(), FLUSH_MS);
  }

  /** Don't wait for the next try. */
  hurry() {
    this.#link.hurry();
  }

  /** End all timers and sockets; the journal stays. */
  async close() {
    this.#link.close();
    if (!this.isOver) this.#keepBatch();
    clearInterval(this.#flushTimer);
    await this.#written.catch(() => {});
    await this.#journal.close();
    await this.#earlier?.close();
  }

  async #connected() {
    const connection = this.#connection;
    let ticket;
    try {
      ticket = await this.#handler.ticket(this);
    } catch {
      if (connection === this.#connection) this.#link.drop();
      return;
    }
    if (connection !== this.#connection || this.isOver) return;
    if (ticket !== null) this.#open.ticket = ticket;
    this.#sender.connected();
    this.#send();
  }

  /** @param {number | null} code */
  #disconnected(code) {
    this.isOnline = false;
    this.#connection++;
    this.#happened(this.#sender.disconnected(code));
  }

  /** @param {SenderEvent[]} events */
  #happened(events) {
    for (const event of events) {
      switch (event.type) {
        case "opened":
          this.isOnline = true;
          this.capturedFrames = Math.max(this.capturedFrames, this.#sender.capturedFrames);
          this.#link.opened();
          this.#release();
          break;
        case "acked":
          this.#release();
          break;
        case "refused":
          this.isOnline = false;
          if (!event.retry) {
            this.refusal = { code: event.code, message: event.message };
            this.#link.close();
          } else this.#link.drop();
          break;
        case "finished":
          this.receipt = event.receipt;
          this.#link.close();
          // What is left of a copy that doesn't match the server's is worth keeping.
          if (event.receipt.matches === false) {
            this.refusal = { code: "digest-mismatch", message: "the server's WAV is not what was recorded" };
          } else this.#removeCopy();
          break;
        case "discarded":
          this.#link.close();
          this.#removeCopy();
          break;
      }
      this.#handler.happened(this, event);
    }
    this.#send();
  }

  /** Forget what is durable on the server and needed for no hash any more. */
  #release() {
    const hashed = this.#isDigestKnown ? Math.floor(this.#digest.hashedBytes / this.#frameBytes) : Infinity;
    const frames = Math.min(this.#sender.durableFrames, hashed);
    this.#earlier?.release(frames);
    this.#journal.release(frames);
  }

  async #flush() {
    const acked = this.#sender.durableFrames;
    await this.#guard(async () => {
      if (acked > this.#notedAck) await this.#journal.ack(this.#notedAck = acked);
      await this.#journal.flush();
    });
  }

  /** Remove the copy of this browser; twice is once. */
  #removeCopy() {
    return this.#removed ??= (async () => {
      clearInterval(this.#flushTimer);
      await this.#written.catch(() => {});
      await this.#journal.remove();
      await this.#earlier?.remove();
    })();
  }

  /** The person wants it no more, or has it elsewhere. */
  async forget() {
    this.#link.close();
    await this.#removeCopy();
  }

  /** Return what this browser still has of it, as a WAV. */
  async copy() {
    return this.#earlier === null ? savedCopy(this.#journal) : savedCopy(this.#earlier, this.#journal);
  }

  async #send() {
    this.#isMore = true;
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      await this.#sendAll();
    } catch (error) { // of the journal: what could not be read now may be later
      this.#handler.keepingFailed(this, /** @type {Error} */ (error));
      this.#link.drop();
    } finally {
      this.#isSending = false;
    }
  }

  async #sendAll() {
    while (this.#isMore) {
      this.#isMore = false;
      const connection = this.#connection;
      for (const message of this.#sender.outgoing()) {
        if (connection !== this.#connection) break; // the next begins with `open`, and from where that is answered
        if (typeof message === "string") this.#link.send(message);
        else await this.#sendSound(message.firstFrame, message.firstFrame + message.frames);
      }
    }
  }

  /** @param {number} firstFrame @param {number} end */
  async #sendSound(firstFrame, end) {
    // What was acknowledged meanwhile may be forgotten here.
    const from = Math.max(firstFrame, this.#sender.durableFrames);
    if (from >= end) return;
    const { firstFrame: first, bytes: last } = this.#recent;
    if (from >= first && end <= first + last.length / this.#frameBytes) {
      const part = last.subarray((from - first) * this.#frameBytes, (end - first) * this.#frameBytes);
      this.#link.send(encodeAudio(from, part));
      return;
    }
    const middle = Math.min(end, Math.max(from, this.#earlier?.keptFrames ?? 0));
    for (const [journal, start, stop] of /** @type {const} */ ([[this.#earlier, from, middle], [this.#journal, middle, end]])) {
      if (journal === null || start >= stop) continue;
      const connection = this.#connection, reading = journal.read(start, stop - start);
      const bytes = reading instanceof Promise ? await reading : reading;
      if (connection === this.#connection) this.#link.send(encodeAudio(start, bytes));
    }
  }

  // ---- what an earlier page left -------------------------------------------------------

  /** Hash again what no piece hash covers yet. */
  async #recoverDigest() {
    const journal = this.#journal, size = this.#frameBytes;
    let skip = this.#digest.bytes; // bytes of the recording that are hashed
    let next = Math.floor(skip / size);
    for (const { firstFrame, frames, lost } of journal.runs()) {
      if (firstFrame > next) break;
      const end = firstFrame + frames;
      while (next < end) {
        const start = next, count = lost === null ? Math.min(end - start, Math.floor(1048576 / size)) : end - start;
        const from = skip - start * size;
        if (lost === null) this.#digest.update((await journal.read(start, count)).subarray(from));
        else this.#digest.updateZeros(count * size - from);
        next = start + count;
        skip = next * size;
      }
    }
    // A part that is gone: then nobody knows the digest of the whole.
    this.#isDigestKnown = next === journal.capturedFrames;
  }
}

/** @param {Uint8Array<ArrayBuffer>[]} parts @param {number} length */
function joined(parts, length) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
