"""What a file is called that is sent, whatever it and its recording are called here."""

import re

import pytest

from micwire.api.names import disposition, file_stem

HOSTILE = [
    'a"; filename="evil.exe', "a\r\nSet-Cookie: a=b", "a\\..\\b", "..", "...", "a\x00b",
    "..\\..\\evil", "a%0d%0ab", "a\u202egpj.exe", "Ü\"\r\nber", "\u2028", "a;b", "x\udcffy",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/data/{}/x.wav", "/data/2026-11-22/{}.wav", "/data/{}.wav"])
def test_no_name_of_a_file_gets_out_of_a_header_or_a_zip(name: str, path: str) -> None:
    stem = file_stem(path.format(name), {"title": name})
    assert re.fullmatch(r"[\w-]+", stem)
    header = disposition("attachment", f"{stem}.wav")
    assert re.fullmatch(
        r'attachment; filename="[\w-]+\.wav"(; filename\*=UTF-8\'\'[\w%-]+\.wav)?', header, re.ASCII
    )


def test_a_name_of_which_nothing_stays_is_one_all_the_same() -> None:
    assert file_stem("/_/-.wav", {}) == "recording"
