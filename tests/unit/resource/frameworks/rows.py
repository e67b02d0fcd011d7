"""Attacks of table T13 on an API, by their numbers: what is sent, and what every face of the guard must answer."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.resource.frameworks.faces import HOST, PATH, Answer, Asked
from tests.unit.resource.listening import API, NOW, ListeningIssuer

from affiant.jose import compact, keys
from affiant.oauth import assertion
from affiant.oauth.binding import dpop
from affiant.testing import ABSENT

OPTIONS: dict[str, Any] = {"algorithms": ["ES256"], "leeway": 60}  # of the guard that is attacked
KEYS = [keys.generate("ES384"), keys.generate("ES256")]  # of the issuer, which signs with the last one
STRANGER = keys.generate("ES256")
_THUMBPRINT = dpop.ProofKey.of(STRANGER).thumbprint


@dataclass(frozen=True)
class Row:
    """One request. `statuses` are those that are right; a good one is 200 alone."""

    ask: Callable[[ListeningIssuer], Asked]
    statuses: tuple[int, ...] = (401,)
    error: str | None = "invalid_token"

    def judge(self, asked: Asked, answer: Answer) -> None:
        assert answer.status in self.statuses, answer
        if answer.status == 200:
            assert answer.body.strip(b'"') == b"c"
            return
        challenge = answer.headers["www-authenticate"]
        error = "invalid_request" if answer.status == 400 else self.error
        assert answer.members.get("error") == error
        assert f'error="{error}"' in challenge if error else "error=" not in challenge
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"
        for _, value in asked.headers:
            assert len(value) < 30 or value[-30:] not in f"{answer}"


def signed(
    issuer: ListeningIssuer,
    header: dict[str, Any] | None = None,
    *,
    key: Any = None,
    scheme: str = "Bearer",
    **claims: Any,
) -> Asked:
    """A request with a token that is good but for this."""
    good = compact.parse(issuer.token(scope="read")[7:].decode()).claims
    members = {name: value for name, value in {**good, **claims}.items() if value is not ABSENT}
    return shown(compact.sign({"typ": "at+jwt", **(header or {})}, members, key or issuer.keys[-1]), scheme=scheme)


def shown(token: str, *, scheme: str = "Bearer") -> Asked:
    return Asked([("Authorization", f"{scheme} {token}")])


class Forger:
    """Signs as an algorithm that needs no private key."""

    def __init__(self, issuer: ListeningIssuer, alg: str) -> None:
        self.alg, self.kid = alg, issuer.keys[-1].kid
        self._secret = json.dumps(issuer.keys[-1].public().to_jwk()).encode()

    def sign(self, data: bytes) -> bytes:
        return b"" if self.alg == "none" else hmac.digest(self._secret, data, hashlib.sha256)


def _assertion(issuer: ListeningIssuer) -> Asked:
    return shown(assertion.build("c", issuer=API, signer=issuer.keys[-1], now=NOW, lifetime=60))


def _proof(issuer: ListeningIssuer) -> Asked:
    return shown(dpop.build(dpop.ProofKey.of(issuer.keys[-1]), method="GET", url=f"{HOST}{PATH}", now=NOW))


def _other_algorithm(issuer: ListeningIssuer) -> Asked:
    """Of the issuer, but not on the list of the API."""
    return signed(issuer, key=issuer.keys[0])


def _twice(issuer: ListeningIssuer) -> Asked:
    asked = signed(issuer)
    return Asked([*asked.headers, *asked.headers])


def _in_query(issuer: ListeningIssuer) -> Asked:
    return Asked(query=f"access_token={issuer.token(scope='read')[7:].decode()}")


def _in_both(issuer: ListeningIssuer) -> Asked:
    return signed(issuer)._replace(query="access_token=x")


def row(number: int, name: str, ask: Callable[..., Asked], *statuses: int, error: str | None = "invalid_token") -> Any:
    """Return a row under the mark of its number."""
    return pytest.param(Row(ask, statuses or (401,), error), marks=pytest.mark.attack(number), id=f"{number} {name}")


def _claims(number: int, name: str, *statuses: int, error: str | None = "invalid_token", **claims: Any) -> Any:
    return row(number, name, lambda issuer: signed(issuer, **claims), *statuses, error=error)


ROWS = [
    _claims(249, "another audience", aud="https://other.example"),
    _claims(249, "no audience", aud=ABSENT),
    _claims(249, "two audiences", 200, aud=[API, "https://other.example"]),
    row(251, "ID token", lambda issuer: signed(issuer, {"typ": "JWT"})),
    row(251, "client assertion", _assertion),
    row(251, "DPoP proof", _proof),
    row(252, "none", lambda issuer: signed(issuer, key=Forger(issuer, "none"))),
    row(252, "HS256 with the public key", lambda issuer: signed(issuer, key=Forger(issuer, "HS256"))),
    row(252, "algorithm that the API does not accept", _other_algorithm),
    row(252, "another key", lambda issuer: signed(issuer, key=STRANGER)),
    _claims(256, "expired", exp=NOW - 61),
    _claims(256, "expired within the leeway", 200, exp=NOW - 59),
    _claims(256, "not yet valid", nbf=NOW + 61),
    _claims(256, "no expiry", exp=ABSENT),
    _claims(256, "expiry as text", exp=str(NOW + 60)),
    row(257, "scheme in lower case", lambda issuer: signed(issuer, scheme="bearer"), 200),
    row(257, "two headers", _twice, 400, 401),
    row(257, "in the query", _in_query, error=None),
    row(257, "in the query, too", _in_both, 400),
    row(257, "no token", lambda _: shown("x", scheme="Bearer ")),
    row(257, "16 KB", lambda _: shown("a" * 16384)),
    *(
        _claims(258, f"scope {scope}", 403, error="insufficient_scope", scope=scope)
        for scope in ("readonly", "read:all", "READ")
    ),
    _claims(258, "scope as a list", scope=["read"]),
    _claims(258, "scope among others", 200, scope="a read b"),
    _claims(265, "bound to a key", cnf={"jkt": _THUMBPRINT}),
    _claims(265, "bound to a certificate", cnf={"x5t#S256": _THUMBPRINT}),
    row(265, "bound, and no proof", lambda issuer: signed(issuer, scheme="DPoP", cnf={"jkt": _THUMBPRINT})),
]
