"""The caller of an API, as its access token describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from affiant.system.values import Value


class Actor(Value, frozen=True):
    """A party that acts for the subject of a token.

    Attributes:
        sub: its name; it means nothing without the issuer.
        issuer: whose name it is; None where the token does not say.
        sub_profile: its kind, such as ``service`` or ``ai_agent``; None where the token does not say.
    """

    sub: str
    issuer: str | None = None
    sub_profile: str | None = None


class Caller(Value, frozen=True):
    """A client whose access token is valid here and now. Two are equal if the first four attributes are.

    Attributes:
        client_id: the client.
        sub: the subject; of a service the same as its client_id.
        scopes: the granted scopes.
        token_id: the token's jti, for logs; empty for a caller with an API key.
        claims: all claims of the token.
        next_nonce: for the header DPoP-Nonce of the response, if the proof had an older one (RFC 9449 section 8.2).
        notices: more headers for the response: of an API key, when keys end (RFC 8594).
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"claims", "next_nonce", "notices"})

    client_id: str
    sub: str
    scopes: frozenset[str]
    token_id: str
    claims: dict[str, Any]
    next_nonce: str | None = None
    notices: tuple[tuple[str, str], ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Caller) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[str, str, frozenset[str], str]:
        return self.client_id, self.sub, self.scopes, self.token_id

    @property
    def issuer(self) -> str:
        """The issuer of the token: with several, a client_id means nothing without it."""
        return str(self.claims["iss"])

    @property
    def chain(self) -> tuple[Actor, ...]:
        """The parties that act for `sub`, the present one first (claim ``act``, RFC 8693 section 4.1).

        Decide by `sub` and the first actor alone: the others are what was reported on the way.
        """
        return tuple(_actors(self.claims.get("act")))

    @property
    def sub_profile(self) -> str | None:
        """The kind of `sub`, such as ``ai_agent``, where the issuer names it (OAuth Actor Profile)."""
        return _text(self.claims, "sub_profile")

    @property
    def task(self) -> str | None:
        """The task of the client that the token is for, where it is for one alone."""
        return _text(self.claims, "task")

    @property
    def rule(self) -> str | None:
        """The rule by which a platform's token obtained this one, as TRUST/RULE."""
        return _text(self.claims, "rule")

    @property
    def jkt(self) -> str | None:
        """The RFC 7638 thumbprint of the key that the token is bound to (RFC 9449 section 6.1)."""
        return _text(self.claims.get("cnf"), "jkt")

    @property
    def key_thumbprint(self) -> str | None:
        """The thumbprint of the key or secret by which the client obtained the token, where its issuer names it."""
        return _text(self.claims, "client_key")

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> None:
        """Attack: FastAPI reads a dataclass from the body of a request, which could then name its own caller."""
        raise TypeError(
            'a Caller comes from a guard alone: write `caller: Annotated[Caller, guard("scope")]`; a response has what'
            " its receiver needs to know, not a Caller"
        )


def headers_of(caller: Caller) -> dict[str, str]:
    """Return the headers that the response to this caller needs: a response with a nonce must not be cached."""
    if caller.next_nonce is None:
        return dict(caller.notices)
    return {"DPoP-Nonce": caller.next_nonce, "Cache-Control": "no-store"}


def _actors(act: object) -> Iterator[Actor]:
    while isinstance(act, dict):
        if (name := _text(act, "sub") or _text(act, "client_id")) is not None:
            yield Actor(name, _text(act, "iss"), _text(act, "sub_profile"))
        act = act.get("act")


def _text(members: object, name: str) -> str | None:
    value = members.get(name) if isinstance(members, dict) else None
    return value if isinstance(value, str) else None
