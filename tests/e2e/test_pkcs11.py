"""A real server with two workers whose signing keys are in a PKCS #11 token (SoftHSM)."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests import softhsm
from tests.e2e.test_key_rotation import API, _kid, _published, _token
from tests.process import Server

from affiant import Guard
from affiant.server.keys.calendar import SEEN_SECONDS


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> softhsm.SoftHsm:
    made = softhsm.make(tmp_path / "hsm")
    if made is None:
        pytest.skip(softhsm.MISSING)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)  # the processes of the test have it from here
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, workers=2)
    yield made
    made.stop()


def _register(server: Server) -> None:
    server.add_api()
    server.affiant("client", "new", "load", "--scope", "orders.read", "--introspect", API)


async def _tokens(server: Server, guard: Guard, number: int = 8) -> set[str]:
    """The kids of tokens from new connections, so by either worker, each accepted by a guard."""
    key, kids = server.key("load"), set[str]()
    async with httpx2.AsyncClient(timeout=20, headers={"Connection": "close"}) as http:
        for _ in range(number):
            token = await _token(http, server, key)
            await guard.check([f"Bearer {token}".encode()], need=["orders.read"])
            kids.add(_kid(token))
    return kids


def _states(server: Server) -> dict[str, str]:
    return {key["kid"]: key["state"] for key in server.affiant("signing-key", "list")}


async def test_tokens_flow_through_rotations_a_restart_and_a_removal(hsm: softhsm.SoftHsm, server: Server) -> None:
    """Both workers sign with keys that another process made in the token; a good token is refused at no time."""
    server.start()
    _register(server)
    guard = Guard(server.issuer, audience=API)
    (first,) = await _tokens(server, guard)
    assert len(first) == 32
    made: dict[str, Any] = {}
    for alg in ("ES256", "PS256"):
        made = server.affiant("signing-key", "rotate", "--now", "--alg", alg)
        assert made["alg"] == alg
        await _tokens(server, guard)
        await asyncio.sleep(SEEN_SECONDS + 0.2)
        assert await _tokens(server, guard) == {made["kid"]}
    server.stop()
    server.start()
    assert await _tokens(server, guard) == {made["kid"]}
    done = server.affiant("signing-key", "remove", "--", made["kid"])
    await asyncio.sleep(1)
    assert await _tokens(server, guard) == {done["signer"]}
    states = _states(server)
    assert (states[made["kid"]], states[done["signer"]]) == ("removed", "active")
    said = json.dumps(server.affiant("signing-key", "list")) + server.child.out + server.child.err  # type: ignore[union-attr]
    assert softhsm.PIN not in said
    server.affiant("audit", "verify")


@pytest.mark.soak
async def test_a_store_with_sealed_keys_moves_into_the_token_and_back(
    hsm: softhsm.SoftHsm, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys before retire where they are: no token is refused, and only what signs needs the token."""
    environment = hsm.environment()
    for name in environment:
        monkeypatch.delenv(name)
    server.start()
    _register(server)
    guard = Guard(server.issuer, audience=API)
    (old,) = await _tokens(server, guard)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    server.stop()
    server.start()
    assert await _tokens(server, guard) == {old}, "the sealed key goes on until it is followed"
    inside = server.affiant("signing-key", "rotate", "--now")["kid"]
    await asyncio.sleep(SEEN_SECONDS + 0.2)
    assert await _tokens(server, guard) == {inside}
    server.stop()
    for name in environment:
        monkeypatch.delenv(name)
    lost = server.run("serve", "--port", str(server.port))
    assert (lost.returncode, lost.stderr.count("\n")) == (8, 1)
    assert f"the key {inside} is in the PKCS #11 token {softhsm.LABEL}: set AFFIANT_PKCS11_MODULE" in lost.stderr
    back = server.affiant("signing-key", "rotate", "--now")["kid"]
    await asyncio.sleep(SEEN_SECONDS + 0.2)
    server.start()
    assert await _tokens(server, guard) == {back}
    async with httpx2.AsyncClient(timeout=20) as http:
        assert set(await _published(http, server.issuer)) == {old, inside, back}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AFFIANT_PKCS11_MODULE", "/nowhere/lib.so", "the PKCS #11 module /nowhere/lib.so cannot be used"),
        ("AFFIANT_PKCS11_TOKEN", "other", f"there is no PKCS #11 token other (there is: {softhsm.LABEL}"),
        ("AFFIANT_PKCS11_TOKEN", "", "AFFIANT_PKCS11_TOKEN: write text of 1 to 32 characters"),
        ("AFFIANT_PKCS11_PIN", "", "needs its PIN: set AFFIANT_PKCS11_PIN"),
        ("AFFIANT_PKCS11_PIN", "wrong-pin", "refuses the PIN (PinIncorrect): set AFFIANT_PKCS11_PIN"),
        ("AFFIANT_SIGNING_ALG", "ML-DSA-65", "ML-DSA-65 keys cannot be in a PKCS #11 token here: choose one of"),
    ],
)
def test_what_is_set_wrong_stops_the_server_with_one_line(
    hsm: softhsm.SoftHsm, server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    done = server.run("serve", "--port", str(server.port))
    assert (done.returncode, done.stderr.count("\n")) == (8, 1), done.stderr
    assert says in done.stderr
    assert "wrong-pin" not in done.stdout + done.stderr


async def test_a_token_that_is_gone_is_503_and_then_the_server_goes_on(hsm: softhsm.SoftHsm, server: Server) -> None:
    """As when it is pulled out: no token, no crash, nothing in doubt; and it heals by itself."""
    server.workers = 1
    server.start()
    _register(server)
    guard = Guard(server.issuer, audience=API)
    before = await _tokens(server, guard)
    tokens = hsm.configuration.parent / "tokens"
    tokens.rename(tokens.with_name("away"))
    key: Any = server.key("load")
    statuses = set[int]()
    async with httpx2.AsyncClient(timeout=20) as http:
        for _ in range(20):
            try:
                await _token(http, server, key)
                statuses.add(200)  # SoftHSM may still have the key in its memory
            except AssertionError as refused:
                assert "server.unavailable" in str(refused) or "temporarily_unavailable" in str(refused), refused
                statuses.add(503)
    tokens.with_name("away").rename(tokens)
    for _ in range(50):
        try:
            assert await _tokens(server, guard, 1) == before
            break
        except AssertionError:
            await asyncio.sleep(0.2)
    else:
        pytest.fail("it does not go on")
    assert statuses <= {200, 503}
