"""The catalogue's database against a plain model; each test on SQLite and on Postgres."""

import asyncio
import sqlite3
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.catalogue import (
    BadCursorError,
    CatalogueDamagedError,
    CatalogueUnavailableError,
    CatalogueUrlError,
    Entry,
    Filing,
    Page,
    Query,
    Sort,
    Usage,
    microseconds,
    sort_value,
)
from micwire.core.people import LOCAL, Person
from micwire.library.catalogue.store import MIGRATIONS, VERSION, Store, database_url
from micwire.library.catalogue.words import cut, terms
from tests.library.postgres import Postgres

T = TypeVar("T")
FORMAT = Format(Encoding.S16, 48_000, 2)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS = ("Interview", "interview two", "Berlin", "Straße", "東京タワー", "東京", "タワー", "")
OWNERS = ("", "ana", "bob")
TAGS = ("blue", "Blue", "青")


class Shop:
    """An open store, and the loop that it lives on."""

    def __init__(self, address: str, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self.address = address
        self.file = folder / "catalogue.sqlite"
        try:
            self.open()
        except BaseException:
            self._runner.close()
            raise

    def open(self) -> None:
        self.store = self.run(Store.open(database_url(self.address, self.file)))

    def close(self) -> None:
        self.run(self.store.close())
        self._runner.close()

    def restart(self) -> None:
        self.run(self.store.close())
        self.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def put(self, *entries: Entry) -> None:
        self.run(self.store.put([Filing(entry, texts_of(entry), "stamp") for entry in entries]))

    def page(self, query: Query, person: Person = LOCAL) -> Page:
        return self.run(self.store.page(query, person))

    def found(self, query: Query, person: Person = LOCAL) -> list[str]:
        return [entry.recording for entry in self.page(query, person).entries]

    def everything(self, query: Query, person: Person = LOCAL) -> list[Entry]:
        """Read page by page to the end."""
        entries: list[Entry] = []
        while True:
            page = self.page(query, person)
            entries += page.entries
            if page.next is None:
                return entries
            query = replace(query, cursor=page.next)


@pytest.fixture(params=["sqlite", "sqlite where three are many", "postgres"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    address = ""
    if request.param == "sqlite where three are many":
        monkeypatch.setattr("micwire.library.catalogue.store.MANY", 3)
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        address = server.database()
    opened = Shop(address, tmp_path)
    yield opened
    opened.close()


def entry(number: int, **facts: Any) -> Entry:
    return replace(
        Entry(
            recording=f"{number:08d}-0000-4000-8000-000000000000",
            status="finished",
            path=f"2026-01-01/{number}",
            format=FORMAT,
            frames=number,
            started_us=number,
            created_us=number,
        ),
        **facts,
    )


def texts_of(one: Entry) -> tuple[str, ...]:
    return (one.title or "", *one.tags, one.notes)


def is_asked(one: Entry, query: Query, person: Person) -> bool:
    """What `Query` says, as plain as can be."""
    words = list(cut(texts_of(one)))

    def has(run: tuple[str, ...], *, is_prefix: bool) -> bool:
        if is_prefix:
            return any(word.startswith(run[0]) for word in words)
        return any(tuple(words[at : at + len(run)]) == run for at in range(len(words)))

    wanted = terms(query.words)
    return (
        person.sees(one.owner)
        and query.owner in (None, one.owner)
        and query.status in (None, one.status)
        and query.take in (None, one.take)
        and (query.since is None or one.started_us >= microseconds(query.since))
        and (query.until is None or one.started_us < microseconds(query.until))
        and set(query.tags) <= set(one.tags)
        and (bool(wanted) or not query.words.strip())
        and all(has(term.words, is_prefix=term.is_prefix) for term in wanted)
    )


def model(entries: list[Entry], query: Query, person: Person) -> list[Entry]:
    found = [one for one in entries if is_asked(one, query, person)]
    return sorted(
        found,
        key=lambda one: (sort_value(one, query.sort), one.recording),
        reverse=query.sort.is_descending,
    )


_times = st.integers(0, 20).map(lambda minutes: EPOCH + timedelta(minutes=minutes))


_texts = st.sampled_from(TEXTS) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=4
)
_entries = st.builds(
    entry,
    st.integers(0, 40),
    frames=st.integers(0, 3).map(lambda seconds: seconds * 48_000),
    title=st.none() | _texts,
    notes=_texts,
    owner=st.sampled_from(OWNERS),
    tags=st.lists(st.sampled_from(TAGS), unique=True).map(tuple),
    status=st.sampled_from(("recording", "finished", "interrupted")),
    take=st.sampled_from((None, "one", "two")),
    started_us=_times.map(microseconds),
    verifiable=st.sampled_from((None, False, True)),
    hold=st.booleans(),
)
_queries = st.builds(
    Query,
    limit=st.integers(1, 7),
    words=st.just("") | st.sampled_from(("inter", "TWO", "東", "京タワ", "strasse", "??")) | _texts,
    tags=st.lists(st.sampled_from(TAGS), unique=True, max_size=2).map(tuple),
    status=st.sampled_from((None, None, "finished", "recording", "none")),
    owner=st.sampled_from((None, None, *OWNERS)),
    take=st.sampled_from((None, None, "one")),
    since=st.none() | _times,
    until=st.none() | _times,
    sort=st.sampled_from(Sort),
)
_people = st.sampled_from((LOCAL, LOCAL, Person("ana"), Person("bob"), Person("")))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(_entries, max_size=30),
    st.lists(_entries, max_size=5),
    st.sets(st.integers(0, 40), max_size=5),
    st.lists(st.tuples(_queries, _people), min_size=1, max_size=4),
)
def test_lists_are_those_of_a_plain_model(
    shop: Shop,
    first: list[Entry],
    then: list[Entry],
    removed: set[int],
    asked: list[tuple[Query, Person]],
) -> None:
    shop.run(shop.store.remove([entry(number).recording for number in range(41)]))
    kept: dict[str, Entry] = {}
    for batch in (first, then):  # what comes later takes the place of what was there
        shop.put(*{one.recording: one for one in batch}.values())
        kept |= {one.recording: one for one in batch}
    gone = {entry(number).recording for number in removed}
    shop.run(shop.store.remove(gone))
    entries = [one for one in kept.values() if one.recording not in gone]
    for query, person in asked:
        assert shop.everything(query, person) == model(entries, query, person)
    tags: dict[str, int] = {}
    for one in entries:
        for tag in one.tags if one.owner == "ana" else ():
            tags[tag] = tags.get(tag, 0) + 1
    assert shop.run(shop.store.tags(Person("ana"))) == sorted(tags.items())


def test_pages_neither_repeat_nor_miss_while_recordings_come_and_go(shop: Shop) -> None:
    shop.put(*(entry(number) for number in range(10, 40)))
    query = Query(limit=10)
    page = shop.page(query)
    shop.put(entry(50), entry(35, title="edited"))
    shop.run(shop.store.remove([entry(30).recording, entry(25).recording]))
    seen = list(page.entries)
    seen += shop.everything(replace(query, cursor=page.next))
    numbers = [one.frames for one in seen]
    assert numbers == [n for n in range(39, 9, -1) if n != 25]


def test_a_cursor_of_another_order_is_refused(shop: Shop) -> None:
    shop.put(entry(1), entry(2))
    cursor = shop.page(Query(limit=1)).next
    with pytest.raises(BadCursorError):
        shop.page(Query(cursor=cursor, sort=Sort.TITLE))


def test_japanese_is_found_by_any_part_of_it_and_english_by_beginnings(shop: Shop) -> None:
    shop.put(
        entry(1, title="取材の録音：東京タワー", notes="佐藤さん"),
        entry(2, title="Interviews with Zoë", tags=("ｶﾀｶﾅ",)),
        entry(3, title="東の京", notes="view"),
    )
    for search, found in {
        "東京": [1],
        "京タワ": [1],
        "東": [3, 1],
        "京": [3, 1],
        "ー": [1],
        "録音 佐藤": [1],
        "カナ": [2],
        "interview": [2],
        "INT": [2],
        "zoe": [2],
        "zoë interviews": [2],
        "view": [3],
        "interviewer": [],
        "'": [],
    }.items():
        assert shop.found(Query(words=search)) == [entry(one).recording for one in found], search


def test_a_search_is_never_a_command_to_the_database(shop: Shop) -> None:
    shop.put(entry(1, title="a OR b NEAR c"))
    for search in (
        '"',
        "a AND",
        "NOT a",
        "a*",
        "body:a",
        "(a",
        "a <-> b",
        "a:*",
        "'; --",
        "^a",
        "\\",
    ):
        shop.page(Query(words=search))
    assert shop.found(Query(words="or near")) == [entry(1).recording]


def test_long_texts_are_found_to_their_end(shop: Shop) -> None:
    many = " ".join(f"word{number}" for number in range(40_000))
    shop.run(shop.store.put([Filing(entry(1), (many, "東京" * 9_000))]))
    assert shop.found(Query(words="word39999")) == [entry(1).recording]
    shop.put(entry(1, title="short"))
    assert shop.found(Query(words="word39999")) == []


def test_usage_counts_what_is_somebodys(shop: Shop) -> None:
    shop.put(entry(48_000, owner="ana"), entry(24_000, owner="ana"), entry(7, owner="bob"))
    assert shop.run(shop.store.usage("ana")) == Usage(2, 1.5, 72_000 * 4)
    assert shop.run(shop.store.usage("nobody")) == Usage(0, 0.0, 0)


def test_what_is_old_is_over_and_not_on_hold(shop: Shop) -> None:
    shop.put(
        entry(1, hold=True),
        entry(2, status="recording"),
        entry(3, tags=("a", "b")),
        entry(4, status="interrupted"),
        entry(5),
    )
    old = shop.run(shop.store.old(5, (0, ""), 10))
    assert [one.frames for one in old] == [3, 4]
    assert old[0].tags == ("a", "b")
    behind = (old[0].created_us, old[0].recording)
    assert [one.frames for one in shop.run(shop.store.old(5, behind, 10))] == [4]


def test_folders_and_stamps_tell_what_was_seen(shop: Shop) -> None:
    shop.put(entry(1), entry(2, path="top"))
    assert shop.run(shop.store.folders()) == {"2026-01-01", ""}
    known = shop.run(shop.store.known("2026-01-01"))
    assert [(path, one.recording, one.stamp) for path, one in known.items()] == [
        ("2026-01-01/1", entry(1).recording, "stamp")
    ]


def test_what_was_put_is_there_after_a_restart(shop: Shop) -> None:
    shop.put(entry(1, title="kept"))
    shop.restart()
    assert shop.found(Query(words="kept")) == [entry(1).recording]


def test_a_database_that_is_gone_is_a_sentence(postgres: Postgres, tmp_path: Path) -> None:
    shop = Shop(postgres.database(), tmp_path)
    shop.put(entry(1))
    postgres.kill()
    try:
        with pytest.raises(CatalogueUnavailableError, match="not touched") as refusal:
            shop.page(Query())
        assert not isinstance(refusal.value, CatalogueDamagedError)
    finally:
        postgres.start()
    assert shop.found(Query()) == [entry(1).recording]
    shop.close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be read" * 99, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_catalogue_is_told_from_one_that_is_busy(
    content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(content)
    with pytest.raises(CatalogueDamagedError):
        Shop("", tmp_path)


def test_the_newest_migration_is_the_one_that_a_start_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [VERSION]


def test_a_catalogue_of_a_later_version_is_to_be_made_anew(tmp_path: Path) -> None:
    Shop("", tmp_path).close()
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as connection:
        connection.execute("UPDATE micwire_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(CatalogueDamagedError, match="9999"):
        Shop("", tmp_path)


def test_a_locked_file_is_unavailable_not_damaged(tmp_path: Path) -> None:
    shop = Shop("", tmp_path)
    shop.put(entry(1))
    other = sqlite3.connect(tmp_path / "catalogue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(CatalogueUnavailableError, match="locked") as refusal:
            shop.put(entry(2))
        assert not isinstance(refusal.value, CatalogueDamagedError)
        assert shop.found(Query()) == [entry(1).recording]  # who reads need not wait
    finally:
        other.close()
        shop.close()


@pytest.mark.parametrize(
    "address",
    [
        "mysql://secret@host/x",
        "secret",
        "postgresql:secret",
        "sqlite://",
        "sqlite:///:memory:",
        "://",
    ],
)
def test_an_address_that_cannot_be_used_is_a_sentence_without_it(address: str) -> None:
    with pytest.raises(CatalogueUrlError) as refusal:
        database_url(address, Path("catalogue.sqlite"))
    assert "secret" not in str(refusal.value)
