"""A client's keys while tokens flow: a real server with two workers, and `affiant key`."""

import asyncio
import json
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from tests.process import Server

from affiant import testing
from affiant.client.credentials import file as credentials
from affiant.client.credentials import rotation
from affiant.client.credentials.rotation import KeyRing
from affiant.errors import LocalError, Refused
from affiant.jose.keys import PrivateKey, generate, parse_private_jwk

CONNECTIONS, END_SECONDS = 3, 1.0
RATE = 45  # tokens a second at most: a client may have 50
SOON = 0.3  # seconds after which both workers know a change; a client waits longer, for it does not know their server


def _register(server: Server, name: str) -> Path:
    server.affiant("client", "new", name, "--scope", "orders.read")
    return server.folder / f"{name}.affiant.json"


def _key(path: Path) -> PrivateKey:
    return rotation.signer(credentials.read(path))


async def _ask(http: httpx2.AsyncClient, server: Server, name: str, key: PrivateKey) -> int:
    form = testing.form(server.assertion(name, key=key))
    return (await http.post(f"{server.issuer}/token", data=form)).status_code


class Load:
    """Connections that read the credentials file for each token, as `affiant token` does."""

    def __init__(self, server: Server, name: str, path: Path) -> None:
        self.server, self.name, self.path = server, name, path
        self.issued, self.refused, self.kids = 0, 0, set[str]()
        self.is_over = False

    async def connection(self) -> None:
        async with httpx2.AsyncClient(timeout=20) as http:
            while not self.is_over:
                key = _key(self.path)
                status = await _ask(http, self.server, self.name, key)
                self.issued += status == 200
                self.refused += status != 200
                self.kids.add(key.kid)
                await asyncio.sleep(CONNECTIONS / RATE)


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.soak)])
async def test_rotations_under_load_refuse_no_good_request(server: Server, times: int) -> None:
    """No token is refused to who reads the file; each old key is refused within a second of its end, by each worker."""
    name = f"rotating{times}"
    path = _register(server, name)
    load = Load(server, name, path)
    connections = [asyncio.create_task(load.connection()) for _ in range(CONNECTIONS)]
    late = 0
    try:
        with httpx2.Client(timeout=20) as http:
            for _ in range(times):
                old = _key(path)
                # One second: a request that was signed when the file was read may still be on its way.
                await asyncio.to_thread(rotation.rotate, path, http, overlap=1)
                await asyncio.sleep(1 + END_SECONDS)
                async with httpx2.AsyncClient(timeout=20) as asking:
                    late += sum([await _ask(asking, server, name, old) == 200 for _ in range(8)])
    finally:
        load.is_over = True
        await asyncio.gather(*connections)
    print(f"{times} rotations, {load.issued} tokens, {load.refused} refused, {late} old keys too late")
    assert (load.refused, late) == (0, 0)
    assert load.issued > times
    assert len(load.kids) == times + 1
    server.affiant("audit", "verify")


STEPS = 9  # a rotation writes the file, waits and asks so often at least; more are tried until it is through


class Stopped(BaseException):
    """The process ends here."""


