"""Files recordings behind the acknowledgements: log in, WAVs and sidecars out.

One thread reads the durable log and writes each recording's WAV. It tells the journal
what is safe in the WAVs, so that segments can go. A full disk makes it wait; a failed
write or sync ends it, and the process with it.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from micwire.core.edits import Change
from micwire.core.errors import RegisterDamagedError, StorageFailedError
from micwire.core.interfaces import Files, LibraryEvents, Readable, Recovery
from micwire.core.recording import Closed, Ending, GapEntry, RecordingState, sidecar_fields
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.storage import is_no_room, is_out_of_descriptors, sync_directory_or_fail
from micwire.core.tags import stored_tags
from micwire.library.closed import ClosedRegister, replace_file
from micwire.library.over import Over, gone_as
from micwire.library.wavfile import WavFile, WavMissingError

FLUSH_BYTES = 48 << 10
"""A recording's audio goes to its WAV once so much of it waits, or after `FLUSH_S`."""
FLUSH_S = 1.0
SYNC_S = 10.0
"""How far a WAV's header may be behind; the journal has what is newer."""
MAX_UNSYNCED_BYTES = 8 << 20
"""A fast upload is synced in pieces: one large sync would hold up the journal's."""
SIDECAR_S = 30.0
TRY_AGAIN_S = 300.0
"""How often files of deleted recordings are tried that could not be removed."""
MAX_WAITING_BYTES = 64 << 20
"""Beyond this the journal waits for the WAVs: memory stays bounded on a slow disk."""
_TICK_S = 0.25
_SYNC_TURN_S = 0.01
_ROOM_S = 1.0
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class LibraryFiles:
    """The file system as each part of the library sees it, so that tests can break one."""

    wav: Files
    sidecar: Files
    closed: Files


@dataclass(slots=True)
class _Entry:
    """One unfinished recording, as the writer knows it."""

    state: RecordingState
    wav: WavFile
    last_flush: float
    last_sync: float
    last_sidecar: float = float("-inf")
    is_sidecar_stale: bool = True
    sidecar_frames: int = 0
    is_name_synced: bool = False

    @property
    def directory(self) -> str:
        """Return the directory that the WAV and the sidecar are in."""
        return self.wav.path.rpartition("/")[0]

    @property
    def readable(self) -> Readable:
        """Return what can be read of the WAV now."""
        file = self.wav
        return Readable(file.path, file.format, file.data_offset, file.written)


