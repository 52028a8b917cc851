"""Which rule says how long a recording is kept."""

from dataclasses import replace
from math import inf

import pytest

from micwire.core.audio import Encoding, Format
from micwire.core.catalogue import Entry
from micwire.core.keeping import KeepRules

ENTRY = Entry("id", "finished", "x", Format(Encoding.S16, 8_000, 1))


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        (KeepRules(), inf),
        (KeepRules(90), 90),
        (KeepRules(90, {"pilot": 30}), 30),
        (KeepRules(90, {"other": 30}), 90),
        (KeepRules(0, {"pilot": 30, "consented": 365}), 365),
        (KeepRules(90, {"pilot": 0}), inf),
        (KeepRules(90, {"pilot": 30}, {"ana": 60}), 60),
        (KeepRules(90, {}, {"ana": 7}), 7),
        (KeepRules(90, {}, {"bob": 7}), 90),
    ],
)
def test_rules_for_tags_and_people_come_first_and_the_longest_counts(
    rules: KeepRules, days: float
) -> None:
    one = replace(ENTRY, owner="ana", tags=("pilot", "consented"))
    assert rules.days_of(one) == days
    assert rules.days_of(replace(one, hold=True)) == inf


@pytest.mark.parametrize("rule", ["", "pilot", "=3", "pilot=", "pilot=-1", "pilot=inf", "pilot=x"])
def test_what_is_no_rule_is_told(rule: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        KeepRules.parse(1, (rule,), ())


def test_a_tag_may_hold_anything() -> None:
    assert KeepRules.parse(1, ("a=b =2.5",), ("ana=0",)) == KeepRules(1, {"a=b": 2.5}, {"ana": 0})
