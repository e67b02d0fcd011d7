"""The strict reader; tests/attacks/test_jose.py has the malformed tokens, tests/vectors those of Wycheproof."""

import pytest

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys


def _jws(payload: str) -> str:
    return ".".join([base64url.encode(b'{"alg":"ES256"}'), base64url.encode(payload.encode()), "AA"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 8193, Reason.JWT_TOO_LONG),
        ("", Reason.JWT_PARTS),
        (_jws('{"exp":-Infinity}'), Reason.JWT_JSON),
        (_jws('{"a":' + "9" * 5000 + "}"), Reason.JWT_JSON),
    ],
)
def test_refused(text: str, reason: Reason) -> None:
    """What no request to the token endpoint shows."""
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


def test_verify_any_takes_the_first_key_that_fits() -> None:
    first, second, other = (keys.generate("ES256") for _ in range(3))
    unverified = compact.parse(compact.sign({}, {"sub": "a"}, second))
    public = [key.public() for key in (first, second)]
    assert compact.verify_any(unverified, public).key is public[1]
    with pytest.raises(Rejected, match=Reason.SIGNATURE.code):
        compact.verify_any(unverified, [first.public(), other.public()])
    with pytest.raises(Rejected, match=Reason.SIGNATURE.code):
        compact.verify_any(unverified, [])
