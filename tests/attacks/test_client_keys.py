"""What somebody could try at /client-keys: with a key that is not proved, on its way out, lost, or another's."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.attacks.bench import API, OTHER, STRANGER, Bench, form, post
from tests.wire import Reply, Request

from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.server.registry.credentials import keys as client_keys
from affiant.testing import ABSENT, KEY, NOW

NEXT = keys.generate("ES256")


def _request(bench: Bench, signer: PrivateKey, *, who: str = "c1", method: str = "POST", **parameters: str) -> Request:
    members = form(bench.assertion(who, key=signer), grant_type=ABSENT, **parameters)
    return replace(post(members, path="/client-keys"), method=method)


async def _ask(bench: Bench, signer: PrivateKey, *, who: str = "c1", method: str = "POST", **parameters: str) -> Reply:
    return await bench.send(_request(bench, signer, who=who, method=method, **parameters))


def _refused(reply: Reply, reason: Reason) -> None:
    assert (reply.status, _reason(reply)) == (400, reason.code)


def _jwk(key: PrivateKey) -> str:
    return json.dumps(key.public().to_jwk())


def _jwks(*wanted: PrivateKey) -> str:
    return json.dumps({"keys": [key.public().to_jwk() for key in wanted]})


async def _announced(bench: Bench) -> None:
    assert (await _ask(bench, KEY, action="announce", jwk=_jwk(NEXT))).status == 201


async def _proved(bench: Bench) -> None:
    await _announced(bench)
    assert (await _ask(bench, NEXT, action="prove")).status == 200


async def _states(bench: Bench, who: str = "c1") -> dict[str, str]:
    client = await bench.store.clients.find(who)
    assert client is not None
    return {key.kid: client_keys.state(key, bench.clock.now) for key in client.keys}


def _reason(reply: Reply) -> str:
    return str(reply.json()["error_uri"]).rpartition("/")[2]


def _without_trace(reply: Reply) -> tuple[int, dict[str, Any]]:
    return reply.status, {name: value for name, value in reply.json().items() if name != "trace_id"}


async def test_unproved_key_may_only_prove_itself(bench: Bench) -> None:
    """Wherever else it signs, the answer is that of a key that nobody registered."""
    await _announced(bench)
    asked: list[dict[str, Any]] = [
        {"action": "list"},
        {"action": "announce", "jwk": _jwk(OTHER)},
        {"action": "retire", "kid": KEY.kid},
        {"action": "revoke", "kid": KEY.kid},
        {"action": "cancel", "kid": NEXT.kid},
        {"action": "PROVE"},
        {},
        {"method": "PUT", "jwks": _jwks(NEXT)},
        {"method": "PUT", "jwks": _jwks(NEXT), "action": "prove"},
    ]
    for what in asked:
        assert _without_trace(await _ask(bench, NEXT, **what)) == _without_trace(await _ask(bench, STRANGER, **what))
    for path in ("/token", "/introspect", "/revoke"):
        one, other = [
            await bench.send(post(form(bench.assertion(key=signer)), path=path)) for signer in (NEXT, STRANGER)
        ]
        assert one.status == 401
        assert _without_trace(one) == _without_trace(other)
    assert await _states(bench) == {KEY.kid: "active", NEXT.kid: "announced"}


async def test_unproved_callers_get_one_answer(bench: Bench) -> None:
    """Of a key that is announced, of one that is not, and of a client that is not, one answer."""
    await _announced(bench)
    forged = keys.parse_private_jwk({**STRANGER.to_jwk(), "kid": NEXT.kid})
    answers = [
        _without_trace(await _ask(bench, forged, action="prove")),
        _without_trace(await _ask(bench, STRANGER, action="prove")),
        _without_trace(await _ask(bench, STRANGER, who="nobody", action="prove")),
        _without_trace(await _ask(bench, KEY, who="off", action="prove")),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 401


async def test_request_is_good_once(bench: Bench) -> None:
    for what in (
        _request(bench, KEY, action="announce", jwk=_jwk(NEXT)),
        _request(bench, NEXT, action="prove"),
        _request(bench, NEXT, action="retire", kid=KEY.kid, overlap="60"),
    ):
        assert (await bench.send(what)).status in (200, 201)
        again = await bench.send(what)
        assert (again.status, _reason(again)) == (401, Reason.REPLAYED.code)


async def test_refused_change_uses_its_jti_up(bench: Bench) -> None:
    what = _request(bench, KEY, action="retire", kid=KEY.kid)
    assert _reason(await bench.send(what)) == Reason.KEYS_CONFLICT.code
    assert _reason(await bench.send(what)) == Reason.REPLAYED.code


async def test_retiring_key_may_change_nothing(bench: Bench) -> None:
    """Who stole the old key cannot put another in the place of its successor."""
    await _proved(bench)
    assert (await _ask(bench, NEXT, action="retire", kid=KEY.kid, overlap="600")).status == 200
    asked: list[dict[str, Any]] = [
        {"action": "announce", "jwk": _jwk(STRANGER)},
        {"action": "revoke", "kid": NEXT.kid},
        {"action": "retire", "kid": NEXT.kid},
        {"method": "PUT", "jwks": _jwks(KEY, STRANGER)},
    ]
    for what in asked:
        _refused(await _ask(bench, KEY, **what), Reason.KEYS_CONFLICT)
    assert (await _ask(bench, KEY, action="list")).status == 200
    assert await _states(bench) == {KEY.kid: "retiring", NEXT.kid: "active"}


async def test_keys_of_another_client(bench: Bench) -> None:
    for action in ("retire", "revoke", "cancel"):
        _refused(await _ask(bench, KEY, action=action, kid=OTHER.kid), Reason.KEYS_UNKNOWN)
    await _proved(bench)
    assert (await bench.send(post(form(bench.assertion("c2", key=NEXT))))).status == 401
    assert (await _ask(bench, OTHER, who="c2", action="prove")).status == 200, "its own key, which is proved"
    assert await _states(bench, "c2") == {OTHER.kid: "active"}


async def test_revoking_a_copied_public_key(bench: Bench) -> None:
    """Public keys are public: who registers one as its own and revokes it ends none of the owner's tokens."""
    await bench.add_client("asks", introspects=(API,))
    token = (await bench.good(bench.signed("c2")))["access_token"]
    assert (await _ask(bench, KEY, method="PUT", jwks=_jwks(KEY, OTHER))).status == 200
    assert (await _ask(bench, KEY, action="revoke", kid=OTHER.kid)).status == 200
    assert (await bench.good(bench.signed("asks", path="/introspect", token=token)))["active"] is True
    await bench.good(bench.signed("c2"))


