"""Secrets on the command line: every user of the machine sees the arguments of a process, and shells keep them."""

import json
import re
from pathlib import Path

import click
import pytest
from tests.unit.cli.commands import LEAVES

from affiant.cli.main import main
from affiant.jose.keys import generate

_SECRET = re.compile(r"secret|passw|private|\bpin\b|assertion|token|\bkey\b")
# What an option takes instead of the secret: a file, a number of seconds, a type, the thumbprint of a key, or where a
# password is (file:PATH, env:NAME or prompt).
_HARMLESS = {
    "--access-token-lifetime",
    "--token-budget",
    "--token-typ",
    "--key",
    "--password",
    "--new-password",
    "--from-token",
}


@pytest.mark.attack(283)
def test_no_option_takes_a_secret() -> None:
    found = [
        f"affiant {' '.join(words)} {name}"
        for words, command in LEAVES.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag and not isinstance(option.type, click.Path)
        for name in option.opts
        if _SECRET.search(name) and name not in _HARMLESS and not name.endswith("-file")
    ]
    assert not found


@pytest.mark.attack(283)
@pytest.mark.parametrize("given", [("--client-secret", "canary"), ("--client-secret=canary",)])
def test_secret_as_an_option_is_refused_and_not_repeated(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["token", *given])
    assert ended.value.code == 2
    assert "canary" not in "".join(capsys.readouterr())


@pytest.mark.attack(283)
@pytest.mark.parametrize(("words", "option"), [("key show", "--password"), ("key convert", "--new-password")])
def test_password_itself_is_refused_and_not_repeated(
    words: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "billing.jwk"
    path.write_text(json.dumps(generate("ES256").to_jwk()))
    path.chmod(0o600)
    target = ["--to", "pem", "--out", str(tmp_path / "out")] if words == "key convert" else []
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), str(path), *target, option, "canary"])
    assert ended.value.code not in (0, None)
    assert "canary" not in "".join(capsys.readouterr())
