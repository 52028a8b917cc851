"""The log of deletions, on a disk that forgets what was not synced."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from micwire.core.interfaces import Files
from micwire.files import LocalFiles
from micwire.library.deletions import DeletionLog
from micwire.testing import ForgetfulFiles

PATH = "/data/.micwire/deletions.jsonl"
NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)


def disk() -> ForgetfulFiles:
    files = ForgetfulFiles("/data")
    files.make_directory("/data/.micwire")
    files.sync_directory("/data")
    return files


def log_on(files: Files, path: str = PATH) -> DeletionLog:
    return DeletionLog(path, files, lambda: NOW)


def test_a_line_says_what_when_why_and_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "deletions.jsonl"
    recording = str(uuid4())
    log_on(LocalFiles(), str(path)).append(recording, owner="ana", why="asked", by="bob")
    assert json.loads(path.read_text()) == {
        "recording": recording,
        "owner": "ana",
        "at": "2026-11-24T14:00:00.000+00:00",
        "why": "asked",
        "by": "bob",
    }


def test_a_line_is_durable_when_it_is_told(tmp_path: Path) -> None:
    files = disk()
    log = log_on(files)
    for number in range(3):
        log.append(f"{number}", owner="", why="asked", by="")
        content = files.durable_content(PATH)
        assert content is not None
        assert len(content.splitlines()) == number + 1


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "deletions.jsonl"
    path.write_text('{"recording": "a"}\n{"recor')
    log_on(LocalFiles(), str(path)).append("b", owner="", why="asked", by="")
    first, torn, last, nothing = path.read_text().split("\n")
    assert (json.loads(first)["recording"], torn, nothing) == ("a", '{"recor', "")
    assert json.loads(last)["recording"] == "b"
