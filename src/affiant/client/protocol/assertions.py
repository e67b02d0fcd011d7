"""The header, claims and lifetime of a service's assertions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from affiant.client.protocol.profiles import GENERAL, OPTIONAL, Profile
from affiant.errors import LocalError
from affiant.jose.signer import Renamed, Signer
from affiant.oauth import assertion, names

Extra = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
Form = list[tuple[str, str]]

# Members that another parameter sets, or that would change how the rest is read.
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
    """The content of a service's assertions, apart from issuer and audience."""

    profile: Profile = GENERAL
    lifetime: int = 60  # seconds
    subject: str | None = None  # the client_id, or what the profile says
    header: Extra | None = field(default=None, repr=False)
    claims: Extra | None = field(default=None, repr=False)
    has_own_kid: bool = False  # the caller named the kid

    @property
    def is_grant(self) -> bool:
        """Whether the assertion is the grant, and not an authentication of the client."""
        return self.profile.grant == names.JWT_BEARER

    @property
    def reserved_claims(self) -> dict[str, str]:
        """The claims that another parameter sets, with its name."""
        return {**_CLAIMS, **{name: f"{name}=" for name in self.profile.inside}}

    def build(
        self, signer: Signer, form: Form, *, client_id: str, audience: str, now: float, lifetime: int | None = None
    ) -> str:
        """Return a new assertion. The parameters that the profile wants in it leave the form."""
        inside = {name: value for name, value in form if name in self.profile.inside}
        form[:] = [(name, value) for name, value in form if name not in inside]
        header = {"typ": self.profile.typ, **_members("header", self.header, _HEADER)}
        claims = _members("claims", self.claims, self.reserved_claims)
        if self.subject is not None or self.profile.subject == OPTIONAL:
            claims["sub"] = self.subject
        if not self.has_own_kid and any(name in header for name in _NAME_THE_KEY):
            signer = Renamed(signer, None)  # the certificate names the key
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
    """Reject options that a server would refuse with every token."""
    if isinstance(shape.lifetime, bool) or not isinstance(shape.lifetime, int):
        raise LocalError("lifetime= is a number of whole seconds")
    if not 0 < shape.lifetime <= shape.profile.longest:
        raise LocalError(f"lifetime={shape.lifetime} must be 1 to {shape.profile.longest} seconds{_by(shape.profile)}")
    for name, given, reserved in (("header", shape.header, _HEADER), ("claims", shape.claims, shape.reserved_claims)):
        if not callable(given):
            _members(name, given, reserved)


def _by(profile: Profile) -> str:
    return f" for profile={profile.name!r}" if profile.name else ""


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
    if b"PRIVATE KEY-----" in text:  # Attack: a reader of the assertion gets the key
        raise LocalError(f"{name}= has a private key, which the server and its logs would read")
    return dict(found)
