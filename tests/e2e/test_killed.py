"""Commands that make a secret, killed at every step: the next run finishes, and every secret has its file."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e import forked
from tests.process import Server

from affiant.cli.connection.data import with_store
from affiant.client.credentials import file as credentials
from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials import secrets as client_secrets
from affiant.storage.ports import Store
from affiant.storage.records import Client

FILE = """
[[clients]]
client_id = "kept.legacy"
token_endpoint_auth_method = "client_secret_basic"
scope = ["read"]
observe = ["typ"]
"""
NEW = ("client", "new", "kept.a")
SECRET = (*NEW, "--auth", "client_secret_basic")
COMMANDS = [
    pytest.param(NEW, id="key", marks=pytest.mark.soak),  # `several` begins with its steps
    pytest.param(SECRET, id="secret"),
    pytest.param((*NEW, "kept.b", "--scope", "read"), id="several"),
    pytest.param(("apply", "registry.toml", "--yes", "--credentials-to", "."), id="apply"),
    # The same steps with another credential.
    pytest.param((*NEW, "--auth", "client_secret_jwt"), id="mac", marks=pytest.mark.soak),
    pytest.param((*NEW, "--auth", "tls_client_auth", "--tls-san-dns", "a"), id="tls", marks=pytest.mark.soak),
    pytest.param(("admin", "bootstrap", "kept.owner"), id="owner", marks=pytest.mark.soak),
]


def _run(folder: Path, *words: str, killed_at: int | None = None) -> tuple[int, str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    done = forked.run(folder, (*words, "--json"), environment, timeout=60, killed_at=killed_at)
    return done.returncode, done.stdout + done.stderr


def _registry(folder: Path) -> dict[str, Client]:
    async def read(store: Store, _: MasterKey) -> dict[str, Client]:
        return {client.client_id: client for client in await store.clients.list()}

    return with_store(folder / "affiant-data", read)


def _proves(folder: Path, client: Client, now: float) -> bool:
    """Whether the client has one way to prove itself, and its file is that."""
    found = credentials.read(folder / f"{client.client_id}.affiant.json")
    if found.key is not None:
        live = [client_keys.thumbprint(key) for key in client_keys.live(client.keys, now)]
        return live == [keys.parse_private_jwk(found.key).public().thumbprint]
    if found.client_secret is None:
        return client.tls_subject is not None
    (live_secret,) = client_secrets.live(client.secrets, now)
    text = found.client_secret

    async def is_it(_: Store, master: MasterKey) -> bool:
        if live_secret.digest is not None:
            return live_secret.digest == master.digest(text)
        purpose = f"client-secret/{client.client_id}"
        return live_secret.sealed is not None and master.unseal(live_secret.sealed, purpose=purpose) == text.encode()

    return with_store(folder / "affiant-data", is_it)


def _left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".unfinished")]


@pytest.fixture
def places(tmp_path: Path) -> Callable[[], Path]:
    """A new folder with a copy of one data folder, each time."""
    number = iter(range(1000))

    def make() -> Path:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        (folder / "registry.toml").write_text(FILE)
        return folder

    return make


def _kill_at_every_step(places: Callable[[], Path], words: tuple[str, ...], *before: str) -> Iterator[tuple[Path, str]]:
    """Run the command in new folders, killed at one step more each time; then twice more, the first killed there, too.

    What finishes a stopped run can be stopped itself. Yields the folder and what the last run said, once it exists.
    """
    killed_at, code, said = 0, int(-signal.SIGKILL), ""
    while code == -signal.SIGKILL:
        killed_at += 1
        folder = places()
        if before:
            assert _run(folder, *before)[0] == 0
        code, said = _run(folder, *words, killed_at=killed_at)
        if code == -signal.SIGKILL:
            _run(folder, *words, killed_at=killed_at)
            last, said = _run(folder, *words)
            assert last == 0 or "already" in said, (killed_at, said)
            assert _left(folder) == [], killed_at
            yield folder, said
    assert code == 0, said
    assert killed_at > 6, "it was killed at every step"


@pytest.mark.parametrize("words", COMMANDS)
def test_every_client_has_its_file_whenever_its_registration_was_killed(
    words: tuple[str, ...], places: Callable[[], Path]
) -> None:
    for folder, said in _kill_at_every_step(places, words):
        for client in _registry(folder).values():
            assert _proves(folder, client, time.time()), said


def test_a_next_secret_is_in_the_file_whenever_its_making_was_killed(places: Callable[[], Path]) -> None:
    """The file always has a secret that is good; one that was lost with its run is ended."""
    words = ("client", "secret", "new", "kept.a", "--into", "kept.a.affiant.json")
    for folder, said in _kill_at_every_step(places, words, *SECRET):
        (client,) = _registry(folder).values()
        live = client_secrets.live(client.secrets, time.time())
        assert len(live) == 2, said
        assert _digest(folder) == live[-1].digest, said


@pytest.mark.soak
def test_no_invitation_is_lost_whenever_its_making_was_killed(places: Callable[[], Path]) -> None:
    words = ("invitation", "new", "--out", "kept.invitation")
    for folder, said in _kill_at_every_step(places, words):
        text = (folder / "kept.invitation").read_text().strip()

        async def is_it(store: Store, master: MasterKey, text: str = text) -> bool:
            return [token.digest for token in await store.initial_access_tokens.list()] == [master.digest(text)]

        assert with_store(folder / "affiant-data", is_it), said


def test_a_draft_that_others_could_write_is_not_believed(places: Callable[[], Path]) -> None:
    """Who may write into the folder must not make an operator rotate the secret of a client of theirs."""
    folder = places()
    assert _run(folder, *SECRET)[0] == 0
    client = _registry(folder)["kept.a"]
    (folder / "kept.a.affiant.json").unlink()
    left = {"unfinished": 1, "issuer": "http://127.0.0.1:8377", "name": "kept.a", "ids": [client.secrets[0].id]}
    path = folder / ".kept.a.affiant.json.unfinished"
    path.write_text(json.dumps({**left, "key": None, "before": None}))
    path.chmod(0o644)
    code, said = _run(folder, *SECRET)
    assert (code, "was left by a command that was stopped, and cannot be used: delete it" in said) == (8, True)
    assert _registry(folder)["kept.a"].secrets == client.secrets


def _digest(folder: Path) -> bytes:
    text = credentials.read(folder / "kept.a.affiant.json").client_secret or ""

    async def digest(_: Store, master: MasterKey) -> bytes:
        return master.digest(text)

    return with_store(folder / "affiant-data", digest)


def test_a_registration_that_was_killed_is_told_of_by_the_next(lone_server: Server) -> None:
    """Its client_id came in the answer that was lost: the next run registers again, and names the key of the first."""
    server = lone_server
    invitation = server.affiant("invitation", "new", "--uses", "40", "--scope", "orders.read")["initial_access_token"]
    register = ("register", server.issuer, "kept", "--json")
    told, killed_at, code = 0, 0, int(-signal.SIGKILL)
    while code == -signal.SIGKILL:
        killed_at += 1
        for path in server.folder.glob("*kept.*"):
            path.unlink()
        environment = {**os.environ, "AFFIANT_INITIAL_ACCESS_TOKEN": invitation}
        code = forked.run(server.folder, register, environment, timeout=60, killed_at=killed_at).returncode
        if code == -signal.SIGKILL:
            done = forked.run(server.folder, register, environment, timeout=60)
            assert done.returncode == 0 or "exists already" in done.stdout, done.stdout
            assert _left(server.folder) == []
            kids = {key["kid"] for client in server.affiant("client", "list") for key in client["keys"]}
            lost = (json.loads(done.stdout).get("data") or {}).get("lost_keys", [])
            told += bool(kids & set(lost))
            assert server.affiant("token", "-c", "kept.affiant.json", "--no-cache")["access_token"]
    assert code == 0
    assert (told > 0, killed_at > 6) == (True, True)
