"""What is kept of users, sessions, tokens and invitations: one small SQLite file.

It is no index of anything and nobody can rebuild it, so it is not in the catalogue, and
every change is synced. Everything here blocks: call it on a thread. A second process, the
command line, may change it at any time, so nothing is remembered outside of it.
"""

import json
import os
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from micwire.access.secrets import new_id
from micwire.core.errors import AccessError, MicwireError
from micwire.core.people import Scope

FILE = "access.sqlite"
VERSION = 1
MAX_NAME_CHARACTERS = 64
MAX_GUESTS_A_MINUTE = 60
"""With one invitation: each is a write that others wait for."""
MAX_PARTS = 100
"""Of one take: an invitation counts takes, and a change of the microphone begins a part."""
LINGERS_S = 7 * 86_400.0
"""So long a session that is over by its time is kept: what was open by then may go on."""

_SCHEMA = """
CREATE TABLE users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, password TEXT,
    issuer TEXT, subject TEXT, is_admin INTEGER NOT NULL, created_at REAL NOT NULL,
    UNIQUE (issuer, subject));
CREATE TABLE sessions (
    hash TEXT PRIMARY KEY, user TEXT REFERENCES users ON DELETE CASCADE,
    invitation TEXT REFERENCES invitations ON DELETE CASCADE, consent TEXT,
    is_secure INTEGER NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX sessions_of_users ON sessions (user);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user TEXT REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL, scopes TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE invitations (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user TEXT REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL, max_recordings INTEGER, max_seconds REAL, until REAL,
    consent_version TEXT NOT NULL, consent_text TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE uses (
    invitation TEXT NOT NULL REFERENCES invitations ON DELETE CASCADE, take TEXT NOT NULL,
    recording TEXT NOT NULL, PRIMARY KEY (invitation, take, recording));
"""


class NameTakenError(MicwireError):
    """There is a user of that name."""

    code = "name-taken"


class NoSuchUserError(MicwireError):
    """There is no user of that name."""

    code = "no-such-user"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account."""

    id: str
    name: str
    password: str | None
    is_admin: bool
    issuer: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link with which somebody may record, and nothing else."""

    id: str
    user: str | None
    """Who invites, and whose the recordings are; None on a server without users."""
    name: str
    max_recordings: int | None
    max_seconds: float | None
    until: float | None
    """Nothing is begun after this time, as seconds since 1970."""
    consent_version: str
    consent_text: str
    created_at: float
    used: int = 0
    """How many takes were begun."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in."""

    user: User | None
    invitation: Invitation | None
    consent: dict[str, str] | None
    is_secure: bool
    """It was made over https, and its cookie is one that only https can set."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a session or an API token is worth now."""

    key: str
    """The hash."""
    has_owner: bool
    """It is of a user, or by a user's invitation."""
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Token:
    """What a program has instead of a password."""

    id: str
    user: User | None
    name: str
    scopes: frozenset[Scope]
    created_at: float


def clean_name(name: str) -> str:
    """Return a name as it is kept.

    Raises:
        ValueError: It is empty, too long, or holds what can't be seen.
    """
    clean = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(clean) <= MAX_NAME_CHARACTERS or not clean.isprintable():
        raise ValueError(f"a name has 1 to {MAX_NAME_CHARACTERS} visible characters")
    return clean


def clean_label(label: str) -> str:
    """Return what something is called, for people: what can't be seen is replaced."""
    clean = unicodedata.normalize("NFC", label)[:MAX_NAME_CHARACTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in clean)


def folded(name: str) -> str:
    """Return what is the same of all ways to write a name."""
    return unicodedata.normalize("NFC", name).strip().casefold()


