"""Project Wycheproof's vectors for JSON Web Signature: 393 decided as it decides them, 8 defective ones listed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.vectors.wycheproof import Envelope, parse_envelope, parse_secret_jwk

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys

# Defects of the vectors, with what is decided here instead.
DEFECTIVE = {
    346: ("refused", "the JWK is bound to PS256, the header says PS384"),
    347: ("refused", "the JWK is bound to ES521, which does not exist"),
    350: ("refused", "the JWK is bound to PS256, the header says PS384"),
    351: ("refused", "the JWK is bound to ES521, which does not exist"),
    367: ("valid", "marked as badly padded, but byte for byte the valid 357"),
    370: ("valid", "marked as badly padded, but byte for byte the valid 357"),
    372: ("refused", "marked valid, with a ? in the header"),
    373: ("refused", "marked valid, with a ? in the payload"),
}
VALID, INVALID = 40, 353


def _cases(vectors: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    suite = json.loads((vectors / "json_web_signature_test.json").read_text())
    for group in suite["testGroups"]:
        for case in group["tests"]:
            yield group, case


def _verify(group: dict[str, Any], jws: object) -> Envelope:
    """The JWS, when its signature holds under the group's key.

    Raises:
        Rejected: it does not.
        ConfigError: the key would not be registered.
    """
    if not isinstance(jws, str):
        raise Rejected(Reason.JWT_PARTS)  # the JSON serialisation: nobody could send that as a parameter
    envelope = parse_envelope(jws)
    jwk = group.get("public") or group["private"]
    key = parse_secret_jwk(jwk) if jwk["kty"] == "oct" else keys.parse_public_jwk(jwk)
    if envelope.kid is not None and "kid" in jwk and envelope.kid != jwk["kid"]:
        raise Rejected(Reason.KEY_UNKNOWN)
    key.verify(envelope.alg, envelope.signing_input, envelope.signature)
    return envelope


def _verdict(group: dict[str, Any], jws: object) -> str:
    try:
        _verify(group, jws)
    except (Rejected, ConfigError):
        return "refused"
    return "valid"


@pytest.mark.attack(65)
def test_signatures_are_decided_as_by_wycheproof(vectors: Path) -> None:
    """Every vector but the defective ones: the valid verify, the invalid do not, and none is left out."""
    wrong = []
    judged = {"valid": 0, "invalid": 0}
    for group, case in _cases(vectors):
        if case["tcId"] in DEFECTIVE:
            continue
        judged[case["result"]] += 1
        if (_verdict(group, case["jws"]) == "valid") != (case["result"] == "valid"):
            wrong.append((case["tcId"], case["comment"], case["result"]))
    assert wrong == []
    assert judged == {"valid": VALID, "invalid": INVALID}
    assert VALID + INVALID == 393


def test_defective_vectors_are_decided_on_purpose(vectors: Path) -> None:
    """Each of the eight gets the verdict in the list."""
    cases = {case["tcId"]: (group, case) for group, case in _cases(vectors)}
    found = {number: _verdict(cases[number][0], cases[number][1]["jws"]) for number in DEFECTIVE}
    assert found == {number: verdict for number, (verdict, _) in DEFECTIVE.items()}
    assert cases[367][1]["jws"] == cases[370][1]["jws"] == cases[357][1]["jws"]


def test_valid_vectors_fail_as_assertions_by_payload(vectors: Path) -> None:
    """No valid vector carries a JSON object, and that is all that the reader of claims holds against it."""
    for group, case in _cases(vectors):
        if case["result"] != "valid" or case["tcId"] in DEFECTIVE:
            continue
        envelope = _verify(group, case["jws"])
        with pytest.raises(Rejected) as refusal:
            compact.parse(case["jws"])
        assert refusal.value.reason is Reason.JWT_JSON
        assert not envelope.payload.startswith(b"{")
