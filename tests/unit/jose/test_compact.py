"""The strict reader, against Wycheproof and against tokens that other readers take."""

import json
from pathlib import Path
from typing import Any

import pytest

from affiant.errors import ConfigError, Rejected
from affiant.jose import base64url, compact, keys
from affiant.jose.key_set import KeySet
from affiant.reasons import Reason

HEADER = '{"alg":"ES256"}'


def _jws(header: str | bytes, payload: str | bytes, signature: str = "AA") -> str:
    parts = (p.encode() if isinstance(p, str) else p for p in (header, payload))
    return ".".join([*map(base64url.encode, parts), signature])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 8193, Reason.JWT_TOO_LONG),
        (_jws(HEADER, "{}") + "=", Reason.JWT_CHARACTERS),
        (_jws(HEADER, "{}") + "\n", Reason.JWT_CHARACTERS),
        (" " + _jws(HEADER, "{}"), Reason.JWT_CHARACTERS),
        ("a.b", Reason.JWT_PARTS),
        ("", Reason.JWT_PARTS),
        ("a.b.c.d", Reason.JWT_PARTS),
        ("a.b.c.d.e", Reason.JWT_ENCRYPTED),
        (_jws(HEADER, "{}", "AB"), Reason.JWT_BASE64URL),
        (_jws(HEADER, "{}", "A"), Reason.JWT_BASE64URL),
        (_jws(HEADER, "[]"), Reason.JWT_JSON),
        (_jws(HEADER, "null"), Reason.JWT_JSON),
        (_jws(HEADER, ""), Reason.JWT_JSON),
        (_jws(HEADER, "{} x"), Reason.JWT_JSON),
        (_jws(HEADER, "{}{}"), Reason.JWT_JSON),
        (_jws(HEADER, '{"a":1,"a":1}'), Reason.JWT_JSON),
        (_jws(HEADER, '{"exp":NaN}'), Reason.JWT_JSON),
        (_jws(HEADER, '{"exp":1e999}'), Reason.JWT_JSON),
        (_jws(HEADER, '{"exp":-Infinity}'), Reason.JWT_JSON),
        (_jws(HEADER, '{"sub":"\\ud800"}'), Reason.JWT_JSON),
        (_jws(HEADER, '{"a":' + "[" * 3000 + "]" * 3000 + "}"), Reason.JWT_JSON),
        (_jws(HEADER, '{"a":' + "9" * 5000 + "}"), Reason.JWT_JSON),
        (_jws(HEADER, b"\xef\xbb\xbf{}"), Reason.JWT_JSON),
        (_jws(HEADER, '{"a":1}'.encode("utf-16")), Reason.JWT_JSON),
        (_jws(HEADER, b'{"a":"\xff"}'), Reason.JWT_JSON),
        (_jws('{"alg":"none","alg":"ES256"}', "{}"), Reason.JWT_JSON),
        (_jws('{"alg":"ES256","crit":["exp"]}', "{}"), Reason.JWT_CRIT),
        (_jws('{"alg":"ES256","b64":false}', "{}"), Reason.JWT_CRIT),
        (_jws("{}", "{}"), Reason.JWT_ALG),
        (_jws('{"alg":["ES256"]}', "{}"), Reason.JWT_ALG),
        (_jws('{"alg":"ES256","kid":1}', "{}"), Reason.JWT_KID),
    ],
)
def test_refused(text: str, reason: Reason) -> None:
    """Each kind of malformed token has its reason, and no foreign exception."""
    with pytest.raises(Rejected) as refusal:
        compact.parse(text)
    assert refusal.value.reason is reason


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "Ed25519", "EdDSA", "RS256", "PS512"])
def test_round_trip(alg: str) -> None:
    """The public part of a key verifies its signatures; that of another key does not."""
    key = keys.generate(alg)
    read = compact.parse(compact.sign({"typ": "JWT"}, {"sub": "ü"}, key))
    assert compact.verify(read, key.public()).claims == {"sub": "ü"}
    assert read.kid == key.public().thumbprint
    with pytest.raises(Rejected):
        compact.verify(read, keys.generate(alg).public())
    assert keys.parse_private_jwk(key.to_jwk()).to_jwk() == key.to_jwk()
    assert not {"d", "p", "q"} & set(key.public().to_jwk())
    assert key.to_jwk()["d"] not in repr(key)


@pytest.mark.attack(58)
def test_public_key_is_never_a_mac_key() -> None:
    """HS256 keyed with the public key is refused by the key's type."""
    key = keys.generate("ES256").public()
    forged = keys.SecretKey(json.dumps(key.to_jwk()).encode())
    with pytest.raises(Rejected) as refusal:
        compact.verify(compact.parse(compact.sign({}, {}, forged)), key)
    assert refusal.value.reason is Reason.KEY_ALGORITHM


@pytest.mark.attack(63)
def test_psychic_signatures() -> None:
    """No signature of r, s among 0, 1, n-1, n verifies."""
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    key = keys.generate("ES256").public()
    for r in (0, 1, n - 1, n):
        for s in (0, 1, n - 1, n):
            signature = base64url.encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
            with pytest.raises(Rejected):
                compact.verify(compact.parse(_jws(HEADER, "{}", signature)), key)


# Listed by number, with why: attacks.md B5 (defects of the vectors, not of a reader).
DEFECTIVE = {346, 347, 350, 351, 367, 370, 372, 373}


def test_wycheproof_signatures(vectors: Path) -> None:
    """Every vector but the eight defective ones is judged as Wycheproof judges it.

    Many of its valid payloads are not JSON objects: those are refused as such, after nothing else was wrong with them.
    """
    suite = json.loads((vectors / "json_web_signature_test.json").read_text())
    wrong, judged = [], 0
    for group in suite["testGroups"]:
        for case in group["tests"]:
            if case["tcId"] in DEFECTIVE:
                continue
            judged += 1
            verdict = _judge(group, case["jws"])
            if verdict not in (
                ("valid", "assertion.json") if case["result"] == "valid" else ("refused", "assertion.json")
            ):
                wrong.append((case["tcId"], case["comment"], case["result"]))
    assert judged == 393
    assert wrong == []


def _judge(group: dict[str, Any], jws: object) -> str:
    if not isinstance(jws, str):
        return "refused"
    try:
        jwk = group.get("public") or group["private"]
        read = compact.parse(jws, limit=65_536)
        key = _key(jwk)
        if read.kid is not None and "kid" in jwk and read.kid != jwk["kid"]:
            return "refused"
        compact.verify(read, key)
    except Rejected as refusal:
        return refusal.reason.code if refusal.reason is Reason.JWT_JSON else "refused"
    except ConfigError:
        return "refused"
    return "valid"


def _key(jwk: dict[str, Any]) -> keys.VerificationKey:
    if jwk["kty"] == "oct":
        return keys.SecretKey(base64url.decode(jwk["k"]), jwk["alg"])
    return KeySet.parse({"keys": [jwk]}).keys[0]


def test_verify_any_takes_the_first_key_that_fits() -> None:
    first, second, other = (keys.generate("ES256") for _ in range(3))
    unverified = compact.parse(compact.sign({}, {"sub": "a"}, second))
    public = [key.public() for key in (first, second)]
    assert compact.verify_any(unverified, public).key is public[1]
    with pytest.raises(Rejected, match=Reason.SIGNATURE.code):
        compact.verify_any(unverified, [first.public(), other.public()])
    with pytest.raises(Rejected, match=Reason.SIGNATURE.code):
        compact.verify_any(unverified, [])
