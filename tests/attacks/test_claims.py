"""T4: the claims of an assertion whose signature holds. Who proved who it is, is told which claim is wrong."""

import json
from typing import Any

import pytest
from tests.attacks.bench import OTHER_API, Bench, assertion, claims, form, post, raw, row

from affiant.errors.reasons import Reason
from affiant.testing import ABSENT, ISSUER, NOW

NO_INSTANTS: list[Any] = [str(NOW + 60), True, None, [], {}, [NOW + 60]]
NO_NAMES: list[Any] = ["", 5, [], None, {}, True]


def _spelt(name: str, literal: str) -> str:
    """The good assertion with this claim spelt just so."""
    text = json.dumps({**claims(), name: "HERE"}).replace('"HERE"', literal)
    return raw(None, text.encode())


def _twice(name: str, value: str) -> str:
    return raw(None, b"{" + json.dumps({name: value}).encode()[1:-1] + b"," + json.dumps(claims()).encode()[1:])


SPELT_ISSUERS = (
    f"{ISSUER}/", "https://AS.example", "HTTPS://as.example", f"{ISSUER}:443", f"{ISSUER}?x=1", f"{ISSUER}#f", "https:%2f%2fas.example"
)  # fmt: skip
ODD_AUDIENCES: list[Any] = [[ISSUER, 1], {ISSUER: 1}, {"aud": ISSUER}, None, "", [], [[ISSUER]], 1, True]
NEAR_ISSUERS = (
    f"{ISSUER}.evil", f"{ISSUER}@evil", f"{ISSUER}evil", ISSUER[:-1], f" {ISSUER}", "http://as.example", "https://other.example"
)  # fmt: skip
ODD_ISSUERS: list[Any] = ["c2", "C1", "c1/", "nobody", "", 1, None, ["c1"], {"c1": 1}, True]
ODD_SUBJECTS: list[Any] = ["c2", "C1", "refreshing", "nobody", "", 1, None, ["c1"]]
REFUSED = [
    *(
        row(101, f"{name} missing", {name: ABSENT}, reason, rfc="7523 3")
        for name, reason in (("iss", Reason.ISS_SUB), ("aud", Reason.AUDIENCE), ("exp", Reason.EXP_MISSING))
    ),
    row(101, "jti missing", {"jti": ABSENT}, Reason.JTI),
    *(row(102, f"iss {iss!r}", {"iss": iss}, Reason.ISS_SUB, rfc="7523 3(1)") for iss in ODD_ISSUERS),
    row(102, "iss is a URL", {"iss": "https://c1"}, Reason.TRUST_UNKNOWN, rfc="7523 3(1)"),
    *(row(102, f"sub {sub!r}", {"sub": sub}, Reason.ISS_SUB, rfc="7523 3(2)") for sub in ODD_SUBJECTS),
    row(102, "no strings", {"iss": 1, "sub": 1}, Reason.ISS_SUB, rfc="7523 3(1)"),
    row(105, "endpoint", {"aud": f"{ISSUER}/token"}, Reason.AUDIENCE, rfc="7523 3(3)"),
    row(105, "endpoint in an array", {"aud": [f"{ISSUER}/token"]}, Reason.AUDIENCE, rfc="7523 3(3)"),
    row(107, "two", {"aud": [ISSUER, "https://other-as.example"]}, Reason.AUDIENCE, rfc="7523 3(3)"),
    row(107, "both", {"aud": [ISSUER, f"{ISSUER}/token"]}, Reason.AUDIENCE, rfc="7523 3(3)"),
    row(107, "issuer twice", {"aud": [ISSUER, ISSUER]}, Reason.AUDIENCE, rfc="7523 3(3)"),
    *(row(108, aud, {"aud": aud}, Reason.AUDIENCE, rfc="7523 3(3)") for aud in SPELT_ISSUERS),
    *(row(110, json.dumps(aud), {"aud": aud}, Reason.AUDIENCE, rfc="7523 3(3)") for aud in ODD_AUDIENCES),
    *(row(112, aud, {"aud": aud}, Reason.AUDIENCE, rfc="7523 3(3)") for aud in NEAR_ISSUERS),
    *(row(113, f"{ago} s ago", {"exp": NOW - ago}, Reason.EXPIRED, rfc="7523 3(4)") for ago in (30, 31, NOW)),
    row(114, "300 s ago", {"exp": NOW - 300}, Reason.EXPIRED, rfc="7523 3(4)"),
    row(115, "331 s ahead", {"exp": NOW + 331}, Reason.LIFETIME, rfc="7523 3(4)"),
    row(115, "milliseconds", {"exp": (NOW + 60) * 1000}, Reason.LIFETIME),
    *(row(117, json.dumps(exp), {"exp": exp}, Reason.EXP_MISSING, rfc="7523 3(10)") for exp in NO_INSTANTS),
    row(117, "huge", {"exp": 10**400}, Reason.EXP_MISSING),
    row(117, "-1", {"exp": -1}, Reason.EXPIRED),
    row(119, "iat 31 s ahead", {"iat": NOW + 31}, Reason.IAT_FUTURE),
    row(119, "iat 331 s ago", {"iat": NOW - 331}, Reason.IAT_OLD, rfc="7523 3(6)"),
    row(120, "nbf 61 s ahead", {"nbf": NOW + 61}, Reason.NOT_YET, rfc="7523 3(5)"),
    row(120, "nbf 31 s ahead", {"nbf": NOW + 31}, Reason.NOT_YET, rfc="7523 3(5)"),
    row(122, "iat after exp", {"iat": NOW + 61}, Reason.IAT_FUTURE),
    row(122, "nbf after exp", {"nbf": NOW + 61}, Reason.NOT_YET),
    row(122, "iat just after exp", {"iat": NOW + 20, "exp": NOW + 10}, Reason.TIME_CLAIM),
    row(122, "nbf just after exp", {"nbf": NOW + 20, "exp": NOW + 10}, Reason.TIME_CLAIM),
    row(122, "iat text", {"iat": "x"}, Reason.TIME_CLAIM, rfc="7523 3(10)"),
    row(122, "nbf null", {"nbf": None}, Reason.TIME_CLAIM, rfc="7523 3(10)"),
    row(122, "nbf a list", {"nbf": []}, Reason.TIME_CLAIM, rfc="7523 3(10)"),
    # A jti is any string of 1 to 256 characters, NUL included (below).
    *(row(124, repr(jti), {"jti": jti}, Reason.JTI, rfc="7523 3(10)") for jti in NO_NAMES),
    row(124, "257 characters", {"jti": "x" * 257}, Reason.JTI),
]  # fmt: skip


