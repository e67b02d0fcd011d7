"""The credentials of a workload that has no secret: its platform gives it tokens."""

from __future__ import annotations

from affiant.client.credentials.file import Credentials
from affiant.client.platforms.platform import Platform
from affiant.client.protocol.options import Options
from affiant.client.protocol.presented import CARRIERS, Presented
from affiant.errors import LocalError

# They say what an assertion of our own has, or how it is signed.
_FOREIGN = ("profile", "grant", "subject", "header", "claims", "lifetime", "key_password", "unsafe_audience")


def describe(
    name: str,
    issuer: str,
    *,
    client_id: str | None = None,
    audience: str | None = None,
    carrier: str = "assertion",
    scope: str | None = None,
    resource: str | None = None,
) -> Credentials:
    """Return the credentials; the audience is the issuer if left out."""
    if carrier not in CARRIERS:
        raise LocalError(f"carrier={carrier!r} is not known: {' or '.join(CARRIERS)}")
    return Credentials(
        issuer,
        client_id or "",
        "platform",
        scope=scope,
        resource=resource,
        grant=CARRIERS[carrier],
        platform=Presented(Platform(name, issuer if audience is None else audience), carrier),
    )


def check(options: Options) -> None:
    """Reject the options of assertions that a service signs itself."""
    for name in _FOREIGN:
        if options.get(name) is not None:
            raise LocalError(f"{name}= is for assertions that the service signs: the platform signs this token")
