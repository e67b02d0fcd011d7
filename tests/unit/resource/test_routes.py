"""The rules of a middleware: which one decides, and which requests none may decide."""

from __future__ import annotations

import pytest
from tests.unit.resource.issuer import API, Issuer

from affiant.errors import ConfigError
from affiant.oauth.resource_request import Scope
from affiant.resource import Guard
from affiant.resource.answers import NO_ROUTE
from affiant.resource.frameworks import routes


def _found(rules: routes.Routes, method: str, path: str, raw_path: str = "") -> str | None:
    rule = rules.find(method, path, raw_path)
    if rule is None:
        return None
    return rule.need.text if rule.need is not None else "public"


RULES = routes.parse(
    {
        "/health": None,
        "GET /orders*": "orders.read",
        "POST,PUT /orders/{id}": ["orders.write", "orders.read"],
        "/orders/{id}/lines/{line}": "lines",
    }
)


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/health", "public"),
        ("POST", "/health", "public"),
        ("GET", "/orders", "orders.read"),
        ("HEAD", "/orders/7", "orders.read"),
        ("PUT", "/orders/7", "orders.write orders.read"),
        ("DELETE", "/orders/7/lines/1", "lines"),
        ("DELETE", "/orders/7", None),
        ("POST", "/orders/", None),
        ("POST", "/orders/7/8", None),
        ("get", "/orders", None),
        ("GET", "/Orders", None),
        ("GET", "/health/", None),
        ("GET", "/", None),
        ("GET", "", None),
    ],
)
def test_the_first_rule_that_matches_decides(method: str, path: str, need: str | None) -> None:
    assert _found(RULES, method, path) == need


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/orders/../health", ""),
        ("/orders//7", ""),
        ("/orders/./7", ""),
        ("/orders/..", ""),
        ("/orders\\7", ""),
        ("/orders/\n", ""),
        ("/orders/a/b", "/orders/a%2Fb"),
        ("/orders/a\\b", "/orders/a%5cb"),
    ],
)
def test_no_rule_decides_about_an_ambiguous_path(path: str, raw_path: str) -> None:
    assert routes.parse({"*": None}).find("GET", path, raw_path) is None


@pytest.mark.parametrize("method", ["post", "Post", "po\u017ft"])
def test_no_rule_decides_about_a_method_that_a_framework_turns_into_another(method: str) -> None:
    """Flask and Django take `post` for POST: a rule for all methods must not let it pass in place of that for POST."""
    rules = routes.parse({"POST /orders": "orders.write", "/orders": None})
    assert rules.find("POST", "/orders") is not None
    assert rules.find(method, "/orders") is None


def test_star_is_every_path() -> None:
    assert _found(routes.parse({"*": "a"}), "TRACE", "/any/where") == "a"


@pytest.mark.parametrize(
    "rules",
    [
        {"orders": "a"},
        {"GET": "a"},
        {"get /orders": "a"},
        {"/a*b": "a"},
        {"GET  /a": "a"},
        {7: "a"},
        {"/a": "b\nc"},
        [],
    ],
)
def test_what_is_no_rule_is_an_error_when_it_is_written(rules: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        routes.parse(rules)


def test_routes_take_the_place_of_need_and_public() -> None:
    async def app(*_: object) -> None: ...

    guard = Guard("https://as.example", audience=API)
    with pytest.raises(ConfigError):
        guard.asgi(app, {"*": "a"}, need="a")
    with pytest.raises(ConfigError):
        guard.asgi(app, {"*": "a"}, public=["/health"])


@pytest.mark.anyio
async def test_middleware_refuses_what_no_rule_names() -> None:
    async def app(*_: object) -> None:
        pytest.fail("the application was reached")

    async def receive() -> Scope:
        pytest.fail("the body was read")

    sent = list[Scope]()

    async def send(message: Scope) -> None:
        sent.append(message)

    guarded = Issuer().guard().asgi(app, {"GET /orders": "orders.read"})
    scope = {"type": "http", "method": "GET", "path": "/other", "headers": [], "query_string": b""}
    await guarded(scope, receive, send)
    assert sent[0]["status"] == 404
    assert sent[1]["body"] == NO_ROUTE.body
