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
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwe
from joserfc.jwk import ECKey
from tests.attacks.bench import FOREIGN, STRANGER, Bench, assertion, claims, form, post, raw, row
from tests.rsa_keys import rsa_key

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.oauth import assertion as assertions
from affiant.testing import KEY

HEADER: dict[str, Any] = {"alg": "ES256", "kid": KEY.kid}
GOOD = assertion()
PEM = KEY.key.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip
DER = KEY.key.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip
TWO_IN_ONE = {
    " ": Reason.JWT_CHARACTERS,
    ",": Reason.JWT_CHARACTERS,
    "\n": Reason.JWT_CHARACTERS,
    ".": Reason.JWT_PARTS,
    "": Reason.JWT_ENCRYPTED,  # it has five parts
}
NONE = ("none", "None", "NONE", "nOnE")
NO_ALG: list[Any] = [None, 256, ["ES256"], {}, ""]
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # the order of P-256


def _mac(key: bytes) -> str:
    return raw({**HEADER, "alg": "HS256"}, sign=lambda data: hmac.digest(key, data, sha256))


def _pair(r: int, s: int) -> str:
    return raw(sign=lambda _: r.to_bytes(32) + s.to_bytes(32))


def _changed(change: Callable[[bytes], bytes]) -> str:
    return raw(sign=lambda data: change(KEY.sign(data)))


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
    *(row(55, alg, raw({**HEADER, "alg": alg}, sign=lambda _: b""), Reason.KEY_ALGORITHM, rfc="7518 3.6") for alg in NONE),
    *(row(55, f"{alg} AA", raw({**HEADER, "alg": alg}, sign=lambda _: b"\0"), Reason.KEY_ALGORITHM, rfc="7518 3.6") for alg in NONE),
    row(55, "none without kid", raw({"alg": "none"}, sign=lambda _: b""), Reason.KEY_NONE, rfc="7518 3.6"),
    row(57, "absent", raw(_without("alg")), Reason.JWT_ALG, rfc="7515 4.1.1"),
    *(row(57, repr(alg), raw({**HEADER, "alg": alg}), Reason.JWT_ALG, rfc="7515 4.1.1") for alg in NO_ALG),
    row(58, "PEM", _mac(PEM), Reason.KEY_ALGORITHM),
    row(58, "CRLF", _mac(PEM.replace(b"\n", b"\r\n")), Reason.KEY_ALGORITHM),
    row(58, "space", _mac(b" " + PEM), Reason.KEY_ALGORITHM),
    row(58, "BOM", _mac(b"\xef\xbb\xbf" + PEM), Reason.KEY_ALGORITHM),
    row(58, "comment", _mac(b"# the key\n" + PEM), Reason.KEY_ALGORITHM),
    row(58, "DER", _mac(DER), Reason.KEY_ALGORITHM),
    row(58, "JWK", _mac(_json(KEY.public().to_jwk())), Reason.KEY_ALGORITHM, rfc="8725 3.1"),
    row(58, "JWK without kid", assertion(SecretKey(_json(KEY.public().to_jwk()))), Reason.KEY_NONE, rfc="8725 3.1"),
    row(58, "x", _mac(KEY.public().to_jwk()["x"].encode() + b"=" * 32), Reason.KEY_ALGORITHM, rfc="8725 3.1"),
    row(58, "base64", _mac(base64.b64encode(DER)), Reason.KEY_ALGORITHM),
    row(59, "empty key", _mac(b""), Reason.KEY_ALGORITHM),
    *(
        row(63, f"{r:x}"[:4] + f"-{s:x}"[:5], _pair(r, s), Reason.SIGNATURE)
        for r in (0, 1, N - 1, N)
        for s in (0, 1, N - 1, N)
    ),
    *(
        row(63, what, _changed(change), Reason.SIGNATURE, rfc="7518 3.4")
        for what, change in {
            "none": lambda _: b"",
            "DER": lambda made: encode_dss_signature(int.from_bytes(made[:32]), int.from_bytes(made[32:])),
            "cut": lambda made: made[:63],
            "a byte more": lambda made: made + b"\0",
            "a byte before": lambda made: b"\0" + made,
            "zeros": lambda _: bytes(64),
        }.items()
    ),
    row(63, "flipped", _changed(lambda made: bytes([made[0] ^ 1]) + made[1:]), Reason.SIGNATURE, rfc="7523 3(9)"),
    row(63, "of another", _changed(lambda _: base64url.decode(assertion(jti="k").split(".")[2])), Reason.SIGNATURE, rfc="7523 3(9)"),
]  # fmt: skip

