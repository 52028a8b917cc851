"""One connection's part in a recording: the table, and what no order of messages can break."""

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.errors import CLOSE_CODES
from micwire.core.recording import GapEntry, MarkEntry
from micwire.core.session import (
    MAX_GAP_S,
    MAX_MARKS,
    TRANSITIONS,
    DiscardAsked,
    Event,
    FinishAsked,
    FramesArrived,
    GapArrived,
    Limits,
    MarkArrived,
    OpenAsked,
    Refused,
    Session,
    State,
)
from micwire.core.wire import (
    MAX_COUNT,
    Audio,
    ClientMessage,
    Discard,
    Finish,
    Finished,
    Gap,
    Mark,
    Notice,
    Open,
    Opened,
    encode_client,
)

ID = "7f3a9c2e-0000-4000-8000-0000000000aa"
STEREO = Format(Encoding.S16, 48_000, 2)
FRAME_BYTES = STEREO.frame_bytes
LIMITS = Limits(max_message_bytes=4096, max_unacked_bytes=400)
OPEN = Open(ID, "k" * 22, STEREO)
FINISHED = Finished(ID, 10, "ab" * 32, None, "/x")


def pcm(first_frame: int, frames: int) -> bytes:
    """Return frames that name their own index."""
    return b"".join(
        (frame * 2_654_435_761 % (1 << 32)).to_bytes(4, "little")
        for frame in range(first_frame, first_frame + frames)
    )


def audio(first_frame: int, frames: int) -> Audio:
    return Audio(first_frame, pcm(first_frame, frames))


def opened(frames: int = 0, **changes: object) -> Session:
    """Return a session that streams, with nothing left to send."""
    session = Session(LIMITS)
    assert send(session, OPEN) == [OpenAsked(OPEN)]
    grant(session, frames, **changes)
    session.outgoing()
    return session


def grant(session: Session, frames: int = 0, **changes: object) -> None:
    limits = {"audio_format": STEREO, "marks": set(), "gap_frames": 0, **changes}
    session.opened(
        Opened(ID, 1, frames, "durable", 50, 4096, LIMITS.max_unacked_frames(STEREO)),
        **limits,  # type: ignore[arg-type]  # a test names only what differs
    )


def send(session: Session, message: ClientMessage) -> list[Event]:
    return session.receive(encode_client(message))


def told(session: Session) -> list[dict[str, object]]:
    return [json.loads(text) for text in session.outgoing()]


def in_state(state: State) -> Session:
    """Return a session in a state, at frame 10."""
    session = Session(LIMITS)
    if state is State.CONNECTED:
        return session
    send(session, OPEN)
    if state is State.OPENING:
        return session
    grant(session)
    send(session, audio(0, 10))
    if state in (State.FINISHING, State.FINISHED):
        send(session, Finish(10))
    if state is State.FINISHED:
        session.finished(FINISHED)
    if state is State.DISCARDING:
        send(session, Discard())
    if state is State.CLOSED:
        session.leave(1012)
    session.outgoing()
    assert session.state is state
    return session


# ---- the table ---------------------------------------------------------------------

REPEATED = {
    Open: OPEN,
    Audio: audio(5, 5),
    Gap: Gap(5, 5, "capture", exact=True),
    Mark: Mark(5, "a"),
    Finish: Finish(10),
    Discard: Discard(),
}


@pytest.mark.parametrize("message", REPEATED.values(), ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_only_what_the_table_lists_is_taken(state: State, message: ClientMessage) -> None:
    session = in_state(state)
    events = send(session, message)
    after = TRANSITIONS.get((state, type(message)))
    if state is State.CLOSED or (state is State.DISCARDING):
        assert events == []
        assert session.state is state
    elif after is None:
        is_late = state in (State.FINISHING, State.FINISHED) and isinstance(message, Discard)
        code = "diverged" if is_late else "bad-message"
        assert [type(event) for event in events] == [Refused]
        assert session.close_code == CLOSE_CODES[code]
        assert session.close_reason == code
    elif isinstance(message, Mark) and state in (State.FINISHING, State.FINISHED):
        assert session.close_code == CLOSE_CODES["diverged"], "a new mark behind `finish`"
    else:
        assert session.state is after
        assert session.close_code is None


def test_every_state_but_the_closed_ones_can_be_left_by_a_message() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State) - {
        *(State.OPENING, State.DISCARDING, State.CLOSED)
    }


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"type":"hello"}', b"", b"1234567"])
def test_rubbish_closes_and_changes_nothing_else(state: State, rubbish: str | bytes) -> None:
    session = in_state(state)
    before = session.next_frame
    events = session.receive(rubbish)
    assert session.next_frame == before
    assert session.state is State.CLOSED
    if state is State.CLOSED:
        assert events == []
        return
    assert [type(event) for event in events] == [Refused]
    assert session.close_code == 4400
    assert told(session)[-1]["type"] == "error"
    assert session.receive(rubbish) == []


