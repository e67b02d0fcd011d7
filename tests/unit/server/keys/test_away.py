"""A PKCS #11 token that is away: no token is issued, the client and the operator are told so, and it heals by itself."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests import softhsm
from tests.softhsm import LABEL, PIN

from affiant.errors import SignerError
from affiant.errors.reasons import Reason
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.signers import threads
from affiant.signers.pkcs11 import mechanisms
from affiant.signers.pkcs11.token import Token
from affiant.testing import ISSUER, Server

WELL = {"status": "ok"}


class Served:
    """A server whose signing keys are in a token that can be made to hang."""

    def __init__(self, server: Server, token: Token) -> None:
        self.server, self.http, self.store, self.token = server, server.http, server.store, token
        self._back = threading.Event()

    async def hang(self) -> None:
        """From now on the module does not return; who called it is told so after 0.1 s."""
        inside = threading.Event()
        self._back.clear()

        def stay(_: object) -> None:
            inside.set()
            self._back.wait(60)

        while not inside.is_set():
            with contextlib.suppress(SignerError):
                await self.token._run(stay, 0.1)

    def come_back(self) -> None:
        self._back.set()

    async def ask(self) -> httpx2.Response:
        return await self.server.post(self.server.form())

    async def health(self) -> dict[str, Any]:
        reply = await self.http.get("/health")
        members: dict[str, Any] = reply.json()
        assert reply.status_code == (200 if members == WELL else 503)
        return members


@pytest.fixture
async def served(
    hsm: softhsm.SoftHsm, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Served]:
    monkeypatch.setattr(app, "PROVE_SECONDS", getattr(request, "param", 0.01))
    monkeypatch.setattr(threads, "SIGN_SECONDS", 0.8)
    token = Token(hsm.module, LABEL, PIN)
    async with Server.in_process(vault=Vault(MasterKey.from_bytes(bytes(32)), token)) as server:
        await server.add_api("https://api.example", scope=("r",), is_default=True)
        await server.add_client("c1")
        made = Served(server, token)
        yield made
        made.come_back()
        await _until(made, is_well=True)
        await made.token.erase(await made.token.list())


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the token signs from now on."""
    signed: list[bytes] = []
    real = mechanisms.sign

    def sign(private: Any, how: Any, data: bytes) -> bytes:
        signed.append(data)
        return real(private, how, data)

    monkeypatch.setattr(mechanisms, "sign", sign)
    return signed


async def _until(served: Served, *, is_well: bool) -> dict[str, Any]:
    for _ in range(500):
        if ((told := await served.health()) == WELL) is is_well:
            return told
        await asyncio.sleep(0.01)
    pytest.fail("still as it was")


async def test_health_tells_of_it_in_its_own_word_and_heals(served: Served) -> None:
    """Although nobody asks for a token: a balancer that was told to send none would never hear that it is back."""
    assert await served.health() == WELL
    await served.hang()
    told = await _until(served, is_well=False)
    assert [why.partition(":")[0] for why in told["why"]] == ["signature"]
    assert "PKCS #11" in json.dumps(told)
    assert PIN not in json.dumps(told)
    assert (await served.http.get("/health/live")).status_code == 200
    served.come_back()
    await _until(served, is_well=True)


@pytest.mark.parametrize("served", [3600.0], indirect=True)
async def test_who_asks_for_health_costs_no_signature(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked: only the clock makes the token sign."""
    signed = _counted(monkeypatch)
    await asyncio.gather(*(served.http.get("/health") for _ in range(100)))
    assert not signed
    assert (await served.ask()).status_code == 200
    assert len(signed) == 1


async def test_what_is_signed_to_try_it_can_never_be_a_token(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = _counted(monkeypatch)
    for _ in range(300):
        if signed:
            break
        await asyncio.sleep(0.01)
    assert signed
    assert not any(b"." in data for data in signed)


async def test_the_refusal_says_that_it_cannot_sign(served: Served) -> None:
    """With its own reason, in the audit log too: the store is well. The next request is served when it is back."""
    await served.hang()
    await _until(served, is_well=False)  # else what follows is "well" before the server knows that it is not
    reply = await served.ask()
    members = reply.json()
    assert (reply.status_code, members["error"]) == (503, "temporarily_unavailable")
    assert (members["error_uri"], reply.headers["retry-after"]) == (f"{ISSUER}/errors/{Reason.SIGNER.code}", "1")
    assert "record" not in members["error_description"]
    assert "PKCS" not in reply.text
    record = await served.store.audit_log.find(members["trace_id"])
    assert record is not None
    assert (record["outcome"], record["reason"], record["client_id"]) == ("refused", Reason.SIGNER.code, "c1")
    assert "PKCS #11" in record["detail"]
    served.come_back()
    await _until(served, is_well=True)
    assert (await served.ask()).status_code == 200
