"""Flask: views, blueprints and classes behind the guard, with Flask's own test client."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, g
from flask.views import MethodView
from tests.unit.resource.frameworks import page
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.listening import API, NOW, ListeningIssuer, listening

from affiant.errors import ConfigError
from affiant.oauth.binding.dpop import NONCE_SECONDS, Nonces
from affiant.resource import Guard, ResourceMetadata, any_of

PLACE = "/.well-known/oauth-protected-resource"
NONCE_KEY = b"a key of sixteen"


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def guard(issuer: ListeningIssuer) -> Guard:
    return issuer.guard(metadata=ResourceMetadata())


@pytest.fixture
def app() -> Flask:
    app = Flask("orders")
    app.testing = True
    return app


def _view() -> str:
    return str(g.caller.client_id)


def _headers(issuer: ListeningIssuer, scope: str = "read") -> dict[str, str]:
    return {"Authorization": issuer.token(scope=scope).decode()}


def test_view_may_be_a_coroutine_function(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    @app.get("/orders/<number>")
    @guard.flask("read")
    async def orders(number: str) -> dict[str, str]:
        return {"order": number, "for": g.caller.client_id}

    client = app.test_client()
    assert client.get("/orders/7", headers=_headers(issuer)).json == {"order": "7", "for": "c"}
    assert client.get("/orders/7", headers=_headers(issuer, "other")).status_code == 403
    assert client.get("/orders/7").status_code == 401
    assert orders.__name__ == "orders"


def test_any_of_is_enough_and_no_scope_is_any_token(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    app.add_url_rule("/one", "one", guard.flask(any_of("read", "admin"))(_view))
    app.add_url_rule("/any", "any", guard.flask()(_view))
    client = app.test_client()
    assert client.get("/one", headers=_headers(issuer, "admin")).status_code == 200
    assert client.get("/any", headers=_headers(issuer, "other")).status_code == 200
    assert client.get("/any").status_code == 401


def test_classes(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    """All methods by `decorators`, and one by its own."""

    class Orders(MethodView):
        decorators = [guard.flask("read")]  # noqa: RUF012 - as Flask's people write it

        def get(self) -> str:
            return str(g.caller.client_id)

        @guard.flask("write")
        def post(self) -> str:
            return "made"

    app.add_url_rule("/orders", view_func=Orders.as_view("orders"))
    client = app.test_client()
    assert client.get("/orders", headers=_headers(issuer)).text == "c"
    assert client.get("/orders").status_code == 401
    assert client.post("/orders", headers=_headers(issuer)).status_code == 403
    assert client.post("/orders", headers=_headers(issuer, "write")).status_code == 403
    assert client.post("/orders", headers=_headers(issuer, "read write")).text == "made"


def test_all_of_a_blueprint(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    blueprint = Blueprint("api", "api", url_prefix="/api")
    blueprint.before_request(guard.flask("read").check)
    blueprint.get("/orders")(_view)
    app.register_blueprint(blueprint)
    app.get("/health")(lambda: "well")
    client = app.test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/api/orders").status_code == 401
    assert client.get("/api/orders", headers=_headers(issuer, "other")).status_code == 403
    assert client.get("/api/orders", headers=_headers(issuer)).text == "c"


def test_all_of_an_application_but_the_metadata(app: Flask, guard: Guard) -> None:
    app.before_request(guard.flask("read").check)
    app.get("/<path:rest>")(lambda rest: f"reached {rest}")
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/", "/x", "/static/x", f"{PLACE}/x")] == [401] * 4
    document: Any = client.get(PLACE).json
    assert (document["resource"], document["authorization_servers"]) == (API, [guard.issuer])


def test_preflight_needs_no_token(app: Flask, guard: Guard) -> None:
    """It is what Flask answers without the view; a view for OPTIONS is not reached."""
    app.before_request(guard.flask("read").check)
    app.get("/orders")(_view)
    app.add_url_rule("/own", "own", _view, methods=["OPTIONS"])
    client = app.test_client()
    answer = client.options("/orders")
    assert (answer.status_code, answer.data, answer.allow) == (200, b"", {"GET", "HEAD", "OPTIONS"})
    assert client.options("/own").status_code == 401
    assert client.options("/nowhere").status_code == 401


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("POST", 405)])
def test_install_serves_the_metadata(app: Flask, guard: Guard, method: str, status: int) -> None:
    guard.install(app)
    answer = app.test_client().open(PLACE, method=method)
    assert answer.status_code == status
    if status < 400:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_layers_take_one_proof(app: Flask, issuer: ListeningIssuer) -> None:
    """A middleware, a blueprint and a view have a need each; an error of the view has the next nonce, too."""
    guard = issuer.guard(nonce_key=NONCE_KEY)
    app.before_request(guard.flask("read").check)

    @app.get("/orders")
    @guard.flask("read", "write")
    def orders() -> str:
        abort(418)

    client, url = app.test_client(), "http://localhost/orders"
    nonce = Nonces(NONCE_KEY).current(NOW - NONCE_SECONDS)
    good, other = Bound(issuer, scope="read write"), Bound(issuer, scope="read")
    wrapped = guard.wsgi(app.wsgi_app, need="read")
    app.wsgi_app = wrapped  # type: ignore[method-assign] # as Flask's pages say
    answer = client.get("/orders", headers=good.headers(url, nonce=nonce))
    assert answer.status_code == 418
    assert answer.headers["DPoP-Nonce"] == Nonces(NONCE_KEY).current(NOW)
    assert client.get("/orders", headers=other.headers(url, nonce=nonce)).status_code == 403


def test_handlers_of_errors_do_not_change_a_refusal(app: Flask, guard: Guard) -> None:
    app.get("/orders")(guard.flask("read")(_view))
    app.register_error_handler(401, lambda _: ("mine", 200))
    app.register_error_handler(Exception, lambda _: ("mine", 200))
    assert app.test_client().get("/orders").status_code == 401


def test_guard_of_another_api_asks_for_its_own_token(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    other = Guard(issuer.url, audience="https://other.example", revocations="off")
    app.before_request(guard.flask().check)
    app.get("/orders")(other.flask()(_view))
    assert app.test_client().get("/orders", headers=_headers(issuer)).status_code == 401


def _traced(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def traced(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return traced


@pytest.mark.parametrize("between", [lambda view: view, _traced])
def test_guard_above_the_route_is_an_error(between: Any, app: Flask, guard: Guard) -> None:
    """Attack: Flask serves the view that its own decorator got, and the guard is never asked."""
    guard.install(app)
    guard.flask("read")(between(app.get("/orders")(lambda: "open")))
    for path in ("/orders", "/", PLACE):
        with pytest.raises(ConfigError, match="below the route"):
            app.test_client().get(path)


def test_view_may_be_served_with_a_guard_and_without(app: Flask, guard: Guard) -> None:
    def view() -> str:
        return "view"

    guard.install(app)
    app.add_url_rule("/open", "open", view)
    app.add_url_rule("/guarded", "guarded", _traced(guard.flask("read")(_traced(view))))
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/open", "/guarded")] == [200, 401]


def test_view_may_be_any_callable(app: Flask, guard: Guard, issuer: ListeningIssuer) -> None:
    class View:
        __slots__ = ("__name__",)
        __hash__ = None  # type: ignore[assignment] # a callable that no set takes

        def __call__(self) -> str:
            return "view"

    guard.install(app)
    app.add_url_rule("/guarded", "guarded", guard.flask("read")(View()))
    app.add_url_rule("/open", "open", View())
    client = app.test_client()
    assert [client.get(path, headers=_headers(issuer)).status_code for path in ("/open", "/guarded")] == [200, 200]


def test_view_without_scopes_in_parentheses_is_an_error(guard: Guard) -> None:
    view: Any = _view
    with pytest.raises(ConfigError):
        guard.flask(view)


def test_page_runs(issuer: ListeningIssuer) -> None:
    client = page.run("flask.md", issuer)["app"].test_client()
    assert client.get("/orders", headers=_headers(issuer, "orders.read")).json == {"orders of": "c"}
    assert client.get("/orders").status_code == 401
    assert client.get(PLACE).status_code == 200
