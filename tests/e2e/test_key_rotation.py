"""The server's own keys while tokens flow: a real server with two workers, real guards, and the command line."""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.process import Server, run

from affiant import Guard, testing
from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.keys import PrivateKey
from affiant.server.keys import key_source, signing_keys
from affiant.server.keys.calendar import MAX_AGE, SEEN_SECONDS
from affiant.server.keys.vault import Vault
from affiant.storage.sqlite import SqliteStore

API = "https://orders.example"
CONNECTIONS, KEPT = 4, 200
PRIVATE = ("sealed", '"d"', "priv", "PRIVATE")


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers: one may sign with a key when the other is asked for the key set."""
    with Server(tmp_path_factory.mktemp("rotating"), workers=2) as server:
        server.add_api()
        server.affiant("client", "new", "load", "--scope", "orders.read", "--introspect", API)
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that do not ask which key was the first."""
    with Server(tmp_path_factory.mktemp("other")) as server:
        server.add_api()
        yield server


async def _token(http: httpx2.AsyncClient, server: Server, key: PrivateKey) -> str:
    reply = await http.post(f"{server.issuer}/token", data=testing.form(server.assertion("load", key=key)))
    assert reply.status_code == 200, reply.text
    token: str = reply.json()["access_token"]
    return token


def _kid(token: str) -> str:
    return str(compact.parse(token).kid)


class Load:
    """Connections that get tokens and show them to a guard at once, and older ones again."""

    def __init__(self, server: Server) -> None:
        self.server, self.key = server, server.key("load")
        self.guard = Guard(self.server.issuer, audience=API)
        self.tokens: deque[str] = deque(maxlen=KEPT)
        self.checks, self.issued, self.refused = 0, 0, list[str]()
        self.kids: set[str] = set()
        self.is_over = False

    async def connection(self) -> None:
        async with httpx2.AsyncClient(timeout=20) as http:
            while not self.is_over:
                token = await _token(http, self.server, self.key)
                self.tokens.append(token)
                self.issued += 1
                self.kids.add(_kid(token))
                await self._check(self.guard, token)
                await self._check(self.guard, random.choice(self.tokens))
                if self.issued % 25 == 0:  # one that was just started, with one of the oldest
                    await self._check(Guard(self.server.issuer, audience=API), self.tokens[0])
                await asyncio.sleep(0.02)

    async def _check(self, guard: Guard, token: str) -> None:
        self.checks += 1
        try:
            await guard.check([f"Bearer {token}".encode()], need=["orders.read"])
        except Rejected as error:
            self.refused.append(f"{error} {_kid(token)}")


async def _rotate(folder: Path, times: int) -> None:
    """As the command does, without the time that its process takes to start."""
    store = SqliteStore(folder / "affiant.db", audit_key=key_source.load(folder).audit)
    await store.open()
    try:
        for _ in range(times):
            now = int(time.time())
            vault = Vault(key_source.load(folder))
            await signing_keys.rotate(store, vault, now=now, delay=SEEN_SECONDS, by="a test")
            await asyncio.sleep(SEEN_SECONDS + 0.1)
    finally:
        await store.close()


async def _published(http: httpx2.AsyncClient, issuer: str) -> list[str]:
    return [key["kid"] for key in (await http.get(f"{issuer}/jwks")).json()["keys"]]


@pytest.mark.attack(240)
async def test_after_an_emergency_removal(rotating: Server) -> None:
    """The server honours the key no longer within a second; a guard that hears of nothing, within its five minutes."""
    moved = [0.0]
    guard = Guard(rotating.issuer, audience=API, clock=lambda: time.time() + moved[0])
    key = rotating.key("load")
    async with httpx2.AsyncClient(timeout=20, headers={"Connection": "close"}) as http:
        old = await _token(http, rotating, key)
        await guard.check([f"Bearer {old}".encode()])
        done = await asyncio.to_thread(rotating.affiant, "signing-key", "remove", _kid(old))
        await asyncio.sleep(1)
        for _ in range(20):  # by either worker
            published = await _published(http, rotating.issuer)
            assert done["signer"] in published
            assert _kid(old) not in published
        new = await _token(http, rotating, key)
        assert _kid(new) == done["signer"]
        form = rotating.proof("load", token=old)
        assert (await http.post(f"{rotating.issuer}/introspect", data=form)).json() == {"active": False}
    moved[0] = MAX_AGE + 1.0
    with pytest.raises(Rejected) as refusal:
        await guard.check([f"Bearer {old}".encode()])
    assert refusal.value.reason is Reason.TOKEN_KEY
    await guard.check([f"Bearer {new}".encode()])


@pytest.mark.parametrize("times", [3, pytest.param(30, marks=pytest.mark.soak)])
async def test_rotations_under_load_refuse_no_good_token(rotating: Server, times: int) -> None:
    """Two seconds apart: every key signs at last, and no guard, old or new, refuses a token of any of them."""
    load = Load(rotating)
    connections = [asyncio.create_task(load.connection()) for _ in range(CONNECTIONS)]
    try:
        await _rotate(rotating.folder / "affiant-data", times)
    finally:
        load.is_over = True
        await asyncio.gather(*connections)
    print(f"{times} rotations, {load.issued} tokens, {load.checks} checks, {len(load.refused)} refused")
    assert not load.refused
    assert len(load.kids) == times + 1
    rotating.affiant("audit", "verify")


def _records(server: Server) -> list[dict[str, Any]]:
    shown = server.affiant("audit", "show", "-n", "100")
    return [row["record"] for row in shown if row["record"]["endpoint"] == "signing_keys"]


