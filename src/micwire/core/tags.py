"""What a WAV says of its recording beside the sound: chunks that stand before `data`.

`bext` (EBU Tech 3285, version 2), `LIST INFO`, `iXML` (iXML 3.01), and for marks and gaps
`cue ` with `LIST adtl` (Multimedia Programming Interface 1.0). They are made from the
fields of a sidecar, which holds all of it: what is not known or does not fit is left out.
Every chunk has an even size. Nothing here touches a file.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any
from xml.sax.saxutils import escape

from micwire.core.audio import Encoding, Format
from micwire.core.wav import CHUNK, header_bytes

STORED_HEADER_BYTES = 4096
"""Where the sound begins in WAVs that are begun now: their tags fill what is before."""
MAX_OWN_BYTES = 16 << 10
"""How much iXML says of device and settings at most; the sidecar says all."""
_MAX_POSITION = 2**32 - 1
_BEXT = Struct("<256s32s32s10s8sQH64s5h180s")
_UNKNOWN_LOUDNESS = 0x7FFF
_CUE = Struct("<II4sIII")
_LABEL = Struct("<I")
_REGION = Struct("<II4s4H")
_FILLER = b"JUNK"
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Fields = Mapping[str, Any]
"""The fields of a sidecar, as JSON has them."""


def stored_tags(fields: Fields) -> bytes:
    """Return the tags of a WAV that is being recorded, so that its sound begins as agreed.

    They say what is known when a recording begins, and never change while it grows, so
    that a header that is cut in two by a power cut has no two meanings.
    """
    chunks = [_bext(fields), _info(fields), _ixml(fields), _ixml(fields, is_short=True)]
    return _fill(chunks, fields["data_offset"] - header_bytes(_format(fields)))


def sent_tags(fields: Fields) -> bytes:
    """Return the tags of a WAV that is sent or exported: marks and gaps too, and all edits.

    As long as those of the stored WAV, where that is enough.
    """
    chunks = [_bext(fields), _info(fields), _ixml(fields), _cues(fields)]
    room = max(fields.get("data_offset") or 0, STORED_HEADER_BYTES) - header_bytes(_format(fields))
    size = sum(map(len, chunks))
    is_fitting = size == room or size + CHUNK.size <= room
    return _fill(chunks, room) if is_fitting else b"".join(chunks)


def _fill(chunks: Sequence[bytes], room: int) -> bytes:
    """Join what fits, the first first, no kind of chunk twice, and fill the room."""
    found: dict[bytes, bytes] = {}
    left = room
    for chunk in chunks:
        is_fitting = len(chunk) == left or len(chunk) + CHUNK.size <= left
        if chunk and is_fitting and chunk[:4] not in found:
            found[chunk[:4]] = chunk
            left -= len(chunk)
    filler = CHUNK.pack(_FILLER, left - CHUNK.size) + bytes(left - CHUNK.size) if left else b""
    return b"".join(found.values()) + filler


def _chunk(name: bytes, payload: bytes) -> bytes:
    # The padding is counted: libsndfile takes no odd chunk before the sound of an RF64.
    payload += bytes(len(payload) % 2)
    return CHUNK.pack(name, len(payload)) + payload


# ---- the fields ------------------------------------------------------------------


def _format(fields: Fields) -> Format:
    return Format.parse(**fields["format"])


def _started(fields: Fields) -> datetime | None:
    """Return when the first frame was captured, UTC, as far as anybody knows."""
    for name in ("started_at", "created_at"):
        try:
            return datetime.fromisoformat(fields[name]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return None


def _since_midnight(fields: Fields) -> int:
    """Return the first frame's number since midnight UTC."""
    started = _started(fields)
    if started is None:
        return 0
    midnight = started.replace(hour=0, minute=0, second=0, microsecond=0)
    rate: int = fields["format"]["sample_rate"]
    return (started - midnight) // timedelta(microseconds=1) * rate // 1_000_000


def _device(fields: Fields) -> str:
    device = fields.get("device")
    return _text(device, "label") if isinstance(device, dict) else _text(fields, "device")


