"""How quick lists and searches are in a catalogue of 100,000 recordings, and what they take.

    python -m bench.catalogue
    python -m bench.catalogue --recordings 1000000
    python -m bench.catalogue --postgres      # a private one, of Debian's package

The recordings are made up: 20 people, titles of common and rare words in English and
Japanese, tags that thousands share and tags that three have. Each question is asked many times,
by clients that read on page by page, with other words, people and pages each time.
"""

import argparse
import asyncio
import contextlib
import random
import resource
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from uuid import UUID

from micwire.core.audio import Encoding, Format
from micwire.core.catalogue import Entry, Filing, Query, Sort, microseconds
from micwire.core.people import LOCAL, Person
from micwire.library.catalogue.store import Store, database_url
from tests.library.postgres import running_postgres

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
FORMAT = Format(Encoding.S16, 48_000, 1)
PEOPLE = [f"person-{number}" for number in range(20)]
WORDS = [f"{first}{last}" for first in ("ber", "lon", "to", "pa", "ny") for last in range(400)]
KANJI = "東京大阪名古屋録音取材会議研究音声参加者面接第回目前後本山川田中"
BATCH = 500
CLIENTS = 10
Ask = Callable[[random.Random], tuple[Query, Person]]


def made_up(number: int, dice: random.Random) -> Filing:
    """Return a recording that nobody made."""
    started_us = microseconds(EPOCH + timedelta(minutes=7 * number))
    title = f"Interview {number} {' '.join(dice.sample(WORDS, 2))}"
    if number % 3 == 0:
        title = f"取材{''.join(dice.choices(KANJI, k=8))}{number}"
    tags = [f"study-{number % 40}"]
    if number % 2:
        tags.append("consented")
    if number % 30_000 == 7:
        tags.append("rare")
    entry = Entry(
        recording=str(UUID(int=dice.getrandbits(128), version=4)),
        status="interrupted" if number % 50 == 0 else "finished",
        path=f"{EPOCH + timedelta(minutes=7 * number):%Y-%m-%d/%H-%M-%S}",
        format=FORMAT,
        frames=dice.randrange(48_000 * 3_600),
        title=title,
        tags=tuple(tags),
        owner=PEOPLE[number % len(PEOPLE)],
        started_at=(EPOCH + timedelta(minutes=7 * number)).isoformat(),
        started_us=started_us,
        created_us=started_us,
    )
    notes = " ".join(dice.choices(WORDS, k=20))
    return Filing(replace(entry, notes=notes), (title, *tags, notes, "Built-in microphone"))


async def fill(store: Store, recordings: int) -> float:
    """Put the recordings in; return how long that takes."""
    dice = random.Random(1)
    began = perf_counter()
    for first in range(0, recordings, BATCH):
        count = min(BATCH, recordings - first)
        await store.put([made_up(first + number, dice) for number in range(count)])
    await store.settle()
    return perf_counter() - began


QUESTIONS: dict[str, Ask] = {
    "newest": lambda dice: (Query(), LOCAL),
    "newest of one person": lambda dice: (Query(), Person(dice.choice(PEOPLE))),
    "by title": lambda dice: (Query(sort=Sort.TITLE), LOCAL),
    "longest of one person": lambda dice: (Query(sort=Sort.LONGEST), Person(dice.choice(PEOPLE))),
    "interrupted": lambda dice: (Query(status="interrupted"), LOCAL),
    "finished, by title": lambda dice: (Query(status="finished", sort=Sort.TITLE), LOCAL),
    "tag of half of all": lambda dice: (Query(tags=("consented",)), LOCAL),
    "tag of few": lambda dice: (Query(tags=("rare",)), LOCAL),
    "two tags": lambda dice: (Query(tags=("consented", f"study-{dice.randrange(40)}")), LOCAL),
    "a word": lambda dice: (Query(words=dice.choice(WORDS)), LOCAL),
    "two words": lambda dice: (Query(words=" ".join(dice.sample(WORDS, 2))), LOCAL),
    "a word of all": lambda dice: (Query(words="interview"), LOCAL),
    "one letter": lambda dice: (Query(words=dice.choice("bltpni")), LOCAL),
    "Japanese": lambda dice: (Query(words="".join(dice.sample(KANJI, 2))), LOCAL),
    "one character": lambda dice: (Query(words=dice.choice(KANJI)), LOCAL),
    "a word, one person": lambda dice: (
        Query(words=dice.choice(WORDS)),
        Person(dice.choice(PEOPLE)),
    ),
    "a word of all, by title": lambda dice: (Query(words="interview", sort=Sort.TITLE), LOCAL),
    "a month": lambda dice: (
        Query(
            since=EPOCH + timedelta(days=(month := dice.randrange(12)) * 30),
            until=EPOCH + timedelta(days=(month + 1) * 30),
            sort=Sort.LONGEST,
        ),
        LOCAL,
    ),
}


