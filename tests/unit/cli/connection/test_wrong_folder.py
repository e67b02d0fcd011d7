"""In the wrong folder, reading commands create nothing, others print where, and another server is reported."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import click
import pytest
from click.testing import CliRunner, Result
from tests.loopback import free_port
from tests.unit.cli.commands import LEAVES
from tests.unit.client.conftest import Answer, Foreign

from affiant.cli.connection import data
from affiant.cli.connection.data import ISSUER, load, with_new_store, with_store
from affiant.cli.main import affiant
from affiant.errors import ConfigError
from affiant.jose.keys import generate
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.storage.records import NotFound

URL, KID = "https://orders.example", "a-kid"
# What a command needs besides the arguments that it requires.
MORE: dict[str, tuple[str, ...]] = {
    "client update": ("--scope", "x"),
    "api update": ("--scope", "x"),
    "revoke": ("--client", "billing"),
    "audit archive": ("--keep", "90d"),
    "client import": ("--from", "csv"),
    "explain": ("--at", "1"),
    "client disable": ("billing",),
    "rule add": ("--trust", "ci", "--client", "billing", "--when", "sub=job"),
}
MAKES: dict[str, tuple[str, ...]] = {
    "client new": ("billing",),
    "api new": ("orders", "--identifier", URL, "--scope", "x"),
    "invitation new": (),
    "admin bootstrap": (),
    "apply": ("registry.toml", "--yes"),
    "db migrate": (),
    **{
        f"trust add {name}": tuple(shlex.split(platform.example.replace("--client", "--new-client")))
        for name, platform in PLATFORMS.items()
    },
}
# They listen, need a backup or a token, or find what is missing; they have tests of their own.
OTHERS = {"serve", "demo", "doctor", "db restore", "trust test"}


@pytest.fixture(autouse=True)
def _with_file(no_settings: None) -> None:
    Path("registry.toml").write_text("")


def _run(*words: str) -> Result:
    return CliRunner().invoke(affiant, words)


def _required(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if parameter.required:
            yield from parameter.opts[:1] if isinstance(parameter, click.Option) else ()
            if isinstance(parameter.type, click.Choice):
                yield parameter.type.choices[0]
            else:
                yield "registry.toml" if isinstance(parameter.type, click.Path) else "x=y"


def _file(name: str) -> str:
    """Return what the file is that a command takes."""
    if name == "client import":
        return "client_id,scope\nbilling,x\n"
    return json.dumps(generate("ES256").public().to_jwk()) if "key" in name else ""


ASKS = {
    " ".join(words): command
    for words, command in LEAVES.items()
    if any(parameter.name == "data" for parameter in command.params) and " ".join(words) not in {*MAKES, *OTHERS}
}


@pytest.mark.parametrize("name", ASKS)
def test_reading_command_creates_nothing(name: str, tmp_path: Path) -> None:
    Path("registry.toml").write_text(_file(name))
    done = _run(*name.split(), *_required(ASKS[name]), *MORE.get(name, ()))
    kind = ConfigError if name == "explain" else NotFound
    assert isinstance(done.exception, kind), (done.exception, done.output)
    assert str(tmp_path / "affiant-data") in str(done.exception), (done.exception, done.output)
    assert os.listdir() == ["registry.toml"]  # noqa: PTH208


@pytest.mark.parametrize("command", MAKES)
def test_creating_command_prints_the_full_path_once(command: str, tmp_path: Path) -> None:
    words = (*command.split(), *MAKES[command])
    assert f"affiant: made {tmp_path / 'affiant-data'}\n" in _run(*words).stderr
    assert (tmp_path / "affiant-data" / "master.key").exists()
    assert "affiant: made" not in _run("api", "new", "another", "--identifier", f"{URL}/2", "--scope", "x").output


def test_reading_command_creates_no_tables(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_DATABASE", database)
    monkeypatch.setenv("AFFIANT_MASTER_KEY", "ab" * 32)
    for words in (("client", "list"), ("settings",), ("audit", "verify")):
        done = _run(*words)
        assert isinstance(done.exception, NotFound)
        assert "has no tables of affiant" in str(done.exception)
    assert os.listdir() == ["registry.toml"]  # noqa: PTH208
    assert _tables(database) == 0
    assert _run("api", "new", "orders", "--identifier", URL, "--scope", "x").exception is None
    assert _tables(database) > 0
    assert _run("client", "list").exception is None


def _tables(url: str) -> int:
    import asyncio

    async def ask() -> int:
        connection = await asyncpg.connect(url)
        try:
            number: int = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            return number
        finally:
            await connection.close()

    return asyncio.run(ask())


def _remember(issuer: str) -> list[str]:
    """Make a store that remembers this issuer; return the kids of its signing keys."""

    async def work(store: Any, _: object) -> None:
        await store.settings.put(ISSUER, issuer)

    with_new_store(load(), work)
    assert _run("signing-key", "rotate", "--now").exception is None

    async def kids(store: Any, _: object) -> list[str]:
        return [key.kid for key in await store.signing_keys.list()]

    return with_store(load(), kids)


@pytest.mark.parametrize(
    "words", [("client", "new", "fresh"), ("api", "new", "orders", "--identifier", URL, "--scope", "x")]
)
def test_a_server_with_other_keys_is_noticed(foreign: Foreign, words: tuple[str, ...]) -> None:
    foreign.default["/jwks"] = Answer(200, {"keys": [{"kid": KID}]})
    _remember(foreign.url)
    done = _run(*words)
    assert done.exception is None
    assert f"! the server at {foreign.url} has other signing keys than {Path('affiant-data').absolute()}" in done.stderr


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [{"kid": []}]}', None])
def test_server_of_this_data_is_not_reported(foreign: Foreign, body: bytes | None) -> None:
    foreign.default["/jwks"] = Answer(200, raw=body)
    kids = _remember("http://127.0.0.1:1" if body is None else foreign.url)
    assert "!" not in _run("client", "new", "one").stderr
    foreign.default["/jwks"] = Answer(200, {"keys": [{"kid": kid} for kid in (KID, *kids)]})
    _remember(foreign.url)
    assert "!" not in _run("client", "new", "two").stderr


def test_settings_name_their_data_and_server(tmp_path: Path) -> None:
    _remember("https://as.example")
    done = _run("settings")
    head, running, _, *rows = done.output.splitlines()
    assert head == (
        f"settings of a server that would start now from {tmp_path}, with the data in {tmp_path / 'affiant-data'}"
    )
    assert running.endswith("affiant settings --url https://as.example -c FILE")
    assert ["issuer", "remembered", "https://as.example"] in [row.split() for row in rows]


def test_explain_names_the_data_that_it_judged_by(tmp_path: Path) -> None:
    assert _run("client", "new", "billing").exception is None
    done = _run("explain", "grant_type=client_credentials&client_assertion=x")
    assert done.output.splitlines()[-1].split() == ["judged", "by", str(tmp_path / "affiant-data")]


def test_assumed_issuer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials files made before the first start of the server name the default address."""
    told = "! no server has run with "
    monkeypatch.setattr(data, "DEFAULT_PORT", free_port())  # another server may listen on the real one
    assert told in _run("admin", "bootstrap", "alice").stderr
    monkeypatch.setenv("AFFIANT_ISSUER", "https://as.example")
    assert told not in _run("admin", "bootstrap", "carol").stderr
    monkeypatch.delenv("AFFIANT_ISSUER")
    with_store(Path("affiant-data"), lambda store, _: store.settings.put(ISSUER, "https://as.example"))
    assert told not in _run("client", "new", "billing").stderr
