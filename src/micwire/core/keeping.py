"""How long recordings are kept: rules only. What time it is, and who deletes, is elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from micwire.core.catalogue import Entry


@dataclass(frozen=True, slots=True)
class KeepRules:
    """For how many days recordings are kept; 0 is for ever.

    Rules for tags and people come before the general one; of several the longest counts.
    """

    days: float = 0
    by_tag: Mapping[str, float] = field(default_factory=dict)
    by_user: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def parse(days: float, by_tag: tuple[str, ...], by_user: tuple[str, ...]) -> "KeepRules":
        """Read rules such as `pilot=30`.

        Raises:
            ValueError: One is none.
        """
        return KeepRules(days, dict(map(_rule, by_tag)), dict(map(_rule, by_user)))

    @property
    def shortest_days(self) -> float:
        """Return how old a recording has to be for any rule to apply; infinite for none."""
        every = (self.days, *self.by_tag.values(), *self.by_user.values())
        return min(days or inf for days in every)

    def days_of(self, entry: Entry) -> float:
        """Return how long a recording is kept, in days; infinite for ever."""
        if entry.hold:
            return inf
        special = [self.by_tag[tag] for tag in entry.tags if tag in self.by_tag]
        if entry.owner in self.by_user:
            special.append(self.by_user[entry.owner])
        return max(days or inf for days in special or [self.days])


def _rule(text: str) -> tuple[str, float]:
    name, _, days = text.rpartition("=")
    try:
        count = float(days)
    except ValueError:
        count = -1.0
    if not name.strip() or not 0 <= count < inf:
        raise ValueError(f"{text!r} is no rule; one looks like pilot=30")
    return name.strip(), count
