"""The WSGI middleware: paths that rules are about, and the responses of the application."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from tests.unit.resource.issuer import Issuer
from werkzeug.test import Client

from affiant.errors import ConfigError
from affiant.resource import GuardWsgiMiddleware, ResourceMetadata
from affiant.resource.frameworks import wsgi

ISSUER = Issuer()
GUARD = ISSUER.guard(metadata=ResourceMetadata())
READ = {"Authorization": ISSUER.token(scope="orders.read").decode()}
PLACE = "/.well-known/oauth-protected-resource"


def _app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    caller = environ.get("affiant.caller")
    return [caller.client_id.encode() if caller else b"public"]


def _status(guarded: Any, path: str, **environ: Any) -> int:
    """Send the path as it is: neither encoded again nor resolved."""
    client = Client(guarded)
    decoded = environ.pop("PATH_INFO", path)
    headers = environ.pop("headers", READ)
    overrides = {"PATH_INFO": decoded, "RAW_URI": path, "REQUEST_URI": path, **environ}
    return client.get("/", headers=headers, environ_overrides=overrides).status_code


RULES = {"/health": None, "GET /orders*": "orders.read", "/admin*": "admin"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/orders", 200),
        ("/orders/7?x=/../y", 200),
        ("/admin", 403),
        ("/other", 404),
        ("/orders/../admin", 404),
        ("//orders", 404),
        ("/orders\\7", 404),
    ],
)
def test_rules_decide(path: str, status: int) -> None:
    assert _status(GUARD.wsgi(_app, RULES), path, PATH_INFO=path.partition("?")[0]) == status


@pytest.mark.parametrize("method", ["post", "Post"])
def test_no_method_gets_past_its_rule_in_flask(method: str) -> None:
    """A server passes it on as it was sent, and Flask takes it for POST."""
    app = Flask(__name__)
    app.add_url_rule("/orders", view_func=lambda: "written", methods=["POST"])
    client, overrides = Client(GUARD.wsgi(app, {"POST /orders": "orders.write", "*": None})), {"REQUEST_METHOD": method}
    assert Client(app).get("/orders", environ_overrides=overrides).status_code == 200
    assert client.get("/orders", environ_overrides=overrides).status_code == 404


@pytest.mark.parametrize(
    ("sent", "decoded"),
    [("/orders/a%2Fb", "/orders/a/b"), ("/orders/a%5cb", "/orders/a\\b"), ("/orders/%2e./7", "/orders/../7")],
)
def test_no_rule_decides_about_an_escaped_path(sent: str, decoded: str) -> None:
    """A server that passes it on as it was sent lets the guard see what PATH_INFO has no more."""
    assert _status(GUARD.wsgi(_app, RULES), sent, PATH_INFO=decoded) == 404


def test_rule_has_the_path_in_unicode() -> None:
    guarded = GUARD.wsgi(_app, {"/bestellung/\u00fcbersicht": "orders.read"})
    assert _status(guarded, "/bestellung/%C3%BCbersicht", PATH_INFO="/bestellung/\u00c3\u00bcbersicht") == 200
    assert _status(guarded, "/bestellung/%FCbersicht", PATH_INFO="/bestellung/\u00fcbersicht") == 404


def test_mount_is_no_part_of_a_rule() -> None:
    assert _status(GUARD.wsgi(_app, RULES), "/v1/orders", SCRIPT_NAME="/v1", PATH_INFO="/orders") == 200
    assert (
        _status(GUARD.wsgi(_app, {"/v1/orders": "orders.read"}), "/v1/orders", SCRIPT_NAME="/v1", PATH_INFO="/orders")
        == 404
    )


def test_mount_opens_nothing() -> None:
    """Attack: X-Forwarded-Prefix becomes SCRIPT_NAME, and the whole path then looks like a public one."""
    for guarded in (
        GUARD.wsgi(_app, {"/health*": None, "*": "admin"}),
        GUARD.wsgi(_app, need="admin", public=["/health/x"]),
    ):
        assert _status(guarded, "/x", SCRIPT_NAME="/health", PATH_INFO="/x") in (403, 404)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("POST", 405)])
def test_metadata_are_served(method: str, status: int) -> None:
    answer = Client(GUARD.wsgi(_app, need="a")).open(PLACE, method=method)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.data == (GUARD.published.body if method == "GET" and GUARD.published else b"")


def test_public_path_has_no_caller() -> None:
    guarded = GUARD.wsgi(_app, need="orders.read", public=["/health"])
    assert Client(guarded).get("/health").data == b"public"
    assert Client(guarded).get("/orders").status_code == 401


def test_header_of_a_client_is_no_caller() -> None:
    """WSGI puts HTTP_ in front of what a client sends."""
    names = {"affiant.caller": "admin", "affiant-checked": "x"}
    assert Client(GUARD.wsgi(_app, RULES)).get("/orders", headers=names).status_code == 401


def test_layers_check_once_and_judge_each_scope() -> None:
    inner = GUARD.wsgi(_app, {"/orders": "orders.read", "*": "admin"})
    guarded = GUARD.wsgi(inner, need="orders.read")
    assert _status(guarded, "/orders") == 200
    assert _status(guarded, "/admin") == 403


def test_request_that_an_application_makes_of_its_own_is_checked() -> None:
    """Attack: a copy of the environ, which has a caller, with another token."""
    inner = GUARD.wsgi(_app, need="orders.read")

    def relay(environ: Any, start_response: Any) -> Any:
        return inner({**environ, "HTTP_AUTHORIZATION": "Bearer forged"}, start_response)

    assert _status(GUARD.wsgi(relay, need="orders.read"), "/orders") == 401


def test_added_headers_replace_those_of_the_application() -> None:
    """And exc_info is passed on, with which an application starts again after an error (PEP 3333)."""
    started = list[Any]()

    def write(_: bytes) -> None: ...

    def start_response(*arguments: Any) -> Callable[[bytes], object]:
        started.append(arguments)
        return write

    start: Any = wsgi._with_headers({"DPoP-Nonce": "new"}, start_response)
    error = (ValueError, ValueError(), None)
    assert start("200 OK", [("dpop-nonce", "old"), ("X", "y")]) == write
    start("500 Oops", [], error)
    added = ("DPoP-Nonce", "new")
    assert started == [("200 OK", [("X", "y"), added], None), ("500 Oops", [added], error)]


def test_impossible_options_are_errors() -> None:
    impossible: Any = [{"need": 7}, {"public": "/health"}, {"routes": {"orders": "a"}}]
    for options in impossible:
        with pytest.raises(ConfigError):
            GuardWsgiMiddleware(_app, GUARD, **options)
