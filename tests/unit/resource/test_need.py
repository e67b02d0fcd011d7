"""What a route needs: several scopes mean all of them, any_of() one, and nonsense fails where it is written."""

from typing import Any

import pytest
from tests.unit.resource.issuer import API, ISSUER, Check, Issuer

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.resource import Guard, GuardMiddleware, any_of

GOOD = [
    ((), "", True),
    ([], "", True),
    ("a", "", False),
    ("a", "a", True),
    (["a"], "a b", True),
    ("a b", "a", False),
    (["a", "b"], "b a", True),
    ({"a"}, "b", False),
    (any_of("a", "b"), "b", True),
    (any_of("a", "b"), "c", False),
    (["c", any_of("a", "b")], "c b", True),
    (["c", any_of("a", "b")], "a b", False),
    ([any_of("a", "b"), any_of("c", "d")], "a d", True),
    ([any_of("a", "b"), any_of("c", "d")], "a b", False),
]
NONSENSE: list[Any] = [
    5,
    None,
    True,
    "",
    " ",
    "a  b",
    "a ",
    'a"b',
    "\u00e9",
    [""],
    ["a b"],
    [5],
    [["a"]],
    b"a",
    {"a": 1},
]


@pytest.mark.parametrize(("need", "scope", "is_enough"), GOOD)
async def test_need(need: Any, scope: str, is_enough: bool, check: Check) -> None:
    issuer = Issuer()
    token = issuer.token(scope=scope) if scope else issuer.token()
    if is_enough:
        assert (await check(issuer.guard(), [token], need=need)).client_id == "c"
        return
    with pytest.raises(Rejected) as refusal:
        await check(issuer.guard(), [token], need=need)
    assert refusal.value.reason is Reason.SCOPE_INSUFFICIENT


@pytest.mark.parametrize("need", NONSENSE)
async def test_nonsense_is_an_error_where_it_is_written(need: Any, check: Check) -> None:
    """Not a refusal of every caller: the mistake is the API's."""
    guard = Issuer().guard()
    with pytest.raises(ConfigError):
        GuardMiddleware(lambda *_: None, guard, need=need)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        guard(need)
    with pytest.raises(ConfigError):
        await check(guard, [], need=need)


def test_decorator_without_its_call_is_named() -> None:
    with pytest.raises(ConfigError, match="not function: a decorator needs its parentheses"):
        Issuer().guard().flask(lambda: "orders")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="write them one by one"):
        Issuer().guard().flask(["orders.read"])  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [(), ("",), ("a b",), (5,), (["a"],)])
def test_any_of_takes_names(names: Any) -> None:
    with pytest.raises(ConfigError):
        any_of(*names)


async def test_refusal_names_a_scope_that_is_enough() -> None:
    issuer = Issuer()
    with pytest.raises(Rejected) as refusal:
        await issuer.guard().check([issuer.token()], need=["x", any_of("a", "b")])
    assert refusal.value.expected == "x a"


@pytest.mark.parametrize("wrong", [[ISSUER, 5], [], {ISSUER}, 5, None, ""])
def test_issuer_of_the_wrong_kind_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="issuer"):
        Guard(wrong, audience=API)


@pytest.mark.parametrize(
    "options",
    [
        {"audience": 5},
        {"audience": None},
        {"audience": {API}},
        {"url": 5},
        {"realm": ["orders"]},
        {"dpop": ["required"]},
        {"revocations": ["off"]},
        {"nonce_key": "sixteen letters."},
        {"certificate_header": 5},
    ],
    ids=str,
)
def test_option_of_the_wrong_kind_is_an_error_at_once(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"{name}="):
        Guard(ISSUER, **{"audience": API, **options})
