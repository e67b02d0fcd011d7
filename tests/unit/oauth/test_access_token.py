"""The rules of RFC 9068 on plain values. The same over HTTP: tests/rfc/test_rfc9068.py."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.oauth import access_token
from affiant.oauth.access_token import AccessToken, AccessTokenClaims, Expected

ISSUER, API, NOW = "https://as.example", "https://api.example", 1_800_000_000
KEY = keys.generate("Ed25519")
PUBLIC = KEY.public()
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "s",
    "client_id": "c",
    "aud": API,
    "exp": NOW + 600,
    "iat": NOW,
    "jti": "j",
    "scope": "a b",
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**20), 10**20)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def _judge(claims: dict[str, Any], *, typ: object = "at+jwt", now: float = NOW) -> AccessToken:
    unverified = compact.parse(compact.sign({"typ": typ}, claims, KEY))
    return access_token.verify(compact.verify(unverified, PUBLIC), Expected(ISSUER, API, now))


def _reason(claims: dict[str, Any], *, typ: object = "at+jwt", now: float = NOW) -> Reason:
    with pytest.raises(Rejected) as refusal:
        _judge(claims, typ=typ, now=now)
    return refusal.value.reason


@pytest.mark.parametrize("scope", ["", "a", "a b"])
@pytest.mark.parametrize("aud", [API, ("https://other.example", API)])
async def test_what_is_built_verifies(scope: str, aud: str | tuple[str, ...]) -> None:
    claims = AccessTokenClaims(iss=ISSUER, sub="s", client_id="c", aud=aud, exp=NOW + 1, iat=NOW, jti="j", scope=scope)
    unverified = compact.parse(await access_token.build(claims, KEY))
    assert unverified.header == {"typ": "at+jwt", "alg": "Ed25519", "kid": KEY.kid}
    token = access_token.verify(compact.verify(unverified, PUBLIC), Expected(ISSUER, API, NOW))
    assert (token.client_id, token.sub, token.jti, token.expires_at) == ("c", "s", "j", NOW + 1)
    assert token.scopes == frozenset(scope.split(" ") if scope else ())


async def test_an_empty_scope_is_left_out() -> None:
    claims = AccessTokenClaims(iss=ISSUER, sub="s", client_id="c", aud=API, exp=1, iat=0, jti="j", scope="")
    assert "scope" not in compact.parse(await access_token.build(claims, KEY)).claims


@given(name=st.sampled_from([*CLAIMS, "nbf", "cnf", "x"]), value=JSON)
def test_verify_never_fails_otherwise(name: str, value: object) -> None:
    try:
        token = _judge({**CLAIMS, name: value})
    except Rejected as refusal:
        assert refusal.reason.name.startswith("TOKEN_")
    else:
        assert token.client_id
        assert name != "cnf"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": ISSUER + "/"}, Reason.TOKEN_ISSUER),
        ({"aud": [[API]]}, Reason.TOKEN_AUDIENCE),
        ({"aud": f"{API} x"}, Reason.TOKEN_AUDIENCE),
        ({"exp": 10**16}, Reason.TOKEN_CLAIM),
        ({"nbf": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"sub": "x" * 257}, Reason.TOKEN_CLAIM),
        ({"client_id": ""}, Reason.TOKEN_CLAIM),
        ({"scope": "a  b"}, Reason.TOKEN_CLAIM),
        ({"scope": ""}, Reason.TOKEN_CLAIM),
        ({"cnf": None}, Reason.TOKEN_BINDING),
    ],
)
def test_each_fault_has_its_reason(claims: dict[str, Any], reason: Reason) -> None:
    assert _reason({**CLAIMS, **claims}) is reason


@pytest.mark.parametrize("name", ["sub", "client_id", "jti", "exp", "iat"])
def test_a_missing_claim_is_named_in_the_detail(name: str) -> None:
    with pytest.raises(Rejected, match="claim") as refusal:
        _judge({key: value for key, value in CLAIMS.items() if key != name})
    assert name in refusal.value.detail


def test_the_type_is_judged_first() -> None:
    """A token of another kind is refused as such, whatever else is wrong with it."""
    assert _reason({}, typ="JWT") is Reason.TOKEN_TYPE


def test_the_leeway_is_an_argument() -> None:
    unverified = compact.parse(compact.sign({"typ": "at+jwt"}, CLAIMS, KEY))
    verified = compact.verify(unverified, PUBLIC)
    with pytest.raises(Rejected):
        access_token.verify(verified, Expected(ISSUER, API, NOW + 600, leeway=0))
