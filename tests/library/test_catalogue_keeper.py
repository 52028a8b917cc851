"""The catalogue of a running server: news, comparisons, and everything that can break it."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from micwire.core.catalogue import CatalogueUnavailableError, CatalogueUrlError, Page, Query
from micwire.core.people import LOCAL, Person
from micwire.core.recording import RecordingState
from micwire.library.catalogue import keeper as keeper_module
from micwire.library.catalogue.keeper import FILE, CatalogueKeeper
from tests.library.postgres import Postgres
from tests.library.shelf import Shelf, id_of, state_of

WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NEWS_S": 0.0, "START_DELAY_S": 0.0, "RETRY_S": (0.02, 0.1)}.items():
        monkeypatch.setattr(keeper_module, name, value)
    structlog.reset_defaults()


class House:
    """A keeper, and the recordings that it looks after."""

    def __init__(self, data: Path, address: str = "") -> None:
        self.shelf = Shelf(data)
        self.live: dict[str, RecordingState] = {}
        self.gone: set[str] = set()
        self.keeper = CatalogueKeeper(data, address, lambda: self, self.shelf.closed)

    def states(self) -> Iterable[RecordingState]:
        return self.live.values()

    def state(self, recording: str) -> RecordingState | None:
        return self.live.get(recording)

    def was_deleted(self, recording: str) -> bool:
        return recording in self.gone

    def delete(self, number: int) -> None:
        self.shelf.delete(number)
        self.gone.add(id_of(number))
        self.keeper.changed(id_of(number))

    async def listed(self, person: Person = LOCAL) -> Page:
        return await self.keeper.page(Query(limit=200), person)

    async def ids(self) -> list[str]:
        return [entry.recording for entry in (await self.listed()).entries]

    async def become(self, *numbers: int) -> None:
        """Wait until just these are listed, the newest first."""
        await until(self.ids, [id_of(number) for number in numbers])


async def until(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Wait until what is read asynchronously is as wanted."""
    found: object = None
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                with contextlib.suppress(CatalogueUnavailableError):
                    found = await read()
                    if found == wanted:
                        return
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"it stayed {found}, not {wanted}")


@contextlib.asynccontextmanager
async def kept(house: House) -> AsyncIterator[House]:
    await house.keeper.start()
    try:
        yield house
    finally:
        await house.keeper.close()


def test_a_recording_is_listed_from_its_start_to_its_deletion(tmp_path: Path) -> None:
    async def run() -> None:
        async with kept(House(tmp_path)) as house:
            await house.become()
            house.live[id_of(7)] = state_of(7, title="Seven", owner="ana")
            house.keeper.changed(id_of(7))
            await house.become(7)
            [entry] = (await house.listed()).entries
            assert (entry.status, entry.title, entry.owner) == ("recording", "Seven", "ana")
            assert (await house.listed(person=Person("bob"))).entries == ()

            del house.live[id_of(7)]
            house.shelf.put(7, title="Seven", owner="ana")
            house.keeper.changed(id_of(7))
            await until(lambda: statuses(house), ["finished"])

            house.delete(7)
            assert await house.ids() == []  # at once, not a moment later

    asyncio.run(run())


async def statuses(house: House) -> list[str]:
    return [entry.status for entry in (await house.listed()).entries]


async def titles(house: House) -> list[str | None]:
    return [entry.title for entry in (await house.listed()).entries]


def test_a_start_finds_what_happened_without_it(tmp_path: Path) -> None:
    async def run() -> None:
        house = House(tmp_path)
        for number in range(1, 6):
            house.shelf.put(number)
        async with kept(house):
            await house.become(5, 4, 3, 2, 1)
        later = House(tmp_path)
        later.shelf.register = house.shelf.register
        later.shelf.put(6, title="New")
        later.shelf.edit(3, title="Edited", tags=["x"])
        later.shelf.delete(5)
        later.live[id_of(2)] = state_of(2, title="Live")  # whatever a sidecar says of it
        async with kept(later):
            await later.become(6, 4, 3, 2, 1)
            await until(lambda: titles(later), ["New", None, "Edited", "Live", None])

    asyncio.run(run())


