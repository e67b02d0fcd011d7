"""The Authorization header of a request with an access token, and the challenge in its refusal (RFC 6750, RFC 9449)."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.system.values import Value

BEARER, DPOP = "Bearer", "DPoP"
NOT_APPLICABLE = "N_A"  # of a token that no resource server takes (RFC 8693 section 2.2.1)
_SCHEMES = {b"bearer": BEARER, b"dpop": DPOP, b"Bearer": BEARER, b"DPoP": DPOP}
_TOKEN68 = (string.ascii_letters + string.digits + "._~+/-").encode()
_UNQUOTABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
_LONGEST_CHALLENGE = 8192  # characters
# A parameter, or the scheme that begins a challenge (RFC 9110 section 11.2).
_PART = re.compile(
    r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+)))?"""
)


class PresentedToken(Value, frozen=True):
    """A token as it was presented. Nothing of it is verified."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"token"})

    scheme: str
    token: str


def parse_authorization(values: Sequence[bytes]) -> PresentedToken | None:
    """Return the token in the Authorization headers of a request, or None if there is none."""
    found = split_authorization(values)
    return PresentedToken(found[0], parse_token(found[1])) if found is not None else None


def split_authorization(values: Sequence[bytes]) -> tuple[str, bytes] | None:
    """Return the scheme, and what follows it: a token if `parse_token` says so."""
    if not values:
        return None
    if len(values) > 1:
        raise Rejected(Reason.TOKEN_REQUEST)
    name, _, token = values[0].partition(b" ")
    scheme = _SCHEMES.get(name) or _SCHEMES.get(name.lower())  # RFC 9110 section 11.1: schemes are case-insensitive
    # RFC 6750 section 2.1: one space or more.
    return (scheme, token.lstrip(b" ")) if scheme is not None else None


def parse_token(token: bytes) -> str:
    """Return the text of a token, or raise TOKEN_MALFORMED."""
    letters = token.rstrip(b"=")
    if not letters or letters.translate(None, _TOKEN68):  # a third of the time of a regular expression
        raise Rejected(Reason.TOKEN_MALFORMED)
    return token.decode("ascii")


def challenge(
    *,
    realm: str | None = None,
    error: str | None = None,
    description: str | None = None,
    scope: str | None = None,
    resource_metadata: str | None = None,
    algs: str | None = None,
    error_uri: str | None = None,
    scheme: str = BEARER,
) -> str:
    """Return one challenge for WWW-Authenticate (RFC 6750 section 3, RFC 9449 section 7.1)."""
    parameters = {
        "realm": realm,
        "error": error,
        "error_description": description,
        "error_uri": error_uri,
        "scope": scope,
        "resource_metadata": resource_metadata,
        "algs": algs,
    }
    shown = [f'{name}="{_UNQUOTABLE.sub("?", value)}"' for name, value in parameters.items() if value is not None]
    return f"{scheme} {', '.join(shown)}" if shown else scheme


def parse_challenges(text: str) -> list[dict[str, str]]:
    """Return the parameters of each challenge in WWW-Authenticate, their names in lower case; nothing is refused."""
    found: list[dict[str, str]] = []
    for part in _PART.finditer(text[:_LONGEST_CHALLENGE]):
        name, quoted, plain = part.groups()
        if quoted is None and plain is None:
            found.append({})
        elif found:
            found[-1].setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return found
