"""A kept token as bytes. This module loads next to nothing, so that `$(affiant token)` is quick with a kept token."""

from __future__ import annotations

import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:  # see above
    from typing import Any

    from affiant.client.token import Token

try:  # As the module random does: hashlib loads OpenSSL, which takes a quarter of the time of `affiant token`.
    from _sha2 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore] # Python 3.11
    except ImportError:
        from hashlib import sha256

MOST_BYTES = 65_536
LONGEST_LIFETIME = 86_400  # seconds; a longer one is taken for a mistake of the server
CLOCK_SECONDS = 300.0  # by which clocks of one fleet may differ, and a clock may be set back
CHECK_SECONDS = 60.0  # between two checks whether a kept token was revoked
_PUBLIC = ("kty", "crv", "x", "y", "n", "e", "pub")  # the members of a private JWK that are no secret


def digest(names: tuple[str, ...]) -> str:
    """Return SHA-256 of the names, each after its length, so that no two tuples have the same bytes."""
    parts = [name.encode() for name in names]
    found: str = sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()
    return found


def mark_of(key: dict[str, Any]) -> str:
    """Return a text that differs for another private JWK, and reveals none."""
    return json.dumps({member: key[member] for member in _PUBLIC if member in key}, sort_keys=True)


# Of a server of another make: with another value, the token is from another place, or for another account.
_OPTIONS = ("token_endpoint", "reach", "unsafe_reach", "unsafe_audience", "profile", "grant", "subject")


def names_of(members: dict[str, Any], mark: str, resource: str | None, scope: str | None) -> tuple[str, ...]:
    """Return the client of a credentials file and what it asks for; a new key (its mark) is another client."""
    kid, certificate = members.get("kid") or "", members.get("certificate")
    who: tuple[str, ...] = (members["issuer"], members["client_id"], members["auth_method"], kid, mark)
    if certificate is not None:  # a token may be bound to it
        who = (*who, certificate)
    who += tuple(f"{name} {members[name]}" for name in _OPTIONS if members.get(name) is not None)
    return (*who, resource or members.get("resource") or "", scope or members.get("scope") or "")


def folder(what: str) -> str | None:
    """Return this user's folder for the tokens, or for what belongs to them; None if the user has no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path must be ignored, says the XDG Base Directory Specification.
    base = named if named.startswith("/") else os.path.expanduser("~/.cache")  # noqa: PTH111 - pathlib loads slowly
    return None if base.startswith("~") else f"{base}/affiant/{what}"


def read_own(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Read a private file of this user, this many bytes at most; raise ValueError if it is not one.

    Attack: another user who may write into the folder plants a file or a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ValueError("not a private file of this user")
        return file.read(most)


def build(token: Token, *, checked_at: float) -> bytes:
    """Return a token as bytes. Its refresh token is left out: a stolen one is worth more than a saved request."""
    names = ("value", "expires_at", "scope", "token_type", "leeway", "renew_at")
    return json.dumps({**{name: getattr(token, name) for name in names}, "checked_at": checked_at}).encode()


def parse(text: bytes) -> dict[str, Any] | None:
    """Return the members of a kept token, each of its type; None if that is not what these bytes are."""
    try:
        found = json.loads(text)
        value, scope, kind = found["value"], found["scope"], found["token_type"]
        if not (_is_word(value) and _is_word(kind) and (scope is None or isinstance(scope, str))):
            return None
        return {
            "value": value,
            "scope": scope,
            "token_type": kind,
            "expires_at": float(found["expires_at"]),
            "leeway": max(0.0, float(found["leeway"])),
            "renew_at": float(found.get("renew_at", 0.0)),
            "checked_at": float(found.get("checked_at", 0.0)),
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _is_word(value: object) -> bool:
    # Attack: a line end in a token would begin another header of the request (RFC 6749 A.12: VSCHAR alone).
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != "" and " " not in value


def serves(kept: dict[str, Any], now: float, min_ttl: float) -> bool:
    """Whether a kept token can be sent now, and lives for so many seconds more."""
    ends: float = kept["expires_at"]
    # A longer lifetime than that of any token, or kept in the future: not written by affiant, or by a clock that was
    # wrong. Order: NaN makes every comparison false.
    if not kept["checked_at"] <= now + CLOCK_SECONDS:
        return False
    return now < ends - kept["leeway"] and now + min_ttl <= ends <= now + LONGEST_LIFETIME


def is_checked(kept: dict[str, Any], now: float) -> bool:
    """Whether the server said within a minute that it is not revoked."""
    return bool(0 <= now - kept["checked_at"] < CHECK_SECONDS)
