"""The rules of a client assertion on plain values, its policies, and observed breaches.

The same over HTTP: tests/rfc/test_rfc7523.py.
"""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.claims import LEEWAY
from affiant.oauth import assertion
from affiant.oauth.assertion import ClientAssertion, Rules
from affiant.testing import ABSENT, ISSUER, NOW

ENDPOINT, OTHER = f"{ISSUER}/token", "https://other.example"
KEY = keys.generate("Ed25519")
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


def _sign(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    members = {name: value for name, value in {**CLAIMS, **claims}.items() if value != ABSENT}
    return compact.sign(header or {}, members, KEY)


def _verify(text: str, *, now: float = NOW, **rules: Any) -> ClientAssertion:
    verified = compact.verify(compact.parse(text), KEY.public())
    made = Rules(issuer=ISSUER, token_endpoint=ENDPOINT, **rules)
    return assertion.verify(verified, rules=made, now=now, whole=text.encode())


def _judge(
    claims: dict[str, Any], header: dict[str, Any] | None = None, *, now: float = NOW, **rules: Any
) -> ClientAssertion:
    return _verify(_sign(claims, header), now=now, **rules)


def _refused(
    claims: dict[str, Any], header: dict[str, Any] | None = None, *, now: float = NOW, **rules: Any
) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        _judge(claims, header, now=now, **rules)
    return refusal.value


@given(TEXT.filter(bool).filter(lambda text: len(text) <= 256), st.integers(1, 300), st.floats(0, 2e9))
def test_what_is_built_verifies(client_id: str, lifetime: int, now: float) -> None:
    text = assertion.build(client_id, issuer=ISSUER, signer=KEY, now=now, lifetime=lifetime)
    assert assertion.check_names(compact.parse(text), client_id=client_id) == client_id
    statement = _verify(text, now=now)
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
    text = _sign({name: value})
    try:
        assertion.check_names(compact.parse(text), client_id=None)
        _verify(text)
    except Rejected as refusal:
        assert refusal.reason.value.error == "invalid_client"
        assert len(refusal.got) <= 1000


@given(typ=VALUES)
def test_a_type_never_fails_otherwise(typ: object) -> None:
    unverified = compact.parse(_sign({}, {"typ": typ}))
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
        assertion.check_names(compact.parse(_sign(claims)), client_id=client_id)
    assert refusal.value.reason is reason


def test_a_free_subject_is_a_label() -> None:
    """In the guide profile only; it never becomes the client."""
    unverified = compact.parse(_sign({"sub": "unique_request"}))
    assert assertion.check_names(unverified, client_id="c", free_subject=True) == "c"
    statement = _judge({"sub": "unique_request"})
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
    if is_allowed:
        assert _judge({"aud": aud}, audience=policy).client_id == "c"
    else:
        assert _refused({"aud": aud}, audience=policy).reason is Reason.AUDIENCE


def test_hash_of_the_jws_replaces_a_missing_jti() -> None:
    """Only where the rules allow it; also of a jti that cannot be remembered."""
    whole = _sign({"jti": ABSENT})
    assert _verify(whole, jti="legacy").jti_digest == sha256(f"jws:{whole}".encode()).digest()
    assert _judge({"jti": ""}, jti="legacy").jti_digest[:4] != sha256(b"jti:").digest()[:4]


@given(st.integers(-29, 330) | st.floats(-29, 330))
def test_a_jti_outlives_its_assertion(ahead: float) -> None:
    """In the second in which the jti may be forgotten, the assertion is rejected as expired, for any exp."""
    claims = {"exp": NOW + ahead, "iat": NOW - 30}
    assert _refused(claims, now=_judge(claims).live_until).reason is Reason.EXPIRED


BROKEN = [
    ("audience", {"aud": ENDPOINT}, Reason.AUDIENCE),
    ("audience", {"aud": [ISSUER, ENDPOINT]}, Reason.AUDIENCE),
    ("audience", {"aud": f"{ISSUER}/"}, Reason.AUDIENCE),
    ("lifetime", {"exp": NOW + 3600}, Reason.LIFETIME),
    ("lifetime", {"iat": NOW - 3600}, Reason.IAT_OLD),
    ("jti", {"jti": ABSENT}, Reason.JTI),
    ("jti", {"jti": ""}, Reason.JTI),
    ("jti", {"jti": 5}, Reason.JTI),
]


@pytest.mark.parametrize(("rule", "claims", "reason"), BROKEN)
def test_strict_refuses_and_observation_tells(rule: str, claims: dict[str, Any], reason: Reason) -> None:
    assert _refused(claims).reason is reason
    assert _judge(claims, observe=frozenset({rule})).observed == (reason,)
    _refused(claims, observe=frozenset(assertion.RULES) - {rule})


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": OTHER},
        {"aud": [ISSUER, OTHER]},
        {"aud": []},
        {"aud": [ISSUER, 1]},
        {"aud": ABSENT},
        {"aud": {ISSUER: 1}},
        {"exp": NOW - 30},
        {"exp": ABSENT},
        {"exp": NOW + 3631},
        {"iat": NOW - 3631},
        {"iat": NOW + 31},
        {"nbf": NOW + 31},
        {"nbf": "x"},
    ],
)
def test_observation_has_a_floor(claims: dict[str, Any]) -> None:
    """No setting accepts an assertion for another server, or without an end."""
    _refused(claims, observe=frozenset(assertion.RULES), audience="legacy", lifetime="legacy", jti="legacy")


def test_good_assertion_has_no_observation() -> None:
    assert _judge({}, observe=frozenset(assertion.RULES)).observed == ()


