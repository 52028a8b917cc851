"""What a sidecar says to the catalogue, and cursors that nobody can misuse."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.catalogue import (
    BadCursorError,
    Entry,
    Query,
    Sort,
    decode_cursor,
    encode_cursor,
    filing_of,
    microseconds,
    sort_value,
)
from micwire.core.recording import (
    About,
    GapEntry,
    MarkEntry,
    RecordingState,
    sidecar_fields,
)

ID = "7f3a9c2e-58d1-4c0b-9a55-0c1be6f6a1d4"
FORMAT = Format(Encoding.S16, 48_000, 2)


def state(**about: Any) -> RecordingState:
    plain = About(ID, "", FORMAT, "d/x", created_at="2026-11-22T18:13:05.000+00:00")
    return RecordingState(replace(plain, **about), frames=96_001)


def test_a_sidecar_becomes_an_entry() -> None:
    one = state(
        title="Interview 7", started_at="2026-11-22T19:13:04.5+01:00", device={"label": "Desk mic"}
    )
    one.gaps = [GapEntry(0, 10, "capture", exact=True), GapEntry(50, 7, "device", exact=False)]
    one.marks = {MarkEntry(5, "He laughs"): None}
    one.clipped = 3
    filing = filing_of(sidecar_fields(one, "finished", "0" * 16), one.about.path, "stamp")
    assert filing.entry == Entry(
        recording=ID,
        status="finished",
        path="d/x",
        format=FORMAT,
        frames=96_001,
        title="Interview 7",
        started_at="2026-11-22T19:13:04.5+01:00",
        started_us=microseconds(datetime.fromisoformat("2026-11-22T18:13:04.5+00:00")),
        created_us=microseconds(datetime.fromisoformat("2026-11-22T18:13:05+00:00")),
        gaps=2,
        gap_frames=17,
        marks=1,
        clipped=3,
    )
    assert filing.entry.duration_us == 2_000_020
    assert {"Interview 7", "Desk mic", "He laughs"} <= set(filing.texts)
    assert filing.stamp == "stamp"


def test_a_sidecar_of_an_older_version_has_nobody_and_no_tags() -> None:
    fields = sidecar_fields(state(), "finished", None)
    for key in ("created_at", "owner", "tags", "notes", "hold", "consent", "invitation"):
        fields.pop(key, None)
    entry = filing_of(fields, "d/x").entry
    assert (entry.owner, entry.tags, entry.notes, entry.hold) == ("", (), "", False)
    assert entry.created_us == entry.started_us


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "deleted"),
        ("status", []),
        ("frames", -1),
        ("frames", 2**63),
        ("frames", 1.5),
        ("frames", True),
        ("gaps", None),
        ("gaps", [{}]),
        ("gaps", [{"frames": "7"}]),
        ("marks", [{"frame": 1}]),
        ("format", {}),
        ("format", {"encoding": "mp3", "sample_rate": 8_000, "channels": 1}),
        ("format", {"encoding": "pcm_s16le", "sample_rate": "8000", "channels": 1}),
        ("started_at", "yesterday"),
        ("started_at", None),
        ("title", 7),
        ("tags", 7),
        ("tags", [7]),
        ("recording", None),
    ],
)
def test_what_is_no_sidecar_is_told_by_a_sentence(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        filing_of(sidecar_fields(state(), "finished", None) | {key: value}, "d/x")


def test_texts_fit_every_database() -> None:
    entry = filing_of(sidecar_fields(state(title="a\0b\ud800"), "finished", None), "d/x").entry
    assert entry.title == "a\ufffdb?"


@given(
    st.builds(
        Entry,
        recording=st.uuids().map(str),
        status=st.just("finished"),
        path=st.just("d/x"),
        format=st.just(FORMAT),
        frames=st.integers(0, 2**53),
        title=st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        started_us=st.integers(-(10**17), 10**17),
    ),
    st.sampled_from(Sort),
)
def test_a_cursor_stands_behind_its_entry(entry: Entry, sort: Sort) -> None:
    cursor = encode_cursor(entry, sort)
    assert decode_cursor(cursor, sort) == (sort_value(entry, sort), entry.recording)
    for other in set(Sort) - {sort}:
        with pytest.raises(BadCursorError):
            decode_cursor(cursor, other)


@given(st.text())
def test_nothing_else_is_a_cursor(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        decode_cursor(cursor, Sort.NEWEST)


@pytest.mark.parametrize(
    "cursor", ["", "é", "a" * 3_000, "bnVsbA", "e30", "W10", "WyItc3RhcnRlZF9hdCIsMSxudWxsXQ"]
)
def test_what_only_looks_like_a_cursor_is_none(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        decode_cursor(cursor, Sort.NEWEST)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_between_one_and_200_entries(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        Query(limit=limit)


def test_a_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        Query(since=datetime(2026, 11, 22))
