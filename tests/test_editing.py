"""Edits and deletions: durable once answered, whatever the disk and others do meanwhile.

On the real journal, library and recorder, over a disk that forgets what was not synced.
"""

import asyncio
import contextlib
import errno
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from micwire.core.edits import (
    MAX_ADDED_MARKS,
    BadMarkError,
    Change,
    Editable,
    GoneError,
    HeldError,
    LockedError,
    TooManyMarksError,
)
from micwire.core.errors import (
    MicwireError,
    RegisterDamagedError,
    StorageFailedError,
    StorageFullError,
)
from micwire.core.recording import Closed, MarkEntry
from micwire.core.session import MAX_MARKS
from micwire.core.wire import Audio, Mark
from micwire.editing import Deletion
from micwire.events import Happening
from micwire.library.deletions import DeletionLog
from micwire.testing import ForgetfulFiles, Survivors
from tests.faults.memory_files import DATA, FORMATS, Client, Server, Sound, hurry, new_disk, serving

FRAMES = 300
MAX_OPERATIONS = 60


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def new_client(number: int = 1) -> Client:
    return Client(Sound(number, FORMATS[0], FRAMES, marks=[(10, "a")]))


async def speak(server: Server, client: Client, frames: int = FRAMES) -> None:
    """Open and send so much, durably."""
    assert await client.open(server)
    await client.speak(frames)
    async with asyncio.timeout(5):
        while client.told.frames < frames:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


async def record(server: Server, client: Client) -> None:
    """Make a recording that is over."""
    await speak(server, client)
    assert await client.finish()
    client.hang_up()


def titled(title: str) -> Change:
    return lambda before: replace(before, title=title)


def tagged(tag: str) -> Change:
    return lambda before: replace(before, tags=(*before.tags, tag))


def marked(frame: int, label: str) -> Change:
    return lambda before: before.with_mark(MarkEntry(frame, label))


def facts_of(server: Server, recording: str, *, is_durable: bool = False) -> dict[str, Any]:
    """Return what is said of a recording: by its state, or by the sidecar once it is over."""
    state = server.recorder.state(recording)
    if state is not None:
        return Editable.of(state).fields()
    closed = server.library.closed(recording)
    assert closed is not None
    path = f"{DATA}/{closed.path}.json"
    content = server.files.durable_content(path) if is_durable else server.files.content(path)
    assert content is not None
    facts: dict[str, Any] = json.loads(content)
    return facts


def is_gone(server: Server, recording: str) -> bool:
    """Tell whether nothing of a recording is left but that it was deleted."""
    closed = server.library.closed(recording)
    left = [path for path in server.files.paths() if f"_{recording[:8]}" in path]
    notes = [path for path in server.files.paths() if "/deleting/" in path]
    is_deleted = closed is not None and (closed.status, closed.path) == ("deleted", "")
    return is_deleted and left == notes == [] and server.recorder.state(recording) is None


# ---- edits ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("survivors", [Survivors.NOTHING, Survivors.RANDOM])
def test_an_edit_that_was_answered_survives_a_power_cut(
    survivors: Survivors, *, is_over: bool
) -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await (record if is_over else speak)(server, client)
            await server.recorder.edit(recording, titled("Größe"))
            await server.recorder.edit(recording, marked(20, "later"))
            files.stop()
        files.cut_power(3, survivors)
        async with serving(files) as server:
            facts = facts_of(server, recording)
            assert facts["title"] == "Größe"
            assert [mark["label"] for mark in facts["marks"]] == ["a", "later"]

    asyncio.run(run())


@pytest.mark.parametrize("is_over", [False, True])
def test_edits_at_the_same_time_lose_nothing_of_each_other(*, is_over: bool) -> None:
    client = new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(new_disk()) as server:
            await (record if is_over else speak)(server, client)
            tags = [f"tag {number}" for number in range(20)]
            changes = [tagged(tag) for tag in tags]
            await asyncio.gather(*(server.recorder.edit(recording, each) for each in changes))
            assert sorted(facts_of(server, recording)["tags"]) == sorted(tags)

    asyncio.run(run())


