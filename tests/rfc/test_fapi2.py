"""FAPI 2.0 Security Profile, sections 5.3.2.1 and 5.4.1, as far as they are about client_credentials: by item."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.attacks.bench import BOUND
from tests.rfc.conftest import API, running
from tests.rfc.test_rfc8705 import CERTIFICATES, NAMED, PROXY, behind
from tests.rsa_keys import rsa_key

from affiant.errors import ConfigError
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey, PublicKey
from affiant.oauth import assertion
from affiant.server import settings
from affiant.server.keys import signing_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.registry import clients, profiles
from affiant.server.registry.profiles import FAPI, FAPI_2, NONE, Demands
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Client
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ISSUER, KEY, NOW, Server, basic, proof

REFRESHING = ("client_credentials", "refresh_token")
DAY = 86_400
MASTER = MasterKey.from_bytes(bytes(32))
P384, RSA = keys.generate("ES384"), rsa_key("PS256")


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store in memory, or the one that the test names."""
    return SqliteStore(tmp_path / "test.db") if getattr(request, "param", "") == "sqlite" else MemoryStore()


@pytest.fixture(params=["one client", "whole server"])
async def fapi(request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server that holds `c1` to FAPI 2.0: by its profile, or with everybody."""
    options: dict[str, Any] = {"demands": FAPI_2} if request.param == "whole server" else {}
    async with running(store, **options) as server:
        profile = None if options else FAPI
        await server.add_client("c1", profile=profile, grant_types=REFRESHING)
        yield server


def _proof(server: Server, signer: PrivateKey = BOUND, **claims: Any) -> dict[str, str]:
    return {"dpop": proof(signer, now=server.clock.now, **claims)}


async def _ask(server: Server, text: str | None = None, **parameters: Any) -> httpx2.Response:
    return await server.post(server.form(text, **parameters), headers=_proof(server))


def _reason(reply: httpx2.Response) -> str:
    return str(reply.json()["error_uri"].rpartition("/")[2])


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(4)")
async def test_tokens_are_sender_constrained(fapi: Server) -> None:
    """Items 4 and 5: with a proof a bound token, without one none."""
    reply = await _ask(fapi)
    assert reply.status_code == 200, reply.text
    assert "jkt" in compact.parse(reply.json()["access_token"]).claims["cnf"]
    assert _reason(await fapi.post(fapi.form())) == Reason.DPOP_MISSING.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(6)")
async def test_secrets_do_not_authenticate(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was registered before the server was told to hold everybody to the profile."""
    async with running(store, demands=FAPI_2) as server:
        for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
            await server.add_client(method, method)
        secrets = server.secrets
        grant = {"grant_type": "client_credentials"}
        by_basic = basic("client_secret_basic", secrets["client_secret_basic"])
        by_post = {"client_id": "client_secret_post", "client_secret": secrets["client_secret_post"]}
        for reply in (
            await server.post(grant, headers={**by_basic, **_proof(server)}),
            await server.post({**grant, **by_post}, headers=_proof(server)),
            await _ask(server, server.assertion("client_secret_jwt")),
        ):
            assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
        records = [row.record for row in await store.audit_log.newest()]
        assert all(b'"client.method"' in record for record in records[:3])


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(8)")
@pytest.mark.parametrize("aud", [[ISSUER], f"{ISSUER}/token", [ISSUER, ISSUER], f"{ISSUER}/", "https://other.example"])
async def test_audience_is_issuer_as_string(fapi: Server, aud: object) -> None:
    """Whatever the client was allowed otherwise, and whatever is only observed."""
    await fapi.store.clients.update(
        "c1", lambda client: replace(client, audience_policy="legacy", observe=assertion.RULES)
    )
    assert _reason(await _ask(fapi, fapi.assertion(aud=aud))) == Reason.AUDIENCE.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(9)")
@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_refresh_tokens_do_not_rotate(fapi: Server) -> None:
    """The same one is good again and again; each use begins its idle life anew, and its last day stays."""
    token = (await _ask(fapi)).json()["refresh_token"]
    seen = set()
    for day in (0, 6, 12, 18, 24, 29):
        fapi.clock.now = NOW + day * DAY
        for _ in range(2):
            reply = await _ask(fapi, grant_type="refresh_token", refresh_token=token)
            assert reply.status_code == 200, (day, reply.text)
            assert "refresh_token" not in reply.json()
            seen.add(reply.json()["access_token"])
        fapi.clock.now += 121  # no window of a lost answer is needed either
    assert len(seen) == 12
    fapi.clock.now = NOW + 30 * DAY
    reply = await _ask(fapi, grant_type="refresh_token", refresh_token=token)
    assert _reason(reply) == Reason.REFRESH_EXPIRED.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(9)")
@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_fixed_refresh_token_expires_unused(fapi: Server) -> None:
    token = (await _ask(fapi)).json()["refresh_token"]
    fapi.clock.now += 7 * DAY
    assert _reason(await _ask(fapi, grant_type="refresh_token", refresh_token=token)) == Reason.REFRESH_EXPIRED.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(9)")
@pytest.mark.parametrize("store", ["memory", "sqlite"], indirect=True)
async def test_fixed_refresh_token_can_be_revoked(fapi: Server) -> None:
    token = (await _ask(fapi)).json()["refresh_token"]
    assert (await fapi.http.post("/revoke", data=fapi.form(token=token))).status_code == 200
    assert _reason(await _ask(fapi, grant_type="refresh_token", refresh_token=token)) == Reason.REFRESH_REVOKED.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(13)")
@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (10, 200), (61, 401)])
async def test_clocks_may_differ(fapi: Server, claim: str, seconds: int, status: int) -> None:
    """0 to 10 s ahead MUST be accepted, more than 60 s refused."""
    times: dict[str, Any] = {claim: NOW + seconds, "exp": NOW + 120}
    ahead = fapi.assertion(**times)
    assert (await _ask(fapi, ahead)).status_code == status


