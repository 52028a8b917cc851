"""`/metrics`: what the recorder counts, in the text format of Prometheus.

The recorder keeps plain numbers; they are read when somebody asks. Nothing here names a
recording, a person or an address.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers at one instant."""

    open_recordings: int
    connections: int
    unacked_frames: int
    journal_bytes: int
    frames_received: int
    frames_durable: int
    frames_lost: int
    commits: int
    commit_seconds: float
    errors: Mapping[str, int]


class _Reader(Collector):
    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        now = self._read()
        for name, help_text, value in (
            ("open_recordings", "Recordings that are not finished.", now.open_recordings),
            ("connections", "Links to clients.", now.connections),
            ("unacknowledged_frames", "Frames taken and not yet durable.", now.unacked_frames),
            ("journal_bytes", "Size of the journal's segments.", now.journal_bytes),
        ):
            yield GaugeMetricFamily(f"micwire_{name}", help_text, value=value)
        for name, help_text, count in (
            ("frames_received", "Frames taken from clients.", now.frames_received),
            ("frames_durable", "Frames that survive a power cut.", now.frames_durable),
            ("frames_lost", "Frames that clients declared lost.", now.frames_lost),
            ("commits", "Syncs of the journal.", now.commits),
            ("commit_seconds", "Time spent writing and syncing the journal.", now.commit_seconds),
        ):
            yield CounterMetricFamily(f"micwire_{name}", help_text, value=count)
        errors = CounterMetricFamily(
            "micwire_errors", "Connections closed with an error, by code.", labels=["code"]
        )
        for code, times in sorted(now.errors.items()):
            errors.add_metric([code], times)
        yield errors


class Metrics:
    """The text of `/metrics`.

    Args:
        read: Returns the numbers as they are now.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Reader(read))

    def text(self) -> bytes:
        """Return the numbers as they are now."""
        return generate_latest(self._registry)

    def response(self) -> Response:
        """Return them to whoever may have them."""
        return Response(self.text(), media_type=self.content_type)