def test_an_edit_while_a_recording_ends_is_in_its_sidecar() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            for number in range(1, 9):
                client = new_client(number)
                await speak(server, client)
                finishing = asyncio.create_task(client.finish())
                for _ in range(number):
                    await asyncio.sleep(0)
                await server.recorder.edit(client.sound.recording, titled("said late"))
                assert await finishing
                facts = facts_of(server, client.sound.recording)
                assert facts["status"] == "finished"
                assert facts["title"] == "said late"
                client.hang_up()

    asyncio.run(run())


def test_what_was_edited_while_it_was_recorded_is_in_the_sidecar_at_the_end() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await speak(server, client, 100)
            change = lambda before: replace(  # noqa: E731
                before, title="t", tags=("x",), notes="n", hold=True
            )
            await server.recorder.edit(recording, change)
            client.hang_up()
        async with serving(files) as server:
            await record(server, client)
            facts = facts_of(server, recording)
            assert (facts["title"], facts["tags"], facts["notes"]) == ("t", ["x"], "n")
            assert facts["hold"] is True

    asyncio.run(run())


def test_a_change_that_raises_changes_nothing() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            for number, prepare in ((1, speak), (2, record)):
                client = new_client(number)
                await prepare(server, client)
                before = facts_of(server, client.sound.recording)
                with pytest.raises(BadMarkError, match="300 frames"):
                    await server.recorder.edit(client.sound.recording, marked(301, "beyond"))
                assert facts_of(server, client.sound.recording) == before

    asyncio.run(run())


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_client_at_its_own_limit_uploads_though_people_have_set_marks(
    *, is_removed: bool
) -> None:
    client = new_client()
    recording = client.sound.recording
    own = [Mark(0, str(number)) for number in range(MAX_MARKS)]

    def marks(before: Editable) -> Editable:
        mine = (MarkEntry(0, f"mine {number}") for number in range(MAX_ADDED_MARKS))
        return replace(before, marks=(*before.marks, *mine))

    def unmark(before: Editable) -> Editable:
        return replace(before, marks=tuple(mark for mark in before.marks if mark.label == "a"))

    async def run() -> None:
        async with serving(new_disk()) as server:
            await speak(server, client, 100)
            await server.recorder.edit(recording, marks)
            if is_removed:
                await server.recorder.edit(recording, unmark)
            client.hang_up()
            await speak(server, client, 150)
            for mark in own[1:]:  # it has sent one already
                client.send(mark)
            await client.speak(200)
            client.hang_up()
            await speak(server, client)
            assert await client.finish()
            if not is_removed:
                with pytest.raises(TooManyMarksError):
                    await server.recorder.edit(recording, marked(1, "one more"))

    asyncio.run(run())


def test_a_mark_that_was_taken_out_stays_out_though_its_client_repeats_it() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    def unmark(before: Editable) -> Editable:
        return before.without_mark(MarkEntry(10, "a"))

    async def run() -> None:
        async with serving(files) as server:
            await speak(server, client, 100)
            await server.recorder.edit(recording, unmark)
            client.hang_up()
            await speak(server, client, 200)
            client.send(Mark(10, "a"))
            client.hang_up()
        async with serving(files) as server:
            await record(server, client)
            assert facts_of(server, recording)["marks"] == []
            # Over, it may still be repeated: it is no new one.
            assert await client.open(server)
            client.send(Mark(10, "a"))
            assert client.told.error is None
            client.hang_up()

    asyncio.run(run())


def test_without_room_nothing_is_changed_and_the_edit_may_be_tried_again() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail("write", errno.ENOSPC, where=lambda path: path.endswith(".edit"))
            with pytest.raises(StorageFullError):
                await server.recorder.edit(recording, titled("too much"))
            assert facts_of(server, recording, is_durable=True)["title"] is None
            files.heal()
            await server.recorder.edit(recording, titled("fits"))
            assert facts_of(server, recording, is_durable=True)["title"] == "fits"

    asyncio.run(run())


