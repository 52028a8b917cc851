"""A whole server over a disk that forgets, and clients that know what they were told.

The journal, the library and the recorder are the real ones, joined as the application
joins them; only the disk and the sockets are missing. A client sends a sound of which it
knows every byte, and keeps the promises it has heard, to check them afterwards.
"""

import asyncio
import contextlib
import io
import json
import random
import struct
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import soundfile

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import WavError
from micwire.core.recording import Closed, RecordingState, sidecar_fields
from micwire.core.session import Limits
from micwire.core.tags import STORED_HEADER_BYTES, stored_tags
from micwire.core.wire import (
    Ack,
    Audio,
    ClientMessage,
    Discard,
    Error,
    Finish,
    Finished,
    Gap,
    Mark,
    Open,
    Opened,
    decode_server,
    encode_client,
)
from micwire.journal.local import LocalJournal
from micwire.library.writer import LibraryFiles, WavWriter
from micwire.link import Connection
from micwire.opening import RecorderSettings
from micwire.recorder import Recorder
from micwire.testing import ForgetfulFiles

DATA = "/data"
KEY = "k" * 22
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that is done now and then be done all the time, and in small pieces."""
    for name, value in {
        "FLUSH_BYTES": 600,
        "FLUSH_S": 0.0,
        "SYNC_S": 0.004,
        "SIDECAR_S": 0.01,
        "_TICK_S": 0.002,
        "_ROOM_S": 0.02,
        "_RETRY_S": 0.005,
    }.items():
        monkeypatch.setattr(f"micwire.library.writer.{name}", value)
    monkeypatch.setattr("micwire.library.wavfile.CATCH_UP_BYTES", 1_000)
    monkeypatch.setattr("micwire.journal.local.ROOM_RETRY_S", 0.005)
    monkeypatch.setattr("micwire.journal.segments.MAX_SPARES", 2)
    monkeypatch.setattr("micwire.acks.HEARTBEAT_S", 0.02)
    monkeypatch.setattr("micwire.recorder.STOP_TIMEOUT_S", 0.5)


def new_disk() -> ForgetfulFiles:
    """Return a disk with a data directory, as the lock leaves it."""
    files = ForgetfulFiles(DATA)
    files.make_directory(f"{DATA}/.micwire")
    files.sync_directory(DATA)
    return files


class WatchedRecorder(Recorder):
    """A recorder that remembers what it was told of full disks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fullness: list[tuple[str, bool]] = []

    def full(self, part: str, *, is_full: bool) -> None:
        self.fullness.append((part, is_full))
        super().full(part, is_full=is_full)


class Server:
    """Journal, library and recorder over one disk.

    Args:
        files: The disk.
        seed: Gives the steps of the wall clock, backwards too.
    """

    def __init__(self, files: ForgetfulFiles, seed: int = 0) -> None:
        self.files = files
        dice = random.Random(seed)
        self.journal = LocalJournal(
            Path(DATA, ".micwire", "journal"), files, segment_bytes=6_000, commit_interval_s=0.0
        )
        self.library = WavWriter(
            Path(DATA),
            LibraryFiles(files, files, files),
            oldest_pins=self.journal.oldest_pins,
            backlog_bytes=lambda: self.journal.kept_bytes,
            max_backlog_bytes=30_000,
        )
        self.recorder = WatchedRecorder(
            self.journal,
            self.library,
            RecorderSettings(limits=Limits(ack_interval_ms=1), min_free_bytes=0),
            utc_now=lambda: NOON + timedelta(seconds=dice.randint(-100_000, 100_000)),
            is_taken=lambda path: (
                {f"{DATA}/{path}.wav", f"{DATA}/{path}.json"} & {*files.paths()} != set()
            ),
        )

    async def close(self) -> None:
        """End it, in good order or, after the power is gone, as far as that goes."""
        if not self.files.is_stopped and self.recorder.error is None:
            with contextlib.suppress(TimeoutError):  # the power may go while it stops
                await self.recorder.stop()
        await self.recorder.close()


