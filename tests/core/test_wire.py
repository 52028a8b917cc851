"""The messages of `micwire.v1` against `spec/vectors/`, and against anything else at all."""

import json
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micwire.core import wire
from micwire.core.audio import Encoding, Format
from micwire.core.errors import BadMessageError, UnsupportedFormatError

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
Json = dict[str, object]


class Vector(TypedDict):
    """One message of `messages.json`."""

    name: str
    direction: str
    wire: str | dict[str, str]
    value: Json


class Refusal(TypedDict):
    """One message of `refusals.json`."""

    name: str
    direction: str
    wire: str | dict[str, str]
    code: str


MESSAGES: list[Vector] = json.loads((VECTORS / "messages.json").read_text())["messages"]
REFUSALS: list[Refusal] = json.loads((VECTORS / "refusals.json").read_text())["refusals"]


def each(direction: str) -> Callable[[Callable[[Vector], None]], Callable[[Vector], None]]:
    chosen = [vector for vector in MESSAGES if vector["direction"] == direction]
    return pytest.mark.parametrize("vector", chosen, ids=[vector["name"] for vector in chosen])


def on_the_wire(written: str | dict[str, str]) -> str | bytes:
    return written if isinstance(written, str) else bytes.fromhex(written["hex"])


def decode(direction: str, message: str | bytes) -> wire.ClientMessage | wire.ServerMessage | None:
    if direction == "client":
        return wire.decode_client(message)
    assert isinstance(message, str)
    return wire.decode_server(message)


def value_of(message: wire.ClientMessage | wire.ServerMessage) -> Json:
    """Return a message as the vectors' `value`: null only where a server says null."""
    if isinstance(message, wire.Audio):
        data = bytes(message.data).hex()
        return {"type": "audio", "first_frame": message.first_frame, "data": data}
    value: Json = {"type": type(message).__name__.lower()}
    for field in fields(message):
        part = getattr(message, field.name)
        if isinstance(part, Format):
            part = wire.format_fields(part)
        elif isinstance(part, tuple):
            part = list(part)
        if part is not None or not isinstance(message, wire.Open | wire.Finish):
            value[field.name] = part
    return value


def expected(vector: Vector) -> Json:
    """Return the vector's value without what only explains the audio bytes."""
    value = dict(vector["value"])
    if value["type"] == "audio":
        del value["format"]
        value.pop("samples", None)
    return value


def decode_samples(data: bytes, audio_format: Format) -> list[list[float]]:
    size, channels = audio_format.encoding.sample_bytes, audio_format.channels
    raw = [data[start : start + size] for start in range(0, len(data), size)]
    samples = [
        struct.unpack("<f", sample)[0]
        if audio_format.encoding.is_float
        else int.from_bytes(sample, "little", signed=True)
        for sample in raw
    ]
    return [samples[start : start + channels] for start in range(0, len(samples), channels)]


# ---- the vectors -----------------------------------------------------------------


@each("client")
def test_a_message_of_a_client_is_read_as_the_vector_says(vector: Vector) -> None:
    assert value_of(wire.decode_client(on_the_wire(vector["wire"]))) == expected(vector)


@each("client")
def test_a_message_of_a_client_is_written_as_the_vector_says(vector: Vector) -> None:
    written = wire.encode_client(wire.decode_client(on_the_wire(vector["wire"])))
    if isinstance(written, bytes):
        assert written == on_the_wire(vector["wire"])
    else:
        assert json.loads(written) == expected(vector)


@each("server")
def test_a_message_of_the_server_is_read_as_the_vector_says(vector: Vector) -> None:
    message = decode("server", on_the_wire(vector["wire"]))
    assert message is not None
    assert value_of(message) == expected(vector)


@each("server")
def test_a_message_of_the_server_is_written_as_the_vector_says(vector: Vector) -> None:
    message = decode("server", on_the_wire(vector["wire"]))
    assert isinstance(message, wire.ServerMessage)
    assert json.loads(wire.encode_server(message)) == expected(vector)


