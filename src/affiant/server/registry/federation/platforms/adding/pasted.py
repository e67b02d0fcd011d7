"""The token of a job, from which a rule is read; its signature is not checked here."""

from __future__ import annotations

from typing import Any, ClassVar

from affiant.errors import ConfigError, Rejected
from affiant.jose import compact
from affiant.jose.claims import instant
from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.platform import Platform
from affiant.system.values import Value

LONGEST = 16_384  # characters, as the token endpoint takes


class Pasted(Value, frozen=True):
    """The claims of a token whose signature is not checked."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"text", "claims"})

    text: str
    issuer: str
    claims: dict[str, Any]

    @property
    def audiences(self) -> list[str]:
        aud = self.claims.get("aud")
        return [value for value in (aud if isinstance(aud, list) else [aud]) if isinstance(value, str)]

    @property
    def lifetime(self) -> int | None:
        """Seconds from iat to exp; None if it does not have both."""
        try:
            begin, end = instant(self.claims, "iat"), instant(self.claims, "exp")
        except ValueError:
            return None
        return int(end - begin) if begin is not None and end is not None else None


def parse(text: str) -> Pasted:
    """Return the token of this text; raise ConfigError unless it is a platform's."""
    plain = text.strip().removeprefix("Bearer ")
    try:
        unverified = compact.parse(plain, limit=LONGEST)
    except Rejected as refusal:
        said = refusal.reason.value.sentence.replace("the assertion", "it")
        raise ConfigError(f"this is no signed JWT: {said}") from None
    issuers = trusted_token.find_issuers(unverified)
    if not issuers:
        raise ConfigError("no platform issued this token: its iss and sub are equal, or missing")
    return Pasted(plain, issuers[0], dict(unverified.claims))


def check(token: Pasted, platform: Platform) -> None:
    """Raise ConfigError for a token from which no rule may be made: a refused one, or one that lives too long."""
    proposal.check_claims(platform, token.claims)
    life = token.lifetime
    if life is None:
        raise ConfigError("this token never ends, or has no iat: ask the platform for one that expires")
    if life > platform.longest:
        raise ConfigError(
            f"this token lives {life // 3600:,} hours, and {platform.longest // 3600} are the most: a token of a pod"
            " that lives so long is the one for the API server; project one with an audience of its own"
        )