@contextlib.asynccontextmanager
async def serving(files: ForgetfulFiles) -> AsyncIterator[Server]:
    """Let a server listen, and end it whatever happens; its threads must not outlive a test."""
    server = Server(files)
    try:
        await server.recorder.start()
        yield server
    finally:
        await server.close()


@dataclass(slots=True)
class Told:
    """What the server has promised a client; only this counts."""

    epoch: int = 0
    frames: int = 0
    """The largest ack, or `opened.frames`."""
    finished: Finished | None = None
    is_deleted: bool = False
    error: Error | None = None


@dataclass(slots=True)
class Sound:
    """What one client wants recorded, known before the first frame is sent.

    The frames are unlike each other and unlike those of any other recording, so a wrong,
    shifted or foreign one can't go unseen.
    """

    number: int
    format: Format
    frames: int
    gaps: Sequence[tuple[int, int]] = ()
    """Ranges, half open, that the client loses."""
    marks: Sequence[tuple[int, str]] = ()
    pcm: bytes = field(init=False)

    def __post_init__(self) -> None:
        size = self.format.frame_bytes
        dice = random.Random(self.number)
        pcm = bytearray(dice.randbytes(self.frames * size))
        if self.format.encoding.is_float:
            count = len(pcm) // 4
            pcm = bytearray(struct.pack(f"<{count}f", *(dice.uniform(-2, 2) for _ in range(count))))
        for first, end in self.gaps:
            pcm[first * size : end * size] = bytes((end - first) * size)
        self.pcm = bytes(pcm)

    def part(self, first: int, end: int) -> bytes:
        """Return the bytes of some frames."""
        size = self.format.frame_bytes
        return self.pcm[first * size : end * size]

    @property
    def recording(self) -> str:
        """Return the recording's id."""
        return f"{self.number << 24:08x}-0000-4000-8000-{self.number:012x}"


