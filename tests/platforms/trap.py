"""The kinds of the table of traps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.platforms.token import AUDIENCE, Token


class Refusal(StrEnum):
    """The question that refuses a trap, in their order."""

    ISSUER = "issuer"  # nobody trusts it
    KEY = "key"  # it is not one of the issuer's
    AUDIENCE = "audience"
    LIFETIME = "lifetime"  # exp - iat is more than the trust allows, or there is no exp
    REPLAY = "replay"  # it was used
    TRUST = "trust"  # the trust refuses tokens with such a claim
    RULE = "rule"  # a condition does not hold


@dataclass(frozen=True)
class Good:
    """A platform as it should be.

    Attributes:
        token: of the right workload.
        pins: the conditions of its rule: by JSON Pointer the value, or the values of which it is one.
        audience: that the trust expects.
        longest: seconds from `iat` to `exp` that the trust allows.
        replay: once, if-present or reused, as the trust takes its tokens.
        refuses: claims for which the trust refuses a token, each with their values.
    """

    token: Token
    pins: Mapping[str, Any]
    audience: str = AUDIENCE
    longest: int = 3600
    replay: str = "once"
    refuses: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        return self.token.platform


@dataclass(frozen=True)
class Trap:
    """A token that must be refused.

    Attributes:
        name: of the test.
        token: it.
        by: what refuses it.
        why: in one sentence.
        where: the JSON Pointer of the claim that tells it from the good token; empty where no claim does.
        beside: what the same trust and rule accept.
    """

    name: str
    token: Token
    by: Refusal
    why: str
    where: str
    beside: Good = field(repr=False)

    @property
    def platform(self) -> str:
        return self.token.platform
