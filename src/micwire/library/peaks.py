"""Peaks of recordings: the lowest and the highest sample of so many frames, for waveforms.

They are derived from the WAVs, behind the acks: a thread of its own reads what was filed,
spends a small part of the time on it, and nobody waits for it. Whatever is not computed
yet, is damaged or was lost is computed again. A request reads a bounded amount, however
long the recording is.

`DIRECTORY/7f/ID.256` holds the columns of 256 frames, `ID.4096` and `ID.65536` those of 16
and of 256 columns of that. A column is an int8 pair, minimum and maximum, per channel; 256
columns and their CRC32C are a block, and only whole blocks are written. The rest of a
recording is less than a block of each zoom, and is computed when it is asked for.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from micwire.core.audio import Encoding, Format
from micwire.core.interfaces import Files, Readable
from micwire.core.storage import write_all

FACTORS = (256, 4_096, 65_536)
"""Frames a column at each zoom; each is `STEP` times the one before."""
STEP = 16
BLOCK_COLUMNS = 256
BLOCK_FRAMES = FACTORS[0] * BLOCK_COLUMNS
"""Frames of a block of the finest zoom: 1.4 s at 48 kHz."""
RAW_BYTES = 8 << 20
"""So much of a WAV at most is read to answer one request; the rest is left to the thread."""
TURN_BYTES = 4 << 20
TICK_S = 1.0
GROWN_BLOCKS = 16
"""A growing recording is visited once so many blocks are new."""
SHARE_GROWING = 0.005
"""The part of its time that the thread works while nobody asks for peaks: enough for a hundred
streams. With more it falls behind, and what is missing is computed when somebody asks."""
SHARE_WANTED = 0.5
RETRY_S = 30.0
_CHECK_BYTES = 4

Columns = NDArray[np.int8]
"""Shape (columns, channels, 2): minimum and maximum, full scale at -128 and 127."""
Samples = NDArray[np.int16 | np.float32]
"""Shape (channels, frames)."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """The waveform of a part of a recording.

    Args:
        first_frame: Where it begins.
        frames: How many frames it covers.
        known_frames: How many of these are computed; the columns behind them are 0 for now.
        columns: One column each `frames / len(columns)` frames.
    """

    first_frame: int
    frames: int
    known_frames: int
    columns: Columns


class PeakStore:
    """The peaks of a data directory's recordings.

    Args:
        directory: Where they are kept; it is made when it is needed.
        files: The file system.
        unfinished: The recordings that grow, by id; called from the store's thread.
        on_error: Told of an error of the disk. Peaks are computed anew later; a request is
            answered from the WAV meanwhile.
    """

    def __init__(
        self,
        directory: str,
        files: Files,
        unfinished: Callable[[], Iterable[tuple[str, Readable]]] = lambda: (),
        on_error: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._directory = directory
        self._files = files
        self._unfinished = unfinished
        self._on_error = on_error
        self._lock = threading.Lock()
        """Held while files are made longer, shorter or unlinked."""
        self._gone: set[str] = set()
        """Deleted recordings: nothing is written of them any more."""
        self._blocks: dict[str, int] = {}
        """How many blocks of the finest zoom growing recordings have."""
        self._wanted: dict[str, Readable] = {}
        self._news = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="micwire-peaks", daemon=True)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def close(self) -> None:
        """End within a moment. Blocks."""
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def forget(self, recording: str) -> None:
        """Remove the peaks of a deleted recording, for good. Blocks."""
        with self._lock:
            self._gone.add(recording)
            for factor in FACTORS:
                self._files.unlink(self._path(recording, factor))

    def want(self, recording: str, readable: Readable) -> None:
        """Have the peaks of a recording computed soon. Never blocks."""
        with self._news:
            self._wanted[recording] = readable
            self._news.notify_all()

    def peaks(
        self, recording: str, readable: Readable, first_frame: int, frames: int, columns: int
    ) -> Peaks:
        """Return the waveform of a range of frames. Blocks for some tens of milliseconds.

        Args:
            recording: The recording's id.
            readable: The recording as it is now.
            first_frame: Where the range begins.
            frames: How long it is; the range lies within `readable.frames`.
            columns: How many columns it is cut into, at most `frames`.

        Raises:
            ValueError: The range is not in the recording, or has fewer frames than columns.
            OSError: The WAV can't be read.
        """
        if not (0 <= first_frame <= first_frame + frames <= readable.frames):
            raise ValueError(f"frames {first_frame} to {first_frame + frames} are not in it")
        if not 0 <= columns <= frames:
            raise ValueError(f"{frames} frames are no {columns} columns")
        if frames == 0 or columns == 0:
            empty = np.zeros((0, readable.format.channels, 2), np.int8)
            return Peaks(first_frame, frames, frames, empty)
        with contextlib.closing(_Source(self, self._files, recording, readable)) as source:
            factor, entries, start = source.entries(first_frame, first_frame + frames, columns)
        known = max(0, min(frames, (start + len(entries)) * factor - first_frame))
        if known < frames or self._is_behind(recording, readable):
            self.want(recording, readable)
        return Peaks(
            first_frame,
            frames,
            known,
            _resample(entries, start, factor, first_frame, frames, columns),
        )

    # ---- the files -------------------------------------------------------------------

    def _path(self, recording: str, factor: int) -> str:
        return f"{self._directory}/{recording[:2]}/{recording}.{factor}"

    @contextlib.contextmanager
    def opened(self, recording: str, factor: int, *, create: bool = False) -> Iterator[int | None]:
        """Open a file of peaks; None if there is none."""
        path = self._path(recording, factor)
        try:
            descriptor = self._files.open(path, create=create)
        except FileNotFoundError:
            if not create:
                yield None
                return
            self._files.make_directory(self._directory)
            self._files.make_directory(path.rpartition("/")[0])
            descriptor = self._files.open(path, create=True)
        try:
            yield descriptor
        finally:
            self._files.close(descriptor)

    def blocks(self, recording: str, factor: int, channels: int) -> int:
        """Return how many whole blocks there are of a zoom."""
        with self.opened(recording, factor) as descriptor:
            if descriptor is None:
                return 0
            return self._files.size(descriptor) // _block_bytes(channels)

    def _is_behind(self, recording: str, readable: Readable) -> bool:
        """Tell whether a file lacks more than the thread leaves to later."""
        return any(
            self.blocks(recording, factor, readable.format.channels)
            < (readable.frames - GROWN_BLOCKS * BLOCK_FRAMES) // (factor * BLOCK_COLUMNS)
            for factor in FACTORS
        )

    def read(self, recording: str, factor: int, channels: int, first: int, end: int) -> Columns:
        """Return the columns of whole blocks, as far as they are there and undamaged."""
        block_bytes = _block_bytes(channels)
        with self.opened(recording, factor) as descriptor:
            data = b""
            if descriptor is not None and end > first:
                data = self._files.read(
                    descriptor, (end - first) * block_bytes, first * block_bytes
                )
        good = []
        for number in range(first, first + len(data) // block_bytes):
            at = (number - first) * block_bytes
            block = data[at : at + block_bytes - _CHECK_BYTES]
            check = data[at + block_bytes - _CHECK_BYTES : at + block_bytes]
            if _checksum(recording, factor, number, block) != check:
                self._cut(recording, factor, channels, number)
                break
            good.append(block)
        columns = np.frombuffer(b"".join(good), np.int8)
        return columns.reshape(-1, channels, 2)

    def _cut(self, recording: str, factor: int, channels: int, blocks: int) -> None:
        """Keep the first so many blocks of a damaged file; the rest is computed again."""
        with self._lock, self.opened(recording, factor) as descriptor:
            if descriptor is not None:
                self._files.truncate(descriptor, blocks * _block_bytes(channels))

    def _append(self, recording: str, factor: int, columns: Columns, first: int) -> bool:
        """Write whole blocks from number `first` on; False if the recording is gone."""
        parts: list[bytes | memoryview] = []
        for number in range(len(columns) // BLOCK_COLUMNS):
            block = columns[number * BLOCK_COLUMNS : (number + 1) * BLOCK_COLUMNS].tobytes()
            parts += (block, _checksum(recording, factor, first + number, block))
        with self._lock:
            if recording in self._gone:
                return False
            with self.opened(recording, factor, create=True) as descriptor:
                assert descriptor is not None
                write_all(self._files, descriptor, parts, first * _block_bytes(columns.shape[1]))
        return True

    # ---- the thread ------------------------------------------------------------------

    def _run(self) -> None:
        growing: list[tuple[str, Readable]] = []
        while True:
            with self._news:
                if not (self._wanted or growing or self._is_closing):
                    self._news.wait(TICK_S)
                if self._is_closing:
                    return
                wanted = next(iter(self._wanted.items()), None)
                if wanted is not None:
                    del self._wanted[wanted[0]]
            began = time.monotonic()
            if wanted is not None:
                share, turn = SHARE_WANTED, wanted
            elif growing:
                share, turn = SHARE_GROWING, growing.pop()
            else:
                growing = self._grown()
                continue
            pause = self._turn(*turn, is_wanted=wanted is not None)
            spent = time.monotonic() - began
            self._rest(pause or spent * (1 / share - 1), is_growing=wanted is None)

    def _rest(self, pause_s: float, *, is_growing: bool) -> None:
        """Let others work; not longer than until somebody asks, or the store is closed."""
        with self._news:
            self._news.wait_for(
                lambda: self._is_closing or (is_growing and bool(self._wanted)), pause_s
            )

    def _grown(self) -> list[tuple[str, Readable]]:
        """Return growing recordings that have become enough longer."""
        unfinished = list(self._unfinished())
        self._blocks = {recording: self._blocks.get(recording, 0) for recording, _ in unfinished}
        return [
            (recording, readable)
            for recording, readable in unfinished
            if readable.frames // BLOCK_FRAMES >= self._blocks[recording] + GROWN_BLOCKS
        ]

    def _turn(self, recording: str, readable: Readable, *, is_wanted: bool) -> float:
        """Compute a few MiB of one recording; return for how long to rest in any case."""
        try:
            blocks = self._extend(recording, readable)
            is_behind = is_wanted and self._is_behind(recording, readable)
        except FileNotFoundError:  # deleted or moved meanwhile
            return 0.0
        except OSError as error:
            self._on_error(error)
            return RETRY_S
        if recording in self._blocks:
            self._blocks[recording] = blocks
        if is_behind and recording not in self._gone:
            self.want(recording, readable)
        return 0.0

    def _extend(self, recording: str, readable: Readable) -> int:
        """Append to the zooms of a recording; return how many of the finest blocks it has."""
        channels = readable.format.channels
        have = self.blocks(recording, FACTORS[0], channels)
        frames = readable.frames // BLOCK_FRAMES * BLOCK_FRAMES
        room = max(1, TURN_BYTES // (BLOCK_FRAMES * readable.format.frame_bytes))
        end = min(frames // BLOCK_FRAMES, have + room)
        if end > have:
            with contextlib.closing(_Source(self, self._files, recording, readable)) as source:
                found = source.from_sound(have * BLOCK_COLUMNS, end * BLOCK_COLUMNS)
            if not self._append(recording, FACTORS[0], found, have):
                return have
        for finer, factor in itertools.pairwise(FACTORS):
            have_here = self.blocks(recording, factor, channels)
            # As many as a turn makes at most, also where a coarser file was lost.
            whole = min(self.blocks(recording, finer, channels) // STEP, have_here + room)
            if whole > have_here:
                fine = self.read(recording, finer, channels, have_here * STEP, whole * STEP)
                usable = len(fine) // (STEP * BLOCK_COLUMNS) * STEP * BLOCK_COLUMNS
                self._append(recording, factor, _fold(fine[:usable]), have_here)
        return end


class _Source:
    """One recording's columns for one request: from its files, and behind them from its WAV."""

    def __init__(self, store: PeakStore, files: Files, recording: str, readable: Readable) -> None:
        self._store = store
        self._recording = recording
        self._readable = readable
        self._channels = readable.format.channels
        self._files = files
        self._descriptor: int | None = None

    def close(self) -> None:
        """Close the WAV."""
        if self._descriptor is not None:
            self._files.close(self._descriptor)

    def entries(self, first: int, end: int, columns: int) -> tuple[int, Columns, int]:
        """Return the frames an entry, entries that cover `first` to `end`, the first's number.

        Fewer than that where too much of the WAV would have to be read.
        """
        frame_bytes = self._readable.format.frame_bytes
        if end - first < columns * FACTORS[0] and (end - first) * frame_bytes <= RAW_BYTES:
            return 1, _as_columns(self._samples(first, end)), first
        zoom = sum(factor * columns <= end - first for factor in FACTORS) - 1
        factor = FACTORS[max(0, zoom)]
        start = first // factor
        return factor, self._zoom(max(0, zoom), start, -(-end // factor)), start

    def _zoom(self, zoom: int, first: int, end: int) -> Columns:
        """Return columns of a zoom, the last one may be of fewer frames; fewer as above."""
        factor, channels = FACTORS[zoom], self._channels
        whole = min(end, BLOCK_COLUMNS * self._store.blocks(self._recording, factor, channels))
        stored = np.zeros((0, channels, 2), np.int8)
        if first < whole:
            block = first // BLOCK_COLUMNS
            stored = self._store.read(
                self._recording, factor, channels, block, -(-whole // BLOCK_COLUMNS)
            )[first - block * BLOCK_COLUMNS : whole - block * BLOCK_COLUMNS]
        first += len(stored)
        if first >= end:
            return stored
        if zoom == 0:
            rest = self.from_sound(first, end)
        else:
            wanted = STEP * (end - first)
            fine = self._zoom(zoom - 1, first * STEP, end * STEP)
            if len(fine) < wanted and not self._is_to_the_end(zoom - 1, first * STEP + len(fine)):
                fine = fine[: len(fine) // STEP * STEP]
            rest = _fold(fine)
        return np.concatenate([stored, rest])

    def _is_to_the_end(self, zoom: int, columns: int) -> bool:
        return columns * FACTORS[zoom] >= self._readable.frames

    def from_sound(self, first: int, end: int) -> Columns:
        """Return columns of the finest zoom, computed; as many as `RAW_BYTES` give at most."""
        factor = FACTORS[0]
        first_frame, end_frame = first * factor, min(end * factor, self._readable.frames)
        block_frames = max(factor, BLOCK_FRAMES // self._channels // factor * factor)
        limit = first_frame + RAW_BYTES // (self._readable.format.frame_bytes * factor) * factor
        end_frame = min(end_frame, max(limit, first_frame + factor))
        parts = [
            _reduce(self._samples(start, min(start + block_frames, end_frame)), factor)
            for start in range(first_frame, end_frame, block_frames)
        ]
        if not parts:
            return np.zeros((0, self._channels, 2), np.int8)
        return _to_int8(np.concatenate(parts, axis=2))

    def _samples(self, first: int, end: int) -> Samples:
        """Return samples in shape (channels, frames); zeros for what is not in the file yet."""
        readable = self._readable
        if self._descriptor is None:
            self._descriptor = self._files.open(readable.path)
        frame_bytes = readable.format.frame_bytes
        count = (end - first) * frame_bytes
        offset = readable.data_offset + first * frame_bytes
        data = self._files.read(self._descriptor, count, offset)
        return _decode(data + bytes(count - len(data)), readable.format)


def _block_bytes(channels: int) -> int:
    return BLOCK_COLUMNS * channels * 2 + _CHECK_BYTES


def _checksum(recording: str, factor: int, number: int, block: bytes) -> bytes:
    """Return the check of a block: of its place too, so that no other one can stand there."""
    place = f"{recording}.{factor}.{number}".encode()
    check: int = google_crc32c.extend(google_crc32c.value(place), block)
    return check.to_bytes(_CHECK_BYTES, "little")


def _decode(data: bytes, audio_format: Format) -> Samples:
    """Return samples in shape (channels, frames); of 24 bits the upper 16, which suffice."""
    samples: Samples
    match audio_format.encoding:
        case Encoding.S16:
            samples = np.frombuffer(data, "<i2")
        case Encoding.S24:
            # The upper two of each three bytes, in place.
            samples = np.ndarray(len(data) // 3, "<i2", data, offset=1, strides=(3,))
        case Encoding.F32:
            samples = np.frombuffer(data, "<f4")
    return np.ascontiguousarray(samples.reshape(-1, audio_format.channels).T)


def _reduce(samples: Samples, factor: int) -> Samples:
    """Return lowest and highest samples in shape (2, channels, columns); the last may be short."""
    channels, frames = samples.shape
    whole = frames // factor * factor
    columns = samples[:, :whole].reshape(channels, -1, factor)
    found = np.empty((2, channels, -(-frames // factor)), samples.dtype)
    np.minimum.reduce(columns, axis=2, out=found[0, :, : whole // factor])
    np.maximum.reduce(columns, axis=2, out=found[1, :, : whole // factor])
    if whole < frames:
        found[0, :, -1] = samples[:, whole:].min(axis=1)
        found[1, :, -1] = samples[:, whole:].max(axis=1)
    if samples.dtype.kind == "f" and np.isnan(found).any():
        # A NaN is no sound; an infinity is beyond full scale.
        return _reduce(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), factor)
    return found


def _as_columns(samples: Samples) -> Columns:
    """Return each frame as a column."""
    finite = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    return _to_int8(np.stack([finite, finite]))


def _to_int8(found: Samples) -> Columns:
    """Scale to 8 bits, towards zero: the noise of the last bits is drawn as silence."""
    factor = np.float32(128 if found.dtype.kind == "f" else 1 / 256)
    with np.errstate(over="ignore"):  # a peer's numbers, however wild, are no news to warn of
        scaled = found.transpose(2, 1, 0) * factor
    small: Columns = np.clip(scaled, -128, 127).astype(np.int8)
    return np.ascontiguousarray(small)


def _fold(columns: Columns) -> Columns:
    """Return one column for each `STEP`; the last may stand for fewer."""
    if len(columns) == 0:
        return columns
    starts = np.arange(0, len(columns), STEP)
    lowest = np.minimum.reduceat(columns[..., 0], starts, axis=0)
    highest = np.maximum.reduceat(columns[..., 1], starts, axis=0)
    return np.stack([lowest, highest], axis=2)


def _resample(
    entries: Columns, start: int, factor: int, first_frame: int, frames: int, columns: int
) -> Columns:
    """Return columns of equal length from entries of `factor` frames, zeros where none are."""
    edges = first_frame + np.arange(columns + 1, dtype=np.int64) * frames // columns
    firsts = edges[:-1] // factor - start
    lasts = -(-edges[1:] // factor) - start - 1
    found = np.zeros((columns, entries.shape[1], 2), np.int8)
    known = int(np.count_nonzero(lasts < len(entries)))
    if known:
        firsts, lasts = firsts[:known], lasts[:known]
        within = entries[: lasts[-1] + 1]
        lowest = np.minimum.reduceat(within[..., 0], firsts, axis=0)
        highest = np.maximum.reduceat(within[..., 1], firsts, axis=0)
        # Two columns share an entry that lies across their border.
        found[:known, :, 0] = np.minimum(lowest, within[lasts, :, 0])
        found[:known, :, 1] = np.maximum(highest, within[lasts, :, 1])
    return found