def test_the_commands(lone_server: Server) -> None:
    """List, rotate, hasten, remove; each is reported in words and in JSON, and logged with its author."""
    (first,) = lone_server.affiant("signing-key", "list")
    assert {name: first[name] for name in ("alg", "state", "retiring_at", "removed_at")} == {
        "alg": "ES256",
        "state": "active",
        "retiring_at": None,
        "removed_at": None,
    }
    second = lone_server.affiant("signing-key", "rotate")
    assert second["state"] == "announced"
    assert second["active_at"] - second["announced_at"] == 7 * 86_400
    again = lone_server.run("signing-key", "rotate")
    assert again.returncode == 8
    assert f"{second['kid']} is announced already" in again.stderr
    assert lone_server.run("signing-key", "rotate", "--now", "--alg", "RS256").returncode == 8
    hastened = lone_server.run("signing-key", "rotate", "--now")
    assert hastened.stdout.startswith(f"key {second['kid']}  ES256  signs from 20")
    time.sleep(SEEN_SECONDS + 0.1)
    lines = lone_server.run("signing-key", "list").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [second["kid"], "ES256", "active"],
        [first["kid"], "ES256", "retiring"],
    ]
    told = [
        (record["outcome"], record["kid"], record["detail"].rpartition("; ")[2][:7]) for record in _records(lone_server)
    ]
    assert told == [("announced", second["kid"], "by cli,"), ("advanced", second["kid"], "by cli,")]


def test_another_algorithm_is_warned_of(other: Server) -> None:
    done = other.run("signing-key", "rotate", "--now", "--alg", "PS256")
    assert done.returncode == 0
    assert "! until now it was ES256: an API that does not verify PS256 will refuse every token" in done.stdout
    time.sleep(SEEN_SECONDS + 0.1)
    assert [key["alg"] for key in other.affiant("signing-key", "list") if key["state"] == "active"] == ["PS256"]
    assert other.affiant("signing-key", "rotate")["alg"] == "PS256", "those that follow have the same"
    assert other.run("signing-key", "rotate", "--alg", "HS256").returncode == 2


@pytest.mark.attack(240)
def test_removing_the_only_key_makes_a_successor(lone_server: Server) -> None:
    (lost,) = lone_server.affiant("signing-key", "list")
    done = lone_server.run("signing-key", "remove", "--", lost["kid"])
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"removed {lost['kid']}: APIs refuse its tokens within 300 s"
    new, removed = lone_server.affiant("signing-key", "list")
    assert (new["state"], removed["state"], removed["kid"]) == ("active", "removed", lost["kid"])
    assert f"key {new['kid']}  ES256  signs" in done.stdout
    for kid in (lost["kid"], "nobody"):
        wrong = lone_server.run("signing-key", "remove", kid, "--json")
        assert (wrong.returncode, json.loads(wrong.stdout)["error"]["exit_code"]) == (3, 3)
    told = sorted((record["outcome"], record["kid"]) for record in _records(lone_server))
    assert told == [("announced", new["kid"]), ("removed", lost["kid"])]


def test_a_folder_without_a_server(tmp_path: Path) -> None:
    assert run(tmp_path, "db", "migrate", "--data", "empty").returncode == 0
    done = run(tmp_path, "signing-key", "list", "--data", "empty")
    assert (done.returncode, done.stdout) == (0, "no keys yet: affiant serve makes the first\n")


def test_an_api_has_keys_of_its_own_algorithm(other: Server) -> None:
    """From the command line, on a server that runs: made with the API, rotated for itself, and gone with the choice."""
    made = other.affiant(
        *("api", "new", "ledger", "--identifier", "https://ledger.example", "--scope", "l", "--signing-alg", "PS256")
    )
    assert made["signing_alg"] == "PS256"
    (key,) = [key for key in other.affiant("signing-key", "list") if key["for"] == "PS256"]
    assert (key["alg"], key["state"]) == ("PS256", "active")
    other.affiant(
        *("client", "new", "books", "--scope", "l", "--resource", "https://ledger.example", "--resource", API)
    )
    got = other.run("token", "-c", "books.affiant.json", "--resource", "https://ledger.example")
    assert compact.parse(got.stdout.strip()).kid == key["kid"], got.stderr
    next_key = other.affiant("signing-key", "rotate", "--for", "PS256")
    assert (next_key["for"], next_key["alg"], next_key["state"]) == ("PS256", "PS256", "announced")
    assert other.run("signing-key", "rotate", "--for", "PS256", "--alg", "ES256").returncode == 2
    assert other.run("signing-key", "rotate", "--for", "ES512").returncode == 8
    assert other.affiant("api", "update", "ledger", "--signing-alg", "ES384")["signing_alg"] == "ES384"
    assert other.affiant("api", "update", "https://ledger.example", "--signing-alg", "default")["signing_alg"] is None
    assert other.run("api", "update", "nobody", "--scope", "x").returncode == 3
    assert other.run("api", "update", "ledger", "--signing-alg", "HS256").returncode == 2


def test_nothing_private_is_printed(other: Server) -> None:
    said = ""
    for words in (
        ["list"],
        ["rotate", "--now"],
        ["list"],
        ["remove", other.affiant("signing-key", "list")[0]["kid"]],
    ):
        for more in ([], ["--json"]):
            done = other.run("signing-key", *words, *more)
            said += done.stdout + done.stderr
    assert not [word for word in PRIVATE if word in said]