def _text(fields: Fields, name: str) -> str:
    """Return a text, which people may have edited into something else."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _entries(fields: Fields, name: str) -> Iterator[Fields]:
    entries = fields.get(name)
    if isinstance(entries, list):
        yield from (entry for entry in entries if isinstance(entry, dict))


def _count(fields: Fields, name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and value >= 0 else None


# ---- bext ------------------------------------------------------------------------


def _bext(fields: Fields) -> bytes:
    started = _started(fields)
    fixed = _BEXT.pack(
        _ascii(_text(fields, "title"), 256),
        b"micwire",
        _text(fields, "recording").replace("-", "").encode("ascii", "replace"),
        f"{started:%Y-%m-%d}".encode() if started else b"",
        f"{started:%H:%M:%S}".encode() if started else b"",
        _since_midnight(fields),
        2,
        b"",
        *(_UNKNOWN_LOUDNESS,) * 5,
        b"",
    )
    return _chunk(b"bext", fixed + _coding_history(fields))


def _coding_history(fields: Fields) -> bytes:
    """Return how the sound came to be (EBU R 98)."""
    audio_format = _format(fields)
    mode = {1: "mono", 2: "stereo"}.get(audio_format.channels, "multitrack")
    width = audio_format.encoding.sample_bytes * 8
    text = "micwire" + (" float" if audio_format.encoding is Encoding.F32 else "")
    # A comma would begin the next field.
    device = _ascii(_device(fields).replace(",", " "), 80).decode()
    text += f"; {device}" if device else ""
    return f"A=PCM,F={audio_format.sample_rate},W={width},M={mode},T={text}\r\n".encode()


def _ascii(text: str, size: int) -> bytes:
    """Return a text for a field of ASCII: letters without their accents, else question marks."""
    plain = "".join(
        letter if letter.isprintable() else " "
        for letter in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(letter)
    )
    return plain.encode("ascii", "replace")[:size]


# ---- LIST INFO -------------------------------------------------------------------


def _info(fields: Fields) -> bytes:
    started = _started(fields)
    texts = {
        b"INAM": _text(fields, "title"),
        b"ICRD": f"{started:%Y-%m-%d}" if started else None,
        b"IKEY": "; ".join(tag for tag in fields.get("tags") or () if isinstance(tag, str)),
        b"ICMT": _text(fields, "notes"),
        b"ISFT": "micwire",
    }
    entries = b"".join(_chunk(name, _utf8(text) + b"\0") for name, text in texts.items() if text)
    return _chunk(b"LIST", b"INFO" + entries)


def _utf8(text: str) -> bytes:
    return text.replace("\0", " ").encode("utf-8", "replace")


# ---- iXML ------------------------------------------------------------------------


def _ixml(fields: Fields, *, is_short: bool = False) -> bytes:
    audio_format = _format(fields)
    position, part = _since_midnight(fields), _count(fields, "part")
    rate = str(audio_format.sample_rate)
    speed = {
        "FILE_SAMPLE_RATE": rate,
        "DIGITIZER_SAMPLE_RATE": rate,
        "AUDIO_BIT_DEPTH": str(audio_format.encoding.sample_bytes * 8),
        "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_HI": str(position >> 32),
        "TIMESTAMP_SAMPLES_SINCE_MIDNIGHT_LO": str(position & 0xFFFF_FFFF),
        "TIMESTAMP_SAMPLE_RATE": rate,
    }
    tree: dict[str, object] = {
        "IXML_VERSION": "3.01",
        "FILE_UID": _text(fields, "recording"),
        "TAKE": _text(fields, "take"),
        "NOTE": _text(fields, "title"),
        "SPEED": speed,
        "FILE_SET": {
            "FAMILY_UID": _text(fields, "take"),
            "FILE_SET_INDEX": "" if part is None else str(part),
        },
    }
    if not is_short:
        tree |= {"TRACK_LIST": _tracks(audio_format), "MICWIRE": _own(fields)}
    text = "".join(_elements({"BWFXML": tree}))
    return _chunk(b"iXML", f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())


def _tracks(audio_format: Format) -> list[tuple[str, object]]:
    numbers = [str(number) for number in range(1, audio_format.channels + 1)]
    return [
        ("TRACK_COUNT", str(audio_format.channels)),
        *(("TRACK", {"CHANNEL_INDEX": one, "INTERLEAVE_INDEX": one}) for one in numbers),
    ]


def _own(fields: Fields) -> dict[str, object]:
    """Return what iXML has no names for."""
    device, settings = fields.get("device"), fields.get("settings")
    verifiable = fields.get("verifiable")
    own = {
        "STARTED_AT": _text(fields, "started_at"),
        "DEVICE": device if isinstance(device, str) else _json(device),
        "SETTINGS": _json(settings),
        "VERIFIABLE": None if verifiable is None else _json(verifiable),
    }
    size = sum(len(text) for text in own.values() if isinstance(text, str))
    return dict(own) if size <= MAX_OWN_BYTES else {"STARTED_AT": own["STARTED_AT"]}


def _json(value: object) -> str | None:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else None


def _elements(tree: Mapping[str, object] | Sequence[tuple[str, object]]) -> Iterator[str]:
    """Yield XML; what is not known has no element."""
    for name, value in tree.items() if isinstance(tree, Mapping) else tree:
        if isinstance(value, Mapping | list):
            inner = "".join(_elements(value))
        else:
            inner = escape(_xml_text(str(value))) if value else ""
        if inner:
            yield f"<{name}>{inner}</{name}>"


def _xml_text(text: str) -> str:
    """Return a text without what XML 1.0 can't say."""
    return _NOT_XML.sub("\ufffd", text)


# ---- cue points ------------------------------------------------------------------


def _cues(fields: Fields) -> bytes:
    """Return marks and gaps; those beyond 32 bits are in the sidecar only."""
    points: list[tuple[int, int, str]] = []
    for mark in _entries(fields, "marks"):
        points.append((_count(mark, "frame") or 0, 0, _text(mark, "label")))
    for gap in _entries(fields, "gaps"):
        label = f"gap: {_text(gap, 'cause')}"
        points.append((_count(gap, "first_frame") or 0, _count(gap, "frames") or 0, label))
    points = sorted(point for point in points if point[0] + point[1] <= _MAX_POSITION)
    if not points:
        return b""
    # Lists, as there may be 100,000 of them: adding to bytes copies all before each time.
    cue = [len(points).to_bytes(4, "little")]
    texts = [b"adtl"]
    for number, (frame, frames, label) in enumerate(points, 1):
        cue.append(_CUE.pack(number, frame, b"data", 0, 0, frame))
        texts.append(_chunk(b"labl", _LABEL.pack(number) + _utf8(label) + b"\0"))
        if frames:
            texts.append(_chunk(b"ltxt", _REGION.pack(number, frames, b"rgn ", 0, 0, 0, 0)))
    return _chunk(b"cue ", b"".join(cue)) + _chunk(b"LIST", b"".join(texts))
