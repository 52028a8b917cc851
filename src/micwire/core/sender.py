"""The client's side of a recording, over any number of connections, as a pure state machine.

It keeps every frame until the server has acknowledged it, and says what to send. Nothing
here waits, reads a clock or makes a number by chance: the carrier connects, reconnects and
gives up. Three verbs for the link, `connected`, `receive`, `disconnected`, and `outgoing`
for what is to be sent; five for the sound: `append`, `gap`, `mark`, `finish`, `discard`.
"""

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

from micwire.core.digest import PieceDigest
from micwire.core.errors import CLOSE_CODES, NORMAL_CLOSURE, BadMessageError
from micwire.core.session import MAX_GAP_S, MAX_MARKS
from micwire.core.wire import (
    AUDIO_HEADER,
    GAP_CAUSES,
    MAX_LABEL_CHARACTERS,
    Ack,
    Discard,
    Error,
    Finish,
    Finished,
    Gap,
    Mark,
    Notice,
    Open,
    Opened,
    Result,
    ServerMessage,
    decode_server,
    encode_client,
)

MESSAGE_BYTES = 64 * 1024
"""The most audio in one message, whatever the server would take: proxies like small ones."""


class State(Enum):
    """Where a sender stands."""

    OFFLINE = "offline"
    OPENING = "opening"
    STREAMING = "streaming"
    FINISHING = "finishing"
    DISCARDING = "discarding"
    FINISHED = "finished"
    DISCARDED = "discarded"
    REFUSED = "refused"


ONLINE = (State.STREAMING, State.FINISHING, State.DISCARDING)
OVER = (State.FINISHED, State.DISCARDED, State.REFUSED)

TRANSITIONS: dict[tuple[State, type[ServerMessage]], State] = {
    # What is not listed is a mistake of the server: the link is given up, the copy kept.
    # Sending `finish` or `discard` leads from STREAMING to FINISHING or DISCARDING.
    (State.OPENING, Opened): State.STREAMING,
    (State.OPENING, Notice): State.OPENING,
    **{(state, Ack): state for state in ONLINE},
    **{(state, Result): state for state in ONLINE},
    **{(state, Notice): state for state in ONLINE},
    # An earlier connection may have brought the `finish`, and the answer got lost.
    (State.STREAMING, Finished): State.FINISHED,
    (State.FINISHING, Finished): State.FINISHED,
    # The code decides, see `_refused`; where it isn't known, the close code that follows.
    (State.OPENING, Error): State.OPENING,
    **{(state, Error): state for state in ONLINE},
}

RETRIED = frozenset({"gap-undeclared", "quota", "storage-failed", "storage-full"})
"""Codes after which the client reconnects, with all that is not acknowledged."""


