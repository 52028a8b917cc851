"""The Python client: sound in, a WAV on the server out, whatever the network does.

What is kept, sent and forgotten is decided in `micwire.core.sender`. Here are the clock,
the socket and the reconnecting, and the way from arrays to bytes.

    async with micwire.connect("http://127.0.0.1:8000", Format(Encoding.S16, 48_000, 1)) as mic:
        async for block in microphone():
            await mic.write(block)
    print(mic.url)
"""

import asyncio
import base64
import contextlib
import random
import secrets
import ssl
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urljoin, urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from micwire.core.audio import Encoding, Format
from micwire.core.errors import BadMessageError, MicwireError, RefusedError
from micwire.core.sender import (
    Acked,
    Completed,
    Discarded,
    Event,
    LinkOpened,
    NoticeArrived,
    Receipt,
    Refused,
    ResultArrived,
    Sender,
)
from micwire.core.sender import State as SenderState
from micwire.core.wire import (
    MAX_OPEN_BYTES,
    SUBPROTOCOL,
    Notice,
    Open,
    Result,
    decode_client,
    encode_client,
)

OPENED_TIMEOUT_S = 15.0
SILENCE_TIMEOUT_S = 3.0
FIRST_DELAY_S, LAST_DELAY_S = 0.25, 10.0
_TICK_S = 0.25
_KEPT_RESULTS = 10_000
_KEPT_NOTICES = 100
_MAX_SERVER_MESSAGE_BYTES = 16 << 20

Block = NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32] | bytes | bytearray | memoryview
LinkState = Literal["connecting", "online", "offline", "finished", "discarded", "failed"]


class UnreachableError(MicwireError):
    """No micwire server answered at the address in time."""

    code = "unreachable"


def connect(
    url: str,
    audio_format: Format,
    *,
    title: str | None = None,
    metadata: Mapping[str, str] | None = None,
    device: str | None = None,
    settings: Mapping[str, object] | None = None,
    started_at: str | None = None,
    analyzers: Sequence[str] | None = None,
    token: str | None = None,
    trust: ssl.SSLContext | None = None,
    max_unacked_bytes: int = 64 << 20,
    open_timeout_s: float | None = 10.0,
    on_state: Callable[[LinkState], None] | None = None,
    continued: tuple[str, str] | None = None,
) -> "Recording":
    """Return a recording to be used with `async with`.

    Entering the block waits until the server has opened the recording. Inside, write;
    links that break are replaced for ever, and what the server does not have is sent
    again. Leaving the block finishes the recording and returns once its WAV is final and
    its digest has been compared; `receipt` and `url` say where it is. An exception in the
    block leaves the recording unfinished on the server, where it stays open for 7 days.

    Args:
        url: The server: `http://HOST:PORT`, or https, ws, wss; a path is a prefix.
        audio_format: Encoding, sample rate and channels of the recording.
        title: For people.
        metadata: Strings by name, kept in the sidecar.
        device: What the sound was captured with.
        settings: How it was captured.
        started_at: Time of the first frame, RFC 3339; without it now.
        analyzers: Names of analyzers to run; without it the server's own choice.
        token: Sent as `Authorization: Bearer` with each handshake.
        trust: Which certificates of an https server are good; without it those that the
            system trusts. `ssl.create_default_context(cafile="ca.crt")` trusts one authority.
        max_unacked_bytes: How much sound may wait here; beyond it `write` waits.
        open_timeout_s: How long entering the block tries to reach the server. None
            returns at once, and keeps what is written until there is a server.
        on_state: Called with each new state of the link.
        continued: `(id, key)` of an unfinished recording to go on with; the block begins
            at its `captured_frames`. What was not acknowledged before has to be written
            again; the digest is not compared at the end.

    Raises:
        ValueError: The URL is none, or a field breaks a rule of the wire.
        UnreachableError: On entering: nobody answered in time.
        RefusedError: On entering, writing or leaving: the server refused for good; its
            `frames` are safe. On leaving also if the digests differ.
    """
    recording, key = continued or (str(uuid.uuid4()), _new_key())
    if started_at is None and continued is None:
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    message = Open(
        recording,
        key,
        audio_format,
        title=title,
        started_at=started_at,
        device=device,
        settings=settings,
        metadata=metadata,
        analyzers=None if analyzers is None else tuple(analyzers),
    )
    _check_open(message)
    if continued is not None and open_timeout_s is None:
        raise ValueError("a recording is continued where the server stands: it must be waited for")
    sender = Sender(message, is_continued=continued is not None)
    return Recording(
        url,
        message,
        sender,
        token=token,
        trust=trust,
        max_unacked_bytes=max_unacked_bytes,
        open_timeout_s=open_timeout_s,
        on_state=on_state,
    )


def _new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(24)).decode()


