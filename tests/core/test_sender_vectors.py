"""The sender in the conversations of `spec/vectors/sender.json`, which the page runs too.

Its `restarts` are for a sender made from a journal; this one keeps its sound itself.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import pytest

from micwire.core.sender import (
    Acked,
    Completed,
    Discarded,
    Event,
    LinkOpened,
    NoticeArrived,
    Refused,
    ResultArrived,
    Sender,
)
from micwire.core.wire import (
    Audio,
    Open,
    decode_client,
    encode_server,
)

Json = dict[str, object]


class Conversation(TypedDict, total=False):
    """One conversation of the file."""

    name: str
    open: Json
    steps: list[Json]


class Vectors(TypedDict):
    """The file."""

    open: Json
    opened: Json
    conversations: list[Conversation]


FILE = Path(__file__).parents[2] / "spec" / "vectors" / "sender.json"
VECTORS: Vectors = json.loads(FILE.read_text())


def sound(first_frame: int, frames: int, frame_bytes: int) -> bytes:
    """Return the sound of the vectors: byte i of a recording is (i * 7 + 3) mod 251."""
    start = first_frame * frame_bytes
    return bytes((i * 7 + 3) % 251 for i in range(start, start + frames * frame_bytes))


def named(event: Event) -> Json:
    """Return an event as the vectors write it."""
    match event:
        case LinkOpened(frames):
            return {"type": "opened", "frames": frames}
        case Acked(frames):
            return {"type": "acked", "frames": frames}
        case ResultArrived(result):
            return {"type": "result", "result": json.loads(encode_server(result))}
        case NoticeArrived(notice):
            return {"type": "notice", "code": notice.code, "message": notice.message}
        case Completed(receipt):
            return {"type": "finished", "receipt": asdict(receipt)}
        case Discarded():
            return {"type": "discarded"}
        case Refused(code, message, retry):
            return {"type": "refused", "code": code, "message": message, "retry": retry}


class Stage:
    """A sender and the steps that are done to it."""

    def __init__(self, message: Json) -> None:
        opened = decode_client(json.dumps(message))
        assert isinstance(opened, Open)
        self._open = message
        self._frame_bytes = opened.format.frame_bytes
        self._sender = Sender(opened)

    def play(self, step: Json) -> None:
        """Do one step, and compare what comes of it."""
        match step:
            case {"outgoing": list(expected)}:
                written = [self._written(message) for message in self._sender.outgoing()]
                assert written == [self._whole(message) for message in expected]
            case {"receive": message, "events": list(expected)}:
                self._compare(self._sender.receive(self._text(message)), expected)
            case {"disconnected": int() | None as code, "events": list(expected)}:
                self._compare(self._sender.disconnected(code), expected)
            case {"is": dict(expected)}:
                sender = self._sender
                facts: Json = {
                    "state": sender.state.value,
                    "captured_frames": sender.captured_frames,
                    "durable_frames": sender.durable_frames,
                }
                assert {name: facts[name] for name in expected} == expected
            case {"throws": True}:
                with pytest.raises(ValueError):  # noqa: PT011 -- the words are not of the vectors
                    self._set(step)
            case _:
                self._set(step)

    def _set(self, step: Json) -> None:
        sender = self._sender
        match step:
            case {"append": int(frames)}:
                sender.append(sound(sender.captured_frames, frames, self._frame_bytes))
            case {"gap": {"frames": int(frames), "cause": str(cause), "exact": bool(exact)}}:
                sender.gap(frames, cause, exact=exact)
            case {"mark": {"frame": int(frame), "label": str(label)}}:
                sender.mark(frame, label)
            case {"finish": str(digest)}:
                sender.finish()
                assert sender.digest == digest
            case {"discard": True}:
                sender.discard()
            case {"connected": True}:
                sender.connected()
            case _:
                raise AssertionError(f"no such step: {step}")

    @staticmethod
    def _compare(events: list[Event], expected: list[Json]) -> None:
        told = [named(event) for event in events]
        assert len(told) == len(expected), told
        for one, wanted in zip(told, expected, strict=True):
            assert {name: one.get(name) for name in wanted} == wanted

    @staticmethod
    def _text(message: object) -> str:
        if isinstance(message, str):
            return message
        assert isinstance(message, dict)
        whole = VECTORS["opened"] | message if message["type"] == "opened" else message
        return json.dumps(whole)

    def _whole(self, message: Json) -> Json:
        return self._open | message if message["type"] == "open" else message

    def _written(self, message: str | bytes) -> Json:
        if isinstance(message, str):
            fields: Json = json.loads(message)
            return fields
        audio = decode_client(message)
        assert isinstance(audio, Audio)
        frames = len(audio.data) // self._frame_bytes
        assert audio.data == sound(audio.first_frame, frames, self._frame_bytes)
        return {"type": "audio", "first_frame": audio.first_frame, "frames": frames}


@pytest.mark.parametrize(
    "conversation",
    VECTORS["conversations"],
    ids=[conversation["name"] for conversation in VECTORS["conversations"]],
)
def test_the_sender_does_what_the_vectors_say(conversation: Conversation) -> None:
    stage = Stage(conversation.get("open", VECTORS["open"]))
    for number, step in enumerate(conversation["steps"]):
        try:
            stage.play(step)
        except AssertionError as error:
            raise AssertionError(f"step {number}, {json.dumps(step)}: {error}") from error
