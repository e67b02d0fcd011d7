"""The keys of trusts: found by metadata or at an address, behind a private authority, uploaded, changed, and away."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.certificates import authority, make_authority
from tests.key_server import HOST, LOOPBACK, PUBLIC, Names
from tests.platforms.published import Published, redirected
from tests.platforms.published import running as publishing

from affiant.errors import ConfigError
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.server import app
from affiant.server.explain import captured, explanation
from affiant.server.registry.addresses import Allowed
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.fetch import Fetcher
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ISSUER, Server

ISSUED_BY, MOVED = "https://issuer.example/tenant", "https://moved.example/keys"
OPENID = f"{ISSUED_BY}/.well-known/openid-configuration"
OAUTH = "https://issuer.example/.well-known/oauth-authorization-server/tenant"
KEYS_AT = f"https://{HOST}/jwks"
KEY, NEXT, OTHER = (keys.generate("ES256") for _ in range(3))
TRUST = Trust("ci", ISSUED_BY, replay="reused")
DAY = 86_400


class Unsigned:
    """Signs nothing."""

    alg, kid = "none", KEY.kid

    def sign(self, _: bytes) -> bytes:
        return b""


def jwks(*signers: PrivateKey) -> dict[str, Any]:
    return {"keys": [signer.public().to_jwk() for signer in signers]}


@dataclass
class Place:
    server: Server
    published: Published

    def publish(self, url: str, body: object, status: int = 200) -> None:
        self.published.extra[url] = (status, body if isinstance(body, bytes) else json.dumps(body).encode())

    async def trust(self, trust: Trust = TRUST, **changes: Any) -> None:
        trust = replace(trust, **changes)
        await self.server.store.trusts.add(trust)
        await self.server.store.rules.add(Rule(trust.name, trust.name, trust.name, (ClaimCondition("sub", ("job",)),)))
        await self.server.add_client(trust.name, names.FEDERATED_JWT)

    def token(self, key: Signer = KEY, issuer: str = ISSUED_BY, header: Any = None) -> str:
        now = int(self.server.clock)
        claims = {"iss": issuer, "sub": "job", "aud": ISSUER, "iat": now, "exp": now + 300}
        return compact.sign(header or {}, claims, key)

    async def ask(self, text: str) -> tuple[int, Any]:
        reply = await self.server.post({"grant_type": names.JWT_BEARER, "assertion": text})
        return reply.status_code, reply.json()

    async def taken(self, key: Signer = KEY, **more: Any) -> dict[str, Any]:
        """Return the record of a token that must be taken."""
        status, answer = await self.ask(self.token(key, **more))
        assert status == 200, (answer, await self.last())
        return await self.last()

    async def refused(self, key: Signer = KEY, **more: Any) -> dict[str, Any]:
        """Return the record of a token that must be refused."""
        assert (await self.ask(self.token(key, **more)))[0] == 400
        return await self.last()

    async def last(self) -> dict[str, Any]:
        rows = await self.server.store.audit_log.export(limit=1000)
        record: dict[str, Any] = json.loads(
            [row.record for row in rows if b'"outcome":"explained"' not in row.record][-1]
        )
        return record

    @property
    def hits(self) -> list[str]:
        return self.published.hits


@pytest.fixture(scope="module")
def publisher() -> Iterator[Published]:
    with publishing(names=(HOST, "issuer.example", "moved.example", "other.example")) as published:
        yield published


@pytest.fixture
async def place(publisher: Published) -> AsyncIterator[Place]:
    publisher.extra.clear()
    publisher.hits.clear()
    async with Server.in_process(fetch=publisher.reach()) as server:
        await server.add_api("https://orders.example", is_default=True)
        made = Place(server, publisher)
        made.publish(OPENID, {"issuer": ISSUED_BY, "jwks_uri": KEYS_AT})
        made.publish(KEYS_AT, jwks(KEY))
        yield made


@pytest.mark.rfc(8414, "3")
async def test_keys_are_found_by_metadata_once(place: Place) -> None:
    await place.trust()
    for _ in range(20):
        await place.taken()
    assert place.hits == [OPENID, KEYS_AT]


@pytest.mark.rfc(8414, "3.1")
async def test_metadata_of_rfc_8414_are_looked_for_where_openid_has_none(place: Place) -> None:
    del place.published.extra[OPENID]
    place.publish(OAUTH, {"issuer": ISSUED_BY, "jwks_uri": KEYS_AT})
    await place.trust()
    await place.taken()
    assert place.hits == [OPENID, OAUTH, KEYS_AT]


async def test_discovery_url_and_jwks_uri_replace_the_metadata_of_the_issuer(place: Place) -> None:
    elsewhere = "https://other.example/cluster/openid-configuration"
    place.publish(elsewhere, {"issuer": ISSUED_BY, "jwks_uri": KEYS_AT})
    await place.trust(discovery_url=elsewhere)
    await place.taken()
    assert place.hits == [elsewhere, KEYS_AT]
    await place.server.store.trusts.update("ci", lambda trust: replace(trust, discovery_url=None, jwks_uri=MOVED))
    place.publish(MOVED, jwks(NEXT))
    await place.taken(NEXT)
    assert (await place.refused(KEY))["reason"] == "trust.key_unknown"


@pytest.mark.attack(311)
@pytest.mark.rfc(8414, "3.3")
@pytest.mark.parametrize(
    "issuer",
    [f"{ISSUED_BY}/", "https://issuer.example", "https://ISSUER.example/tenant", "https://evil.example", None, 5],
)
async def test_metadata_of_another_issuer_give_no_keys(place: Place, issuer: object) -> None:
    """Mix-up: the keys of one issuer would verify the tokens of another."""
    place.publish(OPENID, {"issuer": issuer, "jwks_uri": KEYS_AT})
    place.publish(OAUTH, {"issuer": ISSUED_BY, "jwks_uri": KEYS_AT})
    await place.trust()
    record = await place.refused()
    assert (record["reason"], record["expected"]) == ("trust.keys_unavailable", f"issuer {ISSUED_BY}")
    assert place.hits == [OPENID]


@pytest.mark.parametrize(
    "uri",
    [
        "http://keys.example/jwks",
        "file:///etc/passwd",
        "https://user@keys.example/",
        "https://keys.example:22/",
        None,
        7,
    ],
)
async def test_metadata_lead_to_https_alone(place: Place, uri: object) -> None:
    place.publish(OPENID, {"issuer": ISSUED_BY, "jwks_uri": uri})
    await place.trust()
    assert (await place.refused())["reason"] == "trust.keys_unavailable"
    assert place.hits == [OPENID]


@pytest.mark.attack(215)
@pytest.mark.parametrize("uri", ["https://10.0.0.1/jwks", "https://169.254.169.254/keys", "https://[::1]/jwks"])
async def test_metadata_lead_to_public_addresses_alone(place: Place, uri: str) -> None:
    """Attack: whoever writes the metadata of an issuer makes the server connect to its own network."""
    place.publish(OPENID, {"issuer": ISSUED_BY, "jwks_uri": uri})
    await place.trust()
    record = await place.refused()
    assert record["reason"] == "trust.keys_unavailable"
    assert "jwks.blocked" in record["detail"]
    assert place.hits == [OPENID]


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"<html>", 200, "jwks.malformed"),
        (b'{"issuer":"https://issuer.example/tenant","issuer":"x"}', 200, "jwks.malformed"),
        (b"[]", 200, "jwks.malformed"),
        (b" " * 65_537, 200, "jwks.too_large"),
        (b"{}", 500, "jwks.status"),
        (b"{}", 302, "jwks.status"),
    ],
)
async def test_metadata_that_are_none(place: Place, body: bytes, status: int, why: str) -> None:
    place.publish(OPENID, body, status)
    place.publish(OAUTH, body, status)
    await place.trust()
    record = await place.refused()
    assert (record["reason"], why in record["detail"]) == ("trust.keys_unavailable", True), record


async def test_issuer_that_moves_its_keys_is_followed_and_reported(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """The metadata are read again whenever the keys are: a copy of the address would stop at a move."""
    await place.trust()
    await place.taken()
    place.publish(OPENID, {"issuer": ISSUED_BY, "jwks_uri": MOVED})
    place.publish(MOVED, jwks(NEXT))
    place.server.clock.advance(301)
    with caplog.at_level(logging.WARNING):
        await place.taken(NEXT)
    assert f"the keys of trust ci are at another address now: {MOVED}, before {KEYS_AT}" in caplog.text
    detail = (await place.refused(KEY))["detail"]
    assert f"from another address than before, {KEYS_AT}" in detail


async def test_new_key_is_found_by_its_kid_and_under_the_old_one(place: Place) -> None:
    await place.trust()
    await place.taken()
    place.publish(KEYS_AT, jwks(KEY, NEXT))
    await place.taken(NEXT)
    await place.taken(KEY)
    assert len(place.hits) == 4
    place.server.clock.advance(60)
    same = keys.parse_private_jwk({**OTHER.to_jwk(), "kid": KEY.kid})
    place.publish(KEYS_AT, jwks(same))
    await place.taken(same)
    assert (await place.refused(KEY))["reason"] == "signature.invalid"


@pytest.mark.attack(317)
async def test_random_kids_of_a_trusted_issuer_cost_two_fetches(place: Place) -> None:
    await place.trust()
    await place.taken()
    before = len(place.hits)
    for number in range(200):
        named = keys.parse_private_jwk({**OTHER.to_jwk(), "kid": f"k{number}"})
        assert (await place.refused(named))["reason"] == "trust.key_unknown"
        if number % 20 == 0:
            place.server.clock.advance(1)
            await place.taken()
    assert len(place.hits) - before <= 2 * 2  # each of metadata and keys


@pytest.mark.attack(317)
async def test_stranger_causes_no_fetch(place: Place) -> None:
    """Neither a token of an unknown issuer, nor one of a disabled trust, nor one with a MAC or without a signature."""
    await place.trust()
    await place.trust(name="off", issuer="https://other.example", enabled=False)
    assert (await place.refused(issuer="https://unknown.example"))["reason"] == "trust.unknown"
    assert (await place.refused(issuer="https://other.example"))["reason"] == "trust.disabled"
    mac = keys.SecretKey(json.dumps(KEY.public().to_jwk()).encode(), "HS256")
    unsigned = place.token(Unsigned())
    for text in (place.token(mac), unsigned):
        assert (await place.ask(text))[0] == 400
        assert (await place.last())["reason"] == "key.algorithm"
    assert place.hits == []


async def test_outage_after_a_good_fetch(place: Place) -> None:
    """Known keys serve a day, and each use is recorded; then they are too old."""
    await place.trust()
    await place.taken()
    place.published.extra.clear()
    place.server.clock.advance(3600)
    assert (await place.taken())["observed"] == "jwks.stale"
    place.server.clock.advance(DAY)
    record = await place.refused()
    assert (record["reason"], "jwks.stale" in record["detail"]) == ("trust.keys_unavailable", True)


async def test_outage_at_first_use_is_told_to_the_operator_alone(place: Place) -> None:
    place.publish(OPENID, {}, 503)
    place.publish(OAUTH, {}, 503)
    await place.trust()
    _, answer = await place.ask(place.token())
    assert answer["error_uri"].endswith("/errors/client.authentication_failed")
    record = await place.last()
    assert record["reason"] == "trust.keys_unavailable"
    assert record["detail"].startswith("trust ci: jwks.status")
    place.publish(OPENID, {"issuer": ISSUED_BY, "jwks_uri": KEYS_AT})
    place.server.clock.advance(21)
    await place.taken()


async def test_uploaded_keys_have_an_age(place: Place) -> None:
    now = int(place.server.clock)
    await place.trust(jwks=json.dumps(jwks(KEY)), jwks_at=now - 12 * DAY)
    await place.taken()
    record = await place.refused(NEXT)
    assert record["reason"] == "trust.key_unknown"
    assert record["detail"] == "trust ci: its key set was uploaded 12 days ago"
    assert place.hits == []


async def test_uploaded_keys_that_cannot_be_read_stop_their_own_trust_alone(place: Place) -> None:
    await place.trust()
    await place.trust(name="broken", issuer="https://other.example", jwks='{"keys":[]}')
    await place.taken()
    assert (await place.refused(issuer="https://other.example"))["reason"] == "trust.key_unknown"


@pytest.mark.attack(313)
async def test_token_of_this_server_is_of_no_trust(place: Place) -> None:
    """Even if a trust in itself came into the store past the check."""
    await place.trust(name="self", issuer=ISSUER, jwks=json.dumps(jwks(KEY)))
    assert (await place.refused(issuer=ISSUER))["reason"] == "trust.unknown"


# --- Several trusts of one issuer


@pytest.mark.attack(316)
async def test_a_cluster_whose_issuer_is_away_does_not_delay_its_namesake(place: Place) -> None:
    await place.trust(name="near", jwks=json.dumps(jwks(KEY)))
    await place.trust(name="away", jwks_uri="https://other.example/gone")
    for second in range(60):
        place.server.clock.advance(1)
        assert (await place.taken())["rule"] == "near/near", second
    assert place.hits.count("https://other.example/gone") <= 4  # at first, and again after 20 seconds each
    place.publish("https://other.example/gone", jwks(NEXT))
    place.server.clock.advance(21)
    assert (await place.taken(NEXT))["rule"] == "away/away"


@pytest.mark.attack(312)
async def test_a_key_of_two_clusters_is_of_neither(place: Place) -> None:
    await place.trust(name="one", jwks=json.dumps(jwks(KEY, NEXT)))
    await place.trust(name="two", jwks_uri=KEYS_AT)
    record = await place.refused(KEY)
    assert (record["reason"], record["got"]) == ("trust.ambiguous", "one and two")
    assert (await place.taken(NEXT))["rule"] == "one/one"


# --- A private authority


@pytest.mark.attack(226)
async def test_private_authority_vouches_alone() -> None:
    """With `ca` the authorities of the machine count for nothing; without it, the private one does not."""
    cluster = make_authority()
    with publishing(names=(HOST,), tls=cluster.serve(HOST, LOOPBACK)) as published:
        published.extra[KEYS_AT] = (200, json.dumps(jwks(KEY)).encode())
        found = await _keys(published).probe(replace(TRUST, jwks_uri=KEYS_AT, ca=cluster.pem.decode()))
        assert [key.kid for key in found.keys] == [KEY.kid]
        for ca in (None, authority().pem.decode(), make_authority().pem.decode()):
            with pytest.raises(ConfigError, match="the certificate of the host is not valid"):
                await _keys(published).probe(replace(TRUST, jwks_uri=KEYS_AT, ca=ca))


async def test_certificate_of_a_public_authority_is_nothing_beside_a_private_one(place: Place) -> None:
    await place.trust(jwks_uri=KEYS_AT, ca=make_authority().pem.decode())
    record = await place.refused()
    assert (record["reason"], "jwks.tls" in record["detail"]) == ("trust.keys_unavailable", True)


def _keys(published: Published) -> TrustKeys:
    return TrustKeys(
        Fetcher(Allowed(), resolve=Names([[PUBLIC]]), network=redirected(published.port), tls=authority().trust())
    )


# --- To try a trust before it is saved


async def test_probe_returns_what_would_be_found(place: Place) -> None:
    place.publish(KEYS_AT, {"keys": [*jwks(KEY)["keys"], {"kty": "?"}]})
    tried = TrustKeys(place.published.reach())
    found = await tried.probe(TRUST)
    assert (found.uri, [key.kid for key in found.keys], len(found.left_out)) == (KEYS_AT, [KEY.kid], 1)
    uploaded = await tried.probe(replace(TRUST, jwks=json.dumps(jwks(NEXT))))
    assert (uploaded.uri, [key.kid for key in uploaded.keys]) == (None, [NEXT.kid])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jwks_uri": "https://other.example/none"}, "the answer was not 200, and redirects are not followed"),
        ({"jwks_uri": "https://10.0.0.1/"}, "an address that this server may not connect to"),
        ({"issuer": "https://other.example"}, "the answer was not 200"),
        ({"issuer": "kubernetes/serviceaccount"}, "the trust does not say where its keys are"),
        ({"discovery_url": KEYS_AT}, "expected issuer https://issuer.example/tenant, got"),
    ],
)
async def test_probe_says_why_not(place: Place, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        await TrustKeys(place.published.reach()).probe(replace(TRUST, **changes))
    assert str(caught.value).startswith("the keys of trust ci cannot be obtained: ")


async def test_explaining_without_the_keys_of_a_server_fetches_nothing(place: Place) -> None:
    await place.trust()
    store, master_key = place.server.store, place.server.master_key
    explainer = app.build_explainer(issuer=ISSUER, store=store, master_key=master_key, trust_keys=TrustKeys())
    body = f"grant_type={names.JWT_BEARER}&assertion={place.token()}"
    found = await explainer.explain(captured.parse(body), now=int(place.server.clock))
    assert found.reason is not None
    assert found.reason.code == "trust.keys_unavailable"
    assert explanation.NOT_KNOWN in {line.mark for line in found.lines}
    assert place.hits == []
