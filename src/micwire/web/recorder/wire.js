/**
 * The messages of `micwire.v1`: written as a client sends them, read as a server does.
 *
 * What a message does to a recording is in `sender.js`; the rules are those of `spec/wire.md`.
 * Nothing here waits or touches a socket.
 */

/** @import { ClientMessage, Format, ServerMessage } from "./types.js" */

export const SUBPROTOCOL = "micwire.v1";
/** The largest count of the wire: what a number here holds exactly. */
export const MAX_COUNT = Number.MAX_SAFE_INTEGER;
export const MAX_LABEL_CHARACTERS = 1000;
export const AUDIO_HEADER_BYTES = 8;
export const GAP_CAUSES = Object.freeze(["capture", "overflow", "suspended", "device"]);

/**
 * `error.code`, and the close code that goes with it.
 * @type {Readonly<Record<string, number>>}
 */
export const CLOSE_CODES = Object.freeze({
  "bad-message": 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  deleted: 4404,
  "taken-over": 4409,
  diverged: 4410,
  "too-large": 4413,
  "unsupported-format": 4415,
  "gap-undeclared": 4422,
  quota: 4429,
  "storage-failed": 4500,
  "storage-full": 4507,
});

const MAX_NESTING = 64;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const KEY = /^[A-Za-z0-9_-]{22,256}={0,2}$/;
/** Halves of characters beyond the basic plane. */
const LONE = /\p{Surrogate}/gu;
const SHA256 = /^[0-9a-f]{64}$/;
const SAMPLE_BYTES = Object.freeze({ pcm_s16le: 2, pcm_s24le: 3, pcm_f32le: 4 });

/** A message from the server can't be read; the text says which rule it breaks. */
export class BadMessageError extends Error {}

/**
 * The size of one frame in bytes.
 * @param {Format} format
 * @throws {RangeError} The encoding, rate or number of channels is not one of the wire's.
 */
export function frameBytes({ encoding, sample_rate, channels }) {
  if (!Object.hasOwn(SAMPLE_BYTES, encoding)) throw new RangeError(`no encoding ${encoding}`);
  if (!isWithin(sample_rate, 8000, 384_000)) throw new RangeError(`no rate: ${sample_rate} Hz`);
  if (!isWithin(channels, 1, 64)) throw new RangeError(`${channels} channels are not 1 to 64`);
  return SAMPLE_BYTES[encoding] * channels;
}

// ---- writing -------------------------------------------------------------------

/**
 * Write a control message. Fields that are null or undefined are left out.
 * @param {ClientMessage} message
 * @throws {RangeError} A field is not as the wire has it.
 * @throws {TypeError} There is no such type of message.
 */
export function encodeClient(message) {
  switch (message.type) {
    case "open":
      must(UUID.test(message.recording), "recording is a UUID in lower case");
      must(KEY.test(message.key), "key is a secret of at least 128 bits in base64url");
      must(message.take == null || UUID.test(message.take), "take is a UUID in lower case");
      frameBytes(message.format);
      break;
    case "gap":
      must(GAP_CAUSES.includes(message.cause), `cause is one of ${GAP_CAUSES.join(", ")}`);
      must(isCount(message.first_frame) && isCount(message.frames), "a gap has counts");
      must(isCount(message.first_frame + message.frames), "a gap ends at 2^53 - 1 at the latest");
      break;
    case "mark":
      must(isCount(message.frame), "a mark has a frame");
      must(isLabel(message.label), `a label has at most ${MAX_LABEL_CHARACTERS} characters`);
      break;
    case "finish":
      must(isCount(message.frames), "finish has a count");
      must(message.digest == null || SHA256.test(message.digest), "digest is SHA-256 in hex");
      break;
    case "discard":
      break;
    default:
      throw new TypeError("no such type of message");
  }
  const given = Object.entries(message).filter(([, value]) => value != null);
  // Half a character, as where somebody's text was cut, would have the whole refused.
  const whole = (/** @type {string} */ _, /** @type {unknown} */ value) =>
    typeof value === "string" ? value.replace(LONE, "\ufffd") : value;
  return JSON.stringify(Object.fromEntries(given), whole);
}

/**
 * Write an audio message.
 * @param {number} firstFrame
 * @param {Uint8Array} bytes Whole frames, interleaved, in the recording's encoding.
 */
export function encodeAudio(firstFrame, bytes) {
  must(isCount(firstFrame), "the first frame is a count");
  const message = new Uint8Array(AUDIO_HEADER_BYTES + bytes.length);
  new DataView(message.buffer).setBigUint64(0, BigInt(firstFrame), true);
  message.set(bytes, AUDIO_HEADER_BYTES);
  return message;
}

/**
 * Tell whether a label is short enough: it is counted in code points.
 * @param {string} label
 */
export function isLabel(label) {
  return label.length <= MAX_LABEL_CHARACTERS || [...label].length <= MAX_LABEL_CHARACTERS;
}

