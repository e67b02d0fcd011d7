"""Project Wycheproof's vectors for the primitives, through the table of algorithms: no vector is left out."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from affiant.errors import ConfigError, Rejected
from affiant.jose import base64url, keys
from affiant.jose.algorithms import ALGORITHMS
from affiant.jose.jwk import build

Verify = Callable[[bytes, bytes], None]

# Each file with its algorithm, and how many of its vectors must verify and must not.
FILES = {
    "ecdsa_secp256r1_sha256_p1363_test": ("ES256", 173, 89),
    "ecdsa_secp384r1_sha384_p1363_test": ("ES384", 193, 87),
    "ecdsa_secp521r1_sha512_p1363_test": ("ES512", 231, 87),
    "ed25519_test": ("Ed25519", 88, 63),
    "rsa_signature_2048_sha256_test": ("RS256", 9, 250),
    "rsa_signature_3072_sha256_test": ("RS256", 8, 251),
    "rsa_signature_4096_sha256_test": ("RS256", 7, 251),
    "rsa_signature_2048_sha384_test": ("RS384", 7, 251),
    "rsa_signature_2048_sha512_test": ("RS512", 8, 251),
    "rsa_pss_2048_sha256_mgf1_32_test": ("PS256", 63, 45),
    "rsa_pss_2048_sha384_mgf1_48_test": ("PS384", 95, 46),
    "rsa_pss_4096_sha384_mgf1_48_test": ("PS384", 95, 46),
    "rsa_pss_4096_sha512_mgf1_64_test": ("PS512", 132, 47),
    # The half of each file with truncated tags: JWA has none, so those that are valid there are refused here (33 each).
    "hmac_sha256_test": ("HS256", 33, 141),
    "hmac_sha384_test": ("HS384", 33, 141),
    "hmac_sha512_test": ("HS512", 33, 141),
    # Vectors 3 and 4 of each are valid under a context: RFC 9964 section 5 has none, so they are refused here.
    "mldsa_44_verify_test": ("ML-DSA-44", 75, 105),
    "mldsa_65_verify_test": ("ML-DSA-65", 77, 133),
    "mldsa_87_verify_test": ("ML-DSA-87", 69, 172),
}
NOT_ACCEPTED = {"ecdsa_secp256k1_sha256_p1363_test": 252, "ed448_test": 87}
# How many keys of each file no client could register: their vectors are verified through the table of algorithms alone.
UNREGISTRABLE = {
    "rsa_signature_2048_sha256_test": 2,  # exponent 3
    "rsa_signature_3072_sha256_test": 1,
    "rsa_signature_2048_sha512_test": 1,
    "hmac_sha256_test": 6,  # secrets shorter than the hash
    "hmac_sha384_test": 6,
    "hmac_sha512_test": 6,
}


def _groups(vectors: Path, name: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", json.loads((vectors / "primitives" / f"{name}.json").read_text())["testGroups"])


def _expected(name: str, group: dict[str, Any], case: dict[str, Any]) -> bool:
    if name.startswith("hmac"):
        return bool(case["result"] == "valid" and group["tagSize"] == int(name[8:11]))
    if case.get("ctx"):
        return False
    # "acceptable" is RSA's missing NULL (RFC 8017 section 8.2.2): refused.
    return bool(case["result"] == "valid")


def _registered(alg: str, group: dict[str, Any], case: dict[str, Any]) -> keys.VerificationKey:
    """The key as a client would register it.

    Raises:
        ConfigError: it could not be registered.
    """
    if alg.startswith("HS"):
        return keys.SecretKey(bytes.fromhex(case["key"]), alg)
    if alg.startswith("ML-DSA"):
        pub = base64url.encode(bytes.fromhex(group["publicKey"]))
        return keys.parse_public_jwk({"kty": "AKP", "alg": alg, "pub": pub})
    return keys.parse_public_jwk({**build(load_der_public_key(bytes.fromhex(group["publicKeyDer"]))), "alg": alg})


def _verifier(alg: str, group: dict[str, Any], case: dict[str, Any], weak: Counter[str]) -> Verify:
    try:
        key = _registered(alg, group, case)
    except ConfigError:
        weak["keys"] += 1
        if alg.startswith("ML-DSA"):
            raise
        raw = bytes.fromhex(case["key"]) if alg.startswith("HS") else load_der_public_key(_der(group))
        return lambda data, signature: ALGORITHMS[alg].verify(raw, signature, data)
    return lambda data, signature: key.verify(alg, data, signature)


def _der(group: dict[str, Any]) -> bytes:
    return bytes.fromhex(group["publicKeyDer"])


def _holds(verify: Verify, case: dict[str, Any]) -> bool:
    try:
        verify(bytes.fromhex(case["msg"]), bytes.fromhex(case.get("sig") or case.get("tag") or ""))
    except (Rejected, InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", FILES)
def test_primitives_are_decided_as_by_wycheproof(vectors: Path, name: str) -> None:
    """Every vector of the file, and the numbers of those that hold and those that do not."""
    alg, valid, invalid = FILES[name]
    wrong: list[int] = []
    decided: Counter[bool] = Counter()
    weak: Counter[str] = Counter()
    for group in _groups(vectors, name):
        verify: Verify | None = None
        for case in group["tests"]:
            if verify is None or "key" in case:
                try:
                    verify = _verifier(alg, group, case, weak)
                except ConfigError:  # ML-DSA: a public key of another length
                    assert "IncorrectPublicKeyLength" in case["flags"]
                    decided[False] += 1
                    continue
            holds = _holds(verify, case)
            decided[holds] += 1
            if holds != _expected(name, group, case):
                wrong.append(case["tcId"])
    assert wrong == []
    assert (decided[True], decided[False]) == (valid, invalid)
    if not alg.startswith("ML-DSA"):
        assert weak["keys"] == UNREGISTRABLE.get(name, 0)


@pytest.mark.parametrize("name", NOT_ACCEPTED)
def test_unsupported_curves(vectors: Path, name: str) -> None:
    """secp256k1 and Ed448: no key of theirs is taken, as JWK or from cryptography, so no vector can verify."""
    count = 0
    for group in _groups(vectors, name):
        with pytest.raises(ConfigError):
            build(load_der_public_key(_der(group)))
        if "publicKeyJwk" in group:  # some groups hold only coordinates with a leading zero, which came without a JWK
            with pytest.raises(ConfigError, match="the curve must be P-256, P-384, P-521 or Ed25519"):
                keys.parse_public_jwk(group["publicKeyJwk"])
        count += len(group["tests"])
    assert count == NOT_ACCEPTED[name]
    assert not {"ES256K", "Ed448"} & set(ALGORITHMS)


def test_every_file_is_used(vectors: Path) -> None:
    """The list above names each file that is there, and sums to all their vectors."""
    assert {path.stem for path in (vectors / "primitives").glob("*.json")} == FILES.keys() | NOT_ACCEPTED.keys()
    decided = sum(valid + invalid for _, valid, invalid in FILES.values())
    assert decided + sum(NOT_ACCEPTED.values()) == 4365