# ---- the sound ---------------------------------------------------------------------


@given(
    frames=st.integers(0, 150),
    sends=st.lists(st.tuples(st.integers(0, 160), st.integers(0, 60))),
    start=st.integers(0, 40),
)
def test_every_frame_arrives_once_however_it_is_cut_repeated_and_reordered(
    frames: int, sends: list[tuple[int, int]], start: int
) -> None:
    session, received, end = opened(start), b"", max(frames, start)
    for wanted, frames_wanted in [*sends, (start, end - start)]:
        first = min(wanted, session.next_frame)  # a peer may repeat, and never skip
        count = max(0, min(frames_wanted, end - first))
        for event in send(session, audio(first, count)):
            assert isinstance(event, FramesArrived)
            assert event.first_frame * FRAME_BYTES == len(received) + start * FRAME_BYTES
            assert len(event.data) == event.frames * FRAME_BYTES > 0
            received += event.data
    assert received == pcm(start, end - start)
    assert session.next_frame == end
    assert session.outgoing() == []


@given(
    pieces=st.lists(st.tuples(st.booleans(), st.integers(-20, 0), st.integers(0, 50)), max_size=12)
)
def test_a_frame_is_sound_or_lost_and_the_first_word_counts(
    pieces: list[tuple[bool, int, int]],
) -> None:
    session, said = opened(), list[bool]()
    for is_gap, back, count in pieces:
        first = max(0, session.next_frame + back)
        said += [is_gap] * max(0, first + count - len(said))
        gap = Gap(first, count, "overflow", exact=False)
        for event in send(session, gap if is_gap else audio(first, count)):
            if isinstance(event, GapArrived):
                here, end = event.gap.first_frame, event.gap.first_frame + event.gap.frames
                assert all(said[here:end])
            else:
                assert isinstance(event, FramesArrived)
                here, end = event.first_frame, event.first_frame + event.frames
                assert not any(said[here:end])
                assert event.data == pcm(here, end - here)
            assert end == session.next_frame
    assert session.next_frame == len(said)


def test_a_frame_too_far_ahead_is_refused_and_nothing_is_stored() -> None:
    for message in (audio(11, 1), Gap(11, 1, "device", exact=True), Audio(2**64 - 1, bytes(4))):
        session = in_state(State.STREAMING)
        events = send(session, message)
        assert [type(event) for event in events] == [Refused]
        assert session.close_code == CLOSE_CODES["gap-undeclared"]
        assert told(session)[-1]["frames"] == 10
        assert session.next_frame == 10


@pytest.mark.parametrize("state", [State.STREAMING, State.FINISHING, State.FINISHED])
@pytest.mark.parametrize("first_frame", [0, 10, 11, MAX_COUNT])
def test_a_message_without_frames_has_no_effect(state: State, first_frame: int) -> None:
    session = in_state(state)
    assert send(session, Audio(first_frame, b"")) == []
    assert send(session, Gap(first_frame, 0, "capture", exact=True)) == []
    assert session.state is state
    assert session.outgoing() == []


@pytest.mark.parametrize("size", [1, 3, 5])
def test_half_a_frame_is_refused(size: int) -> None:
    for state in (State.STREAMING, State.FINISHING):
        session = in_state(state)
        send(session, Audio(10, bytes(size)))
        assert session.close_code == CLOSE_CODES["bad-message"]
        assert session.next_frame == 10


def test_the_end_of_counting_is_a_quota() -> None:
    session = opened(MAX_COUNT - 1)
    assert len(send(session, audio(MAX_COUNT - 1, 1))) == 1
    send(session, audio(MAX_COUNT, 1))
    assert session.close_code == CLOSE_CODES["quota"]
    assert session.next_frame == MAX_COUNT


