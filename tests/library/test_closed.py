"""The register of recordings that are over: found by id, whole or not at all, for ever."""

import errno

import pytest

from micwire.core.audio import Encoding, Format
from micwire.core.errors import StorageFailedError
from micwire.core.recording import Closed
from micwire.library.closed import ClosedRegister, replace_file
from micwire.testing import ForgetfulFiles, Survivors

ID = "7f3a9c2e-0000-4000-8000-0000000000aa"
CLOSED = Closed(
    ID, "finished", "c0ffee", Format(Encoding.S16, 48_000, 2), "2026/x", 3, 10, "ab" * 32, None
)
FURTHER = Closed(
    ID, "finished", "c0ffee", Format(Encoding.S16, 48_000, 2), "2026/x", 4, 10, "ab" * 32, None
)


def new_files() -> ForgetfulFiles:
    files = ForgetfulFiles("/data")
    for directory in ("/data/closed", "/data/scratch"):
        files.make_directory(directory)
    files.sync_directory("/data")
    return files


def register(files: ForgetfulFiles) -> ClosedRegister:
    return ClosedRegister("/data/closed", "/data/scratch", files)


def test_what_is_not_there_is_not_over() -> None:
    assert register(new_files()).get(ID) is None


def test_an_entry_survives_the_loss_of_all_else() -> None:
    files = new_files()
    register(files).put(CLOSED)
    files.cut_power(survivors=Survivors.NOTHING)
    assert register(files).get(ID) == CLOSED
    assert register(files).get(ID.replace("aa", "ab")) is None


def test_a_crash_while_it_is_replaced_leaves_the_old_entry_or_the_new_one() -> None:
    for operation in range(1, 12):
        for seed in range(30):
            files = new_files()
            register(files).put(CLOSED)
            files.stop_at(files.operations + operation)
            try:
                register(files).put(FURTHER)
                is_put = True
            except (OSError, StorageFailedError):
                is_put = False
            files.cut_power(seed)
            assert register(files).get(ID) in ([FURTHER] if is_put else [CLOSED, FURTHER])


def test_a_directory_that_a_dead_process_made_is_not_taken_for_durable() -> None:
    files = new_files()
    files.make_directory(f"/data/closed/{ID[:2]}")
    files.kill()
    register(files).put(CLOSED)
    files.cut_power(survivors=Survivors.NOTHING)
    assert register(files).get(ID) == CLOSED


@pytest.mark.parametrize("call", ["make_directory", "create", "truncate", "write", "rename"])
def test_without_room_nothing_is_altered_and_it_may_be_tried_again(call: str) -> None:
    files = new_files()
    first = register(files)
    first.put(CLOSED)
    second = register(files)
    files.fail(call, errno.ENOSPC, times=1)
    with pytest.raises(OSError, match="No space"):
        second.put(FURTHER)
    assert second.get(ID) == CLOSED
    second.put(FURTHER)
    assert second.get(ID) == FURTHER
    assert files.open_descriptors == 0


@pytest.mark.parametrize("call", ["sync", "sync_directory"])
def test_a_failed_sync_is_final(call: str) -> None:
    files = new_files()
    files.fail(call, errno.ENOSPC, times=1)
    with pytest.raises(StorageFailedError):
        register(files).put(CLOSED)


def test_a_directory_that_could_not_be_opened_may_be_tried_again() -> None:
    files = new_files()
    closed = register(files)
    files.fail("sync_directory", errno.EMFILE, times=2)
    for _ in range(2):
        with pytest.raises(OSError, match="Too many open files"):
            closed.put(CLOSED)
    closed.put(CLOSED)
    files.cut_power(survivors=Survivors.NOTHING)
    assert register(files).get(ID) == CLOSED


def test_a_file_is_replaced_whole_whatever_the_scratch_file_held() -> None:
    files = new_files()
    for text in ("a long text, much longer than the next", "short", ""):
        scratch = files.open("/data/scratch/x", create=True)
        files.write(scratch, [b"rubbish" * 100], 0)
        files.close(scratch)
        replace_file(files, "/data/file", "/data/scratch/x", text)
        assert files.content("/data/file") == text.encode()
    assert files.names("/data/scratch") == []
