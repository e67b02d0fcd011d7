"""A project of Django, configured in code, that serves the views of a test."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from affiant.resource import Guard

MIDDLEWARE = "affiant.resource.frameworks.django.GuardMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["api.example", "testserver"],
        INSTALLED_APPS=["rest_framework"],
        MIDDLEWARE=[CSRF],
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
        SECRET_KEY="a test",
        USE_TZ=True,
    )
    django.setup()

from rest_framework.response import Response  # noqa: E402 - it reads the settings
from rest_framework.views import APIView  # noqa: E402 - it reads the settings


@contextmanager
def serving(
    views: Mapping[str, Callable[..., Any]], *, guard: object = None, routes: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Serve these views by their paths; behind the middleware, if there is a guard."""
    urls = ModuleType("urls")
    vars(urls)["urlpatterns"] = [path(name, view) for name, view in views.items()]
    options: dict[str, Any] = {"ROOT_URLCONF": urls, "MIDDLEWARE": [CSRF]}
    if guard is not None:
        options |= {"AFFIANT": {"GUARD": guard, "ROUTES": routes}, "MIDDLEWARE": [CSRF, MIDDLEWARE]}
    with override_settings(**options):
        yield


def orders(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.caller.client_id)


async def orders_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.caller.client_id)


def health(request: HttpRequest) -> HttpResponse:
    assert not hasattr(request, "caller")
    return HttpResponse("well")


def api_view(guard: Guard, *scopes: str) -> type[APIView]:
    class Orders(APIView):
        authentication_classes = (guard.rest_framework.authentication,)
        permission_classes = (guard.rest_framework.scope(*scopes),)

        def get(self, request: Any) -> Response:
            return Response(request.auth.client_id)

    return Orders
