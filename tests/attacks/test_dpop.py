"""T8: DPoP at the token endpoint and at an API, and row 141 of T5."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.attacks.bench import (
    API,
    API_URL,
    BOTH_GRANTS,
    BOUND,
    FILE,
    STOLEN_BY,
    TOKEN_URL,
    Bench,
    api_proof,
    assertion,
    basic,
    dpop,
    form,
    post,
    proof,
    public_jwk,
    raw,
    row,
    running,
)
from tests.rfc.conftest import guarded
from tests.rsa_keys import rsa_key

from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.keys import SecretKey
from affiant.oauth.binding.dpop import Nonces
from affiant.server.request.limits import Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ABSENT, ISSUER, NOW

RSA = rsa_key()
OFF_CURVE = {
    "kty": "EC",
    "crv": "P-256",
    "x": base64url.encode(bytes(31) + b"\1"),
    "y": base64url.encode(bytes(31) + b"\2"),
}
HUGE_RSA = {"kty": "RSA", "e": "AQAB", "n": base64url.encode(b"\xff" * 2048)}


def _unsigned(header: dict[str, Any], *, sign: Any = BOUND.sign) -> str:
    return raw(header, {"jti": "p", "htm": "POST", "htu": TOKEN_URL, "iat": NOW}, sign=sign)


NEGATIVE = [
    ("no typ", proof(header={"typ": ABSENT}), Reason.DPOP_TYPE),
    ("typ JWT", proof(header={"typ": "JWT"}), Reason.DPOP_TYPE),
    ("typ of an assertion", proof(header={"typ": "client-authentication+jwt"}), Reason.DPOP_TYPE),
    ("typ a number", proof(header={"typ": 1}), Reason.DPOP_TYPE),
    ("alg none", _unsigned({"typ": "dpop+jwt", "alg": "none", "jwk": public_jwk()}, sign=lambda _: b""), Reason.DPOP_ALGORITHM),
    ("no alg", _unsigned({"typ": "dpop+jwt", "jwk": public_jwk()}), Reason.DPOP_MALFORMED),
    ("alg of another key", _unsigned({"typ": "dpop+jwt", "alg": "RS256", "jwk": public_jwk()}), Reason.DPOP_ALGORITHM),
    ("a MAC under the public key", proof(by=SecretKey(json.dumps(public_jwk()).encode())), Reason.DPOP_ALGORITHM),
    ("no jwk", proof(header={"jwk": ABSENT}), Reason.DPOP_KEY),
    ("jwk a string", proof(header={"jwk": json.dumps(public_jwk())}), Reason.DPOP_KEY),
    ("jwk empty", proof(header={"jwk": {}}), Reason.DPOP_KEY),
    ("private jwk", proof(header={"jwk": BOUND.to_jwk()}), Reason.DPOP_KEY),
    ("private jwk, RSA", proof(RSA, header={"jwk": RSA.to_jwk()}), Reason.DPOP_KEY),
    ("another jwk", proof(header={"jwk": public_jwk(STOLEN_BY)}), Reason.DPOP_SIGNATURE),
    ("bad signature", proof(by=STOLEN_BY), Reason.DPOP_SIGNATURE),
    ("no signature", proof().rpartition(".")[0] + ".", Reason.DPOP_SIGNATURE),
    ("not a JWT", "x", Reason.DPOP_MALFORMED),
    ("five parts", "a.b.c.d.e", Reason.DPOP_MALFORMED),
    ("empty", "", Reason.DPOP_MALFORMED),
    ("two in one header", f"{proof()}, {proof(jti='q')}", Reason.DPOP_MALFORMED),
    ("crit", proof(header={"crit": ["x"]}), Reason.DPOP_MALFORMED),
    ("far too long", proof(more="x" * 12_000), Reason.DPOP_MALFORMED),
    ("no jti", proof(jti=ABSENT), Reason.DPOP_JTI),
    ("jti empty", proof(jti=""), Reason.DPOP_JTI),
    ("jti a number", proof(jti=1), Reason.DPOP_JTI),
    ("jti too long", proof(jti="x" * 257), Reason.DPOP_JTI),
    ("no htm", proof(htm=ABSENT), Reason.DPOP_METHOD),
    ("htm GET", proof(htm="GET"), Reason.DPOP_METHOD),
    ("htm post", proof(htm="post"), Reason.DPOP_METHOD),
    ("htm an array", proof(htm=["POST"]), Reason.DPOP_METHOD),
    ("no htu", proof(htu=ABSENT), Reason.DPOP_URL),
    ("htu a number", proof(htu=1), Reason.DPOP_URL),
    ("htu the issuer", proof(htu=ISSUER), Reason.DPOP_URL),
    ("htu of another path", proof(htu=f"{ISSUER}/other"), Reason.DPOP_URL),
    ("htu of another server", proof(htu="https://evil.example/token"), Reason.DPOP_URL),
    ("htu http", proof(htu="http://as.example/token"), Reason.DPOP_URL),
    ("htu relative", proof(htu="/token"), Reason.DPOP_URL),
    ("htu with a user", proof(htu="https://as.example@evil.example/token"), Reason.DPOP_URL),
    ("htu with a slash more", proof(htu=f"{TOKEN_URL}/"), Reason.DPOP_URL),
    ("no iat", proof(iat=ABSENT), Reason.DPOP_TIME),
    ("iat a string", proof(iat=str(NOW)), Reason.DPOP_TIME),
    ("iat true", proof(iat=True), Reason.DPOP_TIME),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [row(179, what, text, reason) for what, text, reason in NEGATIVE])
@pytest.mark.rfc(9449, "4.3")
@pytest.mark.rfc(9449, "5")
async def test_bad_proof_is_refused(bench: Bench, text: str, reason: Reason) -> None:
    """The assertion is not used up."""
    assert (reason.value.status, reason.value.error) == (400, "invalid_dpop_proof")
    await bench.refused(post(form(), dpop(text)), reason)


@pytest.mark.attack(179)
@pytest.mark.rfc(9449, "5")
async def test_two_proofs_are_refused(bench: Bench) -> None:
    await bench.refused(post(form(), dpop(proof()), dpop(proof(jti="q"))), Reason.DPOP_HEADERS)


@pytest.mark.parametrize(("text", "reason"), [row(179, what, text, reason) for what, text, reason in NEGATIVE])
@pytest.mark.rfc(9449, "7.1")
async def test_api_refuses_same(bench: Bench, text: str, reason: Reason) -> None:
    """Whatever is wrong with htm and htu for POST /token is wrong with it for GET /orders too."""
    async with guarded(bench, "/orders", need=("r",)) as api:
        reply = await api.get("/orders", headers=_shown(await _token(bench), text))
    _check(reply, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "changes", [row(179, "ath missing", {"ath": ABSENT}), row(179, "ath of another token", {"ath": "x"}), row(179, "ath a number", {"ath": 1})]
)  # fmt: skip
async def test_proof_is_for_one_token(bench: Bench, changes: dict[str, Any]) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        _check(await api.get("/orders", headers=_shown(token, api_proof(token, **changes))), "invalid_dpop_proof")
        assert (await api.get("/orders", headers=_shown(token, api_proof(token)))).status_code == 200


@pytest.mark.attack(181)
@pytest.mark.parametrize(
    "changes", [{}, {"htu": f"{TOKEN_URL}?q=1"}, {"htu": "HTTPS://AS.example:443/token#x"}, {"iat": NOW + 1}]
)
@pytest.mark.rfc(9449, "11.1")
async def test_proof_is_used_once(bench: Bench, changes: dict[str, Any]) -> None:
    """The same, and one that differs in anything but jti and key."""
    first = await bench.send(bench.signed("c1", dpop(proof())))
    assert (first.status, first.json()["token_type"]) == (200, "DPoP")
    await bench.refused(post(form(), dpop(proof(**changes))), Reason.DPOP_REPLAYED)


@pytest.mark.attack(181)
@pytest.mark.rfc(9449, "11.1")
async def test_proof_is_used_once_at_an_api(bench: Bench) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        assert (await api.get("/orders", headers=_shown(token, api_proof(token)))).status_code == 200
        for changes in ({}, {"htu": f"{API_URL}?q=1"}, {"iat": NOW - 1}):
            again = api_proof(token, **changes)
            _check(await api.get("/orders", headers=_shown(token, again)), "invalid_dpop_proof")
        for _ in range(60):  # until it is too old: at no second between
            bench.clock.now += 1
            _check(await api.get("/orders", headers=_shown(token, api_proof(token))), "invalid_dpop_proof")


@pytest.mark.attack(181)
async def test_proof_is_used_once_despite_a_clock_jump(bench: Bench) -> None:
    """Ahead, where it forgets what has ended there, and back."""
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        captured = api_proof(token)
        assert (await api.get("/orders", headers=_shown(token, captured))).status_code == 200
        bench.clock.now += 120
        other = api_proof(token, jti="other", iat=int(bench.clock.now))
        assert (await api.get("/orders", headers=_shown(token, other))).status_code == 200
        bench.clock.now -= 120
        assert (await api.get("/orders", headers=_shown(token, captured))).status_code == 401


@pytest.mark.attack(181)
async def test_race_with_one_proof(bench: Bench) -> None:
    """All at once: at the token endpoint each with an assertion of its own, and at an API with one token."""
    what = [bench.signed("c1", dpop(proof(jti="raced"))) for _ in range(20)]
    statuses = [reply.status for reply in await asyncio.gather(*map(bench.send, what))]
    assert sorted(statuses) == [200, *[400] * 19]
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        headers = _shown(token, api_proof(token, jti="raced"))
        await api.get("/orders", headers=_shown(token, api_proof(token, jti="first")))  # the keys are fetched by this
        replies = await asyncio.gather(*(api.get("/orders", headers=headers) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200, *[401] * 19]


@pytest.mark.attack(180)
@pytest.mark.parametrize(
    "htu",
    ["https://as.example/token#", "https://as.example:/token", "https://as.example:0443/token", "https://as.example/./token",
     "https://as.example/x/../token", "https://as.example/%74oken", "https://%61s.example/token", "https://AS.EXAMPLE/token?"],
)  # fmt: skip
@pytest.mark.rfc(9449, "4.3")
async def test_equivalent_urls_are_one(bench: Bench, htu: str) -> None:
    """RFC 9449 section 4.3 item 9: taken, and still the same proof, so good once."""
    assert (await bench.send(bench.signed("c1", dpop(proof(htu=htu))))).status == 200
    await bench.refused(post(form(), dpop(proof())), Reason.DPOP_REPLAYED)


@pytest.mark.attack(180)
@pytest.mark.parametrize(
    "htu",
    ["https://as.example/TOKEN", "https://as.example/token%2F", "https://as.example/token;x", "https://as.example//token",
     "https://as.example.:443/token", "https://as.example:444/token", "https://user@as.example/token", "https:/token",
     "https://as.example/introspect", "https://as.example/revoke", f"{ISSUER}/token\n", f" {ISSUER}/token", ""],
)  # fmt: skip
async def test_near_urls_are_refused(bench: Bench, htu: str) -> None:
    await bench.refused(post(form(), dpop(proof(htu=htu))), Reason.DPOP_URL)


@pytest.mark.attack(182)
async def test_two_keys_may_share_jti(bench: Bench) -> None:
    for key in (BOUND, STOLEN_BY):
        assert (await bench.send(bench.signed("c1", dpop(proof(key))))).status == 200
    first, second = await _token(bench, jti="one"), await _token(bench, STOLEN_BY, jti="two")
    async with guarded(bench, "/orders", need=("r",)) as api:
        for token, key in ((first, BOUND), (second, STOLEN_BY)):
            assert (await api.get("/orders", headers=_shown(token, api_proof(token, key)))).status_code == 200


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        row(183, "oct with HS256", {"kty": "oct", "k": base64url.encode(bytes(32))}, "HS256"),
        row(183, "oct with ES256", {"kty": "oct", "k": base64url.encode(bytes(32))}, "ES256"),
        row(183, "RSA of 16384 bits", HUGE_RSA, "RS256"),
        row(183, "off the curve", OFF_CURVE, "ES256"),
        row(
            183,
            "at infinity",
            {**public_jwk(), "x": base64url.encode(bytes(32)), "y": base64url.encode(bytes(32))},
            "ES256",
        ),
        row(183, "x of no field", {**public_jwk(), "x": base64url.encode(b"\xff" * 32)}, "ES256"),
        row(183, "x of 4,000 bytes", {**public_jwk(), "x": base64url.encode(b"\1" * 4000)}, "ES256"),
        row(183, "x with padding", {**public_jwk(), "x": f"{public_jwk()['x']}="}, "ES256"),
        row(183, "another curve", {**public_jwk(), "crv": "secp256k1"}, "ES256"),
        row(183, "RSA of 1024 bits", {**HUGE_RSA, "n": base64url.encode(b"\xff" * 128)}, "RS256"),
        row(183, "RSA with e=1", {**RSA.public().to_jwk(), "e": "AQ"}, "RS256"),
        row(183, "RSA with a huge e", {**RSA.public().to_jwk(), "e": base64url.encode(b"\xff" * 256)}, "RS256"),
        row(
            183, "of small order", {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(b"\1" + bytes(31))}, "Ed25519"
        ),
        row(183, "for key agreement", {"kty": "OKP", "crv": "X25519", "x": base64url.encode(b"\x09" * 32)}, "Ed25519"),
        row(183, "for encryption", {**public_jwk(), "use": "enc"}, "ES256"),
        row(183, "kty a list", {**public_jwk(), "kty": ["EC"]}, "ES256"),
        row(183, "symmetric beside EC", {**public_jwk(), "k": base64url.encode(bytes(32))}, "ES256"),
    ],
)
async def test_unusable_key_is_rejected_quickly(bench: Bench, key: dict[str, Any], alg: str) -> None:
    reason = Reason.DPOP_ALGORITHM if alg == "HS256" else Reason.DPOP_KEY
    what = post(form(), dpop(_unsigned({"typ": "dpop+jwt", "alg": alg, "jwk": key}, sign=lambda _: bytes(64))))
    bare = min([await _seconds(bench, post(form(), dpop("x"))) for _ in range(5)])
    took = min([await _seconds(bench, what) for _ in range(5)])
    assert took - bare < 0.001
    await bench.refused(what, reason)


async def _seconds(bench: Bench, what: Any) -> float:
    before = time.perf_counter()
    await bench.send(what)
    return time.perf_counter() - before


@pytest.mark.attack(184)
@pytest.mark.parametrize(
    ("offset", "is_good"),
    [(-10, True), (10, True), (0, True), (-61, False), (61, False), (-3600, False), (3600, False)],
)
@pytest.mark.rfc(9449, "4.3")
async def test_proof_is_of_now(bench: Bench, offset: int, is_good: bool) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        reply = await api.get("/orders", headers=_shown(token, api_proof(token, iat=NOW + offset)))
    assert reply.status_code == (200 if is_good else 401)
    what = post(form(), dpop(proof(iat=NOW + offset)))
    if is_good:
        assert (await bench.send(what)).status == 200
    else:
        await bench.refused(what, Reason.DPOP_TIME)


@pytest.mark.attack(184)
@pytest.mark.parametrize("offset", [-3600, -61, 0, 61, 3600])
async def test_nonce_replaces_iat(demanding: Bench, offset: int) -> None:
    nonce = await _nonce(demanding)
    reply = await demanding.send(post(form(), dpop(proof(iat=NOW + offset, nonce=nonce))))
    assert (reply.status, reply.json()["token_type"]) == (200, "DPoP")


@pytest.mark.attack(185)
async def test_foreign_nonces_are_refused(demanding: Bench) -> None:
    """Made up, of another key, of an hour ago, of tomorrow, or of another kind: none of them, and nothing is used up."""
    good, other = Nonces(demanding.master_key.digest("dpop nonces")), Nonces(bytes(32))
    assert await _nonce(demanding) == good.current(NOW)
    wrong = ["", "x", 1, None, [good.current(NOW)], other.current(NOW), good.current(NOW)[:-1], f"{good.current(NOW)}A"]
    wrong += [good.current(NOW + step) for step in (-3600, -600, 300, 3600)]
    for number, nonce in enumerate(wrong):
        what = post(form(), dpop(proof(jti=f"n{number}", nonce=nonce)))
        reply = await demanding.refused(what, Reason.DPOP_NONCE, jti=None)
        assert (reply.headers["dpop-nonce"], reply.json()["error"]) == (good.current(NOW), "use_dpop_nonce")
    assert not await demanding.used_up("j")
    for step in (0, -300):
        what = demanding.signed("c1", dpop(proof(jti=f"s{step}", nonce=good.current(NOW + step))))
        assert (await demanding.send(what)).status == 200


@pytest.mark.attack(185)
async def test_proof_with_nonce_is_good_once(demanding: Bench) -> None:
    """As long as its nonce is taken, whatever its iat says."""
    nonce = await _nonce(demanding)
    assert (await demanding.send(demanding.signed("c1", dpop(proof(nonce=nonce))))).status == 200
    for seconds in (0, 61, 299):
        demanding.clock.now = NOW + seconds
        what = demanding.signed("c1", dpop(proof(nonce=nonce, iat=NOW + seconds)))
        assert (await demanding.send(what)).json()["error"] == "invalid_dpop_proof"


@pytest.mark.attack(186)
@pytest.mark.rfc(9449, "7.2")
async def test_bound_token_needs_its_key(bench: Bench) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        _check(await api.get("/orders", headers={"authorization": f"Bearer {token}"}), "invalid_token", "Bearer")
        _check(await api.get("/orders", headers={"authorization": f"DPoP {token}"}), "invalid_token")
        challenge = (await api.get("/orders")).headers["www-authenticate"]
        assert challenge == f'Bearer realm="{API}", scope="r", DPoP algs="{" ".join(ASYMMETRIC)}"'
        _check(await api.get("/orders", headers=_shown(token, api_proof(token, STOLEN_BY))), "invalid_token")
        assert (await api.get("/orders", headers=_shown(token, api_proof(token)))).status_code == 200


@pytest.mark.attack(187)
@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Basic", "MAC", "DPoP,Bearer"])
async def test_bound_token_by_any_other_name(bench: Bench, scheme: str) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        headers = {"authorization": f"{scheme} {token}", "dpop": api_proof(token)}
        assert (await api.get("/orders", headers=headers)).status_code in (400, 401)
        for extra in (("authorization", f"Bearer {token}"), ("authorization", f"DPoP {token}")):
            given = [*_shown(token, api_proof(token, jti=extra[1][:6])).items(), extra]
            assert (await api.get("/orders", headers=given)).status_code in (400, 401)
        assert (await api.get(f"/orders?access_token={token}", headers={"dpop": api_proof(token)})).status_code == 401


@pytest.mark.attack(187)
async def test_proof_for_another_endpoint(bench: Bench) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        _check(await api.get("/orders", headers=_shown(token, proof(jti="t"))), "invalid_dpop_proof")
    await bench.refused(post(form(), dpop(api_proof(token))), Reason.DPOP_METHOD)


@pytest.mark.attack(186)
async def test_bearer_with_a_proof(bench: Bench) -> None:
    token = await _token(bench)
    async with guarded(bench, "/orders", need=("r",)) as api:
        headers = {**_shown(token, api_proof(token)), "authorization": f"Bearer {token}"}
        _check(await api.get("/orders", headers=headers), "invalid_token", "Bearer")


@pytest.mark.attack(188)
@pytest.mark.rfc(9449, "5")
@pytest.mark.rfc(9449, "5.2")
@pytest.mark.rfc(9449, "6.1")
async def test_bound_client_must_send_a_proof(bench: Bench) -> None:
    text = assertion(iss="bound", sub="bound")
    assert Reason.DPOP_MISSING.value[1:3] == (400, "invalid_dpop_proof")
    await bench.refused(post(form(text)), Reason.DPOP_MISSING, claimed="bound", jti=None)
    assert not await bench.used_up("j", "bound")
    reply = await bench.send(post(form(text), dpop(proof())))
    assert (reply.status, reply.json()["token_type"]) == (200, "DPoP")
    assert _claims(reply.json()["access_token"])["cnf"] == {"jkt": BOUND.public().thumbprint}


@pytest.mark.attack(189)
async def test_bound_client_refresh_needs_a_proof(bench: Bench) -> None:
    """A header without a proof is none either; the refresh token that comes along is not spent."""
    await bench.add_client("bound-too", dpop_bound_access_tokens=True, grant_types=BOTH_GRANTS)
    made = assertion(iss="bound-too", sub="bound-too", jti="first")
    token = (await bench.send(post(form(made), dpop(proof())))).json()["refresh_token"]
    text = assertion(iss="bound-too", sub="bound-too", jti="second")
    use = form(text, grant_type="refresh_token", refresh_token=token)
    for headers in ((), (dpop(""),), (dpop(" "),), ((b"dpop", b"\xff"),), ((b"x-dpop", proof().encode()),)):
        reply = await bench.send(post(use, *headers))
        assert (reply.status, reply.json()["error"]) == (400, "invalid_dpop_proof")
        assert not await bench.used_up("second", "bound-too")
    members = (await bench.send(post(use, dpop(proof(jti="again"))))).json()
    assert _claims(members["access_token"])["cnf"] == {"jkt": BOUND.public().thumbprint}


@pytest.mark.attack(190)
async def test_failed_request_spends_the_proof(bench: Bench) -> None:
    denied = await bench.send(bench.signed("c1", dpop(proof()), scope="admin"))
    assert (denied.status, denied.json()["error"]) == (400, "invalid_scope")
    reply = await bench.refused(post(form(), dpop(proof())), Reason.DPOP_REPLAYED)
    assert reply.json()["error_uri"].endswith("/errors/dpop.replayed")
    assert "new proof" in Reason.DPOP_REPLAYED.value.fix


@pytest.mark.attack(141)
@pytest.mark.rfc(9449, "8")
async def test_missing_nonce_spends_nothing(demanding: Bench) -> None:
    """The very same assertion is good with the nonce; and then it is a replay."""
    reply = await demanding.refused(post(form(), dpop(proof())), Reason.DPOP_NONCE, jti=None)
    assert (reply.status, reply.json()["error"]) == (400, "use_dpop_nonce")
    assert not await demanding.used_up("j")
    nonce = reply.headers["dpop-nonce"]
    good = await demanding.send(post(form(), dpop(proof(nonce=nonce))))
    assert (good.status, good.headers["dpop-nonce"]) == (200, nonce)
    again = await demanding.send(post(form(), dpop(proof(nonce=nonce, jti="q"))))
    assert (again.status, again.json()["error_uri"].rpartition("/")[2]) == (401, Reason.REPLAYED.code)


@pytest.mark.attack(141)
async def test_missing_nonces_are_limited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shows a used assertion again and again spends none of the client's tokens, and soon writes nothing more."""
    rates = Rates(failures=Rate(3, 0.001), tokens=Rate(5, 0.001))
    async with running(SqliteStore(tmp_path / FILE), caplog, monkeypatch, rates, dpop_nonces="on") as bench:
        nonce = await _nonce(bench)
        assert (await bench.send(post(form(), dpop(proof(nonce=nonce))))).status == 200
        statuses = [(await bench.send(post(form(), dpop(proof(jti=f"s{n}"))))).status for n in range(8)]
        assert (statuses[:3], statuses[-1]) == ([400] * 3, 429)
        assert (await bench.send(bench.signed("c1", dpop(proof(nonce=nonce, jti="mine"))))).status == 200