# ---- what has happened -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the server says of a recording that is final.

    Args:
        recording: Its id.
        frames: How many it has.
        digest: The digest of the server's WAV.
        matches: The digest is that of what was sent; None for a recording that an earlier
            process began: only a part of it was sent by this one.
        url: The path of the WAV on the server.
    """

    recording: str
    frames: int
    digest: str
    matches: bool | None
    url: str


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """The server expects `frames` next: the link carries sound."""

    frames: int


@dataclass(frozen=True, slots=True)
class Acked:
    """All frames before `frames` are durable, and forgotten here."""

    frames: int


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """An analyzer has said something."""

    result: Result


@dataclass(frozen=True, slots=True)
class NoticeArrived:
    """News for the person."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Completed:
    """The WAV is final and durable: nothing more is to do."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Discarded:
    """The recording is deleted, durably: nothing more is to do."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The connection is to be closed. `retry`: connect again later; else it is over.

    What is not acknowledged stays here in both cases.
    """

    code: str
    message: str
    retry: bool


Event = LinkOpened | Acked | ResultArrived | NoticeArrived | Completed | Discarded | Refused


@dataclass(slots=True)
class _Piece:
    """Frames in a row; `lost` is the gap that they are, else `data` holds them."""

    first_frame: int
    frames: int
    data: bytes | memoryview = b""
    lost: Gap | None = None

    @property
    def end(self) -> int:
        return self.first_frame + self.frames

    def after(self, frame: int, frame_bytes: int) -> "_Piece":
        """Return what lies at and behind `frame`, without copying."""
        skipped = frame - self.first_frame
        rest = memoryview(self.data)[skipped * frame_bytes :]
        return _Piece(frame, self.frames - skipped, rest, self.lost)

    def before(self, frame: int, frame_bytes: int) -> "_Piece":
        """Return what lies before `frame`, without copying."""
        frames = frame - self.first_frame
        return _Piece(self.first_frame, frames, memoryview(self.data)[: frames * frame_bytes])


class Sender:
    """One recording, as its client has it.

    Args:
        message: What to open; `acked` and `results_since` are filled in here.
        is_continued: An earlier process began the recording. The first `opened` says
            where it goes on, and nothing can be appended before; its digest isn't known.
    """

    def __init__(self, message: Open, *, is_continued: bool = False) -> None:
        self.state = State.OFFLINE
        self.captured_frames = 0
        """The end of the recording so far: all frames appended, gaps included."""
        self.durable_frames = 0
        """All frames before this one are durable on the server."""
        self.unacked_bytes = 0
        """Sound that is kept here because the server might not have it."""
        self.was_opened = False
        """The server has answered `opened` at least once."""
        self._open = message
        self._format = message.format
        self._frame_bytes = message.format.frame_bytes
        self._digest: PieceDigest | None = None if is_continued else PieceDigest()
        self._is_positioned = not is_continued
        self._sent: deque[_Piece] = deque()  # on this connection, not acknowledged
        self._unsent: deque[_Piece] = deque()
        self._marks: dict[Mark, None] = {}
        self._unsent_marks: list[Mark] = []
        self._is_finishing = False
        self._is_discarding = False
        self._ghosts = 0
        self._last_seq: int | None = message.results_since
        self._max_unacked = 1
        self._message_frames = 1
        self._outgoing: list[str | bytes] = []

    # ---- the sound ---------------------------------------------------------------

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next frames: whole ones, interleaved, in the recording's encoding.

        Raises:
            ValueError: Half a frame, or the recording takes no more.
        """
        self._check_appendable()
        view = memoryview(data).cast("B")
        if len(view) % self._frame_bytes:
            raise ValueError(f"{len(view)} bytes are no whole frames of {self._frame_bytes} bytes")
        if self._digest is not None:
            self._digest.update(view)
        # In pieces, so that an acknowledgement of a part frees that part.
        piece_bytes = _most(MESSAGE_BYTES, self._frame_bytes)
        for start in range(0, len(view), piece_bytes):
            piece = data if len(view) <= piece_bytes else view[start : start + piece_bytes]
            kept = bytes(piece)  # no copy where it is `bytes` already
            self._add(_Piece(self.captured_frames, len(kept) // self._frame_bytes, kept))
        self.unacked_bytes += len(view)

    def gap(self, frames: int, cause: str, *, exact: bool) -> None:
        """Declare that the next `frames` frames are lost for good.

        Raises:
            ValueError: No such cause, longer than 24 h, or the recording takes no more.
        """
        self._check_appendable()
        if cause not in GAP_CAUSES:
            raise ValueError(f"{cause!r} is none of {', '.join(sorted(GAP_CAUSES))}")
        if not 0 <= frames <= MAX_GAP_S * self._format.sample_rate:
            raise ValueError(f"a gap has 0 frames to 24 hours of them, not {frames}")
        if frames == 0:
            return
        if self._digest is not None:
            self._digest.update_zeros(frames * self._frame_bytes)
        lost = Gap(self.captured_frames, frames, cause, exact)
        self._add(_Piece(lost.first_frame, frames, lost=lost))

    def mark(self, frame: int, label: str) -> None:
        """Set a cue point; the same frame and label twice is one.

        Raises:
            ValueError: `frame` is behind the end, the label is longer than 1,000
                characters, there are 10,000 already, or the recording takes no more.
        """
        self._check_appendable()
        if not 0 <= frame <= self.captured_frames:
            raise ValueError(f"frame {frame} is not within 0 to {self.captured_frames}")
        if len(label) > MAX_LABEL_CHARACTERS:
            raise ValueError(f"a label has at most {MAX_LABEL_CHARACTERS} characters")
        mark = Mark(frame, label)
        if mark in self._marks:
            return
        if len(self._marks) == MAX_MARKS:
            raise ValueError(f"a recording has at most {MAX_MARKS} marks")
        self._marks[mark] = None
        self._unsent_marks.append(mark)

    def finish(self) -> None:
        """No more frames will come. Twice is once.

        Raises:
            ValueError: It is being discarded.
        """
        if not self._is_finishing:
            self._check_appendable()
        self._is_finishing = True

    def discard(self) -> None:
        """Delete the recording, here now and on the server as soon as it can be told.

        Raises:
            ValueError: It is finished, or is being finished.
        """
        if self._is_finishing or self.state is State.FINISHED:
            raise ValueError("the recording is finished")
        self._is_discarding = True
        self._sent.clear()
        self._unsent.clear()
        self.unacked_bytes = 0
        is_unheard = self._is_positioned and not self.was_opened and not self._ghosts
        if self.state is State.OFFLINE and is_unheard:
            self.state = State.DISCARDED  # the server never heard of it

    def _check_appendable(self) -> None:
        if self._is_finishing or self._is_discarding or self.state in OVER:
            raise ValueError("the recording is over: it takes nothing more")
        if not self._is_positioned:
            raise ValueError("where the recording goes on is not known before it is opened")

    def _add(self, piece: _Piece) -> None:
        self._unsent.append(piece)
        self.captured_frames = piece.end

    @property
    def unacked_frames(self) -> int:
        """Return how many frames, gaps included, are not known to be durable."""
        return self.captured_frames - self.durable_frames

    @property
    def digest(self) -> str | None:
        """Return the digest of all frames so far; None for a continued recording."""
        return None if self._digest is None else self._digest.hexdigest()

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is to do: finished, discarded, or refused for good."""
        return self.state in OVER

    # ---- the link ------------------------------------------------------------------

    def connected(self) -> None:
        """A connection is there and its handshake done: `open` goes out first.

        Raises:
            ValueError: There is one already, or the recording is over.
        """
        if self.state is not State.OFFLINE:
            raise ValueError(f"connected, and the sender is {self.state.value}")
        self.state = State.OPENING
        message = replace(
            self._open, acked=self.durable_frames or None, results_since=self._last_seq
        )
        self._outgoing = [encode_client(message)]

    def disconnected(self, close_code: int | None = None) -> list[Event]:
        """The connection is gone, with its close code if it had one; what was sent may be lost.

        The code decides where the `error` before it didn't come, or wasn't known.
        """
        if self.state is State.OFFLINE or self.state in OVER:
            return []
        if self.state is State.DISCARDING and close_code == NORMAL_CLOSURE:
            self.state = State.DISCARDED
            return [Discarded()]
        code = next((name for name, close in CLOSE_CODES.items() if close == close_code), None)
        if code is not None:
            return self._refused(code, f"the server closed with {close_code}")
        if self.state is State.OPENING:
            # Its `open` may still be on the way, and take over the next connection.
            self._ghosts += 1
        self._drop_link()
        return []

    def receive(self, text: str) -> list[Event]:
        """Take one message from the server; return what has happened, in order.

        A server that breaks the rules is news, not an exception.
        """
        if self.state is State.OFFLINE or self.state in OVER:
            return []
        try:
            message = decode_server(text)
        except BadMessageError as error:
            return self._give_up("bad-message", f"the server broke a rule: {error}", retry=True)
        if message is None:
            return []  # of a later version
        next_state = TRANSITIONS.get((self.state, type(message)))
        if next_state is None:
            words = f"the server sent {type(message).__name__} while {self.state.value}"
            return self._give_up("bad-message", words, retry=True)
        self.state = next_state
        match message:
            case Opened():
                return self._receive_opened(message)
            case Ack(frames):
                return self._receive_ack(frames)
            case Result():
                self._last_seq = max(self._last_seq or 0, message.seq)
                return [ResultArrived(message)]
            case Notice():
                return [NoticeArrived(message)]
            case Finished():
                return self._receive_finished(message)
            case Error(code, words, _):
                return self._refused(code, words) if code in CLOSE_CODES else []

    def _receive_opened(self, message: Opened) -> list[Event]:
        if message.recording != self._open.recording:
            return self._give_up("bad-message", "the server opened another recording", retry=True)
        if not self._is_positioned:
            self._is_positioned = True
            self.captured_frames = message.frames
        if not self._is_discarding and not (
            self.durable_frames <= message.frames <= self.captured_frames
        ):
            return self._give_up(
                "diverged",
                f"the server has {message.frames} frames; {self.durable_frames} were"
                f" acknowledged and {self.captured_frames} captured",
                retry=False,
            )
        self.was_opened = True
        self._max_unacked = max(1, message.max_unacked_frames)
        message_bytes = min(message.max_message_bytes - AUDIO_HEADER.size, MESSAGE_BYTES)
        self._message_frames = max(1, message_bytes // self._frame_bytes)
        self._forget(message.frames)
        self._unsent_marks = list(self._marks)
        return [LinkOpened(message.frames)]

    def _receive_ack(self, frames: int) -> list[Event]:
        if self._is_discarding:
            return []
        if frames > self._sent_end:
            return self._give_up("bad-message", f"ack of {frames}, never sent", retry=True)
        self._forget(frames)
        return [Acked(self.durable_frames)]

    def _receive_finished(self, message: Finished) -> list[Event]:
        if not self._is_finishing or message.frames != self.captured_frames:
            return self._give_up(
                "diverged",
                f"the server finished the recording with {message.frames} frames;"
                f" {self.captured_frames} were captured",
                retry=False,
            )
        self._forget(message.frames)
        digest = self.digest
        matches = message.matches if digest is None else message.digest == digest
        receipt = Receipt(message.recording, message.frames, message.digest, matches, message.url)
        return [Completed(receipt)]

    def _refused(self, code: str, message: str) -> list[Event]:
        retry = code in RETRIED
        if code == "deleted" and self._is_discarding:
            self.state = State.DISCARDED
            return [Discarded()]
        if code == "taken-over" and self._ghosts:
            # By an `open` of our own that came late: each can do that once.
            self._ghosts -= 1
            retry = True
        if code == "unauthenticated":
            # Who has been let in before was only slow, or must be let in again later.
            retry = self.was_opened
        return self._give_up(code, message, retry=retry)

    def _give_up(self, code: str, message: str, *, retry: bool) -> list[Event]:
        self._drop_link()
        if not retry:
            self.state = State.REFUSED
        return [Refused(code, message, retry)]

    def _drop_link(self) -> None:
        self.state = State.OFFLINE
        self._outgoing = []
        # What was under way may be lost: it goes out again, from where `opened` says.
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def _forget(self, frames: int) -> None:
        """Drop what lies before `frames`: it is durable."""
        self.durable_frames = max(self.durable_frames, frames)
        for pieces in (self._sent, self._unsent):
            while pieces and pieces[0].first_frame < frames:
                piece = pieces.popleft()
                self.unacked_bytes -= len(piece.data)
                if piece.end > frames:
                    rest = piece.after(frames, self._frame_bytes)
                    self.unacked_bytes += len(rest.data)
                    pieces.appendleft(rest)

    # ---- to the server ---------------------------------------------------------------

    @property
    def _sent_end(self) -> int:
        return self._unsent[0].first_frame if self._unsent else self.captured_frames

    def outgoing(self) -> list[str | bytes]:
        """Return what to send now, in order, and take it as sent.

        Never more than the server takes before its next acknowledgement: after each
        `receive` there may be more.
        """
        messages, self._outgoing = self._outgoing, []
        if self.state is not State.STREAMING:
            return messages
        if self._is_discarding:
            self.state = State.DISCARDING
            return [*messages, encode_client(Discard())]
        # A mark may go ahead of its frame: the server keeps it aside.
        messages += [encode_client(mark) for mark in self._unsent_marks]
        self._unsent_marks = []
        while self._unsent:
            room = self.durable_frames + self._max_unacked - self._sent_end
            message = self._next_gap(room) or self._next_audio(room)
            if message is None:
                return messages
            messages.append(message)
        if self._is_finishing:
            self.state = State.FINISHING
            messages.append(encode_client(Finish(self.captured_frames, self.digest)))
        return messages

    def _next_gap(self, room: int) -> str | bytes | None:
        piece = self._unsent[0]
        # A gap is never divided: one larger than the window goes when nothing else does.
        if piece.lost is None or (piece.frames > room and room < self._max_unacked):
            return None
        self._sent.append(self._unsent.popleft())
        return encode_client(
            replace(piece.lost, first_frame=piece.first_frame, frames=piece.frames)
        )

    def _next_audio(self, room: int) -> bytes | None:
        """Return as many frames as go into one message, of as many pieces as it takes."""
        parts: list[bytes | memoryview] = [AUDIO_HEADER.pack(self._sent_end)]
        left = min(room, self._message_frames)
        while left > 0 and self._unsent and self._unsent[0].lost is None:
            piece = self._unsent.popleft()
            if piece.frames > left:
                cut = piece.first_frame + left
                self._unsent.appendleft(piece.after(cut, self._frame_bytes))
                piece = piece.before(cut, self._frame_bytes)
            parts.append(piece.data)
            self._sent.append(piece)
            left -= piece.frames
        return b"".join(parts) if len(parts) > 1 else None


def _most(limit: int, unit: int) -> int:
    """Return the largest multiple of `unit` within `limit`, at least one."""
    return max(unit, limit - limit % unit)