def test_nobody_edits_what_is_not_there() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            with pytest.raises(GoneError):
                await server.recorder.edit(new_client().sound.recording, titled("x"))
            with pytest.raises(GoneError):
                await server.recorder.delete(new_client().sound.recording, why="", by="")

    asyncio.run(run())


# ---- deletions ------------------------------------------------------------------------


Prepare = Callable[[Server, Client], Awaitable[None]]


async def stop_somewhere_in_a_deletion(
    files: ForgetfulFiles, client: Client, prepare: Prepare, operation: int
) -> bool:
    """Delete, and stop the disk in its n-th operation; return whether it was answered."""
    server = Server(files)
    try:
        await server.recorder.start()
        await prepare(server, client)
        await asyncio.sleep(0.02)
        files.stop_at(files.operations + operation)
        with contextlib.suppress(MicwireError, TimeoutError):
            async with asyncio.timeout(2):
                await server.recorder.delete(client.sound.recording, why="test", by="")
                return True
        return False
    finally:
        files.stop()
        await server.close()


@pytest.mark.parametrize("is_cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("prepare", [speak, record], ids=["streaming", "over"])
def test_a_deletion_is_whole_or_has_not_begun_wherever_it_stops(
    prepare: Prepare, *, is_cut: bool
) -> None:
    async def stop_in(operation: int) -> bool:
        files, client = new_disk(), new_client()
        recording = client.sound.recording
        is_answered = await stop_somewhere_in_a_deletion(files, client, prepare, operation)
        if is_cut:
            files.cut_power(operation)
        else:
            files.kill()
        async with serving(files) as server:
            async with asyncio.timeout(5):
                while (state := server.recorder.state(recording)) is None:
                    if is_gone(server, recording) or prepare is record:
                        break
                    await asyncio.sleep(0.001)
            if is_answered or state is None:
                closed = server.library.closed(recording)
                if is_answered or closed is None or closed.status == "deleted":
                    assert is_gone(server, recording), files.last_call
            # Whatever comes late can't bring it back.
            is_open = await client.open(server)
            if is_gone(server, recording):
                assert not is_open
                assert client.told.error is not None
                assert client.told.error.code == "deleted"
                assert is_gone(server, recording)
            else:
                assert is_open, client.told.error
            client.hang_up()
        return is_answered

    async def run() -> None:
        for operation in range(1, MAX_OPERATIONS):
            if await stop_in(operation):
                return
        raise AssertionError("a deletion never ends")

    asyncio.run(run())


def test_what_is_deleted_while_it_streams_is_gone_at_once_and_its_client_is_told() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            client = new_client()
            await speak(server, client, 100)
            await server.recorder.delete(client.sound.recording, why="test", by="")
            assert server.recorder.state(client.sound.recording) is None
            assert server.recorder.was_deleted(client.sound.recording)
            assert client.told.error is not None
            assert client.told.error.code == "deleted"
            client.send(Audio(100, client.sound.part(100, 200)))
            async with asyncio.timeout(5):
                while not is_gone(server, client.sound.recording):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_a_recording_on_hold_is_not_deleted_before_that_is_lifted() -> None:
    def held(before: Editable) -> Editable:
        return replace(before, hold=True)

    def free(before: Editable) -> Editable:
        return replace(before, hold=False)

    async def run() -> None:
        async with serving(new_disk()) as server:
            for number, prepare in ((1, speak), (2, record)):
                client = new_client(number)
                recording = client.sound.recording
                await prepare(server, client)
                await server.recorder.edit(recording, held)
                with pytest.raises(HeldError):
                    await server.recorder.delete(recording, why="test", by="")
                assert not server.recorder.was_deleted(recording)
                assert facts_of(server, recording)["hold"] is True
                await server.recorder.edit(recording, free)
                await server.recorder.delete(recording, why="test", by="")
                assert server.recorder.was_deleted(recording)
                with pytest.raises(GoneError):
                    await server.recorder.edit(recording, titled("x"))
                with pytest.raises(GoneError):
                    await server.recorder.delete(recording, why="test", by="")
                client.hang_up()

    asyncio.run(run())


def test_its_own_client_cannot_discard_what_is_on_hold() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            client = new_client()
            await speak(server, client, 100)
            await server.recorder.edit(
                client.sound.recording, lambda before: replace(before, hold=True)
            )
            assert not await client.discard()
            assert client.told.error is not None
            assert client.told.error.code == "forbidden"
            await record(server, client)
            assert facts_of(server, client.sound.recording)["frames"] == FRAMES

    asyncio.run(run())


@pytest.mark.parametrize("where", ["deleting", "closed"])
def test_without_room_for_its_note_a_deletion_has_not_happened(where: str) -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail("rename", errno.ENOSPC, where=lambda path: f"/.micwire/{where}/" in path)
            with pytest.raises(StorageFullError):
                await server.recorder.delete(recording, why="test", by="")
            assert not server.recorder.was_deleted(recording)
            assert facts_of(server, recording)["status"] == "finished"
            files.heal()
        async with serving(files) as server:
            assert facts_of(server, recording)["status"] == "finished"
            await server.recorder.delete(recording, why="test", by="")
            assert is_gone(server, recording)

    asyncio.run(run())


def test_files_that_somebody_removed_hinder_no_deletion() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            closed = server.library.closed(recording)
            assert closed is not None
            for suffix in (".wav", ".json"):
                files.unlink(f"{DATA}/{closed.path}{suffix}")
            await server.recorder.delete(recording, why="test", by="")
            assert is_gone(server, recording)

    asyncio.run(run())


@pytest.mark.parametrize("prepare", [speak, record], ids=["streaming", "over"])
def test_a_deletion_is_noted_before_it_happens_and_told_afterwards(prepare: Prepare) -> None:
    noted: list[tuple[Deletion, bool]] = []
    heard: list[Happening] = []
    client = new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(new_disk()) as server:

            def note(deletion: Deletion) -> None:
                closed = server.library.closed(recording)
                noted.append((deletion, closed is not None and closed.status == "deleted"))

            server.recorder._editor._note_deletion = note
            await prepare(server, client)
            server.recorder._events.subscribe(lambda event: heard.append(event.happening))
            await server.recorder.edit(recording, titled("t"))
            await server.recorder.delete(recording, why="because", by="anna")
            async with asyncio.timeout(5):
                while Happening.DELETED not in heard:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.001)
            client.hang_up()

    asyncio.run(run())
    assert noted == [(Deletion(recording, "", "because", "anna"), False)]
    assert heard == [Happening.CHANGED, Happening.DELETED]


