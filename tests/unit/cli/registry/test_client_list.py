"""`affiant client list` shows the use of services, and loads only the modules it needs: users wait for the imports."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from affiant.cli.connection.data import load, with_new_store
from affiant.cli.main import main
from affiant.server.keys.master_key import MasterKey
from affiant.storage.history.counts import HOUR, ISSUED, REFUSED, Count, begin
from affiant.storage.ports import Store
from affiant.storage.records import Client, KeyUse

PROGRAM = """
import sys
from affiant.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules)
"""


async def _nothing(*_: object) -> None:
    pass


def test_nothing_is_loaded_that_authenticates_clients_or_fetches_their_keys(tmp_path: Path) -> None:
    with_new_store(load(data=tmp_path / "affiant-data"), _nothing)
    command = [sys.executable, "-c", PROGRAM, "client", "list"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    printed, loaded = done.stdout.splitlines()
    assert printed.startswith("no clients")
    unwanted = {"affiant.server.client_auth.ladder", "affiant.server.registry.fetch", "httpcore2", "httpx2"}
    assert not unwanted & set(loaded.split())


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two services of last year; one asks all the time."""
    now, old = int(time.time()), int(time.time()) - 365 * 86_400

    async def write(store: Store, _: MasterKey) -> None:
        for name in ("billing", "forgotten"):
            await store.clients.add(Client(name, "private_key_jwt", created_at=old))
        await store.key_uses.add([KeyUse("billing", "t", 812, old, now), KeyUse("forgotten", "t", 2, old, old + 9)])
        at = begin(HOUR, now)
        await store.counts.add(
            [Count(HOUR, at, "billing", ISSUED, "", 812), Count(HOUR, at, "billing", REFUSED, "x", 5)]
        )

    with_new_store(load(data=tmp_path / "affiant-data"), write, report=lambda _: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], command: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert not ended.value.code
    return capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("used")
def test_use_is_in_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    heading, billing, _ = _run(capsys, "client list")
    assert " ".join(heading.split()) == "CLIENT STATE AUTHENTICATION LAST USED TOKENS 24H REFUSED 24H USES"
    assert billing.split()[-3:] == ["812", "5", "812"]


@pytest.mark.usefixtures("used")
def test_unused_services_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = _run(capsys, "client list --unused 90d")
    assert line.startswith("forgotten  private_key_jwt")
    assert _run(capsys, "client list --unused 53w") == ["every client was used in that time, or is newer"]


@pytest.mark.usefixtures("used")
def test_a_service_without_a_cache_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    shown = dict(line.split(maxsplit=1) for line in _run(capsys, "client show billing"))
    assert (shown["tokens_24h"], shown["refusals_24h"]) == ("812", "5")
    assert shown["advice"].startswith("asked for 812 tokens in an hour; one each 10 minutes would do: keep the token")
    assert "advice" not in dict(line.split(maxsplit=1) for line in _run(capsys, "client show forgotten"))


@pytest.mark.usefixtures("used")
def test_the_check_names_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _run(capsys, "client check")
    assert [line.partition("  has ")[0].split()[:2] for line in lines[3:]] == [
        ["billing", "no_cache"],
        ["forgotten", "unused"],
    ]
    assert lines[4].endswith("  was not used for 364 days  affiant client disable forgotten")
    (*_, last) = _run(capsys, "client check forgotten")
    assert last == lines[4]
