"""Tickets are good once, for half a minute."""

import threading

from micwire.access.tickets import LIFE_S, MOST, Tickets
from micwire.core.people import Person

ANNA = Person("anna")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_a_hundred_uses_at_once_exactly_one_works() -> None:
    for _ in range(20):
        tickets = Tickets()
        ticket = tickets.issue(ANNA)
        together = threading.Barrier(100)
        worked: list[Person | None] = []

        def use(
            tickets: Tickets = tickets,
            ticket: str = ticket,
            together: threading.Barrier = together,
            worked: list[Person | None] = worked,
        ) -> None:
            together.wait()
            worked.append(tickets.redeem(ticket))

        threads = [threading.Thread(target=use) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [person for person in worked if person is not None] == [ANNA]


def test_a_ticket_is_worthless_after_its_time_and_never_before() -> None:
    clock = Clock()
    tickets = Tickets(clock)
    early, late = tickets.issue(ANNA), tickets.issue(ANNA)
    clock.now += LIFE_S - 0.001
    assert tickets.redeem(early) == ANNA
    clock.now += 0.001
    assert tickets.redeem(late) is None


def test_what_is_no_ticket_is_nobody() -> None:
    tickets = Tickets()
    tickets.issue(ANNA)
    assert tickets.redeem("") is None
    assert tickets.redeem("x" * 43) is None
    assert tickets.redeem("\ud800") is None


def test_those_of_one_user_can_be_made_worthless() -> None:
    tickets = Tickets()
    annas, bertas = tickets.issue(ANNA), tickets.issue(Person("berta"))
    tickets.forget("anna")
    assert tickets.redeem(annas) is None
    assert tickets.redeem(bertas) == Person("berta")


def test_memory_is_bounded_and_the_latest_are_good() -> None:
    tickets = Tickets()
    first = tickets.issue(ANNA)
    for _ in range(MOST):
        last = tickets.issue(ANNA)
    assert len(tickets._waiting) == MOST
    assert tickets.redeem(first) is None
    assert tickets.redeem(last) == ANNA