/** @param {unknown} value */
function isCount(value) {
  return isWithin(value, 0, MAX_COUNT);
}

/**
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 * @returns {value is number}
 */
function isWithin(value, least, most) {
  return Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}

/**
 * @param {boolean} isSo
 * @param {string} rule
 */
function must(isSo, rule) {
  if (!isSo) throw new RangeError(rule);
}

// ---- reading -------------------------------------------------------------------

/**
 * Read a message from a server; null for a type that this version does not know.
 * @param {string} text
 * @returns {ServerMessage | null}
 * @throws {BadMessageError} The message breaks the rules of the wire.
 */
export function decodeServer(text) {
  const fields = new Fields(text);
  switch (fields.type) {
    case "opened":
      return {
        type: "opened",
        recording: fields.matching("recording", UUID),
        epoch: fields.count("epoch"),
        frames: fields.count("frames"),
        level: fields.string("level"),
        ack_interval_ms: fields.count("ack_interval_ms"),
        max_message_bytes: fields.count("max_message_bytes"),
        max_unacked_frames: fields.count("max_unacked_frames"),
      };
    case "ack":
      return { type: "ack", frames: fields.count("frames") };
    case "result":
      return {
        type: "result",
        analyzer: fields.string("analyzer"),
        seq: fields.count("seq"),
        first_frame: fields.count("first_frame"),
        frames: fields.count("frames"),
        final: fields.boolean("final"),
        data: fields.get("data"),
      };
    case "finished":
      return {
        type: "finished",
        recording: fields.matching("recording", UUID),
        frames: fields.count("frames"),
        digest: fields.matching("digest", SHA256),
        matches: fields.get("matches") === null ? null : fields.boolean("matches"),
        url: fields.string("url"),
      };
    case "notice":
      return { type: "notice", code: fields.string("code"), message: fields.string("message") };
    case "error":
      return {
        type: "error",
        code: fields.string("code"),
        message: fields.string("message"),
        frames: fields.get("frames") === null ? 0 : fields.count("frames"),
      };
    default:
      return null;
  }
}

/** The keys of one message, read with their rules; what breaks them is named. */
class Fields {
  #values;
  /** The same, but a number that is not written in digits only is `true`. */
  #counts;

  /** @param {string} text */
  constructor(text) {
    this.#values = parse(text);
    // `1.0` is no count, and a parsed number doesn't tell.
    this.#counts = /\d[.eE]/.test(text) ? parse(text.replace(TOKEN, onlyDigits)) : this.#values;
    this.type = this.#values.type;
    if (typeof this.type !== "string") throw new BadMessageError("a message has a type");
  }

  /** @param {string} name */
  get(name) {
    return this.#values[name] ?? null;
  }

  /** @param {string} name */
  count(name) {
    const value = this.#counts[name];
    if (!isWithin(value, 0, MAX_COUNT)) throw this.#wrong(name, "is a count");
    return value;
  }

  /** @param {string} name */
  string(name) {
    const value = this.#values[name];
    if (typeof value !== "string") throw this.#wrong(name, "is a string");
    return value;
  }

  /**
   * @param {string} name
   * @param {RegExp} pattern
   */
  matching(name, pattern) {
    const value = this.string(name);
    if (!pattern.test(value)) throw this.#wrong(name, "is malformed");
    return value;
  }

  /** @param {string} name */
  boolean(name) {
    const value = this.#values[name];
    if (typeof value !== "boolean") throw this.#wrong(name, "is true or false");
    return value;
  }

  /**
   * @param {string} name
   * @param {string} rule
   */
  #wrong(name, rule) {
    return new BadMessageError(`${this.type}.${name} ${rule}`);
  }
}

const TOKEN = /"(?:[^"\\]+|\\.)*"|-?\d[-+.\deE]*/g;

/** @param {string} token */
function onlyDigits(token) {
  return token.startsWith('"') || /^-?\d+$/.test(token) ? token : "true";
}

/**
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function parse(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BadMessageError(`not JSON: ${error}`);
  }
  if (typeof value !== "object" || value === null) {
    throw new BadMessageError("a text message is a JSON object");
  }
  checkPlain(value, 0);
  return value;
}

/**
 * Refuse what no JSON can say again: numbers beyond a double, halves of characters.
 * @param {unknown} value
 * @param {number} depth Of objects and lists around it.
 */
function checkPlain(value, depth) {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new BadMessageError("not JSON: a number beyond a double");
  }
  if (typeof value === "string" && value.search(LONE) >= 0) {
    throw new BadMessageError("not JSON: half a character");
  }
  if (typeof value !== "object" || value === null) return;
  if (depth === MAX_NESTING) throw new BadMessageError("objects and lists nest too deep");
  for (const [name, child] of Object.entries(value)) {
    checkPlain(name, depth);
    checkPlain(child, depth + 1);
  }
}
