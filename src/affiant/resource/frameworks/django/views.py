"""The guard as a decorator of Django's views."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from asgiref.sync import iscoroutinefunction
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse

from affiant.oauth.parameters.need import Need
from affiant.resource.answers import Denied
from affiant.resource.checks import Checks
from affiant.resource.frameworks.django import requests

P = ParamSpec("P")
View = Callable[..., Any]


def decorator(guard: Checks, need: Need) -> Callable[[View], View]:
    """Return a decorator for views, and for methods by Django's `method_decorator`."""

    def decorate(view: Callable[Concatenate[HttpRequest, P], Any]) -> View:
        @wraps(view)
        async def checked_in_loop(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            found = await requests.check(guard, request, need)
            if isinstance(found, Denied):
                return requests.refuse(request, found)
            response = view(request, *args, **kwargs)
            return requests.finish(found, await response if isinstance(response, Awaitable) else response)

        @wraps(view)
        def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> Any:
            if _is_awaited(request):
                return checked_in_loop(request, *args, **kwargs)
            found = requests.check_sync(guard, request, need)
            if isinstance(found, Denied):
                return requests.refuse(request, found)
            return requests.finish(found, view(request, *args, **kwargs))

        chosen: Any = checked_in_loop if iscoroutinefunction(view) else checked
        # A page of another origin cannot send the token, and without it the guard refuses.
        chosen.csrf_exempt = True
        return chosen  # type: ignore[no-any-return] # functions have no such attribute for mypy

    return decorate


def _is_awaited(request: HttpRequest) -> bool:
    """Return True for `dispatch` of an asynchronous class: no coroutine function, but Django awaits its result."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return isinstance(request, ASGIRequest)