async def test_proof_of_an_unknown_client_is_ignored(bench: Bench) -> None:
    """A stranger cannot make the server verify or remember a proof."""
    await bench.refused(
        post(form(assertion(iss="nobody", sub="nobody")), dpop(proof())), Reason.CLIENT_UNKNOWN, claimed="nobody"
    )
    assert (await bench.send(bench.signed("c1", dpop(proof())))).status == 200


async def test_secret_and_proof(bench: Bench) -> None:
    """Every method may bring a proof; nothing but the proof is used up where it is refused."""
    secret = basic("client_secret_basic", bench.secrets["client_secret_basic"])
    grant = {"grant_type": "client_credentials"}
    first = await bench.send(post(grant, secret, dpop(proof())))
    again = await bench.send(post(grant, secret, dpop(proof())))
    assert (first.json()["token_type"], again.json()["error"]) == ("DPoP", "invalid_dpop_proof")


@pytest.mark.rfc(9449, "7.1")
async def test_bearer_tokens_are_as_before(bench: Bench) -> None:
    members = await bench.issued(post())
    assert "cnf" not in _claims(members["access_token"])
    async with guarded(bench, "/orders", need=("r",)) as api:
        assert (
            await api.get("/orders", headers={"authorization": f"Bearer {members['access_token']}"})
        ).status_code == 200
        shown = _shown(members["access_token"], api_proof(members["access_token"]))
        _check(await api.get("/orders", headers=shown), "invalid_token")


