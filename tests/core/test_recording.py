"""A recording's state is the fold of its records, whatever is repeated and wherever it is cut."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.recording import (
    About,
    Closed,
    Ending,
    GapEntry,
    Ledger,
    LogContradictionError,
    MarkEntry,
    RecordingState,
    finish_record,
    gap_record,
    mark_record,
    sidecar_fields,
)
from micwire.core.records import Kind, Record, recording_bytes

ID = "7f3a9c2e-0000-4000-8000-0000000000aa"
KEY = recording_bytes(ID)
ABOUT = About(
    ID,
    "c0ffee",
    Format(Encoding.S24, 44_100, 3),
    "2026-11-22/18-13-05_7f3a9c2e",
    "2026-11-22T18:13:05.000+00:00",
    title="Größe 🎙",
    take="00000000-0000-4000-8000-000000000001",
    part=2,
    take_time_s=0.25,
    device={"label": "Mikrofon", "id": "x"},
    settings={"echoCancellation": False, "verifiable": True},
    metadata={"Straße": "12"},
    owner="anna",
    tags=("Straßenlärm", "b"),
    consent={"version": "2"},
)


def new_state() -> RecordingState:
    return RecordingState(ABOUT, epoch=1)


def frames(first_frame: int, count: int, *, clipped: int = 0, nonfinite: int = 0) -> Record:
    payload = bytes(count * ABOUT.format.frame_bytes)
    return Record(Kind.FRAMES, KEY, first_frame, count, 1, payload, clipped, nonfinite)


STORY = [
    frames(0, 100, clipped=3),
    gap_record(KEY, 1, GapEntry(100, 48, "overflow", exact=False)),
    mark_record(KEY, 1, MarkEntry(10, "zwölf")),
    frames(148, 2, nonfinite=1),
    mark_record(KEY, 1, MarkEntry(150, "")),
    gap_record(KEY, 1, GapEntry(150, 1, "capture", exact=True)),
    finish_record(KEY, 1, 151, Ending("finished", "ab" * 32)),
]


def fold(records: list[Record]) -> RecordingState:
    state = new_state()
    for record in records:
        state.apply(record)
    return state


def test_the_fold_counts_everything_once() -> None:
    state = fold(STORY)
    assert state.frames == 151
    assert state.gaps == [GapEntry(100, 48, "overflow", False), GapEntry(150, 1, "capture", True)]
    assert state.gap_frames == 49
    assert list(state.marks) == [MarkEntry(10, "zwölf"), MarkEntry(150, "")]
    assert (state.clipped, state.nonfinite) == (3, 1)
    assert state.ending == Ending("finished", "ab" * 32)
    assert not state.is_deleted


@given(st.lists(st.integers(0, len(STORY)), max_size=4))
def test_a_log_read_again_from_anywhere_changes_nothing(restarts: list[int]) -> None:
    state = fold(STORY)
    for start in restarts:
        for record in STORY[start:]:
            state.apply(record)
    assert state == fold(STORY)


@given(st.integers(0, len(STORY)), st.integers(0, len(STORY)))
def test_a_state_record_stands_for_all_before_it(cut: int, overlap: int) -> None:
    ledger = Ledger()
    ledger.apply(new_state().record())
    for record in STORY[:overlap]:
        ledger.apply(record)
    ledger.apply(fold(STORY[:cut]).record())
    for record in STORY[cut:]:
        ledger.apply(record)
    assert ledger.states == {KEY: fold(STORY)}


@given(st.integers(0, len(STORY)))
def test_a_state_comes_back_from_its_record_bit_for_bit(cut: int) -> None:
    state = replace(fold(STORY[:cut]), epoch=7, idle_s=0.1 + 0.2)
    assert RecordingState.from_record(state.record()) == state
    again = RecordingState.from_record(state.record()).record()
    assert again == state.record()


def test_a_copy_moves_on_by_itself() -> None:
    state = fold(STORY[:3])
    copy = state.copy()
    for record in STORY[3:]:
        copy.apply(record)
    assert state == fold(STORY[:3])
    assert copy == fold(STORY)


@pytest.mark.parametrize(
    ("record", "is_news"),
    [
        (frames(90, 10), False),
        (frames(100, 1), True),
        (gap_record(KEY, 1, GapEntry(0, 100, "capture", exact=True)), False),
        (mark_record(KEY, 1, MarkEntry(5, "a")), True),
        (Record(Kind.DELETE, KEY), True),
    ],
)
def test_apply_tells_news_from_repetition(record: Record, *, is_news: bool) -> None:
    assert fold([frames(0, 100)]).apply(record) is is_news


def test_the_same_mark_twice_is_one() -> None:
    state = fold([STORY[2]])
    assert not state.apply(STORY[2])
    assert list(state.marks) == [MarkEntry(10, "zwölf")]


@pytest.mark.parametrize(
    "record", [frames(101, 1), frames(99, 2), gap_record(KEY, 1, GapEntry(101, 1, "device", True))]
)
def test_frames_that_do_not_fit_onto_the_end_are_a_contradiction(record: Record) -> None:
    state = fold([frames(0, 100)])
    with pytest.raises(LogContradictionError, match="holds 100 frames"):
        state.apply(record)
    assert state == fold([frames(0, 100)])


@pytest.mark.parametrize("kind", [Kind.STATE, Kind.HEAD, Kind.CLOSED])
def test_what_is_no_part_of_a_recording_is_not_applied_to_one(kind: Kind) -> None:
    with pytest.raises(ValueError, match=kind.name):
        new_state().apply(Record(kind, KEY))


def test_a_ledger_forgets_a_closed_recording() -> None:
    ledger = Ledger()
    assert ledger.apply(new_state().record())
    assert ledger.apply(STORY[0])
    assert ledger.apply(Record(Kind.CLOSED, KEY))
    assert ledger.states == {}
    assert not ledger.apply(Record(Kind.CLOSED, KEY))


def test_a_ledger_takes_no_frames_of_a_recording_it_does_not_know() -> None:
    with pytest.raises(LogContradictionError, match="belongs to no recording"):
        Ledger().apply(STORY[0])


def test_states_and_entries_from_before_there_were_owners_are_read() -> None:
    record = new_state().record()
    facts = json.loads(bytes(record.payload))
    for name in ("owner", "tags", "notes", "consent", "invitation", "hold"):
        del facts["about"][name]
    old = RecordingState.from_record(replace(record, payload=json.dumps(facts).encode()))
    assert old.about == replace(ABOUT, owner="", tags=(), consent=None)
    entry = Closed(ID, "finished", "c0ffee", ABOUT.format, ABOUT.path, 3, 151, "ab" * 32)
    facts = json.loads(entry.to_json())
    del facts["owner"]
    assert Closed.from_json(json.dumps(facts)) == entry


@pytest.mark.parametrize("client_digest", [None, "cd" * 32])
def test_an_entry_of_the_register_comes_back_from_its_json(client_digest: str | None) -> None:
    closed = Closed(
        ID, "finished", "c0ffee", ABOUT.format, ABOUT.path, 3, 151, "ab" * 32, client_digest
    )
    assert Closed.from_json(closed.to_json()) == closed
    assert Closed.from_json(closed.to_json().encode()) == closed


def test_the_sidecar_says_what_is_known_and_orders_the_marks() -> None:
    state = fold([*STORY[:6], mark_record(KEY, 1, MarkEntry(7, "late"))])
    fields = sidecar_fields(state, "recording", None)
    assert json.loads(json.dumps(fields)) == {
        "recording": ID,
        "status": "recording",
        "format": {"encoding": "pcm_s24le", "sample_rate": 44_100, "channels": 3},
        "frames": 151,
        "gaps": [
            {"first_frame": 100, "frames": 48, "cause": "overflow", "exact": False},
            {"first_frame": 150, "frames": 1, "cause": "capture", "exact": True},
        ],
        "marks": [
            {"frame": 7, "label": "late"},
            {"frame": 10, "label": "zwölf"},
            {"frame": 150, "label": ""},
        ],
        "clipped": 3,
        "nonfinite": 1,
        "digest": None,
        "verifiable": True,
        "settings": {"echoCancellation": False, "verifiable": True},
        "device": {"label": "Mikrofon", "id": "x"},
        "take": "00000000-0000-4000-8000-000000000001",
        "part": 2,
        "take_time_s": 0.25,
        "started_at": "2026-11-22T18:13:05.000+00:00",
        "created_at": "2026-11-22T18:13:05.000+00:00",
        "title": "Größe 🎙",
        "tags": ["Straßenlärm", "b"],
        "notes": "",
        "owner": "anna",
        "consent": {"version": "2"},
        "invitation": None,
        "hold": False,
        "data_offset": 104,
        "metadata": {"Straße": "12"},
    }


@given(st.lists(st.sampled_from(["gap", "record", "lost"]), max_size=12))
def test_a_state_says_all_its_gaps_however_often_it_was_written_between(steps: list[str]) -> None:
    state = new_state()
    for number, step in enumerate(steps):
        match step:
            case "gap":
                state.apply(gap_record(KEY, 1, GapEntry(state.frames, 7, 'a "b"', exact=True)))
            case "record":
                state.record()
            case "lost":  # a boot that misses a file writes the list anew
                state.gaps = [GapEntry(0, number + 1, "file-lost", exact=True), *state.gaps[2:]]
        assert RecordingState.from_record(state.copy().record()).gaps == state.gaps
    assert RecordingState.from_record(state.record()).gaps == state.gaps


def test_what_people_mark_counts_nothing_for_the_client_until_it_sends_the_same() -> None:
    state = new_state()
    own, other, third = MarkEntry(0, "own"), MarkEntry(0, "other"), MarkEntry(0, "third")
    state.apply(mark_record(KEY, 1, own))
    state.edit(ABOUT, [other, third])  # the client's is taken out
    assert (state.known_marks, list(state.removed_marks)) == ((own,), [own])
    state.edit(ABOUT, [other])  # and one that it never sent
    assert (state.known_marks, list(state.marks)) == ((own,), [other])
    state = RecordingState.from_record(state.record())
    assert state.apply(mark_record(KEY, 1, other))
    assert not state.apply(mark_record(KEY, 1, other))
    assert set(state.known_marks) == {own, other}
    state.edit(ABOUT, [other, own])
    assert (set(state.known_marks), state.removed_marks) == ({own, other}, {})
