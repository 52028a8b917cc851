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
export const GAP_CAUSES = ["capture", "overflow", "suspended", "device"];

/**
 * `error.code`, and the close code that goes with it.
 * @type {Readonly<Record<string, number>>}
 */
export const CLOSE_CODES = {
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
};

const MAX_NESTING = 64;
/** Halves of characters beyond the basic plane. */
const LONE = /\p{Surrogate}/gu;
const SAMPLE_BYTES = { pcm_s16le: 2, pcm_s24le: 3, pcm_f32le: 4 };

/** What the value of a field may be. @satisfies {Record<string, (value: any) => boolean>} */
const RULES = {
  UUID: matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/), // in lower case
  key: matching(/^[A-Za-z0-9_-]{22,256}={0,2}$/), // at least 128 bits in base64url
  "SHA-256": matching(/^[0-9a-f]{64}$/),
  cause: (value) => GAP_CAUSES.includes(value),
  label: isLabel,
  count: isCount,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  value: () => true,
};

/** @typedef {keyof typeof RULES} Rule */
/** @typedef {Record<string, Record<string, Rule | `${Rule}?`>>} Rules By type and field; with `?` it may be missing. */

/** @type {Rules} */
const SENT = {
  open: { recording: "UUID", key: "key", take: "UUID?" },
  gap: { first_frame: "count", frames: "count", cause: "cause" },
  mark: { frame: "count", label: "label" },
  finish: { frames: "count", digest: "SHA-256?" },
  discard: {},
};

/** @type {Rules} */
const RECEIVED = {
  opened: {
    recording: "UUID",
    epoch: "count",
    frames: "count",
    level: "string",
    ack_interval_ms: "count",
    max_message_bytes: "count",
    max_unacked_frames: "count",
  },
  ack: { frames: "count" },
  result: {
    analyzer: "string",
    seq: "count",
    first_frame: "count",
    frames: "count",
    final: "boolean",
    data: "value?",
  },
  finished: { recording: "UUID", frames: "count", digest: "SHA-256", matches: "boolean?", url: "string" },
  notice: { code: "string", message: "string" },
  error: { code: "string", message: "string", frames: "count?" },
};

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
  const { type } = message;
  if (!Object.hasOwn(SENT, type)) throw new TypeError("no such type of message");
  read(type, SENT[type], message, RangeError);
  if (type === "open") frameBytes(message.format);
  if (type === "gap" && !isCount(message.first_frame + message.frames)) throw new RangeError("a gap ends at 2^53 - 1 at the latest");
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
  if (!isCount(firstFrame)) throw new RangeError("the first frame is no count");
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

/** @param {RegExp} pattern */
function matching(pattern) {
  return (/** @type {unknown} */ value) => typeof value === "string" && pattern.test(value);
}

/**
 * Take the fields that have a rule; one that may be missing is null then.
 *
 * @param {string} type
 * @param {Rules[string]} rules
 * @param {Record<string, any>} values
 * @param {new (message: string) => Error} Wrong
 * @param {Record<string, any>} [counts] Where those are that have to be counts.
 */
function read(type, rules, values, Wrong, counts = values) {
  /** @type {Record<string, any>} */
  const fields = { type };
  for (const [name, rule] of Object.entries(rules)) {
    const value = fields[name] = (rule.startsWith("count") ? counts : values)[name] ?? null;
    const isRight = value === null ? rule.endsWith("?") : RULES[/** @type {Rule} */ (rule.replace("?", ""))](value);
    if (!isRight) throw new Wrong(`${type}.${name} is no ${rule}`);
  }
  return fields;
}

// ---- reading -------------------------------------------------------------------

/**
 * Read a message from a server; null for a type that this version does not know.
 * @param {string} text
 * @returns {ServerMessage | null}
 * @throws {BadMessageError} The message breaks the rules of the wire.
 */
export function decodeServer(text) {
  const values = parse(text), { type } = values;
  if (typeof type !== "string") throw new BadMessageError("a message has a type");
  if (!Object.hasOwn(RECEIVED, type)) return null;
  // `1.0` is no count, and a parsed number doesn't tell: what is not in digits only is `true` there.
  const counts = /\d[.eE]/.test(text) ? parse(text.replace(TOKEN, onlyDigits)) : values;
  const message = read(type, RECEIVED[type], values, BadMessageError, counts);
  if (type === "error") message.frames ??= 0;
  return /** @type {ServerMessage} */ (message);
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
