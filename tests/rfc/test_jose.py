"""RFC 7515, 7517, 7518, 7519, 8725 and 9864: what a client assertion is made of, judged by the token endpoint."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.rfc.conftest import refusal

from affiant.errors import ConfigError
from affiant.jose import base64url, keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import SecretKey
from affiant.testing import ISSUER, KEY, NOW, Server

INVALID_CLIENT = (401, "invalid_client")
CLAIMS = f'"iss":"c1","sub":"c1","aud":"{ISSUER}","exp":{NOW + 60}'


async def _reason(server: Server, assertion: str) -> str:
    """Under which reason it was refused, as the audit log has it; "issued" for a token."""
    reply = await server.post(server.form(assertion))
    if reply.status_code == 200:
        return "issued"
    assert refusal(reply) == INVALID_CLIENT
    record = await server.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    return str(record["reason"])


def _signed(header: str | bytes, payload: str | bytes, key: keys.PrivateKey = KEY) -> str:
    """A JWS of these very bytes, with a signature that holds."""
    parts = [base64url.encode(part.encode() if isinstance(part, str) else part) for part in (header, payload)]
    data = ".".join(parts)
    return f"{data}.{base64url.encode(key.sign(data.encode()))}"


HEADER = '{"alg":"ES256"}'

# RFC 7515: the compact JWS


@pytest.mark.rfc(7515, "5.2")
async def test_the_very_bytes_are_verified(server: Server) -> None:
    """White space and order of members are the signer's choice: the signing input is what came."""
    payload = f'{{ "jti" : "spaced",\n{CLAIMS} }}'
    assert await _reason(server, _signed(' { "alg" : "ES256" } ', payload)) == "issued"


@pytest.mark.rfc(7515, "2")
async def test_padding_white_space_and_other_alphabets_are_refused(server: Server) -> None:
    """Base64url, with all trailing = omitted and without line breaks, white space or other characters."""
    head, payload, signature = server.assertion().split(".")
    for bad in ("=", " ", "\n", "+", "/"):
        assert await _reason(server, f"{head}.{payload}.{signature}{bad}") == "assertion.characters"
        assert await _reason(server, f"{head}{bad}.{payload}.{signature}") == "assertion.characters"


@pytest.mark.rfc(7515, "2")
async def test_one_signature_has_one_spelling(server: Server) -> None:
    """The unused bits of the last character are zero."""
    text = server.assertion()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = text[:-1] + alphabet[alphabet.index(text[-1]) + 1]
    assert await _reason(server, twin) == "assertion.base64url"
    assert await _reason(server, text) == "issued"


@pytest.mark.rfc(7515, "5.2(1)")
@pytest.mark.parametrize(
    ("parts", "reason"), [(1, "parts"), (2, "parts"), (4, "parts"), (5, "encrypted"), (6, "parts")]
)
async def test_there_are_three_parts(server: Server, parts: int, reason: str) -> None:
    assert await _reason(server, ".".join(["e30"] * parts)) == f"assertion.{reason}"


@pytest.mark.rfc(7515, "5.2(3)")
@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b'"alg"',
        b"{}{}",
        b'\xef\xbb\xbf{"alg":"ES256"}',
        b'{"alg":"ES256"} x',
        b'{"alg":"ES256","kid":"\xff"}',
        b"{'alg':'ES256'}",
        b'{"alg":"ES256","x":NaN}',
    ],
)
async def test_the_header_is_one_json_object(server: Server, header: bytes) -> None:
    """Completely valid JSON, in UTF-8."""
    assert await _reason(server, _signed(header, f'{{"jti":"h",{CLAIMS}}}')) == "assertion.json"


@pytest.mark.rfc(7515, "4")
async def test_header_names_are_unique(server: Server) -> None:
    """MUST be unique; JWSs with duplicates are rejected."""
    for header in ('{"alg":"ES256","alg":"ES256"}', '{"alg":"none","\\u0061lg":"ES256"}'):
        assert await _reason(server, _signed(header, f'{{"jti":"d",{CLAIMS}}}')) == "assertion.json"


@pytest.mark.rfc(7515, "4.1.1")
@pytest.mark.parametrize("header", ["{}", '{"alg":null}', '{"alg":1}', '{"alg":""}', '{"alg":["ES256"]}'])
async def test_alg_must_be_present(server: Server, header: str) -> None:
    assert await _reason(server, _signed(header, f'{{"jti":"a",{CLAIMS}}}')) == "assertion.algorithm_missing"


@pytest.mark.rfc(7515, "4.1.11")
@pytest.mark.parametrize("crit", ['["exp"]', "[]", '["alg"]', '["b64"]', "null", '"x"', '["x","x"]'])
async def test_crit_is_refused(server: Server, crit: str) -> None:
    """If a listed extension is not understood, the JWS is invalid; and none is understood here."""
    header = f'{{"alg":"ES256","crit":{crit},"exp":1}}'
    assert await _reason(server, _signed(header, f'{{"jti":"c",{CLAIMS}}}')) == "assertion.critical_header"