def test_what_its_client_discards_is_noted_too() -> None:
    noted: list[Deletion] = []

    async def run() -> None:
        async with serving(new_disk()) as server:
            server.recorder._editor._note_deletion = noted.append
            client = new_client()
            await speak(server, client, 100)
            assert await client.discard()

    asyncio.run(run())
    assert [(note.why, note.by) for note in noted] == [("discarded", "")]


def test_a_sidecar_that_somebody_spoilt_is_not_written_over_and_may_be_deleted() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            closed = server.library.closed(recording)
            assert closed is not None
            path = f"{DATA}/{closed.path}.json"
            for rubbish in (b"{", b"[]", b'{"title": "t"}'):
                descriptor = files.open(path)
                files.truncate(descriptor, 0)
                files.write(descriptor, [rubbish], 0)
                files.close(descriptor)
                with pytest.raises(RegisterDamagedError, match=r"\.json is no sidecar"):
                    await server.recorder.edit(recording, titled("x"))
                assert files.content(path) == rubbish
            await server.recorder.delete(recording, why="test", by="")
            assert is_gone(server, recording)

    asyncio.run(run())


# ---- files that the server may not touch ----------------------------------------------

REFUSALS = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR]


def is_in_day_folder(recording: str) -> Callable[[str], bool]:
    return lambda path: f"_{recording[:8]}" in path and "/.micwire/" not in path


