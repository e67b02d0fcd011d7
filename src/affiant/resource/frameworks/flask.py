"""The guard in Flask: a decorator for views, and a check for ``before_request``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from types import FunctionType
from typing import Any, ParamSpec
from weakref import WeakSet

from flask import Flask, Response, after_this_request, current_app, g, request
from flask.typing import ResponseReturnValue

from affiant.errors import ConfigError
from affiant.oauth import resource_request
from affiant.oauth.parameters.need import Need
from affiant.resource.answers import Denied
from affiant.resource.caller import headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks import checked
from affiant.resource.metadata import METHODS, Published

P = ParamSpec("P")
_ENDPOINT = "affiant_metadata"
_GUARDED: WeakSet[Callable[..., Any]] = WeakSet()  # what the decorator has returned
_BARE: WeakSet[Callable[..., Any]] = WeakSet()  # the views inside these


class Required:
    """The scopes that a request needs: a decorator of views, or a check before them. It sets ``flask.g.caller``."""

    def __init__(self, guard: Checks, need: Need) -> None:
        self._guard, self._need = guard, need

    def __call__(self, view: Callable[P, Any]) -> Callable[P, ResponseReturnValue]:
        """Return the view behind this check. It may be a coroutine function, or a method of a class."""

        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            refusal = self._refuse()
            if refusal is not None:
                return refusal
            # Order: an asynchronous view gets its event loop after the check, which may wait for a key.
            answer: ResponseReturnValue = current_app.ensure_sync(view)(*args, **kwargs)
            return answer

        _GUARDED.add(guarded)
        if isinstance(bare := inspect.unwrap(view), FunctionType):  # other callables may have no weak reference
            _BARE.add(bare)
        return guarded

    def check(self) -> Response | None:
        """Check the present request, for ``before_request`` of a blueprint or an application.

        The metadata of the API are served without a token, if the guard publishes some.
        """
        published = self._guard.published
        if published is not None and request.path == published.path:
            return _document(published)  # no route decides here: one for any path would be reached without a check
        if request.method == "OPTIONS" and getattr(request.url_rule, "provide_automatic_options", False):
            return None  # Flask answers without the view: a browser sends no token with a preflight
        return self._refuse()

    def _refuse(self) -> Response | None:
        scope = resource_request.from_environ(request.environ, self._guard.header_names)
        found = checked.check_sync(self._guard, scope, self._need, request.environ)
        if isinstance(found, Denied):
            return Response(found.body, found.status, found.headers)
        g.caller = found
        if headers := headers_of(found):
            after_this_request(_adding(headers))
        return None


def _adding(headers: Mapping[str, str]) -> Callable[[Response], Response]:
    def add(response: Response) -> Response:
        response.headers.update(headers)
        return response

    return add


def install(guard: Checks, app: Flask) -> None:
    """Serve the metadata of the API. Refuse all requests if a view is served without its guard."""
    app.before_request(cache(partial(_check_order, app)))
    published = guard.publish()
    if published is not None:
        show = partial(_document, published)
        app.add_url_rule(published.path, _ENDPOINT, show, provide_automatic_options=False, methods=METHODS)


def _check_order(app: Flask) -> None:
    """Raise ConfigError for a decorator above that of the route: Flask then serves the view itself."""
    insides = {endpoint: inspect.unwrap(view) for endpoint, view in app.view_functions.items()}
    insides = {endpoint: view for endpoint, view in insides.items() if isinstance(view, FunctionType)}
    guarded = {insides[endpoint] for endpoint in insides if _is_guarded(app.view_functions[endpoint])}
    served = [endpoint for endpoint, view in insides.items() if view in _BARE and view not in guarded]
    if served:
        names = ", ".join(sorted(served))
        raise ConfigError(f"no guard is asked before {names}: write @guard.flask(...) below the route")


def _is_guarded(view: Callable[..., Any]) -> bool:
    layer: Any = view
    while layer is not None and layer not in _GUARDED:
        layer = getattr(layer, "__wrapped__", None)
    return layer is not None


def _document(published: Published) -> Response:
    status, headers, body = published.answer_text(request.method)
    return Response(body, status, headers)
