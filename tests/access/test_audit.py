"""The audit log: in order, in whole lines, in a few files of a bounded size."""

import json
import os
import time
from pathlib import Path

import pytest

from micwire.access import audit
from micwire.access.audit import KEPT_FILES, Audit


def unexpected(error: OSError) -> None:
    raise AssertionError(error)


def lines(path: Path) -> list[int]:
    """Return the numbers that a log holds."""
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


def test_what_is_noted_is_there_in_order_and_for_its_owner_only(tmp_path: Path) -> None:
    log = Audit(tmp_path / "deep" / "audit.jsonl", unexpected)
    for number in range(3_000):
        log.note("tested", number=number)
    log.close()
    assert lines(tmp_path / "deep" / "audit.jsonl") == list(range(3_000))
    assert os.stat(tmp_path / "deep" / "audit.jsonl").st_mode & 0o777 == 0o600


def test_a_log_that_nobody_wrote_into_is_no_file(tmp_path: Path) -> None:
    Audit(tmp_path / "audit.jsonl", unexpected).close()
    assert list(tmp_path.iterdir()) == []


def test_old_files_are_numbered_and_the_oldest_falls_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_BYTES", 1_000)
    for number in range(100):
        log = Audit(tmp_path / "audit.jsonl", unexpected)
        log.note("tested", number=number)
        log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT_FILES
    assert all(path.stat().st_size <= 1_000 for path in files)
    kept = [*(tmp_path / f"audit.{n}.jsonl" for n in range(KEPT_FILES - 1, 0, -1))]
    numbers = [number for path in [*kept, tmp_path / "audit.jsonl"] for number in lines(path)]
    assert numbers == list(range(numbers[0], 100))


def test_a_log_that_cannot_be_written_is_told_once_and_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.mkdir()
    failures: list[OSError] = []
    log = Audit(path, failures.append)
    deadline = time.monotonic() + 10
    for number in range(3):
        log.note("tested", number=number)
        while not failures:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)
    path.rmdir()
    log.note("tested", number=3)
    log.close()
    assert len(failures) == 1
    assert lines(path) == [3]
