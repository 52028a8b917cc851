"""The numbers of `/metrics` and the word of `/healthz`, against what a test has sent."""

import asyncio
import json
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from micwire.api.metrics import Metrics, Snapshot
from micwire.app import MicwireApp
from micwire.config import Config
from tests.faults.harness import (
    Gap,
    Microphone,
    Server,
    audio,
    dial,
    refusal,
    wait_ack,
)


def numbers(text: str) -> dict[str, float]:
    """Return each sample of the text by its name and its error code."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_number_is_named_once_and_has_its_value() -> None:
    snapshot = Snapshot(1, 2, 3, 4, 5, 6, 7, 8, 9.5, {"quota": 10, "deleted": 11})
    found = numbers(Metrics(lambda: snapshot).text().decode())
    assert found == {
        "micwire_open_recordings": 1,
        "micwire_connections": 2,
        "micwire_unacknowledged_frames": 3,
        "micwire_journal_bytes": 4,
        "micwire_frames_received_total": 5,
        "micwire_frames_durable_total": 6,
        "micwire_frames_lost_total": 7,
        "micwire_commits_total": 8,
        "micwire_commit_seconds_total": 9.5,
        "micwire_errors_total quota": 10,
        "micwire_errors_total deleted": 11,
    }


def test_a_server_counts_what_it_was_sent(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as http:

            async def now() -> dict[str, float]:
                reply = await http.get("/metrics")
                assert reply.headers["content-type"].startswith("text/plain; version=")
                return numbers(reply.text)

            before = await now()
            assert before["micwire_connections"] == before["micwire_open_recordings"] == 0
            microphone = Microphone(server.port, 9_000, gaps=(Gap(1_000, 500),))
            socket = await dial(server.port)
            await microphone.open(socket)
            data = microphone.signal.data
            await socket.send(audio(0, data(0, 1_000)))
            await socket.send(audio(0, data(0, 1_000)))  # a repetition counts once
            gap = {"first_frame": 1_000, "frames": 500, "cause": "overflow", "exact": True}
            await socket.send(json.dumps({"type": "gap"} | gap))
            microphone.sent = 1_500
            microphone.acked = await wait_ack(socket, 1_500)
            found = await now()
            assert found["micwire_connections"] == found["micwire_open_recordings"] == 1
            assert found["micwire_unacknowledged_frames"] == 0
            assert found["micwire_frames_received_total"] == 1_000
            assert found["micwire_frames_lost_total"] == 500
            assert found["micwire_frames_durable_total"] == 1_500
            assert found["micwire_commits_total"] > before["micwire_commits_total"]
            assert found["micwire_journal_bytes"] >= 1 << 20
            await socket.send("{")
            assert (await refusal(socket)).code == "bad-message"
            await microphone.record()
            await asyncio.sleep(0.2)
            found = await now()
            assert found["micwire_connections"] == found["micwire_open_recordings"] == 0
            assert found["micwire_errors_total bad-message"] == 1
            # Acknowledged frames that a client sends twice, now and then, are not counted.
            assert found["micwire_frames_received_total"] == 8_500
            reply = await http.get("/healthz")
            assert (reply.status_code, reply.json()) == (200, {"status": "ok"})

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_behind_a_proxy_the_servers_own_port_tells_no_numbers(tmp_path: Path) -> None:
    async def run(public_url: str) -> int:
        app = MicwireApp(Config(data=tmp_path, public_url=public_url), is_local=True)
        async with app:
            # As nginx asks that was told nothing of X-Forwarded-For.
            transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return (await http.get("/metrics")).status_code

    assert asyncio.run(run("")) == 200
    assert asyncio.run(run("https://mic.example")) == 404
