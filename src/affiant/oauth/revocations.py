"""Revoked access tokens: the rule by which a revocation covers a token, and the feed of revocations for guards.

The feed is a public JWT with hashes. The owner of a token can find out whether it is revoked; others see only how many
revocations there are, and can confirm a guessed client_id or API identifier.

RFC 7009 leaves open how an API hears of a revocation (section 3): this feed, its type and its claims are ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any, ClassVar

import msgspec

from affiant.jose import base64url, compact
from affiant.jose.claims import LEEWAY, audiences, instant, media_type, text
from affiant.jose.compact import Verified
from affiant.jose.signer import AnySigner
from affiant.oauth import names
from affiant.system.values import Value

# The claims by which a token can be revoked, as its descendants have them in `parents`.
_LINEAGE = ("jti", "client_id", "client_key", "aud", "iat", "rule", "task")
FOREIGN = "foreign"  # the kind of names that tokens of other servers have: the issuer, and a digest of its feed
MAX_FOREIGN = 64  # names of one token of another server
FAMILY_MARK = "."  # after the family of refresh tokens, in the jti of a token that was issued with one
MAX_BYTES = 8_388_608  # of a feed: about 250,000 revocations
PERIOD = 300  # seconds after which the feed is signed again, even without a change
LIFETIME = 3 * PERIOD  # seconds for which it is valid after that
DIGEST_BYTES = 16  # 128 bits: a second name with the same digest cannot be found
SEEN_SECONDS = 2  # in which a node may not know a revocation yet; its clock may also be ahead
_LAST_SECOND = 1 << 53
WHOLE = frozenset({"jti", "family", "key", "task"})


class Feed(Value, frozen=True):
    """The revocations of a server at `issued_at`; instants in seconds since the epoch."""

    HIDDEN: ClassVar[frozenset[str]] = frozenset({"whole", "before"})

    issued_at: int
    expires_at: int
    whole: frozenset[bytes] = frozenset()  # digests of names, all of whose tokens are revoked
    # By the digest of a name, the last second in which a revoked token was issued.
    before: dict[bytes, int] = msgspec.field(default_factory=dict)

    def has_any(self, digests: Iterable[bytes]) -> bool:
        """Whether the feed has one of these digests. Otherwise no token with these names is revoked."""
        return not (self.whole.isdisjoint(digests) and self.before.keys().isdisjoint(digests))

    def revokes(self, claims: dict[str, Any]) -> bool:
        """Whether the token with these claims is revoked."""
        if not self.whole and not self.before:
            return False
        for (kind, value), since in named(claims).items():
            name = digest(kind, value)
            if name in self.whole or self.before.get(name, -1.0) >= since:
                return True
        return False


def named(claims: dict[str, Any]) -> dict[tuple[str, str], float]:
    """Return every (kind, value) by which an access token with these claims can be revoked, each with an instant.

    A revocation at that instant or later ends the token. A token, a family, a key and a task are revoked for good: at
    any instant. For other kinds, tokens that were issued until the revocation, and SEEN_SECONDS longer, are revoked.
    What ends a token ends all that were exchanged for it (RFC 8693), whenever they were issued.
    """
    found: dict[tuple[str, str], float] = {}
    own = _since(claims, 0.0)
    for holder in (claims, *parents(claims)):
        if holder is not claims and "names" in holder:
            found |= _foreign(holder)
            continue
        since = _since(holder, own)
        for kind, value in _of_one(holder):
            if value is not None and (value or kind == "all"):
                found[kind, value] = min(found.get((kind, value), since), 0.0 if kind in WHOLE else since)
    return found


def parents(claims: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the claims by which the tokens can be revoked that this one descends from, the first one first."""
    found = claims.get("parents")
    return [parent for parent in found if isinstance(parent, dict)] if isinstance(found, list) else []


