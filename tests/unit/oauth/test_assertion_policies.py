"""The policies of each rule, and observed breaches."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.jose import compact, keys
from affiant.jose.claims import LEEWAY
from affiant.oauth import assertion
from affiant.oauth.assertion import ClientAssertion, Rules
from affiant.reasons import Reason

ISSUER, NOW = "https://as.example", 1_800_000_000
ENDPOINT = f"{ISSUER}/token"
KEY = keys.generate("Ed25519")
CLAIMS: dict[str, Any] = {"iss": "c", "sub": "c", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j"}
OTHER = "https://other.example"


def _judge(claims: dict[str, Any], header: dict[str, Any] | None = None, **rules: Any) -> ClientAssertion:
    text = compact.sign(header or {}, {n: v for n, v in {**CLAIMS, **claims}.items() if v != "absent"}, KEY)
    verified = compact.verify(compact.parse(text), KEY.public())
    made = Rules(issuer=ISSUER, token_endpoint=ENDPOINT, **rules)
    return assertion.verify(verified, rules=made, now=NOW, whole=text.encode())


BROKEN = [
    ("audience", {"aud": ENDPOINT}, Reason.AUDIENCE),
    ("audience", {"aud": [ISSUER, ENDPOINT]}, Reason.AUDIENCE),
    ("audience", {"aud": f"{ISSUER}/"}, Reason.AUDIENCE),
    ("lifetime", {"exp": NOW + 3600}, Reason.LIFETIME),
    ("lifetime", {"iat": NOW - 3600}, Reason.IAT_OLD),
    ("jti", {"jti": "absent"}, Reason.JTI),
    ("jti", {"jti": ""}, Reason.JTI),
    ("jti", {"jti": 5}, Reason.JTI),
]


@pytest.mark.parametrize(("rule", "claims", "reason"), BROKEN)
def test_strict_refuses_and_observation_tells(rule: str, claims: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(Rejected) as refusal:
        _judge(claims)
    assert refusal.value.reason is reason
    assert _judge(claims, observe=frozenset({rule})).observed == (reason,)
    others = frozenset(assertion.RULES) - {rule}
    with pytest.raises(Rejected):
        _judge(claims, observe=others)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": OTHER},
        {"aud": [ISSUER, OTHER]},
        {"aud": []},
        {"aud": [ISSUER, 1]},
        {"aud": "absent"},
        {"aud": {ISSUER: 1}},
        {"exp": NOW - 30},
        {"exp": "absent"},
        {"exp": NOW + 3631},
        {"iat": NOW - 3631},
        {"iat": NOW + 31},
        {"nbf": NOW + 31},
        {"nbf": "x"},
    ],
)
def test_observation_has_a_floor(claims: dict[str, Any]) -> None:
    """No setting accepts an assertion for another server, or without an end."""
    with pytest.raises(Rejected):
        _judge(claims, observe=frozenset(assertion.RULES), audience="legacy", lifetime="legacy", jti="legacy")


def test_good_assertion_has_no_observation() -> None:
    assert _judge({}, observe=frozenset(assertion.RULES)).observed == ()


@pytest.mark.parametrize(
    ("policy", "claims", "reason"),
    [
        ({"audience": "legacy"}, {"aud": ENDPOINT}, Reason.AUDIENCE),
        ({"lifetime": "legacy"}, {"exp": NOW + 3600}, Reason.LIFETIME),
        ({"lifetime": "legacy"}, {"iat": NOW - 3600}, Reason.IAT_OLD),
        ({"jti": "legacy"}, {"jti": "absent"}, Reason.JTI),
    ],
)
def test_legacy_records_breaches_of_strict(policy: dict[str, Any], claims: dict[str, Any], reason: Reason) -> None:
    """Observation shows which clients would be rejected by a stricter policy."""
    assert _judge(claims, **policy).observed == (reason,)


def test_short_lifetime() -> None:
    assert _judge({"exp": NOW + 90}, lifetime="short").observed == ()
    with pytest.raises(Rejected) as refusal:
        _judge({"exp": NOW + 91}, lifetime="short")
    assert (refusal.value.reason, refusal.value.expected) == (Reason.LIFETIME, "exp at most 60 s ahead")
    assert _judge({"exp": NOW + 91}, lifetime="short", observe=frozenset({"lifetime"})).observed == (Reason.LIFETIME,)


@pytest.mark.parametrize("typ", ["JWT", None, "jwt"])
def test_explicit_type(typ: str | None) -> None:
    header = {"typ": typ} if typ else {}
    assert _judge({}, {"typ": "client-authentication+jwt"}, typ="explicit").observed == ()
    with pytest.raises(Rejected) as refusal:
        _judge({}, header, typ="explicit")
    assert refusal.value.reason is Reason.TYP_EXPLICIT
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
        (100, {"iat": "absent"}, False),
        (3660, {"iat": "absent"}, False),
        (3661, {"iat": "absent"}, True),
    ],
)
def test_assertion_from_before_a_restore_is_rejected(ahead: int, claims: dict[str, Any], is_taken: bool) -> None:
    """The server forgot at NOW which jtis were used; no assertion from before gets in until all must have expired."""
    members = {**CLAIMS, "exp": NOW + ahead + 60, "iat": NOW, **claims}
    text = compact.sign({}, {n: v for n, v in members.items() if v != "absent"}, KEY)
    rules = Rules(issuer=ISSUER, token_endpoint=ENDPOINT, lifetime="legacy", made_after=NOW)
    verified = compact.verify(compact.parse(text), KEY.public())
    if is_taken:
        assert assertion.verify(verified, rules=rules, now=NOW + ahead, whole=b"").client_id == "c"
        return
    with pytest.raises(Rejected) as refusal:
        assertion.verify(verified, rules=rules, now=NOW + ahead, whole=b"")
    assert refusal.value.reason is Reason.BEFORE_RESTORE


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
        "jti": st.sampled_from(["absent", "", "j", 5, None, "x" * 257]),
        "sub": st.sampled_from(["absent", "c"]),
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
    with pytest.raises(Rejected) as refusal:
        _judge({"sub": "absent"})
    assert (refusal.value.reason, refusal.value.got) == (Reason.ISS_SUB, "no sub")
    for rules in ({"subject": "legacy"}, {"observe": frozenset({"subject"})}):
        found = _judge({"sub": "absent"}, **rules)
        assert (found.client_id, found.label, found.observed) == ("c", None, (Reason.ISS_SUB,))


@pytest.mark.parametrize("sub", ["", None, 1, "d", ["c"]])
def test_a_sub_that_is_there_names_the_client_under_every_policy(sub: object) -> None:
    """Only a missing one can be left to the policy: another one may be the name of a user."""
    unverified = compact.parse(compact.sign({}, {**CLAIMS, "sub": sub}, KEY))
    with pytest.raises(Rejected) as refusal:
        assertion.check_names(unverified, client_id=None)
    assert refusal.value.reason is Reason.ISS_SUB
