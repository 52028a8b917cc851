"""The messages of `micwire.v1`, as values, and their bytes and texts both ways.

What a message looks like is here; what it does to a recording is in `session`. See
`spec/wire.md`; both directions are tested from `spec/vectors/`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isinf
from struct import Struct
from typing import Any

from micwire.core.audio import Format
from micwire.core.errors import BadMessageError

SUBPROTOCOL = "micwire.v1"
MAX_COUNT = 2**53 - 1
"""The largest count of the wire: what a JavaScript number holds exactly."""
MAX_LABEL_CHARACTERS = 1_000
MAX_NESTING = 64
"""How deep objects and lists nest, the message itself counted.

A fixed depth, as the parser's own limit moves with the caller's stack: what one place
could still read, another could no longer write.
"""
_SAFE_DIGITS = 300
"""An integer with more of them may be beyond what a double holds, and so beyond other readers."""
MAX_OPEN_BYTES = 16 * 1024
"""The largest message before `opened`."""
AUDIO_HEADER = Struct("<Q")
GAP_CAUSES = frozenset({"capture", "overflow", "suspended", "device"})

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_KEY = re.compile(r"[A-Za-z0-9_-]{22,256}={0,2}")  # 22 base64url digits hold 128 bits
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RFC3339 = re.compile(  # section 5.6; the ranges are judged by datetime
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


# ---- client to server ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Create the recording, or take it over."""

    recording: str
    key: str
    format: Format
    ticket: str | None = None
    title: str | None = None
    started_at: str | None = None
    take: str | None = None
    part: int | None = None
    take_time_s: float | None = None
    device: object = None
    settings: Mapping[str, object] | None = None
    metadata: Mapping[str, str] | None = None
    analyzers: tuple[str, ...] | None = None
    results_since: int | None = None
    acked: int | None = None


@dataclass(slots=True)
class Audio:
    """Whole frames, interleaved, from `first_frame` on. Not frozen: made 50 times a second."""

    first_frame: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Gap:
    """The client lost these frames for good."""

    first_frame: int
    frames: int
    cause: str
    exact: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A cue point."""

    frame: int
    label: str


@dataclass(frozen=True, slots=True)
class Finish:
    """No more frames will come; `frames` is how many the recording has."""

    frames: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete this recording now."""


ClientMessage = Open | Audio | Gap | Mark | Finish | Discard


# ---- server to client ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The recording is this connection's, from frame `frames` on."""

    recording: str
    epoch: int
    frames: int
    level: str
    ack_interval_ms: int
    max_message_bytes: int
    max_unacked_frames: int


@dataclass(frozen=True, slots=True)
class Ack:
    """All frames before `frames` are durable."""

    frames: int


@dataclass(frozen=True, slots=True)
class Result:
    """What an analyzer says of the frames `[first_frame, first_frame + frames)`."""

    analyzer: str
    seq: int
    first_frame: int
    frames: int
    final: bool
    data: object


@dataclass(frozen=True, slots=True)
class Finished:
    """The WAV is final and durable; `matches` is None where no digest was sent."""

    recording: str
    frames: int
    digest: str
    matches: bool | None
    url: str


