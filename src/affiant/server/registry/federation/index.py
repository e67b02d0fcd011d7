"""Find the rules that a token meets or comes closest to, without comparing it with each of thousands.

Attack: any tenant of a shared issuer has as many valid tokens as it likes, and each of them is compared.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Sequence

from affiant.oauth.federation.conditions import find, holds, is_prefix
from affiant.storage.records import ClaimCondition, Rule

_Key = tuple[type, Hashable]


class RuleIndex:
    """The rules of one trust, by the exact values of their conditions; conditions with a prefix are tried."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._wanted = [len(rule.conditions) for rule in rules]
        self._exact: dict[str, dict[_Key, list[int]]] = {}
        self._prefixes: dict[tuple[str, tuple[_Key, ...]], tuple[ClaimCondition, list[int]]] = {}
        for number, rule in enumerate(rules):
            for condition in rule.conditions:
                self._add(number, condition)

    def match(self, claims: dict[str, object]) -> list[Rule]:
        """Return the enabled rules whose conditions these claims meet.

        Fail closed: a rule without conditions identifies no workload, and no token meets it.
        """
        met = self._count(claims)
        found = [number for number, count in met.items() if count == self._wanted[number]]
        return [self._rules[number] for number in sorted(found) if self._rules[number].enabled]

    def closest(self, claims: dict[str, object], most: int) -> list[Rule]:
        """Return at most so many rules: those that are met, then those with most conditions met and fewest unmet."""
        met = self._count(claims)

        def distance(number: int) -> tuple[bool, int, int]:
            count, wanted = met[number], self._wanted[number]
            return count != wanted, -count, wanted

        return [self._rules[number] for number in heapq.nsmallest(most, range(len(self._rules)), key=distance)]

    def _add(self, number: int, condition: ClaimCondition) -> None:
        # 1 equals True in Python, and is another value here.
        keys = tuple((type(value), value) for value in condition.values)
        if any(map(is_prefix, condition.values)):
            self._prefixes.setdefault((condition.claim, keys), (condition, []))[1].append(number)
            return
        by_value = self._exact.setdefault(condition.claim, {})
        for key in dict.fromkeys(keys):
            by_value.setdefault(key, []).append(number)

    def _count(self, claims: dict[str, object]) -> Counter[int]:
        """Return how many conditions of each rule these claims meet, by its number; rules with none are left out."""
        met = Counter[int]()
        for claim, by_value in self._exact.items():
            value = find(claims, claim)
            if isinstance(value, str | bool | int):
                met.update(by_value.get((type(value), value), ()))
        for condition, numbers in self._prefixes.values():
            if holds(find(claims, condition.claim), condition.values):
                met.update(numbers)
        return met
