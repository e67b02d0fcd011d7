"""Whatever a stranger sends: a refusal with a reason of the closed list, one record of it, and the next one is served."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.house import FOREIGN, STRANGER, House, sign
from tests.fuzz.strategies import MAC, ODD_VALUES, assertions, bodies, claims, headers, requests, spelt
from tests.wire import Request

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.compact import Unverified
from affiant.jose.keys import VerificationKey
from affiant.oauth import assertion
from affiant.oauth.parameters import form
from affiant.testing import ISSUER, KEY, NOW

ORDINARY = settings(
    max_examples=1_500, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
settings.register_profile("nightly", ORDINARY, max_examples=200_000, derandomize=False)
NIGHTLY = settings.get_profile("nightly")
in_both_profiles = pytest.mark.parametrize(
    "profile",
    [pytest.param(ORDINARY, id="ordinary"), pytest.param(NIGHTLY, id="nightly", marks=pytest.mark.soak)],
)
KEYS: dict[str, VerificationKey] = {
    "ES256": KEY.public(), "Ed25519": FOREIGN.public(), "EdDSA": FOREIGN.public(), "HS256": MAC
}  # fmt: skip
RULES = [
    assertion.Rules(ISSUER, f"{ISSUER}/token", audience=audience, typ=typ, lifetime=lifetime, jti=jti, observe=observe)
    for audience in assertion.POLICIES["audience"]
    for typ in assertion.POLICIES["typ"]
    for lifetime in assertion.POLICIES["lifetime"]
    for jti in assertion.POLICIES["jti"]
    for observe in (frozenset[str](), frozenset(assertion.RULES))
]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One server for all examples: what one leaves behind, the next one meets."""
    with House() as opened:
        yield opened


@in_both_profiles
def test_token_endpoint_answers_everything(house: House, profile: settings) -> None:
    """Attack catalogue, G1 to G3: JSON, no-store, at most 1 KiB, no 5xx, one record; the next valid request gets 200."""
    seen = Counter[str]()

    @profile
    @given(request=requests())
    def holds(request: Request) -> None:
        seen[house.judge(house.ask(request))] += 1
        house.serve_next()

    holds()
    print(sorted(seen.items()))
    assert seen["issued"] >= sum(seen.values()) / 20, f"too few examples got through: {seen}"
    assert len(seen) >= 35, f"the examples reach too few reasons: {sorted(seen)}"


@in_both_profiles
def test_reader_refuses_in_its_own_words(profile: settings) -> None:
    """compact.parse and verify, assertion.check_names and verify raise Rejected, and nothing else."""
    seen = Counter[str]()

    @profile
    @given(text=st.one_of(assertions(), assertions(), st.text(max_size=200)), rules=st.sampled_from(RULES))
    def holds(text: str, rules: assertion.Rules) -> None:
        try:
            judged = _judge(text, rules)
        except Rejected as refusal:
            seen[_told(refusal)] += 1
            return
        seen["accepted"] += 1
        assert (judged.live_until > NOW + 30, len(judged.jti_digest)) == (True, 32)

    holds()
    print(sorted(seen.items()))
    assert seen["accepted"] >= sum(seen.values()) / 20, f"too few examples got through: {seen}"
    assert len(seen) >= 18, f"the examples reach too few reasons: {sorted(seen)}"


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "typ", "kid", "alg"])
def test_odd_values_are_rejected(name: str) -> None:
    """Each value in each place, under each policy: what chance may miss is tried for certain."""
    for value in ODD_VALUES:
        header, members = {"alg": "HS256"}, {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "jti": "j"}
        (header if name in {"typ", "kid", "alg"} else members)[name] = value
        text = sign(json.dumps(header).encode(), json.dumps(members).encode(), MAC)
        for rules in RULES:
            try:
                _judge(text, rules)
            except Rejected as refusal:
                _told(refusal)


@in_both_profiles
def test_form_refuses_in_its_own_words(profile: settings) -> None:
    """form.parse raises Rejected and nothing else, and never gives a parameter that stands twice."""

    @profile
    @given(body=st.one_of(bodies(), st.binary(), st.text("a=&%+;0f\x00é").map(str.encode)))
    def holds(body: bytes) -> None:
        with contextlib.suppress(Rejected):
            parsed = form.parse(body)
            assert len(parsed.values) <= form.MAX_PARAMETERS
            repeated = {name for name, values in parsed.values.items() if len(values) > 1}
            assert repeated <= {"resource", "audience"}
            assert all(value for values in parsed.values.values() for value in values)

    holds()


@in_both_profiles
def test_json_is_read_like_the_standard_library(profile: settings) -> None:
    """Whatever the strict reader takes, the standard library reads the same from the same bytes."""

    @profile
    @given(header=spelt(headers("HS256", None)), payload=spelt(claims()))
    def holds(header: bytes, payload: bytes) -> None:
        with contextlib.suppress(Rejected):
            parsed = compact.parse(sign(header, payload, MAC))
            assert json.dumps([parsed.header, parsed.claims]) == json.dumps([json.loads(header), json.loads(payload)])
            assert isinstance(compact.verify(parsed, MAC).claims, dict) or parsed.alg != MAC.alg

    holds()


def test_strangers_key_never_verifies() -> None:
    """The keys of these examples do tell a stranger: else all of the above would prove little."""
    parsed = compact.parse(sign(b'{"alg":"ES256"}', b"{}", STRANGER))
    with pytest.raises(Rejected) as refusal:
        compact.verify(parsed, KEY.public())
    assert refusal.value.reason is Reason.SIGNATURE


def _judge(text: str, rules: assertion.Rules) -> assertion.ClientAssertion:
    unverified = compact.parse(text)
    assert isinstance(unverified, Unverified)
    assertion.check_names(unverified, client_id=None, free_subject=rules.jti == "legacy")
    verified = compact.verify(unverified, KEYS.get(unverified.alg, KEY.public()))
    return assertion.verify(verified, rules=rules, now=NOW, whole=text.encode("ascii"))


def _told(refusal: Rejected) -> str:
    """Its code, once it is certain that all of it can be written down."""
    assert isinstance(refusal.reason, Reason)
    for text in (refusal.expected, refusal.got, refusal.detail):
        text.encode("utf-8")
    return refusal.reason.code
