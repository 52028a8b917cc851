/**
 * The header of a WAV, for a copy that is saved from the page.
 *
 * As the server writes it, byte for byte: RIFF with a `JUNK` chunk while every size fits 32
 * bits, RF64 with `ds64` in its place beyond (EBU Tech 3306). Nothing here touches a file.
 */

import { frameBytes } from "./wire.js";

/** @import { Format } from "./types.js" */

const MAX_RIFF_BYTES = 2 ** 32 - 2;
const UNKNOWN = 2 ** 32 - 1;
const DS64_BYTES = 28;
const PCM = 0x0001;
const FLOAT = 0x0003;
const EXTENSIBLE = 0xfffe;
const GUID_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/**
 * How many zero bytes (0 or 1) end a file after its last frame.
 * @param {Format} format
 * @param {number} frames
 */
export function padding(format, frames) {
  return (frames * frameBytes(format)) % 2;
}

/**
 * The header of a file that holds so many frames, RF64 if it must be.
 * @param {Format} format
 * @param {number} frames
 * @throws {RangeError} The frames are no count, or the format is not one of the wire's.
 */
export function header(format, frames) {
  if (!Number.isSafeInteger(frames) || frames < 0) throw new RangeError(`${frames} frames`);
  const isFloat = format.encoding === "pcm_f32le";
  const { channels, sample_rate: rate } = format;
  const size = frameBytes(format);
  // Two channels of 24 bits stay plain PCM, which every reader takes. All but plain PCM carry
  // the size of an extension; a channel mask of 0 assigns no loudspeakers.
  const extension = channels > 2 ? 24 : isFloat ? 2 : 0;
  const length = 12 + 8 + DS64_BYTES + 8 + 16 + extension + (isFloat ? 12 : 0) + 8;
  const dataBytes = frames * size;
  const riffBytes = length - 8 + dataBytes + (dataBytes % 2);
  const isRf64 = riffBytes > MAX_RIFF_BYTES;

  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let offset = 0;
  const text = (/** @type {string} */ word) => {
    for (const letter of word) bytes[offset++] = letter.charCodeAt(0);
  };
  const u16 = (/** @type {number} */ value) => view.setUint16((offset += 2) - 2, value, true);
  const u32 = (/** @type {number} */ value) => view.setUint32((offset += 4) - 4, value, true);
  const u64 = (/** @type {number} */ value) =>
    view.setBigUint64((offset += 8) - 8, BigInt(value), true);

  text(isRf64 ? "RF64" : "RIFF");
  u32(isRf64 ? UNKNOWN : riffBytes);
  text("WAVE");
  text(isRf64 ? "ds64" : "JUNK");
  u32(DS64_BYTES);
  for (const value of isRf64 ? [riffBytes, dataBytes, frames] : [0, 0, 0]) u64(value);
  u32(0);
  text("fmt ");
  u32(16 + extension);
  u16(channels > 2 ? EXTENSIBLE : isFloat ? FLOAT : PCM);
  u16(channels);
  u32(rate);
  u32(rate * size);
  u16(size);
  u16((size / channels) * 8);
  if (extension > 0) u16(extension - 2);
  if (channels > 2) {
    u16((size / channels) * 8);
    u32(0);
    u16(isFloat ? FLOAT : PCM);
    bytes.set(GUID_TAIL, offset);
    offset += GUID_TAIL.length;
  }
  if (isFloat) {
    text("fact");
    u32(4);
    u32(isRf64 ? UNKNOWN : frames);
  }
  text("data");
  u32(isRf64 ? UNKNOWN : dataBytes);
  return bytes;
}
