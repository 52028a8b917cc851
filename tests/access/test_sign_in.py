"""In and out: passwords, the token of the start, sessions, and pages that may not."""

import asyncio
import re
import statistics
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path

import pytest
from anyio import to_thread

from micwire.access.attempts import FREE_BY_ACCOUNT, Attempts
from micwire.core.wire import Error
from tests.access.office import ADDRESS, PASSWORDS, Line, guest, office


def test_on_loopback_nobody_signs_in_until_there_is_a_user(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path) as here:
            me = await here.browser(client="127.0.0.1").me()
            assert (me["user"], me["is_open"], me["is_admin"]) == ("", True, True)
            assert not (tmp_path / ".micwire" / "access.sqlite").exists()
            here.app.desk.store.add_user("anna", None)  # as the command line does meanwhile
            me = await here.browser().me()
            assert (me["user"], me["is_open"], me["sign_in"]) == (None, False, ["password"])
            assert (await here.browser().call("POST", "/api/v1/tickets")).status_code == 401

    asyncio.run(run())


def test_elsewhere_the_token_of_the_start_lets_in_until_there_is_a_user(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, asks_token=True) as here:
            token = here.app.desk.start_token
            assert token is not None
            assert here.app.desk.link(ADDRESS) == f"{ADDRESS}/#token={token}"
            browser = here.browser()
            assert (await browser.me())["user"] is None
            assert (await browser.enter(token="x" * 43)).status_code == 401
            assert (await browser.enter(token=token)).status_code == 204
            assert (await browser.me())["user"] == ""
            program = {"authorization": f"Bearer {token}"}
            answer = await here.browser().call("GET", "/api/v1/me", headers=program)
            assert answer.json()["is_admin"] is True
            here.app.desk.store.add_user("anna", None)
            assert (await browser.me())["user"] is None
            answer = await here.browser().call("GET", "/api/v1/me", headers=program)
            assert answer.json()["user"] is None
            assert (await here.browser().enter(token=token)).status_code == 401

    asyncio.run(run())


@pytest.mark.parametrize("address", [ADDRESS, "https://mic.example"])
def test_a_user_signs_in_and_out(tmp_path: Path, address: str) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna", address)
            [cookie] = browser.http.cookies.jar
            if address.startswith("https"):
                assert cookie.name == "__Host-micwire"
                assert cookie.secure
            else:
                assert cookie.name == "micwire-8000"
            assert (cookie.path, cookie.domain_specified) == ("/", False)
            assert cookie.has_nonstandard_attr("HttpOnly")
            assert cookie.get_nonstandard_attr("SameSite") == "lax"
            me = await browser.me()
            assert (me["user"], me["name"]) == (here.users["anna"].id, "anna")
            assert me["scopes"] == ["manage", "read", "record"]
            kept = {cookie.name: str(cookie.value)}
            assert (await browser.call("DELETE", "/api/v1/session")).status_code == 204
            assert not browser.http.cookies
            thief = here.browser(address)
            thief.http.cookies.update(kept)
            assert (await thief.me())["user"] is None

    asyncio.run(run())


def test_signing_out_everywhere_ends_the_sessions_of_that_user_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta") as here:
            first, second = await here.signed_in("anna"), await here.signed_in("anna")
            stranger = await here.signed_in("berta")
            ticket = (await second.call("POST", "/api/v1/tickets")).json()["ticket"]
            answer = await first.call("DELETE", "/api/v1/session?everywhere=true")
            assert answer.status_code == 204
            assert (await second.me())["user"] is None
            assert await here.app.desk.redeem(ticket) is None
            assert (await stranger.me())["name"] == "berta"

    asyncio.run(run())


def test_a_session_survives_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            cookies = (await here.signed_in("anna")).http.cookies
        async with office(tmp_path) as here:
            browser = here.browser()
            browser.http.cookies.update(cookies)
            assert (await browser.me())["name"] == "anna"

    asyncio.run(run())


