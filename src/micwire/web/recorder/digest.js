/**
 * The digest of a recording: one short name for every byte of its sound.
 *
 * SHA-256 over the SHA-256 of each 1 MiB piece, as `spec/wire.md` has it. WebCrypto hashes
 * off this thread, so the bytes are taken at once and the hashes are known a little later.
 */

export const PIECE_BYTES = 1 << 20;
export const HASH_BYTES = 32;

const ZERO_PIECE_HASH = Uint8Array.from(
  "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58".match(/../g) ?? [],
  (digits) => parseInt(digits, 16),
);

/** The digest of the bytes given so far, however they were cut. */
export class PieceDigest {
  /**
   * Called for each piece, in order, once its hash is known.
   * @type {((index: number, hash: Uint8Array<ArrayBuffer>) => void) | null}
   */
  onPiece = null;
  /** All pieces before this byte have their hash. */
  hashedBytes;
  #bytes;
  #piece = new Uint8Array(0);
  #hashes;
  /** @type {Promise<void>} */
  #known = Promise.resolve();

  /** @param {Uint8Array} [hashes] Of the pieces that were hashed before, 32 bytes each. */
  constructor(hashes = new Uint8Array(0)) {
    if (hashes.length % HASH_BYTES) throw new RangeError("a hash has 32 bytes");
    this.#hashes = Uint8Array.from(hashes);
    this.#bytes = this.hashedBytes = (hashes.length / HASH_BYTES) * PIECE_BYTES;
  }

  /** How many bytes there are so far, those of the pieces hashed before included. */
  get bytes() {
    return this.#bytes;
  }

  /**
   * Take the next bytes; they are copied.
   * @param {Uint8Array} data
   */
  update(data) {
    for (let rest = data; rest.length > 0; ) {
      const filled = this.#bytes % PIECE_BYTES;
      const part = rest.subarray(0, PIECE_BYTES - filled);
      if (this.#piece.length === 0) this.#piece = new Uint8Array(PIECE_BYTES);
      this.#piece.set(part, filled);
      this.#bytes += part.length;
      rest = rest.subarray(part.length);
      // `sha256` has copied the piece when it returns, so that the next may overwrite it.
      if (this.#bytes % PIECE_BYTES === 0) this.#add(1, sha256(this.#piece));
    }
  }

  /**
   * Take so many bytes of zeros, a gap of a day as fast as a moment of sound.
   * @param {number} count
   */
  updateZeros(count) {
    const toBoundary = Math.min(count, (PIECE_BYTES - (this.#bytes % PIECE_BYTES)) % PIECE_BYTES);
    const rest = (count - toBoundary) % PIECE_BYTES;
    const pieces = (count - toBoundary - rest) / PIECE_BYTES;
    this.update(new Uint8Array(toBoundary));
    this.#bytes += pieces * PIECE_BYTES;
    if (pieces > 0) this.#add(pieces, ZERO_PIECE_HASH);
    this.update(new Uint8Array(rest));
  }

  /** The digest of what was given before the call, as 64 hex digits; more may be given after. */
  async hexdigest() {
    const pieces = Math.floor(this.#bytes / PIECE_BYTES);
    const filled = this.#bytes % PIECE_BYTES;
    const last = filled === 0 ? [] : [sha256(this.#piece.subarray(0, filled))];
    await this.#known;
    const hashes = new Uint8Array((pieces + last.length) * HASH_BYTES);
    hashes.set(this.#hashes.subarray(0, pieces * HASH_BYTES));
    for (const hash of last) hashes.set(await hash, pieces * HASH_BYTES);
    return hex(await sha256(hashes));
  }

  /**
   * @param {number} pieces How many have this hash.
   * @param {Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>} hash
   */
  #add(pieces, hash) {
    this.#known = Promise.all([hash, this.#known]).then(([known]) => {
      for (let n = 0; n < pieces; n++) {
        const index = this.hashedBytes / PIECE_BYTES;
        this.#keep(known, index * HASH_BYTES);
        this.hashedBytes += PIECE_BYTES;
        this.onPiece?.(index, known);
      }
    });
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} hash
   * @param {number} offset
   */
  #keep(hash, offset) {
    if (offset === this.#hashes.length) {
      const wider = new Uint8Array(Math.max(64 * HASH_BYTES, 2 * offset));
      wider.set(this.#hashes);
      this.#hashes = wider;
    }
    this.#hashes.set(hash, offset);
  }
}

/** @param {Uint8Array<ArrayBuffer>} data */
async function sha256(data) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** @param {Uint8Array} bytes */
function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