def _check_open(message: Open) -> None:
    text = encode_client(message)
    if len(text.encode() if isinstance(text, str) else text) > MAX_OPEN_BYTES:
        raise ValueError(f"title, metadata and settings take more than {MAX_OPEN_BYTES} bytes")
    try:
        decode_client(text)
    except BadMessageError as error:
        raise ValueError(str(error)) from None


class Recording:
    """One recording as its client has it; made by `connect`. Belongs to one event loop."""

    def __init__(
        self,
        url: str,
        message: Open,
        sender: Sender,
        *,
        token: str | None,
        trust: ssl.SSLContext | None,
        max_unacked_bytes: int,
        open_timeout_s: float | None,
        on_state: Callable[[LinkState], None] | None,
    ) -> None:
        self.id = message.recording
        self.key = message.key
        """The secret that continues the recording from another process."""
        self.format = message.format
        self.state: LinkState = "connecting"
        self.trouble = ""
        """Why the link is down, in words; empty while it is up."""
        self.receipt: Receipt | None = None
        """What the server said of the final WAV; None before."""
        self.notices: deque[Notice] = deque(maxlen=_KEPT_NOTICES)
        """News from the server for the person, the latest 100."""
        self.clipped = 0
        """Float samples that were beyond full scale for an integer encoding."""
        self.nonfinite = 0
        """Float samples that were NaN (written as 0) or infinite (clipped)."""
        self._stream_url, self._base_url = _addresses(url)
        self._sender = sender
        self._token = token
        self._ssl = (trust or True) if self._stream_url.startswith("wss:") else None
        self._max_unacked_bytes = max_unacked_bytes
        self._open_timeout_s = open_timeout_s
        self._on_state = on_state
        self._results: deque[Result] = deque(maxlen=_KEPT_RESULTS)
        self._error: BaseException | None = None
        self._attempts = 0
        self._to_send = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def captured_frames(self) -> int:
        """The end of the recording so far: what was written, gaps included."""
        return self._sender.captured_frames

    @property
    def durable_frames(self) -> int:
        """All frames before this one are safe on the server."""
        return self._sender.durable_frames

    @property
    def unacked_bytes(self) -> int:
        """Sound that is kept here because the server might not have it."""
        return self._sender.unacked_bytes

    @property
    def digest(self) -> str | None:
        """The digest of everything written; None for a continued recording."""
        return self._sender.digest

    @property
    def url(self) -> str:
        """Where the WAV is, also while it grows."""
        if self.receipt is None:
            return f"{self._base_url}/api/v1/recordings/{self.id}/audio"
        return urljoin(self._base_url, self.receipt.url)

    # ---- the block -----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"micwire {self.id}")
        self._task.add_done_callback(self._ended)
        try:
            if self._open_timeout_s is not None:
                await self._opened(self._open_timeout_s)
        except BaseException:
            await self._stop()
            raise
        return self

    async def _opened(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._sender.was_opened)
        except TimeoutError:
            raise UnreachableError(
                f"no micwire server answered at {self._base_url} within {timeout_s:g} s"
                + (f": {self.trouble}" if self.trouble else "")
            ) from None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self._finish()
        finally:
            await self._stop()

    async def _finish(self) -> None:
        if self._sender.state is SenderState.DISCARDED:
            return
        self._check()
        self._sender.finish()
        self._to_send.set()
        await self._until(lambda: self.receipt is not None)
        if self.receipt is not None and self.receipt.matches is False:
            words = f"the digest of the server's WAV is {self.receipt.digest}, not {self.digest}"
            raise RefusedError("diverged", words, self.receipt.frames)

    async def _stop(self) -> None:
        if self._task is not None:
            if not self._sender.is_over:  # else it ends by itself, after a closing handshake
                self._task.cancel()
            await asyncio.wait([self._task])

    # ---- the sound -----------------------------------------------------------------

    async def write(self, block: Block) -> None:
        """Take the next frames; wait while too much is not acknowledged.

        Args:
            block: Shape (frames, channels), or (frames,) for one channel. float32 with
                full scale at -1.0 and 1.0 suits every encoding: for integers it is
                multiplied by 2^15 or 2^23, rounded, and clipped, which `clipped` and
                `nonfinite` count. int16 suits pcm_s16le; int32 within 24 bits suits
                pcm_s24le. Or bytes: whole frames, interleaved, in the recording's own
                encoding. Copied if it could change later.

        Raises:
            ValueError: Another shape or dtype, half a frame, or a finished recording.
            RefusedError: The server refused the recording for good.
        """
        self._check()
        if isinstance(block, np.ndarray):
            data, clipped, nonfinite = encode_samples(block, self.format)
            self.clipped += clipped
            self.nonfinite += nonfinite
        else:
            data = bytes(block)
        await self._until(
            lambda: (
                not self._sender.unacked_bytes
                or self._sender.unacked_bytes + len(data) <= self._max_unacked_bytes
            )
        )
        self._sender.append(data)
        self._to_send.set()
        await asyncio.sleep(0)  # the link gets its turn, however fast the caller is

    async def gap(self, frames: int, cause: str = "capture", *, exact: bool = True) -> None:
        """Declare that the next `frames` frames were lost: zeros in the WAV, and listed.

        Args:
            frames: How many, at most 24 hours of them.
            cause: `capture`, `overflow`, `suspended` or `device`.
            exact: Whether `frames` is counted, not estimated.

        Raises:
            ValueError: Another cause, too long, or a finished recording.
            RefusedError: The server refused the recording for good.
        """
        self._check()
        self._sender.gap(frames, cause, exact=exact)
        self._to_send.set()

    async def mark(self, label: str, frame: int | None = None) -> None:
        """Set a cue point with up to 1,000 characters at `frame`, or at the end so far.

        Raises:
            ValueError: `frame` is not there yet, or a finished recording.
            RefusedError: The server refused the recording for good.
        """
        self._check()
        self._sender.mark(self.captured_frames if frame is None else frame, label)
        self._to_send.set()

    async def discard(self) -> None:
        """Delete the recording; return once the server has, for ever.

        Raises:
            ValueError: It is finished.
            RefusedError: The server refused the recording for good.
        """
        self._check()
        self._sender.discard()
        if self._sender.is_over and self._task is not None:
            self._task.cancel()  # the server never heard of it, and needn't
        self._to_send.set()
        await self._until(lambda: self._sender.is_over)
        self._set_state("discarded")

    async def results(self) -> AsyncIterator[Result]:
        """Yield what analyzers say, until the recording is over. Up to 10,000 wait here."""
        while True:
            while self._results:
                yield self._results.popleft()
            if self._is_over():
                return
            await self._change()

    def _is_over(self) -> bool:
        return self._sender.is_over or self._error is not None

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._task is None:
            raise ValueError("a recording is used inside `async with`")

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._check()
            await self._change()
        self._check()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # ---- the link --------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep a link up until the recording is over."""
        while not self._is_over():
            try:
                await self._run_link()
            except InvalidStatus as error:
                self._handshake_refused(error.response.status_code)
            except (OSError, TimeoutError, WebSocketException) as error:
                self.trouble = str(error) or "it takes too long to answer"
            if self._is_over():
                return
            if self._sender.was_opened:
                self._set_state("offline")
            self._changed.set()
            longest_s = min(FIRST_DELAY_S * 2 ** min(self._attempts + 1, 10), LAST_DELAY_S)
            self._attempts += 1
            await asyncio.sleep(random.uniform(FIRST_DELAY_S, longest_s))

    def _handshake_refused(self, status: int) -> None:
        self.trouble = f"the server answers with HTTP {status}"
        if self._sender.was_opened or not 400 <= status < 500 or status in (408, 425, 429):
            return  # whoever was let in once will be again: a proxy or a restart
        if status in (401, 403):
            code = "unauthenticated" if status == 401 else "forbidden"
            self._error = RefusedError(code, self.trouble, 0)
        else:
            self._error = UnreachableError(
                f"no micwire server is at {self._base_url}: it answers with HTTP {status}"
            )

    async def _run_link(self) -> None:
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        socket = await connect_socket(
            self._stream_url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            additional_headers=headers,
            ssl=self._ssl,
            open_timeout=OPENED_TIMEOUT_S,
            ping_interval=None,  # acks are the heartbeat; pings of the server are answered
            close_timeout=1,
            max_size=_MAX_SERVER_MESSAGE_BYTES,
        )
        self._sender.connected()
        self._to_send.set()
        writer = asyncio.create_task(self._write_out(socket))
        try:
            await self._read_in(socket)
        finally:
            writer.cancel()
            self._handle(self._sender.disconnected())
            try:
                if self._sender.state in (SenderState.FINISHED, SenderState.DISCARDED):
                    await socket.close()
            finally:
                # Not `close`: a dead link would keep the closing handshake waiting.
                socket.transport.abort()
                await socket.wait_closed()

    async def _write_out(self, socket: ClientConnection) -> None:
        # A link that broke is news for the reading side, which hears of it too.
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                for message in self._sender.outgoing():
                    await socket.send(message)

    async def _read_in(self, socket: ClientConnection) -> None:
        timeout_s = OPENED_TIMEOUT_S
        try:
            while self._sender.state is not SenderState.OFFLINE and not self._sender.is_over:
                message = await _receive(socket, timeout_s)
                if isinstance(message, bytes):
                    self.trouble = "the server sent a binary message"
                    return
                self._handle(self._sender.receive(message))
                if self._sender.state is not SenderState.OPENING:
                    timeout_s = SILENCE_TIMEOUT_S
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            self.trouble = f"the connection was closed ({code or 'without a word'})"
            self._handle(self._sender.disconnected(code))

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case LinkOpened():
                    self.trouble = ""
                    self._set_state("online")
                case Acked():
                    self._attempts = 0
                case ResultArrived(result):
                    self._results.append(result)
                case NoticeArrived(notice):
                    self.notices.append(notice)
                case Completed(receipt):
                    self.receipt = receipt
                    self._set_state("finished")
                case Discarded():
                    self._set_state("discarded")
                case Refused(code, message, retry):
                    self.trouble = f"{message} ({code})"
                    if not retry:
                        self._error = RefusedError(code, message, self.durable_frames)
                        self._set_state("failed")
        self._to_send.set()
        self._changed.set()

    def _set_state(self, state: LinkState) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Whoever waits must hear of a bug here or in `on_state`, not wait for ever.
        if not task.cancelled() and self._error is None:
            self._error = task.exception()
        self._changed.set()


