"""Why an API refused a request: its status and its WWW-Authenticate, in the response of any library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affiant.errors import RemoteError
from affiant.oauth.bearer import parse_challenges
from affiant.system.text import printable

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_NAME = "WWW-Authenticate"
_LONGEST = 1000  # characters of scope in a message


class InsufficientScope(RemoteError):
    """The token lacks a scope that the API needs (RFC 6750 section 3.1).

    Attributes:
        needed: the scopes that the API named; empty if it named none.
        resource: the URL of the refused request.
    """

    def __init__(self, *, needed: frozenset[str], resource: str = "") -> None:
        names = printable(" ".join(sorted(needed)), _LONGEST)
        does = f"needs the scope {names!r}" if names else "needs another scope, and does not say which"
        advice = f": request it with service.auth(resource, {', '.join(map(repr, names.split()))})" if names else ""
        super().__init__(f"{printable(resource, _LONGEST) or 'the API'} {does}{advice}")
        self.needed = needed
        self.resource = resource


def check_scope(response: Any) -> None:
    """Raise InsufficientScope if the API refused this request for its scope; for a response of any library.

    The auth never requests another scope by itself: more rights are the caller's decision.
    """
    needed = find_needed_scope(response)
    if needed is not None:
        raise InsufficientScope(needed=needed, resource=str(getattr(response, "url", "") or ""))


def find_needed_scope(response: Any) -> frozenset[str] | None:
    """Return the scopes that a refused request needs, or None if it was not refused for its scope.

    Args:
        response: of httpx2, httpx, requests, niquests, aiohttp, urllib3 or urllib, or a failed call of gRPC.
    """
    if hasattr(response, "trailing_metadata"):
        values = [str(value) for name, value in response.trailing_metadata() or () if name == _NAME.lower()]
        return _needed(", ".join(values))
    status = find_status(response)
    return _needed(text_of(response.headers)) if status in (_UNAUTHORIZED, _FORBIDDEN) else None


def _needed(text: str) -> frozenset[str] | None:
    for parameters in parse_challenges(text):
        if parameters.get("error") == "insufficient_scope":
            return frozenset(parameters.get("scope", "").split())
    return None


def is_refused(status: int | None, headers: Mapping[str, str]) -> bool:
    """Whether the API answered 401 because of the token (RFC 6750 section 3.1)."""
    errors = _errors(headers) if status == _UNAUTHORIZED else {""}
    return not errors or "invalid_token" in errors


def wants_nonce(status: int | None, headers: Mapping[str, str]) -> bool:
    """Whether the API answered 401 because the proof needs a nonce (RFC 9449 section 9)."""
    return status == _UNAUTHORIZED and "use_dpop_nonce" in _errors(headers)


def find_status(response: Any) -> int | None:
    """Return the HTTP status, under whichever name the library has it."""
    found = getattr(response, "status_code", None) or getattr(response, "status", None)
    return found if isinstance(found, int) else None


def text_of(headers: Any) -> str:
    """Return the challenges of a response as one text: an API may send several headers."""
    every = getattr(headers, "getall", None) or getattr(headers, "get_all", None)  # aiohttp; urllib and urllib3
    if every is not None:
        return ", ".join(every(_NAME, None) or ())
    return str(headers.get(_NAME) or "")


def _errors(headers: Any) -> set[str]:
    return {parameters["error"] for parameters in parse_challenges(text_of(headers)) if "error" in parameters}
