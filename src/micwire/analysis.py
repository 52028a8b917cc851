"""Runs analyzers beside the recorder: durable sound in, results out.

The journal tells what has become durable; each analyzer of a recording has a cursor of
its own into that. The latest sound is still in memory; an analyzer that is behind reads
the WAV, which the library writes from the same log. Analyzers run on threads of their
own, and nobody waits for them: not the recorder, not an ack, not another analyzer.
"""

import asyncio
import contextlib
import re
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from queue import SimpleQueue

from micwire.blocks import Analyzer, AudioBlock, decode_samples
from micwire.core.errors import MicwireError, StorageFailedError
from micwire.core.interfaces import Files, Readable
from micwire.core.recording import About, Closed, RecordingState
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.wav import header_bytes
from micwire.core.wire import Notice, Open, encode_server
from micwire.results import Line, Reader, ResultFile, Results

GROUP = "micwire.analyzers"
THREADS = 2
"""So many recordings may be in one analyzer's hands at once. More that compute in Python
would only wait for each other, and the event loop for all of them."""
RECENT_BYTES = 128 << 10
"""So much of a recording's latest sound stays in memory for its analyzers.

More than a WAV is behind the log on a disk that keeps up, so that sound is in either."""
_AHEAD_BYTES = 256 << 10
_STEP_S = 0.02
_RETRY_S = 0.5
_CLOSE_S = 1.0
_NAME = re.compile(r"[\w-]{1,64}")


class AnalyzerError(MicwireError):
    """An analyzer that the settings name can't be used; the text says why."""

    code = "bad-analyzer"


def load_analyzers(names: Sequence[str]) -> dict[str, Analyzer]:
    """Return analyzers by the names that results carry.

    Args:
        names: Each an entry point of the group "micwire.analyzers", or `module:attribute`.

    Raises:
        AnalyzerError: There is no such analyzer, or it can't be imported, or a name twice.
    """
    known = {point.name: point for point in entry_points(group=GROUP)}
    loaded: dict[str, Analyzer] = {}
    for word in names:
        name = word.rpartition(":")[2].rpartition(".")[2]
        if _NAME.fullmatch(name) is None:
            raise AnalyzerError(f"{name!r} is no name: letters, digits, _ and -, at most 64")
        point = EntryPoint(name, word, GROUP) if ":" in word else known.get(word)
        if point is None:
            have = ", ".join(sorted(known)) or "none"
            raise AnalyzerError(
                f"there is no analyzer {word!r}; installed are: {have}."
                " One of your own is named as module:function"
            )
        try:
            found = point.load()
        except Exception as error:  # whatever happens in somebody's module
            raise AnalyzerError(f"the analyzer {word!r} can't be imported: {error!r}") from error
        if not isinstance(found, Analyzer):
            raise AnalyzerError(f"{word!r} is no analyzer: decorate it with @micwire.analyzer()")
        if name in loaded:
            raise AnalyzerError(f"there are two analyzers of the name {name!r}")
        loaded[name] = found
    return loaded


