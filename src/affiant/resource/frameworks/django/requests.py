"""Check a request of Django, which came by WSGI or by ASGI."""

from __future__ import annotations

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse

from affiant.oauth import resource_request
from affiant.oauth.parameters.need import Need
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked
from affiant.resource.frameworks.checked import Marks


async def check(guard: Checks, request: HttpRequest, need: Need) -> Caller | Denied:
    """Check a request with an event loop. A caller is then in ``request.caller``."""
    return _keep(request, await checked.check(guard, scope_of(guard, request), need, _marks(request)))


def check_sync(guard: Checks, request: HttpRequest, need: Need) -> Caller | Denied:
    """Check a request, as `check` does, in a thread without an event loop."""
    return _keep(request, checked.check_sync(guard, scope_of(guard, request), need, _marks(request)))


def scope_of(guard: Checks, request: HttpRequest) -> Scope:
    if not isinstance(request, ASGIRequest):
        # Django has decoded these two, which have a character for each byte in WSGI (PEP 3333).
        decoded = {"SCRIPT_NAME": request.META.get("SCRIPT_NAME", ""), "PATH_INFO": request.path_info}
        paths = {name: path.encode("utf-8").decode("latin-1") for name, path in decoded.items()}
        return resource_request.from_environ({**request.META, **paths}, guard.header_names)
    # Django's own test client has a str here.
    return {**request.scope, "query_string": request.META["QUERY_STRING"].encode()}


def _marks(request: HttpRequest) -> Marks:
    """Return what a middleware around Django shares with it."""
    marks: Marks = request.scope if isinstance(request, ASGIRequest) else request.META
    return marks


def _keep(request: HttpRequest, found: Caller | Denied) -> Caller | Denied:
    if isinstance(found, Caller):
        request.caller = found
    return found


def refuse(request: HttpRequest, denied: Denied) -> HttpResponse:
    body = b"" if request.method == "HEAD" else denied.body
    headers = {**denied.headers, "Content-Length": str(len(denied.body))}
    return HttpResponse(body, status=denied.status, headers=headers)


def finish(caller: Caller, response: HttpResponse) -> HttpResponse:
    """Add the headers that this caller needs."""
    for name, value in headers_of(caller).items():
        response[name] = value
    return response
