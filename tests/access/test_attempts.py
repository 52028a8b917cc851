"""How long somebody has to wait who fails again and again."""

from hypothesis import given
from hypothesis import strategies as st

from micwire.access.attempts import (
    FREE_BY_ACCOUNT,
    FREE_BY_ADDRESS,
    KEPT,
    LONGEST_BY_ACCOUNT_S,
    LONGEST_BY_ADDRESS_S,
    Attempts,
    network_of,
)


def test_the_first_few_attempts_are_free_then_each_waits_longer() -> None:
    attempts, now = Attempts(), 1_000.0
    for _ in range(FREE_BY_ACCOUNT):
        assert attempts.begin("anna", "192.0.2.1", now) == 0
    waits = []
    for _ in range(10):
        wait_s = attempts.begin("anna", "192.0.2.1", now)
        waits.append(wait_s)
        now += wait_s
        assert attempts.begin("anna", "192.0.2.1", now) == 0
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_BY_ACCOUNT_S


def test_an_address_that_tries_many_names_waits_too() -> None:
    attempts = Attempts()
    for number in range(FREE_BY_ADDRESS):
        assert attempts.begin(f"user{number}", "192.0.2.1", 0.0) == 0
    assert attempts.begin("another", "192.0.2.1", 0.0) > 0
    assert attempts.begin("another", "192.0.2.2", 0.0) == 0


def test_success_forgets_the_failures_of_the_account_only() -> None:
    attempts = Attempts()
    for _ in range(FREE_BY_ACCOUNT):
        attempts.begin("anna", "192.0.2.1", 0.0)
    attempts.succeeded("anna", "192.0.2.1")
    assert attempts.begin("anna", "192.0.2.1", 0.0) == 0


def test_what_is_not_an_attempt_does_not_lengthen_the_wait() -> None:
    attempts = Attempts()
    for _ in range(FREE_BY_ACCOUNT):
        attempts.begin("anna", "192.0.2.1", 0.0)
    for _ in range(1_000):
        assert attempts.begin("anna", "192.0.2.1", 0.5) == 0.5
    assert attempts.begin("anna", "192.0.2.1", 1.0) == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(0, 5_000))))
def test_nobody_ever_waits_longer_than_the_longest(steps: list[tuple[str, str, float]]) -> None:
    attempts, now = Attempts(), 0.0
    for account, address, pause_s in steps:
        now += pause_s
        assert 0 <= attempts.begin(account, address, now) <= LONGEST_BY_ADDRESS_S


def test_memory_is_bounded_however_many_names_are_tried() -> None:
    attempts = Attempts()
    for number in range(KEPT):
        attempts.begin(f"user{number}", f"2001:db8:{number % 60_000:x}::1", 0.0)
    assert len(attempts._counts) <= KEPT


def test_this_machine_is_no_address_as_everybody_may_come_from_a_proxy_on_it() -> None:
    attempts = Attempts()
    for number in range(10 * FREE_BY_ADDRESS):
        assert attempts.begin(f"user{number}", "127.0.0.1", 0.0) == 0
    for _ in range(FREE_BY_ACCOUNT):
        attempts.begin("anna", "127.0.0.1", 0.0)
    assert attempts.begin("anna", "127.0.0.1", 0.0) > 0


def test_a_household_is_one_address() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("not an address") == "not an address"


def test_on_a_socket_for_both_kinds_an_address_of_ipv4_is_its_own() -> None:
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("::ffff:192.0.2.2") == "192.0.2.2"
    assert network_of("::ffff:127.0.0.1") == ""


def test_others_do_not_lock_out_who_signed_in_from_there_before() -> None:
    attempts = Attempts()
    assert attempts.begin("anna", "192.0.2.1", 0.0) == 0
    attempts.succeeded("anna", "192.0.2.1")
    for number in range(FREE_BY_ACCOUNT):
        attempts.begin("anna", f"198.51.100.{number}", 0.0)
    assert attempts.begin("anna", "198.51.100.77", 0.0) > 0
    for _ in range(FREE_BY_ACCOUNT):
        assert attempts.begin("anna", "192.0.2.1", 0.0) == 0
    assert attempts.begin("anna", "192.0.2.1", 0.0) > 0, "its own failures count"
