"""`micwire reindex`: rebuilt from what lies on the disk, killed in the middle, begun again."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from micwire.core.catalogue import Entry, Query
from micwire.core.people import LOCAL
from micwire.library.catalogue.keeper import FILE
from micwire.library.catalogue.store import Store, database_url
from micwire.lock import DataLock
from tests.library.postgres import Postgres
from tests.library.shelf import Shelf, id_of, write_wav

MICWIRE = str(Path(sys.executable).with_name("micwire"))
WAIT_S = 30.0


def reindex(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MICWIRE, "reindex", "--data", str(data), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def listed(data: Path, address: str = "") -> list[Entry]:
    async def run() -> list[Entry]:
        store = await Store.open(database_url(address, data / FILE))
        try:
            entries: list[Entry] = []
            query = Query(limit=200)
            while True:
                page = await store.page(query, LOCAL)
                entries += page.entries
                if page.next is None:
                    return entries
                query = Query(limit=200, cursor=page.next)
        finally:
            await store.close()

    return asyncio.run(run())


def test_a_lost_catalogue_is_rebuilt_and_what_was_copied_in_is_taken_in(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number in (1, 2):
        shelf.put(number, title=f"Title {number}", tags=("a",))
    write_wav(tmp_path / "old tape.wav", bytes(2_000))
    (tmp_path / "2026-01-01" / "bad.json").write_text("{")
    (tmp_path / "2026-01-01" / "bad.wav").write_bytes(b"")
    (tmp_path / FILE).write_bytes(b"rubbish" * 1_000)
    done = reindex(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "3 recordings are in the catalogue; 3 were taken in, 0 are gone, 1 were left out\n"
    )
    assert "2026-01-01/bad.json" in done.stderr
    assert sorted(entry.title or "" for entry in listed(tmp_path)) == [
        "Title 1",
        "Title 2",
        "old tape",
    ]
    assert (tmp_path / f"{FILE}.damaged").exists()


def test_killed_in_the_middle_it_does_no_harm_and_is_begun_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    numbers = range(1, 500)
    for number in numbers:
        shelf.put(number)
    database = tmp_path / FILE
    for delay_s in (0.0, 0.1):
        running = subprocess.Popen(
            [MICWIRE, "reindex", "--data", str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + WAIT_S
        while not database.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay_s)
        running.send_signal(signal.SIGKILL)
        running.wait(WAIT_S)
        assert {entry.recording for entry in listed(tmp_path)} <= {id_of(n) for n in numbers}
    done = reindex(tmp_path)
    assert done.returncode == 0, done.stderr
    assert [entry.recording for entry in listed(tmp_path)] == [id_of(n) for n in reversed(numbers)]


def test_it_is_refused_while_a_server_runs_on_the_data(tmp_path: Path) -> None:
    Shelf(tmp_path).put(1)
    lock = DataLock(tmp_path)
    try:
        done = reindex(tmp_path)
    finally:
        lock.release()
    assert done.returncode == 73
    assert "by itself" in done.stderr
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--catalogue", "mysql://x"], "Postgres"), (["--data", "/no/such/folder"], "--data")],
)
def test_wrong_words_are_told(tmp_path: Path, words: list[str], told: str) -> None:
    done = reindex(tmp_path, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_it_fills_a_catalogue_in_postgres(tmp_path: Path, postgres: Postgres) -> None:
    Shelf(tmp_path).put(1)
    address = postgres.database()
    done = reindex(tmp_path, "--catalogue", address)
    assert done.returncode == 0, done.stderr
    assert [entry.recording for entry in listed(tmp_path, address)] == [id_of(1)]


def test_a_postgres_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    Shelf(tmp_path).put(1)
    done = reindex(tmp_path, "--catalogue", f"postgresql://secret@/x?host={tmp_path}")
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
