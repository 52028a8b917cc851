"""Signing in through an OpenID Connect provider: code flow with PKCE, state and nonce.

OAuth is Authlib's, signatures are joserfc's. Here is what is asked, what is believed of
the answer, and which browser it belongs to. It needs the extra `micwire[oidc]`.

Source: OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3; RFC 7636; RFC 9700.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from micwire.access.secrets import hash_secret, is_secret, new_secret
from micwire.access.store import MAX_NAME_CHARACTERS, NameTakenError, Store, User, clean_label
from micwire.core.errors import MicwireError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Of signatures by somebody else's key; never `none`, and never a shared secret."""
WAITING_S = 600.0
MOST_WAITING = 1_000
KNOWN_S = 3_600.0
TIMEOUT_S = 10.0


class ProviderError(MicwireError):
    """The provider can't be used, or did not let somebody in; the text says why."""

    code = "provider"


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Which provider, and who of its people.

    Args:
        issuer: Its address; `/.well-known/openid-configuration` is below it.
        client_id: How it knows this server.
        client_secret: How this server proves to be it.
        allow: Addresses such as `anna@example.org` or `@example.org`, which the provider
            has to have verified; nothing lets everybody in whom the provider does.
    """

    issuer: str
    client_id: str
    client_secret: str
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Waiting:
    browser: str
    nonce: str
    verifier: str
    redirect_uri: str
    end: float


class Provider:
    """One provider; belongs to one event loop.

    Args:
        settings: Which.
        store: Its people become users there.
        clock: Seconds that never go back.

    Raises:
        ProviderError: The extra is not installed.
    """

    def __init__(
        self,
        settings: OidcSettings,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import authlib.integrations.httpx_client  # noqa: F401
        except ImportError:
            raise ProviderError(
                "signing in through a provider needs further packages: pip install 'micwire[oidc]'"
            ) from None
        self._settings = settings
        self._store = store
        self._clock = clock
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._known_until = 0.0

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Return where to send a browser, and what it has to bring back in a cookie.

        Raises:
            ProviderError: The provider can't be asked.
        """
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        await self._look_up()
        now = self._clock()
        while self._waiting:
            first = next(iter(self._waiting.values()))
            if first.end > now and len(self._waiting) < MOST_WAITING:
                break
            self._waiting.popitem(last=False)
        browser, state, nonce, verifier = (new_secret() for _ in range(4))
        self._waiting[hash_secret(state)] = _Waiting(
            hash_secret(browser), nonce, verifier, redirect_uri, now + WAITING_S
        )
        client = AsyncOAuth2Client(
            self._settings.client_id,
            scope="openid profile email",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            self._metadata["authorization_endpoint"],
            state=state,
            nonce=nonce,
            code_verifier=verifier,
        )
        return str(url), browser

    async def finish(self, query: Mapping[str, str], browser: str) -> User:
        """Return who has come back from the provider.

        Args:
            query: What the provider sent along.
            browser: The cookie of `begin`.

        Raises:
            ProviderError: It is not the browser that went, or the provider did not let
                it in, or what it says can't be believed, or the person is not allowed here.
        """
        waiting = self._waiting.pop(hash_secret(query.get("state", "")), None)
        if waiting is None or waiting.end <= self._clock():
            raise ProviderError("nobody waits for this answer, or not any more")
        if not is_secret(browser, waiting.browser):
            raise ProviderError("it was another browser that asked")
        if query.get("iss", self._settings.issuer) != self._settings.issuer:  # RFC 9207
            raise ProviderError("another provider has answered")
        if "code" not in query:
            raise ProviderError("the provider did not let them in")
        claims = self._claims(await self._exchange(query["code"], waiting), waiting.nonce)
        self._check_allowed(claims)
        return await to_thread.run_sync(self._user, claims)

    # ---- the provider ----------------------------------------------------------------

    async def _look_up(self) -> None:
        """Ask the provider where it is asked what, and for its keys; once an hour."""
        import httpx
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        if self._clock() < self._known_until:
            return
        issuer = self._settings.issuer
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
                metadata = (await client.get(address)).raise_for_status().json()
                if metadata["issuer"] != issuer:
                    raise ProviderError("the provider goes by another name than it was given")
                keys = (await client.get(metadata["jwks_uri"])).raise_for_status().json()
            self._keys = KeySet.import_key_set(keys)
            metadata["authorization_endpoint"], metadata["token_endpoint"]  # are there
        except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError) as error:
            raise ProviderError(f"the provider can't be asked: {type(error).__name__}") from None
        self._metadata = metadata
        self._known_until = self._clock() + KNOWN_S

    async def _exchange(self, code: str, waiting: _Waiting) -> str:
        """Return the identity token for a code."""
        import httpx
        from authlib.common.errors import AuthlibBaseError
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        await self._look_up()
        try:
            async with AsyncOAuth2Client(
                self._settings.client_id,
                self._settings.client_secret,
                redirect_uri=waiting.redirect_uri,
                timeout=TIMEOUT_S,
            ) as client:
                tokens = await client.fetch_token(
                    self._metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=waiting.verifier,
                )
            return str(tokens["id_token"])
        except (httpx.HTTPError, AuthlibBaseError, ValueError, KeyError, TypeError) as error:
            raise ProviderError(f"the provider gave no token: {type(error).__name__}") from None

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """Return what an identity token says, if it is to be believed."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if self._keys is None:
            raise ProviderError("the provider's keys are not known")
        registry = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            self._known_until = 0.0  # the keys may be new
            raise ProviderError(
                f"the token is not to be believed: {type(error).__name__}"
            ) from None
        audience = claims["aud"]
        is_shared = isinstance(audience, list) and len(audience) > 1
        if is_shared and claims.get("azp") != self._settings.client_id:
            raise ProviderError("the token was made for somebody else")
        return dict(claims)

    # ---- the person --------------------------------------------------------------------

    def _check_allowed(self, claims: Mapping[str, Any]) -> None:
        if not self._settings.allow:
            return
        email = str(claims.get("email", "")).lower()
        domain = f"@{email.rpartition('@')[2]}"
        allowed = {entry.lower() for entry in self._settings.allow}
        if claims.get("email_verified") is not True or not {email, domain} & allowed:
            raise ProviderError("the person is not among those who are allowed here")

    def _user(self, claims: Mapping[str, Any]) -> User:
        issuer, subject = self._settings.issuer, str(claims["sub"])
        user = self._store.user_of(issuer, subject)
        if user is not None:
            return user
        wishes = (claims.get(key) for key in ("preferred_username", "name", "email"))
        wish = next((wish for wish in wishes if isinstance(wish, str) and wish.strip()), "user")
        name = clean_label(wish.strip())
        for number in range(1, 1_000):
            suffix = "" if number == 1 else f" {number}"
            try:
                return self._store.add_user(
                    name[: MAX_NAME_CHARACTERS - len(suffix)] + suffix,
                    None,
                    issuer=issuer,
                    subject=subject,
                )
            except NameTakenError:
                continue
        raise ProviderError("there are too many people of that name")
