"""Recordings are deleted when their time is over, whatever the clock says in between."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.catalogue import Entry
from micwire.core.edits import HeldError
from micwire.core.keeping import KeepRules
from micwire.events import Event, Happening
from micwire.library.folders import read_filing
from micwire.retention import FILE, MAX_SPEED, Recordings, Retention, WitnessedClock
from tests.library.shelf import Shelf, id_of

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Clocks:
    """A wall clock that can be set, and a monotonic one that can't."""

    def __init__(self) -> None:
        self.wall = START
        self.seconds = 0.0

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.seconds += time.total_seconds()

    def clock(self, witnessed: datetime | None = None) -> WitnessedClock:
        return WitnessedClock(witnessed, lambda: self.wall, lambda: self.seconds)


# ---- what time it is -------------------------------------------------------------------


def test_a_clock_that_leaps_years_makes_nothing_old() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    clocks.wall += 3_650 * DAY
    clocks.passes(timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=MAX_SPEED)
    clocks.wall -= 3_650 * DAY  # somebody has noticed
    assert clock.now() == clocks.wall


def test_a_clock_that_was_behind_is_followed_at_once() -> None:
    clocks = Clocks()
    clock = clocks.clock()
    clocks.wall = datetime(1970, 1, 1, tzinfo=UTC)
    clocks.passes(DAY)
    assert clock.now() == clocks.wall
    was_behind = clock.is_behind
    assert was_behind
    clocks.wall = START + DAY
    assert clock.now() == START  # witnessed time; the day is made up for
    assert not clock.is_behind
    clocks.passes(DAY / 2)
    assert clock.now() == clocks.wall


def test_time_without_a_server_is_made_up_for() -> None:
    clocks = Clocks()
    clocks.wall += 30 * DAY
    clock = clocks.clock(witnessed=START)
    assert clock.now() == START
    clocks.passes(10 * DAY)
    assert clock.now() == clocks.wall


@given(
    st.lists(
        st.tuples(st.floats(0, 10_000), st.none() | st.floats(-1e8, 1e8)), min_size=1, max_size=20
    )
)
def test_whatever_the_clock_does_time_is_not_ahead_of_what_has_passed(
    steps: list[tuple[float, float | None]],
) -> None:
    clocks = Clocks()
    clock = clocks.clock()
    for seconds, leap in steps:
        clocks.passes(timedelta(seconds=seconds))
        if leap is not None:
            clocks.wall += timedelta(seconds=leap)
        now = clock.now()
        assert now <= clocks.wall
        assert now <= START + timedelta(seconds=MAX_SPEED * clocks.seconds, microseconds=20)


# ---- the task --------------------------------------------------------------------------


class Yard:
    """A data directory with retention."""

    def __init__(self, data: Path, rules: KeepRules, clocks: Clocks | None = None) -> None:
        self.shelf = Shelf(data)
        self.deleted: list[str] = []
        self.clocks = clocks or Clocks()
        (data / FILE).parent.mkdir(exist_ok=True)
        if not (data / FILE).exists():
            self.note(json.dumps({"witnessed": START.isoformat(), "begun": {}}))
        self.refuse: Callable[[str], None] = lambda recording: None
        self.stale: dict[str, Entry] = {}
        """What the catalogue has not heard of yet."""
        self.retention = Retention(
            data, rules, Recordings(self.old, self.shelf.closed, self.delete), self.clocks.clock
        )

    def note(self, content: str | None) -> None:
        """Write down how far time has come; None for no note."""
        (self.shelf.data / FILE).unlink(missing_ok=True)
        if content is not None:
            (self.shelf.data / FILE).write_text(content)

    async def old(self, before_us: int, behind: tuple[int, str], limit: int) -> list[Entry]:
        found = []
        for recording, closed in self.shelf.register.items():
            if closed.status != "deleted":
                one = self.stale.get(recording)
                found.append(one or read_filing(self.shelf.data, closed.path).entry)
        found = [one for one in found if one.created_us < before_us and not one.hold]
        found.sort(key=lambda one: (one.created_us, one.recording))
        return [one for one in found if (one.created_us, one.recording) > behind][:limit]

    async def delete(self, recording: str) -> None:
        self.refuse(recording)
        number = int(recording[:8], 16)
        self.shelf.delete(number)
        self.deleted.append(recording)

    def put(self, number: int, days: float, **about: Any) -> None:
        """Keep a recording that is so many days old."""
        created_at = (self.clocks.wall - days * DAY).isoformat()
        self.shelf.put(number, created_at=created_at, **about)
        (self.shelf.data / created_at[:10]).mkdir(exist_ok=True)  # as a server's folders are

    def round(self) -> list[str]:
        async def run() -> None:
            await self.retention.start()
            await self.retention.round(self.retention._now())
            await asyncio.to_thread(self.retention._save)
            await self.retention.close()

        self.deleted.clear()
        asyncio.run(run())
        return self.deleted


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micwire.retention.PAUSE_S", 0.0)
    monkeypatch.setattr("micwire.retention.PAGE", 3)