class Client:
    """One client of one recording, over any number of connections and servers."""

    def __init__(self, sound: Sound, seed: int = 0) -> None:
        self.sound = sound
        self.told = Told()
        self.is_finish_sent = self.is_discard_sent = False
        self.broken: list[str] = []
        """Promises that were broken in what the server said; it is heard inside callbacks."""
        self._dice = random.Random(seed)
        self._connection: Connection | None = None
        self._news = asyncio.Event()
        self._next = 0

    # ---- the link ------------------------------------------------------------------

    def connect(self, server: Server) -> Connection:
        """Begin another connection; what the older one says from here on is noted too."""
        self._connection = connection = server.recorder.connect(lambda: self._hear(connection))
        self.told.error = None
        return connection

    def send(self, message: ClientMessage) -> None:
        """Send one message over the newest connection."""
        assert self._connection is not None
        self._connection.feed(encode_client(message))
        self._hear(self._connection)

    def _hear(self, connection: Connection) -> None:
        for text in connection.outgoing():
            message = decode_server(text)
            match message:
                case Opened():
                    self._expect(message.epoch > self.told.epoch, "an epoch came twice")
                    self._expect(message.frames >= self.told.frames, "opened below an ack")
                    self.told.epoch = message.epoch
                    self.told.frames = self._next = message.frames
                case Ack(frames):
                    if connection is self._connection:
                        self._expect(frames >= self.told.frames, "an ack fell")
                    self.told.frames = max(self.told.frames, frames)
                case Finished():
                    self.told.finished = message
                case Error() if connection is self._connection:
                    self.told.error = message
                case _:
                    pass
        if connection.closing == (1000, "") and self.is_discard_sent:
            self.told.is_deleted = True
        self._news.set()

    def _expect(self, is_kept: bool, promise: str) -> None:
        if not is_kept:
            self.broken.append(promise)

    @property
    def is_over(self) -> bool:
        """Tell whether the newest connection is of no more use."""
        return self._connection is None or self._connection.closing is not None

    async def _until(self, is_there: Callable[[], bool]) -> bool:
        """Wait until something holds; False if the connection ended before."""
        while not is_there():
            if self.is_over:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    async def open(self, server: Server) -> bool:
        """Open the recording; False if that is refused."""
        self.connect(server)
        epoch = self.told.epoch
        self.send(Open(self.sound.recording, KEY, self.sound.format, acked=self.told.frames))
        if not await self._until(lambda: self.told.epoch > epoch):
            return False
        if self.told.finished is None:
            for frame, label in self.sound.marks:
                if frame <= self.told.frames:
                    self.send(Mark(frame, label))
        return not self.is_over

    # ---- the sound -----------------------------------------------------------------

    async def speak(self, end: int) -> bool:
        """Send frames up to `end`, in messages of any size, some of them twice."""
        while self._next < end and not self.is_over:
            gap = next((gap for gap in self.sound.gaps if gap[0] <= self._next < gap[1]), None)
            if gap is not None:
                self.send(Gap(self._next, gap[1] - self._next, "overflow", exact=True))
                self._next = gap[1]
            else:
                stop = min([first for first, _ in self.sound.gaps if first > self._next] + [end])
                stop = min(stop, self._next + self._dice.randint(1, 60))
                first = max(0, self._next - self._dice.choice((0, 0, 7)))
                first = max([first, *(end for _, end in self.sound.gaps if end <= self._next)])
                self.send(Audio(first, self.sound.part(first, stop)))
                self._mark(self._next, stop)
                self._next = stop
            await asyncio.sleep(self._dice.choice((0, 0, 0.0005)))
        return not self.is_over

    def _mark(self, first: int, end: int) -> None:
        for frame, label in self.sound.marks:
            if first < frame <= end:
                self.send(Mark(frame, label))

    def take_over(self, server: Server) -> "asyncio.Task[bool]":
        """Open again over a new connection, while the older one goes on with rubbish."""
        old = self._connection
        assert old is not None

        async def both() -> bool:
            opening = asyncio.create_task(self.open(server))
            await asyncio.sleep(0)
            rubbish = bytes(40 * self.sound.format.frame_bytes)
            while not opening.done() and old.closing is None:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)
            old.feed(encode_client(Audio(self.told.frames, rubbish)))
            return await opening

        return asyncio.create_task(both())

    async def finish(self) -> bool:
        """Finish; True once the server has said that the WAV is final."""
        if self.is_over:
            return False
        self.is_finish_sent = True
        self.send(Finish(self.sound.frames, digest_of(self.sound.pcm)))
        return await self._until(lambda: self.told.finished is not None)

    async def discard(self) -> bool:
        """Discard; True once the server has said that the recording is gone."""
        if self.is_over:
            return False
        self.is_discard_sent = True
        self.send(Discard())
        return await self._until(lambda: self.told.is_deleted) or self.told.is_deleted

    def hang_up(self) -> None:
        """Let the connection break."""
        if self._connection is not None:
            self._connection.lost()
            self._connection = None


# ---- what has to hold --------------------------------------------------------------


def wavs(files: ForgetfulFiles) -> list[str]:
    """Return the paths of all WAVs."""
    return [path for path in files.paths() if path.endswith(".wav")]


def wav_of(files: ForgetfulFiles, sound: Sound) -> str | None:
    """Return the path of a recording's WAV, if it has one."""
    name = sound.recording[:8]
    found = [path for path in wavs(files) if f"_{name}" in path]
    assert len(found) <= 1, f"one recording, several files: {found}"
    return found[0] if found else None


def check_raw(files: ForgetfulFiles, client: Client) -> None:
    """Right after a power cut, nothing mended yet: no header claims what is not there."""
    sound = client.sound
    path = wav_of(files, sound)
    if path is None:
        return
    content = files.content(path)
    try:
        layout = wav.layout(content, len(content))
    except WavError:
        # The first header of a file is written once and synced with the first frames.
        is_cut = any(not any(content[at : at + 512]) for at in range(0, STORED_HEADER_BYTES, 512))
        assert is_cut, "a header is there, or some of it never came to the disk"
        return
    assert layout.claimed_bytes is not None
    assert layout.data_offset + layout.claimed_bytes <= len(content), "the header claims too much"
    begin = layout.data_offset
    assert content[begin : begin + layout.claimed_bytes] == sound.pcm[: layout.claimed_bytes]