@pytest.mark.rfc(7797, "7")
async def test_b64_is_refused(server: Server) -> None:
    for value in ("true", "false"):
        header = f'{{"alg":"ES256","b64":{value}}}'
        assert await _reason(server, _signed(header, f'{{"jti":"b",{CLAIMS}}}')) == "assertion.critical_header"


@pytest.mark.rfc(7515, "4.1.4")
async def test_kid_names_the_key_or_nothing_does(server: Server) -> None:
    """A kid that is not registered is not passed over."""
    assert await _reason(server, _signed('{"alg":"ES256","kid":"x"}', f'{{"jti":"k",{CLAIMS}}}')) == "key.unknown"
    assert await _reason(server, _signed('{"alg":"ES256","kid":1}', f'{{"jti":"k",{CLAIMS}}}')) == "assertion.kid"
    assert await _reason(server, _signed(HEADER, f'{{"jti":"k",{CLAIMS}}}')) == "issued"


@pytest.mark.rfc(8725, "3.10")
@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR '1'='1", "\x00", "c1", "https://evil.example/key", "\u20ac"])
async def test_kid_is_only_compared(server: Server, kid: str) -> None:
    header = json.dumps({"alg": "ES256", "kid": kid})
    assert await _reason(server, _signed(header, f'{{"jti":"k",{CLAIMS}}}')) == "key.unknown"


@pytest.mark.rfc(8725, "3.10")
async def test_a_key_in_the_header_is_not_used(server: Server) -> None:
    """jwk, jku, x5u and x5c come from the sender: the key comes from the registration."""
    stranger = keys.generate("ES256")
    embedded = {"jwk": stranger.public().to_jwk(), "jku": "https://evil.example", "x5u": "https://evil.example"}
    header = json.dumps({"alg": "ES256", **embedded})
    assert await _reason(server, _signed(header, f'{{"jti":"e",{CLAIMS}}}', stranger)) == "signature.invalid"
    assert await _reason(server, _signed(header, f'{{"jti":"e",{CLAIMS}}}')) == "issued"


# RFC 7518: the algorithms


@pytest.mark.rfc(7518, "3.6")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AA"])
async def test_none_is_refused(server: Server, alg: str, signature: str) -> None:
    """MUST NOT be accepted by default."""
    head, payload, _ = _signed(json.dumps({"alg": alg}), f'{{"jti":"n",{CLAIMS}}}').split(".")
    assert await _reason(server, f"{head}.{payload}.{signature}") == "key.none"


@pytest.mark.rfc(7518, "3.4")
async def test_ecdsa_is_r_and_s_side_by_side(server: Server) -> None:
    """64 octets for ES256; DER is not it."""
    head, payload, signature = _signed(HEADER, f'{{"jti":"r",{CLAIMS}}}').split(".")
    raw = base64url.decode(signature)
    assert len(raw) == 64
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    for bad in (der, raw[:63], raw + b"\0", b"\0" + raw, bytes(64), b""):
        assert await _reason(server, f"{head}.{payload}.{base64url.encode(bad)}") == "signature.invalid"


@pytest.mark.rfc(7518, "3.2")
@pytest.mark.parametrize(("alg", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
async def test_a_mac_key_is_as_long_as_the_hash(server: Server, alg: str, size: int) -> None:
    """A key of the same size as the hash output or larger MUST be used; the secrets made here are."""
    with pytest.raises(ConfigError, match=f"at least {size} bytes"):
        SecretKey(bytes(size - 1), alg)
    name = f"mac-{alg}"
    await server.add_client(name, "client_secret_jwt", token_endpoint_auth_signing_alg=alg)
    assert len(server.secrets[name].encode()) >= size
    assert await _reason(server, server.assertion(name)) == "issued"


@pytest.mark.rfc(7518, "6.2.1.2")
@pytest.mark.rfc(7518, "6.2.1.3")
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512"])
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_coordinate_has_the_full_size(alg: str, name: str) -> None:
    """MUST, with leading zeros and no more of them: a key has one spelling, and a long one is not computed with."""
    jwk = keys.generate(alg).public().to_jwk()
    right = base64url.decode(jwk[name])
    for wrong in (b"\0" + right, right[1:], right[:-1], right + b"\0", b"\1" * 4000):
        with pytest.raises(ConfigError, match=f"{name} must be {len(right)} bytes"):
            keys.parse_public_jwk({**jwk, name: base64url.encode(wrong)})
    assert keys.parse_public_jwk(jwk).to_jwk() == jwk


@pytest.mark.rfc(7518, "3.3")
def test_a_short_rsa_key_is_not_registered() -> None:
    """A key of size 2048 bits or larger MUST be used."""
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    jwk = {"kty": "RSA", "e": "AQAB", "n": base64url.encode(numbers.n.to_bytes(size, "big"))}
    with pytest.raises(ConfigError, match="2048"):
        keys.parse_public_jwk(jwk)


@pytest.mark.rfc(8725, "3.4")
def test_a_point_off_the_curve_is_not_registered() -> None:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (base64url.encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y ^ 1))
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.parse_public_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})


