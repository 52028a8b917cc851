"""Deletes recordings whose time is over, and none before.

Everything is in doubt of the wall clock. Time counts here only as far as the monotonic
clock has seen it pass (`WitnessedClock`), and what is deleted is decided by what lies on
the disk at that moment; the catalogue only says where to look. What is on hold stays.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Protocol

import structlog
from anyio import to_thread

from micwire.core.catalogue import (
    CatalogueUnavailableError,
    Entry,
    filing_of,
    microseconds,
)
from micwire.core.edits import GoneError, HeldError, LockedError
from micwire.core.errors import MicwireError, RegisterDamagedError
from micwire.core.keeping import KeepRules
from micwire.core.recording import Closed
from micwire.events import Event, Happening

FILE = ".micwire/retention.json"
MAX_SPEED = 4
"""Time passes at most so many times as fast as the monotonic clock says."""
FIRST_ROUND_S = 900.0
"""Time for a machine that has just started to set its clock."""
ROUND_S = 3_600.0
TICK_S = 300.0
PAUSE_S = 0.25
"""Between two deletions: each costs several syncs, and recordings go on meanwhile."""
BEHIND = timedelta(hours=1)
"""A clock so far behind what was witnessed is wrong."""
PAGE = 200
EARLIEST = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock was right before there was this program."""


# ---- what time it is -------------------------------------------------------------------