@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal["name"] for refusal in REFUSALS])
def test_a_malformed_message_is_refused_with_the_code_of_the_vector(refusal: Refusal) -> None:
    message = on_the_wire(refusal["wire"])
    with pytest.raises((BadMessageError, UnsupportedFormatError)) as caught:
        decode(refusal["direction"], message)
    assert caught.value.code == refusal["code"]


@pytest.mark.parametrize("direction", ["client", "server"])
def test_every_type_of_message_has_a_vector(direction: str) -> None:
    union = wire.ClientMessage if direction == "client" else wire.ServerMessage
    types = {member.__name__.lower() for member in union.__args__}
    vectors = (vector for vector in MESSAGES if vector["direction"] == direction)
    assert {vector["value"]["type"] for vector in vectors} == types


def test_the_samples_of_an_audio_vector_are_its_bytes() -> None:
    vectors = [vector["value"] for vector in MESSAGES if "samples" in vector["value"]]
    assert vectors
    for value in vectors:
        facts = value["format"]
        assert isinstance(facts, dict)
        assert isinstance(value["data"], str)
        data = bytes.fromhex(value["data"])
        assert decode_samples(data, Format.parse(**facts)) == value["samples"]


def test_the_channels_of_an_audio_vector_differ_in_every_frame() -> None:
    for vector in MESSAGES:
        frames = vector["value"].get("samples", [])
        assert isinstance(frames, list)
        for frame in frames:
            assert len(set(frame)) == len(frame), vector["name"]


# ---- anything --------------------------------------------------------------------

counts = st.integers(0, wire.MAX_COUNT)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
json_values = st.recursive(
    scalars, lambda children: st.lists(children) | st.dictionaries(text, children), max_leaves=8
)
finite_values = st.recursive(
    st.none() | st.booleans() | counts | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda children: st.lists(children) | st.dictionaries(text, children),
    max_leaves=8,
)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
uuids = st.uuids().map(str)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


opens = st.builds(
    wire.Open,
    recording=uuids,
    key=st.from_regex(r"[A-Za-z0-9_-]{22,256}", fullmatch=True),
    format=st.builds(
        Format, st.sampled_from(Encoding), st.integers(8_000, 384_000), st.integers(1, 64)
    ),
    ticket=maybe(text),
    title=maybe(text),
    started_at=maybe(st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat())),
    take=maybe(uuids),
    part=maybe(counts),
    take_time_s=maybe(st.floats(0, 2**53 - 1)),
    device=maybe(text | st.dictionaries(text, finite_values)),
    settings=maybe(st.dictionaries(text, finite_values)),
    metadata=maybe(st.dictionaries(text, text)),
    analyzers=maybe(st.lists(text).map(tuple)),
    results_since=maybe(counts),
    acked=maybe(counts),
)
gaps = st.tuples(counts, counts).flatmap(
    lambda ends: st.builds(
        wire.Gap,
        first_frame=st.just(min(ends)),
        frames=st.just(max(ends) - min(ends)),
        cause=st.sampled_from(sorted(wire.GAP_CAUSES)),
        exact=st.booleans(),
    )
)
client_messages = st.one_of(
    opens.filter(lambda message: has_minutes_only(message.started_at)),
    st.builds(wire.Audio, counts, st.binary(max_size=64)),
    gaps,
    st.builds(wire.Mark, counts, text),
    st.builds(wire.Finish, counts, st.none() | digests),
    st.just(wire.Discard()),
)
server_messages = st.one_of(
    st.builds(wire.Opened, uuids, counts, counts, text, counts, counts, counts),
    st.builds(wire.Ack, counts),
    st.builds(wire.Result, text, counts, counts, counts, st.booleans(), finite_values),
    st.builds(wire.Finished, uuids, counts, digests, st.none() | st.booleans(), text),
    st.builds(wire.Notice, text, text),
    st.builds(wire.Error, text, text, counts),
)


