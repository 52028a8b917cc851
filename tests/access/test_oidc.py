"""Signing in through a provider that runs here: real HTTP, real signatures, and one that lies."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.access.office import ADDRESS, Browser, office
from tests.test_app import under_uvicorn

SECRET = "the client's secret"
KEY = RSAKey.generate_key(2_048, {"kid": "1", "use": "sig", "alg": "RS256"}, auto_kid=False)
OTHER_KEY = RSAKey.generate_key(2_048, {"kid": "1", "use": "sig", "alg": "RS256"}, auto_kid=False)


@dataclass
class Identity:
    """A provider; it lets everybody in at once, and lies as a test tells it to."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "1"})
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def application(self) -> Starlette:
        """Return what answers."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.metadata),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )

    async def metadata(self, request: Request) -> Response:
        """Where what is."""
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    async def keys(self, request: Request) -> Response:
        """What signatures are checked with."""
        return JSONResponse({"keys": [KEY.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """Let somebody in, and send the browser back."""
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert {"state", "nonce", "code_challenge"} <= asked.keys()
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.asked)}"
        self.asked[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 302)

    async def token(self, request: Request) -> Response:
        """Give the token for a code, once, to whom it belongs."""
        fields = parse_qs((await request.body()).decode())
        form = {name: values[0] for name, values in fields.items()}
        asked = self.asked.pop(form["code"], None)
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        basic = base64.b64encode(f"micwire:{SECRET}".encode()).decode()
        if (
            asked is None
            or base64.urlsafe_b64encode(challenge).decode().rstrip("=") != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
            or request.headers["authorization"] != f"Basic {basic}"
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        claims = {
            "iss": self.issuer, "aud": "micwire", "sub": "4711", "nonce": asked["nonce"],
            "iat": int(time.time()), "exp": int(time.time()) + 60,
            "preferred_username": "Anna", "email": "anna@example.org", "email_verified": True,
        } | self.claims  # fmt: skip
        known = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(self.header, known, self.key, algorithms=["RS256", "HS256", "none"])
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})


@pytest.fixture(scope="module")
def running() -> Iterator[Identity]:
    """A provider that listens."""
    identity = Identity()
    with under_uvicorn(identity.application()) as port:
        identity.issuer = f"http://127.0.0.1:{port}"
        yield identity


@pytest.fixture
def identity(running: Identity) -> Identity:
    """The same, honest again."""
    honest = Identity()
    running.claims, running.key, running.header = honest.claims, honest.key, honest.header
    return running


def settings(identity: Identity, **more: Any) -> dict[str, Any]:
    """Return what a server has to be told."""
    return {
        "oidc_issuer": identity.issuer,
        "oidc_client_id": "micwire",
        "oidc_client_secret": SECRET,
    } | more


async def to_provider(browser: Browser) -> str:
    """Go to the provider and be let in; return the address that it sends the browser back to."""
    gone = await browser.http.get("/api/v1/session/oidc")
    assert gone.status_code == 302
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(gone.headers["location"])).headers["location"]


async def sign_in(browser: Browser) -> str:
    """Go there and back; return where one ends."""
    back = await to_provider(browser)
    assert back.startswith(f"{ADDRESS}/api/v1/session/oidc/callback?")
    answer = await browser.http.get(back)
    assert answer.status_code == 302
    return answer.headers["location"]


def test_a_person_of_the_provider_becomes_one_user_for_ever(
    tmp_path: Path, identity: Identity
) -> None:
    async def run() -> None:
        async with office(tmp_path, **settings(identity)) as here:
            assert (await here.browser().me())["sign_in"] == ["password", "oidc"]
            users = set()
            for _ in range(2):
                browser = here.browser()
                assert await sign_in(browser) == f"{ADDRESS}/"
                me = await browser.me()
                assert (me["name"], me["is_admin"]) == ("Anna", False)
                users.add(me["user"])
            assert len(users) == 1
            identity.claims = {"sub": "4712"}  # another one of the same name
            browser = here.browser()
            await sign_in(browser)
            assert (await browser.me())["name"] == "Anna 2"
            # Somebody with an account but without a password can't sign in with one.
            for password in ("", "None", "x"):
                assert (await here.browser().enter(user="Anna", password=password)).is_error

    asyncio.run(run())


@pytest.mark.parametrize(
    ("claims", "header", "key"),
    [
        ({"nonce": "another"}, {}, KEY),
        ({"nonce": None}, {}, KEY),
        ({"aud": "another"}, {}, KEY),
        ({"aud": ["micwire", "another"]}, {}, KEY),
        ({"iss": "https://another.example"}, {}, KEY),
        ({"exp": 1}, {}, KEY),
        ({"exp": None}, {}, KEY),
        ({"sub": None}, {}, KEY),
        ({}, {}, OTHER_KEY),
        ({}, {"alg": "HS256"}, OctKey.import_key("the client's secret, and then some more of it")),
        ({}, {"alg": "none"}, KEY),
    ],
)
def test_a_token_that_is_not_to_be_believed_lets_nobody_in(
    tmp_path: Path, identity: Identity, claims: dict[str, Any], header: dict[str, Any], key: Any
) -> None:
    identity.claims, identity.key = claims, key
    identity.header = identity.header | header

    async def run() -> None:
        async with office(tmp_path, **settings(identity)) as here:
            browser = here.browser()
            assert await sign_in(browser) == f"{ADDRESS}/sign-in?refused=1"
            assert (await browser.me())["user"] is None
            assert here.app.desk.store.users() == []

    asyncio.run(run())


def test_an_answer_is_good_once_and_in_the_browser_that_asked(
    tmp_path: Path, identity: Identity
) -> None:
    async def run() -> None:
        async with office(tmp_path, **settings(identity)) as here:
            victim, attacker = here.browser(), here.browser()
            back = await to_provider(attacker)
            await victim.http.get("/api/v1/session/oidc")
            await victim.http.get(back)  # signing somebody in as somebody else
            assert (await victim.me())["user"] is None
            await attacker.http.get(back)
            assert (await attacker.me())["user"] is None
            back = await to_provider(attacker)
            await attacker.http.get(back.replace("state=", "state=x"))
            assert (await attacker.me())["user"] is None
            await attacker.http.get(back)
            assert (await attacker.me())["name"] == "Anna"
            again = here.browser()
            again.http.cookies.update(attacker.http.cookies)
            answer = await again.http.get(back)
            assert answer.headers["location"].endswith("refused=1")
            for query in ("", "?code=x", "?state=x", "?error=access_denied&state=x"):
                answer = await again.http.get(f"/api/v1/session/oidc/callback{query}")
                assert answer.headers["location"].endswith("refused=1")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("claims", "is_let"),
    [
        ({}, True),
        ({"email": "ANNA@Example.org"}, True),
        ({"email_verified": False}, False),
        ({"email_verified": None}, False),
        ({"email": "anna@evil.example"}, False),
        ({"email": "anna@example.org.evil.example"}, False),
        ({"email": None}, False),
    ],
)
def test_only_those_who_are_allowed_come_in(
    tmp_path: Path, identity: Identity, claims: dict[str, Any], *, is_let: bool
) -> None:
    identity.claims = claims

    async def run() -> None:
        async with office(tmp_path, **settings(identity, oidc_allow="@example.org")) as here:
            browser = here.browser()
            await sign_in(browser)
            assert ((await browser.me())["user"] is not None) is is_let

    asyncio.run(run())


def test_a_provider_that_is_away_is_told_on_the_page(tmp_path: Path) -> None:
    async def run() -> None:
        nowhere = Identity(issuer="http://127.0.0.1:9")
        async with office(tmp_path, **settings(nowhere)) as here:
            answer = await here.browser().http.get("/api/v1/session/oidc")
            assert answer.headers["location"] == f"{ADDRESS}/sign-in?refused=1"
            assert urlsplit(answer.headers["location"]).netloc == urlsplit(ADDRESS).netloc

    asyncio.run(run())