def test_what_lies_in_the_place_of_another_recording_is_listed_instead_of_it(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        house = House(tmp_path)
        for number in range(1, 4):
            house.shelf.put(number)
        async with kept(house):
            await house.become(3, 2, 1)
        later = House(tmp_path)
        later.shelf.register = house.shelf.register
        later.shelf.put(7, path=later.shelf.register[id_of(1)].path)
        async with kept(later):
            await later.become(7, 3, 2)

    asyncio.run(run())


def test_a_deleted_recording_whose_files_could_not_be_removed_is_not_listed(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        house = House(tmp_path)
        for number in (1, 2):
            house.shelf.put(number)
        async with kept(house):
            await house.become(2, 1)
        later = House(tmp_path)
        known = house.shelf.register
        later.shelf.register = known | {id_of(1): replace(known[id_of(1)], status="deleted")}
        notes = tmp_path / ".micwire" / "deleting"
        notes.mkdir()
        (notes / id_of(1)).write_text("")
        async with kept(later):
            await later.become(2)

    asyncio.run(run())


def test_what_was_deleted_is_never_listed_though_the_catalogue_has_not_heard(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        house = House(tmp_path)
        house.shelf.put(1)
        house.shelf.put(2)
        async with kept(house):
            await house.become(2, 1)
        later = House(tmp_path)
        later.shelf.register = house.shelf.register
        later.shelf.delete(1)
        (tmp_path / "2026-01-01" / "00000001.json").write_text("{}")  # its comparison hangs here
        async with kept(later):
            assert id_of(1) not in await later.ids()

    asyncio.run(run())


def test_a_comparison_goes_through_many_batches_and_folders(tmp_path: Path) -> None:
    async def run() -> None:
        house = House(tmp_path)
        numbers = [*range(1, 30), *range(60, 90), *range(300, 345)]
        for number in numbers:
            house.shelf.put(number)
        house.shelf.put(400, path="at the top")
        async with kept(house):
            await house.become(400, *reversed(numbers))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("micwire.library.catalogue.scan.BATCH", 7)
        asyncio.run(run())


def alter(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("damage", ["deleted", "overwritten", "emptied", "other tables"])
def test_a_damaged_catalogue_is_made_anew_at_the_start(tmp_path: Path, damage: str) -> None:
    async def run() -> None:
        house = House(tmp_path)
        for number in range(1, 4):
            house.shelf.put(number)
        async with kept(house):
            await house.become(3, 2, 1)
        database = tmp_path / FILE
        if damage == "deleted":
            database.unlink()
        elif damage == "overwritten":
            database.write_bytes(os.urandom(50_000))
        elif damage == "emptied":
            database.write_bytes(b"")
        else:
            alter(database, "DROP TABLE tags")
        later = House(tmp_path)
        later.shelf.register = house.shelf.register
        async with kept(later):
            await later.become(3, 2, 1)

    asyncio.run(run())


def test_a_catalogue_that_breaks_while_it_is_used_is_made_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with kept(House(tmp_path)) as house:
            for number in range(1, 30):
                house.shelf.put(number)
                house.keeper.changed(id_of(number))
            await house.become(*reversed(range(1, 30)))
            await asyncio.to_thread(alter, tmp_path / FILE, "DROP TABLE recordings")
            with pytest.raises(CatalogueUnavailableError):
                await house.listed()
            await until(lambda: is_complete(house), True)
            await house.become(*reversed(range(1, 30)))
        assert (tmp_path / f"{FILE}.damaged").exists()

    with capture_logs() as logs:
        asyncio.run(run())
    [warning] = [line for line in logs if line["log_level"] == "warning"]
    assert "damaged" in warning["reason"]


def test_a_catalogue_that_is_locked_catches_up_later(tmp_path: Path) -> None:
    async def run() -> None:
        async with kept(House(tmp_path)) as house:
            await house.become()
            other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            for number in (1, 2, 3):
                house.shelf.put(number)
                house.keeper.changed(id_of(number))
            await until(lambda: has_error(house), True)
            house.delete(2)
            assert await house.ids() == []  # what there is can be read
            other.close()
            await house.become(3, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("micwire.library.catalogue.store.LOCK_TIMEOUT_S", 0.1)
        asyncio.run(run())


async def is_complete(house: House) -> bool:
    await house.keeper.old(0, (0, ""), 1)
    return True


async def has_error(house: House) -> bool:
    return house.keeper._error is not None


def test_news_beyond_measure_becomes_a_comparison(tmp_path: Path) -> None:
    async def run() -> None:
        async with kept(House(tmp_path)) as house:
            await house.become()
            for number in range(1, 60):
                house.shelf.put(number)
                house.keeper.changed(id_of(number))
            await house.become(*reversed(range(1, 60)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper_module, "MAX_NEWS", 10)
        asyncio.run(run())


def test_a_sidecar_that_cannot_be_read_is_named_with_a_cure(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shelf.put(1)
    house.shelf.put(2)
    (tmp_path / "2026-01-01" / "00000001.json").write_text("{")
    (tmp_path / "2026-01-01" / "00000001.wav").write_bytes(b"")
    (tmp_path / "notes.json").write_text("[]")  # somebody's own

    async def run() -> None:
        async with kept(house):
            await until(lambda: is_complete(house), True)
            await house.become(2)

    with capture_logs() as logs:
        asyncio.run(run())
    [line] = logs
    assert line["path"] == "2026-01-01/00000001.json"
    assert "reindex" in line["reason"]


def test_what_no_register_knows_is_not_listed_but_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shelf.put(1)
    house.shelf.write_sidecar(state_of(2), "finished")
    house.live[id_of(3)] = state_of(3)
    house.shelf.write_sidecar(state_of(3), "recording")

    async def run() -> None:
        async with kept(house):
            await until(lambda: is_complete(house), True)
            await house.become(3, 1)

    with capture_logs() as logs:
        asyncio.run(run())
    [line] = logs
    assert (line["log_level"], line["recordings"]) == ("warning", 1)


def test_a_copied_sidecar_is_one_recording(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.shelf.put(1)
    copy = tmp_path / "2026-01-02" / "copy.json"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / "2026-01-01" / "00000001.json").read_bytes())

    async def run() -> None:
        async with kept(house):
            await until(lambda: is_complete(house), True)
            [entry] = (await house.listed()).entries
            assert entry.path == "2026-01-01/00000001"

    with capture_logs() as logs:
        asyncio.run(run())
    assert [line["path"] for line in logs] == ["2026-01-02/copy.json"]


def test_an_address_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    async def run() -> None:
        await House(tmp_path, "mysql://x/y").keeper.start()

    with pytest.raises(CatalogueUrlError):
        asyncio.run(run())


def test_postgres_may_come_later_and_go(tmp_path: Path, postgres: Postgres) -> None:
    async def run() -> None:
        address = postgres.database()
        postgres.stop()
        house = House(tmp_path, address)
        house.shelf.put(1)
        async with kept(house):
            with pytest.raises(CatalogueUnavailableError, match="not touched"):
                await house.listed()
            postgres.start()
            await house.become(1)
            postgres.kill()
            house.shelf.put(2)
            house.keeper.changed(id_of(2))
            with pytest.raises(CatalogueUnavailableError):
                await house.listed()
            postgres.start()
            await house.become(2, 1)

    asyncio.run(run())


def test_a_start_that_nobody_asks_for_a_list_opens_nothing_at_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with kept(House(tmp_path)):
            await asyncio.sleep(0.05)
        assert os.listdir(tmp_path / ".micwire") == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper_module, "START_DELAY_S", 60.0)
        asyncio.run(run())
