"""Tokens of platforms: other kinds of JWT, keys of others, and issuers that are hostile, slow or away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.attacks.bench import (
    API,
    BOUND,
    OTHER,
    OTHER_API,
    STRANGER,
    TYPE,
    Bench,
    dpop,
    post,
    proof,
    public_jwk,
    running,
)
from tests.attacks.test_jwks_uri import AT_A_JWKS_URI
from tests.key_server import HOST, KeyServer, reply
from tests.key_server import running as publishing
from tests.rsa_keys import rsa_key
from tests.wire import Request

from affiant import testing
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.server.registry import fetch
from affiant.storage.memory import MemoryStore
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ABSENT, ISSUER, KEY, NOW
from affiant.testing.messages import changed

CI, CLUSTER, AWAY = "https://ci.example", "https://cluster.example", "https://away.example"
SIGNER, CLUSTERS, NEXT = (keys.generate("ES256") for _ in range(3))
RSA = rsa_key()
FETCHED = tuple(reason for reason in AT_A_JWKS_URI if reason not in (Reason.JWKS_STALE, Reason.JKU))


def jwks(*signers: PrivateKey) -> str:
    return json.dumps({"keys": [signer.public().to_jwk() for signer in signers]})


@dataclass
class Place:
    bench: Bench
    server: KeyServer

    async def trust(self, name: str, issuer: str, **members: Any) -> None:
        """Trust an issuer: its subject "job" is the client of the same name as the trust."""
        await self.bench.store.trusts.add(Trust(name, issuer, **members))
        await self.bench.store.rules.add(Rule(name, name, name, (ClaimCondition("sub", ("job",)),)))
        await self.bench.add_client(name, names.FEDERATED_JWT)

    async def let_in(self, what: Request) -> dict[str, Any]:
        """Return the claims of the access token."""
        return compact.parse((await self.bench.good(what))["access_token"]).claims

    async def refused(self, what: Request, reason: Reason) -> dict[str, Any]:
        if b"client_assertion" in what.body:
            return (await self.bench.denied(what, reason))[1]
        sent = await self.bench.send(what)
        record = await self.bench.last()
        assert (sent.status, sent.json()["error"], record["reason"]) == (400, "invalid_grant", reason.code)
        return record


@pytest.fixture
async def place(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with publishing() as server, running(MemoryStore(), caplog, monkeypatch, publisher=server) as bench:
        made = Place(bench, server)
        server.publish(NEXT.public().to_jwk())
        await made.trust("ci", CI, jwks=jwks(SIGNER, RSA))
        await made.trust("cluster", CLUSTER, jwks=jwks(CLUSTERS))
        await made.trust("away", AWAY, jwks_uri=server.uri(), replay="reused")
        yield made


def token(signer: Signer = SIGNER, issuer: str = CI, /, *, header: Any = None, **changes: Any) -> str:
    claims = {"iss": issuer, "sub": "job", "aud": ISSUER, "iat": NOW, "exp": NOW + 300}
    jti = base64url.encode(keys.generate("ES256").kid.encode())  # never sent before
    return compact.sign(header or {}, changed({**claims, "jti": jti}, changes), signer)


def carried(text: str, *, carrier: str = "client_assertion", **more: str) -> Request:
    if carrier == "assertion":
        return post({"grant_type": names.JWT_BEARER, "assertion": text, **more})
    return post(testing.form(text, **more))


# --- T6: what a platform's token gets


@pytest.mark.attack(325)
@pytest.mark.parametrize("carrier", ["client_assertion", "assertion"])
async def test_stolen_token_that_is_bound_to_a_key(place: Place, carrier: str) -> None:
    """It gets a token for the same key alone, also where it authenticates the client and no other token is exchanged."""
    holder = {"jkt": BOUND.public().thumbprint}
    for number, cnf in enumerate((holder, {**holder, "x5t#S256": "x"}, {"jwk": BOUND.public().to_jwk()}, {}, "x")):
        for key in (None, OTHER):
            what = carried(token(cnf=cnf), carrier=carrier)
            proofs = (dpop(proof(key, jti=f"p-{number}")),) if key is not None else ()
            await place.bench.denied(replace(what, headers=(*what.headers, *proofs)), Reason.EXCHANGE_UNBOUND)
    form = {**testing.form(token(cnf=holder)), "token": "x"}
    await place.bench.denied(post(form, path="/revoke"), Reason.EXCHANGE_UNBOUND)
    own = carried(token(cnf=holder), carrier=carrier)
    claims = await place.let_in(replace(own, headers=(*own.headers, dpop(proof(BOUND)))))
    assert claims["cnf"] == holder


@pytest.mark.attack(151)
async def test_scope_beyond_the_rule(place: Place) -> None:
    """A ceiling is no grant: what the token itself asks for is never read."""
    await place.bench.store.rules.update("ci", lambda rule: replace(rule, scope=("r",)))
    reply_ = await place.bench.send(carried(token(scope="w"), scope="w"))
    assert (reply_.status, reply_.json()["error"]) == (400, "invalid_scope")
    assert (await place.let_in(carried(token(scope="w"))))["scope"] == "r"


@pytest.mark.attack(155)
async def test_resource_beyond_the_rule(place: Place) -> None:
    await place.bench.change_client("ci", resources=(API, OTHER_API))
    await place.bench.store.rules.update("ci", lambda rule: replace(rule, resources=(API,)))
    for resource in (OTHER_API, "/relative", f"{API}#fragment", "https://unknown.example"):
        reply_ = await place.bench.send(carried(token(), resource=resource))
        assert (reply_.status, reply_.json()["error"]) == (400, "invalid_target"), resource
    assert (await place.let_in(carried(token(), resource=API)))["aud"] == API


@pytest.mark.attack(158)
@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
async def test_platform_token_gives_no_refresh_token(place: Place, carrier: str) -> None:
    await place.bench.change_client("ci", grant_types=("client_credentials", names.JWT_BEARER, "refresh_token"))
    answer = await place.bench.good(carried(token(), carrier=carrier))
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}
    assert answer["expires_in"] <= 300


@pytest.mark.attack(162)
async def test_forged_tokens_lock_nothing_out(place: Place) -> None:
    """1,000 forgeries in the name of a trusted issuer."""
    forger = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": SIGNER.kid})
    for number in range(1000):
        sent = await place.bench.send(carried(token(forger)))
        assert sent.status == 401
        if number % 100 == 0:
            await place.let_in(carried(token()))


# --- Other kinds of JWT


async def _own_access_token(place: Place) -> str:
    return str((await place.bench.good(place.bench.signed()))["access_token"])


async def _own_feed(place: Place) -> str:
    reply_ = await place.bench.send(Request(method="GET", path="/revocations", headers=()))
    assert reply_.status == 200
    return reply_.body.decode()


OURS: dict[str, Callable[[Place], Any]] = {"access token": _own_access_token, "revocation feed": _own_feed}


@pytest.mark.attack(313)
@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
@pytest.mark.parametrize("kind", OURS)
async def test_jwt_of_this_server_is_no_platform_token(place: Place, kind: str, carrier: str) -> None:
    """Even with a trust in this server itself, put into the store past the check."""
    text = await OURS[kind](place)
    jwks_reply = await place.bench.send(Request(method="GET", path="/jwks", headers=()))
    sent = carried(text, carrier=carrier)
    assert (await place.bench.send(sent)).status in (400, 401)
    await place.trust("itself", ISSUER, jwks=jwks_reply.body.decode(), replay="reused")
    await place.bench.store.rules.update(
        "itself", lambda rule: replace(rule, conditions=(ClaimCondition("iss", (ISSUER,)),))
    )
    assert (await place.bench.send(sent)).status in (400, 401)
    assert (await place.bench.last())["outcome"] == "refused"


@pytest.mark.attack(314)
@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({"typ": "at+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "application/at+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "dpop+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "logout+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "secevent+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "oauth-id-jag+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "txntoken+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "token-introspection+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": "client-authentication+jwt"}, {}, Reason.JWT_TYP),
        ({"typ": 5}, {}, Reason.JWT_TYP),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, Reason.JWT_TYP),
        ({}, {"aud": "an-application", "nonce": "n", "azp": "an-application"}, Reason.TRUST_AUDIENCE),  # an ID token
        ({}, {"aud": [ISSUER, "an-application"]}, Reason.TRUST_AUDIENCE),
        ({}, {"aud": f"{ISSUER}/introspect"}, Reason.TRUST_AUDIENCE),
    ],
)
async def test_other_jwt_of_a_trusted_issuer_is_no_platform_token(
    place: Place, header: dict[str, Any], claims: dict[str, Any], reason: Reason
) -> None:
    """Signed by the right key, for the right subject, and made for something else."""
    await place.refused(carried(token(header=header, **claims)), reason)


@pytest.mark.attack(314)
async def test_dpop_proof_is_no_platform_token(place: Place) -> None:
    await place.refused(carried(proof(SIGNER)), Reason.JWT_TYP)


@pytest.mark.attack(315)
async def test_public_key_is_no_secret(place: Place) -> None:
    """HS256 with every form in which the public key of a trust is known, and no signature at all."""
    public = SIGNER.public().to_jwk()
    for secret in (json.dumps(public).encode(), jwks(SIGNER, RSA).encode(), base64url.decode(public["x"])):
        for alg in ("HS256", "HS512"):
            mac = SecretKey((secret * 3)[:512], alg)
            text = token(mac, header={"kid": SIGNER.kid})
            await place.refused(carried(text), Reason.KEY_ALGORITHM)
    for alg in ("none", "None", "NONE"):
        head = base64url.encode(json.dumps({"alg": alg, "kid": SIGNER.kid}).encode())
        sent = await place.bench.send(carried(f"{head}.{token().split('.')[1]}."))
        assert sent.status == 401
        assert (await place.bench.last())["reason"] == "key.algorithm"


@pytest.mark.attack(315)
async def test_key_of_another_algorithm(place: Place) -> None:
    """The key of a trust verifies its own algorithms, and of these only what the trust takes."""
    await place.let_in(carried(token(RSA)))
    await place.bench.store.trusts.update("ci", lambda trust: replace(trust, algorithms=("ES256",)))
    await place.refused(carried(token(RSA)), Reason.KEY_ALGORITHM)
    lying = keys.parse_private_jwk({**RSA.to_jwk(), "kid": SIGNER.kid})
    await place.refused(carried(token(lying)), Reason.KEY_ALGORITHM)
    await place.let_in(carried(token()))


@pytest.mark.attack(315)
@pytest.mark.parametrize("kid", [SIGNER.kid, STRANGER.kid, None])
async def test_token_brings_no_key_of_its_own(place: Place, kid: str | None) -> None:
    """jwk, jku, x5u and x5c are never looked at."""
    forger = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": kid or SIGNER.kid})
    for header in (
        {"jwk": public_jwk(STRANGER)},
        {"jku": place.server.uri()},
        {"x5u": place.server.uri()},
        {"x5c": ["AAAA"]},
    ):
        reason = Reason.SIGNATURE if forger.kid == SIGNER.kid else Reason.TRUST_KEY_UNKNOWN
        await place.refused(carried(token(forger, header=header)), reason)
    assert place.server.hits == 0


# --- Keys and names of others


@pytest.mark.attack(312)
@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
async def test_key_of_one_trust_signs_for_no_other(place: Place, carrier: str) -> None:
    """Cross-tenant: each issuer's keys are its own, under whatever kid."""
    for signer, issuer in ((SIGNER, CLUSTER), (CLUSTERS, CI), (NEXT, CI)):
        what = carried(token(signer, issuer), carrier=carrier)
        await place.refused(what, Reason.TRUST_KEY_UNKNOWN)
    same = keys.parse_private_jwk({**CLUSTERS.to_jwk(), "kid": SIGNER.kid})
    await place.refused(carried(token(same, CI), carrier=carrier), Reason.SIGNATURE)