@pytest.mark.rfc(9864, "2.2")
@pytest.mark.parametrize("alg", ["Ed25519", "EdDSA"])
async def test_both_names_of_ed25519_verify(server: Server, alg: str) -> None:
    key = keys.generate("Ed25519")
    await server.add_client("ed", key=key)
    claims = CLAIMS.replace('"c1"', '"ed"')
    header = json.dumps({"alg": alg, "kid": key.kid})
    assert await _reason(server, _signed(header, f'{{"jti":"e",{claims}}}', key)) == "issued"


@pytest.mark.rfc(9864, "2.2")
@pytest.mark.parametrize("alg", ["Ed448", "ed25519", "eddsa"])
async def test_another_name_does_not(server: Server, alg: str) -> None:
    key = keys.generate("Ed25519")
    await server.add_client("ed", key=key)
    claims = CLAIMS.replace('"c1"', '"ed"')
    header = json.dumps({"alg": alg, "kid": key.kid})
    assert await _reason(server, _signed(header, f'{{"jti":"e",{claims}}}', key)) == "key.algorithm"


@pytest.mark.rfc(8725, "3.1")
async def test_a_public_key_is_no_mac_key(server: Server) -> None:
    """The algorithm must be one that the key was registered for, whatever the header says."""
    for material in (json.dumps(KEY.public().to_jwk()), KEY.public().to_jwk()["x"] + "=" * 32):
        forged = server.assertion(key=SecretKey(material.encode(), "HS256", KEY.kid))
        assert await _reason(server, forged) == "key.algorithm"
        forged = server.assertion(key=SecretKey(material.encode()))
        assert await _reason(server, forged) == "key.none"


@pytest.mark.rfc(8725, "3.1")
async def test_a_secret_is_for_one_algorithm(server: Server) -> None:
    await server.add_client("long", "client_secret_jwt", token_endpoint_auth_signing_alg="HS512")
    assert (
        await _reason(server, server.assertion("long", key=SecretKey(server.secrets["long"].encode())))
        == "key.algorithm"
    )


@pytest.mark.rfc(8725, "3.1")
async def test_a_key_is_for_one_algorithm(server: Server) -> None:
    """An RSA key registered for RS256 does not verify PS256."""
    key = keys.generate("PS256")
    public = {**key.public().to_jwk(), "alg": "RS256"}
    await server.add_client("rsa", keys=(keys.parse_public_jwk(public),))
    assert await _reason(server, server.assertion("rsa", key=key)) == "key.algorithm"


# RFC 7519 and 8725: the claims and the type


@pytest.mark.rfc(7519, "4")
async def test_claim_names_are_unique(server: Server) -> None:
    payload = f'{{"iss":"refreshing",{CLAIMS},"jti":"u"}}'
    assert await _reason(server, _signed(HEADER, payload)) == "assertion.json"


@pytest.mark.rfc(7519, "7.2(10)")
@pytest.mark.parametrize("payload", [b"[]", b"null", b"", b'{"a":1}x', b"\xff\xfe{}", b'{"a":"\\ud800"}'])
async def test_the_payload_is_one_json_object(server: Server, payload: bytes) -> None:
    assert await _reason(server, _signed(HEADER, payload)) == "assertion.json"


@pytest.mark.rfc(7519, "2")
async def test_a_numeric_date_may_have_a_fraction(server: Server) -> None:
    assertion = server.assertion(exp=NOW + 59.5, iat=NOW - 0.5, nbf=float(NOW))
    assert await _reason(server, assertion) == "issued"


@pytest.mark.rfc(8725, "3.11")
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "dpop+jwt", "secevent+jwt", "", None, 1, ["JWT"]])
async def test_another_kind_of_jwt_is_refused(server: Server, typ: Any) -> None:
    """Kinds of JWT with mutually exclusive rules: the type tells them apart."""
    assert await _reason(server, server.assertion(header={"typ": typ})) == "assertion.type"


@pytest.mark.rfc(8725, "3.3")
async def test_a_long_assertion_is_refused_before_it_is_read(server: Server) -> None:
    assert await _reason(server, "a" * 16_385) == "assertion.too_long"


# RFC 7517: a client's key set


@pytest.mark.rfc(7517, "5")
def test_keys_that_cannot_be_used_are_passed_over() -> None:
    """SHOULD ignore JWKs of an unknown kty, with missing members or values out of range."""
    good = KEY.public().to_jwk()
    odd: list[Any] = [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, {"kty": "EC"}, {}, 1, {**good, "crv": "P-192"}]
    assert [key.kid for key in KeySet.parse({"keys": [*odd, good]}).keys] == [KEY.kid]


@pytest.mark.rfc(7517, "4.2")
@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": ["sign"]}, {"key_ops": "verify"}]
)
def test_a_key_for_another_use_is_not_registered(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        keys.parse_public_jwk({**KEY.public().to_jwk(), **change})


@pytest.mark.rfc(7517, "9.2")
@pytest.mark.parametrize("member", ["d", "p", "q", "k", "priv"])
def test_a_private_key_is_not_registered(member: str) -> None:
    with pytest.raises(ConfigError, match="private"):
        keys.parse_public_jwk({**KEY.public().to_jwk(), member: "AA"})