@pytest.fixture
async def demanding(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A server that demands nonces."""
    async with running(MemoryStore(), caplog, monkeypatch, dpop_nonces="on") as made:
        yield made


async def _nonce(bench: Bench) -> str:
    return (await bench.send(bench.signed("c1", dpop(proof(jti="asking"))))).headers["dpop-nonce"]


async def _token(bench: Bench, key: keys.PrivateKey = BOUND, *, jti: str = "token") -> str:
    return str((await bench.good(bench.signed("c1", dpop(proof(key, jti=jti)))))["access_token"])


def _claims(token: str) -> dict[str, Any]:
    return compact.parse(token).claims


def _shown(token: str, text: str) -> dict[str, str]:
    return {"authorization": f"DPoP {token}", "dpop": text}


def _check(reply: httpx2.Response, error: str, scheme: str = "DPoP") -> None:
    """401, told in the scheme that was used, with both schemes named and nothing of what was sent."""
    (value,) = reply.headers.get_list("www-authenticate")
    assert (reply.status_code, reply.json()["error"]) == (401, error), value
    assert value.startswith(f'{scheme} realm="{API}", error="{error}", ')
    assert value.count('algs="ES256 ') == 1
    assert {"Bearer", "DPoP"} <= set(value.replace(",", " ").split(" "))
    assert reply.headers["cache-control"] == "no-store"
