"""Delivers what happens to recordings, beside the recorder and never in its way.

One thread keeps the queue, and one for each address posts, so that a receiver that hangs
holds up no other. A message is delivered at least once: whoever gets one twice knows it by
its id.
"""

import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog

from micwire.events import Event
from micwire.webhooks.message import Delivery, WebhookError, body_of, headers_of
from micwire.webhooks.post import PostError, check_url, post
from micwire.webhooks.queue import DeliveryQueue

DELAYS_S = (5.0, 30.0, 120.0, 900.0, 3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0, 86_400.0)
"""So long after each failed try the next one comes, a little more or less; then none, after
about three days."""
_JITTER = 0.1
_CLOSE_TIMEOUT_S = 2.0

Describe = Callable[[Event], Mapping[str, object]]
"""Returns what is told of an event beside what happened and when; may block."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a try went: a status, or why there is none."""

    delivery: Delivery
    status: int
    trouble: str = ""


class Webhooks:
    """Addresses that hear what happens.

    Args:
        waiting: The queue on disk.
        urls: Where to; each hears everything.
        happenings: What is told.
        secret: Signs every message.
        describe: What is told of an event.
        is_private_allowed: Addresses of this machine and of local networks are allowed.
        delays_s: How long to wait after each failed try.
    """

    def __init__(
        self,
        waiting: DeliveryQueue,
        urls: Sequence[str],
        happenings: Sequence[str],
        secret: bytes,
        describe: Describe,
        *,
        is_private_allowed: bool = False,
        delays_s: Sequence[float] = DELAYS_S,
    ) -> None:
        self._waiting = waiting
        self._urls = tuple(urls)
        self._happenings = frozenset(happenings)
        self._secret = secret
        self._describe = describe
        self._is_private_allowed = is_private_allowed
        self._delays_s = tuple(delays_s)
        self._inbox: queue.SimpleQueue[Event | _Outcome | None] = queue.SimpleQueue()
        self._outboxes: dict[str, queue.SimpleQueue[Delivery]] = {}
        self._under_way: set[str] = set()
        """Addresses that are being posted to."""
        self._log = structlog.get_logger("micwire")
        self._keeper = threading.Thread(target=self._keep, name="micwire webhooks", daemon=True)

    def start(self) -> None:
        """Go on with what an earlier process left. Blocks.

        Raises:
            WebhookError: They may not go to one of the addresses.
            OSError: The queue's directory can't be used.
        """
        for url in self._urls:
            try:
                check_url(url, is_private_allowed=self._is_private_allowed)
            except ValueError as error:
                raise WebhookError(f"a webhook can't be used: {error}") from None
        self._waiting.load()
        latest = time.time() + self._delays_s[-1] if self._delays_s else time.time()
        for delivery in tuple(self._waiting.waiting.values()):
            if delivery.due > latest:  # the clock was wrong then, or is now
                self._waiting.waiting[delivery.id] = replace(delivery, due=latest)
        self._keeper.start()

    def take(self, event: Event) -> None:
        """Deliver an event; a listener for `Events`."""
        if event.happening in self._happenings:
            self._inbox.put(event)

    def close(self) -> None:
        """End; what waits is delivered by the next process. Blocks."""
        self._inbox.put(None)
        self._keeper.join(_CLOSE_TIMEOUT_S)

    # ---- the thread of the queue ---------------------------------------------------

    def _keep(self) -> None:
        while True:
            self._hand_out()
            try:
                news = self._inbox.get(timeout=self._pause_s())
            except queue.Empty:
                continue
            try:
                match news:
                    case None:
                        return
                    case Event():
                        self._accept(news)
                    case _Outcome():
                        self._settle(news)
            except Exception as error:  # a full disk, a sidecar that is gone: not the end of us
                self._log.error("webhook lost", reason=repr(error))

    def _pause_s(self) -> float | None:
        """Return how long nothing is due; None for ever."""
        due = [
            delivery.due
            for delivery in self._waiting.waiting.values()
            if delivery.url not in self._under_way
        ]
        return max(0.0, min(due) - time.time()) if due else None

    def _accept(self, event: Event) -> None:
        body = body_of(event.happening, event.at, self._describe(event))
        for url in self._urls:
            # By names that sort as they came.
            name = f"{time.time_ns():020}-{uuid.uuid4().hex[:16]}"
            if not self._waiting.put(Delivery(name, url, body, 0, time.time())):
                self._log.error("webhook lost", reason="too many wait", to=_host(url))

    def _hand_out(self) -> None:
        """Let each address that is free have its next message."""
        now = time.time()
        for delivery in sorted(self._waiting.waiting.values(), key=lambda each: each.due):
            if delivery.due > now:
                return
            if delivery.url not in self._under_way:
                self._under_way.add(delivery.url)
                self._outbox(delivery.url).put(delivery)

    def _outbox(self, url: str) -> "queue.SimpleQueue[Delivery]":
        if url not in self._outboxes:
            outbox = self._outboxes[url] = queue.SimpleQueue()
            threading.Thread(
                target=self._post_all, args=(outbox,), name="micwire webhook", daemon=True
            ).start()
        return self._outboxes[url]

    def _settle(self, outcome: _Outcome) -> None:
        delivery = outcome.delivery
        self._under_way.discard(delivery.url)
        if 200 <= outcome.status < 300:
            self._waiting.remove(delivery)
            return
        reason = outcome.trouble or f"HTTP {outcome.status}"
        is_last = delivery.tries >= len(self._delays_s)
        if is_last or outcome.status == HTTPStatus.GONE:
            self._waiting.remove(delivery)
            self._log.error("webhook given up", to=_host(delivery.url), reason=reason)
            return
        delay_s = self._delays_s[delivery.tries] * random.uniform(1 - _JITTER, 1 + _JITTER)
        self._log.warning("webhook failed", to=_host(delivery.url), reason=reason)
        self._waiting.put(replace(delivery, tries=delivery.tries + 1, due=time.time() + delay_s))

    # ---- the threads of the addresses ------------------------------------------------

    def _post_all(self, outbox: "queue.SimpleQueue[Delivery]") -> None:
        while True:
            self._inbox.put(self._try(outbox.get()))

    def _try(self, delivery: Delivery) -> _Outcome:
        try:
            status = post(
                delivery.url,
                delivery.body.encode(),
                headers_of(delivery, self._secret, int(time.time())),
                is_private_allowed=self._is_private_allowed,
            )
        except PostError as error:
            return _Outcome(delivery, 0, str(error))
        return _Outcome(delivery, status)


def _host(url: str) -> str:
    """Return what of an address may be in a log: paths of webhooks are often secrets."""
    return str(urlsplit(url).hostname)