@pytest.mark.parametrize("frames", [MAX_GAP_S * 48_000, MAX_GAP_S * 48_000 + 1])
def test_a_gap_is_at_most_a_day_long(frames: int) -> None:
    session = opened()
    events = send(session, Gap(0, frames, "suspended", exact=False))
    if frames > MAX_GAP_S * 48_000:
        assert session.close_code == CLOSE_CODES["quota"]
        assert session.next_frame == 0
    else:
        assert events == [GapArrived(GapEntry(0, frames, "suspended", exact=False))]


def test_gaps_may_not_add_up_to_more_than_the_room_left() -> None:
    session = Session(Limits(max_room_bytes=100 * FRAME_BYTES))
    send(session, OPEN)
    grant(session, gap_frames=40)
    assert send(session, Gap(0, 60, "capture", exact=True))
    send(session, Gap(60, 1, "capture", exact=True))
    assert session.close_code == CLOSE_CODES["quota"]
    assert session.next_frame == 60


@pytest.mark.parametrize(
    ("message", "is_too_large"),
    [
        (encode_client(audio(0, 1022)), False),
        (encode_client(audio(0, 1023)), True),
        ('{"type":"mark","frame":0,"label":"' + "ä" * 1_000 + '"}', False),
        ('{"type":"mark","frame":0,"label":"","x":"' + "ä" * 2_048 + '"}', True),
    ],
)
def test_a_message_over_the_limit_is_refused(message: str | bytes, *, is_too_large: bool) -> None:
    session = opened()
    session.receive(message)
    assert session.close_code == (CLOSE_CODES["too-large"] if is_too_large else None)


def test_before_opened_a_message_has_16_kib() -> None:
    for size, is_too_large in ((16 * 1024, False), (16 * 1024 + 1, True)):
        session = Session(Limits())
        text = str(encode_client(OPEN))
        text = f'{text[:-1]},"x":"{"y" * (size - len(text) - 7)}"}}'
        assert len(text) == size
        session.receive(text)
        assert session.close_code == (CLOSE_CODES["too-large"] if is_too_large else None)


def test_an_open_with_an_impossible_format_is_told_apart() -> None:
    session = Session(LIMITS)
    session.receive(str(encode_client(OPEN)).replace("48000", "7999"))
    assert session.close_code == CLOSE_CODES["unsupported-format"]


# ---- marks, the end ----------------------------------------------------------------


def test_a_mark_ahead_waits_until_the_recording_has_grown_up_to_it() -> None:
    session = opened(5)
    assert send(session, Mark(20, "late")) == []
    assert send(session, Mark(9, "early")) == []
    assert send(session, Mark(20, "late")) == []
    assert send(session, Mark(5, "now")) == [MarkArrived(MarkEntry(5, "now"))]
    first, second = send(session, audio(5, 4))
    assert isinstance(first, FramesArrived)
    assert second == MarkArrived(MarkEntry(9, "early"))
    gap, mark = send(session, Gap(9, 11, "device", exact=True))
    assert isinstance(gap, GapArrived)
    assert mark == MarkArrived(MarkEntry(20, "late"))
    assert send(session, Mark(20, "late")) == []


def test_marks_of_earlier_connections_are_not_news() -> None:
    session = opened(5, marks={(3, "a")})
    assert send(session, Mark(3, "a")) == []
    assert send(session, Mark(3, "b")) == [MarkArrived(MarkEntry(3, "b"))]


def test_a_finish_before_an_early_mark_is_refused() -> None:
    session = opened()
    send(session, Mark(1, "beyond"))
    send(session, Finish(0))
    assert session.close_code == CLOSE_CODES["bad-message"]


def test_there_are_so_many_marks_and_no_more() -> None:
    session = opened(marks={(0, str(number)) for number in range(MAX_MARKS - 2)})
    assert send(session, Mark(0, "a"))
    assert send(session, Mark(7, "ahead")) == []
    assert send(session, Mark(0, "a")) == [], "a repetition is none"
    assert send(session, Mark(7, "ahead")) == []
    assert session.close_code is None
    send(session, Mark(0, "b"))
    assert session.close_code == CLOSE_CODES["quota"]


