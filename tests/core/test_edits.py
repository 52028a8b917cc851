"""What can be edited of a recording, and what a change makes of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.edits import (
    MAX_ADDED_MARKS,
    BadMarkError,
    Editable,
    TooManyMarksError,
    clean_tags,
)
from micwire.core.recording import About, MarkEntry, RecordingState, sidecar_fields

ID = "7f3a9c2e-0000-4000-8000-0000000000aa"
ABOUT = About(ID, "", Format(Encoding.S16, 48_000, 1), "a/b", "2026-11-22T18:13:05.000+00:00")
PLAIN = Editable("Title", ("a", "b"), "notes", False, (MarkEntry(3, "x"), MarkEntry(1, "y")), 10)


def test_a_state_and_its_sidecar_say_the_same() -> None:
    state = RecordingState(replace(ABOUT, title="Title", tags=("a", "b"), notes="notes"), frames=10)
    state.marks = dict.fromkeys(PLAIN.marks)
    assert Editable.of(state) == PLAIN
    facts = sidecar_fields(state, "finished", None)
    assert Editable.parse(facts).version == PLAIN.version
    assert facts | PLAIN.fields() == facts


def test_a_sidecar_from_before_there_were_tags_can_be_edited() -> None:
    facts = sidecar_fields(RecordingState(ABOUT), "finished", None)
    for name in ("tags", "notes", "hold", "owner"):
        del facts[name]
    assert Editable.parse(facts) == Editable(None, (), "", False, (), 0)


@pytest.mark.parametrize("facts", [{}, {"title": 1, "marks": 2, "frames": 3}, {"marks": [{}]}])
def test_what_is_no_sidecar_is_said_so(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no sidecar"):
        Editable.parse(facts)


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, title=None),
        replace(PLAIN, tags=("b", "a")),
        replace(PLAIN, notes=""),
        replace(PLAIN, hold=True),
        replace(PLAIN, marks=PLAIN.marks[:1]),
    ],
)
def test_each_edit_makes_another_version_and_growth_makes_none(other: Editable) -> None:
    assert other.version != PLAIN.version
    assert replace(PLAIN, frames=11).version == PLAIN.version


def test_marks_are_set_once_and_within_the_recording() -> None:
    assert PLAIN.with_mark(MarkEntry(3, "x")) is PLAIN
    assert PLAIN.with_mark(MarkEntry(10, "end")).marks[-1] == MarkEntry(10, "end")
    assert PLAIN.without_mark(MarkEntry(3, "x")).marks == (MarkEntry(1, "y"),)
    assert PLAIN.without_mark(MarkEntry(3, "other")) == PLAIN
    with pytest.raises(BadMarkError, match="10 frames"):
        PLAIN.with_mark(MarkEntry(11, ""))


def test_people_set_only_so_many_marks_however_many_the_client_has_sent() -> None:
    sent = frozenset(PLAIN.marks)
    mine = tuple(MarkEntry(1, str(number)) for number in range(MAX_ADDED_MARKS - 1))
    nearly = replace(PLAIN, marks=(*PLAIN.marks, *mine), sent=sent)
    full = nearly.with_mark(MarkEntry(1, "the last one"))
    with pytest.raises(TooManyMarksError, match="at most"):
        full.with_mark(MarkEntry(1, "one more"))
    again = full.without_mark(PLAIN.marks[0]).with_mark(PLAIN.marks[0])
    assert set(again.marks) == set(full.marks), "one of the client's may come back"
    with pytest.raises(TooManyMarksError, match="at most"):
        nearly.with_mark(MarkEntry(1, "long" * 100_000))


@given(st.lists(st.text(max_size=5)))
def test_tags_are_trimmed_and_each_is_there_once(tags: list[str]) -> None:
    cleaned = clean_tags(tags)
    assert set(cleaned) == {tag.strip() for tag in tags} - {""}
    assert len(cleaned) == len(set(cleaned))
    assert clean_tags(cleaned) == cleaned
