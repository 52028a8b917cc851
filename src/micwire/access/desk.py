"""The desk: who asks, and everything that signs somebody in or out.

It joins the store, the passwords, the tickets and the audit log. Asked once for a request
or an `open`, never for a message. The store blocks, so it is asked on threads.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from anyio import CapacityLimiter, to_thread

from micwire.access.attempts import Attempts
from micwire.access.audit import Audit
from micwire.access.credentials import (
    Credentials,
    headers_of,
    origin_of,
    read_credentials,
)
from micwire.access.oidc import Provider
from micwire.access.passwords import Passwords
from micwire.access.secrets import TOKEN_PREFIX, hash_secret, is_secret, new_secret
from micwire.access.store import Invitation, Standing, Store, Token, User, folded
from micwire.access.tickets import Tickets
from micwire.api.origin import is_from_here
from micwire.core.people import LOCAL, Person, Scope

USERS_MARK = ".micwire-users"
"""In the data directory, beside what is copied for a backup."""
ALL = frozenset(Scope)
DAY_S = 86_400.0
LOOK_AT_ONCE = 4
"""So many threads look up who asks: nobody waits for downloads, which use others."""
HOST_PERSON = "micwire.person"
"""Key of an ASGI scope: a Person, or None, whom an application around us has let in."""


class Mode(StrEnum):
    """Who has to sign in."""

    OPEN = "open"
    """Nobody; unless somebody said so, only who is on this machine gets in at all."""
    TOKEN = "token"
    """Everybody, with the token that the server printed as it began."""
    USERS = "users"
    """Everybody, as a user."""
    HOST = "host"
    """Everybody, in the application around us."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and how we know."""

    person: Person | None
    mode: Mode
    session: str | None = None
    """The value of the cookie, if it was that."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """What let somebody in: the hash of a secret; and whether it was as an admin."""

    key: str
    is_admin: bool = False

    @property
    def text(self) -> str:
        return f"{self.key}:admin" if self.is_admin else self.key

    @classmethod
    def parse(cls, text: str) -> Self:
        key, _, rest = text.partition(":")
        return cls(key, bool(rest))


@dataclass(frozen=True, slots=True)
class TooEarly:
    """So many attempts failed that this one has to wait."""

    wait_s: float


class Desk:
    """Access for a server that may have users; see `Access`.

    Args:
        store: Users and what they have.
        audit: What happens is noted there.
        mark: A file that is made once there are users: then everybody signs in for good, also
            when the store is lost, or the last user is removed.
        setting: `open`, `token`, `users`; or `auto`: users once there are any, else the
            token or nothing, as `asks_token` says.
        asks_token: Other machines can reach the server, and nobody before it asks who is there.
        provider: People may also sign in through it.
        session_days: How long a browser stays signed in.
        public_url: The address that people use, where a proxy calls the server by another.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        audit: Audit,
        mark: Path,
        *,
        setting: str,
        asks_token: bool,
        provider: Provider | None = None,
        session_days: float = 30.0,
        public_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.audit = audit
        self._mark = mark
        self.provider = provider
        self.start_token: str | None = None
        """What a server without users prints as it begins; None where it is not asked for."""
        self.mode = Mode.OPEN
        """As of the last request."""
        self._setting = setting
        self._asks_token = asks_token
        self._life_s = session_days * DAY_S
        self._origin = origin_of(public_url)
        self._clock = clock
        self._passwords = Passwords()
        self._looking = CapacityLimiter(LOOK_AT_ONCE)
        self._attempts = Attempts()
        self._tickets = Tickets()
        self._start_hash = ""

    async def start(self) -> None:
        """Look who has to sign in, and make the token that the server begins with."""
        self.mode = await to_thread.run_sync(self._find_mode)
        if self.mode is Mode.TOKEN:
            self.start_token = new_secret()
            self._start_hash = hash_secret(self.start_token)

    def link(self, address: str) -> str:
        """Return what to open in a browser, for a server at this address."""
        if self.start_token is None:
            return address
        return f"{address.rstrip('/')}/#token={self.start_token}"

    def close(self) -> None:
        """End the audit log and close the store. Blocks."""
        self.audit.close()
        self.store.close()

    def _find_mode(self) -> Mode:
        if self._setting != "auto":
            return Mode(self._setting)
        if self.provider is not None or self._has_had_users():
            return Mode.USERS
        return Mode.TOKEN if self._asks_token else Mode.OPEN

    def _has_had_users(self) -> bool:
        """Tell whether there are users, or were: what is theirs opens to nobody without them."""
        if not self.store.has_users():
            return self._mark.exists()
        if not self._mark.exists():
            # A full disk keeps nobody out: the next request tries again.
            with contextlib.suppress(OSError):
                self._mark.touch(0o600)
                for path in (self._mark, self._mark.parent):
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)
        return True

    # ---- who asks ------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Tell whether nobody has to sign in."""
        return self.mode is Mode.OPEN

    async def person(self, request: Mapping[str, Any]) -> Person | None:
        """Return who asks, by a cookie or a bearer token; None if nothing says so."""
        return (await self.visitor(request)).person

    async def visitor(self, request: Mapping[str, Any]) -> Visitor:
        """Return who asks, and how we know."""
        if HOST_PERSON in request:  # the application around us knows its own people
            return Visitor(request[HOST_PERSON], Mode.HOST)
        is_here = is_from_here(request.get("client"), headers_of(request))
        given = read_credentials(request, self._origin)
        visitor = await to_thread.run_sync(self._look, given, is_here, limiter=self._looking)
        self.mode = visitor.mode
        return visitor

    async def redeem(self, ticket: str) -> Person | None:
        """Return whose ticket this is and forget it; None if it is not, or no longer, good."""
        person = self._tickets.redeem(ticket)
        if person is None or not person.proof:
            return person
        ended = await to_thread.run_sync(self.ended, {person.proof}, limiter=self._looking)
        return None if ended else person

    def ended(self, proofs: Collection[str]) -> set[str]:
        """Return which proofs of people would let nobody in any more. Blocks.

        A session whose time is over is none of them: it begins nothing, and ends nothing.
        """
        keys = {proof: _Proof.parse(proof) for proof in proofs if proof}
        if not keys:
            return set()
        mode = self._find_mode()
        stored = [proof.key for proof in keys.values() if proof.key != self._start_hash]
        standing = {row.key: row for row in self.store.standing(stored)} if stored else {}
        return {
            name
            for name, proof in keys.items()
            if not self._stands(proof, standing.get(proof.key), mode)
        }

    def _stands(self, proof: _Proof, standing: Standing | None, mode: Mode) -> bool:
        if proof.key == self._start_hash:
            return mode is Mode.TOKEN
        if standing is None or (not standing.has_owner and mode is Mode.USERS):
            return False
        return standing.is_admin or not standing.has_owner or not proof.is_admin

    def issue_ticket(self, person: Person) -> str:
        """Return a ticket for one socket of this person, good for 30 s."""
        return self._tickets.issue(person)

    def _look(self, given: Credentials, is_here: bool) -> Visitor:
        mode = self._find_mode()
        is_let_in = mode is Mode.OPEN and (is_here or self._setting == "open")
        if given.bearer is not None:
            person = self._of_bearer(given.bearer, mode)
            return Visitor(person or (LOCAL if is_let_in else None), mode)
        if given.session is not None:
            person = self._of_session(given, mode)
            if person is not None:
                return Visitor(person, mode, given.session)
        return Visitor(LOCAL if is_let_in else None, mode)

    def _of_bearer(self, bearer: str, mode: Mode) -> Person | None:
        if mode is Mode.TOKEN and self._start_hash and is_secret(bearer, self._start_hash):
            return replace(LOCAL, proof=_Proof(self._start_hash).text)
        key = hash_secret(bearer)
        token = self.store.token(key)
        if token is None:
            return None
        if token.user is not None:
            is_admin = token.user.is_admin and Scope.MANAGE in token.scopes
            proof = _Proof(key, is_admin).text
            return Person(token.user.id, token.user.name, token.scopes, is_admin, proof=proof)
        if mode is Mode.USERS:
            return None  # from the days before there were users
        is_admin, proof = Scope.MANAGE in token.scopes, _Proof(key).text
        return Person("", token.name, token.scopes, is_admin, proof=proof)

    def _of_session(self, given: Credentials, mode: Mode) -> Person | None:
        key = hash_secret(given.session or "")
        session = self.store.session(key)
        if session is None or session.is_secure is not given.is_secure:
            return None
        if session.user is not None:
            is_admin, proof = session.user.is_admin, _Proof(key, session.user.is_admin).text
            return Person(session.user.id, session.user.name, ALL, is_admin, proof=proof)
        invitation = session.invitation
        if mode is Mode.USERS and (invitation is None or invitation.user is None):
            return None  # from the days before there were users
        if invitation is not None:
            return replace(_guest(invitation, session.consent), proof=_Proof(key).text)
        return replace(LOCAL, proof=_Proof(key).text)

    # ---- in and out ------------------------------------------------------------------

    async def sign_in(
        self, name: str, password: str, address: str, *, is_secure: bool
    ) -> str | TooEarly | None:
        """Return the cookie of a new session; None if name or password is wrong."""
        account = folded(name)
        wait_s = self._attempts.begin(account, address, time.monotonic())
        if wait_s > 0:
            self.audit.note("sign-in-too-early", how="password")
            return TooEarly(wait_s)
        user = await to_thread.run_sync(self.store.user, name)
        kept = None if user is None else user.password
        if not await self._passwords.is_password(password, kept) or user is None:
            self.audit.note(
                "sign-in-refused", how="password", user=None if user is None else user.id
            )
            return None
        self._attempts.succeeded(account, address)
        return await self.begin_session(user, how="password", is_secure=is_secure)

    async def begin_session(self, user: User, *, how: str, is_secure: bool) -> str:
        """Return the cookie of a new session of somebody who has proved who it is."""
        cookie = new_secret()
        await to_thread.run_sync(
            lambda: self.store.add_session(
                hash_secret(cookie), self._life_s, user=user.id, is_secure=is_secure
            )
        )
        self.audit.note("sign-in", how=how, user=user.id)
        return cookie

    async def sign_in_by_token(self, token: str, *, is_secure: bool) -> str | None:
        """Return the cookie of a new session for the token that the server printed."""
        mode = await to_thread.run_sync(self._find_mode)
        is_good = bool(self._start_hash) and is_secret(token, self._start_hash)
        if mode is not Mode.TOKEN or not is_good:
            self.audit.note("sign-in-refused", how="token")
            return None
        cookie = new_secret()
        await to_thread.run_sync(
            lambda: self.store.add_session(hash_secret(cookie), self._life_s, is_secure=is_secure)
        )
        self.audit.note("sign-in", how="token")
        return cookie

    async def sign_out(self, visitor: Visitor, *, everywhere: bool) -> None:
        """End a session, or all of a user; an invited one has none elsewhere."""
        person, session = visitor.person, visitor.session
        if person is None:
            return
        if session is not None:
            await to_thread.run_sync(self.store.end_session, hash_secret(session))
        if everywhere and person.invitation is None:
            await to_thread.run_sync(self.store.end_sessions, person.id or None)
            self._tickets.forget(person.id)
        self.audit.note("sign-out", user=person.id, everywhere=everywhere)

    # ---- invitations and tokens --------------------------------------------------------

    async def look_at_invitation(self, code: str) -> Invitation | None:
        """Return the invitation of a code if something may still be begun with it."""
        found = await to_thread.run_sync(self.store.invitation, hash_secret(code))
        if found is None or (found.until is not None and self._clock() > found.until):
            return None
        return found

    async def accept_invitation(
        self, invitation: Invitation, version: str, *, is_secure: bool
    ) -> str | TooEarly | None:
        """Return the cookie of a guest; None if the text agreed to is not the present one."""
        if version != invitation.consent_version:
            return None
        consent = None
        if invitation.consent_text:
            consent = {
                "version": version,
                "text_sha256": hashlib.sha256(invitation.consent_text.encode()).hexdigest(),
                "accepted_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        cookie = new_secret()
        is_in = await to_thread.run_sync(
            lambda: self.store.add_session(
                hash_secret(cookie),
                self._life_s,
                invitation=invitation.id,
                consent=consent,
                is_secure=is_secure,
            )
        )
        if not is_in:
            return TooEarly(60)
        self.audit.note("invitation-accepted", invitation=invitation.id, consent=version or None)
        return cookie

    async def invite(self, person: Person, invitation: Invitation) -> str:
        """Keep an invitation; return the code that is in its link, which nobody can read again."""
        code = new_secret()
        await to_thread.run_sync(self.store.add_invitation, hash_secret(code), invitation)
        self.audit.note("invitation-made", user=person.id, invitation=invitation.id)
        return code

    async def make_token(
        self, person: Person, name: str, scopes: frozenset[Scope]
    ) -> tuple[str, str]:
        """Return the id of a new API token and the token, which nobody can read again."""
        secret = new_secret(TOKEN_PREFIX)
        token = await to_thread.run_sync(
            self.store.add_token, hash_secret(secret), person.id or None, name, scopes
        )
        self.audit.note("token-made", user=person.id, token=token)
        return token, secret

    async def tokens(self, person: Person) -> list[Token]:
        """Return somebody's API tokens."""
        return await to_thread.run_sync(self.store.tokens, person.id or None)

    async def remove_token(self, person: Person, token: str) -> bool:
        """Take an API token back; False if the person has no such token."""
        done = await to_thread.run_sync(self.store.remove_token, token, person.id or None)
        if done:
            self.audit.note("token-removed", user=person.id, token=token)
        return done

    async def invitations(self, person: Person) -> list[Invitation]:
        """Return somebody's invitations."""
        return await to_thread.run_sync(self.store.invitations, person.id or None)

    async def remove_invitation(self, person: Person, invitation: str) -> bool:
        """Take an invitation back; False if the person has none such."""
        done = await to_thread.run_sync(self.store.remove_invitation, invitation, person.id or None)
        if done:
            self.audit.note("invitation-removed", user=person.id, invitation=invitation)
        return done


def _guest(invitation: Invitation, consent: dict[str, str] | None) -> Person:
    return Person(
        invitation.user or "",
        invitation.name,
        frozenset({Scope.RECORD}),
        invitation=invitation.id,
        consent=consent,
        max_seconds=invitation.max_seconds,
    )
