"""Output: tables on a terminal, plain lines in a pipe, one document with --json."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from affiant.cli.connection.data import load, with_new_store
from affiant.cli.main import main
from affiant.cli.output import Listing, describe, instant, json_option, show, show_list, warn
from affiant.errors import ConfigError
from affiant.server.keys.master_key import MasterKey
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client

ITEMS = [{"id": "a", "state": "active", "note": ""}, {"id": "active", "state": "disabled", "note": ""}]
LISTING = Listing(
    ("ID", "STATE", "NOTE"),
    lambda item: (item["id"], item["state"], item["note"]),
    lambda item: f"{item['id']}  {item['state']}",
    "nothing yet",
)
API = "https://orders.example"
ESCAPE = "\x1b[31mred\x1b]0;title\x07"


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], items: list[Any], **environment: str
) -> str:
    """Return what a terminal of 20 columns gets for this list."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", "COLUMNS": "20", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_list(items, LISTING)
    return capsys.readouterr().out


def test_pipe_gets_a_plain_line_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(ITEMS, LISTING)
    assert capsys.readouterr().out == "a  active\nactive  disabled\n"
    show_list([{**ITEMS[0], "id": ESCAPE}], LISTING)
    assert "\x1b" not in capsys.readouterr().out
    show_list([], LISTING)
    assert capsys.readouterr().out == "nothing yet\n"


def test_json_is_the_same_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command = click.command()(json_option()(lambda: show_list(ITEMS, LISTING)))
    command.main(["--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"ok": True, "data": ITEMS}


def test_a_terminal_has_headings_and_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = on_terminal(monkeypatch, capsys, ITEMS, NO_COLOR="1")
    assert plain.splitlines() == ["ID      STATE", "a       active", "active  disabled"]
    coloured = on_terminal(monkeypatch, capsys, ITEMS)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert coloured.count("\x1b[32m") == 1  # the state, not the item of that name
    assert "\x1b" not in on_terminal(monkeypatch, capsys, ITEMS, TERM="dumb")
    assert on_terminal(monkeypatch, capsys, []) == "nothing yet\n"


def test_nothing_is_cut_or_folded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"id": "x" * 200, "state": "active", "note": "[bold]not markup[/bold] :smile:"}
    assert on_terminal(monkeypatch, capsys, [long], NO_COLOR="1").splitlines()[1] == "  ".join(long.values())


def test_cells_are_aligned_by_their_width_on_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = [{"id": "漢字", "state": "active", "note": ""}, {"id": "abcd", "state": "active", "note": ""}]
    assert on_terminal(monkeypatch, capsys, wide, NO_COLOR="1").splitlines()[1:] == ["漢字  active", "abcd  active"]


@pytest.mark.attack
@pytest.mark.parametrize("part", ["id", "state", "note"])
def test_cell_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    hostile = [{**ITEMS[0], part: f"{ESCAPE}\n\u202e"}]
    printed = on_terminal(monkeypatch, capsys, hostile, NO_COLOR="1")
    assert r"\u001b[31mred\u001b]0;title\u0007\u000a\u202e" in printed
    assert not set("\x1b\x07\u202e") & set(printed)
    assert len(printed.splitlines()) == 2


def test_members_are_written_for_people() -> None:
    key = {"kid": "k1", "kty": "EC", "alg": "ES256", "state": "active", "created_at": 0, "expires_at": None}
    found = {
        "client_id": "a",
        "client_name": None,
        "scope": ["read", "write"],
        "resources": [],
        "dpop": False,
        "enabled": True,
        "created_at": 1795884137,
        "keys": [key, {**key, "kid": "k2", "state": "revoked", "expires_at": 86_400}],
        "uses": 0,
    }
    assert describe(found) == [
        "client_id   a",
        "scope       read, write",
        "dpop        no",
        "enabled     yes",
        "created_at  2026-11-28 16:42:17 UTC",
        "keys        k1 EC ES256 active since 1970-01-01 00:00:00 UTC",
        "            k2 EC ES256 revoked since 1970-01-01 00:00:00 UTC until 1970-01-02 00:00:00 UTC",
        "uses        0",
    ]


@pytest.mark.attack
def test_member_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"name": ESCAPE, "scope": [ESCAPE], "keys": [{"kid": ESCAPE, "state": ESCAPE}], ESCAPE: "x", "b_at": ESCAPE}
    show(found, *describe(found))
    assert not set("\x1b\x07") & set(capsys.readouterr().out)