@dataclass(frozen=True, slots=True)
class Notice:
    """News for the person at the page."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Error:
    """Why the connection is closed; `frames` is the next frame expected."""

    code: str
    message: str
    frames: int


ServerMessage = Opened | Ack | Result | Finished | Notice | Error


# ---- reading ---------------------------------------------------------------------


def decode_client(message: str | bytes) -> ClientMessage:
    """Read one message from a client: text is a control message, bytes are audio.

    Raises:
        BadMessageError: The message breaks the rules of the wire; the text says which.
        UnsupportedFormatError: An `open` names a format that micwire does not record.
    """
    if isinstance(message, str):
        fields = _parse(message)
        decode = _CLIENT.get(fields.type)
        if decode is None:
            raise BadMessageError(f"unknown type {fields.type[:40]!r}")
        return decode(fields)
    if len(message) < AUDIO_HEADER.size:
        raise BadMessageError(f"a binary message of {len(message)} bytes has no room for a header")
    return Audio(AUDIO_HEADER.unpack_from(message)[0], memoryview(message)[AUDIO_HEADER.size :])


def decode_server(message: str) -> ServerMessage | None:
    """Read one message from a server; None for a type this version does not know.

    Raises:
        BadMessageError: The message breaks the rules of the wire; the text says which.
    """
    fields = _parse(message)
    decode = _SERVER.get(fields.type)
    return None if decode is None else decode(fields)


def _parse(text: str) -> "_Fields":
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_integer)
        if not isinstance(value, dict):
            raise BadMessageError("a text message is a JSON object")
        _check_nesting(value)
        # What can't be written again can't be stored: 1e999 and lone surrogates.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadMessageError(f"not JSON: {error}") from None
    return _Fields(value)


def _integer(digits: str) -> int:
    if len(digits) > _SAFE_DIGITS and isinf(float(digits)):
        raise ValueError("a number is beyond a double")
    return int(digits)


def _check_nesting(message: dict[str, object]) -> None:
    containers: list[dict[str, object] | list[object]] = [message]
    for _ in range(MAX_NESTING):
        containers = [
            child
            for parent in containers
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    if containers:
        raise BadMessageError(f"objects and lists nest at most {MAX_NESTING} deep")


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


class _Fields:
    """The keys of one message, read with their rules; what breaks them is named."""

    __slots__ = ("_values", "type")

    def __init__(self, values: dict[str, object]) -> None:
        kind = values.get("type")
        if not isinstance(kind, str):
            raise BadMessageError("a message has a type, which is a string")
        self.type = kind
        self._values = values

    def _wrong(self, name: str, rule: str) -> BadMessageError:
        return BadMessageError(f"{self.type}.{name} {rule}")

    def get(self, name: str) -> object:
        return self._values.get(name)

    def count(self, name: str) -> int:
        value = self._values.get(name)
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise self._wrong(name, "is an integer from 0 to 2^53 - 1")
        return value

    def optional_count(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.count(name)

    def string(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "is a string")
        return value

    def optional_string(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.string(name)

    def matching(self, name: str, pattern: re.Pattern[str], rule: str) -> str:
        value = self.string(name)
        if pattern.fullmatch(value) is None:
            raise self._wrong(name, rule)
        return value

    def uuid(self, name: str) -> str:
        return self.matching(name, _UUID, "is a UUID in lower case with hyphens")

    def boolean(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "is true or false")
        return value

    def optional_object(self, name: str) -> dict[str, object] | None:
        value = self._values.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise self._wrong(name, "is an object")


def _open(fields: _Fields) -> Open:
    wire_format = fields.optional_object("format")
    if wire_format is None:
        raise BadMessageError("open.format is an object")
    wanted = _Fields({**wire_format, "type": "open.format"})
    recording = fields.uuid("recording")
    key = fields.matching("key", _KEY, "is a secret of at least 128 bits in base64url")
    take = None if fields.get("take") is None else fields.uuid("take")
    started_at = fields.optional_string("started_at")
    if started_at is not None:
        started_at = _rfc3339(started_at)
    take_time_s = fields.get("take_time_s")
    if take_time_s is not None and (
        isinstance(take_time_s, bool)
        or not isinstance(take_time_s, int | float)
        or not 0 <= take_time_s <= MAX_COUNT
    ):
        raise BadMessageError("open.take_time_s is a number of seconds from 0")
    device = fields.get("device")
    if device is not None and not isinstance(device, str | dict):
        raise BadMessageError("open.device is a string or an object")
    metadata = fields.optional_object("metadata")
    analyzers = fields.get("analyzers")
    # The format is judged last: a message malformed elsewhere is `bad-message`.
    encoding = wanted.string("encoding")
    sample_rate, channels = wanted.count("sample_rate"), wanted.count("channels")
    return Open(
        recording=recording,
        key=key,
        ticket=fields.optional_string("ticket"),
        title=fields.optional_string("title"),
        started_at=started_at,
        take=take,
        part=fields.optional_count("part"),
        take_time_s=None if take_time_s is None else float(take_time_s),
        device=device,
        settings=fields.optional_object("settings"),
        metadata=None if metadata is None else _strings(metadata),
        analyzers=None if analyzers is None else _names(analyzers),
        results_since=fields.optional_count("results_since"),
        acked=fields.optional_count("acked"),
        format=Format.parse(encoding, sample_rate, channels),
    )


def _rfc3339(text: str) -> str:
    if not is_rfc3339(text):
        raise BadMessageError("open.started_at is a time as in RFC 3339")
    return text.upper()  # `t` and `z` are legal, but `fromisoformat` can't read them


def is_rfc3339(text: str) -> bool:
    """Tell whether a text is a time with a zone, as RFC 3339 writes it."""
    time = text.upper()
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return False
    return _RFC3339.fullmatch(time) is not None


def _strings(values: dict[str, object]) -> dict[str, str]:
    strings = {name: value for name, value in values.items() if isinstance(value, str)}
    if len(strings) != len(values):
        raise BadMessageError("open.metadata is an object of strings")
    return strings


def _names(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadMessageError("open.analyzers is a list of names")
    return tuple(values)


def _gap(fields: _Fields) -> Gap:
    cause = fields.string("cause")
    if cause not in GAP_CAUSES:
        raise BadMessageError(f"gap.cause is one of {', '.join(sorted(GAP_CAUSES))}")
    gap = Gap(fields.count("first_frame"), fields.count("frames"), cause, fields.boolean("exact"))
    if gap.first_frame + gap.frames > MAX_COUNT:
        raise BadMessageError("gap ends above 2^53 - 1")
    return gap


def _mark(fields: _Fields) -> Mark:
    mark = Mark(fields.count("frame"), fields.string("label"))
    if len(mark.label) > MAX_LABEL_CHARACTERS:
        raise BadMessageError(f"mark.label is at most {MAX_LABEL_CHARACTERS} characters long")
    return mark


def _finish(fields: _Fields) -> Finish:
    digest = None
    if fields.get("digest") is not None:
        digest = fields.matching("digest", _SHA256, "is a SHA-256 in lower-case hex")
    return Finish(fields.count("frames"), digest)


_CLIENT: dict[str, Callable[[_Fields], ClientMessage]] = {
    "open": _open,
    "gap": _gap,
    "mark": _mark,
    "finish": _finish,
    "discard": lambda fields: Discard(),
}


def _matches(fields: _Fields) -> bool | None:
    return None if fields.get("matches") is None else fields.boolean("matches")


_SERVER: dict[str, Callable[[_Fields], ServerMessage]] = {
    "opened": lambda fields: Opened(
        fields.uuid("recording"),
        fields.count("epoch"),
        fields.count("frames"),
        fields.string("level"),
        fields.count("ack_interval_ms"),
        fields.count("max_message_bytes"),
        fields.count("max_unacked_frames"),
    ),
    "ack": lambda fields: Ack(fields.count("frames")),
    "result": lambda fields: Result(
        fields.string("analyzer"),
        fields.count("seq"),
        fields.count("first_frame"),
        fields.count("frames"),
        fields.boolean("final"),
        fields.get("data"),
    ),
    "finished": lambda fields: Finished(
        fields.uuid("recording"),
        fields.count("frames"),
        fields.matching("digest", _SHA256, "is a SHA-256 in lower-case hex"),
        _matches(fields),
        fields.string("url"),
    ),
    "notice": lambda fields: Notice(fields.string("code"), fields.string("message")),
    "error": lambda fields: Error(
        fields.string("code"), fields.string("message"), fields.optional_count("frames") or 0
    ),
}


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID as the wire writes it."""
    return _UUID.fullmatch(text) is not None


