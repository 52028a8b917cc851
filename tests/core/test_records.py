"""The bytes of the journal against `spec/vectors/journal.json`, whole, torn and altered."""

import json
from pathlib import Path
from typing import TypedDict

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.records import (
    HEADER,
    Kind,
    Record,
    encode_header,
    read_records,
    recording_bytes,
    recording_id,
)


class Vector(TypedDict):
    """One record and its bytes."""

    kind: str
    recording: str
    first_frame: int
    frames: int
    epoch: int
    clipped: int
    nonfinite: int
    payload: str
    bytes: str


class Bad(TypedDict):
    """What no reader takes for a record."""

    name: str
    bytes: str


class Checksum(TypedDict):
    """A known value of CRC-32C (RFC 3720, appendix B.4, and the customary one)."""

    bytes: str
    crc: int


FILE = json.loads((Path(__file__).parents[2] / "spec" / "vectors" / "journal.json").read_text())
SEGMENT: int = FILE["segment"]
VECTORS: list[Vector] = FILE["records"]
BAD: list[Bad] = FILE["bad"]
CHECKSUMS: list[Checksum] = FILE["crc32c"]


def record_of(vector: Vector) -> Record:
    return Record(
        Kind[vector["kind"].upper()],
        bytes.fromhex(vector["recording"]),
        vector["first_frame"],
        vector["frames"],
        vector["epoch"],
        bytes.fromhex(vector["payload"]),
        vector["clipped"],
        vector["nonfinite"],
    )


def encode(record: Record, segment: int = SEGMENT) -> bytes:
    header = encode_header(record, segment, google_crc32c.value, google_crc32c.extend)
    return header + record.payload


def read(data: bytes, segment: int = SEGMENT) -> list[Record]:
    return list(read_records(data, segment, google_crc32c.value, google_crc32c.extend))


RECORDS = [record_of(vector) for vector in VECTORS]
WHOLE = b"".join(bytes.fromhex(vector["bytes"]) for vector in VECTORS)


@pytest.mark.parametrize("vector", CHECKSUMS, ids=lambda vector: f"{vector['crc']:08x}")
def test_the_checksum_is_crc_32c(vector: Checksum) -> None:
    assert google_crc32c.value(bytes.fromhex(vector["bytes"])) == vector["crc"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["kind"])
def test_a_record_is_written_as_in_the_vectors(vector: Vector) -> None:
    assert encode(record_of(vector)).hex() == vector["bytes"]


def test_the_vectors_name_every_kind() -> None:
    assert {record.kind for record in RECORDS} == set(Kind)


def test_a_segment_is_read_as_in_the_vectors() -> None:
    assert read(WHOLE) == RECORDS
    assert read(WHOLE + bytes(1000)) == RECORDS


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad["name"])
def test_reading_stops_at_what_is_no_record(bad: Bad) -> None:
    data = bytes.fromhex(bad["bytes"])
    assert read(data) == []
    assert read(WHOLE + data + WHOLE) == RECORDS, "what lies behind is not looked at"


def test_a_tail_torn_at_any_byte_costs_the_torn_record_only() -> None:
    ends = [0]
    for record in RECORDS:
        ends.append(ends[-1] + record.size)
    for cut in range(len(WHOLE) + 1):
        whole = sum(end <= cut for end in ends) - 1
        assert read(WHOLE[:cut]) == RECORDS[:whole]
        assert read(WHOLE[:cut].ljust(len(WHOLE), b"\0"))[:whole] == RECORDS[:whole]


def test_one_altered_byte_anywhere_ends_the_reading_there() -> None:
    ends = [0]
    for record in RECORDS:
        ends.append(ends[-1] + record.size)
    for place in range(len(WHOLE)):
        altered = bytearray(WHOLE)
        altered[place] ^= 0x10
        before = sum(end <= place for end in ends) - 1
        assert read(bytes(altered)) == RECORDS[:before], f"byte {place}"


def test_an_earlier_life_of_the_file_is_not_read() -> None:
    old = b"".join(encode(record, segment=2) for record in RECORDS * 3)
    assert read(WHOLE + old[len(WHOLE) :]) == RECORDS
    assert read(old) == []
    assert read(old, segment=2) == RECORDS * 3


@given(
    kind=st.sampled_from(Kind),
    recording=st.binary(min_size=16, max_size=16),
    first_frame=st.integers(0, 2**53 - 1),
    frames=st.integers(0, 2**53 - 1),
    epoch=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=200),
    counts=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    segment=st.integers(1, 2**63),
)
def test_every_record_is_read_as_it_was_written(
    kind: Kind,
    recording: bytes,
    first_frame: int,
    frames: int,
    epoch: int,
    payload: bytes,
    counts: tuple[int, int],
    segment: int,
) -> None:
    record = Record(kind, recording, first_frame, frames, epoch, payload, *counts)
    data = encode(record, segment)
    assert len(data) == record.size == HEADER.size + len(payload)
    assert read(data, segment) == [record]
    assert record.end == first_frame + frames


@given(rubbish=st.binary(max_size=500))
def test_rubbish_is_never_a_record(rubbish: bytes) -> None:
    assert read(rubbish) == []
    assert read(WHOLE + rubbish) == RECORDS


def test_a_payload_may_be_a_view() -> None:
    record = RECORDS[2]
    view = memoryview(b"??" + bytes(record.payload))[2:]
    assert encode(Record(Kind.FRAMES, record.recording, payload=view)) == encode(
        Record(Kind.FRAMES, record.recording, payload=bytes(view))
    )


def test_an_id_is_the_same_both_ways() -> None:
    text = "7f3a9c2e-0000-4000-8000-0000000000aa"
    assert recording_bytes(text).hex() == text.replace("-", "")
    assert recording_id(recording_bytes(text)) == text


def test_the_spec_gives_every_field_its_place() -> None:
    spec = (Path(__file__).parents[2] / "spec" / "journal.md").read_text()
    rows = [line.strip("|").split("|") for line in spec.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows if row[0].strip().isdigit()]
    places = {row[2].split(":")[0]: int(row[0]) for row in cells if len(row) == 3}
    whole = encode(Record(Kind.FRAMES, b"R" * 16, 0xA1, 0xA2, 0xA3, b"payload", 0xA4, 0xA5), 0xA6)
    assert places.pop("magic") == 0
    assert places.pop("checksum") == 8
    assert places.pop("zero") == 68
    assert places.pop("payload") == HEADER.size
    for name, start in {
        "length of the payload": b"\x07",
        "kind": b"\x03\0\0\0",
        "number of the segment that the record is in": b"\xa6\0\0\0\0\0\0\0",
        "recording": b"R" * 16,
        "first frame": b"\xa1\0\0\0\0\0\0\0",
        "frames": b"\xa2\0\0\0\0\0\0\0",
        "epoch of the connection it came over": b"\xa3\0\0\0",
        "samples in it that the server had to clip": b"\xa4\0\0\0",
        "samples in it that are NaN or infinite": b"\xa5\0\0\0",
    }.items():
        assert whole[places.pop(name) :].startswith(start), name
    assert places == {}
    kinds = {int(row[0]): row[1] for row in cells if len(row) == 4}
    assert kinds == {kind.value: kind.name.lower() for kind in Kind}
