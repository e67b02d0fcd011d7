"""Authentication by a token that the platform of the workload signed, in one of two parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from affiant.client.platforms import claims
from affiant.client.platforms.failure import PlatformError
from affiant.client.token import NotPickled
from affiant.oauth import names

if TYPE_CHECKING:  # for the type alone: it asks the network, which this module does not
    from affiant.client.platforms.platform import Platform

SPIFFE_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"  # draft-ietf-oauth-spiffe-client-auth
CARRIERS = {"assertion": names.JWT_BEARER, "client_assertion": names.CLIENT_CREDENTIALS}
_SKEW_SECONDS = 30


class Presented(NotPickled):
    """A platform's token as the grant (RFC 7523 section 2.1), or as the client's authentication (section 2.2)."""

    def __init__(self, platform: Platform, carrier: str) -> None:
        self._platform = platform
        self._carrier = carrier

    @property
    def may_resend(self) -> bool:
        """Whether another attempt may follow one that the server may have processed."""
        return self._platform.may_resend

    def mark(self, now: float) -> str:
        """Return a text that differs for another workload."""
        return self._platform.mark(now)

    def apply(
        self,
        form: list[tuple[str, str]],
        headers: dict[str, str],  # noqa: ARG002 - as every authentication
        *,
        client_id: str,
        issuer: str,  # noqa: ARG002 - the platform was asked for the audience
        now: float,
    ) -> None:
        """Add the token: a new one for every attempt, if the platform issues one."""
        token = self._platform.fetch(now)
        if client_id:
            form.append(("client_id", client_id))
        if self._carrier == "client_assertion":
            kind = SPIFFE_TYPE if self._platform.kind == "spiffe" else names.JWT_BEARER_ASSERTION_TYPE
            form.append(("client_assertion_type", kind))
        form.append((self._carrier, token))

    def explain(self, body: bytes, *, now: float, skew: float | None) -> str:
        """Return what the refused token said, and the likely remedy. It has no token."""
        token = dict(parse_qsl(body.decode("ascii"))).get(self._carrier, "")
        try:
            found = claims.parse(token, who=self._platform.kind)
        except PlatformError:  # it was parsed before it was sent
            return ""
        said = ", ".join(f"{name} {claims.shown(found.get(name))}" for name in ("iss", "sub", "aud"))
        return "\n".join([
            f"  sent: a token of {self._platform.kind} as {self._carrier}: {said}",
            f"  likely remedy: {_remedy(found, now, skew)}",
        ])  # fmt: skip


def _remedy(found: dict[str, Any], now: float, skew: float | None) -> str:
    if skew is not None and abs(skew) > _SKEW_SECONDS and float(found["exp"]) <= now + skew:
        return "the server's clock is ahead of the platform's: set the one that is wrong"
    return (
        "let the server trust this issuer and audience, and give this sub a client; or send it as the other carrier, if"
        " the server takes only that"
    )