async def until_gone(server: Server, recording: str) -> None:
    async with asyncio.timeout(5):
        while not is_gone(server, recording):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize("prepare", [speak, record], ids=["streaming", "over"])
def test_files_that_can_not_be_removed_are_the_trouble_of_one_recording(
    prepare: Prepare, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, client, other = new_disk(), new_client(), new_client(2)
    recording = client.sound.recording

    async def run() -> None:
        files.fail("unlink", error, where=is_in_day_folder(recording))
        async with serving(files) as server:
            await prepare(server, client)
            await speak(server, other, 100)
            await server.recorder.delete(recording, why="test", by="")
            await speak_on(other)
            assert server.recorder.error is None
            assert server.recorder.was_deleted(recording)
        for _ in range(2):  # it is no trouble for a start, either
            async with serving(files) as server:
                await asyncio.sleep(0.02)
                assert server.recorder.error is None
                closed = server.library.closed(recording)
                assert closed is not None
                assert (closed.status, closed.path) == ("deleted", "")
                assert not await client.open(server)
        monkeypatch.setattr("micwire.library.writer.TRY_AGAIN_S", 0.01)
        async with serving(files) as server:
            await asyncio.sleep(0.02)
            assert not is_gone(server, recording)
            files.heal()
            await until_gone(server, recording)

    async def speak_on(client: Client) -> None:
        await client.speak(FRAMES)
        assert await client.finish()
        client.hang_up()

    asyncio.run(run())


def test_what_could_not_be_removed_goes_at_the_next_start() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail("names", errno.EACCES, where=lambda path: path == f"{DATA}/2026-11-22")
            await server.recorder.delete(recording, why="test", by="")
            assert server.recorder.error is None
            assert not is_gone(server, recording)
        files.heal()
        files.cut_power(1, Survivors.NOTHING)
        async with serving(files) as server:
            assert is_gone(server, recording)

    asyncio.run(run())


def test_a_disk_that_fails_to_remove_a_file_has_failed() -> None:
    files, client = new_disk(), new_client()

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail("unlink", errno.EIO, where=is_in_day_folder(client.sound.recording))
            with pytest.raises(StorageFailedError):
                await server.recorder.delete(client.sound.recording, why="test", by="")
            assert server.recorder.error is not None

    asyncio.run(run())


@pytest.mark.parametrize("call", ["rename", "open"])
@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.EXDEV])
def test_an_edit_that_can_not_be_written_is_refused_and_nothing_has_failed(
    call: str, error: int
) -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail(call, error, where=is_in_day_folder(recording))
            with pytest.raises(LockedError, match="allow it to write"):
                await server.recorder.edit(recording, titled("x"))
            assert server.recorder.error is None
            files.heal()
            assert facts_of(server, recording)["title"] is None
            await server.recorder.edit(recording, titled("y"))
            assert facts_of(server, recording, is_durable=True)["title"] == "y"

    asyncio.run(run())


def test_notes_that_say_nothing_hinder_no_start_and_no_other_deletion() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording
    notes = {"x": b"{", "y": b"", "z": b"[]", "a": b'{"recording": "a"}'}

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            files.fail("unlink", errno.EACCES, where=is_in_day_folder(recording))
            await server.recorder.delete(recording, why="test", by="")
        files.heal()
        for name, content in notes.items():
            descriptor = files.open(f"{DATA}/.micwire/deleting/{name}", create=True)
            files.write(descriptor, [content], 0)
            files.close(descriptor)
        async with serving(files) as server:
            assert server.recorder.error is None
            left = [path for path in files.paths() if "/deleting/" in path]
            assert sorted(path.rpartition("/")[2] for path in left) == sorted(notes)

    asyncio.run(run())


