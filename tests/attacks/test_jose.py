"""T3: the structure of an assertion, its header and its algorithm. Each is signed with the right key, unless it says."""

import base64
import builtins
import hmac
import io
import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from time import thread_time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448
from joserfc import jwe
from joserfc.jwk import ECKey
from tests.attacks.bench import FOREIGN, STRANGER, Bench, assertion, claims, form, post, raw, row

from affiant.errors import Rejected
from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion as assertions
from affiant.reasons import Reason
from affiant.testing import KEY

HEADER: dict[str, Any] = {"alg": "ES256", "kid": KEY.kid}
GOOD = assertion()
PEM = KEY.key.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip
DER = KEY.key.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip
NO_ALG: list[Any] = [None, 256, ["ES256"], {}, ""]
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # the order of P-256


def _mac(key: bytes) -> str:
    return raw({**HEADER, "alg": "HS256"}, sign=lambda data: hmac.digest(key, data, sha256))


def _pair(r: int, s: int) -> str:
    return raw(sign=lambda _: r.to_bytes(32) + s.to_bytes(32))


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in HEADER.items() if key != name}


def _payload(data: bytes) -> str:
    return raw(None, data)


def _json(members: dict[str, Any]) -> bytes:
    return json.dumps(members).encode()


def _doubled(first: str, members: dict[str, Any]) -> bytes:
    return b"{" + first.encode() + b"," + _json(members)[1:]


def _padded(part: int) -> str:
    """The same bytes under the signature of the padded text, so that nothing but the padding is wrong."""
    parts = GOOD.split(".")
    parts[part] += "=" * (-len(parts[part]) % 4 or 1)
    if part == 2:
        return ".".join(parts)
    signed = f"{parts[0]}.{parts[1]}"
    return f"{signed}.{base64url.encode(KEY.sign(signed.encode()))}"


def _standard() -> str:
    """A good assertion whose signature has a character of each alphabet."""
    while True:
        head, _, signature = assertion().rpartition(".")
        if "-" in signature and "_" in signature:
            return f"{head}.{signature.replace('-', '+').replace('_', '/')}"


