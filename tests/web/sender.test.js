/** The sender against the vectors, and against a server and links that do anything. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Sender } from "../../src/micwire/web/recorder/sender.js";
import { dice, load, testEach } from "./node.js";
import { senders } from "./vectors.js";

/** @import { Gap, OpenMessage } from "../../src/micwire/web/recorder/types.js" */

await testEach(senders(load));

/** @type {OpenMessage} */
const OPEN = {
  type: "open",
  recording: "7f3a9c2e-0b51-4d7e-9a68-3c1de4f05b72",
  key: "q83vEjRWeJq83vEjRWeJqg",
  format: { encoding: "pcm_s16le", sample_rate: 48_000, channels: 2 },
};
const DIGEST = "0".repeat(64);
const CAUSES = /** @type {const} */ (["capture", "overflow", "suspended", "device"]);

/**
 * A server that takes messages one by one, as the wire says, and forgets what a cut loses.
 */
class Server {
  /** The next frame expected, on this connection. */
  next = 0;
  durable = 0;
  window = 1;
  messageBytes = 0;
  finished = false;
  /** @type {Map<number, "sound" | string>} What each frame is, by its index. */
  frames = new Map();

  /** @param {ReturnType<typeof dice>} roll */
  opened(roll) {
    this.next = this.durable;
    this.window = 1 + roll(40);
    this.messageBytes = 12 + roll(80);
    return JSON.stringify({
      type: "opened",
      recording: OPEN.recording,
      epoch: 1,
      frames: this.next,
      level: "durable",
      ack_interval_ms: 40,
      max_message_bytes: this.messageBytes,
      max_unacked_frames: this.window,
    });
  }

  /**
   * @param {ReturnType<Sender["outgoing"]>[number]} message
   * @param {number} acked The largest ack that the client has.
   */
  take(message, acked) {
    const fields = typeof message === "string" ? JSON.parse(message) : null;
    if (fields === null || fields.type === "gap") {
      const { firstFrame, frames } =
        typeof message === "string" ? { firstFrame: fields.first_frame, ...fields } : message;
      assert.equal(firstFrame, this.next, "neither a repetition nor a jump");
      assert.ok(frames > 0);
      if (fields === null) assert.ok(8 + 4 * frames <= this.messageBytes);
      const isAlone = fields !== null && firstFrame === acked;
      assert.ok(isAlone || firstFrame + frames <= acked + this.window, "within the window");
      const what = fields === null ? "sound" : `${fields.cause} ${fields.exact}`;
      for (let frame = firstFrame; frame < firstFrame + frames; frame++) {
        assert.equal(this.frames.get(frame) ?? what, what, "first write wins");
        this.frames.set(frame, what);
      }
      this.next += frames;
    } else if (fields.type === "finish") {
      assert.equal(fields.frames, this.next);
      this.finished = true;
    }
  }
}

/**
 * Return where the last of some messages ends.
 * @param {ReturnType<Sender["outgoing"]>} messages
 * @param {number} frames Where they begin.
 */
function endOf(messages, frames) {
  for (const message of messages) {
    if (typeof message !== "string") frames = message.firstFrame + message.frames;
    else if (message.includes('"gap"')) frames += JSON.parse(message).frames;
  }
  return frames;
}

/** @param {number} seed */
function play(seed) {
  const roll = dice(seed);
  const server = new Server();
  const sender = new Sender(OPEN);
  /** @type {string[]} */
  const truth = [];
  let inHand = /** @type {ReturnType<Sender["outgoing"]>} */ ([]);

  const append = () => {
    const frames = roll(30);
    if (roll(4) > 0) {
      sender.append(frames);
      truth.push(...Array(frames).fill("sound"));
    } else {
      const [cause, exact] = [CAUSES[roll(4)], roll(2) === 0];
      sender.gap(frames, cause, exact);
      truth.push(...Array(frames).fill(`${cause} ${exact}`));
    }
  };
  const connect = () => {
    sender.connected();
    const [open, ...more] = sender.outgoing();
    assert.deepEqual(more, []);
    assert.equal(JSON.parse(String(open)).acked ?? 0, sender.durableFrames);
    if (roll(5) === 0) return cut(); // before it is answered
    assert.deepEqual(sender.receive(server.opened(roll)), [{ type: "opened", frames: server.next }]);
  };
  const cut = () => {
    inHand = [];
    assert.deepEqual(sender.disconnected(roll(2) ? 1006 : null), []);
    // What had arrived may have become durable without a word of it.
    server.durable += roll(server.next - server.durable + 1);
  };
  const deliver = (/** @type {number} */ count) => {
    inHand.push(...sender.outgoing());
    for (const message of inHand.splice(0, count)) server.take(message, sender.durableFrames);
  };
  const ack = () => {
    server.durable += roll(server.next - server.durable + 1);
    const events = sender.receive(JSON.stringify({ type: "ack", frames: server.durable }));
    assert.deepEqual(events, [{ type: "acked", frames: server.durable }]);
  };

  for (let step = 0; step < 60; step++) {
    if (sender.state === "offline") {
      if (roll(2)) connect();
      else append();
    } else {
      [append, append, cut, ack, ack, () => deliver(roll(6))][roll(6)]();
    }
    assert.equal(sender.capturedFrames, truth.length);
    assert.ok(sender.durableFrames <= server.durable);
  }
  sender.finish(DIGEST);
  while (!server.finished) {
    if (sender.state === "offline") connect();
    else [() => deliver(9), ack, ack, () => roll(9) || cut()][roll(4)]();
  }
  const is = Array.from(truth, (_, frame) => server.frames.get(frame));
  assert.deepEqual(is, truth);
  const events = sender.receive(
    JSON.stringify({
      type: "finished",
      recording: OPEN.recording,
      frames: truth.length,
      digest: DIGEST,
      matches: true,
      url: "/x",
    }),
  );
  assert.equal(events[0].type, "finished");
  assert.equal(sender.durableFrames, truth.length);
}

test("every frame goes out once per connection, in order, from where opened says", () => {
  for (let seed = 1; seed <= 2000; seed++) {
    try {
      play(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
    }
  }
});

test("a sender made from a journal sends what the one before would have sent", () => {
  for (let seed = 1; seed <= 500; seed++) {
    const roll = dice(seed);
    const first = new Sender(OPEN);
    /** @type {Gap[]} */
    const gaps = [];
    for (let n = roll(12); n > 0; n--) {
      first.append(roll(20));
      if (roll(3)) continue;
      const gap = { first_frame: first.capturedFrames, frames: 1 + roll(9), cause: CAUSES[roll(4)], exact: true };
      first.gap(gap.frames, gap.cause, true);
      gaps.push(gap);
    }
    const { capturedFrames } = first;
    const durableFrames = roll(capturedFrames + 1);
    const second = new Sender(OPEN, { capturedFrames, durableFrames, gaps });
    const server = new Server();
    server.durable = durableFrames + roll(capturedFrames - durableFrames + 1);
    const opened = server.opened(dice(seed));
    const sent = [first, second].map((sender) => {
      sender.finish(DIGEST);
      sender.connected();
      sender.outgoing();
      sender.receive(opened);
      const messages = [];
      for (let news = sender.outgoing(); news.length > 0; news = sender.outgoing()) {
        messages.push(...news);
        sender.receive(JSON.stringify({ type: "ack", frames: endOf(news, sender.durableFrames) }));
      }
      assert.equal(sender.state, "finishing");
      return messages;
    });
    assert.deepEqual(sent[1], sent[0], `seed ${seed}`);
  }
});
