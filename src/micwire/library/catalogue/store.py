"""The catalogue's database: what goes in, what is asked, and what its errors mean.

SQLite or Postgres, by one code. There is one writer. Nothing here knows where recordings
come from.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Select,
    asc,
    case,
    delete,
    desc,
    event,
    false,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from micwire.core.audio import Encoding, Format
from micwire.core.catalogue import (
    CatalogueDamagedError,
    CatalogueUnavailableError,
    CatalogueUrlError,
    Entry,
    Filing,
    Page,
    Query,
    Sort,
    Usage,
    decode_cursor,
    encode_cursor,
    microseconds,
    storable,
)
from micwire.core.people import Person
from micwire.library.catalogue.search import PostgresWords, SqliteWords, Words
from micwire.library.catalogue.tables import recordings, tags
from micwire.library.catalogue.words import terms

READ_TIMEOUT_S = 5.0
LOCK_TIMEOUT_S = 2.0
WRITE_TIMEOUT_S = 60.0
READERS = 4
MAX_TAGS = 1_000
MANY = 5_000
MIGRATIONS = Path(__file__).with_name("migrations")
VERSION = "0001"
"""The newest of the migrations."""
VERSION_TABLE = "micwire_version"
_SQLITE_DAMAGED = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_COLUMNS = [column.name for column in recordings.columns if column.name != "row"]
_SORTED_BY = {
    Sort.NEWEST: recordings.c.started_us,
    Sort.OLDEST: recordings.c.started_us,
    Sort.LONGEST: recordings.c.duration_us,
    Sort.SHORTEST: recordings.c.duration_us,
    Sort.TITLE: recordings.c.title_key,
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue says of one sidecar."""

    recording: str
    status: str
    stamp: str


def database_url(address: str, default: Path) -> URL:
    """Return the address of the database.

    Args:
        address: `postgresql://user@host/name`, `sqlite:///path`, or empty.
        default: The SQLite file to use where the address is empty.

    Raises:
        CatalogueUrlError: It is neither, or a driver is missing.
    """
    if not address:
        return URL.create("sqlite+aiosqlite", database=str(default.absolute()))
    try:
        url = make_url(address)
        kind = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise CatalogueUrlError(
            "the catalogue's address is no URL such as postgresql://user@host/name"
        ) from None
    if kind in ("postgresql", "postgres"):
        if find_spec("asyncpg") is None:
            raise CatalogueUrlError(
                "a catalogue in Postgres needs asyncpg: pip install 'micwire[postgres]'"
            )
        return url.set(drivername="postgresql+asyncpg")
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite+aiosqlite")
    raise CatalogueUrlError(
        "a catalogue is kept in SQLite (sqlite:///path) or Postgres (postgresql://user@host/name)"
    )


