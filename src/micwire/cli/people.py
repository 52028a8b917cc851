"""`micwire user`, `token` and `invite`: who may do what, from the command line.

They write into the server's own store, whether it runs or not; what is taken back is
worthless with the next request. A password comes from a prompt or from standard input, never
from an argument, which every process of the machine can read.
"""

import getpass
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from micwire.access.audit import FILE as AUDIT_FILE
from micwire.access.audit import Audit
from micwire.access.secrets import TOKEN_PREFIX, hash_secret, new_id, new_secret
from micwire.access.store import FILE as STORE_FILE
from micwire.access.store import Invitation, NoSuchUserError, Store, User
from micwire.cli.exits import USAGE, WRONG
from micwire.core.people import Scope

Data = Annotated[Path, typer.Option(envvar="MICWIRE_DATA", help="The data directory.")]
Owner = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Whose; needed once there are users.")
]
HERE = Path("recordings")
_SPAN = re.compile(r"(\d+)([hdw])")
_SPAN_S = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}

users = typer.Typer(no_args_is_help=True, help="Add, change, remove and list users.")
tokens = typer.Typer(no_args_is_help=True, help="Make, list and take back tokens for programs.")
invitations = typer.Typer(
    no_args_is_help=True, help="Make, list and take back links with which others may record."
)


@contextmanager
def _office(data: Path) -> Iterator[tuple[Store, Audit]]:
    store = Store(data / ".micwire" / STORE_FILE)
    audit = Audit(data / ".micwire" / AUDIT_FILE, lambda error: typer.echo(str(error), err=True))
    try:
        yield store, audit
    finally:
        audit.close()
        store.close()


def _stop(code: int, words: str) -> typer.Exit:
    typer.echo(f"micwire: {words}", err=True)
    return typer.Exit(code)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise _stop(USAGE, "the two are not the same")
    return password


def _hashed_password() -> str:
    from micwire.access.passwords import hash_password

    try:
        return hash_password(_password())
    except ValueError as error:
        raise _stop(USAGE, str(error)) from None


def _owner(store: Store, name: str | None) -> User | None:
    if name is None:
        if store.has_users():
            raise _stop(USAGE, "say whose with --user NAME")
        return None
    user = store.user(name)
    if user is None:
        raise NoSuchUserError(f"there is no user {name!r}")
    return user


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}Z"


# ---- users ------------------------------------------------------------------------------


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the person signs in with.")],
    *,
    admin: Annotated[
        bool, typer.Option("--admin", help="Everybody's recordings are theirs to see and edit.")
    ] = False,
    data: Data = HERE,
) -> None:
    """Add a user; the password is asked for, or read from standard input.

    With the first one the server begins to ask everybody to sign in, on loopback as well.

    \b
    micwire user add anna --admin
    micwire user add berta < password.txt
    """
    with _office(data) as (store, audit):
        try:
            user = store.add_user(name, _hashed_password(), is_admin=admin)
        except ValueError as error:
            raise _stop(USAGE, str(error)) from None
        audit.note("user-added", user=user.id, is_admin=admin, how="command")
        typer.echo(f"{user.name} can sign in")


@users.command("passwd")
def set_password(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose password.")],
    *,
    data: Data = HERE,
) -> None:
    """Replace a password; all the user's sessions and API tokens end.

    \b
    micwire user passwd anna
    """
    with _office(data) as (store, audit):
        user = store.set_password(name, _hashed_password())
        audit.note("password-changed", user=user.id, how="command")
        typer.echo(f"{user.name} has a new password; sessions and API tokens have ended")


@users.command("admin")
def set_admin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who.")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Not any more.")] = False,
    data: Data = HERE,
) -> None:
    """Let a user see and edit everybody's recordings.

    \b
    micwire user admin berta
    micwire user admin berta --remove
    """
    with _office(data) as (store, audit):
        user = store.set_admin(name, is_admin=not remove)
        audit.note("admin-removed" if remove else "admin-made", user=user.id, how="command")
        typer.echo(f"{user.name} is {'no admin any more' if remove else 'an admin'}")


@users.command("remove")
def remove_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who.")], *, data: Data = HERE
) -> None:
    """Remove a user with sessions, tokens and invitations. The recordings stay, for admins.

    \b
    micwire user remove anna
    """
    with _office(data) as (store, audit):
        user = store.remove_user(name)
        audit.note("user-removed", user=user.id, how="command")
        typer.echo(f"{user.name} is removed")


@users.command("list")
def list_users(*, data: Data = HERE) -> None:
    """List users: name, id, role, how they sign in, since when.

    \b
    micwire user list
    """
    with _office(data) as (store, _):
        for user in store.users():
            role = "admin" if user.is_admin else "user"
            how = user.issuer or ("password" if user.password else "nothing")
            typer.echo(f"{user.name}\t{user.id}\t{role}\t{how}\t{_date(user.created_at)}")


# ---- tokens -----------------------------------------------------------------------------


