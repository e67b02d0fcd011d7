"""The guard as Django's middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from affiant.errors import ConfigError
from affiant.oauth.parameters.need import Need
from affiant.resource.answers import Denied
from affiant.resource.checks import Checks
from affiant.resource.frameworks import routes
from affiant.resource.frameworks.django import requests
from affiant.resource.frameworks.routes import PUBLIC


class GuardMiddleware:
    """Passes on requests with a valid token; the caller is then in ``request.caller``.

    In MIDDLEWARE it is ``affiant.resource.frameworks.django.GuardMiddleware``. The setting AFFIANT is a dict:

    - ``GUARD``: the guard, or its dotted path, such as ``project.api.guard``.
    - ``ROUTES``: what each route needs, ``{"GET /orders*": "orders.read", "/health": None}``; a request that no rule
      names gets 404. If left out, each request needs a valid token. A path is Django's ``path_info``.

    If the guard publishes metadata of the API, this middleware serves them, without a token.

    Raises:
        ImproperlyConfigured: there is no such guard, or a rule is none.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._guard, self._find_need = _configured()
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Check a request, then pass it on."""
        if self._is_async:
            return self._answer(request)
        need = self._decide(request)
        if isinstance(need, HttpResponse):
            return need
        if need is PUBLIC:
            return self._get_response(request)
        found = requests.check_sync(self._guard, request, need)
        if isinstance(found, Denied):
            return requests.refuse(request, found)
        _exempt(request)
        return requests.finish(found, self._get_response(request))

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        need = self._decide(request)
        if isinstance(need, HttpResponse):
            return need
        if need is PUBLIC:
            return await self._get_response(request)
        found = await requests.check(self._guard, request, need)
        if isinstance(found, Denied):
            return requests.refuse(request, found)
        _exempt(request)
        return requests.finish(found, await self._get_response(request))

    def _decide(self, request: HttpRequest) -> Need | HttpResponse | None:
        """Return what the request needs, or the response to one that needs no check."""
        published = self._guard.published
        if published is not None and published.path in (request.path_info, request.path):
            status, headers, body = published.answer_text(request.method)
            return HttpResponse(body, status=status, headers=headers)
        raw_path: bytes = requests.scope_of(self._guard, request).get("raw_path") or b""
        need = self._find_need(request.method, request.path_info, raw_path.decode("latin-1"), request.path)
        return requests.refuse(request, need) if isinstance(need, Denied) else need


def _configured() -> tuple[Checks, Callable[..., Need | Denied | None]]:
    given = getattr(settings, "AFFIANT", None)
    if not isinstance(given, dict) or not {"GUARD"} <= given.keys() <= {"GUARD", "ROUTES"}:
        raise ImproperlyConfigured('write AFFIANT = {"GUARD": "project.api.guard"}, and "ROUTES" if they differ')
    try:
        guard = import_string(given["GUARD"]) if isinstance(given["GUARD"], str) else given["GUARD"]
        find_need = routes.finder(need=(), public=(), routes=given.get("ROUTES"))
    except (ImportError, ConfigError) as error:
        raise ImproperlyConfigured(f"AFFIANT: {error}") from error
    if not isinstance(guard, Checks):
        raise ImproperlyConfigured(f"AFFIANT: {given['GUARD']!r:.100} is no guard")
    return guard, find_need


def _exempt(request: HttpRequest) -> None:
    """Spare a request its CSRF token: a page of another origin cannot send the access token that it has."""
    request.csrf_processing_done = True  # as CsrfViewMiddleware marks a request that it has checked
