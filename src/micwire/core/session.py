"""One connection's part in a recording, as a pure state machine.

Everything that can change the state of a session is in this file. Nothing here waits,
reads a clock, or touches a socket or a file. Three verbs: `receive` takes a message and
returns what has to happen; `durable` says what is safe; `outgoing` is what to send.
"""

import heapq
from dataclasses import dataclass
from enum import Enum

from micwire.core.audio import Format
from micwire.core.errors import (
    CLOSE_CODES,
    NORMAL_CLOSURE,
    BadMessageError,
    UnsupportedFormatError,
)
from micwire.core.recording import GapEntry, MarkEntry
from micwire.core.wire import (
    AUDIO_HEADER,
    MAX_COUNT,
    MAX_OPEN_BYTES,
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
    ServerMessage,
    decode_client,
    encode_server,
)

MAX_GAP_S = 24 * 3600
MAX_MARKS = 10_000
MAX_MARK_CHARACTERS = 1_000_000
"""All labels of a recording together."""
MAX_GAPS = 100_000
MAX_UNDURABLE_MESSAGES = 4_096
"""A message costs memory even if it holds one frame only."""


class State(Enum):
    """Where a session stands."""

    CONNECTED = "connected"
    OPENING = "opening"
    STREAMING = "streaming"
    FINISHING = "finishing"
    DISCARDING = "discarding"
    FINISHED = "finished"
    CLOSED = "closed"


# On Python 3.11 `State.STREAMING` is a slow look-up, and this is compared for every message.
_STREAMING = State.STREAMING
_OPENED = (State.STREAMING, State.FINISHING, State.FINISHED)

