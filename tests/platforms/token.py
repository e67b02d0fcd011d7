"""An identity token before it is signed: what its platform writes, whatever the time is."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from uuid import uuid4

from affiant.testing.clock import NOW
from affiant.testing.messages import ISSUER

AUDIENCE = ISSUER  # of a token whose test names no other


class Absence(Enum):
    """In place of a claim that is not there."""

    ABSENT = "absent"


ABSENT = Absence.ABSENT  # as the value of a change: leave the claim out


@dataclass(frozen=True)
class Token:
    """Claims and their issuer.

    Attributes:
        platform: its name among the platforms.
        issuer: whose keys sign it. It is `iss` wherever the platform writes one.
        claims: all but the times and the id.
        keys_at: the URL of the JWK Set; as in the documentation of the platform, or as told there to look up.
        lifetime: seconds from `iat` to `exp`; None for a token that never ends.
        offsets: further times, by JSON Pointer: seconds from `iat`.
        alg: of its signature.
        typ: of its header; None where the platform writes none.
        id_claim: the claim that differs in every token; None where there is none.
    """

    platform: str
    issuer: str
    claims: Mapping[str, Any]
    keys_at: str
    lifetime: int | None = 300
    offsets: Mapping[str, int] = field(default_factory=lambda: {"/nbf": 0})
    alg: str = "RS256"
    typ: str | None = "JWT"
    id_claim: str | None = "jti"

    def issued(self, now: float = NOW) -> dict[str, Any]:
        """The claims of one token, issued now."""
        iat = int(now)
        claims = deepcopy(dict(self.claims))
        if self.lifetime is not None:
            claims |= {"iat": iat, "exp": iat + self.lifetime}
        if self.id_claim is not None:
            claims[self.id_claim] = str(uuid4())
        for pointer, seconds in self.offsets.items():
            put(claims, pointer, iat + seconds)
        return claims

    def changed(self, changes: Mapping[str, Any]) -> "Token":
        """With other claims, by JSON Pointer; ABSENT leaves one out."""
        claims = deepcopy(dict(self.claims))
        for pointer, value in changes.items():
            put(claims, pointer, value)
        return replace(self, claims=claims)

    def lasting(self, seconds: int) -> "Token":
        return replace(self, lifetime=seconds)

    def at(self, pointer: str) -> Any:
        """The claim at this JSON Pointer; ABSENT where there is none."""
        return at(self.claims, pointer)


def at(document: Any, pointer: str) -> Any:
    """The value at this JSON Pointer (RFC 6901); ABSENT where there is none. Members only: no platform needs more."""
    for name in parts(pointer):
        if not isinstance(document, Mapping) or name not in document:
            return ABSENT
        document = document[name]
    return document


def put(document: dict[str, Any], pointer: str, value: Any) -> None:
    """Set or take away the member at this JSON Pointer; the objects above it are made if need be."""
    *above, last = parts(pointer)
    for name in above:
        document = document.setdefault(name, {})
    if value is ABSENT:
        document.pop(last, None)
    else:
        document[last] = value


def parts(pointer: str) -> list[str]:
    assert pointer.startswith("/"), pointer
    return [name.replace("~1", "/").replace("~0", "~") for name in pointer[1:].split("/")]


def pointer_to(*names: str) -> str:
    """The JSON Pointer to the claim of these names, one below the other."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def pointers(document: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[str]:
    """Every pointer to a value that is no object."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from pointers(value, (*above, name))
        else:
            yield pointer_to(*above, name)


def audience(values: str | Iterable[str]) -> str | list[str]:
    """`aud` as it was asked for: a text, or a list of them."""
    return values if isinstance(values, str) else list(values)
