"""The challenge table: what a refusal must say (RFC 6750 section 3, RFC 9449 section 7.1), and what is wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from bench.guards import roads, tokens
from bench.guards.roads import Answer, Road, Sender
from bench.guards.tokens import RSA_KEY, SCOPE, sign

from affiant import testing
from affiant.jose import keys
from affiant.testing import ABSENT

HOLDER, THIEF = keys.generate("ES256"), keys.generate("ES256")  # of the bound tokens, and not


@dataclass(frozen=True)
class Wanted:
    """A request, and the refusal that is right for it."""

    name: str
    authorization: tuple[str, ...]
    status: int
    error: str | None  # the code in the challenge
    scope: bool = False  # whether the challenge names the scope


def requests() -> list[Wanted]:
    """Return the requests that ours and the peers are sent."""
    good, other, expired = (
        f"Bearer {sign(key=RSA_KEY, **claims)}"
        for claims in ({}, {"scope": "orders.write"}, {"exp": int(time.time()) - 3600})
    )
    return [
        Wanted("no credentials", (), 401, None, scope=True),
        Wanted("another scheme", ("Basic YTpi",), 401, None, scope=True),
        Wanted("malformed", ("Bearer malformed",), 401, "invalid_token"),
        Wanted("expired", (expired,), 401, "invalid_token"),
        Wanted("another scope", (other,), 403, "insufficient_scope", scope=True),
        Wanted("two headers", (good, good), 400, "invalid_request"),
    ]


def faults(wanted: Wanted, status: int, challenge: str | None) -> list[str]:
    """Return what is wrong with a refusal; in brackets, what no RFC demands and clients of MCP look for."""
    found = [] if status == wanted.status else [f"{status}"]
    if challenge is None:
        return [*found, "no challenge"]
    code = re.search(r'\berror="([^"]*)"', challenge)
    if (code[1] if code else None) != wanted.error:
        found.append(f"error={code[1]}" if code else "no error")
    if wanted.scope and f'scope="{SCOPE}"' not in challenge:
        found.append("(no scope)")
    if "resource_metadata=" not in challenge:
        found.append("(no metadata)")
    return found


def ours(road: Road, *, joins_headers: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield each request, with what is wrong with the answer of this road; nothing should be."""
    with road(roads.guard()) as port, closing(Sender(port)) as sender:
        for wanted in requests():
            if joins_headers and len(wanted.authorization) > 1:
                continue  # its server makes one of them
            answer = sender.send(value.encode() for value in wanted.authorization)
            yield wanted.name, [*faults(wanted, answer.status, answer.headers.get("www-authenticate")), *_rest(answer)]
        yield from _proofs(sender)
    with road(roads.guard(nonce_key=bytes(32))) as port, closing(Sender(port)) as sender:
        yield from _nonces(sender)


def _rest(answer: Answer) -> list[str]:
    """Return what is wrong with the other headers and the body: each face of the guard has the same."""
    found = [] if answer.headers.get("cache-control") == "no-store" else ["may be cached"]
    if answer.headers.get("content-type") != "application/json":
        found.append("no JSON")
    if (b'"error":' in answer.body) != ("error=" in answer.headers.get("www-authenticate", "")):
        found.append("error in the body, and none in the header")
    return found


def _proofs(sender: Sender) -> Iterator[tuple[str, list[str]]]:
    """Bound tokens, with the proofs that must be refused."""
    token = sign(cnf={"jkt": HOLDER.public().thumbprint})

    def proof(**changes: Any) -> str:
        given = {"method": "GET", "url": sender.url, "now": time.time(), "access_token": token}
        return testing.proof(**{"key": HOLDER, **given, **changes})

    used = proof()
    now = int(time.time())
    yield "DPoP", _bound(sender, token, [used], None)
    cases: dict[str, list[str]] = {
        "no proof": [],
        "replay": [used],
        "htu": [proof(url=f"{sender.url}/1")],
        "htm": [proof(method="POST")],
        "ath of another token": [proof(access_token=sign())],
        "no ath": [proof(ath=ABSENT)],
        "iat -1 h": [proof(iat=now - 3600)],
        "iat +1 h": [proof(iat=now + 3600)],
        "no jti": [proof(jti=ABSENT)],
        "typ": [proof(header={"typ": "JWT"})],
        "another key": [proof(key=THIEF)],
        "signed by another key": [proof(signer=THIEF)],
        "two proofs": [proof(), proof()],
    }
    for name, proofs in cases.items():
        yield f"DPoP: {name}", _bound(sender, token, proofs, "DPoP")
    yield "DPoP: as Bearer", _refusal(sender.send([f"Bearer {token}".encode()], proofs=[proof()]), "Bearer")
    yield "DPoP: unbound token", _bound(sender, tokens.sign(), [proof()], "DPoP")


def _bound(sender: Sender, token: str, proofs: list[str], refused_by: str | None) -> list[str]:
    answer = sender.send([f"DPoP {token}".encode()], proofs=proofs)
    if refused_by is None:
        return [] if answer.status == 200 else [f"{answer.status}"]
    return _refusal(answer, refused_by)


def _refusal(answer: Answer, scheme: str) -> list[str]:
    """Return what is wrong: the scheme that was used carries the error, and both are named."""
    challenge = answer.headers.get("www-authenticate", "")
    found = [] if answer.status == 401 else [f"{answer.status}"]
    if not challenge.startswith(f"{scheme} "):
        found.append(f"not {scheme} first")
    if re.search(r'\berror="invalid_(dpop_proof|token)"', challenge) is None:
        found.append("no error")
    if 'algs="' not in challenge or "Bearer" not in challenge:
        found.append("not both schemes")
    return [*found, *_rest(answer)]


def _nonces(sender: Sender) -> Iterator[tuple[str, list[str]]]:
    token = sign(cnf={"jkt": HOLDER.public().thumbprint})
    given: dict[str, Any] = {"method": "GET", "url": sender.url, "access_token": token}
    first = sender.send([f"DPoP {token}".encode()], proofs=[testing.proof(HOLDER, **given, now=time.time())])
    nonce = first.headers.get("dpop-nonce", "")
    found = [] if nonce else ["no DPoP-Nonce"]
    if 'error="use_dpop_nonce"' not in first.headers.get("www-authenticate", ""):
        found.append("no use_dpop_nonce")
    yield "DPoP: no nonce", [*found, *_refusal_status(first)]
    proof = testing.proof(HOLDER, **given, now=time.time(), nonce=nonce)
    yield "DPoP: with the nonce", _bound(sender, token, [proof], None)


def _refusal_status(answer: Answer) -> list[str]:
    return [] if answer.status == 401 else [f"{answer.status}"]
