"""Token requests and responses (RFC 6749 sections 4.4, 5.1 and 6)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from affiant.jose.strict_json import parse_object
from affiant.oauth import names
from affiant.system.values import Value

# RFC 6749 appendix A.12 and A.17: VSCHAR. A space would end an access token in its header. RFC 6750 section 2.1 allows
# fewer characters there, but some servers issue others.
_ACCESS_TOKEN, _REFRESH_TOKEN = re.compile(r"[\x21-\x7e]+"), re.compile(r"[\x20-\x7e]+")


class TokenResponse(Value, frozen=True, omit_defaults=True):
    """A successful response; a server sends its JSON. An empty scope is None (RFC 6749 section 3.3)."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"access_token", "refresh_token"})

    access_token: str
    token_type: str
    expires_in: int | None  # seconds
    scope: str | None = None
    refresh_token: str | None = None
    authorization_details: tuple[dict[str, Any], ...] = ()  # RFC 9396 section 7
    issued_token_type: str | None = None  # of an exchange (RFC 8693 section 2.2.1)


def client_credentials_form(
    *, scope: str | None, resource: str | None, authorization_details: str | None = None
) -> list[tuple[str, str]]:
    """Return the parameters of a client_credentials request, without client authentication."""
    return _form(names.CLIENT_CREDENTIALS, scope, resource, authorization_details)


def jwt_bearer_form(
    *, scope: str | None, resource: str | None, authorization_details: str | None = None
) -> list[tuple[str, str]]:
    """Return the parameters of a request by an assertion (RFC 7523 section 2.1), without the assertion."""
    return _form(names.JWT_BEARER, scope, resource, authorization_details)


def _form(grant: str, scope: str | None, resource: str | None, details: str | None) -> list[tuple[str, str]]:
    form = [("grant_type", grant), ("scope", scope), ("resource", resource), ("authorization_details", details)]
    return [(name, value) for name, value in form if value]


def refresh_form(refresh_token: str, *, scope: str | None = None) -> list[tuple[str, str]]:
    """Return the parameters of a refresh request, without client authentication."""
    form = [("grant_type", names.REFRESH_TOKEN), ("refresh_token", refresh_token), ("scope", scope)]
    return [(name, value) for name, value in form if value]


def exchange_form(
    subject_token: str,
    *,
    subject_token_type: str,
    requested_token_type: str | None = None,
    scope: str | None = None,
    resource: str | None = None,
    task: str | None = None,
    lifetime: int | None = None,
) -> list[tuple[str, str]]:
    """Return the parameters of an exchange (RFC 8693 section 2.1), without client authentication.

    `task` and `lifetime` are affiant's: the task that the token is for, and the most seconds that it lives.
    """
    form = [
        ("grant_type", names.TOKEN_EXCHANGE),
        ("subject_token", subject_token),
        ("subject_token_type", subject_token_type),
        ("requested_token_type", requested_token_type),
        ("scope", scope),
        ("resource", resource),
        ("task", task),
        ("expires_in", str(lifetime) if lifetime is not None else None),
    ]
    return [(name, value) for name, value in form if value]


def parse_response(body: bytes) -> TokenResponse:
    """Read a successful response; unknown members are ignored (RFC 6749 section 5.1)."""
    try:
        members = parse_object(body)
    except ValueError as error:
        raise ValueError(f"the answer is not a JSON object: {error}") from None
    access_token, token_type = members.get("access_token"), members.get("token_type")
    if not isinstance(access_token, str) or not access_token:
        raise ValueError("the answer has no access_token")
    if _ACCESS_TOKEN.fullmatch(access_token) is None:
        raise ValueError("the access_token has characters that no token has (RFC 6749 A.12)")
    if not isinstance(token_type, str):
        raise ValueError("the answer has no token_type")  # noqa: TRY004
    scope, details = members.get("scope"), members.get("authorization_details")
    issued_type = members.get("issued_token_type")
    return TokenResponse(
        access_token=access_token,
        token_type=token_type,
        expires_in=_seconds(members.get("expires_in")),
        scope=scope if isinstance(scope, str) else None,
        refresh_token=_refresh_token(members.get("refresh_token")),
        authorization_details=tuple(entry for entry in details if isinstance(entry, dict))
        if isinstance(details, list)
        else (),
        issued_token_type=issued_type if isinstance(issued_type, str) else None,
    )


def _refresh_token(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    if _REFRESH_TOKEN.fullmatch(value) is None:
        raise ValueError("the refresh_token has characters that no token has (RFC 6749 A.17)")
    return value


def _seconds(value: object) -> int | None:
    if value is None:
        return None
    # Some servers send the number as a string.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:  # noqa: PLR2004
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(10**15) < value < 10**15:
        raise ValueError("expires_in is not a number of seconds")
    return int(value)
