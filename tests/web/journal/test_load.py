"""How much room and time a journal takes at 400 kB/s, with and without a server."""

import pytest

from tests.web.journal.conftest import Worker

ROOM_BYTES = 2 * (1024 * 1024 + 400_000 + 64 * 1024)
"""Two files of 1 MiB, and what comes within the second in which they take turns."""
HOUR_BYTES = 3600 * 400_000
# IndexedDB takes about 2 ms for each of these blocks, and memory has 1 GiB.
MINUTES = {"opfs": 8, "indexeddb": 2, "memory": 4}


@pytest.mark.timeout(300)
def test_online_the_room_is_bounded_whatever_the_acknowledgements_do(
    worker: Worker, kind: str
) -> None:
    minutes = MINUTES[kind]
    found = worker.facts("runsOnline", kind, 1, minutes)
    print(kind, found)
    assert found["excess"] <= ROOM_BYTES  # beyond what is not released
    assert found["head"] < 1000 * minutes * 60
    assert found["seconds"] < minutes * 60 / 10


@pytest.mark.timeout(300)
def test_offline_all_is_kept_and_its_room_is_given_back_once_sent(
    worker: Worker, kind: str
) -> None:
    minutes = MINUTES[kind]
    found = worker.facts("runsOffline", kind, minutes)
    print(kind, found)
    assert found["most"] >= HOUR_BYTES * minutes / 60
    assert found["left"] <= ROOM_BYTES
    assert max(found["writing"], found["recovering"], found["reading"]) < minutes * 60 / 10


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_an_hour_takes_no_more_room_than_minutes(worker: Worker) -> None:
    online = worker.facts("runsOnline", "opfs", 1, 60)
    assert online["excess"] <= ROOM_BYTES
    offline = worker.facts("runsOffline", "opfs", 60)
    assert offline["most"] >= HOUR_BYTES
    assert offline["left"] <= ROOM_BYTES


def test_keeping_costs_a_small_part_of_a_core(worker: Worker, kind: str) -> None:
    found = worker.facts("measures", kind, 400)
    print(kind, found)
    assert found["crc"] > 40  # MiB/s: 1 % of a core at 400 kB/s
    assert found["p50"] < 25