class Store:
    """An open catalogue; made by `open`.

    Every method raises `CatalogueUnavailableError`, which is `CatalogueDamagedError` where
    waiting does not help.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine, words: Words) -> None:
        self._writer = writer
        self._reader = reader
        self._words = words
        self._in_use = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._insert = (
            sqlite.insert(recordings)
            if writer.dialect.name == "sqlite"
            else postgresql.insert(recordings)
        )

    @staticmethod
    async def open(url: URL) -> "Store":
        """Connect, check, and bring the tables to the newest form."""
        if url.get_backend_name() == "sqlite":
            # One writer: SQLite has room for no more.
            writer = create_async_engine(
                url, pool_size=1, max_overflow=0, connect_args={"timeout": LOCK_TIMEOUT_S}
            )
            reader = create_async_engine(
                url, pool_size=READERS, max_overflow=0, connect_args={"timeout": LOCK_TIMEOUT_S}
            )
            for engine in (writer, reader):
                event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            store = Store(writer, reader, SqliteWords())
        else:
            engine = create_async_engine(url, pool_size=READERS + 1, pool_pre_ping=True)
            store = Store(engine, engine, PostgresWords())
        try:
            async with store._writing() as connection:
                await connection.run_sync(_migrate)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Let the database go, once what runs is through."""
        await self._is_idle.wait()
        await self._writer.dispose()
        await self._reader.dispose()

    # ---- in --------------------------------------------------------------------------

    async def put(self, filings: Sequence[Filing]) -> None:
        """Add recordings, or replace what is said of them: all, or none."""
        by_id = {filing.entry.recording: filing for filing in filings}
        if not by_id:
            return
        statement = self._insert.on_conflict_do_update(
            index_elements=[recordings.c.recording],
            set_={name: self._insert.excluded[name] for name in _COLUMNS if name != "recording"},
        )
        async with self._writing() as connection:
            await connection.execute(statement, [_values(filing) for filing in by_id.values()])
            found = await connection.execute(
                select(recordings.c.recording, recordings.c.row).where(
                    recordings.c.recording.in_(by_id)
                )
            )
            rows = {row: by_id[recording] for recording, row in found}
            await connection.execute(delete(tags).where(tags.c.row.in_(rows)))
            labels = [
                {"row": row, "place": place, "tag": tag}
                for row, filing in rows.items()
                for place, tag in enumerate(filing.entry.tags)
            ]
            if labels:
                await connection.execute(insert(tags), labels)
            await self._words.put(connection, {row: f.texts for row, f in rows.items()})

    async def remove(self, ids: Collection[str]) -> None:
        """Forget recordings; ids that are not there are passed over."""
        if not ids:
            return
        async with self._writing() as connection:
            found = await connection.execute(
                select(recordings.c.row).where(recordings.c.recording.in_(ids))
            )
            rows = list(found.scalars())
            await connection.execute(delete(tags).where(tags.c.row.in_(rows)))
            await self._words.forget(connection, rows)
            await connection.execute(delete(recordings).where(recordings.c.row.in_(rows)))

    async def settle(self) -> None:
        """After many changes: let the database look at what it holds."""
        if self._writer.dialect.name == "postgresql":
            async with self._writing() as connection:
                await connection.execute(text("ANALYZE recordings, tags, words"))

    # ---- out -------------------------------------------------------------------------

    async def page(self, query: Query, person: Person) -> Page:
        """Return a page of what a person sees; see `Catalogue`."""
        async with self._reading() as connection:
            wanted = [*_facts_wanted(query, person), *await self._sets_wanted(connection, query)]
            value = _SORTED_BY[query.sort]
            if query.cursor is not None:
                behind = tuple_(*decode_cursor(query.cursor, query.sort))
                place = tuple_(value, recordings.c.recording)
                wanted.append(place < behind if query.sort.is_descending else place > behind)
            direction = desc if query.sort.is_descending else asc
            order = (direction(value), direction(recordings.c.recording))
            # The rows are found in an index alone, and only those of the page are read whole.
            found = select(recordings.c.row).where(*wanted).order_by(*order).limit(query.limit + 1)
            statement = select(recordings).where(recordings.c.row.in_(found)).order_by(*order)
            rows = list(await connection.execute(statement))
            entries = await _entries(connection, rows[: query.limit])
        is_more = len(rows) > query.limit
        return Page(entries, encode_cursor(entries[-1], query.sort) if is_more else None)

    async def _sets_wanted(
        self, connection: AsyncConnection, query: Query
    ) -> list[ColumnElement[bool]]:
        """Return what is asked that is kept beside the recordings: tags and words.

        Few are best sorted; of many, the first in order are soon met. SQLite does not know
        which it is, so it is told.
        """
        row = recordings.c.row
        wanted: list[ColumnElement[bool]] = []
        for tag in map(storable, query.tags):
            having = select(tags.c.row).where(tags.c.tag == tag)
            if await self._are_many(connection, having):
                wanted.append(having.where(tags.c.row == row).exists())
            else:
                wanted.append(row.in_(having))
        if query.words.strip():
            looked_for = terms(query.words)
            if not looked_for:
                return [false()]
            matching = self._words.matching(looked_for)
            many = await self._are_many(connection, matching)
            wanted.append((row + 0 if many else row).in_(matching))
        return wanted

    async def _are_many(self, connection: AsyncConnection, rows: "Select[int]") -> bool:
        if connection.dialect.name != "sqlite":
            return False  # Postgres knows it by itself
        some = rows.limit(MANY).subquery()
        return await connection.scalar(select(func.count()).select_from(some)) == MANY

    async def tags(self, person: Person) -> list[tuple[str, int]]:
        """Return the tags that a person sees; see `Catalogue`. Of very many, the most used."""
        count = func.count().label("count")
        statement = select(tags.c.tag, count)
        if not person.is_admin:
            statement = statement.join(recordings).where(recordings.c.owner == person.id)
        statement = statement.group_by(tags.c.tag).order_by(count.desc(), tags.c.tag)
        async with self._reading() as connection:
            found = await connection.execute(statement.limit(MAX_TAGS))
            return sorted((tag, times) for tag, times in found)

    async def usage(self, owner: str) -> Usage:
        """Return how much a person's recordings take; see `Catalogue`."""
        columns = recordings.c
        sample_bytes = case(
            {str(encoding): encoding.sample_bytes for encoding in Encoding},
            value=columns.encoding,
        )
        statement = select(
            func.count(),
            func.coalesce(func.sum(columns.duration_us), 0),
            func.coalesce(func.sum(columns.frames * columns.channels * sample_bytes), 0),
        ).where(columns.owner == storable(owner), columns.status != "recording")
        async with self._reading() as connection:
            count, duration_us, size = (await connection.execute(statement)).one()
        return Usage(count, int(duration_us) / 1_000_000, int(size))

    async def folders(self) -> set[str]:
        """Return the folders below the data directory in which there are recordings."""
        async with self._reading() as connection:
            return set(await connection.scalars(select(recordings.c.folder).distinct()))

    async def known(self, folder: str) -> dict[str, Known]:
        """Return what is known of the sidecars in a folder, by the WAV's path without suffix."""
        columns = recordings.c
        statement = select(columns.path, columns.recording, columns.status, columns.stamp)
        async with self._reading() as connection:
            found = await connection.execute(statement.where(columns.folder == storable(folder)))
            return {path: Known(*rest) for path, *rest in found}

    async def paths(self, ids: Collection[str]) -> dict[str, str]:
        """Return the paths of those recordings that are in the catalogue, by id."""
        columns = recordings.c
        statement = select(columns.recording, columns.path).where(columns.recording.in_(ids))
        async with self._reading() as connection:
            found = await connection.execute(statement)
            return {recording: path for recording, path in found}  # noqa: C416  # rows, for mypy

    async def old(self, before_us: int, behind: tuple[int, str], limit: int) -> list[Entry]:
        """Return what was created before a time, is over and not on hold, the oldest first.

        Args:
            before_us: The time.
            behind: `created_us` and id of the last one seen.
            limit: How many at most.
        """
        columns = recordings.c
        place = tuple_(columns.created_us, columns.recording)
        statement = (
            select(recordings)
            .where(columns.created_us < before_us, place > tuple_(*behind))
            .where(columns.status != "recording", columns.hold.is_(False))
            .order_by(columns.created_us, columns.recording)
            .limit(limit)
        )
        async with self._reading() as connection:
            rows = list(await connection.execute(statement))
            return list(await _entries(connection, rows))

    # ---- connections -----------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        with self._used():
            async with _errors_told(WRITE_TIMEOUT_S), self._writer.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        # What is asked twice is asked of one state of the tables.
        with self._used():
            async with _errors_told(READ_TIMEOUT_S), self._reader.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        self._in_use += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._in_use -= 1
            if self._in_use == 0:
                self._is_idle.set()