@pytest.mark.parametrize("prepare", [speak, record], ids=["streaming", "over"])
def test_what_was_derived_hinders_no_deletion(prepare: Prepare) -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    def forget(recording: str) -> None:
        raise OSError(errno.EIO, "the peaks are on a bad block")

    async def run() -> None:
        async with serving(files) as server:
            await prepare(server, client)
            server.library._afterwards._on_deleted = forget
            await server.recorder.delete(recording, why="test", by="")
            async with asyncio.timeout(5):
                while (closed := server.library.closed(recording)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert closed.status == "deleted"
            await asyncio.sleep(0.02)
            assert server.recorder.error is None
        async with serving(files) as server:
            assert is_gone(server, recording)

    asyncio.run(run())


def test_headers_that_were_kept_when_it_was_mended_go_with_it() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            closed = server.library.closed(recording)
            assert closed is not None
            for name in (".wav.header.bak", ".wav.header.2.bak"):
                files.close(files.open(f"{DATA}/{closed.path}{name}", create=True))
            await server.recorder.delete(recording, why="test", by="")
            assert is_gone(server, recording)

    asyncio.run(run())


def test_an_open_that_hangs_on_the_disk_does_not_undo_the_deletion_that_overtook_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micwire.opening.ANSWER_TIMEOUT_S", 0.05)
    files, client = new_disk(), new_client()
    recording = client.sound.recording
    may_go_on, has_gone_on = threading.Event(), threading.Event()

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            reopen = server.library.reopen

            def hang(closed: Closed) -> Closed:
                may_go_on.wait()
                try:
                    return reopen(closed)
                finally:
                    has_gone_on.set()

            monkeypatch.setattr(server.library, "reopen", hang)
            assert not await client.open(server)
            await server.recorder.delete(recording, why="test", by="")
            may_go_on.set()
            assert await asyncio.to_thread(has_gone_on.wait, 5)
            assert is_gone(server, recording)
        async with serving(files) as server:
            assert is_gone(server, recording)

    asyncio.run(run())


@pytest.mark.parametrize("prepare", [speak, record], ids=["streaming", "over"])
def test_nobody_waits_for_many_deletions_to_begin_a_recording(prepare: Prepare) -> None:
    may_go_on = threading.Event()

    def note(deletion: Deletion) -> None:
        assert may_go_on.wait(20)

    async def run() -> None:
        async with serving(new_disk()) as server:
            server.recorder._editor._note_deletion = note
            clients = [new_client(number) for number in range(1, 50)]
            for client in clients:
                await prepare(server, client)
            deleting = [
                asyncio.create_task(
                    server.recorder.delete(client.sound.recording, why="test", by="")
                )
                for client in clients
            ]
            await asyncio.sleep(0.05)
            try:
                async with asyncio.timeout(5):
                    await record(server, new_client(50))
                    await server.recorder.edit(new_client(50).sound.recording, titled("t"))
            finally:
                may_go_on.set()
            await asyncio.gather(*deleting)

    asyncio.run(run())


def test_on_a_full_disk_a_recording_is_deleted_and_noted_once_there_is_room() -> None:
    files, client = new_disk(), new_client()
    recording = client.sound.recording
    path = f"{DATA}/.micwire/deletions.jsonl"
    log = DeletionLog(path, files)

    async def run() -> None:
        async with serving(files) as server:
            await record(server, client)
            await asyncio.sleep(0.02)
            server.recorder._editor._note_deletion = lambda deletion: log.append(
                deletion.recording, owner=deletion.owner, why=deletion.why, by=deletion.by
            )
            files.room_bytes = sum(len(files.content(each)) for each in files.paths())
            await server.recorder.delete(recording, why="test", by="")
            assert is_gone(server, recording)
            assert server.recorder.error is None
            lines = (files.durable_content(path) or b"").splitlines()
            assert [json.loads(line)["recording"] for line in lines] == [recording]

    asyncio.run(run())