def test_an_unknown_user_is_answered_like_a_wrong_password_and_takes_as_long(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", has_real_hashes=True) as here:
            took: dict[str, list[float]] = {"anna": [], "nobody": []}
            answers = []
            for round_ in range(4):
                for name, times in took.items():
                    browser = here.browser(client=f"192.0.2.{10 * round_ + len(name)}")
                    start = time.perf_counter()
                    answer = await browser.enter(user=name, password="wrong one")
                    times.append(time.perf_counter() - start)
                    answers.append((answer.status_code, answer.content, answer.headers.keys()))
            assert all(answer == answers[0] for answer in answers)
            assert answers[0][0] == 401
            known, unknown = (statistics.median(times) for times in took.values())
            assert unknown > known / 3

    asyncio.run(run())


def test_after_some_failures_one_has_to_wait_and_is_told_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Attempts.begin
    monkeypatch.setattr(Attempts, "begin", lambda self, *who: begin(self, who[0], who[1], 0.0))

    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            for name in ("anna", "nobody"):
                answers = await asyncio.gather(
                    *(
                        here.browser(client=f"192.0.2.{number}").enter(user=name, password="x" * 9)
                        for number in range(FREE_BY_ACCOUNT + 5)
                    )
                )
                statuses = [answer.status_code for answer in answers]
                assert statuses.count(401) == FREE_BY_ACCOUNT
                assert statuses.count(429) == 5
                late = next(answer for answer in answers if answer.status_code == 429)
                assert int(late.headers["retry-after"]) >= 1
            # The right password has to wait as well, or the wait would tell that it is right.
            answer = await here.browser().enter(user="anna", password=PASSWORDS["anna"])
            assert answer.status_code == 429

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{}", "application/json", 400),
        (b'{"user":"anna"}', "application/json", 400),
        (b'{"user":1,"password":"x"}', "application/json", 400),
        (b'{"user":"\\ud800","password":"x"}', "application/json", 400),
        (b'{"user":"a","password":"' + b"x" * 3_000 + b'"}', "application/json", 400),
        (b'{"user":"a","password":"' + b"x" * 300_000 + b'"}', "application/json", 413),
        (b"[" * 100_000, "application/json", 400),
        (b'{"user":"anna","password":"x"}', "text/plain", 415),
        (b"user=anna&password=x", "application/x-www-form-urlencoded", 415),
    ],
)
def test_a_body_that_is_none_is_a_problem(
    tmp_path: Path, body: bytes, kind: str, status: int
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            answer = await here.browser().call(
                "POST", "/api/v1/session", content=body, headers={"content-type": kind}
            )
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"

    asyncio.run(run())


def test_a_body_that_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micwire.access.guard.BODY_TIMEOUT_S", 0.2)

    async def run() -> None:
        async with office(tmp_path) as here:
            sent: list[dict[str, object]] = []
            scope = {
                "type": "http", "method": "POST", "path": "/api/v1/session", "query_string": b"",
                "headers": [(b"transfer-encoding", b"chunked")], "http_version": "1.1",
                "scheme": "http",
            }  # fmt: skip

            async def receive() -> MutableMapping[str, object]:
                await asyncio.sleep(3_600)
                return {}

            async def send(message: MutableMapping[str, object]) -> None:
                sent.append(dict(message))

            await here.app(scope, receive, send)
            assert sent[0]["status"] == 408

    asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-micwire-csrf": ""},
        {"x-micwire-csrf": "0" * 64},
    ],
)
def test_a_foreign_page_with_a_valid_cookie_changes_nothing(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            for method, path in (
                ("POST", "/api/v1/tickets"),
                ("POST", "/api/v1/tokens"),
                ("POST", "/api/v1/invitations"),
                ("DELETE", "/api/v1/tokens/x"),
            ):
                answer = await browser.call(method, path, json={"name": "x"}, headers=headers)
                assert answer.status_code in (401, 403), (method, path)
            await browser.call(
                "DELETE", "/api/v1/session", params={"everywhere": "true"}, headers=headers
            )
            assert (await browser.me())["name"] == "anna"

    asyncio.run(run())


def test_a_foreign_page_with_a_valid_cookie_reads_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            for headers in (
                {"origin": "http://127.0.0.1:9000"},
                {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
                {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
                 "sec-fetch-dest": "iframe"},
            ):  # fmt: skip
                answer = await browser.call("GET", "/api/v1/me", headers=headers)
                assert answer.json()["user"] is None
                assert answer.headers["cross-origin-resource-policy"] == "same-origin"
                assert "access-control-allow-origin" not in answer.headers
            followed = {
                "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            }  # fmt: skip
            del browser.http.headers["accept"]
            answer = await browser.http.get("/api/v1/me", headers=followed)
            assert answer.json()["name"] == "anna"

    asyncio.run(run())


def test_a_cookie_of_http_is_none_over_https(tmp_path: Path) -> None:
    """Or whoever is on the network could plant a session of their own."""

    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            planted = (await here.signed_in("anna")).http.cookies
            [value] = planted.values()
            for name in ("micwire-8000", "micwire-80", "micwire-443", "__Host-micwire"):
                browser = here.browser("https://mic.example")
                browser.http.cookies.set(name, value)
                assert (await browser.me())["user"] is None

    asyncio.run(run())


def test_two_cookies_of_one_name_are_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            [value] = browser.http.cookies.values()
            other = here.browser()
            both = f"micwire-8000={value}; micwire-8000=planted"
            answer = await other.call("GET", "/api/v1/me", headers={"cookie": both})
            assert answer.json()["user"] is None

    asyncio.run(run())


def test_the_audit_log_says_who_came_and_never_how_they_proved_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            await here.browser().enter(user="anna", password="a wrong password")
            await browser.call("DELETE", "/api/v1/session")
            user = here.users["anna"].id
        text = (tmp_path / ".micwire" / "audit.jsonl").read_text()
        events = re.findall(r'"event": "([a-z-]+)"', text)
        assert events == ["sign-in", "sign-in-refused", "sign-out"]
        assert text.count(user) == 3
        assert "anna" not in text
        assert PASSWORDS["anna"] not in text

    asyncio.run(run())


def test_a_store_that_cannot_be_read_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            here.app.desk.store.close()
            (tmp_path / ".micwire" / "access.sqlite").write_bytes(b"no database " * 1_000)
            for suffix in ("-journal", "-wal"):
                (tmp_path / ".micwire" / f"access.sqlite{suffix}").unlink(missing_ok=True)
            answer = await browser.call("GET", "/api/v1/recordings")
            assert (answer.status_code, answer.json()["code"]) == (503, "access-unavailable")
            refused = await Line(here, browser).open(1)
            assert isinstance(refused, Error)
            assert refused.code == "storage-failed"

    asyncio.run(run())


def test_behind_a_proxy_that_calls_by_another_name_our_pages_are_those_of_the_public_address(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", public_url="https://mic.example/rec") as here:
            browser = here.browser()
            browser.headers = {"origin": "https://mic.example"}
            answer = await browser.call(
                "POST", "/api/v1/session", json={"user": "anna", "password": PASSWORDS["anna"]}
            )
            assert answer.status_code == 204
            cookie = answer.headers["set-cookie"].partition(";")[0]
            assert cookie.startswith("__Host-micwire=")
            for origin, name in (("https://mic.example", "anna"), ("https://evil.example", "")):
                headers = {"origin": origin, "cookie": cookie}
                answer = await here.browser().call("GET", "/api/v1/me", headers=headers)
                assert answer.json()["name"] == name

    asyncio.run(run())


def test_who_asks_is_looked_up_while_downloads_take_every_thread(tmp_path: Path) -> None:
    may_go_on = threading.Event()

    async def run() -> None:
        async with office(tmp_path) as here:
            to_thread.current_default_thread_limiter().total_tokens = 1
            download = asyncio.create_task(to_thread.run_sync(may_go_on.wait, 20))
            await asyncio.sleep(0.05)
            try:
                async with asyncio.timeout(5):
                    request = {"type": "http", "path": "/", "query_string": b"", "headers": []}
                    assert await here.app.access.person(request) is None
            finally:
                may_go_on.set()
            await download


def test_each_person_and_each_invitation_has_an_identity_that_says_nothing_else(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta") as here:
            assert (await here.browser().me())["identity"] == ""
            people = [
                await here.signed_in("anna"),
                await here.signed_in("berta"),
                await guest(here),
            ]
            identities = [(await person.me())["identity"] for person in people]
            assert len(set(identities)) == len(people)
            again = await (await here.signed_in("anna")).me()
            assert again["identity"] == identities[0]
            assert again["user"] not in "".join(identities)

    asyncio.run(run())


def test_where_nobody_signs_in_all_have_the_same_empty_identity(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path) as here:
            me = await here.browser(client="127.0.0.1").me()
            assert (me["is_open"], me["identity"]) == (True, "")

    asyncio.run(run())
