"""The guard as classes for authentication and permissions of Django REST framework."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import AnyOf, Need
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.checks import Checks
from affiant.resource.frameworks.django import requests

_ANY_TOKEN = needs.parse(())


class TokenUser:
    """The client of a token, as ``request.user``. It is no user of the database, and has none of its permissions."""

    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.pk: str = caller.client_id  # throttles count by it
        self.id: str = self.pk
        self.username: str = self.pk

    def __str__(self) -> str:
        return self.username

    def get_username(self) -> str:
        """Return the client_id."""
        return self.username

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return False: what a client may do is in its scopes."""
        return False

    def has_perms(self, perm_list: object, obj: object = None) -> bool:
        """Return False: what a client may do is in its scopes."""
        return False


class Refused(APIException):
    """A refusal, for the exception handler: the status, the members of the body, and the headers that it passes on."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(json.loads(denied.body))
        self.status_code: int = denied.status
        self.denied: Denied = denied
        self.auth_header: str | None = denied.headers.get("WWW-Authenticate")
        self.wait: int = int(denied.headers.get("Retry-After", "0"))


class _Renderer(JSONRenderer):
    """Writes a refusal as every face of the guard does."""

    compact, ensure_ascii = False, True


@dataclass(frozen=True)
class RestFramework:
    """The classes of one guard."""

    guard: Checks

    @cached_property
    def authentication(self) -> type[BaseAuthentication]:
        """For ``authentication_classes``: ``request.user`` is then a `TokenUser`, and ``request.auth`` the caller.

        A request without a valid token is refused, whatever the permissions are: put it behind other classes that let
        some in.
        """
        guard = self.guard

        class Authentication(BaseAuthentication):
            def authenticate(self, request: Request) -> tuple[TokenUser, Caller]:
                # RFC 6750 section 3: the challenge of a request without a token names the scope. A view may choose
                # other permissions than its class has, so with a token they alone judge the scope.
                is_bare = "Authorization" not in request.headers
                caller = _check(guard, request, _need_of(guard, request) if is_bare else _ANY_TOKEN)
                return TokenUser(caller), caller

            def authenticate_header(self, request: Request) -> str:
                return guard.deny(Rejected(Reason.TOKEN_MISSING)).headers["WWW-Authenticate"]

        return Authentication

    def scope(self, *scopes: str | AnyOf) -> type[BasePermission]:
        """Return a class for ``permission_classes``: the token must have these scopes."""
        checking, wanted = self.guard, needs.all_of("scopes", *scopes)

        class HasScope(BasePermission):
            guard, needed = checking, scopes

            def has_permission(self, request: Request, view: Any) -> bool:
                _check(checking, request, wanted)
                return True

        return HasScope


def _view_of(request: Request) -> Any:
    return (request.parser_context or {}).get("view")


def _need_of(guard: Checks, request: Request) -> Need:
    """Return what the permissions of the view need, as far as they are written in its class."""
    written = getattr(_view_of(request), "permission_classes", ())
    own = [each for each in written if getattr(each, "guard", None) is guard]
    return needs.all_of("scopes", *(scope for each in own for scope in each.needed))


def _check(guard: Checks, request: Request, need: Need) -> Caller:
    """Return the caller, or raise Refused; add to the response what the exception handler does not pass on."""
    found = requests.check_sync(guard, request._request, need)  # noqa: SLF001 - as REST framework's own classes do
    if (view := _view_of(request)) is not None:
        view.headers.update(found.headers if isinstance(found, Denied) else headers_of(found))
    if isinstance(found, Denied):
        request.accepted_renderer, request.accepted_media_type = _Renderer(), _Renderer.media_type
        raise Refused(found)
    return found
