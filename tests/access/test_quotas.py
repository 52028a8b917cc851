"""How much may be recorded, by an invitation and by an owner: decided before it is stored."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from unittest.mock import Mock

import pytest

from micwire.access.quotas import GRACE_S, Quota, Quotas
from micwire.access.store import User
from micwire.core.catalogue import CatalogueUnavailableError, Usage
from micwire.core.people import Person
from micwire.core.recording import About, Ending, RecordingState
from micwire.core.wire import Error, Open, Opened
from tests.access.office import MONO, Line, guest, number, office


def test_an_invitation_allows_so_many_takes_and_keeps_the_consent(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await guest(here, max_recordings=2)
            for recording, take in ((1, 100), (2, 100), (3, 200)):
                line = Line(here, browser)
                assert isinstance(await line.open(recording, take), Opened)
                line.send(0, 0.5)
                await line.finish(0.5)
            refused = await Line(here, browser).open(4, 300)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            # What was begun can be gone on with, however often.
            assert isinstance(await Line(here, browser).open(3, 200), Opened)
            users.update(here.users)

    users: dict[str, User] = {}
    asyncio.run(run())
    facts = [json.loads(path.read_bytes()) for path in tmp_path.glob("*/*.json")]
    assert len(facts) == 3
    for fields in facts:
        assert fields["owner"] == users["anna"].id
        assert fields["invitation"] == "study"
        assert fields["consent"]["version"] == "7"
        assert len(fields["consent"]["text_sha256"]) == 64
        assert fields["consent"]["accepted_at"].endswith("+00:00")


def test_a_guest_can_record_so_long_and_no_longer(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            line = Line(here, await guest(here, max_seconds=10.0))
            await line.open(1)
            line.send(0, 10 + GRACE_S)
            line.send(int((10 + GRACE_S) * 8_000), 0.001)
            refused = await line.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"

    asyncio.run(run())


def test_the_parts_of_a_take_are_together_as_long_as_one_recording(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await guest(here, max_recordings=1, max_seconds=10.0)
            first = Line(here, browser)
            await first.open(1, take=7)
            first.send(0, 9)
            await first.finish(9)
            second = Line(here, browser)
            await second.open(2, take=7)
            second.send(0, 10 + GRACE_S - 9)
            second.send(int((1 + GRACE_S) * 8_000), 0.001)
            assert await second.next(Error) is not None
            third = await Line(here, browser).open(3, take=7)
            assert isinstance(third, Error)
            assert third.code == "quota"
            # Who comes back to what was begun is never told otherwise.
            assert isinstance(await Line(here, browser).open(2, take=7), Opened)

    asyncio.run(run())


def test_an_invitation_that_is_taken_back_lets_nobody_do_anything(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await guest(here)
            assert isinstance(await Line(here, browser).open(1), Opened)
            here.app.desk.store.remove_invitation("study", here.users["anna"].id)
            for recording in (1, 2):
                refused = await Line(here, browser).open(recording)
                assert isinstance(refused, Error)
                assert refused.code == "unauthenticated"

    asyncio.run(run())


def test_the_hours_of_a_user_are_used_up_by_what_is_stored_and_what_comes_in(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", quota_hours=30 / 3_600) as here:
            anna = await here.signed_in("anna")
            line = Line(here, anna)
            await line.open(1)
            line.send(0, 12)
            await line.finish(12)
            await asyncio.sleep(0.5)  # the catalogue hears of it
            line = Line(here, anna)
            assert isinstance(await line.open(2), Opened)
            line.send(0, 16)
            third = Line(here, anna)
            assert isinstance(await third.open(3), Opened)
            third.send(0, 2)
            third.send(16_000, 0.001)  # 30 s are full
            refused = await third.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            assert isinstance(await Line(here, anna).open(4), Error)
            # One that is full can be finished all the same.
            third = Line(here, anna)
            assert isinstance(await third.open(3), Opened)
            await third.finish(2)
            assert isinstance(await Line(here, await here.signed_in("berta")).open(5), Opened)

    asyncio.run(run())


def test_the_gigabytes_of_a_user_are_counted_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", quota_gb=160_000 / 1e9) as here:
            line = Line(here, await here.signed_in("anna"))
            await line.open(1)
            line.send(0, 10)
            line.send(80_000, 0.001)
            refused = await line.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"

    asyncio.run(run())


def test_so_many_recordings_of_a_user_stream_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", quota_streams=2) as here:
            anna = await here.signed_in("anna")
            lines = [Line(here, anna) for _ in range(2)]
            for recording, line in enumerate(lines):
                assert isinstance(await line.open(recording), Opened)
            refused = await Line(here, anna).open(9)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            assert isinstance(await Line(here, anna).open(1), Opened)  # it takes its own over
            assert isinstance(await Line(here, await here.signed_in("berta")).open(8), Opened)
            lines[0].connection.lost()
            assert isinstance(await Line(here, anna).open(9), Opened)

    asyncio.run(run())


def test_who_comes_back_keeps_what_was_promised_and_can_finish(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", quota_hours=10 / 3_600, quota_streams=2) as here:
            anna = await here.signed_in("anna")
            lines = [Line(here, anna) for _ in range(2)]
            for recording, line in enumerate(lines):
                assert isinstance(await line.open(recording), Opened)
            for line in lines:
                line.send(0, 6)  # together they are over the quota already
                line.connection.lost()
            for recording in range(2):
                line = Line(here, anna)
                assert isinstance(await line.open(recording), Opened)
                line.send(48_000, 4)
                await line.finish(10)

    asyncio.run(run())


def test_who_comes_back_is_not_refused_for_what_began_meanwhile(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", quota_streams=1) as here:
            anna = await here.signed_in("anna")
            line = Line(here, anna)
            assert isinstance(await line.open(1), Opened)
            line.connection.lost()
            assert isinstance(await Line(here, anna).open(2), Opened)
            assert isinstance(await Line(here, anna).open(1), Opened)
            assert isinstance(await Line(here, anna).open(3), Error)

    asyncio.run(run())


ANNA = Person("anna")


def quotas(
    quota: Quota, usage: Callable[[str], Awaitable[Usage]], *states: RecordingState
) -> Quotas:
    """Return quotas over recordings that all stream."""
    recorder = Mock(states=lambda: list(states), streaming=lambda: list(states))

    async def length(recording: str) -> float:
        return 0.0

    return Quotas(quota, None, usage, lambda: recorder, length)


def recording(of: int, seconds: int, ending: Ending | None = None) -> RecordingState:
    about = About(number(of), "", MONO, "a/b", "", owner="anna")
    return RecordingState(about, 1, seconds * MONO.sample_rate, ending=ending)


async def nothing(owner: str) -> Usage:
    return Usage(0, 0, 0)


async def away(owner: str) -> Usage:
    raise CatalogueUnavailableError("it is away")


async def hanging(owner: str) -> Usage:
    await asyncio.Event().wait()
    raise AssertionError


def admitted(admit: Quotas) -> float | str:
    """Return what is said of a new recording of Anna's."""

    async def run() -> float | str:
        return await admit(ANNA, Open(number(9), "k" * 22, MONO))

    return asyncio.run(run())


@pytest.mark.parametrize("usage", [away, hanging])
def test_a_catalogue_that_is_away_keeps_nobody_from_recording(
    usage: Callable[[str], Awaitable[Usage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micwire.access.quotas.USAGE_TIMEOUT_S", 0.01)
    quota = Quota(hours=1)
    assert admitted(quotas(quota, usage, recording(1, 600))) == 3_000.0
    # What is not over is known without it.
    assert isinstance(admitted(quotas(quota, usage, recording(1, 3_600))), str)


def test_what_is_being_finished_streams_no_more() -> None:
    states = [recording(1, 1, Ending("finished")), recording(2, 1)]
    assert admitted(quotas(Quota(streams=2), nothing, *states)) == inf
    assert isinstance(admitted(quotas(Quota(streams=1), nothing, *states)), str)