@tokens.command("create")
def make_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be given several times.")],
    user: Owner = None,
    data: Data = HERE,
) -> None:
    """Make a token for a program, and print it: nobody can read it again.

    \b
    micwire token create studio --scope record --user anna
    micwire send talk.wav --token micwire_...      or in MICWIRE_TOKEN
    """
    with _office(data) as (store, audit):
        owner = _owner(store, user)
        secret = new_secret(TOKEN_PREFIX)
        who = None if owner is None else owner.id
        try:
            token = store.add_token(hash_secret(secret), who, name, frozenset(scope))
        except ValueError as error:
            raise _stop(USAGE, str(error)) from None
        audit.note("token-made", user=who, token=token, how="command")
        typer.echo(secret)


@tokens.command("list")
def list_tokens(*, user: Owner = None, data: Data = HERE) -> None:
    """List somebody's tokens: id, name, scopes, since when.

    \b
    micwire token list --user anna
    """
    with _office(data) as (store, _):
        owner = _owner(store, user)
        for token in store.tokens(None if owner is None else owner.id):
            scopes = ",".join(sorted(token.scopes))
            typer.echo(f"{token.id}\t{token.name}\t{scopes}\t{_date(token.created_at)}")


@tokens.command("remove")
def remove_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="As `micwire token list` says.")],
    *,
    user: Owner = None,
    data: Data = HERE,
) -> None:
    """Take a token back.

    \b
    micwire token remove 4f1c0a7be2d95a38 --user anna
    """
    with _office(data) as (store, audit):
        owner = _owner(store, user)
        who = None if owner is None else owner.id
        if not store.remove_token(token, who):
            raise _stop(WRONG, "there is no such token")
        audit.note("token-removed", user=who, token=token, how="command")


# ---- invitations ------------------------------------------------------------------------


@invitations.command("create")
def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    user: Owner = None,
    url: Annotated[
        str, typer.Option(help="The server's address, as the invited will call it.")
    ] = "http://127.0.0.1:8000",
    recordings: Annotated[
        int | None, typer.Option(min=1, help="How many may be made.  [default: any number]")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long one may be.  [default: any length]")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Nothing is begun afterwards: 12h, 7d, 2w, or as 2026-12-24T18:00+01:00."
            "  [default: for ever]",
        ),
    ] = None,
    consent: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text to agree to first; UTF-8, plain."),
    ] = None,
    consent_version: Annotated[
        str, typer.Option(help="Its version; kept with each recording, with hash and time.")
    ] = "1",
    data: Data = HERE,
) -> None:
    """Make a link with which others may record, and nothing else; print it once.

    The recordings are the user's who invites.

    \b
    micwire invite create "Dialect study" --user anna --recordings 3 --seconds 600 --until 2w
    micwire invite create Jury --consent consent.txt --consent-version 2026-11
    """
    code = new_secret()
    with _office(data) as (store, audit):
        owner = _owner(store, user)
        invitation = Invitation(
            id=new_id(),
            user=None if owner is None else owner.id,
            name=name,
            max_recordings=recordings,
            max_seconds=seconds,
            until=None if until is None else _moment(until),
            consent_version="" if consent is None else consent_version,
            consent_text="" if consent is None else consent.read_text(encoding="utf-8").strip(),
            created_at=time.time(),
        )
        try:
            store.add_invitation(hash_secret(code), invitation)
        except ValueError as error:
            raise _stop(USAGE, str(error)) from None
        audit.note("invitation-made", user=invitation.user, invitation=invitation.id, how="command")
    typer.echo(f"{url.rstrip('/')}/#invite={code}")


def _moment(text: str) -> float:
    span = _SPAN.fullmatch(text)
    if span is not None:
        return time.time() + int(span[1]) * _SPAN_S[span[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise _stop(USAGE, f"{text!r} is no time; one looks like 7d or 2026-12-24T18:00") from None


@invitations.command("list")
def list_invitations(*, user: Owner = None, data: Data = HERE) -> None:
    """List somebody's invitations: id, name, used and limit, until when.

    \b
    micwire invite list --user anna
    """
    with _office(data) as (store, _):
        owner = _owner(store, user)
        for each in store.invitations(None if owner is None else owner.id):
            limit = "any" if each.max_recordings is None else each.max_recordings
            until = "for ever" if each.until is None else _date(each.until)
            typer.echo(f"{each.id}\t{each.name}\t{each.used} of {limit}\t{until}")


@invitations.command("remove")
def remove_invitation(
    invitation: Annotated[str, typer.Argument(metavar="ID", help="As `micwire invite list` says.")],
    *,
    user: Owner = None,
    data: Data = HERE,
) -> None:
    """Take an invitation back: whoever came by it is let do nothing more.

    \b
    micwire invite remove 4f1c0a7be2d95a38 --user anna
    """
    with _office(data) as (store, audit):
        owner = _owner(store, user)
        who = None if owner is None else owner.id
        if not store.remove_invitation(invitation, who):
            raise _stop(WRONG, "there is no such invitation")
        audit.note("invitation-removed", user=who, invitation=invitation, how="command")
