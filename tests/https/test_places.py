"""Where a server can be called, and the code that a phone reads from a terminal."""

import re

import pytest
import segno

from micwire.https import places

PRIVATE = ["192.168.1.5", "10.0.0.5", "fd00::2"]


def test_a_server_on_loopback_has_no_other_names() -> None:
    assert (
        places.names("127.0.0.1") == places.names("localhost") == ["localhost", "127.0.0.1", "::1"]
    )
    assert places.phone_addresses("127.0.0.1", 8000) == []
    assert places.phone_addresses("localhost", 8000) == []


def test_a_server_on_every_address_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "addresses", lambda: PRIVATE)
    monkeypatch.setattr("socket.gethostname", lambda: "Studio")
    assert places.names("0.0.0.0") == [
        *places.names("localhost"),
        "studio",
        "studio.local",
        *PRIVATE,
    ]
    assert places.phone_addresses("0.0.0.0", 8443) == [
        "https://192.168.1.5:8443",
        "https://10.0.0.5:8443",
        "https://[fd00::2]:8443",
    ]


def test_a_server_on_one_address_has_that_one() -> None:
    assert places.names("192.168.1.5")[3:] == ["192.168.1.5"]
    assert places.phone_addresses("192.168.1.5", 80) == ["https://192.168.1.5:80"]


def test_the_machines_addresses_can_all_stand_in_a_url() -> None:
    assert not [one for one in places.addresses() if "%" in one or one.startswith(("127.", "fe80"))]


def test_a_terminal_is_shown_the_way_as_a_code_that_a_phone_reads() -> None:
    address = "https://192.168.1.5:8000/#token=" + "x" * 43
    shown = "\n".join(places.qr_code(address)) + "\n"
    code = [[bool(dot) for dot in row] for row in segno.make(address, error="l").matrix]
    assert modules(shown)[: len(code)] == code


def modules(shown: str) -> list[list[bool]]:
    """Read a code back from half blocks: two rows a line, dark where nothing is drawn."""
    rows: list[list[bool]] = []
    for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines():
        rows += [[dot in dark for dot in line] for dark in (" ▄", " ▀")]
    return [row[2:-2] for row in rows[2:]]


def test_the_greeting_names_every_address_and_how_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "addresses", lambda: PRIVATE)
    link = "{}/#token=x".format
    text = "\n".join(places.greeting("0.0.0.0", 8000, link, "AB:CD", is_terminal=False))
    for part in (
        "https://192.168.1.5:8000/#token=x",
        "https://192.168.1.5:8000/ca.crt",
        "https://10.0.0.5:8000/#token=x",
        "AB:CD",
        "Android",
        "iPhone",
    ):
        assert part in text
    assert "\x1b" not in text, "a log is no terminal"
    assert "--host 0.0.0.0" in "\n".join(places.greeting("::1", 8000, link, "AB", is_terminal=True))
