/**
 * The recorder's pure modules against `spec/vectors`, in Node and in browsers alike.
 *
 * Each group returns checks; a check that fails throws. Nothing here knows where the vectors
 * come from: `load` brings a file's JSON by its name.
 */

import { PieceDigest } from "../../src/micwire/web/recorder/digest.js";
import { Sender } from "../../src/micwire/web/recorder/sender.js";
import { header, padding } from "../../src/micwire/web/recorder/wav.js";
import {
  BadMessageError,
  decodeServer,
  encodeAudio,
  encodeClient,
  frameBytes,
} from "../../src/micwire/web/recorder/wire.js";

/** @import { AudioRange, SenderEvent } from "../../src/micwire/web/recorder/types.js" */

/** @typedef {Record<string, any>} Json As a file of vectors has it. */
/** @typedef {(name: string) => Promise<Json>} Load */
/** @typedef {{ name: string, run: () => void | Promise<void> }} Check */

/** @param {Load} load */
export async function messages(load) {
  const { messages } = await load("messages.json");
  return messages.map((/** @type {Json} */ { name, direction, wire, value }) => ({
    name: `${direction}: ${name}`,
    run() {
      if (direction === "server") {
        equal(decodeServer(wire), value);
      } else if (value.type === "audio") {
        equal(hex(encodeAudio(value.first_frame, unhex(value.data))), wire.hex);
        const frames = value.data.length / 2 / frameBytes(value.format);
        equal(frames, (value.samples ?? Array(frames)).length);
      } else {
        equal(JSON.parse(encodeClient(value)), value);
      }
    },
  }));
}

/** @param {Load} load */
export async function refusals(load) {
  const { refusals } = await load("refusals.json");
  return refusals
    .filter((/** @type {Json} */ { direction }) => direction === "server")
    .map((/** @type {Json} */ { name, wire, code }) => ({
      name,
      run() {
        equal(code, "bad-message");
        let message;
        try {
          message = decodeServer(wire);
        } catch (error) {
          if (error instanceof BadMessageError) return;
          throw error;
        }
        throw new Error(`read as ${JSON.stringify(message)}`);
      },
    }));
}

/** @param {Load} load */
export async function digests(load) {
  const { digests } = await load("digest.json");
  return digests.map((/** @type {Json} */ vector) => ({
    name: `${vector.bytes} bytes`,
    async run() {
      const { bytes, multiplier, offset, modulus } = vector;
      const data = Uint8Array.from({ length: bytes }, (_, i) => (i * multiplier + offset) % modulus);
      const digest = new PieceDigest();
      digest.update(data);
      equal(await digest.hexdigest(), vector.digest);
    },
  }));
}

/** @param {Load} load */
export async function wavs(load) {
  const { headers } = await load("wav.json");
  return headers.map((/** @type {Json} */ vector) => ({
    name: `${Object.values(vector.format).join(" ")}, ${vector.frames} frames`,
    run() {
      equal(hex(header(vector.format, vector.frames)), vector.header);
      equal(padding(vector.format, vector.frames), vector.padding);
    },
  }));
}

/** @param {Load} load */
export async function senders(load) {
  const file = await load("sender.json");
  return [...file.conversations, ...file.restarts].map((conversation) => ({
    name: conversation.name,
    run() {
      const open = conversation.open ?? file.open;
      const memory = conversation.memory ?? {};
      const sender = new Sender(open, {
        capturedFrames: memory.captured_frames,
        durableFrames: memory.durable_frames,
        gaps: memory.gaps,
        marks: memory.marks,
        lastSeq: memory.last_seq,
        recovered: memory.recovered,
      });
      for (const [number, step] of conversation.steps.entries()) {
        try {
          play(sender, step, { open, opened: file.opened });
        } catch (error) {
          throw new Error(`step ${number}, ${JSON.stringify(step)}: ${error}`);
        }
      }
    },
  }));
}

/**
 * Do one step of a conversation, and compare what comes of it.
 * @param {Sender} sender
 * @param {Json} step
 * @param {Json} whole The messages that a step names only in part.
 */
function play(sender, step, whole) {
  const wholly = (/** @type {Json} */ message) => ({ ...whole[message.type], ...message });
  if (step.outgoing) {
    const expected = step.outgoing.map((/** @type {Json} */ message) =>
      message.type === "open" ? wholly(message) : message,
    );
    equal(sender.outgoing().map(written), expected);
  } else if ("receive" in step) {
    const message = step.receive;
    compare(
      sender.receive(typeof message === "string" ? message : JSON.stringify(wholly(message))),
      step.events,
    );
  } else if ("disconnected" in step) {
    compare(sender.disconnected(step.disconnected), step.events);
  } else if (step.is) {
    const { state, capturedFrames, durableFrames } = sender;
    const facts = { state, captured_frames: capturedFrames, durable_frames: durableFrames };
    equal(some(facts, step.is), step.is);
  } else if (step.throws) {
    let hasThrown = false;
    try {
      set(sender, step);
    } catch {
      hasThrown = true;
    }
    equal(hasThrown, true);
  } else {
    set(sender, step);
  }
}

/**
 * @param {Sender} sender
 * @param {Json} step
 */
function set(sender, step) {
  if ("append" in step) sender.append(step.append);
  else if (step.gap) sender.gap(step.gap.frames, step.gap.cause, step.gap.exact);
  else if (step.mark) sender.mark(step.mark.frame, step.mark.label);
  else if ("finish" in step) sender.finish(step.finish);
  else if (step.discard) sender.discard();
  else if (step.connected) sender.connected();
  else throw new Error("no such step");
}

/** @param {string | AudioRange} message */
function written(message) {
  if (typeof message === "string") return JSON.parse(message);
  return { type: "audio", first_frame: message.firstFrame, frames: message.frames };
}

/**
 * @param {SenderEvent[]} events
 * @param {Json[]} expected Of each, the fields named are equal.
 */
function compare(events, expected) {
  equal(
    events.map((event, n) => some(event, expected[n] ?? event)),
    expected,
  );
}

/**
 * Return those fields of `value` that `names` has.
 * @param {Json} value
 * @param {Json} names
 */
function some(value, names) {
  return Object.fromEntries(Object.keys(names).map((name) => [name, value[name]]));
}

/**
 * Run all checks, and say how it went.
 * @param {Load} load
 */
export async function report(load) {
  const passed = [];
  const failed = [];
  for (const group of [messages, refusals, digests, wavs, senders]) {
    /** @type {Check[]} */
    const checks = await group(load);
    for (const check of checks) {
      const name = `${group.name}: ${check.name}`;
      try {
        await check.run();
        passed.push(name);
      } catch (error) {
        failed.push(`${name}: ${error}`);
      }
    }
  }
  return { passed: passed.length, failed };
}

/**
 * @param {unknown} actual
 * @param {unknown} expected
 */
function equal(actual, expected) {
  const [is, shouldBe] = [sorted(actual), sorted(expected)];
  if (is !== shouldBe) throw new Error(`${is} is not ${shouldBe}`);
}

/**
 * JSON with the keys of objects in order, `undefined` told from what is missing.
 * @param {unknown} value
 */
function sorted(value) {
  return JSON.stringify(value, (_, part) => {
    if (part === undefined) return "(undefined)";
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} digits */
function unhex(digits) {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