@pytest.mark.parametrize("action", ["retire", "revoke"])
async def test_two_keys_that_end_each_other(durable: Bench, action: str) -> None:
    """Each was allowed to when it was asked; in the commit the second is not, and one stays."""
    await _proved(durable)
    replies = await asyncio.gather(
        _ask(durable, KEY, action=action, kid=NEXT.kid), _ask(durable, NEXT, action=action, kid=KEY.kid)
    )
    assert sorted(reply.status for reply in replies) == [200, 400]
    (refused,) = (reply for reply in replies if reply.status == 400)
    assert _reason(refused) == Reason.KEYS_CONFLICT.code, "its jti was its own"
    assert sorted((await _states(durable)).values()) == ["active", "revoked"]
    told = [json.loads(line) for line in await durable.audited()]
    assert [row["outcome"] for row in told if row["trace_id"] == refused.json()["trace_id"]] == ["accepted", "refused"]


async def test_keys_of_one_name(bench: Bench) -> None:
    """A name belongs to one live key; one that has ended may share it, and the live one is meant."""
    named = keys.parse_private_jwk({**NEXT.to_jwk(), "kid": KEY.kid})
    _refused(await _ask(bench, KEY, action="announce", jwk=_jwk(named)), Reason.KEYS_CONFLICT)
    await _proved(bench)
    assert (await _ask(bench, NEXT, action="retire", kid=KEY.kid)).status == 200
    heir = keys.parse_private_jwk({**keys.generate("ES256").to_jwk(), "kid": KEY.kid})
    assert (await _ask(bench, NEXT, action="announce", jwk=_jwk(heir))).status == 201
    assert (await _ask(bench, heir, action="prove")).status == 200
    assert (await bench.send(post(form(bench.assertion(key=heir))))).status == 200
    assert (await bench.send(bench.signed())).status == 401


async def test_no_more_keys_than_fit(bench: Bench) -> None:
    many = [keys.generate("Ed25519") for _ in range(17)]
    _refused(await _ask(bench, KEY, method="PUT", jwks=_jwks(*many)), Reason.KEYS_MALFORMED)
    for key in many[:15]:
        assert (await _ask(bench, KEY, action="announce", jwk=_jwk(key))).status == 201
    _refused(await _ask(bench, KEY, action="announce", jwk=_jwk(many[15])), Reason.KEYS_CONFLICT)


@pytest.mark.parametrize(
    "text", ["{", '{"keys":[]}', '{"keys":[1]}', '{"keys":{}}', '{"kty":"EC"}', "\x00", "1" * 60_000]
)
async def test_hosted_set_of_nonsense(bench: Bench, text: str) -> None:
    _refused(await _ask(bench, KEY, method="PUT", jwks=text), Reason.KEYS_MALFORMED)
    assert await _states(bench) == {KEY.kid: "active"}


async def test_name_that_terminal_would_obey(bench: Bench) -> None:
    evil = json.dumps({**NEXT.public().to_jwk(), "kid": "\x1b[2J\r\nSet-Cookie: a=b\u202e"})
    reply = await _ask(bench, KEY, action="announce", jwk=evil)
    _refused(reply, Reason.KEYS_MALFORMED)
    assert b"\x1b" not in reply.body
    assert all(line.isprintable() for line in await bench.audited())
    assert bench.clock.now == NOW
