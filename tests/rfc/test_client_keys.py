"""A client leads its own keys at /client-keys: what each step answers, does, and writes down."""

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, refusal, running

from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.server.registry.credentials.completion import QUIET_SECONDS
from affiant.storage.ports import Store
from affiant.storage.records import KeyUse
from affiant.testing import KEY, NOW, Server, basic

PATH = "/client-keys"


def _form(server: Server, signer: PrivateKey = KEY, client_id: str = "c1", **parameters: str) -> dict[str, str]:
    text = server.assertion(client_id, key=signer)
    return {"client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE, "client_assertion": text, **parameters}


async def _ask(server: Server, action: str, signer: PrivateKey = KEY, **parameters: str) -> httpx2.Response:
    return await server.http.post(PATH, data=_form(server, signer, action=action, **parameters))


async def _put(server: Server, *wanted: PrivateKey, signer: PrivateKey = KEY) -> httpx2.Response:
    jwks = json.dumps({"keys": [key.public().to_jwk() for key in wanted]})
    return await server.http.put(PATH, data=_form(server, signer, jwks=jwks))


async def _announce(server: Server, key: PrivateKey, signer: PrivateKey = KEY, **parameters: str) -> httpx2.Response:
    return await _ask(server, "announce", signer, jwk=json.dumps(key.public().to_jwk()), **parameters)


def _states(reply: httpx2.Response) -> dict[str, str]:
    assert reply.is_success, reply.text
    return {key["kid"]: key["state"] for key in reply.json()["keys"]}


async def _changes(server: Server) -> list[dict[str, Any]]:
    rows = [json.loads(row.record) for row in await server.store.audit_log.export()]
    return [row for row in rows if row["endpoint"] == "client-keys" and "subject" in row]


def _with(server: Server, key: PrivateKey) -> dict[str, Any]:
    return server.form(server.assertion(key=key))


async def test_one_rotation(server: Server) -> None:
    """Announced it can do nothing, proved it can do all, and the old one ends when it is retired."""
    new = keys.generate("ES256")
    announced = await _announce(server, new)
    assert (announced.status_code, _states(announced)) == (201, {KEY.kid: "active", new.kid: "announced"})
    assert announced.headers["cache-control"] == "no-store"
    assert (await server.post(_with(server, new))).status_code == 401
    assert _states(await _ask(server, "prove", new)) == {KEY.kid: "active", new.kid: "active"}
    for key in (KEY, new):
        assert (await server.post(_with(server, key))).status_code == 200
    assert _states(await _ask(server, "retire", new, kid=KEY.kid)) == {KEY.kid: "revoked", new.kid: "active"}
    assert refusal(await server.post(_with(server, KEY))) == (401, "invalid_client")
    assert (await server.post(_with(server, new))).status_code == 200


def _used(credential: str, count: int, first_at: int, last_at: int) -> KeyUse:
    return KeyUse("c1", credential, count, first_at, last_at)


async def test_answer_says_all_of_key(server: Server) -> None:
    thumbprint = KEY.public().thumbprint
    await server.store.key_uses.add([_used(thumbprint, 7, NOW, NOW + 5)])
    reply = await _ask(server, "list")
    assert reply.status_code == 200
    assert reply.json() == {
        "client_id": "c1",
        "keys": [
            {
                "kid": KEY.kid,
                "thumbprint": thumbprint,
                "alg": "ES256",
                "state": "active",
                "created_at": NOW,
                "not_before": None,
                "expires_at": None,
                "proved_at": NOW,
                "retiring_at": None,
                "revoked_at": None,
                "source": "operator",
                "last_used_at": NOW + 5,
                "use_count": 7,
            }
        ],
    }


async def test_whether_old_key_can_go(server: Server) -> None:
    """Not before the new one is used; then an hour after the old one was used last."""
    new = keys.generate("ES256")
    await _announce(server, new)
    await _ask(server, "prove", new)
    old_name, new_name = KEY.public().thumbprint, new.public().thumbprint

    async def told() -> tuple[bool, str]:
        old, successor = (await _ask(server, "list")).json()["keys"]
        assert "safe_to_complete" not in successor
        return old["safe_to_complete"], old["why"]

    assert await told() == (False, "its successor was not used yet")
    server.clock.now += 10
    await server.store.key_uses.add([_used(new_name, 1, NOW + 10, NOW + 10)])
    assert (await told())[0] is False
    await server.store.key_uses.add([_used(old_name, 1, NOW + 60, NOW + 60)])
    server.clock.now = NOW + 60 + QUIET_SECONDS - 1
    assert await told() == (False, f"used {QUIET_SECONDS - 1} s ago; safe after {QUIET_SECONDS} s without a use")
    server.clock.now += 1
    assert (await told())[0] is True


async def test_rotation_itself_is_no_use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server counted is told at its end at the latest; what only changed keys is not in it."""
    new = keys.generate("ES256")
    async with running(store) as server:
        await server.add_client("c1")
        await server.add_client("client_secret_post", "client_secret_post")
        await _announce(server, new)
        await _ask(server, "prove", new)
        for _ in range(3):
            assert (await server.post(_with(server, KEY))).status_code == 200
        form = server.form(server.assertion(key=new), scope="nothing")
        assert (await server.post(form)).status_code == 400, "refused for its scope, but it was in use"
        assert (await server.post(form)).status_code == 401, "a replay is nobody's use"
        secret = {"client_id": "client_secret_post", "client_secret": server.secrets["client_secret_post"]}
        await server.post({"grant_type": "client_credentials", **secret})
        client = await store.clients.find("client_secret_post")
    assert sorted(await store.key_uses.list("c1"), key=lambda use: use.count) == [
        _used(new.public().thumbprint, 1, NOW, NOW),
        _used(KEY.public().thumbprint, 3, NOW, NOW),
    ]
    assert client is not None
    assert [use.credential for use in await store.key_uses.list("client_secret_post")] == [client.secrets[0].id]


async def test_every_key_change_is_audited(server: Server) -> None:
    new, other = keys.generate("ES256"), keys.generate("ES256")
    await _announce(server, new)
    await _ask(server, "prove", new)
    await _announce(server, other)
    await _ask(server, "cancel", kid=other.kid)
    await _ask(server, "retire", new, kid=KEY.kid)
    told = await _changes(server)
    assert [row["outcome"] for row in told] == ["added", "proved", "added", "cancelled", "retired"]
    assert {(row["by"], row["subject"], row["client_id"]) for row in told} == {("c1", "client c1", "c1")}
    assert [row["thumbprint"] for row in told][1] == new.public().thumbprint, "by which key it was asked for"
    assert "keys" not in json.loads(told[0]["before"])
    assert json.loads(told[0]["after"])["keys"] == [
        {"kid": new.kid, "thumbprint": new.public().thumbprint, "source": "client", "created_at": NOW}
    ]
    assert json.loads(told[-1]["after"])["keys"][0]["revoked_at"] == NOW


async def test_lost_answer_is_asked_for_again(server: Server) -> None:
    """Each step can be repeated, and what changes nothing leaves the version and the log of changes as they were."""
    new = keys.generate("ES256")
    steps: list[tuple[str, PrivateKey, dict[str, str]]] = [
        ("announce", KEY, {"jwk": json.dumps(new.public().to_jwk())}),
        ("prove", new, {}),
        ("retire", new, {"kid": KEY.kid}),
    ]
    for action, signer, parameters in steps:
        first = await _ask(server, action, signer, **parameters)
        version, told = await server.store.version(), len(await _changes(server))
        server.clock.now += 1
        again = await _ask(server, action, signer, **parameters)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert (await server.store.version(), len(await _changes(server))) == (version, told)


async def test_retiring_with_overlap(server: Server) -> None:
    new = keys.generate("ES256")
    await _announce(server, new)
    await _ask(server, "prove", new)
    token = (await server.token())["access_token"]
    assert _states(await _ask(server, "retire", new, kid=KEY.kid, overlap="60"))[KEY.kid] == "retiring"
    server.clock.now += 59
    assert (await server.post(_with(server, KEY))).status_code == 200
    server.clock.now += 1
    assert (await server.post(_with(server, KEY))).status_code == 401
    assert await _is_active(server, token, new), "who retires a key lets its tokens live"


async def _is_active(server: Server, token: str, signer: PrivateKey) -> bool:
    await server.store.clients.update("c1", lambda client: replace(client, introspects=(API,)))
    reply = await server.http.post("/introspect", data=_form(server, signer, token=token))
    return bool(reply.json()["active"])


async def test_revoking_a_key_ends_its_tokens(server: Server) -> None:
    """Its access tokens and its refresh tokens, not those of another key."""
    new = keys.generate("ES256")
    await _announce(server, new, client_id="refreshing")
    await _ask(server, "prove", new, client_id="refreshing")

    async def tokens(signer: PrivateKey) -> tuple[str, str]:
        text = server.assertion("refreshing", key=signer)
        members = (await server.post(server.form(text))).json()
        return members["access_token"], members["refresh_token"]

    async def refreshed(token: str) -> int:
        text = server.assertion("refreshing", key=new)
        form = server.form(text, grant_type="refresh_token", refresh_token=token)
        return (await server.post(form)).status_code

    of_old, of_new = await tokens(KEY), await tokens(new)
    await server.add_client("c3", introspects=(API,))
    reply = await _ask(server, "revoke", new, client_id="refreshing", kid=KEY.kid)
    assert _states(reply)[KEY.kid] == "revoked"
    shown = [
        (await server.http.post("/introspect", data=_form(server, client_id="c3", token=token[0]))).json()["active"]
        for token in (of_old, of_new)
    ]
    assert shown == [False, True]
    assert (await refreshed(of_old[1]), await refreshed(of_new[1])) == (400, 200)
    (told,) = [row for row in await _changes(server) if row["outcome"] == "revoked"]
    assert told["subject"] == "client refreshing"


async def test_revoking_a_retired_key(server: Server) -> None:
    new = keys.generate("ES256")
    await _announce(server, new)
    await _ask(server, "prove", new)
    token = (await server.token())["access_token"]
    await _ask(server, "retire", new, kid=KEY.kid)
    assert await _is_active(server, token, new)
    assert (await _ask(server, "revoke", new, kid=KEY.kid)).status_code == 200
    assert not await _is_active(server, token, new)


async def test_hosted_key_set(server: Server) -> None:
    """What is put is what there is: no jwks_uri has to be exposed."""
    first, second = keys.generate("ES256"), keys.generate("ES256")
    assert _states(await _put(server, KEY, first)) == {KEY.kid: "active", first.kid: "active"}
    assert _states(await _put(server, first, second, signer=first)) == {
        KEY.kid: "revoked",
        first.kid: "active",
        second.kid: "active",
    }
    assert (await server.post(_with(server, second))).status_code == 200
    assert (await server.post(_with(server, KEY))).status_code == 401
    assert [row["outcome"] for row in await _changes(server)] == ["put", "put"]


@pytest.mark.parametrize("name", ["client_secret_basic", "client_secret_post"])
async def test_client_without_keys(server: Server, name: str) -> None:
    secret, form = server.secrets[name], {"action": "list"}
    is_basic = name == "client_secret_basic"
    headers = basic(name, secret) if is_basic else {}
    form |= {} if is_basic else {"client_id": name, "client_secret": secret}
    assert refusal(await server.http.post(PATH, data=form, headers=headers)) == (403, "unauthorized_client")


@pytest.mark.rfc(7517, "4")
@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("announce", {"jwk": "x"}),
        ("announce", {"jwk": "[]"}),
        ("announce", {"jwk": "{}"}),
        ("announce", {"jwk": "[" * 4000}),
        ("announce", {"jwk": '{"kty":"oct","k":"AAAA","alg":"HS256"}'}),
        ("announce", {}),
        ("retire", {}),
        ("explode", {}),
        ("retire", {"kid": KEY.kid, "overlap": "-1"}),
        ("retire", {"kid": KEY.kid, "overlap": "9" * 30}),
        ("retire", {"kid": KEY.kid, "overlap": "1e3"}),
        ("retire", {"kid": "nobody"}),
        ("revoke", {"kid": "nobody"}),
        ("cancel", {"kid": "nobody"}),
        ("cancel", {"kid": KEY.kid}),
        ("retire", {"kid": KEY.kid}),
        ("revoke", {"kid": KEY.kid}),
    ],
)
async def test_bad_key_changes_are_refused(server: Server, action: str, parameters: dict[str, Any]) -> None:
    before = await server.store.clients.find("c1")
    assert refusal(await _ask(server, action, **parameters))[0] == 400
    assert await server.store.clients.find("c1") == before


@pytest.mark.parametrize(("not_before", "expires_at"), [(0, NOW), (NOW + 9, NOW + 9)])
async def test_times_that_make_no_sense(server: Server, not_before: int, expires_at: int) -> None:
    times = {"not_before": str(not_before), "expires_at": str(expires_at)}
    jwk = json.dumps(keys.generate("ES256").public().to_jwk())
    assert refusal(await _ask(server, "announce", KEY, jwk=jwk, **times))[0] == 400


async def test_private_key_is_refused_and_not_logged(server: Server) -> None:
    private = keys.generate("ES256").to_jwk()
    for reply in (
        await _ask(server, "announce", jwk=json.dumps(private)),
        await server.http.put(PATH, data=_form(server, jwks=json.dumps({"keys": [private]}))),
    ):
        assert refusal(reply) == (400, "invalid_client_metadata")
        assert "only the public part" in reply.json()["error_description"]
        assert private["d"] not in reply.text
    log = b"".join(row.record for row in await server.store.audit_log.export())
    assert private["d"].encode() not in log


async def test_key_of_another_algorithm_than_registered(server: Server) -> None:
    await server.store.clients.update("c1", lambda client: replace(client, token_endpoint_auth_signing_alg="ES256"))
    reply = await _announce(server, keys.generate("Ed25519"))
    assert refusal(reply) == (400, "invalid_request")
    assert "ES256" in reply.json()["error_description"]


@pytest.mark.rfc(7517, "5")
async def test_keys_for_another_use_are_left_out(server: Server) -> None:
    members = [KEY.public().to_jwk(), {"kty": "XYZ", "kid": "e"}]
    reply = await server.http.put(PATH, data=_form(server, jwks=json.dumps({"keys": members})))
    assert _states(reply) == {KEY.kid: "active"}
    assert reply.json()["jwks_left_out"] == ['key 2 ("e") of the JWK Set: kty must be RSA, EC, OKP or AKP']
    members[0] = {"kty": "XYZ"}
    refused = await server.http.put(PATH, data=_form(server, jwks=json.dumps({"keys": members})))
    assert refusal(refused) == (400, "invalid_client_metadata")


@pytest.mark.rfc(7517, "4.5")
async def test_reused_kid(server: Server) -> None:
    """The tokens of the old key end, and the good key stays."""
    first, second, other = (
        keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": kid}) for kid in ("main", "main", "other")
    )
    await _put(server, first, other)
    token = (await server.token(client_assertion=server.assertion(key=first)))["access_token"]
    await _put(server, second, other, signer=other)
    reply = await _ask(server, "revoke", other, kid="main")
    assert refusal(reply) == (400, "invalid_request")
    name, good = first.public().thumbprint, second.public().thumbprint
    assert f"{good} (active), {name} (revoked)" in reply.json()["error_description"]
    assert await _is_active(server, token, other)
    assert (await _ask(server, "revoke", other, kid=name)).status_code == 200
    assert not await _is_active(server, token, other)
    assert (await server.post(_with(server, second))).status_code == 200
    assert (await _ask(server, "retire", other, kid=good)).status_code == 200
    assert (await server.post(_with(server, second))).status_code == 401