def lineage(claims: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the `parents` of a token that is exchanged for the one with these claims."""
    return (*parents(claims), {name: claims[name] for name in _LINEAGE if claims.get(name) is not None})


def foreign_parent(claims: dict[str, Any], issuer: str) -> dict[str, Any]:
    """Return the entry of `parents` for a token of another affiant server: its names, as that server's feed has them.

    They are digests, so that no claim of it travels; each has the instant of `named`.
    """
    found = named(claims)
    if len(found) > MAX_FOREIGN:
        raise ValueError(f"at most {MAX_FOREIGN} names by which the token can be revoked, and not {len(found)}")
    names_of_it = {base64url.encode(digest(kind, value)): max(0, int(at)) for (kind, value), at in found.items()}
    return {"iss": issuer, "names": names_of_it}


def foreign_entries(known: Feed, issuer: str) -> Iterable[tuple[str, int | None]]:
    """Yield the values of the kind FOREIGN for all that the feed of another server revokes, each with its instant.

    The instant is None for what is revoked for good: any instant will do.
    """
    for name in known.whole:
        yield _foreign_name(issuer, base64url.encode(name)), None
    for name, at in known.before.items():
        yield _foreign_name(issuer, base64url.encode(name)), at


def digests(claims: dict[str, Any]) -> tuple[bytes, ...]:
    """Return the digest of every name by which an access token with these claims can be revoked."""
    return tuple(digest(kind, value) for kind, value in named(claims))


def of_key(client_id: str | None, client_key: str | None) -> str | None:
    """Return the name of all tokens that a client obtained with one of its keys.

    Attack: a client registers the public key of another, and revokes it. The name contains the client_id.
    """
    return f"{client_id} {client_key}" if client_id and client_key else None


def of_task(client_id: str | None, task: str | None) -> str | None:
    """Return the name of all tokens that a client obtained for one task."""
    return f"{client_id} {task}" if client_id and task else None


@lru_cache(maxsize=4096)  # a guard looks for the same few names with each request
def digest(kind: str, value: str) -> bytes:
    """Return the digest of a name for the feed. A kind has no NUL, so no two names have the same text."""
    return sha256(f"{kind}\0{value}".encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


async def build(revoked: Iterable[tuple[str, str, int]], *, issuer: str, now: int, signer: AnySigner) -> str:
    """Return the feed as a compact JWS. `now` is the same for a PERIOD, so that all nodes sign the same claims."""
    return await compact.sign_with(names.REVOCATIONS_TYP, _claims(revoked, issuer, now), signer)


def _claims(revoked: Iterable[tuple[str, str, int]], issuer: str, now: int) -> dict[str, Any]:
    whole, before = list[str](), dict[str, int]()
    for kind, value, at in revoked:
        name = base64url.encode(digest(kind, value))
        if kind in WHOLE:
            whole.append(name)
        else:
            before[name] = at
    return {
        "iss": issuer,
        "iat": now,
        "exp": now + LIFETIME,
        "revoked": sorted(whole),
        "revoked_before": dict(sorted(before.items())),
    }


def verify(verified: Verified, *, issuer: str, now: float) -> Feed:
    """Return the feed if it is of this issuer and valid now, or raise ValueError."""
    claims = verified.claims
    if media_type(verified.header.get("typ")) != names.REVOCATIONS_TYP:
        raise ValueError(f"the revocations have not the typ {names.REVOCATIONS_TYP}")
    if claims.get("iss") != issuer:
        raise ValueError("the revocations are of another issuer")
    iat, exp = instant(claims, "iat"), instant(claims, "exp")
    if iat is None or exp is None or iat > now + LEEWAY or exp + LEEWAY <= now:
        raise ValueError("the revocations are not of this time")
    whole, before = claims.get("revoked"), claims.get("revoked_before")
    if not isinstance(whole, list) or not isinstance(before, dict) or not all(map(_is_second, before.values())):
        raise ValueError("the revocations lack a claim, or have one of the wrong kind")
    return Feed(
        issued_at=int(iat),
        expires_at=int(exp),
        whole=frozenset(map(_name, whole)),
        before={_name(name): at for name, at in before.items()},
    )


def _foreign(parent: dict[str, Any]) -> dict[tuple[str, str], float]:
    issuer, found = text(parent, "iss", longest=2048), parent["names"]
    # Attack: another issuer writes `parents` in a form of its own. This server writes whole seconds.
    named_there = found.items() if issuer is not None and isinstance(found, dict) else ()
    return {
        (FOREIGN, _foreign_name(issuer or "", name)): float(since)
        for name, since in named_there
        if isinstance(since, int) and not isinstance(since, bool) and 0 <= since <= _LAST_SECOND
    }


def _foreign_name(issuer: str, name: str) -> str:
    return f"{issuer} {name}"


def _since(claims: dict[str, Any], default: float) -> float:
    """Return the first instant at which a revocation ends the token with these claims."""
    try:
        issued_at = instant(claims, "iat")
    except ValueError:
        return 0.0
    return default if issued_at is None else issued_at - SEEN_SECONDS


def _of_one(claims: dict[str, Any]) -> Iterable[tuple[str, str | None]]:
    yield "all", ""
    for value in audiences(claims):
        yield "api", value
    jti = text(claims, "jti")
    family, mark, _ = (jti or "").partition(FAMILY_MARK)
    yield "jti", jti
    yield "family", family if mark else None
    yield "client", text(claims, "client_id")
    yield "key", of_key(text(claims, "client_id"), text(claims, "client_key"))
    yield "key", text(claims, "client_key")  # of any client: only an operator revokes by it
    rule = text(claims, "rule")
    yield "rule", rule
    yield "trust", rule.partition("/")[0] if rule is not None else None
    yield "task", of_task(text(claims, "client_id"), text(claims, "task"))


def _is_second(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: object) -> bytes:
    decoded = base64url.decode(value) if isinstance(value, str) else b""
    if len(decoded) != DIGEST_BYTES:
        raise ValueError("the revocations contain something that is no digest")
    return decoded
