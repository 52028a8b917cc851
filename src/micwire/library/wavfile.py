"""One recording's WAV while it grows: bytes first, sync, then the header.

Everything is written by frame index, so that filing a frame twice changes nothing. No
descriptor is kept open between calls: ten thousand recordings need none.
"""

import contextlib
from collections.abc import Iterator

from micwire.core import wav
from micwire.core.audio import Format
from micwire.core.digest import PieceDigest
from micwire.core.errors import MicwireError, WavError
from micwire.core.interfaces import Files
from micwire.core.storage import sync_or_fail, write_all

CATCH_UP_BYTES = 4 << 20
_ZEROS = bytes(CATCH_UP_BYTES)


class WavMissingError(MicwireError):
    """Frames that were synced into a WAV are not there: somebody moved or cut the file."""

    code = "wav-missing"


class WavFile:
    """The WAV of an unfinished recording.

    Args:
        files: The file system.
        path: Where the WAV is or will be.
        audio_format: Its format.
        frames: How many frames are in it already, durably.
        tags: Chunks that its header holds beside its format.
    """

    def __init__(
        self, files: Files, path: str, audio_format: Format, frames: int = 0, tags: bytes = b""
    ) -> None:
        self.path = path
        self.format = audio_format
        self.written = frames
        """Frames in the file, as any reader sees it now."""
        self.synced = frames
        """Frames in the file that survive a power cut."""
        self.pending_bytes = 0
        self.digest = PieceDigest()
        self._files = files
        self._pending: list[bytes | memoryview] = []
        self._frame_bytes = audio_format.frame_bytes
        self._tags = tags
        self._data_offset = wav.header_bytes(audio_format) + len(tags)
        self._is_created = frames > 0
        self._stale_end = self._claimed_end = 0
        self._is_rf64 = False

    @property
    def end(self) -> int:
        """Return the frame behind the last one taken, written or not."""
        return self.written + self.pending_bytes // self._frame_bytes

    @property
    def data_offset(self) -> int:
        """Return where the audio begins in the file."""
        return self._data_offset

    @property
    def unsynced_bytes(self) -> int:
        """Return how much of what is written would not survive a power cut."""
        return (self.written - self.synced) * self._frame_bytes

    @property
    def undigested_bytes(self) -> int:
        """Return how far the digest is behind what is written."""
        return self.written * self._frame_bytes - self.digest.bytes

    def take(self, data: bytes | memoryview) -> None:
        """Take whole frames behind `end`; they are written by the next `flush`."""
        self._pending.append(data)
        self.pending_bytes += len(data)

    def skip(self, frames: int) -> None:
        """Leave `frames` frames of zeros; `flush` comes first."""
        start, end = self._offset(self.written), self._offset(self.written + frames)
        # What the header claims was synced as it is, zeros included. Behind that, cut.
        rubbish = max(start, self._claimed_end)
        if rubbish < min(end, self._stale_end):
            with self._opened() as descriptor:
                self._files.truncate(descriptor, rubbish)
            self._stale_end = rubbish
        if self.undigested_bytes == 0:
            self.digest.update_zeros(end - start)
        self.written += frames

    def flush(self) -> None:
        """Write what was taken. May be called again after an `OSError`."""
        if not self._pending:
            return
        with self._opened() as descriptor:
            write_all(self._files, descriptor, self._pending, self._offset(self.written))
        # After a restart the digest can wait: what listens again soonest loses least.
        is_digest_near = self.undigested_bytes == 0 and not self._stale_end
        self.written = self.end
        if is_digest_near:
            for data in self._pending:
                self.digest.update(data)
        self._pending.clear()
        self.pending_bytes = 0

    def sync(self) -> None:
        """Make what is written durable, then say so in the header."""
        with self._opened() as descriptor:
            length = self._offset(self.written)
            if self._files.size(descriptor) < length:  # a gap is the last thing in it
                self._files.truncate(descriptor, length)
            sync_or_fail(self._files, descriptor)
            self._write_header(descriptor)
        self.synced = self.written

    def finish(self) -> None:
        """Give the file its final length and header, both durable."""
        with self._opened() as descriptor:
            length = self._offset(self.written)
            padding = wav.padding(self.format, self.written)
            self._files.truncate(descriptor, length)
            if padding:
                write_all(self._files, descriptor, [bytes(padding)], length)
            sync_or_fail(self._files, descriptor)
            self._write_header(descriptor)
            sync_or_fail(self._files, descriptor)
        self.synced = self.written

    def resume(self, frames: int) -> None:
        """After a crash: the first `frames` frames are safe; what lies behind may be rubbish.

        The file is written over in place and never shorter than its header says, so that
        a further crash finds it no worse. `settle` ends this.

        Raises:
            WavMissingError: The file holds fewer frames.
        """
        with self._opened(create=frames == 0) as descriptor:
            self._stale_end = self._files.size(descriptor)
            self._claimed_end = self._offset(self._claimed_frames(descriptor))
        if frames and self._stale_end < self._offset(frames):
            raise WavMissingError(
                f"{self.path} is shorter than the {frames} frames that were saved in it"
            )
        self.written = self.synced = frames

    def _claimed_frames(self, descriptor: int) -> int:
        try:
            head = self._files.read(descriptor, self._data_offset, 0)
            claimed = wav.parse(head, max(self._stale_end, self._data_offset)).claimed_bytes
        except WavError:
            return 0
        return (claimed or 0) // self._frame_bytes

    def start_anew(self, frames: int) -> int:
        """Go on behind `frames` frames though the file lost some; return how many it kept."""
        self._is_created = False
        with self._opened() as descriptor:
            kept = max(0, self._files.size(descriptor) - self._data_offset) // self._frame_bytes
            # Half a frame at the end would make a click out of nothing.
            self._files.truncate(descriptor, self._offset(min(kept, frames)))
        self._stale_end = self._claimed_end = 0
        self.written = self.synced = frames
        return min(kept, frames)

    def settle(self) -> None:
        """End what `resume` began: the file holds what is written and nothing behind it."""
        with self._opened() as descriptor:
            length, size = self._offset(self.written), self._files.size(descriptor)
            if size < length:
                self._files.truncate(descriptor, length)
            sync_or_fail(self._files, descriptor)
            self._write_header(descriptor)
            if size > length:
                sync_or_fail(self._files, descriptor)  # it may have counted what goes now
                self._files.truncate(descriptor, length)
                sync_or_fail(self._files, descriptor)
        self._stale_end = 0
        self.synced = self.written

    def is_header_current(self) -> bool:
        """Tell whether the file is as `sync` left it with all its frames."""
        try:
            with self._opened() as descriptor:
                head = self._files.read(descriptor, self._data_offset, 0)
                size = self._files.size(descriptor)
        except WavMissingError:
            return False
        return head == self._header() and size == self._offset(self.written)

    def catch_up(self) -> bool:
        """Digest a few more MiB of what is written; True once all of it is in the digest."""
        count = min(self.undigested_bytes, CATCH_UP_BYTES)
        if count > 0:
            with self._opened() as descriptor:
                data = self._files.read(descriptor, count, self._data_offset + self.digest.bytes)
            # A gap at the end may not have been given its length yet.
            self.digest.update(data + _ZEROS[: count - len(data)])
        return self.undigested_bytes == 0

    def _offset(self, frame: int) -> int:
        return self._data_offset + frame * self._frame_bytes

    def _header(self) -> bytes:
        return wav.header(self.format, self.written, self._tags)

    def _write_header(self, descriptor: int) -> None:
        header = self._header()
        if header.startswith(b"RF64") and not self._is_rf64:
            # Sizes of 64 bits first: "look there" must never reach the disk before them.
            write_all(self._files, descriptor, [header[: wav.SIZES_BYTES]], 0)
            sync_or_fail(self._files, descriptor)
            self._is_rf64 = True
        write_all(self._files, descriptor, [header], 0)

    @contextlib.contextmanager
    def _opened(self, *, create: bool = True) -> Iterator[int]:
        try:
            descriptor = self._files.open(self.path, create=create and not self._is_created)
        except FileNotFoundError:
            raise WavMissingError(f"{self.path} is gone") from None
        try:
            if not self._is_created and self._files.size(descriptor) < self._data_offset:
                empty = wav.header(self.format, 0, self._tags)
                write_all(self._files, descriptor, [empty], 0)
            self._is_created = True
            yield descriptor
        finally:
            self._files.close(descriptor)
