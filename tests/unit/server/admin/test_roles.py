from dataclasses import replace
from typing import Any

import pytest
from tests.admin import ADMIN, member

from affiant.errors import Rejected
from affiant.server.admin import roles
from affiant.server.admin.roles import Principal, Role

VIEWER, OPERATOR, OWNER = Role
OTHER = "https://other.example"


def test_each_role_includes_those_before() -> None:
    for have, rank in ((VIEWER, 0), (OPERATOR, 1), (OWNER, 2)):
        assert [have.includes(role) for role in Role] == [number <= rank for number in range(3)]


def test_principal_is_held_to_its_role() -> None:
    Principal("x", OPERATOR).require(OPERATOR)
    with pytest.raises(Rejected) as error:
        Principal("x", OPERATOR).require(OWNER)
    assert error.value.expected == "admin.owner"


@pytest.mark.parametrize(
    ("scopes", "role"),
    [
        ((), None),
        (("r", "admin", "admin.", "ADMIN.OWNER", "admin.owner2", "xadmin.owner"), None),
        (("admin.viewer", "admin.owner"), OWNER),
        (("admin.operator", "r"), OPERATOR),
    ],
)
def test_highest_scope_is_the_role(scopes: tuple[str, ...], role: Role | None) -> None:
    assert roles.highest(scopes) is role


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False},
        {"resources": ()},
        {"resources": (OTHER, f"{ADMIN}/")},
        {"scope": ("r",)},
        {"registered_by": "token"},
        {"registration_token": b"digest"},
    ],
)
def test_role_needs_all_of_it(changes: dict[str, Any]) -> None:
    assert roles.role_of(member("a"), ADMIN) is OWNER
    assert roles.role_of(replace(member("a"), **changes), ADMIN) is None


@pytest.mark.parametrize(
    ("changes", "touches"),
    [
        ({}, True),
        ({"scope": ()}, True),
        ({"resources": ()}, True),
        ({"scope": ("r",), "resources": ()}, False),
        ({"scope": ("r",), "resources": (OTHER,), "introspects": (ADMIN,)}, True),
        ({"enabled": False}, True),
    ],
)
def test_half_a_part_is_one(changes: dict[str, Any], *, touches: bool) -> None:
    assert roles.touches_admin(replace(member("a"), **changes), ADMIN) is touches
