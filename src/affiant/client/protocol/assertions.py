"""What a service's assertions say: header, claims, lifetime and audience."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from affiant.client.protocol.profiles import GENERAL, OPTIONAL, Profile
from affiant.errors import LocalError
from affiant.jose.signer import Signer
from affiant.oauth import assertion, names

Extra = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
Form = list[tuple[str, str]]

# What another parameter sets, or what would change how the rest is read.
_CLAIMS = {
    "iss": "client_id",
    "sub": "subject=",
    "aud": "unsafe_audience=",
    "exp": "lifetime=",
    "iat": "clock=",
    "jti": "nothing: each assertion has a new one",
}
_HEADER = {
    "alg": "alg=",
    "kid": "kid=",
    "crit": "nothing: affiant has no extension",
    "b64": "nothing: the payload is base64url",
    "jwk": "key=; servers have the public key from registration",
}
_NAME_THE_KEY = ("x5c", "x5t", "x5t#S256")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the assertions of a service say, in addition to who it is."""

    row: Profile = GENERAL
    lifetime: int = 60  # seconds
    subject: str | None = None  # the client_id, or what the profile says
    header: Extra | None = field(default=None, repr=False)
    claims: Extra | None = field(default=None, repr=False)
    has_own_kid: bool = False  # the caller named the kid

    @property
    def is_grant(self) -> bool:
        """Whether the assertion is the grant, and not an authentication of the client."""
        return self.row.grant == names.JWT_BEARER

    @property
    def reserved_claims(self) -> dict[str, str]:
        """The claims that another parameter sets, with its name."""
        return {**_CLAIMS, **{name: f"{name}=" for name in self.row.inside}}

    def build(
        self, signer: Signer, form: Form, *, client_id: str, audience: str, now: float, lifetime: int | None = None
    ) -> str:
        """Return a new assertion. The parameters that the profile wants in it leave the form."""
        inside = {name: value for name, value in form if name in self.row.inside}
        form[:] = [(name, value) for name, value in form if name not in inside]
        header = {"typ": self.row.typ, **_members("header", self.header, _HEADER)}
        claims = _members("claims", self.claims, self.reserved_claims)
        if self.subject is not None or self.row.subject == OPTIONAL:
            claims["sub"] = self.subject
        if not self.has_own_kid and any(name in header for name in _NAME_THE_KEY):
            signer = _Unnamed(signer)
        return assertion.build(
            client_id,
            issuer=audience,
            signer=signer,
            now=now,
            lifetime=self.lifetime if lifetime is None else lifetime,
            header=header,
            claims={**claims, **inside},
        )


def check(shape: Shape) -> None:
    """Reject what a server would refuse with every token."""
    if isinstance(shape.lifetime, bool) or not isinstance(shape.lifetime, int):
        raise LocalError("lifetime= is a number of whole seconds")
    if not 0 < shape.lifetime <= shape.row.longest:
        raise LocalError(f"lifetime={shape.lifetime} must be 1 to {shape.row.longest} seconds{_by(shape.row)}")
    for name, given, reserved in (("header", shape.header, _HEADER), ("claims", shape.claims, shape.reserved_claims)):
        if not callable(given):
            _members(name, given, reserved)


def _by(row: Profile) -> str:
    return f" for profile={row.name!r}" if row.name else ""


def _members(name: str, given: Extra | None, reserved: Mapping[str, str]) -> dict[str, Any]:
    found: object = given() if callable(given) else given
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(member, str) for member in found):
        raise LocalError(f"{name}= is a mapping of names to JSON values, or a function that returns one")
    for member in found:
        if member in reserved:
            raise LocalError(f"{name}= must not have {member!r}: what sets it is {reserved[member]}")
    try:
        text = msgspec.json.encode(found)
    except (TypeError, ValueError, RecursionError):
        raise LocalError(f"{name}= has a value that is not JSON") from None
    if b"PRIVATE KEY-----" in text:  # Attack: who reads an assertion would have the key
        raise LocalError(f"{name}= has a private key, which the server and its logs would read")
    return dict(found)


@dataclass(frozen=True, slots=True)
class _Unnamed:
    """A signer whose key is named by a certificate, so that its kid is left out."""

    signer: Signer
    kid: None = None

    @property
    def alg(self) -> str:
        return self.signer.alg

    def sign(self, data: bytes) -> bytes:
        return self.signer.sign(data)
