"""Django: views, classes and a whole project behind the guard, with Django's own test clients."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.resource.frameworks import django_project, page
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.listening import NOW, ListeningIssuer, listening

from affiant.oauth.binding.dpop import NONCE_SECONDS, Nonces
from affiant.resource import Guard, ResourceMetadata

from django.core.exceptions import ImproperlyConfigured  # isort: skip # the project comes first
from django.core.asgi import get_asgi_application  # isort: skip
from django.http import HttpRequest, HttpResponse  # isort: skip
from django.test import AsyncClient, Client, override_settings  # isort: skip
from django.utils.decorators import method_decorator  # isort: skip
from django.views import View  # isort: skip

PLACE = "/.well-known/oauth-protected-resource"
NONCE_KEY = b"a key of sixteen"
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
RULES = {"/health": None, "GET /orders": "read", "POST /orders": "write"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def guard(issuer: ListeningIssuer) -> Guard:
    return issuer.guard(metadata=ResourceMetadata())


def _headers(issuer: ListeningIssuer, scope: str = "read") -> dict[str, str]:
    return {"Authorization": issuer.token(scope=scope).decode()}


def _guarded_class(guard: Guard) -> Any:
    write: Decorator = method_decorator(guard.django("write"))

    @method_decorator(guard.django("read"), name="dispatch")
    class Orders(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse(request.caller.client_id)

        @write
        def post(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("made")

    return Orders.as_view()


def _guarded_class_async(guard: Guard) -> Any:
    write: Decorator = method_decorator(guard.django("write"))

    @method_decorator(guard.django("read"), name="dispatch")
    class Orders(View):
        async def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse(request.caller.client_id)

        @write
        async def post(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("made")

    return Orders.as_view()


@pytest.mark.parametrize("build", [_guarded_class, _guarded_class_async])
def test_class_by_wsgi(build: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    client = Client(enforce_csrf_checks=True)
    with django_project.serving({"orders": build(guard)}):
        assert client.get("/orders", headers=_headers(issuer)).content == b"c"
        assert client.get("/orders").status_code == 401
        assert client.post("/orders", headers=_headers(issuer)).status_code == 403
        assert client.post("/orders", headers=_headers(issuer, "read write")).content == b"made"


@pytest.mark.parametrize("build", [_guarded_class, _guarded_class_async])
async def test_class_by_asgi(build: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    with django_project.serving({"orders": build(guard)}):
        assert (await client.get("/orders", headers=_headers(issuer))).content == b"c"
        assert (await client.get("/orders")).status_code == 401
        assert (await client.post("/orders", headers=_headers(issuer))).status_code == 403
        assert (await client.post("/orders", headers=_headers(issuer, "read write"))).content == b"made"


@pytest.mark.parametrize("view", [django_project.orders, django_project.orders_async])
async def test_view_of_either_kind_by_either_way(view: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    guarded = guard.django("read")(view)
    with django_project.serving({"orders": guarded}):
        assert (await AsyncClient().get("/orders", headers=_headers(issuer))).content == b"c"
        assert (await AsyncClient().get("/orders", headers=_headers(issuer, "other"))).status_code == 403
    assert guarded.__name__ == view.__name__


@pytest.mark.parametrize("view", [django_project.orders, django_project.orders_async])
def test_middleware_by_wsgi(view: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    client = Client(enforce_csrf_checks=True)
    with django_project.serving({"orders": view, "health": django_project.health}, guard=guard, routes=RULES):
        assert client.get("/health").content == b"well"
        assert client.get("/orders").status_code == 401
        assert client.get("/orders", headers=_headers(issuer)).content == b"c"
        assert client.post("/orders", headers=_headers(issuer)).status_code == 403
        assert client.post("/orders", headers=_headers(issuer, "write")).content == b"c"
        assert client.get("/nowhere", headers=_headers(issuer)).json()["error"] == "not_found"
        assert client.get("/orders/../health").status_code == 404
        assert client.get(PLACE).json()["authorization_servers"] == [guard.issuer]


@pytest.mark.parametrize("view", [django_project.orders, django_project.orders_async])
async def test_middleware_by_asgi(view: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    with django_project.serving({"orders": view, "health": django_project.health}, guard=guard, routes=RULES):
        assert (await client.get("/health")).content == b"well"
        assert (await client.get("/orders")).status_code == 401
        assert (await client.get("/orders", headers=_headers(issuer))).content == b"c"
        assert (await client.post("/orders", headers=_headers(issuer, "write"))).content == b"c"
        assert (await client.get("/nowhere", headers=_headers(issuer))).status_code == 404
        assert (await client.get(PLACE)).json()["authorization_servers"] == [guard.issuer]


def test_public_route_keeps_its_csrf_token(guard: Guard) -> None:
    """Attack: a page of another origin posts with the cookies of a browser."""
    with django_project.serving({"health": django_project.health}, guard=guard, routes=RULES):
        assert Client(enforce_csrf_checks=True).post("/health").status_code == 403
        assert Client(enforce_csrf_checks=False).post("/health").status_code == 200


def test_mount_is_no_part_of_a_rule(guard: Guard, issuer: ListeningIssuer) -> None:
    with django_project.serving({"orders": django_project.orders}, guard=guard, routes=RULES):
        assert Client().get("/orders", SCRIPT_NAME="/v1", headers=_headers(issuer)).status_code == 200
        assert Client().get("/orders", SCRIPT_NAME="/health", headers=_headers(issuer, "other")).status_code == 403


def test_without_routes_each_request_needs_a_token(guard: Guard, issuer: ListeningIssuer) -> None:
    with django_project.serving({"orders": django_project.orders}, guard=guard):
        assert Client().get("/orders", headers=_headers(issuer, "other")).status_code == 200
        assert [Client().get(path).status_code for path in ("/orders", "/nowhere")] == [401, 401]


def test_guard_has_a_path(issuer: ListeningIssuer) -> None:
    path = f"{__name__}.GUARD"
    with django_project.serving({"orders": django_project.orders}, guard=path):
        assert Client().get("/orders").status_code == 401


GUARD = Guard("https://as.example", audience="https://api.example")


@pytest.mark.parametrize(
    "setting",
    [
        None,
        GUARD,
        {},
        {"GUARD": None},
        {"GUARD": "no.such.guard"},
        {"GUARD": "affiant.Guard"},
        {"GUARD": GUARD, "ROUTE": {}},
        {"GUARD": GUARD, "ROUTES": {"orders": "a"}},
        {"GUARD": GUARD, "ROUTES": ["/orders"]},
    ],
)
def test_impossible_setting_is_an_error_at_the_start(setting: object) -> None:
    options = override_settings(AFFIANT=setting, MIDDLEWARE=[django_project.MIDDLEWARE])
    with options, pytest.raises(ImproperlyConfigured, match="AFFIANT"):
        Client().get("/")


@pytest.mark.parametrize("build", [_guarded_class, _guarded_class_async])
def test_layers_take_one_proof(build: Any, issuer: ListeningIssuer) -> None:
    guard = issuer.guard(nonce_key=NONCE_KEY)
    nonce = Nonces(NONCE_KEY).current(NOW - NONCE_SECONDS)
    url = "http://testserver/orders"
    with django_project.serving({"orders": build(guard)}, guard=guard):
        bound = Bound(issuer, scope="read write")
        answer = Client().post("/orders", headers=bound.headers(url, method="POST", nonce=nonce))
        assert answer.content == b"made"
        assert answer.headers["DPoP-Nonce"] == Nonces(NONCE_KEY).current(NOW)
        other = Bound(issuer, scope="write").headers(url, method="POST", nonce=nonce)
        assert Client().post("/orders", headers=other).status_code == 403


@pytest.mark.parametrize("prefix", ["", "/\u00fc\u65e5"])
def test_path_may_have_any_character(prefix: str, issuer: ListeningIssuer) -> None:
    """Django decodes PATH_INFO and SCRIPT_NAME in place; a proof names the path as it was sent."""
    guard, name = issuer.guard(), "\u00fc\u65e5"
    headers = Bound(issuer, scope="read").headers(f"http://testserver{quote(prefix)}/{quote(name)}")
    with django_project.serving({name: guard.django("read")(django_project.orders)}, guard=guard):
        mount = prefix.encode().decode("latin-1")
        assert Client().get(f"/{quote(name)}", SCRIPT_NAME=mount, headers=headers).content == b"c"
        assert Client().get("/%ff%e6", headers=_headers(issuer)).status_code == 404


def test_a_view_that_fails_is_django_s_business(guard: Guard, issuer: ListeningIssuer) -> None:
    def broken(request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    with django_project.serving({"orders": guard.django()(broken)}), pytest.raises(ZeroDivisionError):
        Client().get("/orders", headers=_headers(issuer))


def test_page_runs(issuer: ListeningIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    written = page.run("django.md", issuer)
    module = ModuleType("project.api")
    vars(module)["guard"] = written["guard"]
    monkeypatch.setitem(sys.modules, "project", ModuleType("project"))
    monkeypatch.setitem(sys.modules, "project.api", module)
    views = {"orders": written["orders"], "orders/rest": written["Orders"].as_view(), "health": django_project.health}
    settings = {name: written[name] for name in ("MIDDLEWARE", "AFFIANT")}
    with django_project.serving(views), override_settings(**settings):
        client = Client(headers=_headers(issuer, "orders.read"))
        for path in ("/orders", "/orders/rest"):
            assert client.get(path).json() == {"orders of": "c"}
            assert Client().get(path).status_code == 401
        assert Client().get("/health").status_code == 200
        assert client.get("/elsewhere").status_code == 404


@pytest.mark.parametrize("path", ["/api/orders", "/orders", "/api/orders/"])
async def test_no_path_gets_past_a_forced_script_name(path: str, guard: Guard) -> None:
    """By ASGI, Django removes it from the path, whatever root_path the server has."""
    sent = list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        if not sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"api.example")]}
    with (
        django_project.serving({"orders": lambda _: HttpResponse("secret")}),
        override_settings(FORCE_SCRIPT_NAME="/api"),
    ):
        guarded = guard.asgi(get_asgi_application(), {"/orders": "read", "*": None})
        await guarded({**scope, "root_path": "", "scheme": "https", "server": ("api.example", 443)}, receive, send)
    assert sent[0]["status"] >= 400
