"""The file of results and its readers: torn ends, numbers, deletion, and clients that lag."""

import asyncio
import errno
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.files import LocalFiles
from micwire.results import (
    MAX_RESULT_BYTES,
    MAX_SKIP,
    RECENT_BYTES,
    Line,
    Reader,
    ResultFile,
    Results,
)
from micwire.testing import ForgetfulFiles, Survivors

PATH = "/data/2026-11-22/x.jsonl"


def opened(files: ForgetfulFiles | LocalFiles, path: str = PATH, seen: int = 0) -> ResultFile:
    """Return a file that has been loaded; what it tells is forgotten."""
    file = ResultFile(files, path, lambda lines: None)
    file.load(seen)
    return file


def disk() -> ForgetfulFiles:
    """Return an empty disk with a data directory."""
    return ForgetfulFiles("/data")


def overwrite(files: ForgetfulFiles, data: bytes) -> None:
    descriptor = files.open(PATH)
    files.truncate(descriptor, 0)
    files.write(descriptor, [data], 0)
    files.close(descriptor)


def filled(files: ForgetfulFiles, count: int) -> ResultFile:
    """Return a file with so many results, of two analyzers in turn, 100 frames each."""
    file = opened(files)
    for number in range(count):
        file.add("ab"[number % 2], number // 2 * 100, 100, {"text": "ß\n\u2028" * number})
    file.write()
    return file


def numbers(file: ResultFile, since: int = 0) -> list[int]:
    found: list[int] = []
    offset = 0
    while True:
        lines, offset = file.read(since, offset)
        if not lines:
            return found
        assert all(json.loads(text)["seq"] == seq for seq, text in lines)
        found += [seq for seq, _ in lines]


@given(data=st.data())
def test_whatever_a_crash_tears_off_numbers_go_on_behind_what_is_whole(data: st.DataObject) -> None:
    files = disk()
    filled(files, 7)
    whole = files.content(PATH)
    cut = data.draw(st.integers(0, len(whole)))
    rubbish = data.draw(st.sampled_from([b"", bytes(50), b"\xff\n{}\n", whole[:40]]))
    overwrite(files, whole[:cut] + rubbish)
    kept = whole[:cut].count(b"\n")

    file = ResultFile(files, PATH, lambda lines: None)
    ends = file.load(0)
    assert file.last_seq == kept
    assert ends == {
        name: (kept + odd) // 2 * 100 for name, odd in (("a", 1), ("b", 0)) if kept + odd >= 2
    }
    file.add("c", 0, 1, {})
    file.write()
    assert files.content(PATH).startswith(whole[: len(b"".join(whole.splitlines(True)[:kept]))])
    assert numbers(file) == [*range(1, kept + 2)]


def test_a_number_that_a_client_has_seen_is_not_given_again() -> None:
    files = disk()
    filled(files, 3)
    file = opened(files, seen=9)
    file.add("a", 0, 1, {})
    file.write()
    assert numbers(file) == [1, 2, 3, 10]
    assert numbers(file, since=3) == [10]
    assert opened(files).last_seq == 10
    assert opened(files, seen=2**53 - 1).last_seq == 10 + MAX_SKIP


@pytest.mark.parametrize(
    "data",
    [
        {"level": float("nan")},
        {"level": float("inf")},
        {"text": "\ud800"},
        {"text": "x" * MAX_RESULT_BYTES},
        {"bytes": b""},
        {"deep": json.loads("[" * 70 + "]" * 70)},
    ],
)
def test_what_the_wire_cannot_carry_takes_no_number(data: object) -> None:
    file = opened(disk())
    with pytest.raises((ValueError, TypeError)):
        file.add("a", 0, 1, data)
    file.add("a", 0, 1, {"flat": [[]] * 100})
    file.write()
    assert numbers(file) == [1]


def test_a_line_is_the_message_as_it_is_sent() -> None:
    told: list[Line] = []
    files = disk()
    file = ResultFile(files, PATH, told.extend)
    file.load(0)
    file.add("a", 5, 6, {"x": None})
    assert told == []
    file.write()
    text = (
        '{"type":"result","analyzer":"a","seq":1,"first_frame":5,"frames":6,"final":true,'
        '"data":{"x":null}}'
    )
    assert told == [(1, text)]
    assert files.content(PATH) == text.encode() + b"\n"


def test_synced_results_survive_a_power_cut() -> None:
    files = disk()
    file = filled(files, 4)
    files.sync_directory("/data")  # as the library does for what is in it
    file.sync()
    files.cut_power(survivors=Survivors.NOTHING)
    assert opened(files).last_seq == 4


@given(seed=st.integers(0, 10**6), seen=st.integers(0, 60))
def test_of_what_was_not_synced_a_power_cut_leaves_whole_results_from_the_first(
    seed: int, seen: int
) -> None:
    files = disk()
    file = filled(files, 30)
    file.sync()
    files.sync_directory("/data")
    for number in range(30, 60):
        file.add("ab"[number % 2], number // 2 * 100, 100, {})
        file.write()
    before = files.content(PATH)
    for life in range(3):  # each of them dies again
        files.cut_power(seed + life)
        file = opened(files, seen=seen)
        kept = files.content(PATH)
        assert numbers(file)[:30] == [*range(1, 31)]
        assert before.startswith(kept)
        file.add("a", 0, 1, {"life": life})
        file.write()
        before = files.content(PATH)


@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_written_behind_a_deletion(is_there: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    file = opened(LocalFiles(), str(path))
    if is_there:
        file.add("a", 0, 1, {})
        file.write()
    file.add("a", 1, 1, {})
    file.delete()
    path.unlink(missing_ok=True)  # as the library does
    file.write()
    file.sync()
    assert not path.exists()


class DeletedMeanwhile(LocalFiles):
    """A disk on which a recording is deleted just before a file is opened, and unlinked."""

    def __init__(self) -> None:
        self.before_open: Callable[[], None] = lambda: None

    def open(self, path: str, *, create: bool = False) -> int:
        self.before_open()
        return super().open(path, create=create)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_deletion_while_a_file_is_opened_leaves_none(is_there: bool, tmp_path: Path) -> None:
    path, files = tmp_path / "x.jsonl", DeletedMeanwhile()
    file = opened(files, str(path))
    if is_there:
        file.add("a", 0, 1, {})
        file.write()

    def delete() -> None:
        file.delete()
        path.unlink(missing_ok=True)

    files.before_open = delete
    file.add("a", 1, 1, {})
    file.write()
    assert not path.exists()


def test_a_full_disk_is_an_error_and_what_was_told_is_whole() -> None:
    files, told = disk(), list[Line]()
    file = ResultFile(files, PATH, told.extend)
    file.load(0)
    file.add("a", 0, 1, {})
    file.write()
    files.shorten(lambda size: size // 2, times=1)
    files.fail("write", errno.ENOSPC, at=2)
    file.add("a", 1, 1, {})
    with pytest.raises(OSError, match="No space"):
        file.write()
    assert len(told) == 1
    files.heal()
    assert numbers(opened(files)) == [1]
    assert files.open_descriptors == 0


# ---- readers -------------------------------------------------------------------------


class Desk:
    """A file and its readers, with the threads' part done at once or when told."""

    def __init__(self, path: Path) -> None:
        self.file = ResultFile(LocalFiles(), str(path), self._written)
        self.results = Results(self._read)
        self.reads = 0
        self.file.load(0)
        self.results.loaded(self.file.last_seq)

    def _written(self, lines: Sequence[Line]) -> None:
        self.results.written(lines)

    def _read(self, since: int, offset: int, then: Callable[[list[Line], int], None]) -> None:
        self.reads += 1
        lines, end = self.file.read(since, offset)
        asyncio.get_running_loop().call_soon(then, lines, end)

    def say(self, count: int, size: int = 10) -> None:
        for _ in range(count):
            self.file.add("a", 0, 1, {"text": "x" * size})
        self.file.write()


async def drain(reader: Reader) -> list[int]:
    """Take until nothing more comes."""
    found: list[int] = []
    idle = 0
    while idle < 5:
        texts = reader.take()
        assert sum(map(len, texts)) < 200_000
        found += [json.loads(text)["seq"] for text in texts]
        idle = 0 if texts else idle + 1
        await asyncio.sleep(0)
    return found


def test_a_reader_that_keeps_up_reads_no_file(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        reader = desk.results.reader(0, lambda: None)
        found: list[int] = []
        for _ in range(20):
            desk.say(3, size=500)
            found += [json.loads(text)["seq"] for text in reader.take()]
        assert found == [*range(1, 61)]
        assert desk.reads == 0

    asyncio.run(run())


@pytest.mark.parametrize("since", [0, 1, 700, 1_999, 2_000, 5_000])
def test_a_reader_gets_each_result_behind_its_number_once(since: int, tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        desk.say(2_000, size=300)
        woken = 0

        def wake() -> None:
            nonlocal woken
            woken += 1

        reader = desk.results.reader(since, wake)
        found = await drain(reader)
        desk.say(5)
        found += await drain(reader)
        assert found == [*range(since + 1, 2_006)]
        assert woken

    asyncio.run(run())


def test_a_reader_that_does_not_read_costs_no_memory_and_misses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        reader = desk.results.reader(0, lambda: None)
        for _ in range(300):
            desk.say(4, size=400)
            assert sum(len(text) for _, text in desk.results.recent) <= RECENT_BYTES
        assert await drain(reader) == [*range(1, 1_201)]
        reader.close()
        assert not desk.results.recent

    asyncio.run(run())


def test_a_result_larger_than_what_is_kept_is_read_from_the_file(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        reader = desk.results.reader(0, lambda: None)
        desk.say(3, size=2 * RECENT_BYTES)
        assert await drain(reader) == [1, 2, 3]

    asyncio.run(run())


def test_a_file_that_somebody_removed_holds_nobody_up(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        desk.say(2_000, size=300)
        (tmp_path / "x.jsonl").write_bytes(b"")
        reader = desk.results.reader(0, lambda: None)
        desk.results.over()
        assert await drain(reader) == []
        async with asyncio.timeout(5):
            await reader.all_taken()

    asyncio.run(run())


def test_all_is_taken_only_once_it_is_over_and_everything_was_taken(tmp_path: Path) -> None:
    async def run() -> None:
        desk = Desk(tmp_path / "x.jsonl")
        reader = desk.results.reader(0, lambda: None, ["own"])
        waiting = asyncio.create_task(reader.all_taken())
        desk.say(1)
        desk.results.notice("news")
        assert reader.take()[:2] == ["own", "news"]
        await asyncio.sleep(0)
        assert not waiting.done()
        desk.say(1)
        desk.results.over()
        await asyncio.sleep(0)
        assert not waiting.done()
        reader.take()
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(run())


def test_two_threads_write_one_file_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    told: list[int] = []
    file = ResultFile(
        LocalFiles(), str(tmp_path / "x.jsonl"), lambda lines: told.extend(seq for seq, _ in lines)
    )
    file.load(0)

    def say(name: str) -> None:
        for number in range(500):
            file.add(name, number, 1, {})
            file.write()

    threads = [threading.Thread(target=say, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [*range(1, 1_001)]
    assert numbers(file) == told