@pytest.mark.attack(101)
@pytest.mark.rfc(7523, "3")
async def test_missing_sub_is_judged_after_signature(bench: Bench) -> None:
    """Whether a client may leave it out is told to nobody who cannot sign for it."""
    unsigned = raw(None, {name: value for name, value in claims().items() if name != "sub"}, sign=lambda _: bytes(64))
    await bench.refused(post(form(assertion(sub=ABSENT))), Reason.ISS_SUB, claimed="c1", jti=None)
    await bench.refused(post(form(unsigned)), Reason.SIGNATURE, jti=None)
    await bench.change_client("c1", subject_policy="legacy")
    await bench.refused(post(form(unsigned)), Reason.SIGNATURE, jti=None)
    assert (await bench.send(post(form(assertion(sub=ABSENT))))).status == 200


@pytest.mark.parametrize(("change", "reason"), REFUSED)
async def test_refused(bench: Bench, change: dict[str, Any], reason: Reason) -> None:
    """The jti of the refused one, "j" but for 124, is good afterwards."""
    await bench.refused(post(form(assertion(**change))), reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(row(117, literal, _spelt("exp", literal), Reason.JWT_JSON) for literal in ("NaN", "Infinity", "1e400")),
        row(117, "-1.0", _spelt("exp", "-1.0"), Reason.EXPIRED),
        row(122, "nbf NaN", _spelt("nbf", "NaN"), Reason.JWT_JSON),
        row(126, "aud twice", _twice("aud", "https://evil.example"), Reason.JWT_JSON, rfc="7519 4"),
        row(126, "sub twice", _twice("sub", "c2"), Reason.JWT_JSON, rfc="7519 4"),
        row(126, "exp twice", _twice("exp", "x"), Reason.JWT_JSON, rfc="7519 4"),
        row(126, "iss twice", _twice("iss", "c1"), Reason.JWT_JSON, rfc="7519 4"),
    ],
)
async def test_spelling_refused(bench: Bench, text: str, reason: Reason) -> None:
    await bench.refused(post(form(text)), reason)


