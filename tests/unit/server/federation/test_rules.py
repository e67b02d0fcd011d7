"""Rules about several members of a rule, and about the trust and the client that it names."""

from dataclasses import replace
from typing import Any

import pytest
from tests.admin import NOW

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.registry import profiles
from affiant.server.registry.federation import rules
from affiant.server.registry.federation.fields import RULE
from affiant.storage.records import ClaimCondition, Client, Rule, Trust

TRUST, CLIENT = Trust("ci", "https://ci.example"), Client("deploy", names.FEDERATED_JWT)
WHEN = {"repository_id": ["42"]}


def build(name: str = "r", **members: Any) -> Rule:
    return rules.build(RULE.put(Rule(name, "ci", "deploy"), {"conditions": WHEN, **members}), now=NOW)


def test_a_rule_is_dated_and_kept_as_given() -> None:
    made = build(scope=["r", "r", "w"], access_token_lifetime=0)
    assert made == Rule(
        "r", "ci", "deploy", (ClaimCondition("repository_id", ("42",)),), scope=("r", "w"), created_at=NOW
    )
    assert rules.change(made, {"scope": []}).scope == ()


@pytest.mark.parametrize(
    "members",
    [
        {"conditions": {"sub": []}},
        {"conditions": {"sub": ["*"]}},
        {"conditions": {"sub": ["a*b"]}},
        {"conditions": {"sub": [1.5]}},
        {"conditions": {"sub": "a"}},
        {"conditions": {"": ["a"]}},
        {"conditions": {"/a~2": ["a"]}},
        {"conditions": {f"c{number}": ["a"] for number in range(17)}},
        {"scope": ['"']},
        {"resources": ["orders"]},
        {"copied_claims": [f"c{number}" for number in range(9)]},
        {"access_token_lifetime": 3601},
    ],
)
def test_members_that_no_rule_has(members: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build(**members)
    with pytest.raises(ConfigError):
        rules.change(build(), members)


def test_types_of_values_count() -> None:
    made = build(conditions={"a": [True, 1, "1", 1, "true"]})
    assert [(type(value), value) for value in made.conditions[0].values] == [
        (bool, True), (int, 1), (str, "1"), (str, "true"),
    ]  # fmt: skip


def test_trust_and_client_exist() -> None:
    rules.check(build(), TRUST, CLIENT)
    rules.check(build(), replace(TRUST, enabled=False), replace(CLIENT, enabled=False))
    with pytest.raises(ConfigError, match="no trust named ci"):
        rules.check(build(), None, CLIENT)
    with pytest.raises(ConfigError, match="no client named deploy"):
        rules.check(build(), TRUST, None)


def test_a_profile_that_demands_another_proof() -> None:
    fapi = replace(CLIENT, token_endpoint_auth_method=names.PRIVATE_KEY_JWT, profile=profiles.FAPI)
    with pytest.raises(ConfigError, match="fapi profile"):
        rules.check(build(), TRUST, fapi)
    with pytest.raises(ConfigError, match="fapi profile"):
        rules.check(build(), TRUST, CLIENT, demands=profiles.FAPI_2)


def test_a_rule_without_conditions_is_refused() -> None:
    with pytest.raises(ConfigError):
        rules.check(build(conditions={}), TRUST, CLIENT)


def test_two_rules_for_the_same_tokens_and_client() -> None:
    with pytest.raises(ConfigError, match="the rule a has the same"):
        rules.check_among(build("b", scope=["r"]), [build("a")])
    rules.check_among(build("a", scope=["r"]), [build("a")])
    rules.check_among(build("b"), [replace(build("a"), client_id="other")])
    rules.check_among(build("b"), [build("a", conditions={"repository_id": ["43"]})])


def test_number_of_rules() -> None:
    others = [build(f"r{number}", conditions={"id": [number]}) for number in range(rules.MAX_RULES)]
    rules.check_among(others[1], others)
    with pytest.raises(ConfigError, match="2,000 rules, the most"):
        rules.check_among(build("one-more"), others)


def test_conditions_with_a_star_are_few() -> None:
    """Each is compared with every token of a shared issuer; exact values cost nothing."""
    others = [build(f"r{number}", conditions={"sub": [f"repo:{number}:*"]}) for number in range(rules.MAX_PREFIXES)]
    with pytest.raises(ConfigError, match="500 conditions with"):
        rules.check_among(build("new", conditions={"sub": ["repo:x:*"]}), others)
    rules.check_among(build("new", conditions={"sub": ["repo:x:y"]}), others)
    rules.check_among(build("r7", conditions={"sub": ["repo:x:*"]}), others)