class WitnessedClock:
    """The time that has certainly passed, in UTC.

    It follows the wall clock, but is never ahead of it, and goes forward at most `MAX_SPEED`
    times as fast as the monotonic clock. So a wall clock that is years ahead for an hour
    makes recordings four hours older; one that is behind makes none older. What passes
    while no server runs is made up for at that speed.

    Args:
        witnessed: How far time had come before, as far as is known; None for the wall clock's.
        wall: The wall clock.
        monotonic: Seconds that pass evenly.
    """

    def __init__(
        self,
        witnessed: datetime | None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last = monotonic()
        self.witnessed = max(EARLIEST, wall() if witnessed is None else witnessed)

    def now(self) -> datetime:
        """Return the time; call it now and then, for it to go on."""
        last, self._last = self._last, self._monotonic()
        wall = self._wall()
        furthest = self.witnessed + timedelta(seconds=MAX_SPEED * (self._last - last))
        self.witnessed = max(self.witnessed, min(wall, furthest))
        return min(wall, self.witnessed)

    def doubt(self) -> None:
        """Begin no later than the wall clock: how far time had come was but a guess."""
        self.witnessed = max(EARLIEST, min(self.witnessed, self._wall()))

    @property
    def is_behind(self) -> bool:
        """Tell whether the wall clock shows a time that is certainly over."""
        return self._wall() < self.witnessed - BEHIND


# ---- the task --------------------------------------------------------------------------


class Old(Protocol):
    """Returns recordings that are over and not on hold, the oldest first; see `Store.old`."""

    async def __call__(
        self, before_us: int, behind: tuple[int, str], limit: int, /
    ) -> list[Entry]: ...


@dataclass(frozen=True, slots=True)
class Recordings:
    """What the task needs of others.

    Args:
        old: Finds what may be due; raises `CatalogueUnavailableError`.
        closed: Returns what the register says of an id; blocks.
        delete: Deletes a recording, durably.
    """

    old: Old
    closed: Callable[[str], Closed | None]
    delete: Callable[[str], Awaitable[None]]


class Retention:
    """Deletes what is due, once an hour.

    Args:
        data: The data directory.
        rules: How long recordings are kept.
        recordings: Where they are.
        clock: Makes the clock, from how far an earlier process had come.
    """

    def __init__(
        self,
        data: Path,
        rules: KeepRules,
        recordings: Recordings,
        clock: Callable[[datetime | None], WitnessedClock] = WitnessedClock,
    ) -> None:
        self._data = data
        self._file = data / FILE
        self._rules = rules
        self._recordings = recordings
        self._make_clock = clock
        self._clock: WitnessedClock | None = None
        self._begun: dict[str, str] = {}
        """When recordings really began, of those that were begun while the clock was behind."""
        self._log = structlog.get_logger("micwire")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to count, and to delete a quarter of an hour later."""
        witnessed = await to_thread.run_sync(self._load)
        if witnessed is not None:
            self._clock = self._make_clock(witnessed)
        else:
            self._clock = self._make_clock(await to_thread.run_sync(self._newest_day))
            self._clock.doubt()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Delete no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def take(self, event: Event) -> None:
        """Hear of an event. Never blocks or raises."""
        clock = self._clock
        if event.happening is Happening.STARTED and clock is not None and clock.is_behind:
            # What the recording says of its own age is wrong.
            self._begun[event.recording] = clock.witnessed.isoformat()

    async def _run(self) -> None:
        next_round = time.monotonic() + FIRST_ROUND_S
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            try:
                await to_thread.run_sync(self._save)
                if time.monotonic() >= next_round:
                    next_round = time.monotonic() + ROUND_S
                    await self.round(now)
            except (CatalogueUnavailableError, OSError) as error:
                self._log.warning("nothing is deleted for now", reason=str(error))
            except MicwireError as error:
                self._log.warning("an old recording can't be deleted", reason=str(error))

    def _now(self) -> datetime:
        if self._clock is None:
            raise ValueError("start() comes first")
        return self._clock.now()

    async def round(self, now: datetime) -> int:
        """Delete what is due; return how many recordings these were.

        Raises:
            MicwireError: The catalogue can't be asked, or the disk failed.
        """
        if self._rules.shortest_days == inf:
            return 0
        before_us = microseconds(now - timedelta(days=self._rules.shortest_days))
        behind, deleted = (-(2**62), ""), 0
        while entries := await self._recordings.old(before_us, behind, PAGE):
            for entry in entries:
                behind = (entry.created_us, entry.recording)
                if not self._is_due(entry, now):
                    continue
                newest = await to_thread.run_sync(self._on_disk, entry.recording)
                if newest is None or not self._is_due(newest, now):
                    continue
                try:
                    await self._recordings.delete(entry.recording)
                except (GoneError, HeldError, LockedError):  # or somebody was faster
                    continue
                deleted += 1
                self._begun.pop(entry.recording, None)
                await asyncio.sleep(PAUSE_S)
        if deleted:
            self._log.info("recordings were deleted, as their time was over", recordings=deleted)
        return deleted

    def _is_due(self, entry: Entry, now: datetime) -> bool:
        begun_us = entry.created_us
        if entry.recording in self._begun:
            begun = datetime.fromisoformat(self._begun[entry.recording])
            begun_us = max(begun_us, microseconds(begun))
        age_s = (microseconds(now) - begun_us) / 1_000_000
        return age_s > self._rules.days_of(entry) * 86_400

    def _on_disk(self, recording: str) -> Entry | None:
        """Return what is true of a recording that is over; None if it can't be told."""
        try:
            closed = self._recordings.closed(recording)
            if closed is None or closed.status == "deleted":
                return None
            fields = json.loads((self._data / f"{closed.path}.json").read_bytes())
            return filing_of(fields, closed.path).entry
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError, RegisterDamagedError) as error:
            self._log.warning(
                "a recording is kept, as its sidecar can't be read",
                recording=recording,
                reason=str(error),
            )
            return None

    # ---- what is remembered ------------------------------------------------------------

    def _load(self) -> datetime | None:
        try:
            facts = json.loads(self._file.read_bytes())
            self._begun = {str(key): str(value) for key, value in facts["begun"].items()}
            witnessed = datetime.fromisoformat(facts["witnessed"])
            microseconds(witnessed)
            for begun in self._begun.values():
                microseconds(datetime.fromisoformat(begun))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._begun = {}
            self._log.warning("the clock of deletions begins anew", reason=str(error))
            return None
        return witnessed

    def _newest_day(self) -> datetime | None:
        """Return the latest day with a folder of recordings; None if there are none at all.

        Without a note of ours it is all that speaks for the time, beside the wall clock,
        which may be years ahead. What lies behind is made up for, as always.
        """
        days = []
        for path in self._data.iterdir():
            with contextlib.suppress(ValueError):
                days.append(datetime.strptime(path.name, "%Y-%m-%d").replace(tzinfo=UTC))
        return max(days, default=None)

    def _save(self) -> None:
        clock = self._clock
        if clock is None:
            return
        facts = {"witnessed": clock.witnessed.isoformat(), "begun": dict(self._begun)}
        scratch = self._file.with_suffix(".new")
        with scratch.open("w") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._file)