@pytest.mark.parametrize(
    ("policy", "claims", "reason"),
    [
        ({"audience": "legacy"}, {"aud": ENDPOINT}, Reason.AUDIENCE),
        ({"lifetime": "legacy"}, {"exp": NOW + 3600}, Reason.LIFETIME),
        ({"lifetime": "legacy"}, {"iat": NOW - 3600}, Reason.IAT_OLD),
        ({"jti": "legacy"}, {"jti": ABSENT}, Reason.JTI),
    ],
)
def test_legacy_records_breaches_of_strict(policy: dict[str, Any], claims: dict[str, Any], reason: Reason) -> None:
    """Observation shows which clients would be rejected by a stricter policy."""
    assert _judge(claims, **policy).observed == (reason,)


def test_short_lifetime() -> None:
    assert _judge({"exp": NOW + 90}, lifetime="short").observed == ()
    refusal = _refused({"exp": NOW + 91}, lifetime="short")
    assert (refusal.reason, refusal.expected) == (Reason.LIFETIME, "exp at most 60 s ahead")
    assert _judge({"exp": NOW + 91}, lifetime="short", observe=frozenset({"lifetime"})).observed == (Reason.LIFETIME,)


@pytest.mark.parametrize("typ", ["JWT", None, "jwt"])
def test_explicit_type(typ: str | None) -> None:
    header = {"typ": typ} if typ else {}
    assert _judge({}, {"typ": "client-authentication+jwt"}, typ="explicit").observed == ()
    assert _refused({}, header, typ="explicit").reason is Reason.TYP_EXPLICIT
    assert _judge({}, header, typ="explicit", observe=frozenset({"typ"})).observed == (Reason.TYP_EXPLICIT,)


def test_a_long_life_is_remembered_to_its_end() -> None:
    """The jti of an assertion that lives an hour is kept for that hour."""
    statement = _judge({"exp": NOW + 3600}, lifetime="legacy")
    assert statement.live_until >= NOW + 3600 + LEEWAY


@pytest.mark.parametrize(
    ("ahead", "claims", "is_taken"),
    [
        (0, {}, False),
        (30, {"iat": NOW + 30}, False),
        (31, {"iat": NOW + 31}, True),
        (100, {"iat": NOW + 30}, False),
        (100, {"iat": NOW + 90}, True),
        (100, {"iat": ABSENT}, False),
        (3660, {"iat": ABSENT}, False),
        (3661, {"iat": ABSENT}, True),
    ],
)
def test_assertion_from_before_a_restore_is_rejected(ahead: int, claims: dict[str, Any], is_taken: bool) -> None:
    """The server forgot at NOW which jtis were used; no assertion from before gets in until all must have expired."""
    claims = {"exp": NOW + ahead + 60, **claims}
    how: dict[str, Any] = {"now": NOW + ahead, "lifetime": "legacy", "made_after": NOW}
    if is_taken:
        assert _judge(claims, **how).client_id == "c"
    else:
        assert _refused(claims, **how).reason is Reason.BEFORE_RESTORE


LOOSEST = {rule: "strict" if rule == "typ" else "legacy" for rule in assertion.RULES}
SPELLINGS = st.sampled_from(
    [ISSUER, ENDPOINT, f"{ISSUER}/", f"{ENDPOINT}/", f"{ISSUER}//", OTHER, f"{ISSUER}/other", "", 1, None]
)
SENT = st.fixed_dictionaries(
    {},
    optional={
        "aud": SPELLINGS | st.lists(SPELLINGS, max_size=3),
        "exp": st.integers(NOW - 100, NOW + 4000),
        "iat": st.integers(NOW - 4000, NOW + 100),
        "jti": st.sampled_from([ABSENT, "", "j", 5, None, "x" * 257]),
        "sub": st.sampled_from([ABSENT, "c"]),
    },
)


def _is_let_in(claims: dict[str, Any], header: dict[str, Any], **rules: Any) -> bool:
    try:
        _judge(claims, header, **rules)
    except Rejected:
        return False
    return True


@settings(deadline=None)
@pytest.mark.parametrize("rule", assertion.RULES)
@given(claims=SENT, typ=st.sampled_from(["JWT", "client-authentication+jwt", None]), data=st.data())
def test_loosest_policy_accepts_all_observed_breaches(
    rule: str, claims: dict[str, Any], typ: str | None, data: st.DataObject
) -> None:
    """A client that is observed without a breach works on under the stricter policy."""
    policies = {name: data.draw(st.sampled_from(values)) for name, values in assertion.POLICIES.items()}
    header = {"typ": typ} if typ else {}
    if _is_let_in(claims, header, **policies, observe=frozenset({rule})):
        assert _is_let_in(claims, header, **{**policies, rule: LOOSEST[rule]})


def test_a_missing_sub_is_for_legacy_alone() -> None:
    refusal = _refused({"sub": ABSENT})
    assert (refusal.reason, refusal.got) == (Reason.ISS_SUB, "no sub")
    for rules in ({"subject": "legacy"}, {"observe": frozenset({"subject"})}):
        found = _judge({"sub": ABSENT}, **rules)
        assert (found.client_id, found.label, found.observed) == ("c", None, (Reason.ISS_SUB,))


@pytest.mark.parametrize("sub", ["", None, 1, "d", ["c"]])
def test_a_sub_that_is_there_names_the_client_under_every_policy(sub: object) -> None:
    """Only a missing one can be left to the policy: another one may be the name of a user."""
    unverified = compact.parse(_sign({"sub": sub}))
    with pytest.raises(Rejected) as refusal:
        assertion.check_names(unverified, client_id=None)
    assert refusal.value.reason is Reason.ISS_SUB
