"""The parties that act for the subject of a token, and what else its claims say about it."""

from typing import Any

import pytest

from affiant.resource import Actor, Caller

A = {"iss": "https://as.example", "sub": "orders", "sub_profile": "service"}
B = {"iss": "https://as.example", "sub": "planner", "sub_profile": "ai_agent"}


def caller(**claims: Any) -> Caller:
    return Caller("orders", "billing", frozenset(), "t", {"iss": "https://as.example", **claims})


@pytest.mark.rfc(8693, "4.1")
@pytest.mark.parametrize(
    ("act", "chain"),
    [
        (None, ()),
        (A, (Actor("orders", "https://as.example", "service"),)),
        ({**A, "act": B}, (Actor("orders", A["iss"], "service"), Actor("planner", B["iss"], "ai_agent"))),
        ({"client_id": "orders"}, (Actor("orders"),)),
        ("orders", ()),
        ({"sub": 1, "act": {"sub": "b"}}, (Actor("b"),)),
    ],
)
def test_the_chain_has_the_present_actor_first(act: object, chain: tuple[Actor, ...]) -> None:
    assert caller(act=act).chain == chain


def test_a_caller_shows_its_task_rule_and_kind() -> None:
    found = caller(task="invoice-1", rule="github/deploy", sub_profile="ai_agent")
    assert (found.task, found.rule, found.sub_profile) == ("invoice-1", "github/deploy", "ai_agent")
    assert (caller(task=1).task, caller().rule, caller().sub_profile) == (None, None, None)
