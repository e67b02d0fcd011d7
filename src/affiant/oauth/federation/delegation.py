"""The claims `act` and `may_act`: which client acts for the subject of a token (RFC 8693 section 4).

The OAuth Actor Profile says how they are written.
"""

from __future__ import annotations

from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.system.values import Value

DEPTH = 4  # actors of one token: the OAuth Actor Profile asks for at least as many
# The kinds of clients, as values of `sub_profile`.
PROFILES = {names.SERVICE: "service", names.AGENT: "ai_agent"}


class Actor(Value, frozen=True):
    """A client of this server that wants to act for the subject of a token."""

    iss: str
    sub: str
    profile: str | None = None


def chain(claims: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the actors of a token, the current one first; raise ACT for anything that the profile does not allow."""
    found: list[dict[str, Any]] = []
    act = claims.get("act")
    while act is not None:
        if not isinstance(act, dict) or not all(isinstance(act.get(name), str) for name in ("iss", "sub")):
            raise Rejected(Reason.EXCHANGE_ACT, expected="iss and sub in each act")
        found.append(act)
        act = act.get("act")
    return found


def delegate(claims: dict[str, Any], actor: Actor, *, depth: int) -> dict[str, Any]:
    """Return the `act` with which this actor acts for the subject of the token with these claims.

    It has every earlier actor, unchanged: a chain that would be too long is refused, never cut.

    Raises:
        Rejected: EXCHANGE_ACT, EXCHANGE_MAY_ACT, EXCHANGE_CYCLE or EXCHANGE_DEPTH.
    """
    before = chain(claims)
    if "may_act" in claims and not _is_meant(claims["may_act"], actor):
        raise Rejected(Reason.EXCHANGE_MAY_ACT)
    if claims.get("sub") == actor.sub or any((one["iss"], one["sub"]) == (actor.iss, actor.sub) for one in before):
        raise Rejected(Reason.EXCHANGE_CYCLE, got=actor.sub)
    if len(before) >= depth:
        raise Rejected(Reason.EXCHANGE_DEPTH, expected=f"at most {depth} actors")
    act: dict[str, Any] = {"iss": actor.iss, "sub": actor.sub}
    if actor.profile is not None:
        act["sub_profile"] = actor.profile
    return act | ({"act": claims["act"]} if before else {})


def _is_meant(may_act: object, actor: Actor) -> bool:
    """Whether every member of the claim is true of the actor; a member that this server does not know is not true."""
    if not isinstance(may_act, dict) or "sub" not in may_act:
        return False
    known = {"iss": actor.iss, "sub": actor.sub}
    return all(name in known and value == known[name] for name, value in may_act.items())