@pytest.mark.attack(312)
async def test_client_id_chooses_among_rules_of_the_trust_alone(place: Place) -> None:
    """A token never speaks for the client of another trust, nor for one with a key of its own."""
    for client_id in ("cluster", "c1", "nobody"):
        await place.refused(carried(token(), client_id=client_id), Reason.RULE_NONE)


@pytest.mark.attack(320)
async def test_assertion_of_a_client_is_no_platform_token(place: Place) -> None:
    """Iss and sub say whose it is: a key of one kind proves nothing of the other."""
    await place.trust("like-c1", "c1", jwks=jwks(SIGNER), replay="reused")
    # The issuer is named like the client, and its key signs what the client would sign.
    await place.refused(carried(token(SIGNER, "c1", sub="c1"), carrier="client_assertion"), Reason.KEY_UNKNOWN)
    # The client's key signs what the issuer would sign.
    await place.refused(carried(token(KEY, "c1", sub="job")), Reason.TRUST_KEY_UNKNOWN)
    await place.bench.good(place.bench.signed("c1"))


@pytest.mark.attack(320)
async def test_own_client_named_like_a_spiffe_id_keeps_its_key(place: Place) -> None:
    name, own = "spiffe://acme.example/billing", keys.generate("ES256")
    await place.bench.add_client(name, key=own)
    await place.trust("acme", "spiffe://acme.example", jwks=jwks(SIGNER), replay="reused")
    await place.bench.good(place.bench.signed(name))
    forged = token(SIGNER, name, sub=name)
    await place.refused(carried(forged, carrier="client_assertion"), Reason.KEY_UNKNOWN)
    svid = token(own, iss=ABSENT, sub=name)
    await place.refused(post({**testing.form(svid), "client_assertion_type": TYPE}), Reason.TRUST_KEY_UNKNOWN)