TRANSITIONS: dict[tuple[State, type[ClientMessage]], State] = {
    # what is not listed is a mistake of the peer
    (State.CONNECTED, Open): State.OPENING,
    (State.STREAMING, Audio): State.STREAMING,
    (State.STREAMING, Gap): State.STREAMING,
    (State.STREAMING, Mark): State.STREAMING,
    (State.STREAMING, Finish): State.FINISHING,
    (State.STREAMING, Discard): State.DISCARDING,
    # What is behind `finish` repeats what was before it, or contradicts it.
    (State.FINISHING, Audio): State.FINISHING,
    (State.FINISHING, Gap): State.FINISHING,
    (State.FINISHING, Mark): State.FINISHING,
    (State.FINISHING, Finish): State.FINISHING,
    (State.FINISHED, Audio): State.FINISHED,
    (State.FINISHED, Gap): State.FINISHED,
    (State.FINISHED, Mark): State.FINISHED,
    (State.FINISHED, Finish): State.FINISHED,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may do; told to the client in `opened`."""

    max_message_bytes: int = 1 << 20
    max_unacked_bytes: int = 4 << 20
    ack_interval_ms: int = 40
    max_room_bytes: int = 1 << 62
    """The most that gaps may add to a WAV: the room on the disk as the connection began."""
    max_file_bytes: int = 1 << 62
    """The largest file that this disk and this process can have."""

    def max_unacked_frames(self, audio_format: Format) -> int:
        """Return how many frames may be under way."""
        return max(1, self.max_unacked_bytes // audio_format.frame_bytes)


# ---- what has to happen ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenAsked:
    """Find or create the recording, then call `opened` or `refuse`."""

    message: Open


@dataclass(slots=True)
class FramesArrived:
    """Store these frames: the next ones, already without what is a repetition."""

    first_frame: int
    frames: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class GapArrived:
    """Store that these frames are lost, already without what is a repetition."""

    gap: GapEntry


@dataclass(frozen=True, slots=True)
class MarkArrived:
    """Store a cue point that is not there yet."""

    mark: MarkEntry


@dataclass(frozen=True, slots=True)
class FinishAsked:
    """Make the WAV final, then call `finished`."""

    message: Finish


@dataclass(frozen=True, slots=True)
class DiscardAsked:
    """Delete the recording, then call `discarded`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer broke a rule, or we can't go on: the connection is to be closed."""

    code: str
    message: str


Event = OpenAsked | FramesArrived | GapArrived | MarkArrived | FinishAsked | DiscardAsked | Refused


class Session:
    """The server's side of one connection.

    Args:
        limits: What the client may do.
    """

    def __init__(self, limits: Limits) -> None:
        self.state = State.CONNECTED
        self.next_frame = 0
        """The next frame expected, durable or not."""
        self.durable_frames = 0
        """All frames before this one are durable."""
        self.close_code: int | None = None
        """Set once the connection is to be closed, after what is outgoing."""
        self.close_reason = ""
        self._limits = limits
        self._frame_bytes = 1
        self._max_unacked = 1
        self._format: Format | None = None
        self._gap_frames = 0
        self._marks: set[tuple[int, str]] = set()
        self._early_marks: list[tuple[int, str]] = []  # a heap
        self._mark_characters = 0
        self._gaps = 0
        self._max_frames = MAX_COUNT
        self._undurable_messages = 0
        self._outgoing: list[str] = []
        self._is_ack_due = False
        self._finished: Finished | None = None

    # ---- from the peer ---------------------------------------------------------

    def receive(self, message: str | bytes) -> list[Event]:
        """Take one message from the peer; return what has to happen, in order.

        A peer that breaks the rules is news, not an exception: the list ends with
        `Refused` and the session is closed. If this method raises, micwire has a bug.
        """
        if self.state is _STREAMING and isinstance(message, bytes):
            return self._receive_audio(message)  # 50 times a second and stream
        if self.state is State.CLOSED:
            return []
        if self._is_too_large(message):
            return self.refuse("too-large", "the message is over the limit")
        try:
            decoded = decode_client(message)
        except BadMessageError as error:
            return self.refuse("bad-message", str(error))
        except UnsupportedFormatError as error:
            return self.refuse("unsupported-format", str(error))
        next_state = TRANSITIONS.get((self.state, type(decoded)))
        if next_state is None:
            return self._out_of_place(decoded)
        match decoded:
            case Open():
                events: list[Event] = [OpenAsked(decoded)]
            case Audio():
                events = self._late_audio(decoded)
            case Gap():
                events = self._receive_gap(decoded)
            case Mark():
                events = self._receive_mark(decoded)
            case Finish():
                events = self._receive_finish(decoded)
            case Discard():
                events = [DiscardAsked()]
        if self.close_code is None:
            self.state = next_state
        return events

    def _is_too_large(self, message: str | bytes) -> bool:
        size = len(message.encode(errors="replace") if isinstance(message, str) else message)
        is_opened = self.state not in (State.CONNECTED, State.OPENING)
        return size > (self._limits.max_message_bytes if is_opened else MAX_OPEN_BYTES)

    def _out_of_place(self, message: ClientMessage) -> list[Event]:
        kind = type(message).__name__.lower()
        if self.state in (State.FINISHING, State.FINISHED) and isinstance(message, Discard):
            return self.refuse("diverged", "the recording is finished")
        if self.state is State.DISCARDING:
            return []  # it is going away, and its connection with it
        return self.refuse("bad-message", f"{kind} in a session that is {self.state.value}")

    def _receive_audio(self, message: bytes) -> list[Event]:
        size = len(message)
        if size > self._limits.max_message_bytes:
            return self.refuse("too-large", f"the message has {size} bytes")
        if size < AUDIO_HEADER.size or (size - AUDIO_HEADER.size) % self._frame_bytes:
            return self.refuse("bad-message", f"{size} bytes are no header and whole frames")
        first_frame: int = AUDIO_HEADER.unpack_from(message)[0]
        end = first_frame + (size - AUDIO_HEADER.size) // self._frame_bytes
        if end == first_frame:
            return []
        if first_frame > self.next_frame:
            return self._undeclared(first_frame)
        if end > self._max_frames:
            return self.refuse("quota", f"a recording has at most {self._max_frames} frames here")
        # After a reconnection the peer resends what we never acknowledged.
        overlap = self.next_frame - first_frame
        first_frame += overlap
        if end <= first_frame:
            return []
        self.next_frame = end
        self._undurable_messages += 1
        data = message[AUDIO_HEADER.size + overlap * self._frame_bytes :]
        events: list[Event] = [FramesArrived(first_frame, end - first_frame, data)]
        return [*events, *self._marks_reached()] if self._early_marks else events

    def _undeclared(self, first_frame: int) -> list[Event]:
        return self.refuse("gap-undeclared", f"expected frame {self.next_frame}, got {first_frame}")

    def _late_audio(self, audio: Audio) -> list[Event]:
        """Take audio behind `finish`: only a repetition is legal."""
        if len(audio.data) % self._frame_bytes:
            return self.refuse("bad-message", "half a frame")
        end = audio.first_frame + len(audio.data) // self._frame_bytes
        if end > max(self.next_frame, audio.first_frame):
            return self.refuse("diverged", "audio behind the end of a finished recording")
        return []

    def _receive_gap(self, gap: Gap) -> list[Event]:
        end = gap.first_frame + gap.frames
        if gap.frames == 0:
            return []
        if self.state is not State.STREAMING:
            if end > self.next_frame:
                return self.refuse("diverged", "a gap behind the end of a finished recording")
            return []
        if gap.first_frame > self.next_frame:
            return self._undeclared(gap.first_frame)
        frames = end - self.next_frame
        if frames <= 0:
            return []
        if self._format is None:
            raise ValueError("opened() comes before frames")
        if gap.frames > MAX_GAP_S * self._format.sample_rate:
            return self.refuse("quota", "a gap is at most 24 hours long")
        if (self._gap_frames + frames) * self._frame_bytes > self._limits.max_room_bytes:
            return self.refuse("quota", "the gap is larger than the room left")
        if end > self._max_frames or self._gaps >= MAX_GAPS:
            return self.refuse(
                "quota", f"a recording has at most {self._max_frames} frames and {MAX_GAPS} gaps"
            )
        entry = GapEntry(self.next_frame, frames, gap.cause, gap.exact)
        self.next_frame = end
        self._gap_frames += frames
        self._gaps += 1
        self._undurable_messages += 1
        return [GapArrived(entry), *self._marks_reached()]

    def _receive_mark(self, mark: Mark) -> list[Event]:
        key = (mark.frame, mark.label)
        if key in self._marks:
            return []
        if self.state is not State.STREAMING:
            return self.refuse("diverged", "a new mark in a finished recording")
        self._mark_characters += len(mark.label)
        if len(self._marks) >= MAX_MARKS or self._mark_characters > MAX_MARK_CHARACTERS:
            return self.refuse(
                "quota",
                f"a recording has at most {MAX_MARKS} marks"
                f" with {MAX_MARK_CHARACTERS} characters in all",
            )
        self._marks.add(key)
        if mark.frame > self.next_frame:
            # A client repeats its marks after each `opened`, before it resends the frames.
            heapq.heappush(self._early_marks, key)
            return []
        return [MarkArrived(MarkEntry(mark.frame, mark.label))]

    def _marks_reached(self) -> list[Event]:
        """Take the early marks that the recording has grown up to."""
        reached: list[Event] = []
        while self._early_marks and self._early_marks[0][0] <= self.next_frame:
            reached.append(MarkArrived(MarkEntry(*heapq.heappop(self._early_marks))))
        return reached

    def _receive_finish(self, finish: Finish) -> list[Event]:
        if finish.frames != self.next_frame:
            is_beyond = finish.frames > self.next_frame and self.state is State.STREAMING
            return self.refuse(
                "gap-undeclared" if is_beyond else "diverged",
                f"finish at {finish.frames}, and the next frame expected is {self.next_frame}",
            )
        if self._early_marks:
            return self.refuse("bad-message", "a mark lies behind the end of the recording")
        if self.state is State.STREAMING:
            return [FinishAsked(finish)]
        if self._finished is not None:
            self._send(self._finished)
        return []

    # ---- from the recorder -----------------------------------------------------

    def opened(
        self,
        message: Opened,
        audio_format: Format,
        marks: set[tuple[int, str]],
        gap_frames: int,
        *,
        gaps: int = 0,
        is_ending: bool = False,
        max_frames: int = MAX_COUNT,
    ) -> None:
        """The recording is this session's: frames before `message.frames` are durable.

        Args:
            message: What the peer is told.
            audio_format: The recording's format.
            marks: The marks it has.
            gap_frames: How many frames are declared lost.
            gaps: In how many gaps.
            is_ending: Its `finish` came over an earlier connection.
            max_frames: How many frames it may have for whoever records.
        """
        if self.state is not State.OPENING:
            return
        self.state = State.FINISHING if is_ending else State.STREAMING
        self.next_frame = self.durable_frames = message.frames
        self._format = audio_format
        self._frame_bytes = audio_format.frame_bytes
        self._max_unacked = message.max_unacked_frames
        self._gap_frames = gap_frames
        self._marks = marks
        self._mark_characters = sum(len(label) for _, label in marks)
        self._gaps = gaps
        file_frames = self._limits.max_file_bytes // audio_format.frame_bytes
        self._max_frames = min(MAX_COUNT, file_frames, max_frames)
        self._send(message)

    def durable(self, frames: int) -> None:
        """All frames before `frames` are durable; `acknowledge` says so to the peer.

        Called once for each message that brought frames, in their order.
        """
        self.durable_frames = max(self.durable_frames, frames)
        self._undurable_messages -= 1

    def acknowledge(self) -> None:
        """Send an `ack` of what is durable by the time it goes out."""
        # Only one is ever waiting, however slowly the peer reads.
        self._is_ack_due = self.state in _OPENED

    def finished(self, message: Finished) -> None:
        """The WAV is final and durable."""
        if self.close_code is None:
            self.state = State.FINISHED
            self._finished = message
            self._send(message)

    def discarded(self) -> None:
        """The recording is deleted, durably."""
        self._close(NORMAL_CLOSURE, "")

    def send(self, message: ServerMessage) -> None:
        """Send a result or a notice."""
        if self.close_code is None:
            self._send(message)

    def refuse(self, code: str, message: str, *, frames: int | None = None) -> list[Event]:
        """Close with an error; `frames` is the next expected where it isn't our own."""
        if self.close_code is not None:
            return []
        self._send(Error(code, message, self.next_frame if frames is None else frames))
        self._close(CLOSE_CODES[code], code)
        return [Refused(code, message)]

    def leave(self, code: int) -> None:
        """Close without an error, such as for a restart; or note that the peer is gone."""
        if self.close_code is None:
            self._close(code, "")

    # ---- to the peer -----------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        """Tell whether so much is not durable that reading should pause."""
        return (
            self.next_frame - self.durable_frames > self._max_unacked
            or self._undurable_messages > MAX_UNDURABLE_MESSAGES
        )

    def outgoing(self) -> list[str]:
        """Return the texts to send, oldest first, and forget them."""
        if self._is_ack_due:
            self._is_ack_due = False
            if self.close_code is None:
                self._send(Ack(self.durable_frames))
        texts, self._outgoing = self._outgoing, []
        return texts

    def _send(self, message: ServerMessage) -> None:
        self._outgoing.append(encode_server(message))

    def _close(self, code: int, reason: str) -> None:
        self.state = State.CLOSED
        self.close_code, self.close_reason = code, reason