SPELLING = [
    *(
        row(67, ("header", "payload", "signature")[part], _padded(part), Reason.JWT_CHARACTERS, rfc="7515 2")
        for part in range(3)
    ),
    row(69, "standard alphabet", _standard(), Reason.JWT_CHARACTERS, rfc="7515 2"),
    *(row(69, repr(end), f"{GOOD}{end}", Reason.JWT_CHARACTERS, rfc="7515 2") for end in ("+", "/", " ")),
    row(70, "leading space", f" {GOOD}", Reason.JWT_CHARACTERS, rfc="7515 2"),
    row(70, "line end", f"{GOOD}\n", Reason.JWT_CHARACTERS, rfc="7515 2"),
    row(70, "line end inside", f"{GOOD[:9]}\n{GOOD[9:]}", Reason.JWT_CHARACTERS),
    row(70, "zero-width space", f"{GOOD[:9]}\u200b{GOOD[9:]}", Reason.JWT_CHARACTERS),
    *(row(71, repr(joint), joint.join((GOOD, GOOD)), reason, rfc="7523 2.2") for joint, reason in TWO_IN_ONE.items()),
    row(71, "!!!!", f"{GOOD}!!!!", Reason.JWT_CHARACTERS),
    row(71, "dot", f"{GOOD}.", Reason.JWT_PARTS),
    row(71, "#x", f"{GOOD}#x", Reason.JWT_CHARACTERS),
    # By the design page an empty value is absent, so that of no parts at all is half a pair.
    row(72, "no part", "", Reason.HALF_ASSERTION),
    *(row(72, text, text, Reason.JWT_PARTS, rfc="7515 5.2(1)") for text in ("a", "a.b", "a.b.c.d", "a.b.c.d.e.f", ".", "...")),
    *(row(72, text, text, Reason.JWT_CHARACTERS, rfc="7523 3.2") for text in ("{}", "\x00")),
    row(72, "..", "..", Reason.JWT_JSON),
    row(72, "e30.e30.", "e30.e30.", Reason.JWT_ALG, rfc="7523 3.2"),
    row(72, "a..b", "a..b", Reason.JWT_BASE64URL),
    row(72, "a.b.c", "a.b.c", Reason.JWT_BASE64URL, rfc="7523 3.2"),
    row(72, "spare bits", GOOD[:-1] + chr(ord(GOOD[-1]) + 1), Reason.JWT_BASE64URL, rfc="7515 2"),
    row(74, "bomb", _bomb(), Reason.JWT_ENCRYPTED, rfc="7515 5.2(1)"),
    row(96, "16,385 characters", f"{GOOD}.{'A' * (16_384 - len(GOOD))}", Reason.JWT_TOO_LONG, rfc="8725 3.3"),
    row(98, "5,000 members", raw(_many(5000)), Reason.JWT_TOO_LONG),
    row(98, "12 KB of spaces", raw(b" " * 12_288 + _json(HEADER)), Reason.JWT_TOO_LONG),
]  # fmt: skip