@pytest.mark.attack(320)
@pytest.mark.parametrize("path", ["/introspect", "/client-keys"])
async def test_platform_token_is_taken_at_token_and_revoke_alone(place: Place, path: str) -> None:
    form = {"client_assertion": token(), "client_assertion_type": TYPE, "token": "x", "action": "add"}
    sent = await place.bench.send(post(form, path=path))
    assert sent.status == 401


# --- T10: the keys of an issuer, at run time


@pytest.mark.attack(216, 217, 218, 222, 226, 316)
@pytest.mark.parametrize("reason", FETCHED, ids=lambda reason: reason.code)
async def test_issuer_that_is_away_or_hostile(place: Place, reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.5)
    case = AT_A_JWKS_URI[reason]
    await place.bench.store.trusts.update("away", lambda trust: replace(trust, jwks_uri=place.server.uri(case.host)))
    case.spoil(place.server)
    record = await place.refused(carried(token(NEXT, AWAY)), Reason.TRUST_KEYS)
    assert record["detail"].startswith(f"trust away: {reason.code}")
    await place.let_in(carried(token()))


@pytest.mark.attack(217, 316)
async def test_ten_thousand_keys_are_not_read(place: Place) -> None:
    member = NEXT.public().to_jwk()
    place.server.answer = reply({"keys": [{**member, "kid": f"k{number}"} for number in range(10_000)]})
    begun = time.perf_counter()
    record = await place.refused(carried(token(NEXT, AWAY)), Reason.TRUST_KEYS)
    assert "jwks.too_large" in record["detail"]
    place.bench.clock.advance(30)
    place.server.answer = reply({"keys": [{"kty": "EC", "kid": str(number)} for number in range(1000)]})
    record = await place.refused(carried(token(NEXT, AWAY)), Reason.TRUST_KEYS)
    assert "at most 64 are read" in record["detail"]
    assert time.perf_counter() - begun < 2


