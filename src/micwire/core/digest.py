"""The digest of a recording: one short name for every byte of its sound.

SHA-256 over the concatenated (binary) SHA-256 of each 1 MiB piece of the PCM data, the
last piece shorter: a page computes it piece by piece with WebCrypto. See `spec/wire.md`,
"Digest". Nothing here keeps the sound or touches a file.
"""

from hashlib import sha256

PIECE_BYTES = 1 << 20

_ZERO_PIECE = memoryview(bytes(PIECE_BYTES))
_ZERO_PIECE_DIGEST = sha256(_ZERO_PIECE).digest()

Data = bytes | bytearray | memoryview


class PieceDigest:
    """The digest of the bytes given so far, however they were cut.

    >>> digest = PieceDigest()
    >>> digest.update(b"four")
    >>> digest.bytes, digest.hexdigest()[:8]
    (4, 'ad1d7d53')
    """

    __slots__ = ("_bytes", "_piece", "_pieces")

    def __init__(self) -> None:
        self._pieces = sha256()  # over the digests of all complete pieces
        self._piece = sha256()  # over the piece that is still filling
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Return how many bytes have been hashed."""
        return self._bytes

    def update(self, data: Data) -> None:
        """Hash the next bytes; `data` is not kept, and may be a contiguous view of any shape."""
        rest = memoryview(data).cast("B")
        while rest:
            part = rest[: PIECE_BYTES - self._bytes % PIECE_BYTES]
            rest = rest[len(part) :]
            self._piece.update(part)
            self._bytes += len(part)
            if self._bytes % PIECE_BYTES == 0:
                self._pieces.update(self._piece.digest())
                self._piece = sha256()

    def update_zeros(self, count: int) -> None:
        """Hash `count` bytes of zeros, a gap of a day as fast as a moment of sound."""
        to_boundary = min(count, -self._bytes % PIECE_BYTES)
        pieces, rest = divmod(count - to_boundary, PIECE_BYTES)
        self.update(_ZERO_PIECE[:to_boundary])
        for _ in range(pieces):
            self._pieces.update(_ZERO_PIECE_DIGEST)
        self._bytes += pieces * PIECE_BYTES
        self.update(_ZERO_PIECE[:rest])

    def hexdigest(self) -> str:
        """Return the digest so far as 64 lower-case hex digits; hashing may go on after it."""
        pieces = self._pieces.copy()
        if self._bytes % PIECE_BYTES:
            pieces.update(self._piece.digest())
        return pieces.hexdigest()


def digest_of(data: Data) -> str:
    """Return the digest of a whole recording's PCM data as 64 lower-case hex digits."""
    digest = PieceDigest()
    digest.update(data)
    return digest.hexdigest()
