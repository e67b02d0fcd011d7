"""A JWK Set as others publish it: what can be used is used, and what is left out is named."""

from typing import Any

import pytest
from tests.attacks.registering import roca_modulus
from tests.rsa_keys import rsa_key

from affiant.errors import ConfigError
from affiant.jose import base64url, keys
from affiant.jose.key_set import MAX_GIVEN, MAX_MEMBERS, KeySet, Reader, describe

GOOD, OTHER = (keys.generate("ES256").public().to_jwk() for _ in range(2))
RSA = {name: value for name, value in rsa_key().public().to_jwk().items() if name != "alg"}
READERS = [KeySet.parse, KeySet.parse_given]


def _rsa(n: int) -> dict[str, Any]:
    return {"kty": "RSA", "n": base64url.encode(n.to_bytes((n.bit_length() + 7) // 8, "big")), "e": "AQAB"}


ODD: list[tuple[Any, str]] = [
    ({**GOOD, "use": "enc"}, "not for signatures (use)"),
    ({**RSA, "alg": "RSA-OAEP-256"}, "alg does not fit the key"),
    ({**RSA, "alg": "XS256"}, "alg does not fit the key"),
    ({**GOOD, "key_ops": ["deriveBits"]}, "key_ops lacks verify"),
    ({**GOOD, "key_ops": "verify"}, "key_ops lacks verify"),
    ({**GOOD, "use": ["sig"]}, "not for signatures (use)"),
    ({"kty": "XYZ", "x": "AA"}, "kty must be"),
    ({"kty": ["EC"]}, "kty must be"),
    ({}, "kty must be"),
    ({**GOOD, "crv": "secp256k1"}, "the curve must be"),
    ({**GOOD, "crv": {}}, "the curve must be"),
    ({"kty": "OKP", "crv": "X25519", "x": "A" * 43}, "the curve must be"),
    ({"kty": "OKP", "crv": "Ed448", "x": "A" * 76}, "the curve must be"),
    ({**GOOD, "y": GOOD["x"]}, "cannot be read"),
    ({**GOOD, "kid": 7}, "kid must be a string"),
    ({**GOOD, "kid": "\x1b[2J"}, "kid must be a string"),
    ({"kty": "oct", "alg": "HS256"}, "kty must be"),
    (_rsa((1 << 1023) + 1155), "2048"),
    (_rsa(roca_modulus()), "CVE-2017-15361"),
    (None, "not an object"),
    ([], "not an object"),
    ("key", "not an object"),
    (dict(OTHER), "the set has this key twice"),
]


@pytest.mark.rfc(7517, "5")
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("odd", "why"), ODD)
def test_unusable_members_are_left_out_and_named(read: Any, odd: Any, why: str) -> None:
    found = read({"keys": [OTHER, odd, GOOD], "more": 1})
    assert [key.to_jwk() for key in found.keys] == [OTHER, GOOD]
    (left_out,) = found.left_out
    assert left_out.place == 2
    assert why in left_out.why


@pytest.mark.parametrize("read", READERS)
def test_nothing_usable_is_refused_with_every_reason(read: Any) -> None:
    with pytest.raises(ConfigError, match="key 1 of the JWK Set: kty must be"):
        read({"keys": [{}]})
    with pytest.raises(ConfigError, match=r"no key that can be used: key 1 .*; key 2 of the JWK Set: not an object"):
        read({"keys": [{"use": "enc"}, 1]})
    nothing: tuple[Any, ...] = ({}, [], None, {"keys": []}, {"keys": {}}, {"keys": None}, "keys")
    for empty in nothing:
        with pytest.raises(ConfigError, match="not a JWK Set"):
            read(empty)


@pytest.mark.rfc(7517, "9.2")
@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
@pytest.mark.parametrize("other", [GOOD, {**GOOD, "use": "enc"}, {"kty": "XYZ"}, {"kty": "oct"}])
def test_registered_set_with_a_private_key_is_rejected(member: str, other: dict[str, Any]) -> None:
    """In a published set it is left out: its owner cannot be informed."""
    members = [OTHER, {**other, member: "AA"}]
    with pytest.raises(ConfigError, match="key 2 of the JWK Set: the key has private members"):
        KeySet.parse_given({"keys": members})
    published = KeySet.parse({"keys": members})
    assert [key.to_jwk() for key in published.keys] == [OTHER]
    assert "private members" in describe(published.left_out)


def test_a_symmetric_key_never_becomes_a_public_one() -> None:
    with pytest.raises(ConfigError):
        KeySet.parse({"keys": [{"kty": "oct", "k": "A" * 43, "alg": "HS256"}]})


@pytest.mark.rfc(7517, "4.5")
def test_a_kid_may_name_several_keys_and_a_key_have_several_kids() -> None:
    """Directories publish one RSA key for RS256 and for PS256."""
    document = {
        "keys": [
            {**GOOD, "kid": "a"},
            {**OTHER, "kid": "a"},
            *({**RSA, "alg": a, "kid": a} for a in ("RS256", "PS256")),
        ]
    }
    found = KeySet.parse_given(document)
    assert len(found.keys) == 4
    assert found.left_out == ()
    assert found.candidates("ES256", "a") == found.keys[:2]
    assert found.candidates("PS256", "PS256") == found.keys[3:]
    assert found.candidates("PS256", "RS256") == ()
    assert found.candidates("RS256") == (found.keys[2],)
    assert found.candidates("ES256", "b") == ()


def test_how_many_are_read_is_not_the_senders_choice() -> None:
    many = [keys.generate("Ed25519").public().to_jwk() for _ in range(MAX_GIVEN + 1)]
    assert len(KeySet.parse_given({"keys": many[1:]}).keys) == MAX_GIVEN
    with pytest.raises(ConfigError, match="17 keys for signatures: at most 16"):
        KeySet.parse_given({"keys": many})
    strange: list[Any] = [{"kty": "?"}] * (MAX_MEMBERS - MAX_GIVEN)
    assert len(KeySet.parse_given({"keys": strange + many[1:]}).keys) == MAX_GIVEN
    with pytest.raises(ConfigError, match="65 members: at most 64"):
        KeySet.parse_given({"keys": [*strange, *many]})
    with pytest.raises(ConfigError, match="65 members"):
        Reader({"keys": [*strange, *many]})


def test_description_of_left_out_members_is_short_and_printable() -> None:
    strange = [{"kty": "?", "kid": "\x1b[2J" + "x" * 900} for _ in range(9)]
    line = describe(KeySet.parse({"keys": [GOOD, *strange]}).left_out)
    assert line.isprintable()
    assert line.isascii()
    assert line.endswith("; and 5 more")
    assert len(line) < 700
    assert describe(()) == ""