@pytest.mark.attack(220, 316)
async def test_keys_that_change_each_time_are_fetched_twice_in_half_a_minute(place: Place) -> None:
    """An issuer that never has the key of the token before: no request loops."""
    hits = []
    for number in range(120):
        place.bench.clock.advance(1)
        place.server.publish(keys.generate("ES256").public().to_jwk())
        named = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": f"k{number}"})
        assert (await place.bench.send(carried(token(named, AWAY)))).status == 401
        hits.append(place.server.hits)
    assert all(later - before <= 3 for before, later in zip(hits, hits[30:], strict=False)), hits


@pytest.mark.attack(218, 316)
async def test_slow_issuer_delays_its_own_tokens_alone(place: Place) -> None:
    """A byte a second: clients with keys, published keys and tokens of other trusts go on as before."""
    bench = place.bench

    async def quiet() -> list[float]:
        times = []
        for number in range(60):
            what = (carried(token()), carried(token(CLUSTERS, CLUSTER)), bench.signed())[number % 3]
            begun = time.perf_counter()
            await bench.good(what)
            times.append(time.perf_counter() - begun)
        return sorted(times)

    await quiet()
    idle = await quiet()
    place.server.answer = drops
    begun = time.monotonic()
    slow = [asyncio.create_task(bench.send(carried(token(NEXT, AWAY)))) for _ in range(150)]
    await asyncio.sleep(0.1)
    busy = await quiet()
    assert busy[30] < 2 * idle[30] + 0.005
    assert busy[57] < 2 * idle[57] + 0.02
    assert {(await task).status for task in slow} == {401}
    assert time.monotonic() - begun < 4
    assert place.server.hits == 1
    print(f"median {idle[30] * 1e3:.2f} ms idle, {busy[30] * 1e3:.2f} ms beside 150 that wait")


async def drops(writer: asyncio.StreamWriter) -> None:
    """A byte each second, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(1)


@pytest.mark.attack(45, 306)
async def test_refusals_before_the_signature_are_one_text(place: Place) -> None:
    """A stranger does not learn whether a trust is disabled, has no such key, or cannot fetch its keys."""
    await place.trust("ended", "https://off.example", jwks=jwks(SIGNER), enabled=False)
    forger = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": SIGNER.kid})
    place.server.vanish()
    told = set()
    for what, reason in (
        (carried(token(SIGNER, "https://off.example")), Reason.TRUST_DISABLED),
        (carried(token(forger)), Reason.SIGNATURE),
        (carried(token(STRANGER)), Reason.TRUST_KEY_UNKNOWN),
        (carried(token(NEXT, AWAY)), Reason.TRUST_KEYS),
        (carried(token(SecretKey(bytes(32)))), Reason.KEY_ALGORITHM),
    ):
        sent = await place.bench.send(what)
        members = sent.json()
        told.add((sent.status, members["error"], members["error_uri"], len(sent.body)))
        assert (await place.bench.last())["reason"] == reason.code
    assert len(told) == 1, told
    assert HOST not in str(told)