KIDS = ["' OR 1=1--", "../../../../dev/null", ";id", "http://canary.example/", "\x00", "c1", "\u20ac"]
TYPES = ["at+jwt", "application/at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "", 1, None, ["JWT"]]
HEADERS = [
    row(78, "jwk", raw({**HEADER, "jwk": STRANGER.public().to_jwk()}, sign=STRANGER.sign), Reason.SIGNATURE, rfc="8725 3.10"),
    row(78, "jwk without kid", raw({"alg": "ES256", "jwk": STRANGER.public().to_jwk()}, sign=STRANGER.sign), Reason.SIGNATURE, rfc="8725 3.10"),
    row(78, "jku", raw({**HEADER, "jku": "https://evil.example/jwks"}, sign=STRANGER.sign), Reason.SIGNATURE, rfc="8725 3.10"),
    row(80, "x5c", raw({**HEADER, "x5c": [base64.b64encode(DER).decode()], "x5t#S256": base64url.encode(sha256(DER).digest())}, sign=STRANGER.sign), Reason.SIGNATURE),
    row(80, "x5u", raw({**HEADER, "x5u": "https://evil.example"}, sign=STRANGER.sign), Reason.SIGNATURE, rfc="8725 3.10"),
    row(82, "unknown kid", raw({**HEADER, "kid": "x"}), Reason.KEY_UNKNOWN, rfc="7515 4.1.4"),
    row(84, "4 KB", raw({**HEADER, "kid": "k" * 4096}), Reason.JWT_KID),
    *(row(84, repr(kid), raw({**HEADER, "kid": kid}), Reason.JWT_KID, rfc="7515 4.1.4") for kid in ("", 1, None, ["k"])),
    *(
        row(86, json.dumps(crit), raw({**HEADER, "crit": crit, "exp": 1}), Reason.JWT_CRIT, rfc="7515 4.1.11")
        for crit in (["exp"], ["x"], [], "b64", ["b64", "b64"], [1], ["absent"], ["alg"], None)
    ),
    *(row(86, f"b64 {value}", raw({**HEADER, "b64": value}), Reason.JWT_CRIT, rfc="7797 7") for value in (True, False)),
    *(row(89, repr(typ), raw({**HEADER, "typ": typ}), Reason.JWT_TYP, rfc="8725 3.11") for typ in TYPES),
]  # fmt: skip

TEXT = _json(claims())
PAYLOADS = (b"[]", b'"x"', b"null", b"1", b"true", b"", b"\xff\xfe{}")
NO_HEADERS = (
    b"[]",
    b"null",
    b"1",
    b"",
    b'"alg"',
    b"{}{}",
    b'{"alg":"ES256"} x',
    b"{'alg':'ES256'}",
    b'{"alg":"ES256","x":NaN}',
)
CODES = ("utf-16", "utf-32", "utf-8-sig")
JSON = [
    row(91, "alg twice", raw(_doubled('"alg":"none"', HEADER)), Reason.JWT_JSON, rfc="7515 4"),
    row(91, "kid twice", raw(_doubled('"kid":"x"', HEADER)), Reason.JWT_JSON, rfc="7515 4"),
    row(91, "alg twice, spelt", raw(_doubled('"\\u0061lg":"none"', HEADER)), Reason.JWT_JSON, rfc="7515 4"),
    *(row(93, repr(data), _payload(data), Reason.JWT_JSON, rfc="7519 7.2(10)") for data in PAYLOADS),
    *(row(93, f"header {data!r}", raw(data), Reason.JWT_JSON, rfc="7515 5.2(3)") for data in NO_HEADERS),
    *(row(94, code, _payload(TEXT.decode().encode(code)), Reason.JWT_JSON) for code in CODES),
    *(row(94, f"header {code}", raw(json.dumps(HEADER).encode(code)), Reason.JWT_JSON, rfc="7515 5.2(3)") for code in CODES),
    row(94, "no UTF-8", _payload(TEXT.replace(b'"j"', b'"\xff"')), Reason.JWT_JSON),
    row(94, "header no UTF-8", raw(_json(HEADER).replace(b"ES256", b"ES\xff")), Reason.JWT_JSON, rfc="7515 5.2(3)"),
    *(row(95, name, _payload(_json({**claims(), name: "\ud800"})), Reason.JWT_JSON, rfc="7519 7.2(10)") for name in ("sub", "jti", "iss", "scope")),
    row(95, "in a name", _payload(_json({**claims(), "\udfff": 1})), Reason.JWT_JSON),
    row(99, "rest", _payload(TEXT + b" x"), Reason.JWT_JSON, rfc="7519 7.2(10)"),
    row(99, "another object", _payload(TEXT + TEXT), Reason.JWT_JSON),
    row(99, "NUL", _payload(TEXT + b"\0"), Reason.JWT_JSON),
    row(99, "deep", _payload(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"), Reason.JWT_JSON),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [*ALG, *SPELLING, *HEADERS, *JSON])
async def test_refused(bench: Bench, text: str, reason: Reason) -> None:
    await bench.refused(post(form(text)), reason)


EMBEDDED = {"jwk": KEY.public().to_jwk(), "jku": "https://evil.example", "x5u": "file:///etc/passwd"}
GOOD_TYPES = [
    "JWT",
    "jwt",
    "client-authentication+jwt",
    "application/client-authentication+jwt",
    "Application/Client-Authentication+JWT",
]


@pytest.mark.parametrize(
    "header",
    [
        row(81, "jwk", EMBEDDED, rfc="8725 3.10"),
        *(row(88, typ, {"typ": typ}, rfc="7523 3") for typ in GOOD_TYPES),
        row(88, "absent", {}),
    ],
)
async def test_issued(bench: Bench, header: dict[str, Any]) -> None:
    """Embedded keys are not looked at, right or wrong."""
    await bench.issued(post(form(assertion(header=header))))


@pytest.mark.rfc(7515, "5.2")
async def test_received_bytes_are_verified(bench: Bench) -> None:
    """White space and the order of members are the signer's choice."""
    await bench.issued(post(form(raw(b' { "alg" : "ES256" } ', json.dumps(claims(), indent=1).encode()))))


@pytest.mark.rfc(8725, "3.1")
async def test_secret_is_for_one_algorithm(bench: Bench) -> None:
    await bench.add_client("long", "client_secret_jwt", token_endpoint_auth_signing_alg="HS512")
    other = SecretKey(bench.secrets["long"].encode(), "HS256")
    await bench.denied(post(form(bench.assertion("long", key=other))), Reason.KEY_ALGORITHM)
    await bench.good(bench.signed("long"))


@pytest.mark.attack(59)
async def test_public_key_of_server_as_secret(bench: Bench) -> None:
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
    return rsa_key("PS256")


@pytest.mark.attack(60)
@pytest.mark.rfc(8725, "3.1")
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
@pytest.mark.rfc(9864, "2.2")
async def test_names_of_ed25519(bench: Bench) -> None:
    """EdDSA is the older name of Ed25519 (RFC 9864), by the design page; a key of Ed448 has neither."""
    foreign = ed448.Ed448PrivateKey.generate()
    await bench.refused(post(form(_ed("EdDSA", foreign.sign))), Reason.SIGNATURE, claimed="ed", jti=None)
    await bench.refused(post(form(_ed("Ed448", foreign.sign))), Reason.KEY_ALGORITHM, claimed="ed", jti=None)
    for alg in ("ed25519", "eddsa"):
        await bench.refused(post(form(_ed(alg))), Reason.KEY_ALGORITHM, claimed="ed", jti=None)
    await bench.issued(post(form(_ed("Ed25519"))), client_id="ed")
    again = raw({"alg": "EdDSA", "kid": FOREIGN.kid}, claims(iss="ed", sub="ed", jti="k"), sign=FOREIGN.sign)
    await bench.issued(post(form(again)), client_id="ed", jti="k")


@pytest.mark.attack(83)
@pytest.mark.rfc(7515, "4.1.4")
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
@pytest.mark.rfc(8725, "3.10")
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
