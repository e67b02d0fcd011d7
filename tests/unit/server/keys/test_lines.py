"""APIs that have chosen an algorithm: whose key signs, each line in its own calendar, and what a guard makes of it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest
from tests import softhsm

from affiant import Guard
from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.server.keys import calendar as calendar_rules
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import DAY, RETIRING_SECONDS, Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.signers import threads
from affiant.signers.pkcs11.token import Token
from affiant.storage.records import SigningKey
from affiant.testing import ISSUER, NOW, Server

MASTER = MasterKey.from_bytes(bytes(range(32)))
PLAIN, LEDGER, BOOKS = "https://plain.example", "https://ledger.example", "https://books.example"
CALENDAR = Calendar()


class Served:
    """A server with three APIs and a client; `alg` is what the ledger and the books have chosen."""

    def __init__(self, server: Server, vault: Vault) -> None:
        self.server, self.store, self.clock, self.vault = server, server.store, server.clock, vault
        self.guards = {api: self.guard(api) for api in (PLAIN, LEDGER, BOOKS)}

    def guard(self, audience: str, **options: Any) -> Guard:
        return Guard(ISSUER, audience=audience, http=self.server.http, clock=self.clock, **options)

    async def register(self, alg: str) -> None:
        for api, chosen in ((PLAIN, None), (LEDGER, alg), (BOOKS, alg)):
            default = api == PLAIN
            await self.server.add_api(api, name=api[8:13], scope=("r",), is_default=default, signing_alg=chosen)
        await self.server.add_client("c1", scope=("r",), resources=(PLAIN, LEDGER, BOOKS))

    async def choose(self, api: str, alg: str | None) -> None:
        await self.store.apis.update(api, lambda stored: replace(stored, signing_alg=alg))

    async def ask(self, *resources: str) -> httpx2.Response:
        return await self.server.post(self.server.form(resource=list(resources)))

    async def token(self, *resources: str) -> str:
        """A token that the guard of each of its APIs has accepted."""
        reply = await self.ask(*resources)
        assert reply.status_code == 200, reply.text
        token: str = reply.json()["access_token"]
        for api in resources:
            await self.guards[api].check([f"Bearer {token}".encode()])
        return token

    async def alg(self, *resources: str) -> str:
        return compact.parse(await self.token(*resources)).alg

    async def keep(self) -> None:
        await signing_keys.keep(self.store, self.vault, now=int(self.clock.now), calendar=CALENDAR)

    async def line(self, line: str) -> list[tuple[str, str]]:
        """State and algorithm of its keys, the newest first."""
        found = await self.store.signing_keys.list()
        now = self.clock.now
        return [(calendar_rules.state(key, found, now), key.alg) for key in calendar_rules.of_line(found, line)]

    async def signer(self, line: str) -> SigningKey:
        found = calendar_rules.find_signer(
            calendar_rules.of_line(await self.store.signing_keys.list(), line), self.clock.now
        )
        assert found is not None
        return found


@asynccontextmanager
async def _serving(alg: str = "ES512", vault: Vault | None = None) -> AsyncIterator[Served]:
    vault = vault or Vault(MASTER)
    async with Server.in_process(vault=vault) as server:
        served = Served(server, vault)
        await served.register(alg)
        yield served


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES384", "Ed25519", "EdDSA", "ML-DSA-44"])
async def test_each_api_has_its_algorithm(alg: str) -> None:
    """One key set for all; a guard picks by the kid, also one that takes nothing but its own algorithm."""
    async with _serving(alg) as served:
        assert await served.alg(PLAIN) == "ES256"
        assert await served.alg(LEDGER) == await served.alg(LEDGER, BOOKS) == alg
        assert await served.alg(PLAIN) == "ES256"
        published = (await served.server.http.get("/jwks")).json()["keys"]
        assert sorted(key["alg"] for key in published) == sorted(["ES256", alg])
        token = [f"Bearer {await served.token(LEDGER)}".encode()]
        await served.guard(LEDGER, algorithms=[alg], revocations="off").check(token)
        with pytest.raises(Rejected):
            await served.guard(LEDGER, algorithms=["ES256"], revocations="off").check(token)


async def test_the_first_token_of_an_algorithm_finds_a_key() -> None:
    """Twenty at once, on a server that runs: one key is made, before the first answer."""
    async with _serving() as served:
        assert await served.line("ES512") == []
        assert set(await asyncio.gather(*(served.alg(LEDGER) for _ in range(20)))) == {"ES512"}
        assert await served.line("ES512") == [("active", "ES512")]


async def test_a_key_for_the_algorithm_of_another_line_does_not_sign() -> None:
    """The line counts, not the algorithm: each can be rotated, and removed, for itself."""
    async with _serving("ES256") as served:
        plain, ledger = compact.parse(await served.token(PLAIN)), compact.parse(await served.token(LEDGER))
        assert (plain.alg, ledger.alg, plain.kid == ledger.kid) == ("ES256", "ES256", False)


async def test_apis_that_disagree_cannot_share_a_token() -> None:
    async with _serving() as served:
        for resources in ((PLAIN, LEDGER), (LEDGER, PLAIN), (PLAIN, LEDGER, BOOKS)):
            reply = await served.ask(*resources)
            assert (reply.status_code, reply.json()["error"]) == (400, "invalid_target")
            assert reply.json()["error_uri"] == f"{ISSUER}/errors/{Reason.RESOURCE_ALGORITHMS.code}"
        await served.choose(BOOKS, "ES384")
        assert (await served.ask(LEDGER, BOOKS)).status_code == 400
        assert await served.alg(BOOKS) == "ES384"


async def test_each_line_has_a_calendar_of_its_own() -> None:
    async with _serving() as served:
        await served.token(LEDGER)
        await signing_keys.rotate(served.store, served.vault, now=NOW, delay=2, by="a test", alg="Ed25519")
        served.clock.now += 10
        assert [await served.alg(PLAIN), await served.alg(LEDGER)] == ["Ed25519", "ES512"]
        await signing_keys.rotate(served.store, served.vault, now=NOW + 10, delay=2, by="a test", line="ES512")
        assert await served.line("ES512") == [("announced", "ES512"), ("active", "ES512")]
        served.clock.now = NOW + 12 + 83 * DAY
        await served.keep()
        assert await served.line("") == [("announced", "Ed25519"), ("active", "Ed25519"), ("removed", "ES256")]
        assert await served.line("ES512") == [("announced", "ES512"), ("active", "ES512"), ("removed", "ES512")]
        served.clock.now += 7 * DAY
        assert [await served.alg(PLAIN), await served.alg(LEDGER)] == ["Ed25519", "ES512"]


async def test_a_line_that_no_api_needs_retires_and_comes_back() -> None:
    """Its tokens stay good; then its keys go; and whoever chooses the algorithm again gets a new key at once."""
    async with _serving() as served:
        before = await served.token(LEDGER)
        with pytest.raises(ConfigError, match="no API has chosen ES256"):
            await signing_keys.rotate(served.store, served.vault, now=NOW, delay=2, by="a test", line="ES256")
        for api in (LEDGER, BOOKS):
            await served.choose(api, None)
        assert await served.alg(LEDGER) == "ES256"
        await served.keep()
        assert await served.line("ES512") == [("retiring", "ES512")]
        await served.guards[LEDGER].check([f"Bearer {before}".encode()])
        served.clock.now += 100
        await served.choose(LEDGER, "ES512")
        assert await served.alg(LEDGER) == "ES512"
        await served.keep()
        assert await served.line("ES512") == [("active", "ES512"), ("retiring", "ES512")]
        assert await served.alg(LEDGER) == "ES512"
        await served.choose(LEDGER, None)
        await served.keep()
        served.clock.now += RETIRING_SECONDS
        assert await served.line("ES512") == [("removed", "ES512")] * 2
        await served.keep()
        assert [bool(key.sealed) for key in await served.store.signing_keys.list()] == [False, False, True]


@pytest.mark.attack(301)
@pytest.mark.parametrize("line", ["", "ES512"])
async def test_the_last_key_can_be_removed(line: str) -> None:
    """It is never refused, for it may be stolen: a new one signs in the same commit, and the old tokens are dead."""
    api = LEDGER if line else PLAIN
    async with _serving() as served:
        token = await served.token(api)
        lost = await served.signer(line)
        signer = await signing_keys.remove(served.store, served.vault, lost.kid, now=NOW, by="a test")
        assert signer is not None
        assert (signer.line, signer.alg) == (line, lost.alg)
        assert compact.parse(await served.token(api)).kid == signer.kid
        with pytest.raises(Rejected):
            await served.guard(api).check([f"Bearer {token}".encode()])
        told = [msgspec.json.decode(row.record) for row in await served.store.audit_log.export()]
        changes = [(one["outcome"], one["kid"]) for one in told if one["endpoint"] == "signing_keys"]
        assert changes[-2:] in (
            [("removed", lost.kid), ("announced", signer.kid)],
            [("announced", signer.kid), ("removed", lost.kid)],
        )


async def test_a_key_that_no_api_needs_is_removed_without_a_successor() -> None:
    async with _serving() as served:
        await served.token(LEDGER)
        for api in (LEDGER, BOOKS):
            await served.choose(api, None)
        await served.keep()
        lost = await served.signer("ES512")
        assert await signing_keys.remove(served.store, served.vault, lost.kid, now=NOW + 1, by="a test") is None
        assert await served.line("ES512") == [("removed", "ES512")]


async def test_a_token_that_hangs_stops_nobody_else(hsm: softhsm.SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests for tokens are answered 503 in time, at once when it is known, and all else as before."""
    token = Token(hsm.module, softhsm.LABEL, softhsm.PIN)
    async with _serving(vault=Vault(MASTER, token)) as served:
        assert await served.alg(PLAIN) == "ES256"
        monkeypatch.setattr(threads, "SIGN_SECONDS", 0.3)
        end = threading.Event()
        stuck = asyncio.create_task(token._run(lambda _: end.wait(), 0.3))
        await asyncio.sleep(0.01)
        began = time.monotonic()
        replies = await asyncio.gather(*(served.ask(PLAIN) for _ in range(50)), served.server.http.get("/jwks"))
        assert time.monotonic() - began < 4
        assert [reply.status_code for reply in replies] == [503] * 50 + [200]
        assert "retry-after" in replies[0].headers
        await asyncio.gather(stuck, return_exceptions=True)
        assert (await served.ask(PLAIN)).status_code == 503
        end.set()
        for _ in range(100):
            if (await served.ask(PLAIN)).status_code == 200:
                break
            await asyncio.sleep(0.02)
        assert await served.alg(PLAIN) == "ES256"
        await token.erase(await token.list())
