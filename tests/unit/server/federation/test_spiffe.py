"""JWT-SVIDs, from the bundle of a trust domain to the access token; PyPI's spiffe reads the same SVIDs and bundles."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from spiffe import JwtBundle, JwtSvid, TrustDomain
from tests.certificates import make_authority
from tests.key_server import HOST, KeyServer, fetcher
from tests.key_server import running as publishing

from affiant.errors import ConfigError
from affiant.jose import compact, jwk, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.server.registry.federation.keys import TrustKeys
from affiant.storage.records import ClaimCondition, Rule, Trust
from affiant.testing import ABSENT, ISSUER, Server
from affiant.testing.clock import NOW
from affiant.testing.messages import changed

DOMAIN, OTHER_DOMAIN = "spiffe://acme.example", "spiffe://other.example"
BILLING = f"{DOMAIN}/ns/prod/billing"
SIGNER, NEXT, OTHER, X509 = (keys.generate("ES256") for _ in range(4))
GRANTS = ("assertion", "client_assertion")


class Unnamed:
    """Signs as SIGNER, whose name it leaves out."""

    alg, kid, sign = SIGNER.alg, None, SIGNER.sign


def member(key: PrivateKey, use: str | None = jwk.JWT_SVID) -> dict[str, Any]:
    members = {name: value for name, value in key.public().to_jwk().items() if name != "alg"}
    return {**members, "use": use} if use is not None else members


def bundle(*members: dict[str, Any]) -> dict[str, Any]:
    """A bundle as SPIRE publishes it: with its X.509 authority, a number and a hint."""
    authority = make_authority()
    first = {**jwk.build(authority.key.public_key()), "use": "x509-svid", "x5c": [authority.text.strip(":")]}
    return {"keys": [first, *members], "spiffe_sequence": 7, "spiffe_refresh_hint": 300}


def svid(key: PrivateKey = SIGNER, **changes: Any) -> str:
    claims = {"sub": BILLING, "aud": [ISSUER], "iat": NOW, "exp": NOW + 300}
    return compact.sign({"typ": "JWT"}, changed(claims, changes), key)


async def ask(server: Server, text: str, carrier: str = "client_assertion", **more: str) -> dict[str, Any]:
    form = {"grant_type": names.JWT_BEARER, "assertion": text, **more}
    if carrier == "client_assertion":
        form = {"grant_type": names.CLIENT_CREDENTIALS, "client_assertion": text}
        form |= {"client_assertion_type": names.JWT_SPIFFE_ASSERTION_TYPE, **more}
    answer: dict[str, Any] = (await server.post(form)).json()
    return answer


async def granted(server: Server, text: str, carrier: str = "client_assertion") -> dict[str, Any]:
    answer = await ask(server, text, carrier)
    assert "access_token" in answer, (answer, await last(server))
    return compact.parse(answer["access_token"]).claims


async def refused(server: Server, text: str, carrier: str = "client_assertion", **more: str) -> str:
    answer = await ask(server, text, carrier, **more)
    assert "access_token" not in answer
    return str((await last(server))["reason"])


async def last(server: Server) -> dict[str, Any]:
    rows = await server.store.audit_log.export(limit=1000)
    record: dict[str, Any] = json.loads([row.record for row in rows if b'"outcome":"explained"' not in row.record][-1])
    return record


@pytest.fixture
async def publisher() -> AsyncIterator[KeyServer]:
    async with publishing() as server:
        server.publish(*bundle(member(SIGNER))["keys"])
        yield server


@pytest.fixture
async def server(publisher: KeyServer) -> AsyncIterator[Server]:
    async with Server.in_process(fetch=fetcher(names=publisher.names)) as made:
        await made.add_api("https://orders.example", is_default=True)
        trust = Trust("acme", DOMAIN, jwks_uri=publisher.uri(), audiences=(ISSUER,), replay="reused")
        await made.store.trusts.add(trust)
        other = json.dumps({"keys": [member(OTHER)]})
        await made.store.trusts.add(replace(trust, name="other", issuer=OTHER_DOMAIN, jwks_uri=None, jwks=other))
        for name, sub in (("billing", BILLING), ("shop", f"{DOMAIN}/shop/*")):
            await made.add_client(name, names.FEDERATED_JWT)
            await made.store.rules.add(Rule(name, "acme", name, (ClaimCondition("sub", (sub,)),)))
        yield made


@pytest.mark.parametrize("carrier", GRANTS)
async def test_svid_gives_the_token_of_the_rules_client(server: Server, publisher: KeyServer, carrier: str) -> None:
    claims = await granted(server, svid(), carrier)
    assert (claims["sub"], claims["rule"]) == ("billing", "acme/billing")
    assert publisher.hits == 1
    shop = await granted(server, svid(sub=f"{DOMAIN}/shop/web"), carrier)
    assert shop["client_id"] == "shop"


async def test_one_svid_is_taken_fifty_times(server: Server, publisher: KeyServer) -> None:
    """The Workload API hands out the same SVID until it nears its end."""
    text = svid()
    for number in range(50):
        assert (await granted(server, text, GRANTS[number % 2]))["client_id"] == "billing"
    assert publisher.hits == 1


async def test_svid_needs_neither_iss_nor_jti_nor_iat_nor_kid(server: Server) -> None:
    assert (await granted(server, svid(iat=ABSENT)))["client_id"] == "billing"
    assert (await granted(server, svid(iss="https://spire.example", jti="1")))["client_id"] == "billing"
    unnamed = compact.sign({}, compact.parse(svid()).claims, Unnamed())
    assert "kid" not in compact.parse(unnamed).header
    assert (await granted(server, unnamed))["client_id"] == "billing"
    for sub in (ABSENT, "", 5):
        assert await refused(server, svid(sub=sub)) == "trust.spiffe_id"
    assert await refused(server, svid(exp=ABSENT)) == "assertion.exp"
    assert await refused(server, svid(aud=ABSENT)) == "trust.audience"


async def test_library_of_spiffe_accepts_the_same(server: Server) -> None:
    """SVID and bundle mean to it what they mean here."""
    wall = compact.sign({"typ": "JWT"}, {"sub": BILLING, "aud": [ISSUER], "exp": 4_000_000_000}, SIGNER)
    document = json.dumps({"keys": [member(SIGNER)]}).encode()
    theirs = JwtSvid.parse_and_validate(wall, JwtBundle.parse(TrustDomain("acme.example"), document), {ISSUER})
    assert str(theirs.spiffe_id) == BILLING
    assert (await granted(server, svid()))["client_id"] == "billing"


@pytest.mark.attack(312, 318)
@pytest.mark.parametrize("carrier", GRANTS)
async def test_key_of_another_trust_domain_signs_nothing_here(server: Server, carrier: str) -> None:
    assert await refused(server, svid(OTHER), carrier) == "trust.key_unknown"
    same = keys.parse_private_jwk({**OTHER.to_jwk(), "kid": SIGNER.kid})
    assert await refused(server, svid(same), carrier) == "signature.invalid"
    # In its own domain the key is good, and no rule is for it.
    assert await refused(server, svid(OTHER, sub=f"{OTHER_DOMAIN}/ns/prod/billing"), carrier) == "rule.none"
    assert await refused(server, svid(sub=f"{OTHER_DOMAIN}/ns/prod/billing"), carrier) == "trust.key_unknown"


@pytest.mark.attack(318)
@pytest.mark.parametrize("carrier", GRANTS)
@pytest.mark.parametrize(
    "sub",
    [
        f"{BILLING}/",
        f"{DOMAIN}//ns/prod/billing",
        f"{DOMAIN}/x/../ns/prod/billing",
        f"{DOMAIN}/ns/prod/%62illing",
        f"{DOMAIN}:443/ns/prod/billing",
        "spiffe://x@acme.example/ns/prod/billing",
        "spiffe://ACME.example/ns/prod/billing",
        f"{BILLING}\n",
    ],
)
async def test_sub_that_only_resembles_a_spiffe_id(server: Server, sub: str, carrier: str) -> None:
    assert await refused(server, svid(sub=sub), carrier) == "trust.spiffe_id"
    assert await refused(server, svid(sub=sub, iss="https://spire.example"), carrier) == "trust.spiffe_id"


@pytest.mark.attack(318)
@pytest.mark.parametrize("carrier", GRANTS)
@pytest.mark.parametrize("sub", ["job", "", f"{OTHER_DOMAIN}/ns/prod/billing", f"{DOMAIN}.evil/billing"])
async def test_iss_makes_no_trust_domain_of_a_token(server: Server, sub: str, carrier: str) -> None:
    """The authority of a domain signs for its own workloads alone, whatever rule is there."""
    await server.store.rules.add(Rule("any", "acme", "shop", (ClaimCondition("iss", (DOMAIN,)),)))
    assert await refused(server, svid(iss=DOMAIN, sub=sub), carrier) in ("trust.spiffe_id", "assertion.issuer_subject")


async def test_iss_may_be_the_trust_domain(server: Server) -> None:
    assert (await granted(server, svid(iss=DOMAIN)))["client_id"] == "billing"


async def test_assertion_type_of_spiffe_is_for_svids_alone(server: Server) -> None:
    """Nor does it lead to a trust that is no trust domain, whatever iss says."""
    document = json.dumps({"keys": [member(SIGNER, None)]})
    await server.store.trusts.add(Trust("ci", "https://ci.example", jwks=document, replay="reused"))
    await server.store.rules.add(Rule("ci", "ci", "shop", (ClaimCondition("iss", ("https://ci.example",)),)))
    text = svid(iss="https://ci.example", sub="job")
    assert await refused(server, text) == "trust.spiffe_id"
    assert "access_token" in await ask(server, text, client_assertion_type=names.JWT_BEARER_ASSERTION_TYPE)
    unknown = svid(iss="https://ci.example", sub="spiffe://unknown.example/x")
    assert await refused(server, unknown) == "trust.unknown"
    await server.add_client("own")
    assert await refused(server, server.assertion("own")) == "request.assertion_type"


# --- Bundles


@pytest.mark.attack(319)
async def test_only_keys_for_jwt_svids_count_in_a_bundle(server: Server, publisher: KeyServer) -> None:
    """A key of X.509, of another use, or without one is not the domain's for JWTs."""
    members = (member(X509, "x509-svid"), member(OTHER, "sig"), member(NEXT, None), member(SIGNER))
    publisher.publish(*bundle(*members)["keys"])
    await granted(server, svid())
    for key in (X509, OTHER, NEXT):
        assert await refused(server, svid(key)) == "trust.key_unknown"
    detail = (await last(server))["detail"]
    assert "the key is not for jwt-svid" in detail


