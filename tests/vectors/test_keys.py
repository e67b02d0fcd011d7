"""Project Wycheproof's vectors for JSON Web Key: 26 sets of keys, registered and used, or refused."""

import json
from pathlib import Path
from typing import Any

from tests.vectors.wycheproof import parse_envelope, parse_secret_jwk

from affiant.errors import ConfigError, Rejected
from affiant.jose.key_set import KeySet
from affiant.jose.keys import VerificationKey

VALID = {2, 5, 13, 14, 15}
# Refused where the keys are registered, before any signature is looked at.
REFUSED_KEYS = {1, 4, 6, 7, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26}


def _register(document: dict[str, Any]) -> tuple[VerificationKey, ...]:
    members = document["keys"]
    if any(member["kty"] != "oct" for member in members):
        return KeySet.parse_given(document).keys
    secrets = tuple(parse_secret_jwk(member) for member in members)
    if len({secret.kid for secret in secrets}) != len(secrets):
        raise ConfigError("two secrets have the same kid")
    return secrets


def _verify(registered: tuple[VerificationKey, ...], jws: str) -> None:
    envelope = parse_envelope(jws)
    key = next(key for key in registered if key.kid == envelope.kid)
    key.verify(envelope.alg, envelope.signing_input, envelope.signature)


def test_keys_are_decided_as_by_wycheproof(vectors: Path) -> None:
    """All 26, and those that are refused are refused for their key where it is the key that is wrong."""
    suite = json.loads((vectors / "json_web_key_test.json").read_text())
    accepted, refused_keys, results = set(), set(), {}
    for group in suite["testGroups"]:
        for case in group["tests"]:
            number = case["tcId"]
            results[number] = case["result"]
            try:
                _verify(_register(group.get("public") or group["private"]), case["jws"])
                accepted.add(number)
            except ConfigError:
                refused_keys.add(number)
            except Rejected:
                pass
    assert len(results) == 26
    assert accepted == VALID == {number for number, result in results.items() if result == "valid"}
    assert refused_keys == REFUSED_KEYS
