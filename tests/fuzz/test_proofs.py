"""The reader of DPoP proofs and the form that their URLs are compared in: their own refusals only, and soon."""

import json
from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.house import FOREIGN, STRANGER, sign
from tests.fuzz.strategies import INDEX, MAC, ODD_VALUES, TEXTS, VALUES, some, spelt
from tests.fuzz.test_fuzz import in_both_profiles
from tests.fuzz.test_parsers import soon

from affiant.errors import Rejected
from affiant.jose.keys import PrivateKey
from affiant.oauth.binding import dpop
from affiant.testing import KEY, NOW

URL = "https://api.example/orders"
_KEYS = (KEY, KEY, FOREIGN, STRANGER)
_MEMBERS = ("jti", "htm", "htu", "iat", "ath", "nonce")
_HEADER = ("typ", "alg", "jwk", "kid", "crit")
_PIECES = st.sampled_from(
    ("https://", "http://", "HTTPS:", "api.example", "API.example", "[::1]", ":443", ":", ":0443", "/orders", "/", "..",
     ".", "%6f", "%2F", "%", "%zz", "?a=b", "#c", "@", "user", "\\", "\u00e9", " ", "\n", "\x00", "//", ";", "%00", "*")
)  # fmt: skip
_URLS = st.one_of(st.lists(_PIECES, max_size=8).map("".join), st.just(URL), TEXTS)
_LONG = (
    *("https://api.example" + piece * 1000 for piece in ("/..", "/.", "%41", "//", "?", "a", "/x/..")),
    *("https://" + piece * 8000 for piece in ("a", "%", "[", ":", ".", "@")),
    "https" * 4000,
)


@st.composite
def _proofs(draw: st.DrawFn) -> str:
    """A proof, rightly signed over whatever it says, and then perhaps damaged."""
    key: PrivateKey = draw(st.sampled_from(_KEYS))
    claims: dict[str, object] = {"jti": "j", "htm": "GET", "htu": URL, "iat": NOW, "ath": dpop.hash_of("token")}
    for name in draw(some(_MEMBERS)):
        claims[name] = draw(_URLS if name == "htu" else VALUES)
    header: dict[str, object] = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.public().to_jwk()}
    for name in draw(some(_HEADER, is_rare=True)):
        header[name] = draw(VALUES)
    jwk = header["jwk"]
    for name in draw(some(("kty", "crv", "x", "y", "alg", "use", "d", "x5c"), is_rare=True)):
        header["jwk"] = {**(jwk if isinstance(jwk, dict) else {}), name: draw(VALUES)}
    text = sign(draw(spelt(st.just(header))), draw(spelt(st.just(claims))), key)
    at = draw(INDEX) % len(text)
    unsigned = f"{text.rpartition('.')[0]}.{'A' * 86}"
    damaged = (text[:at], text[:at] + "A" + text[at + 1 :], f"{text}=", text * 30, unsigned)
    return draw(st.sampled_from((*(text,) * 12, *damaged)))


@in_both_profiles
def test_bad_proofs_are_rejected(profile: settings) -> None:
    """dpop.verify raises a DPOP_* reason and nothing else; what it takes is for this request, of this time."""
    seen = Counter[str]()

    @settings(profile, max_examples=max(750, profile.max_examples // 2))  # fewer reach too few reasons
    @given(text=st.one_of(_proofs(), _proofs(), _proofs(), st.text(max_size=80)))
    def holds(text: str) -> None:
        read = partial(dpop.verify, method="GET", urls=(URL,), now=NOW, access_token="token")
        try:
            proof = soon(partial(read, [text.encode("utf-8", "surrogatepass")]))
        except Rejected as refusal:
            assert refusal.reason.code.startswith("dpop.")
            (refusal.expected + refusal.got + refusal.detail).encode()
            seen[refusal.reason.code] += 1
            return
        seen["accepted"] += 1
        assert (len(proof.digest), NOW <= proof.live_until <= NOW + 90) == (32, True)

    holds()
    print(sorted(seen.items()))
    assert seen["accepted"] >= sum(seen.values()) / 20, seen
    assert len(seen) >= 10, f"the examples reach too few reasons: {sorted(seen)}"


@in_both_profiles
def test_url_has_one_form(profile: settings) -> None:
    """What is brought into it stays in it; whatever else there is raises ValueError, and soon."""

    @settings(profile, max_examples=profile.max_examples // 2)
    @given(url=st.one_of(_URLS, st.sampled_from(_LONG)))
    def holds(url: str) -> None:
        try:
            formed = soon(partial(dpop.normalise, url))
        except ValueError:
            return
        assert dpop.normalise(formed) == formed
        assert formed.isascii()
        assert not {"?", "#", "@", " ", "\\"} & set(formed.split("://", 1)[1].partition("/")[0])

    holds()


@pytest.mark.parametrize("name", _MEMBERS)
def test_odd_claims_are_rejected(name: str) -> None:
    for value in ODD_VALUES:
        claims = {"jti": "j", "htm": "GET", "htu": URL, "iat": NOW, name: value}
        header = {"typ": "dpop+jwt", "alg": KEY.alg, "jwk": KEY.public().to_jwk()}
        text = sign(json.dumps(header).encode(), json.dumps(claims).encode(), KEY)
        try:
            dpop.verify([text.encode()], method="GET", urls=(URL,), now=NOW)
        except Rejected as refusal:
            assert refusal.reason.code.startswith("dpop.")


def test_mac_is_no_proof() -> None:
    text = sign(b'{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"eHg"}}', b"{}", MAC)
    with pytest.raises(Rejected) as caught:
        dpop.verify([text.encode()], method="GET", urls=(URL,), now=NOW)
    assert caught.value.reason.code == "dpop.algorithm"
