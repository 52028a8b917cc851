"""What a person may do and see."""

import pytest

from micwire.core.people import LOCAL, Person, Scope

ANNA = Person("anna", scopes=frozenset({Scope.RECORD, Scope.READ}))
ADMIN = Person("root", scopes=frozenset(Scope), is_admin=True)


def test_a_person_may_what_the_scopes_say() -> None:
    assert [scope for scope in Scope if ANNA.may(scope)] == [Scope.RECORD, Scope.READ]
    assert not any(Person("nobody").may(scope) for scope in Scope)


@pytest.mark.parametrize(
    ("person", "owner", "sees", "may_continue"),
    [
        (ANNA, "anna", True, True),
        (ANNA, "berta", False, False),
        (ANNA, "", False, True),  # begun before anybody signed in: the key is enough
        (ADMIN, "berta", True, True),
        (LOCAL, "", True, True),
        (LOCAL, "anna", True, True),  # the server asks nobody any more
    ],
)
def test_recordings_of_others_are_not_seen(
    person: Person, owner: str, *, sees: bool, may_continue: bool
) -> None:
    assert person.sees(owner) is sees
    assert person.may_continue(owner) is may_continue