@contextlib.asynccontextmanager
async def _errors_told(timeout_s: float) -> AsyncIterator[None]:
    """Turn what a database raises into what the catalogue raises."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise CatalogueUnavailableError(
            "the catalogue's database does not answer; recordings are not touched by that"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        # The first line: what follows quotes statements and their values.
        reason = (str(cause).splitlines() or [type(cause).__name__])[0]
        code = getattr(cause, "sqlite_errorcode", None)
        if (code is not None and code & 0xFF in _SQLITE_DAMAGED) or "no such table" in reason:
            raise CatalogueDamagedError(f"the catalogue is damaged ({reason})") from error
        raise CatalogueUnavailableError(
            f"the catalogue's database can't be used now ({reason});"
            " recordings are not touched by that"
        ) from error


def _prepare_sqlite(connection: DBAPIConnection, record: object) -> None:
    cursor = connection.cursor()
    # A power cut may take the last changes: they are made again from the sidecars.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "temp_store=MEMORY",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        verdict = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if verdict != "ok":
            raise CatalogueDamagedError(f"the catalogue is damaged ({verdict})")
    if inspect(connection).has_table(VERSION_TABLE) and connection.scalars(
        text(f"SELECT version_num FROM {VERSION_TABLE}")
    ).all() == [VERSION]:
        return
    # Slow to import, and seldom needed.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise CatalogueDamagedError(
            f"the catalogue is of another version of micwire ({error})"
        ) from error


def _facts_wanted(query: Query, person: Person) -> Iterator[ColumnElement[bool]]:
    """Yield what is asked of the recordings themselves."""
    columns = recordings.c
    if not person.is_admin:
        yield columns.owner == person.id
    for column, value in (
        (columns.owner, query.owner),
        (columns.status, query.status),
        (columns.take, query.take),
    ):
        if value is not None:
            yield column == storable(value)
    if query.since is not None:
        yield columns.started_us >= microseconds(query.since)
    if query.until is not None:
        yield columns.started_us < microseconds(query.until)


# ---- rows ----------------------------------------------------------------------------


def _values(filing: Filing) -> dict[str, object]:
    entry = filing.entry
    values = {name: getattr(entry, name) for name in _COLUMNS if hasattr(entry, name)}
    return values | {
        "folder": entry.path.rpartition("/")[0],
        "encoding": str(entry.format.encoding),
        "sample_rate": entry.format.sample_rate,
        "channels": entry.format.channels,
        "stamp": filing.stamp,
    }


async def _entries(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> tuple[Entry, ...]:
    labels: dict[int, list[str]] = {row.row: [] for row in rows}
    found = await connection.execute(
        select(tags.c.row, tags.c.tag).where(tags.c.row.in_(labels)).order_by(*tags.primary_key)
    )
    for row, tag in found:
        labels[row].append(tag)
    return tuple(_entry(row._mapping, tuple(labels[row.row])) for row in rows)


def _entry(row: RowMapping, labels: tuple[str, ...]) -> Entry:
    fixed = {"format", "tags"}
    values = {field.name: row[field.name] for field in fields(Entry) if field.name not in fixed}
    return Entry(
        format=Format(Encoding(row["encoding"]), row["sample_rate"], row["channels"]),
        tags=labels,
        **values,
    )
