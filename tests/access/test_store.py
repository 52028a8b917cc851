"""What is kept of users, sessions, tokens and invitations, also by two processes at once."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from micwire.access.store import (
    FILE,
    MAX_GUESTS_A_MINUTE,
    Invitation,
    NameTakenError,
    NoSuchUserError,
    Store,
    clean_name,
)
from micwire.core.errors import AccessError
from micwire.core.people import Scope

DAY_S = 86_400.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / ".micwire" / FILE, clock)


def invitation(name: str = "Study", **facts: object) -> Invitation:
    fields: dict[str, object] = {
        "id": name, "user": None, "name": name, "max_recordings": None, "max_seconds": None,
        "until": None, "consent_version": "", "consent_text": "", "created_at": 0.0,
    }  # fmt: skip
    return Invitation(**(fields | facts))  # type: ignore[arg-type]  # values of many kinds


def test_a_server_without_users_has_no_file(store: Store, tmp_path: Path) -> None:
    assert not store.has_users()
    assert store.users() == []
    assert store.session("x") is None
    assert store.token("x") is None
    assert store.user("anna") is None
    assert not (tmp_path / ".micwire").exists()


def test_only_the_owner_of_the_file_can_read_it(store: Store, tmp_path: Path) -> None:
    store.add_user("anna", "hash")
    for path in (tmp_path / ".micwire").iterdir():
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_user_is_found_however_the_name_is_written(store: Store) -> None:
    user = store.add_user("Ännä", "hash", is_admin=True)
    for name in ("Ännä", "ännä", "ÄNNÄ", " A\u0308nna\u0308 "):
        assert store.user(name) == user
    with pytest.raises(NameTakenError):
        store.add_user("ÄNNÄ", "hash")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "x" * 65, "a\u202eb"])
def test_what_cannot_be_seen_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        clean_name(name)


def test_a_session_ends_in_time_and_survives_restarts(store: Store, clock: Clock) -> None:
    user = store.add_user("anna", "hash")
    store.add_session("cookie", DAY_S, user=user.id, is_secure=True)
    store.close()
    session = store.session("cookie")
    assert session is not None
    assert session.user == user
    assert session.is_secure
    clock.now += DAY_S
    assert store.session("cookie") is None


def test_a_new_password_ends_every_session_and_token_of_that_user_alone(store: Store) -> None:
    for name in ("anna", "berta"):
        user = store.add_user(name, "hash")
        store.add_session(name, DAY_S, user=user.id, is_secure=False)
        store.add_token(f"{name}'s", user.id, "x", frozenset({Scope.READ}))
    store.set_password("anna", "other")
    assert store.token("anna's") is None
    assert store.token("berta's") is not None
    assert store.session("anna") is None
    assert store.session("berta") is not None


def test_a_user_who_is_removed_leaves_nothing_that_works(store: Store) -> None:
    user = store.add_user("anna", "hash")
    store.add_session("cookie", DAY_S, user=user.id, is_secure=False)
    store.add_token("token", user.id, "backup", frozenset({Scope.READ}))
    store.add_invitation("code", invitation(user=user.id))
    store.add_session("guest", DAY_S, invitation="Study", is_secure=False)
    store.remove_user("ANNA")
    assert not store.has_users()
    assert store.session("cookie") is store.session("guest") is None
    assert store.token("token") is None
    assert store.invitation("code") is None
    with pytest.raises(NoSuchUserError):
        store.remove_user("anna")


def test_a_token_is_taken_back_by_its_owner_only(store: Store) -> None:
    anna, berta = store.add_user("anna", "hash"), store.add_user("berta", "hash")
    token = store.add_token("key", anna.id, "backup", frozenset({Scope.READ, Scope.RECORD}))
    [kept] = store.tokens(anna.id)
    assert kept.scopes == {Scope.READ, Scope.RECORD}
    assert not store.remove_token(token, berta.id)
    assert not store.remove_token(token, None)
    assert store.remove_token(token, anna.id)
    assert store.token("key") is None


def test_an_invitation_is_used_so_many_times_however_many_try(store: Store) -> None:
    store.add_invitation("code", invitation(max_recordings=3))
    worked: list[bool] = []

    def use(number: int) -> None:
        other = Store(store._path)
        worked.append(other.use_invitation("Study", f"take {number}", f"recording {number}"))
        other.close()

    threads = [threading.Thread(target=use, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(worked) == [False] * 9 + [True] * 3


def test_the_parts_of_a_take_are_one_use(store: Store) -> None:
    store.add_invitation("code", invitation(max_recordings=1))
    assert store.use_invitation("Study", "take", "part 0")
    assert store.use_invitation("Study", "take", "part 1")
    assert not store.use_invitation("Study", "another take", "part 0")
    found = store.invitation("code")
    assert found is not None
    assert found.used == 1


def test_guests_come_at_most_sixty_a_minute(store: Store, clock: Clock) -> None:
    store.add_invitation("code", invitation())
    for number in range(MAX_GUESTS_A_MINUTE):
        assert store.add_session(f"{number}", 60, invitation="Study", is_secure=True)
    assert not store.add_session("one more", 60, invitation="Study", is_secure=True)
    assert store.session("one more") is None
    clock.now += 61
    assert store.add_session("later", 60, invitation="Study", is_secure=True)


def test_nothing_is_begun_after_the_end_of_an_invitation(store: Store, clock: Clock) -> None:
    store.add_invitation("code", invitation(until=clock.now + 60))
    assert store.use_invitation("Study", "take", "recording")
    clock.now += 61
    assert not store.use_invitation("Study", "take", "part 1")
    assert not store.use_invitation("nothing", "take", "recording")


def test_a_file_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(AccessError, match=FILE):
        Store(path).has_users()


def test_a_file_of_a_newer_micwire_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.add_user("anna", "hash")
    store.close()
    with sqlite3.connect(store._path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(AccessError, match="newer"):
        store.has_users()
