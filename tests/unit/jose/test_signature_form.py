"""The form of a signature, found without a key."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from affiant.jose import keys, signature_form
from affiant.jose.algorithms import ALGORITHMS
from affiant.jose.keys import SecretKey

DATA = b"data"


def _sign(alg: str) -> bytes:
    return SecretKey(b"x" * 64, alg).sign(DATA) if alg.startswith("HS") else keys.generate(alg).sign(DATA)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_every_algorithm(alg: str) -> None:
    """A good signature has no other form, and its other forms are recognised, whatever signed it."""
    signature = _sign(alg)
    assert signature_form.has_length(alg, signature)
    assert signature_form.find(alg, signature) is None
    assert signature_form.find(alg, signature.hex().encode()) == signature_form.HEXADECIMAL
    for spelled in (base64.b64encode, base64.urlsafe_b64encode, lambda s: base64.urlsafe_b64encode(s).rstrip(b"=")):
        assert signature_form.find(alg, spelled(signature)) == signature_form.BASE64


@pytest.mark.parametrize(("alg", "size"), signature_form.EC_BYTES.items())
def test_der(alg: str, size: int) -> None:
    signature = _sign(alg)
    der = encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
    assert signature_form.find(alg, der) == signature_form.DER
    assert signature_form.find(alg, encode_dss_signature(1 << (8 * size), 1)) is None  # no number of this curve
    assert signature_form.find(alg, der[:-1]) is None
    assert signature_form.der_to_raw(alg, der) == signature


@pytest.mark.parametrize(
    ("alg", "der", "words"),
    [
        ("RS256", b"", "RS256 signatures have no DER form"),
        (
            "ES256",
            encode_dss_signature(1 << 300, 1),
            "r and s of ES256 have 32 bytes each: the key is of another curve",
        ),
        ("ES256", encode_dss_signature(0, 1), "r and s of ES256"),
        ("ES256", bytes(64), "parsing|ASN.1|invalid|Could not"),
    ],
)
def test_what_is_not_der_of_the_algorithm(alg: str, der: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        signature_form.der_to_raw(alg, der)


@pytest.mark.parametrize("signature", [b"", b"x", b"\xff" * 63, b"=" * 88, b"A" * 7, b"0" * 129])
def test_nonsense_has_no_form(signature: bytes) -> None:
    for alg in (*ALGORITHMS, "none", "ES256K", ""):
        assert signature_form.find(alg, signature) is None
