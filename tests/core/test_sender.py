"""What a client keeps, sends and forgets, whatever the server answers and links do."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import CLOSE_CODES
from micwire.core.sender import (
    MESSAGE_BYTES,
    RETRIED,
    TRANSITIONS,
    Acked,
    Completed,
    Discarded,
    Event,
    LinkOpened,
    Receipt,
    Refused,
    ResultArrived,
    Sender,
    State,
)
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
    Notice,
    Open,
    Opened,
    Result,
    ServerMessage,
    decode_client,
    encode_server,
)

STEREO = Format(Encoding.S16, 48_000, 2)
RECORDING = "0b9f1f3c-6a1e-4d57-9c40-0d9c6a6f1a11"
OPEN = Open(RECORDING, "k" * 22, STEREO)
URL = f"/api/v1/recordings/{RECORDING}/audio"


def sound(first_frame: int, frames: int) -> bytes:
    """Return frames each of which names its own index."""
    return b"".join((first_frame + n).to_bytes(4, "big") for n in range(frames))


def opened(frames: int = 0, **limits: int) -> Opened:
    facts = {"ack_interval_ms": 50, "max_message_bytes": 1 << 20, "max_unacked_frames": 1 << 20}
    return Opened(RECORDING, 1, frames, "durable", **(facts | limits))


def tell(sender: Sender, message: ServerMessage) -> list[Event]:
    return sender.receive(encode_server(message))


def sent(sender: Sender) -> list[ClientMessage]:
    return [decode_client(message) for message in sender.outgoing()]


def audio(messages: list[ClientMessage]) -> list[tuple[int, bytes]]:
    return [(one.first_frame, bytes(one.data)) for one in messages if isinstance(one, Audio)]


def streaming(sender: Sender | None = None, answer: Opened | None = None) -> Sender:
    """Return a sender whose connection has just been answered."""
    sender = sender or Sender(OPEN)
    sender.connected()
    sender.outgoing()
    tell(sender, answer or opened())
    return sender


def finished(frames: int, digest: str, *, matches: bool | None = True) -> Finished:
    return Finished(RECORDING, frames, digest, matches, URL)


def test_nothing_but_open_is_sent_before_opened() -> None:
    sender = Sender(OPEN)
    sender.append(sound(0, 3))
    sender.mark(2, "two")
    assert sender.outgoing() == []
    sender.connected()
    assert sent(sender) == [OPEN]
    assert sender.outgoing() == []
    assert tell(sender, opened()) == [LinkOpened(0)]
    assert sent(sender) == [Mark(2, "two"), Audio(0, sound(0, 3))]


def test_an_acknowledged_frame_is_forgotten_and_no_other() -> None:
    sender = streaming()
    sender.append(sound(0, 10))
    sender.outgoing()
    assert tell(sender, Ack(4)) == [Acked(4)]
    assert (sender.durable_frames, sender.unacked_frames, sender.unacked_bytes) == (4, 6, 24)
    sender.disconnected()
    streaming(sender, opened(4))
    assert audio(sent(sender)) == [(4, sound(4, 6))]


def test_what_the_server_has_beyond_the_last_ack_is_not_sent_again() -> None:
    sender = streaming()
    sender.append(sound(0, 10))
    sender.outgoing()
    sender.disconnected()
    streaming(sender, opened(7))
    assert sender.durable_frames == 7
    assert audio(sent(sender)) == [(7, sound(7, 3))]


def test_an_open_names_the_largest_ack_and_the_last_result() -> None:
    sender = streaming()
    sender.append(sound(0, 10))
    sender.outgoing()
    tell(sender, Ack(4))
    assert tell(sender, Ack(3)) == [Acked(4)]
    result = Result("level", 17, 0, 4, True, {"peak_dbfs": -3})
    assert tell(sender, result) == [ResultArrived(result)]
    sender.disconnected()
    sender.connected()
    assert sent(sender) == [replace(OPEN, acked=4, results_since=17)]


@pytest.mark.parametrize("frames", [3, 11])
def test_a_server_that_lost_or_invented_frames_stops_the_client_with_its_copy(frames: int) -> None:
    sender = streaming()
    sender.append(sound(0, 10))
    sender.outgoing()
    tell(sender, Ack(4))
    sender.disconnected()
    sender.connected()
    [event] = tell(sender, opened(frames))
    assert isinstance(event, Refused)
    assert (event.code, event.retry) == ("diverged", False)
    assert (sender.state, sender.unacked_bytes) == (State.REFUSED, 24)


def test_no_more_than_the_window_is_under_way() -> None:
    sender = streaming(answer=opened(max_unacked_frames=8))
    sender.append(sound(0, 20))
    assert audio(sent(sender)) == [(0, sound(0, 8))]
    assert sender.outgoing() == []
    tell(sender, Ack(3))
    assert audio(sent(sender)) == [(8, sound(8, 3))]


def test_a_message_is_as_large_as_the_server_takes_and_has_whole_frames() -> None:
    sender = streaming(answer=opened(max_message_bytes=8 + 4 * 5 + 3))
    sender.append(sound(0, 12))
    assert [len(message) for message in sender.outgoing()] == [28, 28, 16]


def test_small_blocks_share_a_message_and_large_ones_are_divided() -> None:
    sender = Sender(OPEN)
    frames = MESSAGE_BYTES // 4
    for first in range(0, 100, 10):
        sender.append(sound(first, 10))
    sender.append(sound(100, 2 * frames))
    streaming(sender)
    messages = audio(sent(sender))
    assert [first for first, _ in messages] == [0, frames, 2 * frames]
    assert b"".join(data for _, data in messages) == sound(0, 100 + 2 * frames)


def test_a_buffer_that_its_owner_reuses_is_copied() -> None:
    sender = streaming()
    buffer = bytearray(sound(0, 2))
    sender.append(buffer)
    buffer[:] = bytes(8)
    assert audio(sent(sender)) == [(0, sound(0, 2))]


def test_a_gap_goes_whole_and_in_its_place() -> None:
    sender = streaming(answer=opened(max_unacked_frames=8))
    sender.append(sound(0, 2))
    sender.gap(100, "overflow", exact=True)
    sender.append(sound(102, 2))
    assert audio(sent(sender)) == [(0, sound(0, 2))]  # the gap is larger than the window
    tell(sender, Ack(2))
    assert sent(sender) == [Gap(2, 100, "overflow", True)]
    tell(sender, Ack(102))
    assert audio(sent(sender)) == [(102, sound(102, 2))]
    assert sender.digest == digest_of(sound(0, 2) + bytes(400) + sound(102, 2))


def test_marks_are_repeated_after_each_opened() -> None:
    sender = streaming()
    sender.append(sound(0, 5))
    sender.mark(3, "three")
    sender.mark(3, "three")
    assert sent(sender) == [Mark(3, "three"), Audio(0, sound(0, 5))]
    sender.mark(5, "end")
    assert sent(sender) == [Mark(5, "end")]
    sender.disconnected()
    streaming(sender, opened(5))
    assert sent(sender) == [Mark(3, "three"), Mark(5, "end")]


def test_finish_follows_the_last_frame_with_the_digest_of_all() -> None:
    sender = streaming(answer=opened(max_unacked_frames=4))
    sender.append(sound(0, 6))
    sender.finish()
    assert audio(sent(sender)) == [(0, sound(0, 4))]
    tell(sender, Ack(4))
    digest = digest_of(sound(0, 6))
    assert sent(sender) == [Audio(4, sound(4, 2)), Finish(6, digest)]
    assert sender.outgoing() == []
    [event] = tell(sender, finished(6, digest))
    assert event == Completed(Receipt(RECORDING, 6, digest, True, URL))
    assert sender.is_over
    assert sender.unacked_frames == 0


def test_finish_is_repeated_on_the_next_connection() -> None:
    sender = streaming()
    sender.append(sound(0, 6))
    sender.finish()
    sender.outgoing()
    sender.disconnected(1012)
    streaming(sender, opened(6))
    assert sent(sender) == [Finish(6, digest_of(sound(0, 6)))]


def test_the_answer_to_an_earlier_finish_is_taken_right_after_opened() -> None:
    sender = streaming()
    sender.append(sound(0, 6))
    sender.finish()
    sender.outgoing()
    sender.disconnected()
    streaming(sender, opened(6))
    assert isinstance(tell(sender, finished(6, digest_of(sound(0, 6))))[0], Completed)


def test_another_digest_than_ours_does_not_match_whatever_the_server_says() -> None:
    sender = streaming()
    sender.finish()
    sender.outgoing()
    [event] = tell(sender, finished(0, "0" * 64, matches=True))
    assert isinstance(event, Completed)
    assert event.receipt.matches is False


def test_a_recording_that_somebody_else_finished_stops_the_client() -> None:
    sender = streaming()
    sender.append(sound(0, 6))
    [event] = tell(sender, finished(0, digest_of(b"")))
    assert isinstance(event, Refused)
    assert (event.code, event.retry, sender.unacked_bytes) == ("diverged", False, 24)


def test_a_discarded_recording_is_over_once_the_server_closes_normally() -> None:
    sender = streaming()
    sender.append(sound(0, 6))
    sender.discard()
    assert sender.unacked_bytes == 0
    assert sent(sender) == [Discard()]
    assert tell(sender, Ack(0)) == []
    assert sender.disconnected(1000) == [Discarded()]
    assert sender.is_over


def test_a_discard_is_repeated_until_the_recording_is_gone() -> None:
    sender = streaming()
    sender.discard()
    sender.outgoing()
    sender.disconnected()
    streaming(sender)
    assert sent(sender) == [Discard()]
    sender.disconnected()
    sender.connected()
    assert tell(sender, Error("deleted", "it is gone", 0)) == [Discarded()]


def test_a_recording_the_server_never_heard_of_is_discarded_at_once() -> None:
    sender = Sender(OPEN)
    sender.append(sound(0, 6))
    sender.discard()
    assert sender.state is State.DISCARDED


def test_a_continued_recording_is_discarded_on_the_server_too() -> None:
    sender = Sender(OPEN, is_continued=True)
    sender.discard()
    assert sender.state is State.OFFLINE  # an earlier process told the server of it


@pytest.mark.parametrize("code", CLOSE_CODES)
@pytest.mark.parametrize("by_close", [False, True])
def test_a_refusal_is_retried_or_final_by_its_code_and_keeps_the_copy(
    code: str, *, by_close: bool
) -> None:
    sender = streaming()
    sender.append(sound(0, 6))
    sender.outgoing()
    is_retried = code in RETRIED | {"unauthenticated"}
    if by_close:
        [event] = sender.disconnected(CLOSE_CODES[code])
    else:
        [event] = tell(sender, Error(code, "because", 0))
    assert isinstance(event, Refused)
    assert (event.code, event.retry) == (code, is_retried)
    assert sender.state is (State.OFFLINE if is_retried else State.REFUSED)
    assert sender.unacked_bytes == 24
    assert sender.disconnected(CLOSE_CODES[code]) == []


def test_the_close_code_decides_where_the_error_code_is_not_known() -> None:
    sender = streaming()
    assert tell(sender, Error("too-loud", "turn it down", 0)) == []
    [event] = sender.disconnected(4429)
    assert isinstance(event, Refused)
    assert (event.code, event.retry) == ("quota", True)
    streaming(sender)
    tell(sender, Error("too-loud", "turn it down", 0))
    assert sender.disconnected(4999) == []
    assert sender.state is State.OFFLINE


def test_a_client_that_was_never_let_in_does_not_try_again() -> None:
    sender = Sender(OPEN)
    sender.connected()
    [event] = tell(sender, Error("unauthenticated", "sign in", 0))
    assert isinstance(event, Refused)
    assert not event.retry


def test_a_late_open_of_our_own_does_not_end_the_recording_but_another_client_does() -> None:
    sender = Sender(OPEN)
    sender.connected()
    sender.disconnected()  # its `open` may still arrive
    streaming(sender)
    [event] = tell(sender, Error("taken-over", "a newer connection", 0))
    assert isinstance(event, Refused)
    assert event.retry
    streaming(sender)
    [event] = tell(sender, Error("taken-over", "a newer connection", 0))
    assert isinstance(event, Refused)
    assert not event.retry


def test_a_continued_recording_goes_on_where_the_server_stands_and_sends_no_digest() -> None:
    sender = Sender(OPEN, is_continued=True)
    with pytest.raises(ValueError, match="not known"):
        sender.append(sound(0, 1))
    streaming(sender, opened(1000))
    sender.append(sound(1000, 2))
    sender.finish()
    assert sent(sender) == [Audio(1000, sound(1000, 2)), Finish(1002)]
    [event] = tell(sender, finished(1002, "0" * 64, matches=None))
    assert isinstance(event, Completed)
    assert event.receipt.matches is None


MESSAGES: dict[type[ServerMessage], ServerMessage] = {
    Opened: opened(),
    Ack: Ack(0),
    Result: Result("level", 1, 0, 0, True, None),
    Finished: finished(0, digest_of(b"")),
    Notice: Notice("slow", "an analyzer is late"),
    Error: Error("storage-full", "no room", 0),
}


def in_state(state: State) -> Sender:
    """Return a sender without frames that has got as far as `state`."""
    sender = Sender(OPEN)
    if state is State.OFFLINE:
        return sender
    sender.connected()
    if state is State.OPENING:
        return sender
    tell(sender, opened())
    if state in (State.FINISHING, State.FINISHED):
        sender.finish()
    if state in (State.DISCARDING, State.DISCARDED):
        sender.discard()
    sender.outgoing()
    if state is State.FINISHED:
        tell(sender, finished(0, digest_of(b"")))
    elif state is State.DISCARDED:
        sender.disconnected(1000)
    elif state is State.REFUSED:
        tell(sender, Error("forbidden", "no", 0))
    assert sender.state is state
    return sender


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("state", State)
def test_a_message_out_of_place_gives_up_the_link_and_never_the_copy(
    state: State, kind: type[ServerMessage]
) -> None:
    sender = in_state(state)
    events = tell(sender, MESSAGES[kind])
    if state in (State.OFFLINE, State.FINISHED, State.DISCARDED, State.REFUSED):
        assert (events, sender.state) == ([], state)
    elif (state, kind) not in TRANSITIONS:
        assert [type(event) for event in events] == [Refused]
        assert sender.state is State.OFFLINE
    elif kind is Error:
        assert events == [Refused("storage-full", "no room", True)]
    elif (state, kind) == (State.STREAMING, Finished):
        assert sender.state is State.REFUSED  # nobody asked for it
    else:
        assert sender.state is TRANSITIONS[state, kind]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"type":"ack"}', '{"type":"ack","frames":-1}', '{"type":"ack","frames":7}'],
)
def test_a_server_that_breaks_a_rule_is_left_for_another_try(text: str) -> None:
    sender = streaming()
    [event] = sender.receive(text)
    assert isinstance(event, Refused)
    assert (event.code, event.retry) == ("bad-message", True)


def test_a_message_of_a_later_version_is_ignored() -> None:
    sender = streaming()
    assert sender.receive(json.dumps({"type": "weather"})) == []
    assert sender.state is State.STREAMING


@pytest.mark.parametrize(
    "misuse",
    [
        lambda sender: sender.append(bytes(3)),
        lambda sender: sender.gap(1, "boredom", exact=True),
        lambda sender: sender.gap(-1, "capture", exact=True),
        lambda sender: sender.gap(24 * 3600 * 48_000 + 1, "capture", exact=True),
        lambda sender: sender.mark(1, "beyond the end"),
        lambda sender: sender.mark(0, "x" * 1_001),
        lambda sender: sender.connected(),
        lambda sender: (sender.finish(), sender.append(bytes(4))),
        lambda sender: (sender.finish(), sender.discard()),
        lambda sender: (sender.discard(), sender.finish()),
    ],
)
def test_misuse_is_an_exception(misuse: object) -> None:
    assert callable(misuse)
    with pytest.raises(ValueError):  # noqa: PT011 -- the words differ per case
        misuse(streaming())


@given(
    blocks=st.lists(st.integers(0, 40), max_size=12),
    window=st.integers(1, 50),
    message_frames=st.integers(1, 20),
    acks=st.lists(st.integers(0, 60), max_size=12),
)
def test_every_frame_goes_out_once_per_connection_in_order_within_the_window(
    blocks: list[int], window: int, message_frames: int, acks: list[int]
) -> None:
    limits = {"max_unacked_frames": window, "max_message_bytes": 8 + 4 * message_frames}
    sender = streaming(answer=opened(**limits))
    received, next_frame = b"", 0
    for frames in blocks:
        sender.append(sound(sender.captured_frames, frames))
    sender.finish()
    for ack in [*acks, *range(1, sum(blocks) + 2)]:
        for message in sent(sender):
            if isinstance(message, Audio):
                assert message.first_frame == next_frame
                assert 0 < len(message.data) <= 4 * message_frames
                received += message.data
                next_frame += len(message.data) // 4
            assert next_frame <= sender.durable_frames + window
        tell(sender, Ack(min(ack, next_frame)))
    assert received == sound(0, sum(blocks))
    assert sender.state is State.FINISHING


@given(
    st.lists(
        st.tuples(st.sampled_from(["append", "gap", "flush", "ack", "cut"]), st.integers(0, 30)),
        max_size=40,
    )
)
def test_what_is_kept_is_always_exactly_what_is_not_acknowledged(
    steps: list[tuple[str, int]],
) -> None:
    sender = streaming(answer=opened(max_unacked_frames=25, max_message_bytes=48))
    truth = bytearray()
    server = 0  # the next frame expected
    for step, number in steps:
        if step == "append":
            truth += sound(len(truth) // 4, number)
            sender.append(truth[len(truth) - 4 * number :])
        elif step == "gap":
            truth += bytes(4 * number)
            sender.gap(number, "capture", exact=False)
        elif step == "flush":
            for message in sent(sender):
                if isinstance(message, Audio):
                    assert message.first_frame == server
                    end = server + len(message.data) // 4
                    assert bytes(message.data) == truth[server * 4 : end * 4]
                    server = end
                elif isinstance(message, Gap):
                    assert message.first_frame == server
                    server += message.frames
        elif step == "ack":
            tell(sender, Ack(max(server - number, sender.durable_frames)))
        else:
            sender.disconnected()
            server = max(server - number, sender.durable_frames)
            streaming(sender, opened(server, max_unacked_frames=25, max_message_bytes=48))
        assert sender.captured_frames == len(truth) // 4
        assert sender.unacked_frames == len(truth) // 4 - sender.durable_frames
        assert sender.unacked_bytes <= 4 * sender.unacked_frames
    assert sender.digest == digest_of(truth)
