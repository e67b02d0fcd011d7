"""Django REST framework: the classes for authentication and permissions, with its own test client."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.resource.frameworks import django_project
from tests.unit.resource.frameworks.bound import Bound
from tests.unit.resource.listening import NOW, ListeningIssuer, listening

from affiant.oauth.binding.dpop import NONCE_SECONDS, Nonces
from affiant.resource import Denied, Guard, any_of

from django.test import AsyncClient  # isort: skip # the project comes first
from rest_framework.authentication import BaseAuthentication  # isort: skip
from rest_framework.exceptions import NotFound  # isort: skip
from rest_framework.permissions import DjangoModelPermissions, IsAdminUser, IsAuthenticated  # isort: skip
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer  # isort: skip
from rest_framework.response import Response  # isort: skip
from rest_framework.test import APIClient  # isort: skip
from rest_framework.throttling import UserRateThrottle  # isort: skip
from rest_framework.views import APIView, exception_handler  # isort: skip
from rest_framework.viewsets import ViewSet  # isort: skip

NONCE_KEY = b"a key of sixteen"


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def guard(issuer: ListeningIssuer) -> Guard:
    return issuer.guard()


def _headers(issuer: ListeningIssuer, scope: str = "read", **claims: Any) -> dict[str, str]:
    return {"Authorization": issuer.token(scope=scope, **claims).decode()}


def _view(guard: Guard, *permissions: Any, **more: Any) -> type[APIView]:
    class Orders(APIView):
        authentication_classes = (guard.rest_framework.authentication,)
        permission_classes = permissions

        def get(self, request: Any) -> Response:
            return Response({"user": str(request.user), "auth": request.auth.client_id, "caller": request.caller.sub})

        post = get

    return type("Orders", (Orders,), more)


def _get(view: Any, issuer: ListeningIssuer | None = None, scope: str = "read", more: Any = None) -> Any:
    with django_project.serving({"orders": view.as_view()}):
        headers = _headers(issuer, scope) if issuer is not None else {}
        return APIClient().get("/orders", headers={**headers, **(more or {})})


def test_the_client_is_the_user(guard: Guard, issuer: ListeningIssuer) -> None:
    answer = _get(_view(guard, IsAuthenticated), issuer)
    assert answer.json() == {"user": "c", "auth": "c", "caller": "c"}


async def test_it_works_by_asgi(guard: Guard, issuer: ListeningIssuer) -> None:
    view = _view(guard, guard.rest_framework.scope("read"))
    with django_project.serving({"orders": view.as_view()}):
        assert (await AsyncClient().get("/orders", headers=_headers(issuer))).json()["auth"] == "c"
        assert (await AsyncClient().get("/orders", headers=_headers(issuer, "other"))).status_code == 403
        assert (await AsyncClient().get("/orders")).status_code == 401


def test_view_without_permissions_is_not_open(guard: Guard) -> None:
    """Attack: the default permission is AllowAny."""
    assert _get(_view(guard)).status_code == 401


def test_a_post_needs_no_csrf_token(guard: Guard, issuer: ListeningIssuer) -> None:
    with django_project.serving({"orders": _view(guard, guard.rest_framework.scope("read")).as_view()}):
        assert APIClient(enforce_csrf_checks=True).post("/orders", headers=_headers(issuer)).status_code == 200


def test_permission_alone_is_enough(guard: Guard, issuer: ListeningIssuer) -> None:
    class Orders(APIView):
        permission_classes = (guard.rest_framework.scope("read"),)

        def get(self, request: Any) -> Response:
            return Response(request.caller.client_id)

    assert _get(Orders).status_code == 401
    assert 'scope="read"' in _get(Orders)["WWW-Authenticate"]
    assert _get(Orders, issuer, "other").status_code == 403
    assert _get(Orders, issuer).json() == "c"


def test_permissions_combine(guard: Guard, issuer: ListeningIssuer) -> None:
    scope = guard.rest_framework.scope
    both: Any = scope("read") & scope(any_of("write", "admin"))
    assert _get(_view(guard, both), issuer, "read").status_code == 403
    assert _get(_view(guard, both), issuer, "read admin").status_code == 200


@pytest.mark.parametrize("permission", [IsAdminUser, DjangoModelPermissions])
def test_the_user_has_no_right_of_the_database(permission: Any, guard: Guard, issuer: ListeningIssuer) -> None:
    class Queryset:
        class model:  # noqa: N801 - Django's name for it
            class _meta:  # noqa: N801 - the same
                app_label, model_name = "orders", "order"

    view = _view(guard, permission, queryset=Queryset)
    with django_project.serving({"orders": view.as_view()}):
        assert APIClient().post("/orders", headers=_headers(issuer)).status_code == 403


def test_another_authentication_may_come_first(guard: Guard, issuer: ListeningIssuer) -> None:
    """A refusal by a permission is then REST framework's own; the guard's permission asks for a token."""

    class ByHeader(BaseAuthentication):
        def authenticate(self, request: Any) -> Any:
            return (request.headers["X-User"], None) if "X-User" in request.headers else None

        def authenticate_header(self, request: Any) -> str:
            return "X-User"

    classes = (ByHeader, guard.rest_framework.authentication)
    view = type("Orders", (_view(guard),), {"authentication_classes": classes, "get": lambda *_: Response("reached")})
    assert _get(view, more={"X-User": "someone"}).json() == "reached"
    assert _get(view).status_code == 401
    assert _get(view)["WWW-Authenticate"].startswith("Bearer ")
    guarded = type("Guarded", (view,), {"permission_classes": (guard.rest_framework.scope("read"),)})
    assert _get(guarded, more={"X-User": "someone"}).status_code == 401
    assert _get(guarded, issuer).status_code == 200


def test_challenge_for_what_other_classes_refuse(guard: Guard) -> None:
    class Nobody(guard.rest_framework.authentication):  # type: ignore[name-defined] # a class that is made
        def authenticate(self, request: Any) -> None:
            return None

    view = _view(guard, IsAuthenticated, authentication_classes=(Nobody,))
    assert _get(view).status_code == 401
    assert _get(view)["WWW-Authenticate"].startswith('Bearer realm="https://api.example"')


def test_view_set_chooses_its_permissions(guard: Guard, issuer: ListeningIssuer) -> None:
    """What its class has does not count then."""
    scope = guard.rest_framework.scope

    class Orders(ViewSet):
        authentication_classes = (guard.rest_framework.authentication,)
        permission_classes = (scope("read"),)

        def get_permissions(self) -> list[Any]:
            return [scope("write")()] if self.action == "create" else super().get_permissions()

        def list(self, request: Any) -> Response:
            return Response("listed")

        def create(self, request: Any) -> Response:
            return Response("made")

    with django_project.serving({"orders": Orders.as_view({"get": "list", "post": "create"})}):
        client = APIClient()
        assert client.get("/orders", headers=_headers(issuer)).json() == "listed"
        assert client.get("/orders", headers=_headers(issuer, "write")).status_code == 403
        assert client.post("/orders", headers=_headers(issuer, "write")).json() == "made"
        assert client.post("/orders", headers=_headers(issuer)).status_code == 403


@pytest.mark.parametrize("accept", ["text/html", "application/json; indent=8", "application/xml", "*/*"])
def test_refusal_is_the_same_for_all_that_accept(accept: str, guard: Guard) -> None:
    renderers = (JSONRenderer, BrowsableAPIRenderer)
    answer = _get(_view(guard, guard.rest_framework.scope("read"), renderer_classes=renderers), more={"Accept": accept})
    if accept == "application/xml":
        assert answer.status_code == 406, "REST framework negotiates first"
        return
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/json")
    found = guard.check_environ({}, need="read")
    assert isinstance(found, Denied)
    assert answer.content == found.body


def test_own_exception_handler_is_asked(guard: Guard) -> None:
    def handle(error: Exception, context: Any) -> Any:
        answer = exception_handler(error, context)
        answer.data = {"problem": type(error).__name__}
        return answer

    view = _view(guard, get_exception_handler=lambda _: handle)
    assert _get(view).json() == {"problem": "Refused"}
    assert _get(view)["WWW-Authenticate"].startswith("Bearer ")


def test_throttle_counts_by_client(guard: Guard, issuer: ListeningIssuer) -> None:
    class Throttle(UserRateThrottle):
        rate, cache_format = "1/hour", f"{issuer.url}%(scope)s%(ident)s"

    view = _view(guard, throttle_classes=(Throttle,))
    with django_project.serving({"orders": view.as_view()}):
        client = APIClient()
        statuses = [
            client.get("/orders", headers=_headers(issuer, client_id=name)).status_code for name in ("a", "a", "b")
        ]
    assert statuses == [200, 429, 200]


def test_layers_take_one_proof(issuer: ListeningIssuer) -> None:
    """Middleware, authentication and two permissions; an error of the view has the next nonce, too."""
    guard = issuer.guard(nonce_key=NONCE_KEY)
    scope = guard.rest_framework.scope

    def fail(*_: Any) -> None:
        raise NotFound

    nonce = Nonces(NONCE_KEY).current(NOW - NONCE_SECONDS)
    headers = Bound(issuer, scope="read write").headers("http://testserver/orders", nonce=nonce)
    view = _view(guard, scope("read"), scope("write"), get=fail)
    with django_project.serving({"orders": view.as_view()}, guard=guard):
        answer = APIClient().get("/orders", headers=headers)
    assert answer.status_code == 404
    assert answer["DPoP-Nonce"] == Nonces(NONCE_KEY).current(NOW)