class WavWriter:
    """The library of a data directory; see `Library` for what it promises.

    Args:
        data: The data directory; it must exist and be locked by this process.
        files: The file system.
        oldest_pins: Which recordings keep the journal's oldest segment, to sync them first.
        backlog_bytes: How large the journal is now.
        max_backlog_bytes: Above this, WAVs are synced early to make the journal shorter.
        on_deleted: Removes what was derived from a recording; called before it is told that
            the recording is gone.
    """

    def __init__(
        self,
        data: Path,
        files: LibraryFiles,
        *,
        oldest_pins: Callable[[], list[bytes]] = list,
        backlog_bytes: Callable[[], int] = int,
        max_backlog_bytes: int = 256 << 20,
        on_deleted: Callable[[str], None] = lambda recording: None,
    ) -> None:
        self._data = str(data)
        self._files = files
        self._scratch = f"{self._data}/.micwire/scratch"
        self._register = ClosedRegister(
            f"{self._data}/.micwire/closed", self._scratch, files.closed
        )
        self._afterwards = Over(
            self._data,
            self._scratch,
            self._register,
            wav=files.wav,
            sidecar=files.sidecar,
            closed=files.closed,
            on_deleted=on_deleted,
        )
        self._oldest_pins = oldest_pins
        self._backlog_bytes = backlog_bytes
        self._max_backlog_bytes = max_backlog_bytes
        self._entries: dict[bytes, _Entry] = {}
        self._directories: set[str] = set()
        """Directories whose names are durable, as far as this process knows."""
        self._ending: deque[bytes] = deque()
        self._to_sync: dict[bytes, None] = {}  # in the order in which they became due
        self._over: set[bytes] = set()
        """Closed by this thread, and not yet by the log: a state of one changes nothing."""
        self._arrived = threading.Condition()
        self._batches: deque[tuple[Sequence[Record], int]] = deque()
        self._waiting_bytes = 0
        self._is_closing = False
        self._is_over = False
        self._is_full = False
        self._last_tend = self._last_room = float("-inf")
        self._last_try = time.monotonic()
        self._events: LibraryEvents | None = None
        self._thread = threading.Thread(target=self._run, name="micwire-library", daemon=True)

    # ---- boot ----------------------------------------------------------------------

    def recover(self, recovery: Recovery) -> list[bytes]:
        """File what the log still holds; see `Library.recover`.

        Raises:
            StorageFailedError: The disk failed or has no room.
        """
        try:
            self._make_directories()
            self._afterwards.complete_deletions()
            self._afterwards.keep_reserve()
            return self._replay(recovery)
        except OSError as error:
            raise StorageFailedError(f"the WAVs can't be brought up to date: {error}") from error

    def _make_directories(self) -> None:
        for name in ("scratch", "closed", "deleting"):
            self._files.closed.make_directory(f"{self._data}/.micwire/{name}")
        sync_directory_or_fail(self._files.closed, f"{self._data}/.micwire")
        sync_directory_or_fail(self._files.closed, self._data)
        for name in self._files.closed.names(self._scratch):
            self._files.closed.unlink(f"{self._scratch}/{name}")

    def _replay(self, recovery: Recovery) -> list[bytes]:
        closed = [key for key, state in recovery.states.items() if self._confirm_closed(state)]
        for key in closed:
            del recovery.states[key]
        begun: set[bytes] = set()
        for record in recovery.records():
            state = recovery.states.get(record.recording)
            if state is None or state.is_deleted:
                continue
            if record.recording not in begun:
                begun.add(record.recording)
                self._add(record.recording, state, record.first_frame)
                if self._resume(self._entries[record.recording], record.first_frame):
                    recovery.altered.append(record.recording)
            self._replay_record(self._entries[record.recording], record)
        for key, state in recovery.states.items():
            if key not in begun:
                self._add(key, state, 0 if state.is_deleted else state.frames)
            if self._check_recovered(self._entries[key], was_replayed=key in begun):
                recovery.altered.append(key)
        self._sync_names([entry for entry in self._entries.values() if entry.wav.synced])
        return closed

    def _confirm_closed(self, state: RecordingState) -> bool:
        closed = self._register.get(state.about.recording)
        if closed is None:
            return False
        if closed.status == "deleted":
            # Done again: its files may have outlived the crash. That the journal says so
            # too can not be relied on: its last words may have been on no disk.
            state.is_deleted = True
            return False
        # The journal is about to forget the recording, and the process that wrote this
        # entry may have died before its name was durable.
        self._register.put(closed)
        return True

    def _replay_record(self, entry: _Entry, record: Record) -> None:
        if record.end <= entry.wav.end:
            return
        if record.first_frame != entry.wav.end:
            raise StorageFailedError(
                f"the journal lacks frames {entry.wav.end} to {record.first_frame} of recording"
                f" {entry.state.about.recording}; nothing behind them was changed"
            )
        self._file_frames(entry, record)

    def _resume(self, entry: _Entry, frames: int) -> bool:
        """Go on behind the first `frames` frames of a WAV; True if some of them are gone."""
        try:
            entry.wav.resume(frames)
        except WavMissingError:
            # Somebody moved or cut the file. One recording's loss, told as what it is.
            kept = entry.wav.start_anew(frames)
            state = entry.state
            kept = max([kept, *(gap.end for gap in state.gaps if gap.first_frame < kept)])
            state.gaps = [
                *(gap for gap in state.gaps if gap.end <= kept),
                GapEntry(kept, frames - kept, "file-lost", exact=True),
                *(gap for gap in state.gaps if gap.first_frame >= frames),
            ]
            return True
        return False

    def _check_recovered(self, entry: _Entry, *, was_replayed: bool) -> bool:
        """Bring a WAV up to date with its recording; True if frames of it are gone."""
        state, file = entry.state, entry.wav
        if state.is_deleted:
            return False
        if state.frames == 0:
            self._files.wav.unlink(file.path)  # its header may not have survived
            return False
        file.flush()
        if file.written != state.frames:
            raise StorageFailedError(
                f"recording {state.about.recording} has {state.frames} durable frames and only"
                f" {file.written} of them were found; nothing was removed"
            )
        is_altered = False
        if was_replayed or not file.is_header_current():
            if not was_replayed:
                is_altered = self._resume(entry, state.frames)
            file.settle()
        return is_altered

    # ---- any thread ----------------------------------------------------------------

    def start(self, events: LibraryEvents) -> None:
        """Begin to file, and end what was to end when the process before died."""
        self._events = events
        for key, entry in self._entries.items():
            events.filed(key, entry.wav.synced)
            if entry.state.ending is not None or entry.state.is_deleted:
                self._ending.append(key)
        self._thread.start()

    def file(self, records: Sequence[Record]) -> None:
        """Take durable records. Blocks while more than `MAX_WAITING_BYTES` wait.

        But not on a full disk: then nothing more comes, and the journal has to go on.
        """
        size = sum(record.size for record in records)
        with self._arrived:
            while self._waiting_bytes > MAX_WAITING_BYTES and not (self._is_over or self._is_full):
                self._arrived.wait()
            self._batches.append((records, size))
            self._waiting_bytes += size
            self._arrived.notify_all()

    def closed(self, recording: str) -> Closed | None:
        """Return what is known of a recording that is over. Blocks."""
        return self._register.get(recording)

    def reopen(self, closed: Closed) -> Closed:
        """Grant a further epoch on a recording that is over, durably. Blocks."""
        return self._register.reopen(closed)

    def edit(self, closed: Closed, change: Change) -> None:
        """Change what is said of a recording that is over; see `Library.edit`. Blocks."""
        self._afterwards.edit(closed, change)

    def delete(self, closed: Closed) -> None:
        """Delete a recording that is over; see `Library.delete`. Blocks."""
        self._afterwards.delete(closed)

    def readable(self, recording: str) -> Readable | None:
        """Return what can be read of an unfinished recording. Never blocks."""
        entry = self._entries.get(recording_bytes(recording))
        return None if entry is None or entry.state.is_deleted else entry.readable

    def unfinished(self) -> list[tuple[str, Readable]]:
        """Return what can be read of all unfinished recordings, by id. Never blocks."""
        return [
            (entry.state.about.recording, entry.readable)
            for entry in tuple(self._entries.values())
            if not entry.state.is_deleted
        ]

    def close(self) -> None:
        """File and sync what was taken, then end. Blocks."""
        with self._arrived:
            self._is_closing = True
            self._arrived.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    # ---- the writer's thread -------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            if not self._is_over:
                self._flush_all()
        except Exception as error:  # also a mistake of ours: nothing is filed without this thread
            self._tell().failed(StorageFailedError(f"a recording can't be written: {error!r}"))
        finally:
            with self._arrived:
                self._is_over = True
                self._arrived.notify_all()

    def _tell(self) -> LibraryEvents:
        if self._events is None:
            raise ValueError("start() comes before file()")
        return self._events

    def _turn(self) -> bool:
        """Do what is due; False once all is done and the owner wants to end."""
        with self._arrived:
            if not (self._batches or self._ending or self._to_sync or self._is_closing):
                self._arrived.wait(_TICK_S)
            batches = list(self._batches)
            self._batches.clear()
            is_done = self._is_closing and not batches and not self._ending
        for records, size in batches:
            for record in records:
                self._apply(record)
            with self._arrived:
                self._waiting_bytes -= size
                self._arrived.notify_all()
        if self._ending:
            self._end_one(self._ending.popleft())
        now = time.monotonic()
        if now - self._last_tend >= _TICK_S:
            self._last_tend = now
            self._tend(now)
        self._sync_some(now)
        return not is_done

    def _apply(self, record: Record) -> None:
        entry = self._entries.get(record.recording)
        if record.is_audio:
            if entry is not None and entry.state.apply(record):
                self._file_frames(entry, record)
                entry.is_sidecar_stale |= record.is_gap
        elif record.kind is Kind.STATE:
            state = RecordingState.from_record(record)
            if entry is not None:
                # Only an edit alters what the sidecar says of it.
                is_edit = (state.about, state.marks) != (entry.state.about, entry.state.marks)
                entry.is_sidecar_stale |= is_edit
                entry.state = state
            elif not self._is_known_over(record.recording, state):
                self._add(record.recording, state, 0)
        elif record.kind is Kind.CLOSED:
            self._over.discard(record.recording)
            self._entries.pop(record.recording, None)
        elif entry is not None and entry.state.apply(record):
            entry.is_sidecar_stale = True
            if record.kind is not Kind.MARK:  # finish or delete
                self._ending.append(record.recording)

    def _is_known_over(self, key: bytes, state: RecordingState) -> bool:
        """Tell whether a recording without an entry is over rather than new."""
        if key in self._over:
            return True
        try:
            return self._register.get(state.about.recording) is not None
        except RegisterDamagedError:  # it was over, whatever is there now
            return True

    def _add(self, key: bytes, state: RecordingState, frames: int) -> None:
        now = time.monotonic()
        path = f"{self._data}/{state.about.path}.wav"
        tags = b""
        if state.about.tag_bytes:
            tags = stored_tags(sidecar_fields(state, "recording", None))
        file = WavFile(self._files.wav, path, state.about.format, frames, tags)
        # Recordings that begin together are not synced together: the id's bits spread them.
        self._entries[key] = _Entry(state, file, now, now - SYNC_S * key[-1] / 256)
        self._with_room(lambda: self._make_directory(path.rpartition("/")[0]))

    def _make_directory(self, directory: str) -> None:
        if directory not in self._directories:
            # One that is there may have been made by a process that died before the sync.
            self._files.wav.make_directory(directory)
            sync_directory_or_fail(self._files.wav, self._data)
            self._directories.add(directory)

    def _sync_names(self, entries: Sequence[_Entry]) -> None:
        """Make the names of WAVs durable; each of them was created before."""
        for directory in sorted({entry.directory for entry in entries}):
            sync_directory_or_fail(self._files.wav, directory)
        for entry in entries:
            entry.is_name_synced = True

    def _file_frames(self, entry: _Entry, record: Record) -> None:
        file = entry.wav
        if record.is_gap:
            self._flush(entry)
            file.skip(record.frames)
            return
        file.take(record.payload)
        if file.pending_bytes >= FLUSH_BYTES:
            self._flush(entry)
            if file.unsynced_bytes > MAX_UNSYNCED_BYTES:
                self._to_sync[record.recording] = None

    def _flush(self, entry: _Entry) -> None:
        self._with_room(entry.wav.flush)
        entry.last_flush = time.monotonic()
        if entry.wav.undigested_bytes and self._events is not None:  # a boot doesn't wait for it
            self._with_room(entry.wav.catch_up)

    def _with_room(self, action: Callable[[], object]) -> None:
        """Do something that needs room, as often as it takes to succeed."""
        is_full = False
        while True:
            try:
                action()
            except OSError as error:
                if not is_no_room(error) or self._is_closing or self._events is None:
                    raise
                if not is_full and not is_out_of_descriptors(error):
                    is_full = True
                    self._set_full(is_full=True)
                time.sleep(_RETRY_S)
            else:
                if is_full:
                    self._set_full(is_full=False)
                return

    def _set_full(self, *, is_full: bool) -> None:
        with self._arrived:
            self._is_full = is_full
            self._arrived.notify_all()
        self._tell().full(is_full=is_full)

    def _kept_entries(self) -> list[tuple[bytes, _Entry]]:
        """Return those that are not about to be deleted: nothing of these is written again."""
        return [(key, entry) for key, entry in self._entries.items() if not entry.state.is_deleted]

    def _tend(self, now: float) -> None:
        """Flush, sync and describe what has waited long enough."""
        hurry: set[bytes] = set()
        if self._backlog_bytes() > self._max_backlog_bytes:
            hurry.update(self._oldest_pins())
        for key, entry in self._kept_entries():
            if entry.wav.pending_bytes and now - entry.last_flush >= FLUSH_S:
                self._flush(entry)
            is_unsynced = entry.wav.end > entry.wav.synced
            if is_unsynced and (now - entry.last_sync >= SYNC_S or key in hurry):
                self._to_sync[key] = None
            has_grown = entry.state.frames > entry.sidecar_frames
            if entry.is_sidecar_stale or (has_grown and now - entry.last_sidecar >= SIDECAR_S):
                self._write_sidecar(entry, "recording", None)
        if now - self._last_try >= TRY_AGAIN_S:
            self._last_try = now
            self._afterwards.try_again()
        if now - self._last_room >= _ROOM_S:
            self._last_room = now
            self._tell().room(self._files.wav.free_bytes(self._data))

    def _sync_some(self, began: float) -> None:
        """Sync WAVs that are due, for a moment only: durable audio waits in memory meanwhile."""
        while self._to_sync and time.monotonic() - began < _SYNC_TURN_S:
            key = next(iter(self._to_sync))
            del self._to_sync[key]
            entry = self._entries.get(key)
            if entry is not None:
                self._sync(key, entry)

    def _sync(self, key: bytes, entry: _Entry) -> None:
        self._flush(entry)
        self._with_room(entry.wav.sync)
        if not entry.is_name_synced:
            self._with_room(lambda: self._sync_names([entry]))
        entry.last_sync = time.monotonic()
        self._tell().filed(key, entry.wav.synced)

    def _flush_all(self) -> None:
        for key, entry in self._kept_entries():
            if entry.wav.end > entry.wav.synced:
                self._sync(key, entry)
            self._write_sidecar(entry, "recording", None)

    def _write_sidecar(
        self, entry: _Entry, status: str, digest: str | None, *, is_synced: bool = False
    ) -> None:
        about = entry.state.about
        text = json.dumps(sidecar_fields(entry.state, status, digest), ensure_ascii=False, indent=2)
        path = f"{self._data}/{about.path}.json"
        scratch = f"{self._scratch}/{about.recording}.json"
        self._with_room(
            lambda: replace_file(
                self._files.sidecar, path, scratch, f"{text}\n", is_synced=is_synced
            )
        )
        entry.last_sidecar = time.monotonic()
        entry.sidecar_frames = entry.state.frames
        entry.is_sidecar_stale = False

    # ---- the end of a recording ----------------------------------------------------

    def _end_one(self, key: bytes) -> None:
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.state.is_deleted:
            self._delete(key, entry)
        elif entry.state.ending is not None:
            self._flush(entry)
            self._with_room(entry.wav.catch_up)
            if entry.wav.undigested_bytes == 0:
                self._finish(key, entry, entry.state.ending)
            else:  # a little at a time: others are to be filed meanwhile
                self._ending.append(key)

    def _finish(self, key: bytes, entry: _Entry, ending: Ending) -> None:
        self._with_room(entry.wav.finish)
        digest = entry.wav.digest.hexdigest()
        self._write_sidecar(entry, ending.status, digest, is_synced=True)
        self._with_room(lambda: self._sync_names([entry]))
        self._close(key, self._closed_as(entry.state, ending.status, digest, ending.digest))

    def _delete(self, key: bytes, entry: _Entry) -> None:
        about = entry.state.about
        gone = gone_as(about.recording, about.format, about.path, entry.state.epoch)
        self._with_room(lambda: self._afterwards.delete_unfinished(gone))
        self._close(key, replace(gone, path=""))

    def _close(self, key: bytes, closed: Closed) -> None:
        if closed.status != "deleted":
            self._with_room(lambda: self._register.put(closed))
        del self._entries[key]
        self._over.add(key)
        self._tell().filed(key, None)
        self._tell().closed(key, closed)

    @staticmethod
    def _closed_as(
        state: RecordingState, status: str, digest: str, client_digest: str | None
    ) -> Closed:
        about = state.about
        return Closed(
            recording=about.recording,
            status=status,
            key_hash=about.key_hash,
            format=about.format,
            path=about.path,
            epoch=state.epoch,
            frames=state.frames,
            digest=digest,
            client_digest=client_digest,
            marks=state.known_marks,
            owner=about.owner,
            data_offset=about.data_offset,
        )
