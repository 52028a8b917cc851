"""Who asks, and what they may do: values only.

How somebody proves who they are is in `access`; here is what follows from it.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Scope(StrEnum):
    """One thing that a person may do."""

    RECORD = "record"
    """Make recordings, and continue one's own."""
    READ = "read"
    """List and hear the recordings that one sees."""
    MANAGE = "manage"
    """Edit and delete the recordings that one sees."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who was let in.

    Args:
        id: Names the person in recordings, for ever; empty only where nobody signs in.
        name: What other people call them.
        scopes: What they may do.
        is_admin: Everybody's recordings are theirs to see.
        invitation: The invitation by which they came, if that is how.
        consent: What they agreed to: `version`, `text_sha256`, `accepted_at`.
        max_seconds: How long a recording of theirs may be.
        proof: What let them in, as a name that whoever let them in can look up again; empty
            if that can't be taken back.
    """

    id: str
    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    is_admin: bool = False
    invitation: str | None = None
    consent: dict[str, str] | None = field(default=None, hash=False)
    max_seconds: float | None = None
    proof: str = field(default="", compare=False, repr=False)

    def may(self, scope: Scope) -> bool:
        """Tell whether the person may do this at all."""
        return scope in self.scopes

    def sees(self, owner: str) -> bool:
        """Tell whether recordings of this owner exist for the person."""
        return self.is_admin or owner == self.id

    def may_continue(self, owner: str) -> bool:
        """Tell whether the person may go on with a recording of this owner.

        One that nobody owns was begun before people signed in here: its key is enough.
        """
        return not owner or self.sees(owner)


LOCAL = Person("", scopes=frozenset(Scope), is_admin=True)
"""Everybody, on a server where nobody has to sign in."""
