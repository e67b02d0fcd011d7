"""The rules of a client assertion on plain values. The same over HTTP: tests/rfc/test_rfc7523.py."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.jose import compact, keys
from affiant.oauth import assertion
from affiant.oauth.assertion import ClientAssertion, Rules
from affiant.reasons import Reason

ISSUER, NOW = "https://as.example", 1_800_000_000
RULES = Rules(issuer=ISSUER, token_endpoint=f"{ISSUER}/token")
KEY = keys.generate("Ed25519")
PUBLIC = KEY.public()
CLAIMS: dict[str, Any] = {"iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.just("a"), JSON)


def _judge(claims: dict[str, Any], *, rules: Rules = RULES, now: float = NOW) -> ClientAssertion:
    text = compact.sign({}, claims, KEY)
    return assertion.verify(compact.verify(compact.parse(text), PUBLIC), rules=rules, now=now, whole=text.encode())


def _reason(claims: dict[str, Any], *, rules: Rules = RULES) -> Reason:
    with pytest.raises(Rejected) as refusal:
        _judge(claims, rules=rules)
    return refusal.value.reason


@given(TEXT.filter(bool).filter(lambda text: len(text) <= 256), st.integers(1, 300), st.floats(0, 2e9))
def test_what_is_built_verifies(client_id: str, lifetime: int, now: float) -> None:
    text = assertion.build(client_id, issuer=ISSUER, signer=KEY, now=now, lifetime=lifetime)
    unverified = compact.parse(text)
    assert assertion.check_names(unverified, client_id=client_id) == client_id
    statement = assertion.verify(compact.verify(unverified, PUBLIC), rules=RULES, now=now, whole=text.encode())
    assert (statement.client_id, statement.label) == (client_id, None)
    assert statement.live_until == int(now) + lifetime + 60


def test_build_names_type_and_a_new_jti() -> None:
    texts = [assertion.build("c", issuer=ISSUER, signer=KEY, now=NOW + 0.9) for _ in range(5)]
    parsed = [compact.parse(text) for text in texts]
    assert {str(one.header["typ"]) for one in parsed} == {"client-authentication+jwt"}
    assert len({one.claims["jti"] for one in parsed}) == 5
    assert (parsed[0].claims["iat"], parsed[0].claims["exp"]) == (NOW, NOW + 60)


def test_build_takes_a_jti() -> None:
    text = assertion.build("c", issuer=ISSUER, signer=KEY, now=NOW, jti="mine")
    assert compact.parse(text).claims["jti"] == "mine"


@given(name=st.sampled_from([*CLAIMS, "nbf", "x"]), value=VALUES)
def test_judging_never_fails_otherwise(name: str, value: object) -> None:
    text = compact.sign({}, {**CLAIMS, name: value}, KEY)
    unverified = compact.parse(text)
    try:
        assertion.check_names(unverified, client_id=None)
        assertion.verify(compact.verify(unverified, PUBLIC), rules=RULES, now=NOW, whole=text.encode())
    except Rejected as refusal:
        assert refusal.reason.value.error == "invalid_client"
        assert len(refusal.got) <= 1000


@given(typ=VALUES)
def test_a_type_never_fails_otherwise(typ: object) -> None:
    unverified = compact.parse(compact.sign({"typ": typ}, CLAIMS, KEY))
    try:
        assert assertion.check_names(unverified, client_id=None) == "c"
    except Rejected as refusal:
        assert refusal.reason is Reason.JWT_TYP


@pytest.mark.parametrize(
    ("claims", "client_id", "reason"),
    [
        ({"sub": "d"}, None, Reason.ISS_SUB),
        ({"iss": 1, "sub": 1}, None, Reason.ISS_SUB),
        ({"iss": "", "sub": ""}, None, Reason.ISS_SUB),
        ({"iss": "x" * 257, "sub": "x" * 257}, None, Reason.ISS_SUB),
        ({}, "d", Reason.CLIENT_ID),
        ({}, "", Reason.CLIENT_ID),
    ],
)
def test_names_must_agree(claims: dict[str, Any], client_id: str | None, reason: Reason) -> None:
    with pytest.raises(Rejected) as refusal:
        assertion.check_names(compact.parse(compact.sign({}, {**CLAIMS, **claims}, KEY)), client_id=client_id)
    assert refusal.value.reason is reason


def test_a_free_subject_is_a_label() -> None:
    """In the guide profile only; it never becomes the client."""
    unverified = compact.parse(compact.sign({}, {**CLAIMS, "sub": "unique_request"}, KEY))
    assert assertion.check_names(unverified, client_id="c", free_subject=True) == "c"
    statement = _judge({**CLAIMS, "sub": "unique_request"})
    assert (statement.client_id, statement.label) == ("c", "unique_request")


@pytest.mark.parametrize(
    ("policy", "aud", "is_allowed"),
    [
        ("strict", ISSUER, True),
        ("strict", [ISSUER], True),
        ("strict", f"{ISSUER}/token", False),
        ("string", ISSUER, True),
        ("string", [ISSUER], False),
        ("string", f"{ISSUER}/token", False),
        ("legacy", f"{ISSUER}/token", True),
        ("legacy", [f"{ISSUER}/token"], True),
        ("legacy", [ISSUER, f"{ISSUER}/token"], True),
        ("legacy", f"{ISSUER}/", True),
        ("legacy", f"{ISSUER}/token/", True),
        ("legacy", f"{ISSUER}//", False),
        ("legacy", [ISSUER, "https://other.example"], False),
        ("legacy", f"{ISSUER}/other", False),
    ],
)
def test_each_policy_has_its_audiences(policy: str, aud: object, is_allowed: bool) -> None:
    rules = Rules(issuer=ISSUER, token_endpoint=f"{ISSUER}/token", audience=policy)
    if is_allowed:
        assert _judge({**CLAIMS, "aud": aud}, rules=rules).client_id == "c"
    else:
        assert _reason({**CLAIMS, "aud": aud}, rules=rules) is Reason.AUDIENCE


def test_hash_of_the_jws_replaces_a_missing_jti() -> None:
    """Only where the rules allow it; also of a jti that cannot be remembered."""
    claims = {name: value for name, value in CLAIMS.items() if name != "jti"}
    loose = Rules(issuer=ISSUER, token_endpoint="", jti="legacy")
    whole = compact.sign({}, claims, KEY).encode()
    assert _judge(claims, rules=loose).jti_digest == sha256(b"jws:" + whole).digest()
    assert _reason(claims) is Reason.JTI
    assert _judge({**CLAIMS, "jti": ""}, rules=loose).jti_digest[:4] != sha256(b"jti:").digest()[:4]
    assert _reason({**CLAIMS, "jti": ""}) is Reason.JTI


def test_jti_cannot_have_the_digest_of_a_jws() -> None:
    assert _judge(CLAIMS).jti_digest == sha256(b"jti:j").digest()


@given(st.integers(-29, 330) | st.floats(-29, 330))
def test_a_jti_outlives_its_assertion(ahead: float) -> None:
    """In the second in which the jti may be forgotten, the assertion is rejected as expired, for any exp."""
    statement = _judge({**CLAIMS, "exp": NOW + ahead, "iat": NOW - 30})
    text = compact.sign({}, {**CLAIMS, "exp": NOW + ahead, "iat": NOW - 30}, KEY)
    with pytest.raises(Rejected) as refusal:
        assertion.verify(compact.verify(compact.parse(text), PUBLIC), rules=RULES, now=statement.live_until, whole=b"")
    assert refusal.value.reason is Reason.EXPIRED
