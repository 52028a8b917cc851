"""What fault tests share: a server to kill, a microphone that keeps its copy, a checker of WAVs.

Nothing here is taken from `micwire.core`: the microphone, the digest and the reading of
headers are written from `spec/wire.md` and from the definition of a WAV alone, so that a
mistake in the core is not repeated here. Only the server process runs micwire.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

SOAK = (pytest.mark.soak, pytest.mark.timeout(4 * 3_600))
"""The marks of a run that takes hours, or minutes at least."""
SUBPROTOCOL = "micwire.v1"
CLOSE_CODES = {
    "bad-message": 4400,
    "unauthenticated": 4401,
    "forbidden": 4403,
    "deleted": 4404,
    "taken-over": 4409,
    "diverged": 4410,
    "too-large": 4413,
    "unsupported-format": 4415,
    "gap-undeclared": 4422,
    "quota": 4429,
    "storage-failed": 4500,
    "storage-full": 4507,
}
COME_BACK = frozenset({"gap-undeclared", "quota", "storage-failed", "storage-full"})
DEAD_LINK_S = 3.0


# ---- the signal ------------------------------------------------------------------------


def mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Scramble 32-bit numbers one to one: neighbours look nothing alike, no two are equal."""
    x = (numbers & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    return x ^ (x >> np.uint32(16))


@dataclass(frozen=True)
class Signal:
    """Sound of which every frame names its own index.

    For 16-bit stereo a frame is the 32-bit mix of its index, high half left, low half
    right; other formats take as many mixes as a frame has room for.
    """

    encoding: str = "pcm_s16le"
    channels: int = 2
    sample_rate: int = 48_000

    @property
    def sample_bytes(self) -> int:
        """Size of a sample in bytes."""
        return {"pcm_s16le": 2, "pcm_s24le": 3, "pcm_f32le": 4}[self.encoding]

    @property
    def frame_bytes(self) -> int:
        """Size of a frame in bytes."""
        return self.sample_bytes * self.channels

    def data(self, first_frame: int, frames: int) -> bytes:
        """Return the bytes of frames `first_frame` to `first_frame + frames`."""
        numbers = np.arange(first_frame, first_frame + frames, dtype=np.uint64)
        words = -(-self.frame_bytes // 4)
        mixed = np.empty((frames, words), dtype="<u4")
        for word in range(words):
            x = mix(numbers ^ np.uint64(word * 0x9E3779B9))
            mixed[:, word] = (x >> np.uint32(16)) | (x << np.uint32(16))
        return mixed.view(np.uint8)[:, : self.frame_bytes].tobytes()

    def expected(self, frames: int, gaps: Sequence["Gap"] = ()) -> bytes:
        """Return what a WAV of the first `frames` frames holds: zeros where frames were lost."""
        data = bytearray(self.data(0, frames))
        for gap in gaps:
            if gap.first_frame < frames:
                first = gap.first_frame * self.frame_bytes
                end = min(gap.first_frame + gap.frames, frames) * self.frame_bytes
                data[first:end] = bytes(end - first)
        return bytes(data)


@dataclass(frozen=True)
class Gap:
    """Frames that the microphone lost."""

    first_frame: int
    frames: int
    cause: str = "overflow"
    exact: bool = True


def digest(data: bytes) -> str:
    """Return the digest of PCM data, as the section "Digest" defines it."""
    pieces = [data[i : i + (1 << 20)] for i in range(0, len(data), 1 << 20)]
    joined = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    return hashlib.sha256(joined).hexdigest()


_DIGEST_FRAMES = 1 << 20


def expected_digest(sound: Signal, frames: int, gaps: Sequence[Gap]) -> str:
    """Return the digest of what a WAV must hold; of hours of sound, without having it all."""
    if gaps:
        return digest(sound.expected(frames, gaps))
    joined = hashlib.sha256()
    for first in range(0, frames, _DIGEST_FRAMES):  # whole pieces, whatever a frame's size
        data = sound.data(first, min(_DIGEST_FRAMES, frames - first))
        for start in range(0, len(data), 1 << 20):
            joined.update(hashlib.sha256(data[start : start + (1 << 20)]).digest())
    return joined.hexdigest()


# ---- the server ------------------------------------------------------------------------


class ServerEndedError(Exception):
    """A server ended where it should have listened."""


_FORK = multiprocessing.get_context("forkserver")
# Imported once in the process that all servers are forked from: a start takes 50 ms, not 500.
_FORK.set_forkserver_preload(["__main__", "micwire.server", "tests.faults.harness"])
# To start one process and to ask for the end of another are not safe on two threads.
_ONE_AT_A_TIME = threading.Lock()
_ADDRESS = re.compile(r"micwire is at https?://\S+:(\d+)\n")


def _die_with(process: int) -> None:
    # A server must not outlive the tests, however they end.
    select.select([process], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def _serve(
    tests: int,
    directory: str,
    output: str,
    errors: str,
    environment: dict[str, str],
    max_file_bytes: int | None,
    prepare: Callable[[], None] | None,
) -> None:
    from micwire.config import Config
    from micwire.core.errors import MicwireError
    from micwire.server import serve

    threading.Thread(target=_die_with, args=(os.pidfd_open(tests),), daemon=True).start()
    os.chdir(directory)
    for path, descriptor in ((output, 1), (errors, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    for name in [name for name in os.environ if name.startswith("MICWIRE_")]:
        del os.environ[name]
    os.environ.update(environment)
    if max_file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does: EFBIG, not death
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    if prepare is not None:
        prepare()
    try:
        status = serve(Config())
    except MicwireError as error:
        print(error, file=sys.stderr)
        status = 1
    sys.exit(status)


class Server:
    """A micwire process on a data directory; the same port and data after each start.

    Args:
        data: The data directory.
        settings: Names and values of settings, such as `segment_mb=4`.
        max_file_bytes: RLIMIT_FSIZE of the process.
        prepare: Called in the process before it serves.
    """

    def __init__(
        self,
        data: Path,
        *,
        max_file_bytes: int | None = None,
        prepare: Callable[[], None] | None = None,
        **settings: object,
    ) -> None:
        self.data = data
        self.port = 0
        self.max_file_bytes = max_file_bytes
        self._settings = settings
        self._prepare = prepare
        self._process: BaseProcess | None = None
        # Beside the data, which may be a full disk.
        self._logs = data.parent / f"{data.name}-logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._output, self._errors = self._logs / "stdout", self._logs / "stderr"

    def start(self, timeout_s: float = 20, **settings: object) -> Self:
        """Start it, with further settings for this once; return when it listens.

        Raises:
            ServerEndedError: It ended instead; the text holds what it wrote.
        """
        chosen = {"data": self.data, "port": self.port} | self._settings | settings
        environment = {f"MICWIRE_{name.upper()}": str(value) for name, value in chosen.items()}
        deadline = time.monotonic() + timeout_s
        while True:
            self._output.write_bytes(b"")
            self._process = _FORK.Process(
                target=_serve,
                args=(
                    os.getpid(),
                    str(self._logs),
                    str(self._output),
                    str(self._errors),
                    environment,
                    self.max_file_bytes,
                    self._prepare,
                ),
            )
            with _ONE_AT_A_TIME:
                self._process.start()
            while (found := _ADDRESS.search(self._output.read_text())) is None:
                if self.exit_status is not None or time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            if found is not None:
                self.port = int(found[1])
                return self
            # Another socket of this machine may hold the port for a moment.
            if "can't listen" not in self.stderr or time.monotonic() > deadline:
                raise ServerEndedError(f"exit {self.exit_status}: {self.stderr[-3000:]}")
            self._errors.write_bytes(b"")
            time.sleep(0.2)

    @property
    def process(self) -> BaseProcess:
        """The process as it was started last."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def stderr(self) -> str:
        """All it has written to standard error, over all starts."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    @property
    def stdout(self) -> str:
        """What it has printed since it was started last."""
        return self._output.read_text()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.wait()

    @property
    def exit_status(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        with _ONE_AT_A_TIME:
            return self.process.exitcode

    def wait(self, timeout_s: float = 30) -> int:
        """Wait for its end; return the exit status."""
        deadline = time.monotonic() + timeout_s
        while (status := self.exit_status) is None:
            assert time.monotonic() < deadline, "the server goes on"
            time.sleep(0.005)
        return status

    def stop(self) -> int:
        """End it with SIGTERM; return the exit status."""
        self.process.terminate()
        return self.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self.exit_status is None:
            self.kill()
        if kind is None:
            assert "Traceback" not in self.stderr, self.stderr
        elif self.stderr:
            print(self.stderr[-5000:])  # pytest shows it with the failure


# ---- the microphone ----------------------------------------------------------------------


class RefusedByServer(Exception):  # noqa: N818
    """The server closed the link with an `error`."""

    def __init__(self, code: str, frames: int, message: str) -> None:
        super().__init__(f"{code} at {frames}: {message}")
        self.code = code
        self.frames = frames


Message = dict[str, object]


def whole(message: Mapping[str, object], name: str) -> int:
    """Return a count of a message."""
    value = message[name]
    assert type(value) is int
    assert value >= 0
    return value


def new_key() -> str:
    """Return a fresh secret."""
    return base64.urlsafe_b64encode(os.urandom(24)).decode()


async def dial(port: int, path: str = "/v1/stream", **options: object) -> ClientConnection:
    """Open a WebSocket to a server on this machine."""
    chosen: dict[str, object] = {
        "subprotocols": [SUBPROTOCOL] if path.startswith("/v1/") else None,
        "compression": None,
        "max_size": None,
        "ping_interval": None,
        "open_timeout": 5,
        "close_timeout": 1,
        "proxy": None,
    }
    return await connect(f"ws://127.0.0.1:{port}{path}", **(chosen | options))  # type: ignore[arg-type]  # options of many kinds


def audio(first_frame: int, data: bytes) -> bytes:
    """Return an audio message."""
    return struct.pack("<Q", first_frame) + data


async def receive(socket: ClientConnection, timeout_s: float = DEAD_LINK_S) -> Message:
    """Return the next message of the server.

    Raises:
        RefusedByServer: It is an `error`, and the close behind it says the same.
    """
    async with asyncio.timeout(timeout_s):  # `wait_for` may swallow a cancellation in 3.11
        text = await socket.recv()
    message = json.loads(text)
    assert isinstance(message, dict)
    if message["type"] == "error":
        async with asyncio.timeout(timeout_s):
            await socket.wait_closed()
        code = message["code"]
        assert socket.close_code == CLOSE_CODES[code], (socket.close_code, code)
        assert socket.close_reason == code
        raise RefusedByServer(code, whole(message, "frames"), message["message"])
    return message


async def refusal(socket: ClientConnection, timeout_s: float = 20) -> RefusedByServer:
    """Read on until the server refuses; return how it did."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await receive(socket, timeout_s)
            except RefusedByServer as refused:
                return refused


async def receive_type(socket: ClientConnection, kind: str, timeout_s: float = 5) -> Message:
    """Return the next message of one type; pass over acks and notices."""
    async with asyncio.timeout(timeout_s):
        while True:
            message = await receive(socket, timeout_s)
            if message["type"] == kind:
                return message
            assert message["type"] in ("ack", "notice"), message


async def wait_ack(socket: ClientConnection, frames: int, timeout_s: float = 5) -> int:
    """Wait until so many frames are acknowledged; return how many are."""
    async with asyncio.timeout(timeout_s):
        while True:
            acked = whole(await receive_type(socket, "ack", timeout_s), "frames")
            if acked >= frames:
                return acked


@dataclass
class Rules:
    """What was seen of the server's promises, to be asserted at the end."""

    worst_ack_s: float = 0.0
    """From sending a frame to the ack that covers it, over one connection."""
    worst_silence_s: float = 0.0
    """Between two acks of one open connection."""
    connections: int = 0
    refusals: list[str] = field(default_factory=list)


class Microphone:
    """A client by the book: it keeps what is not acknowledged, and comes back for ever.

    Args:
        port: Where the server is.
        frames: How long the recording is to be.
        signal: Its sound.
        gaps: What the microphone loses, in order.
        marks: Cue points, frame and label.
        speed: Frames per second; None sends as fast as acks allow.
        block_frames: About how many frames a message has.
        seed: Of the sizes of messages, and of repetitions.
    """

    def __init__(
        self,
        port: int,
        frames: int,
        *,
        sound: Signal | None = None,
        gaps: Sequence[Gap] = (),
        marks: Sequence[tuple[int, str]] = (),
        speed: float | None = None,
        block_frames: int = 960,
        seed: int = 0,
    ) -> None:
        self.port = port
        self.frames = frames
        self.signal = sound or Signal()
        self.gaps = gaps
        self.marks = marks
        self.recording = str(uuid4())
        self.key = new_key()
        self.acked = 0
        self.epoch = 0
        self.sent = 0
        """The end of what was ever sent."""
        self.is_finishing = True
        self.rules = Rules()
        self.opened = asyncio.Event()
        self._speed = speed
        self._block_frames = block_frames
        self._random = random.Random(seed)
        self._began: float | None = None
        self._progress = asyncio.Event()
        self._under_way: list[tuple[int, float]] = []
        self._may_send = 1 << 60

    @property
    def open_message(self) -> Message:
        """The `open` of this recording."""
        sound = self.signal
        return {
            "type": "open",
            "recording": self.recording,
            "key": self.key,
            "format": {
                "encoding": sound.encoding,
                "sample_rate": sound.sample_rate,
                "channels": sound.channels,
            },
            "acked": self.acked,
            "title": "A title",
        }

    def end_soon(self) -> None:
        """Let the recording end behind what is being sent right now."""
        self.frames = self.sent + 2 * self._block_frames

    async def record(self) -> Message:
        """Send everything, over as many connections as it takes; return `finished`."""
        while True:
            try:
                return await self._one_connection()
            except (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError):
                pass
            except RefusedByServer as refused:
                self.rules.refusals.append(refused.code)
                if refused.code not in COME_BACK:
                    raise
            await asyncio.sleep(self._random.uniform(0.02, 0.1))

    async def _one_connection(self) -> Message:
        socket = await dial(self.port)
        try:
            opened = await self.open(socket)
            sender = asyncio.create_task(self._send(socket, opened))
            try:
                return await self._listen(socket, opened)
            finally:
                await end(sender)
        finally:
            with contextlib.suppress(OSError):
                await socket.close()

    async def open(self, socket: ClientConnection) -> Message:
        """Open the recording on a socket; return `opened`, which keeps what was promised."""
        await socket.send(json.dumps(self.open_message))
        opened = await receive(socket, 15)
        assert opened["type"] == "opened"
        assert opened["recording"] == self.recording
        assert opened["level"] == "durable"
        assert whole(opened, "frames") >= self.acked, "acknowledged frames are gone"
        assert whole(opened, "frames") <= self.sent, "frames that nobody sent"
        assert whole(opened, "epoch") > self.epoch, "an epoch twice"
        self.acked, self.epoch = whole(opened, "frames"), whole(opened, "epoch")
        self._may_send = whole(opened, "max_unacked_frames")
        self._under_way.clear()
        self.rules.connections += 1
        self.opened.set()
        return opened

    async def _listen(self, socket: ClientConnection, opened: Message) -> Message:
        interval_s = whole(opened, "ack_interval_ms") / 1000
        began = last = time.monotonic()
        acks = 0
        while True:
            message = await receive(socket)
            now = time.monotonic()
            if message["type"] == "finished":
                assert message["recording"] == self.recording
                assert whole(message, "frames") == self.frames
                assert message["digest"] == expected_digest(self.signal, self.frames, self.gaps)
                assert message["matches"] is True
                return message
            if message["type"] == "ack":
                acks += 1
                assert acks <= (now - began) / interval_s + 2, "acks come too often"
                self.rules.worst_silence_s = max(self.rules.worst_silence_s, now - last)
                last = now
                self._take_ack(whole(message, "frames"), now)

    def _take_ack(self, frames: int, now: float) -> None:
        assert frames >= self.acked, "an ack fell"
        assert frames <= self.sent, "an ack of frames that nobody sent"
        self.acked = frames
        while self._under_way and self._under_way[0][0] <= frames:
            sent_at = self._under_way.pop(0)[1]
            self.rules.worst_ack_s = max(self.rules.worst_ack_s, now - sent_at)
        self._progress.set()

    async def _send(self, socket: ClientConnection, opened: Message) -> None:
        for frame, label in self.marks:
            await socket.send(json.dumps({"type": "mark", "frame": frame, "label": label}))
        position = whole(opened, "frames")
        while position < self.frames:
            end = await self._produced(position)
            gap = next((g for g in self.gaps if g.first_frame + g.frames > position), None)
            if gap is not None and gap.first_frame <= position:
                await self._send_gap(socket, gap)
                position = gap.first_frame + gap.frames
            else:
                if gap is not None:
                    end = min(end, gap.first_frame)
                # Now and then it repeats some of what is there already.
                back = self._random.randint(0, position) if self._random.random() < 0.05 else 0
                first = position - min(back, self._block_frames)
                self.sent = max(self.sent, end)
                data = self.signal.data(first, end - first)
                await socket.send(audio(first, data))
                position = end
            self._under_way.append((position, time.monotonic()))
            while position - self.acked > self._may_send:
                self._progress.clear()
                await self._progress.wait()
        if self.is_finishing:
            expected = expected_digest(self.signal, self.frames, self.gaps)
            finish = {"type": "finish", "frames": self.frames, "digest": expected}
            await socket.send(json.dumps(finish))

    async def _send_gap(self, socket: ClientConnection, gap: Gap) -> None:
        self.sent = max(self.sent, gap.first_frame + gap.frames)
        fields = {"first_frame": gap.first_frame, "frames": gap.frames}
        facts = {"cause": gap.cause, "exact": gap.exact}
        await socket.send(json.dumps({"type": "gap"} | fields | facts))

    async def _produced(self, position: int) -> int:
        """Wait until some frames behind `position` exist; return the end of the next message."""
        if self._began is None:
            self._began = time.monotonic()
        wanted = min(position + self._random.randint(1, 2 * self._block_frames), self.frames)
        if self._speed is not None:
            wait_s = wanted / self._speed - (time.monotonic() - self._began)
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        elif self._random.random() < 0.2:
            await asyncio.sleep(0)
        return wanted


async def stored_frames(microphone: Microphone) -> int:
    """Open a recording again with its key; return the next frame the server expects."""
    socket = await dial(microphone.port)
    try:
        await socket.send(json.dumps(microphone.open_message))
        opened = await receive(socket, 15)
        microphone.epoch = max(microphone.epoch, whole(opened, "epoch"))
        return whole(opened, "frames")
    except RefusedByServer as refused:
        return refused.frames
    finally:
        await socket.close()


async def wait_until(holds: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until something holds; False if it doesn't in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        if holds():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it, raising what it raised but for a lost link."""
    task.cancel()
    await asyncio.wait([task])  # unlike `await task`, it doesn't swallow our own cancellation
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, ConnectionClosed):
            raise error


class Lag:
    """How late this very process runs its timers: what a measured delay owes to itself."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        await end(self._task)

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self.worst_s = max(self.worst_s, time.monotonic() - began - 0.02)


# ---- the checker ---------------------------------------------------------------------------


def wav_path(data: Path, recording: str) -> Path:
    """Return where the WAV of a recording is."""
    (found,) = data.glob(f"*/*_{recording[:8]}*.wav")
    return found


def sidecar(data: Path, recording: str) -> Message:
    """Return the sidecar of a recording."""
    fields = json.loads(wav_path(data, recording).with_suffix(".json").read_text())
    assert isinstance(fields, dict)
    return fields


def claimed_data(path: Path) -> bytes:
    """Return the audio that a WAV's header claims, read raw from the file.

    An `AssertionError` says that the header claims more than the file holds.
    """
    raw = path.read_bytes()
    if not raw:
        return b""
    assert raw[:4] in (b"RIFF", b"RF64")
    assert raw[8:12] == b"WAVE"
    assert struct.unpack_from("<I", raw, 4)[0] + 8 <= len(raw) or raw[:4] == b"RF64"
    offset = 12
    while raw[offset : offset + 4] != b"data":
        size = struct.unpack_from("<I", raw, offset + 4)[0]
        assert size % 2 == 0
        offset += 8 + size
        assert offset + 8 <= len(raw), "no data chunk"
    size = struct.unpack_from("<I", raw, offset + 4)[0]
    assert offset + 8 + size <= len(raw), "the header claims more than the file holds"
    return raw[offset + 8 : offset + 8 + size]


def check_header(data: Path, microphone: Microphone) -> None:
    """Check the WAV of a recording as a crash left it: what it claims is there, and right."""
    for path in data.glob(f"*/*_{microphone.recording[:8]}*.wav"):
        claimed = claimed_data(path)
        frames = len(claimed) // microphone.signal.frame_bytes
        assert frames <= microphone.sent
        assert claimed == microphone.signal.expected(frames, microphone.gaps)


def check_same(found: bytes, expected: bytes, frame_bytes: int) -> None:
    """Compare audio; say where and how it first differs."""
    if found == expected:
        return
    both = min(len(found), len(expected))
    left = np.frombuffer(found[:both], np.uint8)
    different = np.flatnonzero(left != np.frombuffer(expected[:both], np.uint8))
    first = int(different[0]) // frame_bytes if len(different) else both // frame_bytes
    at = first * frame_bytes
    raise AssertionError(
        f"{len(found) // frame_bytes} frames instead of {len(expected) // frame_bytes};"
        f" the first that differs is {first}: {found[at : at + 16].hex()} instead of"
        f" {expected[at : at + 16].hex()}"
    )


def check_wav(
    path: Path, sound: Signal, expected: bytes, *, has_sox: bool = False, has_ffprobe: bool = True
) -> None:
    """Read a WAV as others do and compare every frame.

    Args:
        path: The file.
        sound: Its format.
        expected: Its audio.
        has_sox: Also decode it with sox.
        has_ffprobe: Also ask ffprobe for its length and format.
    """
    frames = len(expected) // sound.frame_bytes
    check_same(claimed_data(path), expected, sound.frame_bytes)
    if sound.encoding == "pcm_s16le" and sound.channels <= 2:
        with wave.open(str(path)) as reader:
            facts = (reader.getnchannels(), reader.getsampwidth(), reader.getframerate())
            assert facts == (sound.channels, sound.sample_bytes, sound.sample_rate)
            check_same(reader.readframes(1 << 40), expected, sound.frame_bytes)
    with soundfile.SoundFile(path) as file:
        assert (file.frames, file.channels) == (frames, sound.channels)
        assert file.samplerate == sound.sample_rate
        kind = {"pcm_s16le": "int16", "pcm_s24le": "int32", "pcm_f32le": "float32"}[sound.encoding]
        samples = file.read(dtype=kind, always_2d=True)
    raw = np.ascontiguousarray(samples)
    if sound.encoding == "pcm_s24le":
        raw = np.ascontiguousarray(raw.astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:])
    check_same(raw.tobytes(), expected, sound.frame_bytes)
    if has_ffprobe:
        _check_ffprobe(path, sound, frames)
    if has_sox:
        decoded = subprocess.run(
            ["sox", path, "-t", "raw", "-"], stdout=subprocess.PIPE, check=True
        ).stdout
        check_same(decoded, expected, sound.frame_bytes)


def _check_ffprobe(path: Path, sound: Signal, frames: int) -> None:
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    ran = subprocess.run(command, capture_output=True, check=True)
    assert not ran.stderr, ran.stderr
    (stream,) = json.loads(ran.stdout)["streams"]
    assert stream["codec_name"] == sound.encoding
    assert (int(stream["sample_rate"]), stream["channels"]) == (sound.sample_rate, sound.channels)
    if frames:
        assert stream["duration_ts"] == frames


def check_recording(
    data: Path, microphone: Microphone, *, has_sox: bool = False, has_ffprobe: bool = True
) -> None:
    """Check everything that is left of a finished recording."""
    expected = microphone.signal.expected(microphone.frames, microphone.gaps)
    path = wav_path(data, microphone.recording)
    check_wav(path, microphone.signal, expected, has_sox=has_sox, has_ffprobe=has_ffprobe)
    fields = sidecar(data, microphone.recording)
    assert fields["recording"] == microphone.recording
    assert fields["status"] == "finished"
    assert fields["frames"] == microphone.frames
    assert fields["digest"] == digest(expected)
    assert fields["title"] == "A title"
    assert fields["gaps"] == [vars(gap) for gap in microphone.gaps]
    assert fields["marks"] == [
        {"frame": frame, "label": label} for frame, label in sorted(microphone.marks)
    ]