def _bomb() -> str:
    """Five parts that fit, of which the fourth would become five megabytes."""
    header = base64url.encode(_json({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF"}))
    return ".".join([header, "A" * 32, "A" * 16, base64url.encode(zlib.compress(bytes(5_000_000), 9)), "A" * 22])


def _many(number: int) -> bytes:
    return json.dumps({**HEADER, **{f"{i:x}": 1 for i in range(number)}}, separators=(",", ":")).encode()


ALG = [
    row(55, "none", raw({**HEADER, "alg": "none"}, sign=lambda _: b""), Reason.KEY_ALGORITHM),
    row(55, "none without kid", raw({"alg": "none"}, sign=lambda _: b""), Reason.KEY_NONE),
    row(55, "None", raw({**HEADER, "alg": "None"}, sign=lambda _: b""), Reason.KEY_ALGORITHM),
    row(57, "absent", raw(_without("alg")), Reason.JWT_ALG),
    *(row(57, repr(alg), raw({**HEADER, "alg": alg}), Reason.JWT_ALG) for alg in NO_ALG),
    row(58, "PEM", _mac(PEM), Reason.KEY_ALGORITHM),
    row(58, "CRLF", _mac(PEM.replace(b"\n", b"\r\n")), Reason.KEY_ALGORITHM),
    row(58, "space", _mac(b" " + PEM), Reason.KEY_ALGORITHM),
    row(58, "BOM", _mac(b"\xef\xbb\xbf" + PEM), Reason.KEY_ALGORITHM),
    row(58, "comment", _mac(b"# the key\n" + PEM), Reason.KEY_ALGORITHM),
    row(58, "DER", _mac(DER), Reason.KEY_ALGORITHM),
    row(58, "JWK", _mac(_json(KEY.public().to_jwk())), Reason.KEY_ALGORITHM),
    row(58, "base64", _mac(base64.b64encode(DER)), Reason.KEY_ALGORITHM),
    row(59, "empty key", _mac(b""), Reason.KEY_ALGORITHM),
    *(
        row(63, f"{r:x}"[:4] + f"-{s:x}"[:5], _pair(r, s), Reason.SIGNATURE)
        for r in (0, 1, N - 1, N)
        for s in (0, 1, N - 1, N)
    ),
    row(63, "no signature", raw(sign=lambda _: b""), Reason.SIGNATURE),
]  # fmt: skip

SPELLING = [
    *(row(67, ("header", "payload", "signature")[part], _padded(part), Reason.JWT_CHARACTERS) for part in range(3)),
    row(69, "standard alphabet", _standard(), Reason.JWT_CHARACTERS),
    row(70, "leading space", f" {GOOD}", Reason.JWT_CHARACTERS),
    row(70, "line end", f"{GOOD}\n", Reason.JWT_CHARACTERS),
    row(70, "line end inside", f"{GOOD[:9]}\n{GOOD[9:]}", Reason.JWT_CHARACTERS),
    row(70, "zero-width space", f"{GOOD[:9]}\u200b{GOOD[9:]}", Reason.JWT_CHARACTERS),
    row(71, "!!!!", f"{GOOD}!!!!", Reason.JWT_CHARACTERS),
    row(71, "dot", f"{GOOD}.", Reason.JWT_PARTS),
    row(71, "#x", f"{GOOD}#x", Reason.JWT_CHARACTERS),
    # By the design page an empty value is absent, so that of no parts at all is half a pair.
    row(72, "no part", "", Reason.HALF_ASSERTION),
    *(row(72, text, text, Reason.JWT_PARTS) for text in ("a", "a.b", "a.b.c.d", "a.b.c.d.e.f", ".")),
    row(72, "..", "..", Reason.JWT_JSON),
    row(72, "a..b", "a..b", Reason.JWT_BASE64URL),
    row(72, "spare bits", GOOD[:-1] + chr(ord(GOOD[-1]) + 1), Reason.JWT_BASE64URL),
    row(74, "bomb", _bomb(), Reason.JWT_ENCRYPTED),
    row(96, "16,385 characters", f"{GOOD}.{'A' * (16_384 - len(GOOD))}", Reason.JWT_TOO_LONG),
    row(98, "5,000 members", raw(_many(5000)), Reason.JWT_TOO_LONG),
    row(98, "12 KB of spaces", raw(b" " * 12_288 + _json(HEADER)), Reason.JWT_TOO_LONG),
]  # fmt: skip

KIDS = ["' OR 1=1--", "../../../../dev/null", ";id", "http://canary.example/"]
HEADERS = [
    row(78, "jwk", raw({**HEADER, "jwk": STRANGER.public().to_jwk()}, sign=STRANGER.sign), Reason.SIGNATURE),
    row(78, "jwk without kid", raw({"alg": "ES256", "jwk": STRANGER.public().to_jwk()}, sign=STRANGER.sign), Reason.SIGNATURE),
    row(78, "jku", raw({**HEADER, "jku": "https://evil.example/jwks"}, sign=STRANGER.sign), Reason.SIGNATURE),
    row(80, "x5c", raw({**HEADER, "x5c": [base64.b64encode(DER).decode()], "x5t#S256": base64url.encode(sha256(DER).digest())}, sign=STRANGER.sign), Reason.SIGNATURE),
    row(82, "unknown kid", raw({**HEADER, "kid": "x"}), Reason.KEY_UNKNOWN),
    row(84, "4 KB", raw({**HEADER, "kid": "k" * 4096}), Reason.JWT_KID),
    *(row(84, repr(kid), raw({**HEADER, "kid": kid}), Reason.JWT_KID) for kid in ("", 1, None, ["k"])),
    *(
        row(86, json.dumps(crit), raw({**HEADER, "crit": crit}), Reason.JWT_CRIT)
        for crit in (["exp"], ["x"], [], "b64", ["b64", "b64"], [1], ["absent"])
    ),
    row(86, "b64 alone", raw({**HEADER, "b64": False}), Reason.JWT_CRIT),
    *(
        row(89, repr(typ), raw({**HEADER, "typ": typ}), Reason.JWT_TYP)
        for typ in ("at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "", 1, None, ["JWT"])
    ),
]  # fmt: skip

TEXT = _json(claims())
JSON = [
    row(91, "alg twice", raw(_doubled('"alg":"none"', HEADER)), Reason.JWT_JSON),
    row(91, "kid twice", raw(_doubled('"kid":"x"', HEADER)), Reason.JWT_JSON),
    row(91, "alg twice, spelt", raw(_doubled('"\\u0061lg":"none"', HEADER)), Reason.JWT_JSON),
    *(row(93, data.decode() or "empty", _payload(data), Reason.JWT_JSON) for data in (b"[]", b'"x"', b"null", b"1", b"true", b"")),
    *(row(93, f"header {data.decode()}", raw(data), Reason.JWT_JSON) for data in (b"[]", b"null", b"1")),
    *(row(94, code, _payload(TEXT.decode().encode(code)), Reason.JWT_JSON) for code in ("utf-16", "utf-32", "utf-8-sig")),
    *(row(94, f"header {code}", raw(json.dumps(HEADER).encode(code)), Reason.JWT_JSON) for code in ("utf-16", "utf-32", "utf-8-sig")),
    row(94, "no UTF-8", _payload(TEXT.replace(b'"j"', b'"\xff"')), Reason.JWT_JSON),
    row(94, "header no UTF-8", raw(_json(HEADER).replace(b"ES256", b"ES\xff")), Reason.JWT_JSON),
    *(row(95, name, _payload(_json({**claims(), name: "\ud800"})), Reason.JWT_JSON) for name in ("sub", "jti", "iss", "scope")),
    row(95, "in a name", _payload(_json({**claims(), "\udfff": 1})), Reason.JWT_JSON),
    row(99, "rest", _payload(TEXT + b" x"), Reason.JWT_JSON),
    row(99, "another object", _payload(TEXT + TEXT), Reason.JWT_JSON),
    row(99, "NUL", _payload(TEXT + b"\0"), Reason.JWT_JSON),
    row(99, "deep", _payload(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"), Reason.JWT_JSON),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [*ALG, *SPELLING, *HEADERS, *JSON])
async def test_refused(bench: Bench, text: str, reason: Reason) -> None:
    await bench.refused(post(form(text)), reason)


@pytest.mark.parametrize(
    "header",
    [
        row(81, "jwk", {"jwk": KEY.public().to_jwk(), "jku": "https://evil.example", "x5u": "file:///etc/passwd"}),
        *(
            row(88, typ, {"typ": typ})
            for typ in ("JWT", "jwt", "client-authentication+jwt", "application/client-authentication+jwt")
        ),
        row(88, "absent", {}),
    ],
)
async def test_issued(bench: Bench, header: dict[str, Any]) -> None:
    """Embedded keys are not looked at, right or wrong."""
    await bench.issued(post(form(assertion(header=header))))


@pytest.mark.attack(59)
async def test_public_key_of_the_server_as_secret(bench: Bench) -> None:
    (key,) = await bench.store.signing_keys.list()
    await bench.refused(post(form(_mac(key.public_jwk.encode()))), Reason.KEY_ALGORITHM)


@pytest.mark.attack(76)
async def test_nested_token_without_signature(bench: Bench) -> None:
    """Encrypted to the key that the server publishes; nothing is decrypted."""
    (key,) = await bench.store.signing_keys.list()
    public = ECKey.import_key(json.loads(key.public_jwk))
    plain = raw({"alg": "none"}, sign=lambda _: b"")
    allowed = ["ECDH-ES+A256KW", "A256GCM"]
    header = {"alg": allowed[0], "enc": allowed[1], "cty": "JWT"}
    text = jwe.encrypt_compact(header, plain, public, algorithms=allowed)
    await bench.refused(post(form(text)), Reason.JWT_ENCRYPTED)


@cache
def _rsa() -> PrivateKey:
    return keys.generate("PS256")


@pytest.mark.attack(60)
async def test_one_key_one_algorithm(bench: Bench) -> None:
    """The RSA key that is registered for PS256 signs nothing by RS256."""
    await bench.add_client("rsa", key=_rsa())
    other = keys.parse_private_jwk({**_rsa().to_jwk(), "alg": "RS256"})
    names = {"iss": "rsa", "sub": "rsa"}
    await bench.refused(post(form(assertion(other, **names))), Reason.KEY_ALGORITHM, claimed="rsa", jti=None)
    await bench.issued(post(form(assertion(_rsa(), **names))), client_id="rsa")


def _ed(alg: str, sign: Callable[[bytes], bytes] = FOREIGN.sign) -> str:
    return raw({"alg": alg, "kid": FOREIGN.kid}, claims(iss="ed", sub="ed"), sign=sign)


@pytest.mark.attack(62)
async def test_names_of_ed25519(bench: Bench) -> None:
    """EdDSA is the older name of Ed25519 (RFC 9864), by the design page; a key of Ed448 has neither."""
    foreign = ed448.Ed448PrivateKey.generate()
    await bench.refused(post(form(_ed("EdDSA", foreign.sign))), Reason.SIGNATURE, claimed="ed", jti=None)
    await bench.refused(post(form(_ed("Ed448", foreign.sign))), Reason.KEY_ALGORITHM, claimed="ed", jti=None)
    await bench.issued(post(form(_ed("Ed25519"))), client_id="ed")
    again = raw({"alg": "EdDSA", "kid": FOREIGN.kid}, claims(iss="ed", sub="ed", jti="k"), sign=FOREIGN.sign)
    await bench.issued(post(form(again)), client_id="ed", jti="k")


@pytest.mark.attack(83)
async def test_no_kid(bench: Bench) -> None:
    """By the design page every live key of a fitting type is tried, and at most eight; the catalogue wants one."""
    await bench.issued(post(form(raw({"alg": "ES256"}))))
    nine = [keys.generate("ES256") for _ in range(9)]
    await bench.add_client("many", keys=tuple(key.public() for key in nine))

    def ask(number: int) -> str:
        members = claims(iss="many", sub="many", jti=str(number))
        return raw({"alg": "ES256"}, members, sign=nine[number].sign)

    await bench.issued(post(form(ask(7))), client_id="many", jti="7")
    await bench.refused(post(form(ask(8))), Reason.SIGNATURE, claimed="many", jti=None)


@pytest.mark.attack(84)
@pytest.mark.parametrize("kid", KIDS)
async def test_kid_opens_nothing(durable: Bench, kid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kid is a name to be compared: no file, no query, no address."""
    opened: list[object] = []
    with monkeypatch.context() as patch:
        for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
            patch.setattr(module, name, lambda *words, **_: opened.append(words))
        await durable.send(post(form(raw({**HEADER, "kid": kid}))))
    assert not opened
    await durable.refused(post(form(raw({**HEADER, "kid": kid}))), Reason.KEY_UNKNOWN)


@pytest.mark.attack(74)
@pytest.mark.attack(96)
@pytest.mark.attack(98)
@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        (_bomb(), 5),
        ("A" * 16_385, 1),
        (raw(_many(1200)), 2),
        (raw(b" " * 11_600 + _json(HEADER)), 2),
    ],
    ids=["bomb", "too long", "members", "spaces"],
)
def test_reading_is_cheap(text: str, milliseconds: int) -> None:
    """The best of several, in the time of this thread alone. A header that fits is read, however strange."""
    took = []
    for _ in range(20):
        compact._parse_header.cache_clear()
        begun = thread_time()
        with suppress(Rejected):
            assertions.parse(text)
        took.append(thread_time() - begun)
    assert min(took) * 1000 < milliseconds
