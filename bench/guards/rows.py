"""The rows of the grid: what a request presents, and which status is right.

`A4` are the rows of ordinary tokens, which every verifier is asked about. The others are about the form of tokens and
requests, and are sent to the roads of affiant alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.guards import tokens
from bench.guards.tokens import API, ENCRYPTION_KEY, ISSUER, KEY, OPERATIONS_KEY, RSA_KEY, SCOPE, STRANGER, sign

from affiant.testing import ABSENT

OK, INVALID, FORBIDDEN, REQUEST = frozenset({200}), frozenset({401}), frozenset({403}), frozenset({400})
EITHER = OK | INVALID
TOO_LONG = INVALID | {400, 431}  # the HTTP server may refuse first
HOUR = 3600
THUMBPRINT = "A" * 43


@dataclass(frozen=True)
class Row:
    """A request, with the statuses that are right."""

    name: str
    expected: frozenset[int]
    authorization: tuple[bytes, ...]
    query: str = ""
    token: str = ""  # where a peer can be asked about it

    @property
    def is_valid(self) -> bool | None:
        """Whether a peer must accept the token; None if both are right."""
        return None if self.expected == EITHER else 200 in self.expected


def _of(name: str, expected: frozenset[int], token: str) -> Row:
    return Row(name, expected, (b"Bearer " + token.encode("utf-8", "surrogatepass"),), token=token)


def _claim(name: str, expected: frozenset[int] = INVALID, **changes: Any) -> Row:
    return _of(name, expected, sign(**changes))


def _head(name: str, expected: frozenset[int] = INVALID, **changes: Any) -> Row:
    return _of(name, expected, sign(changes))


def _rsa(name: str, expected: frozenset[int] = INVALID, *, head: dict[str, Any] | None = None, **changes: Any) -> Row:
    return _of(name, expected, sign(head, RSA_KEY, **changes))


def a4() -> Iterator[Row]:
    """The rows of tokens that other issuers issue, and of good ones: RS256, which each peer takes by default."""
    now = int(time.time())
    yield _rsa("valid", OK)
    yield _rsa("aud is a list with this API", OK, aud=["https://other.example", API])
    yield _rsa("nbf in the past", OK, nbf=now - 60)
    yield _rsa("a claim nobody knows", OK, tenant={"id": 1})
    yield _rsa("no scope that was asked for, but others", OK, scope=f"orders.write {SCOPE}")
    yield _rsa("typ: JWT", head={"typ": "JWT"})
    yield _rsa("typ: client-authentication+jwt", head={"typ": "client-authentication+jwt"})
    yield _rsa("no typ", head={"typ": ABSENT})
    yield _rsa("no exp", exp=ABSENT)
    yield _rsa("expired an hour ago", exp=now - HOUR)
    yield _rsa("expired 5 s ago", EITHER, exp=now - 5)
    yield _rsa("nbf +1 h", nbf=now + HOUR)
    yield _rsa("iat +1 h", iat=now + HOUR)
    yield _rsa("no iat", iat=ABSENT)
    yield _rsa("no jti", jti=ABSENT)
    yield _rsa("no client_id", client_id=ABSENT)
    yield _rsa("no sub", sub=ABSENT)
    yield _rsa("cnf.jkt as Bearer", cnf={"jkt": THUMBPRINT})
    yield _rsa("cnf.x5t#S256 without a certificate", cnf={"x5t#S256": THUMBPRINT})
    yield _rsa("aud of another API", aud="https://other.example")
    yield _rsa("no aud", aud=ABSENT)
    yield _rsa("iss of another issuer", iss="https://other.example/")
    yield _rsa("no iss", iss=ABSENT)
    yield _of("a key that the issuer has not", INVALID, sign(key=STRANGER))


def _types() -> Iterator[Row]:
    yield _claim("valid, ES256", OK)
    yield _head("typ: application/at+jwt", OK, typ="application/at+jwt")
    yield _head("typ: AT+JWT", OK, typ="AT+JWT")
    yield _head("typ: dpop+jwt", typ="dpop+jwt")
    yield _head("typ is a number", typ=1)
    yield _head("typ is null", typ=None)


def _algorithms() -> Iterator[Row]:
    head, payload = (tokens.encode(json.dumps(part).encode()) for part in (tokens.header(alg="none"), tokens.claims()))
    yield _of("alg: none, no signature", INVALID, f"{head}.{payload}.")
    yield _of("alg: none, two parts", INVALID, f"{head}.{payload}")
    jwk = json.dumps(KEY.public().to_jwk()).encode()
    yield _of("HS256 with the public key", INVALID, tokens.mac(jwk))
    yield _of("HS256 with an empty key", INVALID, tokens.mac(b""))
    yield _of("PS256 on a key for RS256", INVALID, sign({"alg": "PS256"}, RSA_KEY))
    yield _head("ES384 on a key of P-256", alg="ES384")
    yield _head("no alg", alg=ABSENT)
    yield _head("alg is a number", alg=256)
    yield _of("signature in DER", INVALID, tokens.der_signature())
    yield _of("signature with loose bits", INVALID, tokens.loose_bits())
    yield _of("signature with padding", INVALID, sign() + "==")
    yield _of("signature cut off", INVALID, sign()[:-4])
    yield _of("no signature", INVALID, sign().rpartition(".")[0] + ".")
    yield _of("signature altered", INVALID, tokens.altered())
    yield _of("signed by a stranger", INVALID, sign({"kid": RSA_KEY.kid}, STRANGER))
    yield _of("a key with use=enc", INVALID, sign(key=ENCRYPTION_KEY))
    yield _of("a key with key_ops=encrypt", INVALID, sign(key=OPERATIONS_KEY))


def _audience_and_issuer() -> Iterator[Row]:
    for name, aud in {
        "a prefix": API[:-1],
        "with a slash": f"{API}/",
        "with another case": API.upper(),
        "a number": 1,
        "an object": {API: True},
        "null": None,
        "an empty list": [],
        "a list of others": ["https://other.example"],
    }.items():
        yield _claim(f"aud: {name}", aud=aud)
    yield _claim("aud: a list with a number in it", EITHER, aud=[API, 1])
    for name, iss in {
        "without its slash": ISSUER.rstrip("/"),
        "with another case": ISSUER.upper(),
        "a list": [ISSUER],
        "a number": 1,
        "null": None,
    }.items():
        yield _claim(f"iss: {name}", iss=iss)


def _times() -> Iterator[Row]:
    now = int(time.time())
    for name, exp in {
        "a string": str(now + HOUR),
        "true": True,
        "NaN": float("nan"),
        "infinite": float("inf"),
        "null": None,
        "negative": -1,
        "an object": {},
    }.items():
        yield _claim(f"exp: {name}", exp=exp)
    text = json.dumps(tokens.claims(exp="HERE")).replace('"HERE"', "1e400")
    yield _of("exp: 1e400", INVALID, tokens.raw(json.dumps(tokens.header()).encode(), text.encode()))
    yield _claim("exp: a fraction", OK, exp=now + HOUR + 0.5)
    yield _claim("exp: in ten years", EITHER, exp=now + 315_360_000)
    yield _claim("nbf is a string", nbf=str(now))
    yield _claim("nbf is null", nbf=None)
    yield _claim("iat is a string", iat=str(now))
    yield _claim("iat is null", iat=None)
    yield _claim("iat is true", iat=True)


def _names_and_scopes() -> Iterator[Row]:
    for claim in ("sub", "client_id", "jti"):
        wrong: dict[str, Any] = {"a number": 1, "a list": ["billing"], "null": None}
        for name, value in wrong.items():
            yield _of(f"{claim} is {name}", INVALID, sign(**{claim: value}))
    yield _claim("scope is a list", scope=[SCOPE])
    yield _claim("scope is a number", scope=1)
    yield _claim("scope has a quote", scope=f'{SCOPE} "')
    yield _claim("scope is null", INVALID | FORBIDDEN, scope=None)
    yield _claim("no scope", FORBIDDEN, scope=ABSENT)
    yield _claim("another scope", FORBIDDEN, scope="orders.write")
    yield _claim("a longer scope", FORBIDDEN, scope=f"{SCOPE}.all")
    yield _claim("the scope in another case", FORBIDDEN, scope=SCOPE.upper())
    yield _claim("expired, and another scope", exp=int(time.time()) - HOUR, scope="orders.write")


def _headers() -> Iterator[Row]:
    yield _head("crit: a name nobody knows", crit=["exp"], exp=1)
    yield _head("crit: empty", crit=[])
    yield _head("crit: b64", crit=["b64"], b64=False)
    yield _head("b64: false", EITHER - OK, b64=False)
    foreign = STRANGER.public().to_jwk()
    named = {"jwk": foreign, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert"}
    for name, value in named.items():
        yield _of(f"{name} names the stranger's key", INVALID, sign({name: value}, STRANGER))
    for name, kid in {
        "unknown": "unknown",
        "a number": 1,
        "null": None,
        "a path": "../../../dev/null",
        "empty": "",
        "long": "k" * 2000,
    }.items():
        yield _head(f"kid: {name}", kid=kid)
    yield _head("no kid", EITHER, kid=ABSENT)


def _json() -> Iterator[Row]:
    head, payload = json.dumps(tokens.header()).encode(), json.dumps(tokens.claims()).encode()
    twice = tokens.members([*tokens.header().items(), ("kid", KEY.kid)])
    raw = tokens.raw
    yield _of("a member twice in the header", INVALID, raw(twice, payload))
    twice = tokens.members([*tokens.claims(aud="https://other.example").items(), ("aud", API)])
    yield _of("a member twice in the payload", INVALID, raw(head, twice))
    yield _of("a byte order mark", INVALID, raw(head, b"\xef\xbb\xbf" + payload))
    yield _of("bad UTF-8", INVALID, raw(head, payload.replace(b"billing", b"bill\xffing")))
    yield _of("deeply nested", INVALID, raw(head, payload[:-1] + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}"))
    yield _of("the payload is a list", INVALID, raw(head, b"[" + payload + b"]"))
    yield _of("the payload is a string", INVALID, raw(head, b'"claims"'))
    yield _of("an empty payload", INVALID, raw(head, b""))
    yield _of("text behind the payload", INVALID, raw(head, payload + b"x"))
    yield _of("the header is a list", INVALID, raw(b"[" + head + b"]", payload))
    yield _of("the header is no JSON", INVALID, raw(b"header", payload))


def _confirmations() -> Iterator[Row]:
    wrong: dict[str, Any] = {
        "of an unknown kind": {"kid": "1"},
        "empty": {},
        "null": None,
        "a string": THUMBPRINT,
        "a list": [],
        "a jwk": {"jwk": KEY.public().to_jwk()},
        "jkt is a number": {"jkt": 1},
        "jkt and a certificate": {"jkt": THUMBPRINT, "x5t#S256": THUMBPRINT},
    }
    for name, cnf in wrong.items():
        yield _claim(f"cnf: {name}", cnf=cnf)


def _requests() -> Iterator[Row]:
    good = sign().encode()
    bearer = b"Bearer " + good
    yield Row("no Authorization header", INVALID, ())
    yield Row("two Authorization headers", REQUEST, (bearer, bearer))
    yield Row("a token in header and query", REQUEST, (bearer,), query=f"access_token={good.decode()}")
    yield Row("a token in the query alone", INVALID, (), query=f"access_token={good.decode()}")
    for name, value in {
        "Bearer without a token": b"Bearer",
        "a tab in place of the space": b"Bearer\t" + good,
        "a list of two": bearer + b", " + bearer,
        "two words": bearer + b" more",
        "Basic": b"Basic " + good,
        "a scheme nobody knows": b"Token " + good,
        "no scheme": good,
        "opaque": b"Bearer opaque",
        "five parts": b"Bearer a.b.c.d.e",
        "the scheme DPoP without a proof": b"DPoP " + good,
    }.items():
        yield Row(name, INVALID, (value,))
    yield Row("bearer in small letters", OK, (b"bearer " + good,))
    yield Row("two spaces", EITHER, (b"Bearer  " + good,))
    yield Row("a space at the end", EITHER, (bearer + b" ",))
    yield Row("9 KB", TOO_LONG, _claim("", x="x" * 6_600).authorization)
    yield Row("60 KB", TOO_LONG, _claim("", x="x" * 44_000).authorization)


FORMS: tuple[Callable[[], Iterator[Row]], ...] = (
    _types, _algorithms, _audience_and_issuer, _times, _names_and_scopes, _headers, _json, _confirmations, _requests,
)  # fmt: skip


def everything() -> list[Row]:
    """Return all rows, with tokens that are valid now."""
    return [*a4(), *(row for form in FORMS for row in form())]
