"""Which pages may open a socket: foreign ones, null, and names that point here by rebinding."""

import pytest

from micwire.api.origin import OriginRule, is_loopback

HERE = "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("origins", "hosts", "may"),
    [
        ([], [HERE], True),  # a program, not a page
        (["http://127.0.0.1:8000"], [HERE], True),
        (["http://localhost:8000"], ["localhost:8000"], True),
        (["HTTP://LocalHost:8000"], ["LOCALHOST:8000"], True),
        (["http://[::1]:8000"], ["[::1]:8000"], True),
        (["http://[::1]"], ["[::1]"], True),
        (["https://localhost"], ["localhost"], True),
        (["http://127.0.0.1:9000"], [HERE], False),  # another server of this machine
        (["http://localhost:8000"], [HERE], False),
        (["http://evil.example"], [HERE], False),
        (["null"], [HERE], False),
        (["null"], ["null"], False),
        ([""], [HERE], False),
        (["file://"], [HERE], False),
        (["http://evil.example:8000"], ["evil.example:8000"], False),  # rebinding
        (["http://127.evil.example:8000"], ["127.evil.example:8000"], False),
        (["http://localhost.evil.example"], ["localhost.evil.example"], False),
        (["http://127.0.0.1:8000.evil.example"], [HERE], False),
        (["http://127.0.0.1:8000/"], [HERE], False),
        (["http://127.0.0.1:8000", "http://127.0.0.1:8000"], [HERE], False),
        (["http://127.0.0.1:8000"], [], False),
        (["http://127.0.0.1:8000"], [HERE, "evil.example"], False),
        (["https://app.example"], [HERE], True),  # allowed by name
        (["https://app.example:444"], [HERE], False),
        (["http://app.example"], [HERE], False),
        (["https://sub.app.example"], [HERE], False),
    ],
)
def test_a_local_server_hears_its_own_pages_and_the_allowed_ones(
    origins: list[str], hosts: list[str], may: bool
) -> None:
    assert OriginRule(("https://app.example",), is_local=True)(origins, hosts) is may


@pytest.mark.parametrize(
    ("origins", "hosts", "may"),
    [
        (["https://rec.example"], ["rec.example"], True),
        (["http://rec.example:8000"], ["rec.example:8000"], True),
        (["https://other.example"], ["rec.example"], False),
        (["null"], ["rec.example"], False),
        (["https://rec.example", "https://rec.example"], ["rec.example"], False),
        ([], [], True),
    ],
)
def test_a_public_server_hears_the_pages_of_its_own_host(
    origins: list[str], hosts: list[str], may: bool
) -> None:
    assert OriginRule((), is_local=False)(origins, hosts) is may


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("127.evil.example", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local


@pytest.mark.parametrize(
    ("origins", "hosts", "may"),
    [
        (["https://mic.example"], ["mic.example"], True),
        (["https://mic.example"], ["127.0.0.1:8000"], True),  # a proxy that changes the name
        ([], ["mic.example"], True),
        (["https://mic.example:8443"], ["mic.example"], False),
        (["https://evil.example"], ["mic.example"], False),
        (["https://evil.example"], ["evil.example"], False),
    ],
)
def test_behind_a_proxy_the_public_name_is_one_of_ours(
    origins: list[str], hosts: list[str], may: bool
) -> None:
    rule = OriginRule((), is_local=True, public_url="https://MIC.example/rec")
    assert rule(origins, hosts) is may
    assert rule.is_own_name(["mic.example"])
    assert not rule.is_own_name(["evil.example"])