class Stopping:
    """A rotation that ends after so many of its effects: before or after a request is answered, or a file written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        asking, writing = KeyRing.ask, credentials.Credentials.replace

        def ask(ring: KeyRing, signer: Any, **asked: Any) -> Any:
            self.step()
            done = asking(ring, signer, **asked)
            self.step()
            return done

        def write(found: credentials.Credentials, path: Path) -> None:
            self.step()
            writing(found, path)
            self.step()

        monkeypatch.setattr(KeyRing, "ask", ask)
        monkeypatch.setattr(credentials.Credentials, "replace", write)

    def step(self) -> None:
        if self.left == 0:
            raise Stopped
        self.left -= 1


def _wait(_: float) -> None:
    time.sleep(SOON)


def _works(server: Server, name: str, path: Path) -> bool:
    return server.token(**testing.form(server.assertion(name, key=_key(path)))).status_code == 200


def test_stopped_anywhere_it_is_finished_the_next_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every one of its effects; the file has a key that works all the time, and no key is left over."""
    path, stops, is_through = _register(server, "stopped"), 0, False
    with httpx2.Client(timeout=20) as http:
        while not is_through:
            first = _key(path)
            with monkeypatch.context() as patch:
                stopping = Stopping(patch, stops)
                try:
                    rotation.rotate(path, http, overlap=0, wait=_wait)
                    is_through = True
                except Stopped:
                    assert stopping.left == 0
            assert _works(server, "stopped", path), f"after {stops}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            if not is_through:
                rotation.rotate(path, http, overlap=0, wait=_wait)
            assert _works(server, "stopped", path)
            found = credentials.read(path)
            assert (found.next_key, found.old_key) == (None, None)
            assert _key(path).kid != first.kid
            known = KeyRing(server.issuer, "stopped", http).ask(_key(path), action="list")
            assert [key["kid"] for key in known if key["state"] != "revoked"] == [_key(path).kid]
            stops += 1
    assert stops > STEPS
    assert not list(server.folder.glob(".stopped*")), "no draft is left"


def test_a_key_that_was_taken_back_is_not_in_the_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _register(server, "taken-back")
    with httpx2.Client(timeout=20) as http, monkeypatch.context() as patch:
        Stopping(patch, 4)  # announced, not proved
        with pytest.raises(Stopped):
            rotation.rotate(path, http)
    waiting = credentials.read(path).next_key
    assert waiting is not None
    assert server.affiant("key", "cancel", "-c", str(path))["kid"] == parse_private_jwk(waiting).kid
    assert credentials.read(path).next_key is None
    server.affiant("key", "rotate", "-c", str(path), "--overlap", "0")
    assert _works(server, "taken-back", path)


def test_the_commands(server: Server, tmp_path: Path) -> None:
    """In words and in JSON; nothing private is printed, and nothing private is in any request."""
    path = _register(server, "commanded")
    old = _key(path)
    done = server.run("key", "rotate", "-c", str(path))
    assert done.returncode == 0, done.stderr
    new = _key(path)
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"made {new.kid}  ES256", f"announced {new.kid}"]
    assert lines[-1].startswith(f"the old key {old.kid} is valid until 20")
    shown = server.affiant("key", "list", "-c", str(path))
    assert [(key["kid"], key["state"]) for key in shown] == [(old.kid, "retiring"), (new.kid, "active")]
    assert shown[0]["safe_to_complete"] is False
    text = server.run("key", "list", "-c", str(path)).stdout
    assert f"{old.kid}  ES256  retiring  by the operator  never used  not yet: its successor was not used yet" in text
    assert server.affiant("key", "revoke", "-c", str(path), "--", old.kid)[0]["state"] == "revoked"
    refused = server.run("key", "retire", "-c", str(path), "--", new.kid)
    assert (refused.returncode, "cannot end itself" in refused.stderr) == (4, True)
    assert server.run("key", "retire", "nobody", "-c", str(path)).returncode == 4
    other = generate("ES256")
    sets = {"good": [new.public().to_jwk(), other.public().to_jwk()], "private": [new.to_jwk()], "none": []}
    for name, members in sets.items():
        (tmp_path / name).write_text(json.dumps({"keys": members}))
    put = server.affiant("key", "put", str(tmp_path / "good"), "-c", str(path))
    assert [key["kid"] for key in put if key["state"] == "active"] == [new.kid, other.kid]
    private = server.run("key", "put", str(tmp_path / "private"), "-c", str(path))
    assert (private.returncode, "has private members" in private.stderr) == (8, True)
    assert server.run("key", "put", str(tmp_path / "none"), "-c", str(path)).returncode == 8
    assert server.run("key", "put", str(tmp_path / "nothing"), "-c", str(path)).returncode == 3
    said = done.stdout + done.stderr + text + json.dumps(shown) + private.stderr
    assert not [word for word in (new.to_jwk()["d"], old.to_jwk()["d"]) if word in said]


