"""The index finds what a comparison with every rule finds, and looks at few of thousands."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.platforms import github

from affiant.oauth.federation import conditions
from affiant.server.registry.federation import index
from affiant.server.registry.federation.index import RuleIndex
from affiant.storage.records import ClaimCondition, Rule

NAMES = st.sampled_from(["sub", "ref", "/a/b", "/sub"])
VALUES = st.sampled_from(["x", "x/y", "x*", "x**", "1", "true", 1, 0, True, False, 2])
RULES = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["one", "two"]),
        trust=st.just("ci"),
        client_id=st.just("deploy"),
        conditions=st.lists(
            st.builds(ClaimCondition, NAMES, st.lists(VALUES, min_size=1, max_size=3).map(tuple)), max_size=3
        ).map(tuple),
        enabled=st.sampled_from([True, True, False]),
    ),
    max_size=6,
)
CAME = st.one_of(VALUES, st.sampled_from([1.0, None, ["x"], {"b": 1}, {"b": True}, {"b": "x"}]))
CLAIMS = st.dictionaries(st.sampled_from(["sub", "ref", "a"]), CAME, max_size=3)


def _met(rule: Rule, claims: dict[str, Any]) -> int:
    return sum(conditions.holds(conditions.find(claims, one.claim), one.values) for one in rule.conditions)


def _rule(claim: str, *values: Any) -> Rule:
    return Rule("one", "ci", "deploy", (ClaimCondition(claim, values),))


@given(rules=RULES, claims=CLAIMS)
@example(rules=[_rule("sub", 1), _rule("sub", True)], claims={"sub": True})
@example(rules=[_rule("sub", "x*", 1), _rule("sub", "x*", True)], claims={"sub": 1})
@example(rules=[_rule("sub", 1), _rule("sub", 1)], claims={"sub": 1.0})
def test_index_finds_what_each_rule_says(rules: list[Rule], claims: dict[str, Any]) -> None:
    found = RuleIndex(rules)
    assert found.match(claims) == [
        rule for rule in rules if rule.enabled and rule.conditions and _met(rule, claims) == len(rule.conditions)
    ]
    assert (
        found.closest(claims, 3)
        == sorted(
            rules,
            key=lambda rule: (_met(rule, claims) != len(rule.conditions), -_met(rule, claims), len(rule.conditions)),
        )[:3]
    )


def test_thousands_of_rules_cost_a_look_at_each_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = github.pins()
    rules = [
        Rule(
            f"r{n}",
            "github",
            "x",
            tuple(ClaimCondition(c, (v,)) for c, v in {**pins, "/repository_id": f"{n}"}.items()),
        )
        for n in range(3000)
    ]
    found, asked = RuleIndex(rules), list[str]()

    def find(claims: dict[str, Any], claim: str) -> object:
        asked.append(claim)
        return conditions.find(claims, claim)

    monkeypatch.setattr(index, "find", find)
    assert [rule.name for rule in found.match(github.job().issued())] == ["r74"]
    assert sorted(asked) == sorted(pins)