@pytest.mark.rfc("FAPI 2.0", "5.4.1(1)")
async def test_assertion_algorithms(fapi: Server) -> None:
    """A key that was registered before the profile was demanded is good no longer, nor is another use of an RSA key."""
    for name, key in (("p384", P384), ("rsa", RSA)):
        await fapi.add_client(name, key=key)
        await fapi.store.clients.update(name, lambda client: replace(client, profile=FAPI))
    assert (await _ask(fapi, fapi.assertion("rsa"))).status_code == 200
    assert (await _ask(fapi, fapi.assertion("p384"))).status_code == 401


@pytest.mark.rfc("FAPI 2.0", "5.4.1(1)")
async def test_proof_algorithms(fapi: Server) -> None:
    """DPoP proofs are JWTs as well."""
    reply = await fapi.post(fapi.form(), headers=_proof(fapi, P384))
    assert _reason(reply) == Reason.DPOP_ALGORITHM.code


@pytest.mark.rfc("FAPI 2.0", "5.4.1(1)")
async def test_access_token_algorithms(fapi: Server) -> None:
    token = (await _ask(fapi)).json()["access_token"]
    assert compact.parse(token).alg == "ES256"


@pytest.mark.rfc("FAPI 2.0", "5.4.1(1)")
@pytest.mark.parametrize(("alg", "status"), [("RS256", 400), ("ES384", 400), ("PS256", 200), ("Ed25519", 200)])
async def test_signing_alg_of_the_api(fapi: Server, alg: str, status: int) -> None:
    """An API that wants its tokens signed otherwise gets none from these clients."""
    await fapi.store.apis.update(API, lambda api: replace(api, signing_alg=alg))
    await signing_keys.ensure(fapi.store, Vault(fapi.master_key), now=NOW, line=alg)
    reply = await _ask(fapi)
    assert reply.status_code == status, reply.text
    if status == 200:
        assert compact.parse(reply.json()["access_token"]).alg == alg
    else:
        assert _reason(reply) == Reason.RESOURCE_ALGORITHM.code


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(1)")
async def test_metadata_list_allowed_values(store: Store) -> None:
    async with running(store, demands=FAPI_2) as server:
        document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
        assert document["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
        listed = [name for name in document if name.endswith("_alg_values_supported")]
        assert len(listed) >= 4
        assert all(set(document[name]) <= set(FAPI_2.algorithms or ()) for name in listed)
        assert len(document["token_endpoint_auth_signing_alg_values_supported"]) == len(FAPI_2.algorithms or ())


def _build(
    method: str, *, keys: tuple[PublicKey, ...] = (), demands: Demands = NONE, **members: Any
) -> clients.Registered:
    return clients.build(Client("c", method, **members), master_key=MASTER, now=NOW, keys=keys, demands=demands)


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(6)")
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("client_secret_basic", {}),
        ("client_secret_post", {}),
        ("client_secret_jwt", {}),
        ("private_key_jwt", {"keys": (P384.public(),)}),
        ("private_key_jwt", {"keys": (KEY.public(), P384.public())}),
        ("private_key_jwt", {"keys": (RSA.public(),), "token_endpoint_auth_signing_alg": "RS256"}),
    ],
)
def test_others_cannot_be_registered(method: str, options: dict[str, Any]) -> None:
    for held in ({"profile": FAPI}, {"demands": FAPI_2}):
        with pytest.raises(ConfigError):
            _build(method, **options, **held)


def test_guide_profile_is_refused() -> None:
    with pytest.raises(ConfigError, match="fapi"):
        clients.build(Client("c", "client_secret_jwt", profile="guide"), master_key=MASTER, now=NOW, demands=FAPI_2)


def test_profile_of_an_existing_client() -> None:
    """When it fits; and be let go."""
    made = clients.build(Client("c", "private_key_jwt"), master_key=MASTER, now=NOW, keys=(KEY.public(),))
    held = clients.change(made.client, {"profile": FAPI}, now=NOW)
    assert held.profile == FAPI
    with pytest.raises(ConfigError, match="PS256"):
        clients.change(held, {}, now=NOW, keys=(P384.public(),))
    assert clients.change(held, {"scope": ["a"]}, now=NOW).profile == FAPI
    assert clients.change(held, {"profile": "none"}, now=NOW).profile is None
    secret = clients.build(Client("s", "client_secret_basic"), master_key=MASTER, now=NOW)
    with pytest.raises(ConfigError, match="private_key_jwt"):
        clients.change(secret.client, {"profile": FAPI}, now=NOW)
    guide = clients.build(Client("g", "client_secret_jwt", profile="guide"), master_key=MASTER, now=NOW)
    for profile in (FAPI, "none"):
        with pytest.raises(ConfigError, match="guide"):
            clients.change(guide.client, {"profile": profile}, now=NOW)