def test_files_that_cannot_be_rotated(server: Server, launch: Callable[..., Any], tmp_path: Path) -> None:
    path = _register(server, "unrotated")
    inline = server.run("key", "rotate", AFFIANT_CREDENTIALS=path.read_text())
    assert (inline.returncode, "name the credentials file" in inline.stderr) == (8, True)
    server.affiant("client", "new", "keyless", "--auth", "client_secret_basic")
    for words in (["rotate"], ["list"]):
        keyless = server.run("key", *words, "-c", "keyless.affiant.json")
        assert (keyless.returncode, "has no key" in keyless.stderr) == (8, True)
    path.chmod(0o644)
    assert server.run("key", "rotate", "-c", str(path)).returncode == 8
    path.chmod(0o600)
    link = tmp_path / "link.affiant.json"
    link.symlink_to(path)
    server.affiant("key", "rotate", "-c", str(link), "--overlap", "0")
    assert link.is_symlink()
    assert _works(server, "unrotated", path)


def test_two_at_once(server: Server) -> None:
    """The second is refused, and the first goes on."""
    path = _register(server, "twice")
    with rotation.alone(path):
        refused = server.run("key", "rotate", "-c", str(path))
    assert (refused.returncode, "by another process" in refused.stderr) == (8, True)


def test_a_key_that_is_not_the_clients(server: Server) -> None:
    path = _register(server, "robbed")
    with httpx2.Client(timeout=20) as http, pytest.raises(Refused) as refusal:
        KeyRing(server.issuer, "robbed", http).ask(generate("ES256"), action="list")
    assert refusal.value.error == "invalid_client"
    assert _works(server, "robbed", path)


def test_a_key_file_is_left_behind_by_a_rotation(server: Server) -> None:
    """The new key is in the credentials file; the file of the old key is not written by us."""
    server.affiant("key", "new", "filed", "--issuer", server.issuer)
    server.affiant("client", "new", "filed", "--public-key", "filed.pem", "--scope", "orders.read")
    assert server.affiant("token", "-c", "filed.affiant.json", "--no-cache")["access_token"]
    pem = (server.folder / "filed.key").read_bytes()
    server.affiant("key", "rotate", "-c", "filed.affiant.json", "--overlap", "0")
    found = server.credentials("filed")
    assert ("key_file" in found, "key" in found) == (False, True)
    assert server.affiant("token", "-c", "filed.affiant.json", "--no-cache")["access_token"]
    assert (server.folder / "filed.key").read_bytes() == pem


@pytest.mark.parametrize("form", ["encrypted PEM", "PKCS #12", "variable"])
def test_a_protected_key_is_not_replaced_by_plain_text(
    server: Server, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a backup of the credentials file has the new key, and the old one, which was encrypted."""
    path = _register(server, f"protected-{form[0]}")
    held: Any = _key(path).key
    protected = serialization.BestAvailableEncryption(b"canary")
    data = held.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protected)
    if form == "PKCS #12":
        data = pkcs12.serialize_key_and_certificates(b"k", held, None, None, protected)
    named = path.with_suffix(".key")
    named.write_bytes(data)
    named.chmod(0o600)
    if form == "variable":
        monkeypatch.setenv("THE_KEY", json.dumps(credentials.read(path).key))
    key_file = "env:THE_KEY" if form == "variable" else named.name
    replace(credentials.read(path), key=None, key_file=key_file, kid=_key(path).kid).replace(path)
    monkeypatch.setenv("AFFIANT_KEY_PASSWORD", "canary")
    before = path.read_bytes()
    with httpx2.Client() as http, pytest.raises(LocalError, match=r"would get the new one as plain text: make one"):
        rotation.rotate(path, http)
    assert path.read_bytes() == before