# ---- writing ---------------------------------------------------------------------


def encode_client(message: ClientMessage) -> str | bytes:
    """Write one message of a client: bytes for audio, text for everything else."""
    match message:
        case Audio(first_frame, data):
            return AUDIO_HEADER.pack(first_frame) + data
        case Open():
            return _json("open", _open_fields(message))
        case Gap(first_frame, frames, cause, exact):
            return _json(
                "gap",
                {"first_frame": first_frame, "frames": frames, "cause": cause, "exact": exact},
            )
        case Mark(frame, label):
            return _json("mark", {"frame": frame, "label": label})
        case Finish(frames, None):
            return _json("finish", {"frames": frames})
        case Finish(frames, digest):
            return _json("finish", {"frames": frames, "digest": digest})
        case Discard():
            return _json("discard", {})


def encode_server(message: ServerMessage) -> str:
    """Write one message of a server.

    Raises:
        ValueError: `Result.data` holds NaN or an infinity, which JSON can't say.
    """
    if isinstance(message, Ack):  # by far the most frequent
        return f'{{"type":"ack","frames":{message.frames}}}'
    fields = {name: getattr(message, name) for name in message.__slots__}
    return _json(type(message).__name__.lower(), fields)


def _open_fields(message: Open) -> dict[str, object]:
    optional = {
        name: getattr(message, name)
        for name in Open.__slots__
        if name not in ("recording", "key", "format") and getattr(message, name) is not None
    }
    return {
        "recording": message.recording,
        "key": message.key,
        "format": format_fields(message.format),
        **optional,
    }


def format_fields(audio_format: Format) -> dict[str, object]:
    """Return a format as the wire and the sidecar write it."""
    return {
        "encoding": str(audio_format.encoding),
        "sample_rate": audio_format.sample_rate,
        "channels": audio_format.channels,
    }


def _json(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps(
        {"type": kind, **fields}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