@pytest.mark.parametrize(
    ("chosen", "mistake"),
    [
        ({"signing_alg": "RS256"}, "--signing-alg: write one of PS256"),
        ({"auth_methods": "client_secret_basic"}, "--auth-methods: write some of private_key_jwt"),
    ],
)
def test_settings_that_contradict_it_are_refused(chosen: dict[str, str], mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake):
        settings.load(fapi="on", **chosen)
    settings.load(fapi="off", **chosen)
    made = settings.load(fapi="on", signing_alg="PS256")
    assert made.demands is FAPI_2
    assert all(profiles.FAPI_2.allows_method(method) for method in made.methods)


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(2)")
async def test_passwords_of_people_are_no_grant(fapi: Server) -> None:
    reply = await _ask(fapi, grant_type="password", username="u", password="p")
    assert (reply.status_code, reply.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(3)")
async def test_public_clients_are_refused(fapi: Server) -> None:
    """Confidential clients alone: a name and a proof are not enough, and none is registered for nothing."""
    form = {"grant_type": "client_credentials", "client_id": "c1"}
    reply = await fapi.post(form, headers=_proof(fapi))
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    with pytest.raises(ConfigError):
        clients.build(Client("p", "none", profile=FAPI), master_key=MASTER, now=NOW)


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(5)")
@pytest.mark.parametrize("whole", [True, False])
async def test_certificate_constrains_as_well(store: Store, monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> None:
    """Items 5 and 6: mutual TLS instead of DPoP, to authenticate and to bind; without it, no token."""
    options: dict[str, Any] = {"demands": FAPI_2} if whole else {}
    profile = None if whole else FAPI
    async with running(store, certificates=CERTIFICATES, **options) as server, behind(server, PROXY) as http:
        server.http = http
        subject = ("tls_client_auth_san_dns", "svc.example")
        await server.add_client("named", "tls_client_auth", profile=profile, tls_subject=subject)
        await server.add_client("c1", profile=profile, tls_client_certificate_bound_access_tokens=True)
        shown = {"Client-Cert": NAMED.text}
        by_certificate = {"grant_type": "client_credentials", "client_id": "named"}
        for form in (by_certificate, server.form(server.assertion("c1"))):
            reply = await server.post(form, headers=shown)
            assert reply.status_code == 200, reply.text
            assert compact.parse(reply.json()["access_token"]).claims["cnf"] == {"x5t#S256": NAMED.thumbprint}
        for form in (by_certificate, server.form(server.assertion("c1"))):
            assert (await server.post(form)).status_code in (400, 401)


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(10)")
async def test_nonces_may_be_demanded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(store, demands=FAPI_2, dpop_nonces="on") as server:
        await server.add_client("c1")
        asked = server.form()
        reply = await server.post(asked, headers=_proof(server))
        assert (reply.status_code, reply.json()["error"]) == (400, "use_dpop_nonce")
        again = await server.post(asked, headers=_proof(server, nonce=reply.headers["dpop-nonce"]))
        assert again.status_code == 200, again.text


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(13)")
@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (10, 200), (61, 400)])
async def test_clocks_may_differ_in_proofs(fapi: Server, seconds: int, status: int) -> None:
    """A proof is a JWT as well."""
    assert (await fapi.post(fapi.form(), headers=_proof(fapi, iat=NOW + seconds))).status_code == status


@pytest.mark.rfc("FAPI 2.0", "5.3.2.1(14)")
async def test_token_has_no_extra_claims(fapi: Server) -> None:
    claims = compact.parse((await _ask(fapi, scope="read", resource=API)).json()["access_token"]).claims
    assert (claims["scope"], claims["aud"]) == ("read", API)


@pytest.mark.rfc("FAPI 2.0", "5.4.1(2)")
def test_rsa_key_has_2048_bits() -> None:
    jwk_of_1024 = {"kty": "RSA", "kid": "k", "alg": "PS256", "e": "AQAB", "n": base64url.encode(b"\xff" * 128)}
    with pytest.raises(ConfigError):
        keys.parse_public_jwk(jwk_of_1024)


@pytest.mark.rfc("FAPI 2.0", "5.4.1(4)")
async def test_random_values_have_128_bits(fapi: Server) -> None:
    """Refresh tokens have 256, and the names of tokens 128."""
    members = (await _ask(fapi)).json()
    assert len(base64url.decode(members["refresh_token"])) == 32
    jti = compact.parse(members["access_token"]).claims["jti"]
    assert len(base64url.decode(jti.rpartition(".")[2])) == 16
