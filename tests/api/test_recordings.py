"""Lists, details, edits, deletions and marks over HTTP."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from micwire.app import MicwireApp
from micwire.core.wire import Audio, Error, decode_server, encode_client
from tests.test_access import client_of, finish, opened, recording_id, running

URL = "/api/v1/recordings"
FRAMES = 4_800


async def record(app: MicwireApp, number: int, name: str = "anna", *, is_over: bool = True) -> str:
    """Make a recording of a tenth of a second; return its id."""
    connection, _ = await opened(app, recording_id(number), name=name)
    connection.feed(encode_client(Audio(0, bytes(2 * FRAMES))))
    if is_over:
        await finish(connection, FRAMES)
        connection.lost()
    return recording_id(number)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what happens behind the answers, such as in the catalogue."""
    async with asyncio.timeout(10):
        while not await is_so():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    recordings: list[dict[str, Any]] = answer.json()["recordings"]
    return recordings


def test_a_list_shows_what_one_sees_the_live_ones_as_they_are_now(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            over = await record(app, 1)
            live = await record(app, 2, is_over=False)
            await record(app, 3, "berta")
            async with client_of(app, "anna") as anna, client_of(app, "admin") as admin:

                async def is_whole() -> bool:
                    states = {row["recording"]: row["status"] for row in await listed(anna)}
                    return states == {over: "finished", live: "recording"}

                await until(is_whole)
                rows = {row["recording"]: row for row in await listed(anna)}
                assert rows[live]["frames"] == rows[over]["frames"] == FRAMES
                assert rows[live]["duration_s"] == pytest.approx(0.1)
                assert rows[over]["url"] == f"{URL}/{over}/audio"
                assert rows[over]["owner"] == "anna"
                assert len(await listed(admin)) == 3
                assert len(await listed(admin, owner="berta")) == 1
                assert await listed(anna, owner="berta") == []
                first = (await anna.get(URL, params={"limit": 1})).json()
                second = (await anna.get(URL, params={"limit": 1, "cursor": first["next"]})).json()
                both = [*first["recordings"], *second["recordings"]]
                assert {row["recording"] for row in both} == {over, live}

    asyncio.run(run())


def test_edits_are_found_in_detail_list_search_and_tags(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            ids = [await record(app, 1), await record(app, 2, is_over=False)]
            async with client_of(app, "anna") as anna:
                for number, recording in enumerate(ids):
                    patch = {"title": " Größe ", "tags": [" a", "b", "a"], "notes": "Zeile\nzwei"}
                    answer = await anna.patch(f"{URL}/{recording}", json=patch)
                    assert answer.status_code == 200, answer.text
                    detail = (await anna.get(f"{URL}/{recording}")).json()
                    assert detail == answer.json()
                    assert detail["title"] == "Größe"
                    assert detail["tags"] == ["a", "b"]
                    assert detail["notes"] == "Zeile\nzwei"

                    async def is_found(count: int = number + 1) -> bool:
                        found = await listed(anna, q="größe", tag=["a", "b"])
                        return len(found) == count

                    await until(is_found)
                    answer = await anna.patch(f"{URL}/{recording}", json={"notes": None})
                    assert (answer.json()["title"], answer.json()["notes"]) == ("Größe", "")
                tags = (await anna.get("/api/v1/tags")).json()["tags"]
                assert tags == [{"tag": "a", "recordings": 2}, {"tag": "b", "recordings": 2}]

    asyncio.run(run())


@pytest.mark.parametrize(
    "patch",
    [
        {"frames": 3},
        {"title": "x" * 201},
        {"title": "two\nlines"},
        {"tags": ["x" * 51]},
        {"tags": ["x"] * 51},
        {"tags": "x"},
        {"notes": "x" * 10_001},
        {"hold": "yes"},
        [],
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing(tmp_path: Path, patch: object) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            recording = await record(app, 1)
            async with client_of(app, "anna") as anna:
                before = (await anna.get(f"{URL}/{recording}")).content
                answer = await anna.patch(f"{URL}/{recording}", json=patch)
                assert answer.status_code == 400
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "bad-request"
                assert (await anna.get(f"{URL}/{recording}")).content == before

    asyncio.run(run())


def test_if_match_lets_the_first_of_two_editors_win(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            for recording in (await record(app, 1), await record(app, 2, is_over=False)):
                async with client_of(app, "anna") as anna:
                    seen = (await anna.get(f"{URL}/{recording}")).headers["etag"]
                    answers = await asyncio.gather(
                        *(
                            anna.patch(
                                f"{URL}/{recording}",
                                json={"title": title},
                                headers={"if-match": seen},
                            )
                            for title in ("mine", "yours")
                        )
                    )
                    assert sorted(answer.status_code for answer in answers) == [200, 412]
                    assert (
                        await anna.patch(
                            f"{URL}/{recording}", json={"title": "x"}, headers={"if-match": "*"}
                        )
                    ).status_code == 200

    asyncio.run(run())


def test_what_is_deleted_is_gone_from_every_route(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            over = await record(app, 1)
            connection, _ = await opened(app, recording_id(2), name="anna")
            connection.feed(encode_client(Audio(0, bytes(2 * FRAMES))))
            async with client_of(app, "anna") as anna:

                async def are_both_listed() -> bool:
                    return len(await listed(anna)) == 2

                await until(are_both_listed)
                for recording in (over, recording_id(2)):
                    assert (await anna.delete(f"{URL}/{recording}")).status_code == 204
                    for end in ("", "/audio", "/peaks"):
                        assert (await anna.get(f"{URL}/{recording}{end}")).status_code == 404
                    assert (await anna.delete(f"{URL}/{recording}")).status_code == 404
                    rows = [row["recording"] for row in await listed(anna)]
                    assert recording not in rows
            told = [decode_server(text) for text in connection.outgoing()]
            assert isinstance(told[-1], Error)
            assert told[-1].code == "deleted"
            for recording in (over, recording_id(2)):
                _, answer = await opened(app, recording, name="anna")
                assert isinstance(answer, Error)
                assert answer.code == "deleted"

    asyncio.run(run())


def test_a_recording_on_hold_is_not_deleted(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            recording = await record(app, 1)
            async with client_of(app, "anna") as anna:
                await anna.patch(f"{URL}/{recording}", json={"hold": True})
                answer = await anna.delete(f"{URL}/{recording}")
                assert (answer.status_code, answer.json()["code"]) == (409, "held")
                answer = await anna.patch(f"{URL}/{recording}", json={"hold": False})
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
                async with client_of(app, "admin") as admin:
                    answer = await admin.patch(f"{URL}/{recording}", json={"hold": False})
                    assert answer.status_code == 200
                assert (await anna.delete(f"{URL}/{recording}")).status_code == 204
        log = (tmp_path / "data" / ".micwire" / "audit.jsonl").read_text().splitlines()
        notes = [json.loads(line) for line in log]
        held = [(note["event"], note["user"]) for note in notes if "hold" in note["event"]]
        assert held == [("hold-set", "anna"), ("hold-lifted", "admin")]

    asyncio.run(run())


def test_a_spoilt_sidecar_is_a_problem_with_a_name(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app, client_of(app, "anna") as anna:
            recording = await record(app, 1)
            [sidecar] = (tmp_path / "data").glob("*/*.json")
            for rubbish in ("{", "[]", "{}"):
                sidecar.write_text(rubbish)
                for answer in (
                    await anna.get(f"{URL}/{recording}"),
                    await anna.patch(f"{URL}/{recording}", json={"title": "x"}),
                ):
                    assert (answer.status_code, answer.json()["code"]) == (500, "register-damaged")
                assert sidecar.read_text() == rubbish

    asyncio.run(run())


def test_marks_are_set_and_taken_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            for recording in (await record(app, 1), await record(app, 2, is_over=False)):
                async with client_of(app, "anna") as anna:
                    url = f"{URL}/{recording}/marks"
                    for _ in range(2):
                        answer = await anna.post(url, json={"frame": 30, "label": "höre"})
                        assert answer.status_code == 201
                        assert answer.json() == {"frame": 30, "label": "höre"}
                    await anna.post(url, json={"frame": 10, "label": ""})
                    detail = (await anna.get(f"{URL}/{recording}")).json()
                    assert [mark["frame"] for mark in detail["marks"]] == [10, 30]
                    answer = await anna.post(url, json={"frame": FRAMES + 1, "label": ""})
                    assert (answer.status_code, answer.json()["code"]) == (409, "bad-mark")
                    for _ in range(2):
                        answer = await anna.delete(url, params={"frame": 30, "label": "höre"})
                        assert answer.status_code == 204
                    detail = (await anna.get(f"{URL}/{recording}")).json()
                    assert [mark["frame"] for mark in detail["marks"]] == [10]

    asyncio.run(run())


def test_a_query_that_does_not_fit_is_a_problem(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app, client_of(app, "anna") as anna:
            for query in (
                "limit=0",
                "limit=201",
                "limit=x",
                "cursor=x",
                "status=deleted",
                "sort=frames",
                "since=yesterday",
                "until=2026-11-22T18:13:05",
            ):
                answer = await anna.get(f"{URL}?{query}")
                assert answer.status_code == 400, query
                assert answer.json()["code"] in ("bad-request", "bad-cursor")

    asyncio.run(run())
