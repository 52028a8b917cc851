"""Where a server can be called, and the code that a phone reads from a terminal."""

import pytest

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


def test_the_code_is_made_of_what_a_terminal_can_show() -> None:
    code = places.qr_code("https://192.168.1.5:8000/#token=" + "x" * 43)
    lines = code.splitlines()
    assert len(lines) < 30
    assert "█" in code or "▀" in code