class Analysis:
    """All recordings that are being analysed; see `core.interfaces.Analysis`.

    Args:
        data: The data directory.
        files: The file system.
        analyzers: Those that may be asked for, by name. All of them run for a client that
            asks for none by name.
        readable: What can be read of an unfinished recording's WAV.
        on_stopped: Called with the name of an analyzer that has raised, or None where all
            of a recording are stopped, and with the error; from any thread.
        on_results: Called on the loop with a recording and what was said of it, each as the
            wire's `result` has it.
    """

    def __init__(
        self,
        data: Path,
        files: Files,
        analyzers: Mapping[str, Analyzer],
        readable: Callable[[str], Readable | None],
        on_stopped: Callable[[str | None, BaseException], None] = lambda name, error: None,
        on_results: Callable[[RecordingState, list[str]], None] = lambda state, texts: None,
    ) -> None:
        self.files = files
        self.analyzers = dict(analyzers)
        self.on_stopped = on_stopped
        self.on_results = on_results
        self._data = data
        self._readable = readable
        self._recordings: dict[bytes, _Recording] = {}
        self._crews = {name: _Crew(f"micwire-{name}", THREADS) for name in analyzers}
        self.keeper = _Crew("micwire-results", 1)
        """Reads and syncs results, so that no analyzer waits for that."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: deque[Callable[[], None]] = deque()
        self._is_telling = False

    def start(self) -> None:
        """Begin. Called on the loop, before anything else."""
        self._loop = asyncio.get_running_loop()
        if self.analyzers:
            for crew in (*self._crews.values(), self.keeper):
                crew.start()

    def close(self) -> None:
        """End, within a second. Blocks. What was not analysed is, when its client returns."""
        self._loop = None
        deadline = time.monotonic() + _CLOSE_S
        for crew in (*self._crews.values(), self.keeper):
            crew.close()
        for crew in (*self._crews.values(), self.keeper):
            crew.join(deadline)

    @property
    def recordings(self) -> int:
        """How many recordings are being analysed, those included that are over."""
        return len(self._recordings)

    # ---- any thread ----------------------------------------------------------------

    def feed(self, records: Sequence[Record]) -> None:
        """Take durable records, in the order of the log."""
        recordings = self._recordings
        if not recordings:
            return
        moved: dict[bytes, _Recording] = {}
        for record in records:
            recording = recordings.get(record.recording)
            if recording is not None and recording.take(record):
                moved[record.recording] = recording
        for recording in moved.values():
            recording.schedule()

    def tell(self, news: Callable[[], None]) -> None:
        """Call something on the loop, soon; many threads' news share one wake-up."""
        loop = self._loop
        self._news.append(news)
        if not self._is_telling and loop is not None:
            self._is_telling = True
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_telling = False  # first: what comes from now on asks for another call
        while self._news:
            self._news.popleft()()

    def put(self, name: str, task: Callable[[], None]) -> None:
        """Let a thread of an analyzer do something."""
        self._crews[name].put(task)

    def put_later(self, name: str, task: Callable[[], None]) -> None:
        """Let a thread of an analyzer do something after a short while."""

        def wait() -> None:
            if self._loop is not None:
                self._loop.call_later(_RETRY_S, self.put, name, task)

        self.tell(wait)

    def wav(self, about: About, frames: int | None) -> Readable | None:
        """Return what can be read of a WAV now; `frames` is how many it has once it is final."""
        if frames is None:
            return self._readable(about.recording)
        offset = header_bytes(about.format) + about.tag_bytes
        return Readable(self._path(about.path, "wav"), about.format, offset, frames)

    def _path(self, path: str, suffix: str) -> str:
        return f"{self._data}/{path}.{suffix}"

    # ---- the loop --------------------------------------------------------------------

    def attach(
        self, state: RecordingState, message: Open, wake: Callable[[], None]
    ) -> Reader | None:
        """Analyse a recording as its client asks for; see `core.interfaces.Analysis`."""
        key = recording_bytes(state.about.recording)
        recording = self._recordings.get(key)
        if recording is not None and recording.has_failed:
            recording = None  # its file is read anew
        names = tuple(self.analyzers) if message.analyzers is None else message.analyzers
        chosen = {name: self.analyzers[name] for name in names if name in self.analyzers}
        notices = [_unknown(name) for name in names if name not in self.analyzers]
        if recording is None and not chosen:
            return _only(notices, wake) if notices else None
        seen = message.results_since or 0
        if recording is None:
            recording = _Recording(self, state, self._path(state.about.path, "jsonl"))
            self._recordings[key] = recording
            self.keeper.put(partial(recording.load, seen))
        recording.choose(chosen)
        recording.reach(state.frames)
        return recording.results.reader(seen, wake, notices)

    def attach_closed(
        self, closed: Closed, message: Open, wake: Callable[[], None]
    ) -> Reader | None:
        """Return what was said of a recording that is over; see `core.interfaces.Analysis`."""
        if not self.analyzers or message.analyzers == ():
            return None
        seen = message.results_since or 0
        recording = self._recordings.get(recording_bytes(closed.recording))
        if recording is not None:  # some analyzer is still at it
            return recording.results.reader(seen, wake)
        file = ResultFile(self.files, self._path(closed.path, "jsonl"), lambda lines: None)
        results = Results(partial(read_results, self, file))
        reader = results.reader(seen, wake)

        def load() -> None:
            with contextlib.suppress(OSError, StorageFailedError):  # then there is nothing to tell
                file.load(0)
            self.tell(partial(results.loaded, file.last_seq))
            self.tell(results.over)

        self.keeper.put(load)
        return reader

    def forget(self, recording: bytes) -> None:
        """The recording is to be deleted: write nothing more of it."""
        known = self._recordings.get(recording)
        if known is not None:
            known.give_up()

    def drop(self, recording: "_Recording") -> None:
        """A recording is over, and so is its analysis."""
        if self._recordings.get(recording.key) is recording:
            del self._recordings[recording.key]


