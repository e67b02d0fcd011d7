"""The mistake zoo: what explain prints first, typed as it stands, makes the next request succeed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from tests.zoo.caller import Caller, Clock, Request
from tests.zoo.mistakes import MISTAKES, Mistake

from affiant.jose import keys
from affiant.server import app
from affiant.server.explain import captured
from affiant.server.keys import master_key
from affiant.server.registry import directory, rules
from affiant.storage.sqlite import SqliteStore
from affiant.storage.sqlite.store import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from affiant.server.explain.walk import Explainer, Explanation

pytestmark = pytest.mark.anyio
ISSUER, NOW = "http://127.0.0.1:8377", 1_800_000_000
EC, OTHER_EC, STRANGER, RSA = (keys.generate(alg) for alg in ("ES256", "ES256", "ES256", "RS256"))
SCOPES = ("orders.read", "orders.write")


@dataclass
class House:
    """A server on a data folder, as `affiant serve` runs it."""

    http: httpx2.AsyncClient
    explainer: Explainer
    folder: Path
    now: list[float]
    secrets: dict[str, str]

    async def send(self, request: Request) -> int:
        sent = await self.http.request(
            request.method, request.url, headers=request.headers, content=request.body.encode()
        )
        return sent.status_code

    async def explain(self, text: str) -> Explanation:
        return await self.explainer.explain(captured.parse(text), now=self.now[0])


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(directory, "FRESH_SECONDS", 0.0)  # what a command changes is seen at once
    data, now = tmp_path / "affiant-data", [float(NOW)]
    data.mkdir()
    master_key.make(data)
    key = master_key.load(data)
    store = SqliteStore(data / FILE_NAME, audit_key=key.audit)
    server = app.build(issuer=ISSUER, store=store, master_key=key, clock=lambda: now[0])
    transport = httpx2.ASGITransport(app=server)
    async with server.router.lifespan_context(server), httpx2.AsyncClient(transport=transport) as http:
        api = rules.build_api("api", identifier="https://api.example", scopes=SCOPES, is_default=True, now=NOW)
        await store.apis.add(api)
        secrets = {}
        for name, options in _registrations().items():
            made = rules.build_client(name, master_key=key, now=NOW, scopes=SCOPES, **options)
            await store.clients.add(made.client)
            secrets[name] = made.client_secret or ""
        await store.settings.put("issuer", ISSUER)
        explainer = app.build_explainer(issuer=ISSUER, store=store, master_key=key)
        yield House(http, explainer, tmp_path, now, secrets)


def _registrations() -> dict[str, dict[str, Any]]:
    by_key = {"auth_method": "private_key_jwt"}
    return {
        "billing-ec": {**by_key, "keys": (EC.public(),)},
        "two": {**by_key, "keys": (EC.public(), OTHER_EC.public())},
        "disabled": {**by_key, "keys": (EC.public(),)},
        "rsa": {**by_key, "keys": (RSA.public(),), "alg": "RS256"},
        "hmac": {"auth_method": "client_secret_jwt"},
        "post": {"auth_method": "client_secret_post"},
    }


def _caller(house: House, mistake: Mistake) -> Caller:
    name = {"ec": "billing-ec"}.get(mistake.client, mistake.client)
    key = {"rsa": RSA, "hmac": None}.get(mistake.client, STRANGER if mistake.stranger else EC)
    clock = Clock(house.now)
    clock.offset = mistake.clock
    return Caller(
        client_id=name,
        issuer=ISSUER,
        key=key.key if key is not None else None,
        clock=clock,
        alg={"rsa": "RS256", "hmac": "HS256"}.get(mistake.client, "ES256"),
        kid=OTHER_EC.kid if mistake.client == "two" else None,
        secret=house.secrets[name],
        early=mistake.early,  # type: ignore[arg-type]  # what a change returns is nobody's business
        at_input=mistake.at_input,  # type: ignore[arg-type]
        at_signature=mistake.at_signature,  # type: ignore[arg-type]
    )


def _command(house: House, line: str) -> None:
    """Type a command into a shell, in the server's folder, with the file that it asks for in its place."""
    public = STRANGER.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (house.folder / "public.pem").write_bytes(pem)
    words = shlex.split(line.replace("PUBLIC_KEY_FILE", "public.pem"))
    assert words[0] == "affiant"
    done = subprocess.run(
        [sys.executable, "-m", "affiant.cli.main", *words[1:]], cwd=house.folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


async def _request(house: House, caller: Caller, mistake: Mistake) -> Request:
    """The request with its mistake; where it is one of repeating, after the first."""
    request = caller.build()
    if mistake.again is None:
        return request
    assert await house.send(request) == 200
    house.now[0] += mistake.again
    # Who keeps the assertion sends the same bytes; who only keeps the jti signs anew.
    return caller.build() if "jti" in mistake.name or "same" in mistake.name else request


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda n: MISTAKES[n].name)
async def test_the_first_fix_helps(house: House, number: int) -> None:
    mistake = MISTAKES[number]
    if mistake.client == "disabled":
        _command(house, "affiant client disable disabled")
    caller = _caller(house, mistake)
    request = await _request(house, caller, mistake)
    found = await house.explain([request.as_http, request.as_curl, request.as_har][number % 3]())
    assert found.reason is mistake.reason, found
    assert await house.send(request) in (400, 401, 405)
    assert found.fix is not None
    if found.fix.line.startswith("timedatectl"):
        caller.clock.offset = 0
    elif found.fix.is_command:
        _command(house, found.fix.line)
    else:
        caller.fixes.append(found.fix.line)
    mended = caller.build()
    assert await house.send(mended) == 200, (found.fix, await house.explain(mended.as_http()))


async def test_a_good_request_has_nothing_to_mend(house: House) -> None:
    request = _caller(house, Mistake("none", MISTAKES[0].reason)).build()
    for text in (request.as_http(), request.as_curl(), request.as_har(), request.body):
        found = await house.explain(text)
        assert (found.reason, found.fix) == (None, None)
        assert [line.mark for line in found.lines] == ["passed"] * 12
    assert await house.send(request) == 200  # explaining claimed nothing


def test_enough_mistakes() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 40