class Store:
    """The file. It is made by the first change.

    Args:
        path: Where it is.
        clock: Seconds since 1970.

    Every method may raise AccessError.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    @contextmanager
    def _open(self, *, is_change: bool) -> Iterator[sqlite3.Connection | None]:
        """Yield the database in a transaction; None if there is nothing to read yet."""
        with self._lock:
            try:
                if self._database is None:
                    if not is_change and not self._path.exists():
                        yield None
                        return
                    self._database = self._connect()
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE" if is_change else "BEGIN")
                    yield self._database
            except sqlite3.IntegrityError:
                raise
            except (sqlite3.Error, OSError) as error:
                raise AccessError(f"{self._path} can't be used: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else on this machine is to read it; SQLite gives its journal the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(
            self._path, timeout=10, isolation_level=None, check_same_thread=False
        )
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA synchronous = EXTRA")
        database.execute("PRAGMA secure_delete = ON")
        with database:
            database.execute("BEGIN IMMEDIATE")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise AccessError(f"{self._path} was written by a newer micwire")
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")
        return database

    # ---- users -------------------------------------------------------------------

    def has_users(self) -> bool:
        """Tell whether anybody has an account."""
        with self._open(is_change=False) as database:
            return database is not None and bool(
                database.execute("SELECT EXISTS (SELECT 1 FROM users)").fetchone()[0]
            )

    def add_user(
        self,
        name: str,
        password: str | None,
        *,
        is_admin: bool = False,
        issuer: str | None = None,
        subject: str | None = None,
    ) -> User:
        """Add somebody, by the hash of a password or as an account of an OIDC provider.

        Raises:
            NameTakenError: There is such a user.
            ValueError: The name is none.
        """
        name = clean_name(name)
        user = User(new_id(), name, password, is_admin, issuer, self._clock())
        row = (user.id, name, folded(name), password, issuer, subject, is_admin, user.created_at)
        try:
            with self._open(is_change=True) as database:
                assert database is not None
                database.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise NameTakenError(f"there is a user {name!r}") from None
        return user

    def user(self, name: str) -> User | None:
        """Return the user of a name, however it is capitalized."""
        return self._user("folded = ?", folded(name))

    def user_of(self, issuer: str, subject: str) -> User | None:
        """Return the user that a provider knows under a name of its own."""
        return self._user("issuer = ? AND subject = ?", issuer, subject)

    def _user(self, where: str, *values: str) -> User | None:
        with self._open(is_change=False) as database:
            if database is None:
                return None
            row = database.execute(f"SELECT {_USER} FROM users WHERE {where}", values).fetchone()
            return None if row is None else _user(row)

    def users(self) -> list[User]:
        """Return everybody, by name."""
        with self._open(is_change=False) as database:
            if database is None:
                return []
            rows = database.execute(f"SELECT {_USER} FROM users ORDER BY folded").fetchall()
            return [_user(row) for row in rows]

    def set_password(self, name: str, password: str) -> User:
        """Replace the hash of a password, and end every session and API token.

        Raises:
            NoSuchUserError: There is no such user.
        """
        user = self._existing(name)
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("UPDATE users SET password = ? WHERE id = ?", (password, user.id))
            database.execute("DELETE FROM sessions WHERE user = ?", (user.id,))
            database.execute("DELETE FROM tokens WHERE user = ?", (user.id,))
        return user

    def set_admin(self, name: str, *, is_admin: bool) -> User:
        """Let somebody see and edit everybody's recordings, or no more.

        Raises:
            NoSuchUserError: There is no such user.
        """
        user = self._existing(name)
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("UPDATE users SET is_admin = ? WHERE id = ?", (is_admin, user.id))
        return user

    def remove_user(self, name: str) -> User:
        """Remove somebody with all sessions, tokens and invitations; recordings stay.

        Raises:
            NoSuchUserError: There is no such user.
        """
        user = self._existing(name)
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("DELETE FROM users WHERE id = ?", (user.id,))
        return user

    def _existing(self, name: str) -> User:
        user = self.user(name)
        if user is None:
            raise NoSuchUserError(f"there is no user {name!r}")
        return user

    # ---- sessions ----------------------------------------------------------------

    def add_session(
        self,
        key: str,
        life_s: float,
        *,
        user: str | None = None,
        invitation: str | None = None,
        consent: dict[str, str] | None = None,
        is_secure: bool,
    ) -> bool:
        """Sign a browser in, by the hash of its cookie; False for a guest too many at once."""
        now = self._clock()
        agreed = None if consent is None else json.dumps(consent)
        with self._open(is_change=True) as database:
            assert database is not None
            (guests,) = database.execute(
                "SELECT count(*) FROM sessions WHERE invitation = ? AND created_at > ?",
                (invitation, now - 60),
            ).fetchone()
            if guests >= MAX_GUESTS_A_MINUTE:
                return False
            database.execute("DELETE FROM sessions WHERE expires_at < ?", (now - LINGERS_S,))
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, user, invitation, agreed, is_secure, now, now + life_s),
            )
            return True

    def session(self, key: str) -> Session | None:
        """Return the session of a cookie's hash, if it is not over."""
        with self._open(is_change=False) as database:
            if database is None:
                return None
            row = database.execute(
                "SELECT user, invitation, consent, is_secure FROM sessions"
                " WHERE hash = ? AND expires_at > ?",
                (key, self._clock()),
            ).fetchone()
            if row is None:
                return None
            user_id, invitation_id, consent, is_secure = row
            return Session(
                self._by_id(database, user_id),
                self._invitation(database, "id = ?", invitation_id) if invitation_id else None,
                None if consent is None else json.loads(consent),
                bool(is_secure),
            )

    @staticmethod
    def _by_id(database: sqlite3.Connection, user: str | None) -> User | None:
        if user is None:
            return None
        return _user(
            database.execute(f"SELECT {_USER} FROM users WHERE id = ?", (user,)).fetchone()
        )

    def end_session(self, key: str) -> None:
        """Sign a browser out."""
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("DELETE FROM sessions WHERE hash = ?", (key,))

    def end_sessions(self, user: str | None) -> None:
        """Sign somebody out everywhere; None is everybody who came with the server's token."""
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("DELETE FROM sessions WHERE user IS ? AND invitation IS NULL", (user,))

    def standing(self, keys: Collection[str]) -> list[Standing]:
        """Return which of these hashes are sessions or API tokens that nobody has ended."""
        with self._open(is_change=False) as database:
            if database is None:
                return []
            rows = database.execute(_STANDING, {"keys": json.dumps(list(keys))}).fetchall()
            return [Standing(key, bool(has_owner), bool(admin)) for key, has_owner, admin in rows]

    # ---- tokens ------------------------------------------------------------------

    def add_token(self, key: str, user: str | None, name: str, scopes: frozenset[Scope]) -> str:
        """Keep the hash of an API token; return the name it can be taken back by."""
        token = new_id()
        row = (token, key, user, clean_label(name), " ".join(sorted(scopes)), self._clock())
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", row)
        return token

    def token(self, key: str) -> Token | None:
        """Return the API token of a hash."""
        found = self._tokens("hash = ?", key)
        return found[0] if found else None

    def tokens(self, user: str | None) -> list[Token]:
        """Return the API tokens of somebody, the oldest first."""
        return self._tokens("user IS ?", user)

    def _tokens(self, where: str, value: str | None) -> list[Token]:
        with self._open(is_change=False) as database:
            if database is None:
                return []
            rows = database.execute(
                f"SELECT id, user, name, scopes, created_at FROM tokens WHERE {where}"
                " ORDER BY created_at",
                (value,),
            ).fetchall()
            return [
                Token(
                    token,
                    self._by_id(database, user),
                    name,
                    frozenset(Scope(scope) for scope in scopes.split()),
                    created_at,
                )
                for token, user, name, scopes, created_at in rows
            ]

    def remove_token(self, token: str, user: str | None) -> bool:
        """Take an API token back; False if this user has no such token."""
        return self._remove("tokens", token, user)

    def _remove(self, table: str, row: str, user: str | None) -> bool:
        with self._open(is_change=True) as database:
            assert database is not None
            done = database.execute(f"DELETE FROM {table} WHERE id = ? AND user IS ?", (row, user))
            return done.rowcount == 1

    # ---- invitations -------------------------------------------------------------

    def add_invitation(self, key: str, invitation: Invitation) -> None:
        """Keep an invitation and the hash of its code."""
        row = (
            invitation.id, key, invitation.user, clean_label(invitation.name),
            invitation.max_recordings, invitation.max_seconds, invitation.until,
            invitation.consent_version, invitation.consent_text, invitation.created_at,
        )  # fmt: skip
        with self._open(is_change=True) as database:
            assert database is not None
            database.execute("INSERT INTO invitations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def invitation(self, key: str) -> Invitation | None:
        """Return the invitation of a code's hash, also if it is over."""
        with self._open(is_change=False) as database:
            return None if database is None else self._invitation(database, "hash = ?", key)

    @staticmethod
    def _invitation(
        database: sqlite3.Connection, where: str, value: str | None
    ) -> Invitation | None:
        row = database.execute(f"{_INVITATIONS} WHERE {where}", (value,)).fetchone()
        return None if row is None else Invitation(*row)

    def invitations(self, user: str | None) -> list[Invitation]:
        """Return the invitations of somebody, the oldest first."""
        with self._open(is_change=False) as database:
            if database is None:
                return []
            rows = database.execute(f"{_INVITATIONS} WHERE user IS ? ORDER BY created_at", (user,))
            return [Invitation(*row) for row in rows.fetchall()]

    def remove_invitation(self, invitation: str, user: str | None) -> bool:
        """Take an invitation back, and end its sessions; False if this user has none such."""
        return self._remove("invitations", invitation, user)

    def parts(self, invitation: str, take: str) -> list[str]:
        """Return the recordings that were begun for a take."""
        with self._open(is_change=False) as database:
            if database is None:
                return []
            query = "SELECT recording FROM uses WHERE invitation = ? AND take = ?"
            return [recording for (recording,) in database.execute(query, (invitation, take))]

    def use_invitation(self, invitation: str, take: str, recording: str) -> bool:
        """Count a recording that begins; False if it is one too many, or too late."""
        with self._open(is_change=True) as database:
            assert database is not None
            found = self._invitation(database, "id = ?", invitation)
            if found is None or (found.until is not None and self._clock() > found.until):
                return False
            (parts,) = database.execute(
                "SELECT count(*) FROM uses WHERE invitation = ? AND take = ?", (invitation, take)
            ).fetchone()
            is_full = found.max_recordings is not None and found.used >= found.max_recordings
            if parts >= MAX_PARTS or (not parts and is_full):
                return False
            database.execute(
                "INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", (invitation, take, recording)
            )
            return True


_STANDING = """
SELECT sessions.hash, coalesce(sessions.user, invitations.user) IS NOT NULL, users.is_admin
FROM sessions LEFT JOIN users ON users.id = sessions.user
LEFT JOIN invitations ON invitations.id = sessions.invitation
WHERE sessions.hash IN (SELECT value FROM json_each(:keys))
UNION ALL
SELECT tokens.hash, tokens.user IS NOT NULL, users.is_admin
FROM tokens LEFT JOIN users ON users.id = tokens.user
WHERE tokens.hash IN (SELECT value FROM json_each(:keys))
"""
_USER = "id, name, password, is_admin, issuer, created_at"
_INVITATIONS = (
    "SELECT id, user, name, max_recordings, max_seconds, until, consent_version, consent_text,"
    " created_at, (SELECT count(DISTINCT take) FROM uses WHERE invitation = invitations.id)"
    " FROM invitations"
)


def _user(row: tuple[str, str, str | None, int, str | None, float]) -> User:
    user, name, password, is_admin, issuer, created_at = row
    return User(user, name, password, bool(is_admin), issuer, created_at)