def _unknown(name: str) -> str:
    words = f"this server has no analyzer {name[:64]!r}"
    return encode_server(Notice("unknown-analyzer", words))


def _only(notices: Sequence[str], wake: Callable[[], None]) -> Reader:
    """Return a reader of nothing but notices."""
    results = Results(lambda since, offset, then: None)
    results.over()
    return results.reader(0, wake, notices)


def read_results(
    analysis: Analysis,
    file: ResultFile,
    since: int,
    offset: int,
    then: Callable[[list[Line], int], None],
) -> None:
    """Read some results beside the loop, then call back on it."""

    def read() -> None:
        lines: list[Line] = []
        end = offset
        with contextlib.suppress(OSError):  # the reader goes on with what is in memory
            lines, end = file.read(since, offset)
        analysis.tell(lambda: then(lines, end))

    analysis.keeper.put(read)


class _Recording:
    """One recording that is analysed. Its lock is held for moments only, never for a file."""

    def __init__(self, analysis: Analysis, state: RecordingState, path: str) -> None:
        self.id = state.about.recording
        self.key = recording_bytes(self.id)
        self.format = state.about.format
        self.lock = threading.Lock()
        self.durable = 0
        """All frames before this one are durable."""
        self.end: int | None = None
        """How many frames the recording has, once that is known."""
        self.is_over = False
        """It was deleted, or its results can't be kept."""
        self.has_failed = False
        self.file = ResultFile(analysis.files, path, self._written)
        self.results = Results(partial(read_results, analysis, self.file))
        self.analysis = analysis
        self._state = state
        self._ends: dict[str, int] = {}
        self._is_loaded = False
        self._is_closed = False
        self._is_settled = False
        self._jobs: dict[str, _Job] = {}
        self._recent: deque[Record] = deque()
        self._recent_bytes = 0

    # ---- the journal's thread --------------------------------------------------------

    def take(self, record: Record) -> bool:
        """Take a durable record; True if there may be something to do."""
        with self.lock:
            if record.is_audio:
                self.durable = record.end
                self._recent.append(record)  # a gap too: it has no bytes, and frames in a row
                self._recent_bytes += len(record.payload)
                while self._recent_bytes > RECENT_BYTES and len(self._recent) > 1:
                    self._drop_oldest()
            elif record.kind is Kind.FINISH:
                self.end = self.durable = record.first_frame
            elif record.kind is Kind.DELETE:
                self.is_over = True
            elif record.kind is Kind.CLOSED:
                self._is_closed = True
                self._recent.clear()  # the WAV has it all, however long an analyzer may take
                self._recent_bytes = 0
            else:
                return False
            return True

    def _drop_oldest(self) -> None:
        self._recent_bytes -= len(self._recent.popleft().payload)

    def schedule(self) -> None:
        """Wake every analyzer that may have something to do."""
        for job in tuple(self._jobs.values()):
            job.schedule()
        self.settle()

    # ---- the loop --------------------------------------------------------------------

    def choose(self, analyzers: Mapping[str, Analyzer]) -> None:
        """Run these from now on, each from behind the frames it has spoken of."""
        with self.lock:
            jobs = dict(self._jobs)
            for name, analyzer in analyzers.items():
                if name not in jobs:
                    jobs[name] = _Job(self, name, analyzer, self._ends.get(name, 0))
            for name, job in jobs.items():
                job.is_chosen = name in analyzers
            self._jobs = jobs  # at once, for other threads go through it

    def reach(self, frames: int) -> None:
        """All frames before `frames` are durable."""
        with self.lock:
            self.durable = max(self.durable, frames)
        self.schedule()

    def give_up(self) -> None:
        """The recording is to be deleted."""
        self.is_over = True
        self.file.delete()

    # ---- threads of analyzers, and the keeper ----------------------------------------

    @property
    def is_ready(self) -> bool:
        """Tell whether analyzers may run."""
        return self._is_loaded and not self.is_over

    def load(self, seen: int) -> None:
        """Find out what an earlier process has done, then begin."""
        try:
            ends = self.file.load(seen)
        except (OSError, StorageFailedError) as error:
            self.fail(error)
            return
        with self.lock:
            self._ends = ends
            for name, job in self._jobs.items():
                job.cursor = ends.get(name, 0)
            self._is_loaded = True
        # Told now, not asked later: by then the number may be of a result not written yet.
        self.analysis.tell(partial(self.results.loaded, self.file.last_seq))
        self.schedule()

    def fail(self, error: Exception) -> None:
        """Results can't be kept, or sound can't be read: the recording goes on without."""
        self.is_over = self.has_failed = True
        self.analysis.on_stopped(None, error)
        self.notice("analysis-stopped", "the results of analyzers can't be kept; the sound is safe")
        self.settle()

    def notice(self, code: str, words: str) -> None:
        """Tell the person at the page."""
        self.analysis.tell(partial(self.results.notice, encode_server(Notice(code, words))))

    def _written(self, lines: Sequence[Line]) -> None:
        self.analysis.tell(partial(self._tell_written, lines))

    def _tell_written(self, lines: Sequence[Line]) -> None:
        self.results.written(lines)
        self.analysis.on_results(self._state, [text for _, text in lines])

    def reach_of(self) -> tuple[int | None, int]:
        """Return where the recording ends, if that is known, and where its durable frames do."""
        with self.lock:
            return self.end, self.durable

    @property
    def has_gaps(self) -> bool:
        """Tell whether frames were lost."""
        return bool(self._state.gaps)

    def audible(self, first: int, stop: int) -> tuple[int, int]:
        """Return a range moved behind lost frames, and cut before the next ones."""
        gaps, frames = self._state.gaps, stop - first
        number = bisect_right(gaps, first, key=lambda gap: gap.first_frame)
        while number and gaps[number - 1].end > first:
            first = gaps[number - 1].end
            number = bisect_right(gaps, first, key=lambda gap: gap.first_frame)
        stop = first + frames
        return first, min(stop, gaps[number].first_frame) if number < len(gaps) else stop

    def recent(self, first: int, stop: int) -> bytes | None:
        """Return sound that is in memory; None if some of it is not."""
        frame_bytes = self.format.frame_bytes
        with self.lock:
            if not self._recent or self._recent[0].first_frame > first or self.durable < stop:
                return None
            parts = [
                record.payload[
                    max(0, first - record.first_frame) * frame_bytes : (stop - record.first_frame)
                    * frame_bytes
                ]
                for record in self._recent
                if record.end > first and record.first_frame < stop
            ]
        return parts[0] if len(parts) == 1 and type(parts[0]) is bytes else b"".join(parts)

    def release(self) -> None:
        """Forget the sound that all analyzers have had."""
        with self.lock:
            needed = min((job.cursor for job in self._jobs.values() if job.is_busy), default=None)
            while self._recent and (needed is None or self._recent[0].end <= needed):
                self._drop_oldest()

    def on_disk(self) -> Readable | None:
        """Return what can be read of the WAV now."""
        return self.analysis.wav(self._state.about, self.end if self._is_closed else None)

    def settle(self) -> None:
        """Once all analyzers have had all frames: make the results durable, and say so."""
        with self.lock:
            is_done = self.is_over or (
                self._is_loaded
                and self.end is not None
                and not any(job.is_busy for job in self._jobs.values())
            )
            if is_done and not self._is_settled:
                self._is_settled = True
                self.analysis.keeper.put(self._settle)
            is_gone = self._is_settled and self._is_closed
        if is_gone:
            self.analysis.tell(partial(self.analysis.drop, self))

    def _settle(self) -> None:
        try:
            if not self.has_failed:
                self.file.sync()
        except (OSError, StorageFailedError) as error:
            self.analysis.on_stopped(None, error)
            self.notice("analysis-stopped", "the results of analyzers may not survive a power cut")
        self.analysis.tell(self.results.over)


