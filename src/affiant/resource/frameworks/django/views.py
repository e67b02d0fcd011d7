"""The guard as a decorator of Django's views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from asgiref.sync import iscoroutinefunction
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
        def checked(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            found = requests.check_sync(guard, request, need)
            if isinstance(found, Denied):
                return requests.refuse(request, found)
            return requests.finish(found, view(request, *args, **kwargs))

        chosen: Any = checked_in_loop if _is_awaited(view) else checked
        # A page of another origin cannot send the token, and without it the guard refuses.
        chosen.csrf_exempt = True
        return chosen  # type: ignore[no-any-return] # functions have no such attribute for mypy

    return decorate


def _is_awaited(view: View) -> bool:
    """Return whether Django awaits the result: of `dispatch`, too, if the class is asynchronous.

    That is no coroutine function; it comes from `method_decorator` as a partial of the bound method.
    """
    if iscoroutinefunction(view):
        return True
    method = getattr(view, "func", None)
    owner = getattr(method, "__self__", None)
    return getattr(method, "__name__", "") == "dispatch" and bool(getattr(owner, "view_is_async", False))