@pytest.mark.attack(319)
async def test_bundle_without_a_key_for_jwts(server: Server, publisher: KeyServer) -> None:
    publisher.publish(*bundle(member(SIGNER, "x509-svid"))["keys"])
    assert await refused(server, svid()) == "trust.keys_unavailable"


async def test_set_without_any_use_of_spiffe_is_a_plain_one(server: Server, publisher: KeyServer) -> None:
    """As the Workload API and the OIDC discovery of SPIRE write it."""
    publisher.publish(member(SIGNER, None), member(NEXT, "sig"))
    await granted(server, svid())
    await granted(server, svid(NEXT))


async def test_domain_that_rotates_its_key(server: Server, publisher: KeyServer) -> None:
    await granted(server, svid())
    publisher.publish(*bundle(member(SIGNER), member(NEXT))["keys"])
    await granted(server, svid(NEXT))
    assert publisher.hits == 2


async def test_uploaded_bundle(server: Server) -> None:
    document = json.dumps(bundle(member(SIGNER), member(X509, "x509-svid")))
    await server.store.trusts.update("acme", lambda trust: replace(trust, jwks_uri=None, jwks=document))
    await granted(server, svid())
    assert await refused(server, svid(X509)) == "trust.key_unknown"


async def test_bundle_of_a_trust_that_is_no_domain_has_no_keys(publisher: KeyServer) -> None:
    tried = TrustKeys(fetcher(names=publisher.names))
    found = await tried.probe(Trust("acme", DOMAIN, jwks_uri=publisher.uri(HOST)))
    assert [key.kid for key in found.keys] == [SIGNER.kid]
    with pytest.raises(ConfigError, match="not for signatures"):
        await tried.probe(Trust("ci", "https://ci.example", jwks_uri=publisher.uri(HOST)))
    with pytest.raises(ConfigError, match="does not say where its keys are"):
        await tried.probe(Trust("acme", DOMAIN))