@pytest.mark.attack(101)
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "jti"])
async def test_claim_is_named(bench: Bench, name: str) -> None:
    reply = await bench.send(post(form(assertion(**{name: ABSENT}))))
    assert name in reply.json()["error_description"].split(";")[0].split()


@pytest.mark.attack(105)
async def test_expected_audience_is_named(bench: Bench) -> None:
    """By the design page: the claim, what was expected, and what came."""
    said = (await bench.send(post(form(assertion(aud=f"{ISSUER}/token"))))).json()["error_description"]
    assert said == f"aud must be the issuer of this server, alone; expected {ISSUER}; got {ISSUER}/token"


EXTRA = {"scope": "admin", "resource": OTHER_API, "roles": ["x"], "act": {"sub": "c2"}, "cnf": {"jkt": "x"}, "client_id": "c2", "nonce": "n"}  # fmt: skip
ISSUED = [
    row(106, "one", {"aud": ISSUER}, rfc="7523 3(3)"),
    row(106, "one in an array", {"aud": [ISSUER]}, rfc="7523 3(3)"),
    row(113, "5 s ago", {"exp": NOW - 5, "iat": NOW - 65}),
    row(113, "29 s ago", {"exp": NOW - 29, "iat": NOW - 89}, rfc="7523 3(4)"),
    row(115, "300 s ahead", {"exp": NOW + 300}),
    row(115, "330 s ahead", {"exp": NOW + 330}, rfc="7523 3(4)"),
    row(118, "half a second", {"exp": NOW + 59.5, "iat": NOW - 0.5, "nbf": float(NOW)}, rfc="7519 2"),
    row(118, "integral float", {"exp": float(NOW + 60)}, rfc="7519 2"),
    row(119, "iat 10 s ahead", {"iat": NOW + 10}),
    *(row(120, f"nbf {ahead} s ahead", {"nbf": NOW + ahead}, rfc="7523 3(5)") for ahead in (0, 8, 30)),
    row(123, "iat 330 s ago", {"iat": NOW - 330}, rfc="7523 3(6)"),
    row(123, "no iat", {"iat": ABSENT, "exp": NOW + 300}, rfc="7523 3(6)"),
    row(124, "256 characters", {"jti": "x" * 256}),
    row(124, "NUL", {"jti": "\0"}),
    row(128, "other claims", EXTRA, rfc="7523 3(8)"),
    row(129, "100 claims", {f"claim{i}": "x" * 40 for i in range(100)}),
]


@pytest.mark.rfc(7523, "2.2")
@pytest.mark.parametrize("change", ISSUED)
async def test_issued(bench: Bench, change: dict[str, Any]) -> None:
    """Within the rules; nothing of the assertion but its client reaches the token."""
    assert (await bench.issued(post(form(assertion(**change))), jti=change.get("jti", "j")))["scope"] == "r"


@pytest.mark.attack(118)
async def test_exponent(bench: Bench) -> None:
    await bench.issued(post(form(_spelt("exp", "18000000.6e2"))))