@pytest.mark.parametrize(
    ("state", "frames", "code"),
    [
        (State.STREAMING, 10, None),
        (State.STREAMING, 9, "diverged"),
        (State.STREAMING, 11, "gap-undeclared"),
        (State.FINISHING, 10, None),
        (State.FINISHING, 9, "diverged"),
        (State.FINISHING, 11, "diverged"),
        (State.FINISHED, 10, None),
        (State.FINISHED, 11, "diverged"),
    ],
)
def test_finish_names_the_end_or_is_refused(state: State, frames: int, code: str | None) -> None:
    session = in_state(state)
    finish = Finish(frames, hashlib.sha256().hexdigest())
    events = send(session, finish)
    assert session.close_code == (None if code is None else CLOSE_CODES[code])
    if code is None:
        assert events == ([FinishAsked(finish)] if state is State.STREAMING else [])
        answers = [message["type"] for message in told(session)]
        assert answers == (["finished"] if state is State.FINISHED else [])


@pytest.mark.parametrize("state", [State.FINISHING, State.FINISHED])
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (audio(0, 10), None),
        (audio(9, 2), "diverged"),
        (audio(10, 1), "diverged"),
        (audio(12, 1), "diverged"),
        (Gap(0, 10, "capture", exact=True), None),
        (Gap(9, 2, "capture", exact=True), "diverged"),
        (Gap(10, 1, "capture", exact=True), "diverged"),
        (Mark(3, "new"), "diverged"),
    ],
)
def test_behind_finish_only_repetitions_are_taken(
    state: State, message: ClientMessage, code: str | None
) -> None:
    session = in_state(state)
    events = send(session, message)
    assert session.close_code == (None if code is None else CLOSE_CODES[code])
    assert [type(event) for event in events] == ([] if code is None else [Refused])
    assert session.next_frame == 10


def test_discard_is_asked_for_and_ends_with_1000() -> None:
    session = in_state(State.STREAMING)
    assert send(session, Discard()) == [DiscardAsked()]
    assert send(session, audio(10, 5)) == []
    session.discarded()
    assert (session.close_code, session.close_reason) == (1000, "")


# ---- acks and what is sent ---------------------------------------------------------


@given(st.lists(st.integers(0, 100), max_size=20))
def test_an_ack_never_falls(durable: list[int]) -> None:
    session, largest = opened(20), 20
    for frames in durable:
        session.durable(frames)
        session.acknowledge()
        largest = max(largest, frames)
        assert told(session) == [{"type": "ack", "frames": largest}]


def test_only_one_ack_waits_and_it_says_the_newest() -> None:
    session = opened()
    for frames in (5, 6, 7):
        session.durable(frames)
        session.acknowledge()
    session.durable(9)
    assert told(session) == [{"type": "ack", "frames": 9}]
    assert told(session) == []


@pytest.mark.parametrize("state", [State.CONNECTED, State.OPENING, State.DISCARDING, State.CLOSED])
def test_nothing_is_acknowledged_where_nothing_streams(state: State) -> None:
    session = in_state(state)
    session.durable(10)
    session.acknowledge()
    assert session.outgoing() == []


@pytest.mark.parametrize(
    "say",
    [
        lambda session: session.finished(FINISHED),
        lambda session: session.send(Notice("x", "y")),
        lambda session: session.refuse("quota", "no"),
        lambda session: session.acknowledge(),
        grant,
    ],
)
def test_a_closed_session_says_nothing_more(say: Callable[[Session], object]) -> None:
    session = in_state(State.CLOSED)
    say(session)
    assert session.outgoing() == []
    assert (session.state, session.close_code) == (State.CLOSED, 1012)


def test_too_much_that_is_not_durable_is_congestion() -> None:
    session = opened()
    assert LIMITS.max_unacked_frames(STEREO) == 100
    is_congested = [session.is_congested]
    send(session, audio(0, 100))
    is_congested.append(session.is_congested)
    send(session, audio(100, 1))
    is_congested.append(session.is_congested)
    session.durable(1)
    is_congested.append(session.is_congested)
    assert is_congested == [False, False, True, False]


def test_a_refusal_says_where_the_server_stands() -> None:
    session = in_state(State.STREAMING)
    session.durable(4)
    assert session.refuse("storage-full", "no room", frames=4) == [
        Refused("storage-full", "no room")
    ]
    assert told(session) == [
        {"type": "error", "code": "storage-full", "message": "no room", "frames": 4}
    ]
    assert session.refuse("quota", "again") == []
