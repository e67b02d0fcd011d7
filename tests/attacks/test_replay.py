"""T5: one assertion, at most one token; and who did not sign it cannot use it up."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.attacks.bench import OTHER, STRANGER, Bench, alter, assertion, form, post, raw
from tests.wire import Request

from affiant.errors.reasons import Reason
from affiant.jose import base64url
from affiant.testing import ABSENT, ISSUER, NOW


@pytest.mark.attack(124)
async def test_malleable_signature_is_a_replay(bench: Bench) -> None:
    """Of (r, s) everybody can make (r, n - s), which holds too; where there is no jti, the JWS is what is used once."""
    await bench.change_client("c1", jti_policy="legacy")
    text = assertion(jti=ABSENT)
    signed, _, signature = text.rpartition(".")
    made = base64url.decode(signature)
    s = ec.SECP256R1().group_order - int.from_bytes(made[32:], "big")
    twin = f"{signed}.{base64url.encode(made[:32] + s.to_bytes(32, 'big'))}"
    assert (await bench.send(post(form(text)))).status == 200
    for again in (text, twin):
        await bench.refused(post(form(again)), Reason.REPLAYED, claimed="c1", jti=None)


@pytest.mark.attack(130)
@pytest.mark.rfc(7523, "3(7)")
async def test_twice(bench: Bench) -> None:
    what = post()
    await bench.issued(what)
    await bench.refused(what, Reason.REPLAYED, uses_up=True)


@pytest.mark.attack(133)
@pytest.mark.rfc(7523, "3(7)")
async def test_same_jti_of_two_clients(bench: Bench) -> None:
    await bench.issued(post())
    await bench.issued(post(form(assertion(OTHER, iss="c2", sub="c2"))), client_id="c2")


@pytest.mark.attack(135)
@pytest.mark.rfc(7523, "3(7)")
async def test_same_jti_signed_anew(bench: Bench) -> None:
    await bench.issued(post())
    bench.clock.now += 5
    changed = assertion(exp=NOW + 90, iat=NOW + 5, scope="other")
    await bench.refused(post(form(changed)), Reason.REPLAYED, uses_up=True)


@pytest.mark.attack(138)
async def test_stranger_cannot_use_jti_up(bench: Bench) -> None:
    """Whatever fails before the claims held; `refused` then gets a token with the same jti."""
    forged = raw({"alg": "ES256"}, sign=STRANGER.sign)
    await bench.refused(post(form(forged)), Reason.SIGNATURE, uses_up=False)


@pytest.mark.attack(140)
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"scope": "admin"}, Reason.SCOPE_NOT_ALLOWED),
        ({"scope": "a  b"}, Reason.SCOPE_MALFORMED),
        ({"resource": "relative"}, Reason.RESOURCE_MALFORMED),
        ({"resource": "https://elsewhere.example"}, Reason.RESOURCE_NOT_ALLOWED),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, Reason.GRANT_NOT_ALLOWED),
    ],
)
async def test_refused_afterwards_uses_jti_up(bench: Bench, more: dict[str, str], reason: Reason) -> None:
    """Who proved who it is has used its assertion, whatever it then asked for."""
    text = assertion()
    await bench.refused(post(form(text, **more)), reason, uses_up=True)
    await bench.refused(post(form(text)), Reason.REPLAYED, uses_up=True)


async def _is_failing(bench: Bench, what: Request) -> None:
    reply = await bench.send(what)
    members: dict[str, Any] = reply.json()
    assert (reply.status, members["error"]) == (503, "temporarily_unavailable")
    assert members["error_uri"] == f"{ISSUER}/errors/{Reason.STORE.code}"
    assert (reply.headers["retry-after"], reply.headers["cache-control"]) == ("1", "no-store")
    assert set(members) == {"error", "error_description", "error_uri", "trace_id"}


@pytest.mark.attack(148)
async def test_store_away(durable: Bench) -> None:
    """Fail closed: 503 and no token; when the store is back, the same assertion is good."""
    what = post()
    await durable.store.close()
    await _is_failing(durable, what)
    assert (await durable.send(Request(method="GET", path="/health", headers=()))).status == 503
    await durable.store.open()
    await durable.issued(what)


@pytest.mark.attack(148)
async def test_record_cannot_be_written(durable: Bench, tmp_path: Path) -> None:
    """The claim stands before the record in the commit: without the one there is not the other."""
    what = post()
    alter(tmp_path, "ALTER TABLE audit RENAME TO away")
    await _is_failing(durable, what)
    assert not await durable.used_up("j")
    alter(tmp_path, "ALTER TABLE away RENAME TO audit")
    await durable.issued(what)