class _Status(Enum):
    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"
    AGAIN = "again"
    """Running, and there is more already."""


class _Job:
    """One analyzer's way through one recording. It runs on one thread at a time."""

    def __init__(self, recording: _Recording, name: str, analyzer: Analyzer, cursor: int) -> None:
        self.cursor = cursor
        """All frames before this one have been analysed."""
        self.is_chosen = True
        self._recording = recording
        self._name = name
        self._analyzer = analyzer
        self._block_frames = analyzer.block_frames(recording.format)
        self._status = _Status.IDLE
        self._has_stopped = False
        self._has_ended = False
        self._is_waiting = False
        self._ahead = b""
        self._ahead_first = 0

    @property
    def is_busy(self) -> bool:
        """Tell whether there are frames that it has yet to analyse."""
        return self.is_chosen and not (self._has_stopped or self._has_ended)

    def schedule(self) -> None:
        """Run soon if there is something to do."""
        recording = self._recording
        with recording.lock:
            if not (recording.is_ready and self.is_busy and self._may_have_block()):
                return
            if self._status is _Status.IDLE:
                self._status = _Status.QUEUED
                recording.analysis.put(self._name, self._run)
            elif self._status is _Status.RUNNING:
                self._status = _Status.AGAIN

    def _may_have_block(self) -> bool:
        recording = self._recording
        is_whole = recording.durable >= self.cursor + self._block_frames
        return is_whole or recording.has_gaps or recording.end is not None

    def _run(self) -> None:
        """Analyse for a moment; then others have their turn."""
        recording = self._recording
        with recording.lock:
            self._status = _Status.RUNNING
        is_more = self._step()
        recording.release()
        with recording.lock:
            if is_more or self._status is _Status.AGAIN:
                self._status = _Status.QUEUED
                recording.analysis.put(self._name, self._run)
            else:
                self._status = _Status.IDLE
        if recording.end is not None:
            recording.settle()

    def _step(self) -> bool:
        """Analyse block after block for a moment; True if there may be more."""
        recording, is_more = self._recording, False
        until = time.monotonic() + _STEP_S
        try:
            while recording.is_ready and self.is_busy and not is_more:
                block = self._next_block()
                if block is None:
                    break
                self._analyse(block)
                is_more = time.monotonic() >= until
            recording.file.write()
        except OSError as error:
            recording.fail(error)
            return False
        return is_more

    def _analyse(self, block: AudioBlock) -> None:
        try:
            data = self._analyzer(block)
            if data is not None:
                if not isinstance(data, dict):
                    raise TypeError(f"it returned a {type(data).__name__}, no dict and not None")
                self._recording.file.add(self._name, block.first_frame, block.frames, data)
        except BaseException as error:  # SystemExit too: it must not take the thread with it
            self._has_stopped = True
            self._recording.analysis.on_stopped(self._name, error)
            self._recording.notice(
                "analyzer-stopped", f"the analyzer {self._name} failed ({type(error).__name__})"
            )
        self.cursor = block.first_frame + block.frames

    def _next_block(self) -> AudioBlock | None:
        """Return the next block; None if it has to be waited for, or there is none."""
        recording = self._recording
        end, durable = recording.reach_of()
        first, stop = recording.audible(self.cursor, self.cursor + self._block_frames)
        if end is not None:
            stop = min(stop, end)
            self._has_ended = first >= end
        if self._has_ended or stop > durable:
            return None
        sound = self._sound(first, stop)
        if sound is None:
            self._wait()
            return None
        samples = decode_samples(sound, recording.format)
        return AudioBlock(samples, first, recording.format.sample_rate, recording.id)

    def _wait(self) -> None:
        """Try again a little later: the WAV is behind, and it will come."""
        if not self._is_waiting:
            self._is_waiting = True
            self._recording.analysis.put_later(self._name, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        self._is_waiting = False
        self.schedule()

    def _sound(self, first: int, stop: int) -> bytes | None:
        """Return these frames from memory or from the WAV; None if they are not there yet."""
        sound = self._recording.recent(first, stop)
        if sound is not None:
            self._ahead = b""
            return sound
        frame_bytes = self._recording.format.frame_bytes
        offset, size = (first - self._ahead_first) * frame_bytes, (stop - first) * frame_bytes
        if offset < 0 or offset + size > len(self._ahead):
            if not self._read_ahead(first, stop):
                return None
            offset = 0
        return self._ahead[offset : offset + size]

    def _read_ahead(self, first: int, stop: int) -> bool:
        readable = self._recording.on_disk()
        if readable is None or readable.frames < stop:
            return False
        files, frame_bytes = self._recording.analysis.files, readable.format.frame_bytes
        wanted = max(stop - first, min(readable.frames - first, _AHEAD_BYTES // frame_bytes))
        descriptor = files.open(readable.path)
        try:
            offset = readable.data_offset + first * frame_bytes
            self._ahead = files.read(descriptor, wanted * frame_bytes, offset)
        finally:
            files.close(descriptor)
        self._ahead_first = first
        if len(self._ahead) < (stop - first) * frame_bytes:
            raise OSError(f"{readable.path} is shorter than it was")
        return True


class _Crew:
    """Threads that do what is put before them. The process doesn't wait for one that hangs."""

    def __init__(self, name: str, threads: int) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def put(self, task: Callable[[], None]) -> None:
        """Let a thread do something, after what was put before."""
        self._tasks.put(task)

    def close(self) -> None:
        """Begin nothing more."""
        self._is_closing = True
        for _ in self._threads:
            self._tasks.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the threads, but no longer than that."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None and not self._is_closing:
            task()
