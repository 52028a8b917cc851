/**
 * CRC-32C (Castagnoli), as in the server's journal.
 */

const TABLE = new Int32Array(256).map((_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = (byte >>> 1) ^ (byte & 1 ? 0x82f63b78 : 0);
  return byte;
});

/**
 * @param {Uint8Array} bytes
 * @returns {number} Unsigned.
 */
export function crc32c(bytes) {
  let crc = -1;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}