def has_minutes_only(started_at: str | None) -> bool:
    """Tell offsets that RFC 3339 can write: before 1900 many zones had seconds in theirs."""
    return started_at is None or started_at[-6] in "+-"


@given(client_messages)
def test_what_a_client_writes_is_what_the_server_reads(message: wire.ClientMessage) -> None:
    assert wire.decode_client(wire.encode_client(message)) == message


@given(server_messages)
def test_what_the_server_writes_is_what_a_client_reads(message: wire.ServerMessage) -> None:
    assert wire.decode_server(wire.encode_server(message)) == message


mutations = st.one_of(opens, gaps, st.builds(wire.Mark, counts, text)).flatmap(
    lambda message: st.builds(
        lambda name, value: {**value_of(message), name: value},
        st.sampled_from(sorted(value_of(message))),
        json_values,
    )
)


@given(
    st.text()
    | st.binary(max_size=64)
    | json_values.map(json.dumps)
    | mutations.map(json.dumps)
    | st.builds(
        lambda kind, rest: json.dumps({**rest, "type": kind}),
        st.sampled_from(["open", "gap", "mark", "finish", "discard", "format"]),
        st.dictionaries(text, json_values),
    )
)
@example("[" * 100_000 + "]" * 100_000)
@example('{"type":"discard","x":' + '{"x":' * 100_000)
@example('{"type":"finish","frames":' + "9" * 100_000 + "}")
@example("\ud800")
def test_whatever_is_fed_gives_a_message_or_a_refusal(anything: str | bytes) -> None:
    try:
        message = wire.decode_client(anything)
    except (BadMessageError, UnsupportedFormatError):
        return
    assert isinstance(message, wire.ClientMessage)
    # What was read can be written, and means the same.
    assert value_of(wire.decode_client(wire.encode_client(message))) == value_of(message)


@given(st.text() | json_values.map(json.dumps))
@example("[" * 100_000)
def test_whatever_a_server_says_gives_a_message_nothing_or_a_refusal(anything: str) -> None:
    try:
        message = wire.decode_server(anything)
    except BadMessageError:
        return
    assert message is None or isinstance(message, wire.ServerMessage)


# ---- single rules ----------------------------------------------------------------


def test_a_type_of_the_server_that_is_not_known_is_ignored() -> None:
    assert wire.decode_server('{"type":"later","frames":"many"}') is None


def test_an_error_without_frames_stands_at_frame_0() -> None:
    message = wire.decode_server('{"type":"error","code":"quota","message":"Too many."}')
    assert message == wire.Error("quota", "Too many.", 0)


def test_audio_is_read_without_copying_it() -> None:
    message = bytes(8) + b"\x01\x02"
    audio = wire.decode_client(message)
    assert isinstance(audio, wire.Audio)
    assert isinstance(audio.data, memoryview)
    assert audio.data.obj is message


def test_audio_is_written_from_a_view_as_from_bytes() -> None:
    view = memoryview(b"\x00\x01\x02\x03")[1:3]
    assert wire.encode_client(wire.Audio(5, view)) == b"\x05" + bytes(7) + b"\x01\x02"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_result_that_json_cannot_say_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        wire.encode_server(wire.Result("level", 0, 0, 1, final=False, data={"rms_dbfs": [number]}))


@pytest.mark.parametrize(
    "message",
    [
        json.dumps({"type": "x" * 10_000}),
        json.dumps(
            {
                "type": "open",
                "recording": "7f3a9c2e-0b51-4d7e-9a68-3c1de4f05b72",
                "key": "k" * 22,
                "format": {"encoding": "x" * 10_000, "sample_rate": 8_000, "channels": 1},
            }
        ),
    ],
)
def test_a_refusal_does_not_repeat_a_long_message(message: str) -> None:
    with pytest.raises((BadMessageError, UnsupportedFormatError)) as caught:
        wire.decode_client(message)
    assert len(str(caught.value)) < 200