def test_what_is_due_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    yard = Yard(tmp_path, KeepRules(90, {"pilot": 30}, {"ana": 200}))
    for number in range(1, 9):
        yard.put(number, days=100)
    yard.put(10, days=89)
    yard.put(11, days=31, tags=("pilot",))
    yard.put(12, days=29, tags=("pilot",))
    yard.put(13, days=100, owner="ana")
    yard.put(14, days=201, owner="ana")
    yard.put(15, days=1_000, hold=True)
    assert set(yard.round()) == {id_of(number) for number in (*range(1, 9), 11, 14)}
    assert yard.round() == []


def test_without_rules_nothing_is_deleted(tmp_path: Path) -> None:
    yard = Yard(tmp_path, KeepRules())
    yard.put(1, days=10_000)
    assert yard.round() == []


def test_what_the_disk_says_counts_and_not_the_catalogue(tmp_path: Path) -> None:
    yard = Yard(tmp_path, KeepRules(0, {"pilot": 30}))
    for number in range(1, 5):
        yard.put(number, days=40, tags=("pilot",))
    for recording, closed in yard.shelf.register.items():
        yard.stale[recording] = read_filing(tmp_path, closed.path).entry
    yard.shelf.edit(1, hold=True)
    yard.shelf.edit(2, tags=[])
    path = tmp_path / f"{yard.shelf.register[id_of(3)].path}.json"
    path.write_text("{")
    assert yard.round() == [id_of(4)]


def test_one_that_is_on_hold_by_now_does_not_stop_the_others(tmp_path: Path) -> None:
    yard = Yard(tmp_path, KeepRules(30))
    yard.put(1, days=40)
    yard.put(2, days=39)

    def refuse(recording: str) -> None:
        if recording == id_of(1):
            raise HeldError("on hold")

    yard.refuse = refuse
    assert yard.round() == [id_of(2)]


def test_a_leap_of_the_clock_deletes_nothing(tmp_path: Path) -> None:
    clocks = Clocks()
    yard = Yard(tmp_path, KeepRules(30), clocks)
    yard.put(1, days=5)
    assert yard.round() == []
    clocks.wall += 3_650 * DAY
    for _ in range(3):  # restarts do not help it
        assert Yard.round(_again(yard, clocks)) == []
    clocks.wall -= 3_650 * DAY
    for _ in range(26):
        later = _again(yard, clocks)
        asyncio.run(later.retention.start())
        clocks.passes(DAY)
    assert _again(yard, clocks).round() == []  # nobody has seen these days pass


def _again(yard: Yard, clocks: Clocks) -> Yard:
    later = Yard(yard.shelf.data, KeepRules(30), clocks)
    later.shelf.register = yard.shelf.register
    return later


def test_one_that_began_while_the_clock_was_behind_is_as_old_as_it_is(tmp_path: Path) -> None:
    clocks = Clocks()
    yard = Yard(tmp_path, KeepRules(30), clocks)
    assert yard.round() == []
    clocks.wall = datetime(1970, 1, 2, tzinfo=UTC)  # a machine that forgot the date

    async def run() -> None:
        await yard.retention.start()
        yard.put(1, days=0)
        yard.retention.take(Event(Happening.STARTED, id_of(1), "", ""))
        await asyncio.to_thread(yard.retention._save)
        await yard.retention.close()

    asyncio.run(run())
    clocks.wall = START + DAY
    assert _again(yard, clocks).round() == []


SPOILED = [None, "", "{", "[]", '{"witnessed": 1}', '{"witnessed": "x"}']


@pytest.mark.parametrize("content", SPOILED)
def test_without_a_note_time_begins_with_the_newest_recording(
    tmp_path: Path, content: str | None
) -> None:
    yard = Yard(tmp_path, KeepRules(30))
    yard.put(1, days=32)
    yard.put(2, days=1)
    yard.note(content)
    assert yard.round() == [id_of(1)]


@pytest.mark.parametrize("content", SPOILED)
def test_a_clock_that_is_ahead_at_the_first_start_deletes_nothing(
    tmp_path: Path, content: str | None
) -> None:
    yard = Yard(tmp_path, KeepRules(30))
    yard.put(1, days=1)
    yard.note(content)
    yard.clocks.wall += 3_650 * DAY
    assert yard.round() == []
    yard.clocks.passes(timedelta(hours=6))
    assert _again(yard, yard.clocks).round() == []


def test_a_folder_of_a_day_to_come_does_not_make_the_clock_wrong(tmp_path: Path) -> None:
    yard = Yard(tmp_path, KeepRules(30))
    yard.put(1, days=31)
    yard.put(2, days=-3_650)
    yard.note(None)
    assert yard.round() == [id_of(1)]
    assert yard.retention._clock is not None
    assert not yard.retention._clock.is_behind


def test_a_clock_in_1970_at_the_first_start_keeps_nothing_for_ever(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.wall = datetime(1970, 1, 1, tzinfo=UTC)
    yard = Yard(tmp_path, KeepRules(30), clocks)
    yard.note(None)
    assert yard.round() == []
    clocks.wall = START
    yard = _again(yard, clocks)
    yard.put(1, days=0)

    async def run() -> None:
        await yard.retention.start()
        for _ in range(60):
            clocks.passes(DAY)
            yard.retention._now()
        await yard.retention.round(yard.retention._now())
        await yard.retention.close()

    asyncio.run(run())
    assert yard.deleted == [id_of(1)]