async def ask(store: Store, question: Ask, times: int) -> tuple[list[float], float]:
    """Return the times of pages, first and later ones, sorted, and the CPU time of one, in ms."""
    began_cpu = process_time()
    taken: list[float] = []

    async def client(seed: int) -> None:
        dice = random.Random(seed)
        query, person = question(dice)
        for _ in range(times // CLIENTS):
            began = perf_counter()
            page = await store.page(query, person)
            taken.append((perf_counter() - began) * 1000)
            query = replace(query, cursor=page.next)
            if page.next is None or dice.random() < 0.5:
                query, person = question(dice)

    for seed in range(CLIENTS):  # one at a time: the time of a question, not of a queue
        await client(seed)
    return sorted(taken), (process_time() - began_cpu) * 1000 / len(taken)


def memory_kib() -> int:
    """Return the resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def sizes_in(folder: Path) -> list[int]:
    """Return the sizes of the files in a folder."""
    return [path.stat().st_size for path in folder.iterdir()]


@contextlib.asynccontextmanager
async def opened(address: str, folder: Path) -> AsyncIterator[Store]:
    """Open a catalogue and close it."""
    store = await Store.open(database_url(address, folder / "catalogue.sqlite"))
    try:
        yield store
    finally:
        await store.close()


async def measure(address: str, folder: Path, recordings: int, times: int) -> None:
    """Fill a catalogue, ask, and print what it took."""
    async with opened(address, folder) as store:
        seconds = await fill(store, recordings)
        sizes = await asyncio.to_thread(sizes_in, folder)
        print(
            f"{recordings} recordings put in {seconds:.0f} s"
            + (f", {sum(sizes) / (1 << 20):.0f} MiB" if sizes else ""),
            flush=True,
        )
    async with opened(address, folder) as store:
        await store.page(Query(), LOCAL)
        before = memory_kib()
        print(f"{'question':28}{'p50':>8}{'p95':>8}{'max':>8}{'CPU':>8}  ms")
        everything: list[float] = []
        for name, question in QUESTIONS.items():
            taken, cpu = await ask(store, question, times)
            everything += taken
            p95 = taken[int(len(taken) * 0.95)]
            print(
                f"{name:28}{statistics.median(taken):8.1f}{p95:8.1f}{taken[-1]:8.1f}{cpu:8.1f}",
                flush=True,
            )
        everything.sort()
        print(
            f"{'all':28}{statistics.median(everything):8.1f}"
            f"{everything[int(len(everything) * 0.95)]:8.1f}{everything[-1]:8.1f}"
        )
        after = memory_kib()
        print(
            f"memory: {before / 1024:.0f} MiB before {len(everything)} questions,"
            f" {after / 1024:.0f} MiB after"
        )


@contextlib.contextmanager
def database(*, is_postgres: bool) -> Iterator[str]:
    """Yield the address of an empty database."""
    if not is_postgres:
        yield ""
        return
    with running_postgres() as server:
        yield server.database()


def main() -> None:
    """Measure one kind of database."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.catalogue", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--recordings", type=int, default=100_000, help="how many (100000)")
    parser.add_argument("--times", type=int, default=100, help="of each question (100)")
    parser.add_argument("--postgres", action="store_true", help="Postgres instead of SQLite")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="micwire-catalogue-") as folder,
        database(is_postgres=options.postgres) as address,
    ):
        asyncio.run(measure(address, Path(folder), options.recordings, options.times))


if __name__ == "__main__":
    main()
