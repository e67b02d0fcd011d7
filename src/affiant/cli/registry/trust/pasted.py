"""A token that an operator has from a job: its claims are read, and the server judges it by the new rule."""

from __future__ import annotations

from typing import Any, ClassVar

from affiant.cli.arguments import read_given
from affiant.cli.connection.place import Place
from affiant.cli.diagnosis.explain import read_answer
from affiant.errors import ConfigError, Rejected
from affiant.jose import compact
from affiant.jose.claims import instant
from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.known import meets
from affiant.server.registry.federation.platforms.platform import Platform
from affiant.system.values import Value

_LONGEST = 16_384  # characters, as the token endpoint takes


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


def read(file: str) -> Pasted:
    """Return the claims of the token in this file, or of standard input; raise ConfigError if it is no such token."""
    given = read_given(file, longest=2 * _LONGEST)
    if given == file:
        raise ConfigError("there is no such file: --from-token takes the name of a file, or - for standard input")
    try:
        text = given.removeprefix("Bearer ")
        unverified = compact.parse(text, limit=_LONGEST)
    except Rejected as refusal:
        said = refusal.reason.value.sentence.replace("the assertion", "it")
        raise ConfigError(f"--from-token has no signed JWT: {said}") from None
    issuers = trusted_token.find_issuers(unverified)
    if not issuers:
        raise ConfigError("this token is of no platform: its iss and sub are equal, or missing")
    return Pasted(text, issuers[0], dict(unverified.claims))


def judge(token: Pasted, trust: str, place: Place) -> str:
    """Return what the server says of the token, as of when it was made: a first line that mends it, if need be."""
    begin = instant(token.claims, "iat")
    answer = place.post("/explain", {"request": token.text, "at": begin, "trust": trust})
    found = read_answer(answer, place)
    if found.reason is None:
        return "the server would accept this token, and its signature is right"
    mends = [one for one in (found.fix, found.remedy) if one is not None and one.line]
    first = f"{mends[0].line} ({mends[0].why})" if mends else found.code
    return f"the server would refuse this token: {first}"


def check(token: Pasted, platform: Platform) -> None:
    """Raise ConfigError for a token that the preset refuses, and that is therefore no pattern for a rule."""
    for refused in platform.refuses:
        if meets(token.claims, refused):
            values = " or ".join(map(str, refused.values))
            raise ConfigError(f"tokens with {refused.claim}={values} get nothing here: take one of the right job")
    life = token.lifetime
    if life is None:
        raise ConfigError("this token never ends, or does not say since when it is valid: such tokens are not taken")
    if life > platform.longest:
        raise ConfigError(
            f"this token lives {life // 3600:,} hours, and {platform.longest // 3600} are the most: a token of a pod"
            " that lives so long is the one for the API server; project one with an audience of its own"
        )
