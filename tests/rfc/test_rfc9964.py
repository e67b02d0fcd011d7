"""RFC 9964 (ML-DSA) and RFC 9864 (fully specified names), from the assertion to the guard."""

import json
from dataclasses import replace

import pytest
from tests.rfc.conftest import API, refusal, running

from affiant.errors import ConfigError
from affiant.jose import base64url, compact, keys
from affiant.resource import Guard
from affiant.server.keys.vault import signing_key_purpose
from affiant.storage.memory import MemoryStore
from affiant.storage.records import SigningKey
from affiant.testing import ISSUER, Server

ML_DSA = ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]


@pytest.mark.rfc(9964, "3")
@pytest.mark.parametrize("alg", ML_DSA)
async def test_client_signs_with_ml_dsa(server: Server, alg: str) -> None:
    """Its key is of type AKP and bound to the one algorithm; another parameter set is refused."""
    key = keys.generate(alg)
    assert (key.to_jwk()["kty"], key.to_jwk()["alg"]) == ("AKP", alg)
    await server.add_client("pq", key=key, token_endpoint_auth_signing_alg=alg)
    made = server.assertion("pq", key=key)
    assert len(made) <= compact.MAX_CHARACTERS
    assert (await server.post(server.form(made))).status_code == 200
    other = keys.generate(next(name for name in ML_DSA if name != alg))
    assert refusal(await server.post(server.form(server.assertion("pq", key=other))))[0] == 401


@pytest.mark.rfc(9964, "5")
@pytest.mark.parametrize("alg", ML_DSA)
async def test_altered_signature_is_refused(server: Server, alg: str) -> None:
    key = keys.generate(alg)
    await server.add_client("pq", key=key)
    head, payload, signature = server.assertion("pq", key=key).split(".")
    raw = bytearray(base64url.decode(signature))
    raw[100] ^= 1
    altered = f"{head}.{payload}.{base64url.encode(bytes(raw))}"
    assert refusal(await server.post(server.form(altered))) == (401, "invalid_client")


@pytest.mark.rfc(9964, "3")
@pytest.mark.parametrize("alg", [*ML_DSA, "Ed25519", "RS256", "PS512", "ES384"])
async def test_server_signs_tokens_with_it(monkeypatch: pytest.MonkeyPatch, alg: str) -> None:
    """Whatever the first signing key is: the metadata and the key set are enough for the guard."""
    store, key = MemoryStore(), keys.generate(alg)
    async with running(store) as server:
        sealed = server.master_key.seal(json.dumps(key.to_jwk()).encode(), purpose=signing_key_purpose(key.kid))
        public = json.dumps(key.public().to_jwk())
        made = SigningKey(key.kid, alg, public, sealed, 0)
        await store.signing_keys.change(lambda old: [*(replace(one, removed_at=1) for one in old), made])
        await server.add_client("c1")
        token = (await server.token())["access_token"]
        assert compact.parse(token, limit=16_384).alg == alg
        guard = Guard(ISSUER, audience=API, http=server.http, clock=lambda: server.clock.now)
        caller = await guard.check([f"Bearer {token}".encode()])
        assert caller.client_id == "c1"


@pytest.mark.rfc(9864, "2.2")
@pytest.mark.parametrize("pinned", ["Ed25519", "EdDSA", None])
async def test_ed25519_has_two_names(server: Server, pinned: str | None) -> None:
    """The old name and the new one mean the same for an Ed25519 key, whichever the client is registered for."""
    key = keys.generate("Ed25519")
    await server.add_client("ed", key=key, token_endpoint_auth_signing_alg=pinned)
    for name in ("Ed25519", "EdDSA"):
        signer = keys.parse_private_jwk({**key.to_jwk(), "alg": name})
        made = server.assertion("ed", key=signer)
        assert compact.parse(made).alg == name
        assert (await server.post(server.form(made))).status_code == 200


@pytest.mark.rfc(9964, "3")
@pytest.mark.parametrize("change", [{"alg": None}, {"alg": "ML-DSA-99"}, {"pub": "AAAA"}, {"alg": "ML-DSA-87"}])
def test_unusable_key(change: dict[str, str | None]) -> None:
    jwk = {**keys.generate("ML-DSA-44").public().to_jwk(), **change}
    with pytest.raises(ConfigError):
        keys.parse_public_jwk({name: value for name, value in jwk.items() if value is not None})
