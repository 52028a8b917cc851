"""Listeners hear everything, in order, and are no trouble to each other."""

from structlog.testing import capture_logs

from micwire.events import Event, Events, Happening

STARTED = Event(Happening.STARTED, "a", "", "2026-11-22T18:13:05.000+00:00")
DELETED = Event(Happening.DELETED, "a", "", "2026-11-22T18:13:06.000+00:00")


def test_each_listener_hears_each_event_until_it_ends() -> None:
    events, first, second = Events(), list[Event](), list[Event]()
    end = events.subscribe(first.append)
    events.subscribe(second.append)
    events.publish(STARTED)
    end()
    end()
    events.publish(DELETED)
    assert first == [STARTED]
    assert second == [STARTED, DELETED]


def test_a_listener_that_fails_costs_the_others_nothing() -> None:
    events, heard = Events(), list[Event]()

    def fail(event: Event) -> None:
        raise ValueError("canary")

    events.subscribe(fail)
    events.subscribe(heard.append)
    with capture_logs() as logs:
        events.publish(STARTED)
    assert heard == [STARTED]
    assert "canary" in logs[0]["reason"]