@pytest.mark.parametrize("at", [10**30, -(10**30), float("nan"), float("inf"), "soon", None, True, [1]])
def test_invalid_instant_is_printed_as_such(at: object) -> None:
    assert instant(at) == "at an impossible time"


def read_terminal(folder: Path, *commands: str, **environment: str) -> str:
    """Return what the commands print on a real terminal, one after the other in one process."""
    own, its = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    program = f"""
import sys
from affiant.cli.main import main
for command in {commands!r}:
    try:
        main(command.split())
    except SystemExit as ended:
        assert not ended.code, command
    print("end of", command)
"""
    env = {**kept, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=folder, stdin=its, stdout=its, stderr=its, env=env)
    os.close(its)
    printed = b""
    try:
        while block := os.read(own, 65_536):
            printed += block
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        os.close(own)
    assert process.wait() == 0, printed
    return printed.decode().replace("\r\n", "\n")


@pytest.mark.attack
def test_message_of_a_failure_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        warn(ESCAPE)
        error = ConfigError(f"{ESCAPE} gets a client secret:\npass --credentials-to DIR")
        error.add_note(f"not done: remove client {ESCAPE}")
        raise error

    monkeypatch.setattr("affiant.cli.main.affiant.main", fail)
    with pytest.raises(SystemExit, match="8"):
        main(["apply"])
    printed = capsys.readouterr().err
    assert printed.count(r"\u001b[31mred\u001b]0;title\u0007") == 3
    assert not set("\x1b\x07") & set(printed)
    assert printed.count("\n") == 4


@pytest.fixture
def hostile_client(tmp_path: Path) -> Path:
    """A folder with a client that no registration accepts, written directly into the database."""

    async def write(store: Store, _: MasterKey) -> None:
        await store.clients.add(Client("billing", "private_key_jwt", client_name=ESCAPE, scope=(ESCAPE,)))
        await store.apis.add(Api(API, ESCAPE, (ESCAPE,), is_default=True, created_at=0))

    with_new_store(load(data=tmp_path / "affiant-data"), write, report=lambda _: None)
    return tmp_path


@pytest.mark.attack
def test_name_of_a_client_cannot_command_a_real_terminal(hostile_client: Path) -> None:
    commands = ("client list", "client show billing", "grants", "api list", f"api show {API}")
    printed = read_terminal(hostile_client, *commands, NO_COLOR="1")
    assert not set("\x1b\x07") & set(printed)
    for command in commands:
        said, _, printed = printed.partition(f"end of {command}\n")
        assert r"\u001b[31mred\u001b]0;title\u0007" in said, command


def test_a_real_terminal_has_colour(hostile_client: Path) -> None:
    printed = read_terminal(hostile_client, "client list")
    assert "\x1b[32menabled" in printed
    assert "\x1b[31mred" not in printed


def test_a_pipe_does_not_wait_for_colour(hostile_client: Path) -> None:
    program = (
        "import sys\nfrom affiant.cli.main import main\ntry: main(['client', 'list'])\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=hostile_client)
    line, loaded = done.stdout.decode().splitlines()
    assert line.startswith("billing  private_key_jwt  ")
    assert "rich" not in loaded.split()


def test_every_list_is_a_table_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def run(command: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert not ended.value.code
        return capsys.readouterr().out.splitlines()

    for command in (
        "client new billing --scope read",
        "api new orders --identifier https://orders.example --scope read",
        "invitation new --scope read",
        "signing-key rotate",
    ):
        run(command)
    headings = {
        "client list": "CLIENT STATE AUTHENTICATION LAST USED SCOPE",
        "client key list billing": "KEY STATE ALG REGISTERED LAST USED",
        "api list": "API IDENTIFIER DEFAULT SCOPE",
        "grants": "CLIENT STATE API SCOPE",
        "invitation list": "INVITATION USES LEFT UNTIL FOR",
        "signing-key list": "KEY STATE ALG WHEN",
        "audit show": "NUMBER AT (UTC) TRACE ENDPOINT OUTCOME WHO WHAT",
    }
    assert {command: " ".join(run(command)[0].split()) for command in headings} == headings
    assert [line.split() for line in run("api show orders")[:4]] == [
        ["identifier", API],
        ["name", "orders"],
        ["scopes", "read"],
        ["is_default", "yes"],
    ]
