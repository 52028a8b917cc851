"""`spec/wire.md` and the code say the same: types, fields, codes and limits."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from micwire.core import wire
from micwire.core.audio import MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Encoding
from micwire.core.errors import CLOSE_CODES

SPEC = (Path(__file__).parents[1] / "spec" / "wire.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SPEC.splitlines()
    if line.startswith("| ")
]
MESSAGES = [*wire.ClientMessage.__args__, *wire.ServerMessage.__args__]


def row_of(name: str) -> list[str]:
    rows = [row for row in ROWS if row[0] in (f"`{name}`", f"{name} (binary)")]
    assert len(rows) == 1, f"{name} has {len(rows)} rows"
    return rows[0]


def test_the_table_of_errors_is_the_table_in_the_code() -> None:
    codes = {row[0].strip("`"): int(row[1]) for row in ROWS if re.fullmatch(r"4\d\d\d", row[1])}
    assert codes == CLOSE_CODES


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_field_of_a_message_is_in_its_row(message: type[wire.ClientMessage]) -> None:
    row = row_of(message.__name__.lower())
    if message is not wire.Audio:
        assert {field.name for field in fields(message)} <= set(re.findall(r"`(\w+)`", row[1]))


def test_the_tables_name_no_message_that_the_code_does_not_know() -> None:
    start, end = SPEC.index("### Client to server"), SPEC.index("### Errors")
    named = set(re.findall(r"^\| (?:`(\w+)`|(audio) )", SPEC[start:end], re.MULTILINE))
    names = {quoted or plain for quoted, plain in named}
    assert names == {message.__name__.lower() for message in MESSAGES}


def test_the_limits_are_those_of_the_code() -> None:
    assert wire.MAX_COUNT == 2**53 - 1
    assert f"{MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} Hz. Channels 1 to {MAX_CHANNELS}." in SPEC
    assert f"Encodings: {', '.join(f'`{encoding}`' for encoding in Encoding)}." in SPEC
    assert f"label up to {wire.MAX_LABEL_CHARACTERS:,} characters" in SPEC
    assert f"more than {wire.MAX_NESTING} deep" in SPEC
    assert f"over {wire.MAX_OPEN_BYTES // 1024} KiB before `opened`" in SPEC
    causes = row_of("gap")[1].partition("(")[2].partition(")")[0]
    assert set(re.findall(r"`(\w+)`", causes)) == wire.GAP_CAUSES
