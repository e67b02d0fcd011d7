"""The guard as WSGI middleware (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from affiant.oauth import resource_request
from affiant.oauth.parameters.need import Needed
from affiant.resource.answers import Denied
from affiant.resource.caller import headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked
from affiant.resource.frameworks import routes as rules
from affiant.resource.frameworks.routes import PUBLIC


class GuardWsgiMiddleware:
    """Passes on requests with a valid token; the caller is then in ``environ["affiant.caller"]``.

    If the guard publishes metadata of the API, this middleware serves them, without a token.

    Args:
        app: the guarded application.
        guard: checks the tokens.
        need: the scopes that every token must have; as a str, separated by spaces. Of `any_of` one is enough.
        public: paths that need no token.
        routes: what each route needs, in place of `need` and `public`: ``{"GET /orders*": "orders.read"}``; a request
            that no rule names gets 404.

    A path is what the router of the application decides by: PATH_INFO, without the SCRIPT_NAME where the application is
    mounted. Behind some middleware a header of the request changes the latter.

    Raises:
        ConfigError: `need` is no scope, `public` is not a list of str, or a route is none.
    """

    def __init__(
        self,
        app: WSGIApplication,
        guard: Checks,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
        routes: Mapping[str, Needed | None] | None = None,
    ) -> None:
        self._app = app
        self._guard = guard
        self._find_need = rules.finder(need=need, public=public, routes=routes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Check a request, then pass it on."""
        method, path = environ["REQUEST_METHOD"], _decoded(environ.get("PATH_INFO", ""))
        full_path = _decoded(environ.get("SCRIPT_NAME", "")) + path
        published = self._guard.published
        if published is not None and published.path in (path, full_path):
            return _respond(start_response, *published.answer_text(method))
        scope = resource_request.from_environ(environ, self._guard.header_names)
        need = self._find_need(method, path, scope["raw_path"].decode("latin-1"), full_path)
        if need is PUBLIC:
            return self._app(environ, start_response)
        found = need if isinstance(need, Denied) else checked.check_sync(self._guard, scope, need, environ)
        if isinstance(found, Denied):
            headers = {**found.headers, "Content-Length": str(len(found.body))}
            return _respond(start_response, found.status, headers, b"" if method == "HEAD" else found.body)
        return self._app(environ, _with_headers(headers_of(found), start_response))


def _decoded(path: str) -> str:
    """Return a path of an environ, which has a character for each byte (PEP 3333)."""
    return path.encode("latin-1").decode("utf-8", "replace")


def _respond(start_response: StartResponse, status: int, headers: dict[str, str], body: bytes) -> list[bytes]:
    start_response(f"{status} {HTTPStatus(status).phrase}", list(headers.items()))
    return [body] if body else []


def _with_headers(headers: dict[str, str], start_response: StartResponse) -> StartResponse:
    """Return `start_response` with these headers in the response, in place of its own with the same names."""
    if not headers:
        return start_response
    names = {name.lower() for name in headers}

    def start(status: str, given: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        others = [(name, value) for name, value in given if name.lower() not in names]
        return start_response(status, [*others, *headers.items()], exc_info)

    return start
