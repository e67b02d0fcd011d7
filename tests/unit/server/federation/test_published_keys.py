"""Keys where the platforms publish them: real https, under the names of the platforms, found from the issuer alone."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.certificates import authority, make_authority
from tests.platforms import clouds, github, hosts
from tests.platforms.issuer import Issuer, key, signed, stranger
from tests.platforms.published import Published, running
from tests.platforms.token import Token
from tests.platforms.trap import Good
from tests.platforms.traps import GOOD
from tests.unit.server.federation.registering import add, ask, audited, form, refused, trusting

from affiant.testing import Server

OTHER_ENTRA = Good(clouds.entra(version=2), clouds.entra_pins(), "api://affiant", 86_700, "if-present")
# All is right but the issuer.
MOVED = json.dumps({**Issuer.of(github.job()).discovery, "issuer": f"{github.ISSUER}/acme"}).encode()
ALL = {**GOOD, "entra-2": OTHER_ENTRA}


@pytest.fixture(scope="module")
def published() -> Iterator[Published]:
    with running(*(Issuer.of(good.token) for good in ALL.values())) as found:
        yield found


@pytest.fixture
async def server(published: Published) -> AsyncIterator[Server]:
    published.hits.clear()
    async with trusting(fetch=published.reach()) as made:
        for name, good in ALL.items():
            # Where a bundle is, is configured.
            source = {"jwks_uri": good.token.keys_at} if good.platform == "spiffe" else {}
            await add(made, good, name=name, jwks=None, **source)
        yield made


@pytest.fixture
def own() -> Iterator[tuple[Issuer, Published]]:
    """GitHub alone, to be changed by the test."""
    issuer = Issuer.of(github.job())
    with running(issuer) as found:
        yield issuer, found


@pytest.mark.parametrize("name", ALL)
async def test_keys_are_found_from_the_issuer(server: Server, published: Published, name: str) -> None:
    good = ALL[name]
    for _ in range(3):
        assert (await ask(server, signed(good.token)))["client_id"] == name
    discovery = [] if name == "spiffe" else [Issuer.of(good.token).discovery_url]
    assert published.hits == [*discovery, good.token.keys_at]


@pytest.mark.parametrize("name", ALL)
async def test_key_of_nobody_is_refused(server: Server, name: str) -> None:
    token = ALL[name].token
    issuer = Issuer.of(token)
    other = stranger(token.alg)
    assert await refused(server, issuer.sign(token, by=other, kid=issuer.keys[-1].kid)) == "signature.invalid"
    assert await refused(server, issuer.sign(token, by=other)) == "trust.key_unknown"


async def test_new_key_is_fetched_and_an_old_one_ends(own: tuple[Issuer, Published]) -> None:
    issuer, published = own
    token = github.job()
    async with trusting(fetch=published.reach()) as server:
        await add(server, GOOD["github"], jwks=None)
        first = issuer.keys[0]
        assert (await ask(server, issuer.sign(token)))["client_id"] == "github"
        issuer.rotate()
        server.clock.advance(120)
        now = server.clock.now
        assert (await ask(server, issuer.sign(token, now)))["client_id"] == "github"
        assert (await ask(server, issuer.sign(token, now, by=first)))["client_id"] == "github"
        issuer.keys = issuer.keys[1:]
        server.clock.advance(2 * 86_400)
        now = server.clock.now
        assert await refused(server, issuer.sign(token, now, by=first)) == "trust.key_unknown"
        assert (await ask(server, issuer.sign(token, now)))["client_id"] == "github"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (f"{github.ISSUER}/.well-known/openid-configuration", (200, MOVED)),
        (f"{github.ISSUER}/.well-known/openid-configuration", (200, b"{")),
        (f"{github.ISSUER}/.well-known/openid-configuration", (500, b"{}")),
        (f"{github.ISSUER}/.well-known/jwks", (404, b"{}")),
        (f"{github.ISSUER}/.well-known/jwks", (200, b'{"keys": []}')),
        (f"{github.ISSUER}/.well-known/jwks", (200, b"<html>")),
    ],
)
async def test_issuer_that_answers_wrongly_is_named_to_the_operator(
    own: tuple[Issuer, Published], url: str, answer: tuple[int, bytes]
) -> None:
    """And the caller learns nothing of it."""
    issuer, published = own
    published.extra[url] = answer
    async with trusting(fetch=published.reach()) as server:
        await add(server, GOOD["github"], jwks=None)
        reply = await server.post(form(issuer.sign(github.job())))
        said = reply.json()
        record = await audited(server, said["trace_id"])
        assert record["reason"].startswith(("trust.", "jwks."))
        assert said["error_uri"].endswith("/client.authentication_failed")
        assert "githubusercontent" not in said["error_description"]


CLUSTER = "https://api.cluster.example"


@pytest.mark.parametrize("source", ["jwks", "jwks_uri", "discovery_url"])
async def test_private_cluster_with_a_private_authority(source: str) -> None:
    """Its issuer can be reached from inside alone; the address and the authority of its API server are given."""
    good = GOOD["kubernetes"]
    issuer = Issuer.of(good.token)
    sources: dict[str, dict[str, Any]] = {
        "jwks": {"jwks": issuer.jwks},
        "jwks_uri": {"jwks": None, "jwks_uri": f"{CLUSTER}/openid/v1/jwks"},
        "discovery_url": {"jwks": None, "discovery_url": f"{CLUSTER}/.well-known/openid-configuration"},
    }
    members = sources[source]
    with running(names=["api.cluster.example"]) as published:
        published.extra[f"{CLUSTER}/openid/v1/jwks"] = (200, json.dumps(issuer.jwks).encode())
        metadata = {**issuer.discovery, "jwks_uri": f"{CLUSTER}/openid/v1/jwks"}
        published.extra[f"{CLUSTER}/.well-known/openid-configuration"] = (200, json.dumps(metadata).encode())
        for ca, is_known in ((authority().pem.decode(), True), (make_authority().pem.decode(), False)):
            async with trusting(fetch=published.reach(knows_authority=False)) as server:
                await add(server, good, **members, **({} if source == "jwks" else {"ca": ca}))
                if is_known or source == "jwks":
                    assert (await ask(server, signed(good.token)))["client_id"] == "kubernetes"
                else:
                    assert await refused(server, signed(good.token)) == "trust.keys_unavailable"


async def test_mix_up_of_two_issuers_is_refused() -> None:
    """Attack: the metadata of one issuer point at keys of another, which then signs in its name."""
    mallory = Issuer("https://mallory.example", "https://mallory.example/jwks", [stranger()])
    victim = Issuer.of(github.job())
    with running(victim, mallory) as published:
        async with trusting(GOOD["gitlab"], fetch=published.reach()) as server:
            own = Good(_of(mallory.url), github.pins())
            await add(server, own, name="mallory", jwks=None)
            await add(server, GOOD["github"], jwks=None)
            assert (await ask(server, mallory.sign(own.token)))["client_id"] == "mallory"
            assert await refused(server, mallory.sign(github.job())) == "trust.key_unknown"
            assert await refused(server, victim.sign(own.token)) == "trust.key_unknown"


@pytest.mark.parametrize("use", ["jwt-svid", "x509-svid", "sig", None])
async def test_key_of_a_bundle_is_for_its_use_alone(use: str | None) -> None:
    token = hosts.svid()
    issuer = Issuer.of(token)
    members = {**issuer.keys[0].public_jwk, "use": use}
    bundle: dict[str, Any] = {"keys": [{name: value for name, value in members.items() if value is not None}]}
    bundle["keys"].append({**key("spiffe://example.org", "ES256", 2).public_jwk, "use": "jwt-svid"})
    async with trusting() as server:
        await add(server, GOOD["spiffe"], jwks=bundle)
        if use == "jwt-svid":
            assert (await ask(server, signed(token)))["client_id"] == "spiffe"
        else:
            assert await refused(server, signed(token)) == "trust.key_unknown"


def _of(issuer: str) -> Token:
    return replace(github.job(issuer=issuer), keys_at=f"{issuer}/jwks")