def check_recovered(server: Server, client: Client) -> None:
    """A server that listens: everything it ever promised is true."""
    sound, told = client.sound, client.told
    assert client.broken == []
    state = server.recorder.state(sound.recording)
    closed = server.library.closed(sound.recording)
    if told.is_deleted:
        assert state is None
        assert closed is not None
        assert closed.status == "deleted"
        assert wav_of(server.files, sound) is None
        return
    if closed is not None and closed.status == "deleted":
        assert client.is_discard_sent
        return
    if told.finished is not None:
        assert closed is not None, "a finished recording is not finished any more"
    if closed is not None:
        _check_closed(server.files, client, closed)
    elif state is not None:
        _check_state(server.files, client, state)
    else:
        assert told.epoch == 0 or client.is_discard_sent, "a recording that was opened is gone"


def _check_closed(files: ForgetfulFiles, client: Client, closed: Closed) -> None:
    sound = client.sound
    assert client.is_finish_sent
    assert closed.status == "finished"
    assert closed.frames == sound.frames
    assert closed.epoch >= client.told.epoch
    assert closed.digest == closed.client_digest == digest_of(sound.pcm)
    path = f"{DATA}/{closed.path}.wav"
    content = files.durable_content(path)
    assert content is not None, "the name of a finished WAV is not durable"
    sidecar = files.durable_content(f"{DATA}/{closed.path}.json")
    assert sidecar is not None, "the name of a finished sidecar is not durable"
    facts = json.loads(sidecar)
    padding = bytes(wav.padding(sound.format, sound.frames))
    header = wav.header(sound.format, sound.frames, stored_tags(facts))
    assert len(header) == closed.data_offset == STORED_HEADER_BYTES
    assert content == header + sound.pcm + padding
    assert files.content(path) == content
    _check_opens(content, sound.format, sound.frames)
    assert facts["status"] == "finished"
    assert facts["digest"] == closed.digest
    assert facts["frames"] == sound.frames
    _check_gaps([(g["first_frame"], g["frames"]) for g in facts["gaps"]], sound, sound.frames)
    assert sorted((m["frame"], m["label"]) for m in facts["marks"]) == sorted(sound.marks)


def _check_state(files: ForgetfulFiles, client: Client, state: RecordingState) -> None:
    sound, told = client.sound, client.told
    assert state.frames >= told.frames, "acknowledged frames are gone"
    assert state.epoch >= told.epoch, "an epoch was granted and is forgotten"
    assert state.about.format == sound.format
    path = f"{DATA}/{state.about.path}.wav"
    _check_gaps([(gap.first_frame, gap.frames) for gap in state.gaps], sound, state.frames)
    if state.frames == 0 or state.is_deleted:
        return
    content = files.content(path)
    tags = stored_tags(sidecar_fields(state, "recording", None))
    header = wav.header(sound.format, state.frames, tags)
    assert len(header) == STORED_HEADER_BYTES
    assert content == header + sound.part(0, state.frames)
    assert files.durable_content(path) is not None, "the name of a recovered WAV is not durable"
    _check_opens(content, sound.format, state.frames)


def _check_gaps(gaps: list[tuple[int, int]], sound: Sound, frames: int) -> None:
    listed = [frame for first, count in gaps for frame in range(first, first + count)]
    assert len(listed) == len(set(listed)), "a missing frame is listed twice"
    lost = [frame for first, end in sound.gaps for frame in range(first, min(end, frames))]
    assert sorted(listed) == lost


def _check_opens(content: bytes, audio_format: Format, frames: int) -> None:
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert (file.frames, file.samplerate, file.channels) == (
            frames,
            audio_format.sample_rate,
            audio_format.channels,
        )
    if not audio_format.encoding.is_float:
        with wave.open(io.BytesIO(content)) as plain:
            assert plain.getnframes() == frames
            assert plain.getsampwidth() == audio_format.encoding.sample_bytes


FORMATS = (
    Format(Encoding.S16, 48_000, 2),
    Format(Encoding.S24, 44_100, 1),
    Format(Encoding.F32, 96_000, 2),
    Format(Encoding.S16, 8_000, 1),
)
