"""Credentials that need a certificate: the message names the members of the file."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from affiant.cli.connection import remote as elsewhere
from affiant.cli.tokens.call import call
from affiant.cli.tokens.token import assertion, token
from affiant.errors import LocalError

WHO = {"affiant": 1, "issuer": "https://as.example", "client_id": "billing"}
LACKS = (
    {"auth_method": "tls_client_auth"},
    {"auth_method": "self_signed_tls_client_auth"},
    {"auth_method": "tls_client_auth", "certificate_key": "billing.key"},
)
COMMANDS: tuple[tuple[click.Command, list[str]], ...] = (
    (token, ["--no-cache"]),
    (token, []),
    (assertion, []),
    (call, ["https://orders.example/", "--no-cache"]),
    (call, ["https://orders.example/", "--dpop"]),
)


def _write(path: Path, **more: str) -> Path:
    path.write_text(json.dumps({**WHO, **more}))
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AFFIANT_CREDENTIALS", raising=False)


@pytest.mark.parametrize("lacking", LACKS)
@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_missing_certificate_is_reported_by_its_member(
    command: click.Command, words: list[str], lacking: dict[str, str]
) -> None:
    path = _write(Path("billing.affiant.json"), **lacking)
    done = CliRunner().invoke(command, [*words, "-c", str(path)])
    assert isinstance(done.exception, LocalError), done.output
    assert str(done.exception) == (
        'billing.affiant.json names no certificate: add "certificate" and "certificate_key", the names of its PEM files'
    )


def test_missing_certificate_is_reported_with_url() -> None:
    path = _write(Path("alice.affiant.json"), **LACKS[0])

    async def work(_: object) -> None:
        pytest.fail("nobody is asked")

    with pytest.raises(LocalError, match=r'^alice\.affiant\.json names no certificate: add "certificate"'):
        elsewhere.run("https://as.example", path, work)


@pytest.mark.parametrize("whole", [False, True])
def test_missing_certificate_is_reported_for_the_environment(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    path = _write(Path("billing.affiant.json"), **LACKS[0])
    monkeypatch.setenv("AFFIANT_CREDENTIALS", path.read_text() if whole else str(path))
    done = CliRunner().invoke(token, [])
    assert isinstance(done.exception, LocalError)
    named = "AFFIANT_CREDENTIALS" if whole else str(path)
    assert str(done.exception).startswith(f"{named} names no certificate")