async def _receive(socket: ClientConnection, timeout_s: float) -> str | bytes:
    """Return the next message; a link that is silent for `timeout_s` is dead.

    Counted in ticks, so that a program that blocks its own loop doesn't blame the link.

    Raises:
        TimeoutError: Nothing came.
        ConnectionClosed: The link is closed.
    """
    for _ in range(round(timeout_s / _TICK_S)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK_S):
                return await socket.recv()
    raise TimeoutError(f"nothing came from the server for {timeout_s:g} s")


def _addresses(url: str) -> tuple[str, str]:
    """Return the address of the stream and the base of the pages of a server."""
    parts = urlsplit(url)
    secure = {"http": "", "ws": "", "https": "s", "wss": "s"}.get(parts.scheme)
    if secure is None or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a server; one looks like http://127.0.0.1:8000")
    rest = f"{parts.netloc}{parts.path.rstrip('/')}"
    return f"ws{secure}://{rest}/v1/stream", f"http{secure}://{rest}"


def encode_samples(
    samples: NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32], audio_format: Format
) -> tuple[bytes, int, int]:
    """Return samples in the bytes of a format, and how many were clipped and not finite.

    Args:
        samples: As for `Recording.write`.
        audio_format: How they are wanted.

    Raises:
        ValueError: Another shape or dtype, or an integer beyond 24 bits.

    >>> mono = Format(Encoding.S16, 48_000, 1)
    >>> encode_samples(np.array([0.5, -1.0, 1.25], np.float32), mono)
    (b'\\x00@\\x00\\x80\\xff\\x7f', 1, 0)
    """
    channels, encoding = audio_format.channels, audio_format.encoding
    if samples.ndim == 1 and channels == 1:
        samples = samples[:, np.newaxis]
    if samples.ndim != 2 or samples.shape[1] != channels:
        raise ValueError(f"shape {samples.shape} is not (frames, {channels})")
    if samples.dtype == np.float32:
        if encoding is Encoding.F32:
            return samples.astype("<f4", copy=False).tobytes(), 0, 0
        return _as_integers(samples, encoding)
    if samples.dtype == np.int16 and encoding is Encoding.S16:
        return samples.astype("<i2", copy=False).tobytes(), 0, 0
    if samples.dtype == np.int32 and encoding is Encoding.S24:
        if samples.size and not -(1 << 23) <= samples.min() <= samples.max() < 1 << 23:
            raise ValueError("an integer is beyond 24 bits: shift 32-bit samples right by 8")
        return _three_bytes(samples), 0, 0
    raise ValueError(f"{samples.dtype} samples don't suit {encoding}: give float32, or its own")


def _as_integers(samples: NDArray[np.generic], encoding: Encoding) -> tuple[bytes, int, int]:
    """Convert as the server's plain socket does: `clip(rint(x * full_scale))`, NaN to 0."""
    highest = (1 << (8 * encoding.sample_bytes - 1)) - 1
    # A power of two is exact in float32, and so is the highest 24-bit integer.
    scaled = np.rint(samples.astype(np.float32) * np.float32(highest + 1))
    clipped = int(np.count_nonzero((scaled < -highest - 1) | (scaled > highest)))
    nonfinite = int(scaled.size - np.count_nonzero(np.isfinite(scaled)))
    if clipped or nonfinite:
        scaled = np.where(np.isnan(scaled), 0, np.clip(scaled, -highest - 1, highest))
    if encoding is Encoding.S16:
        return scaled.astype("<i2").tobytes(), clipped, nonfinite
    return _three_bytes(scaled), clipped, nonfinite


def _three_bytes(samples: NDArray[np.generic]) -> bytes:
    whole = np.ascontiguousarray(samples, dtype="<i4").view(np.uint8).reshape(-1, 4)
    return whole[:, :3].tobytes()
