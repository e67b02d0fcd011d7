"""`affiant helper`: which hosts get a token, and what no helper hands out."""

import io
from pathlib import Path

import click
import pytest

from affiant.cli.main import main
from affiant.cli.tokens.helper import holder
from affiant.cli.tokens.helper.holder import Holder, parse_host
from affiant.client.credentials.file import Credentials
from affiant.client.token import Token, TokenKey
from affiant.errors import LocalError
from affiant.oauth import names


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        ("git.example", ("git.example", 443)),
        ("https://Git.example/a/b?c", ("git.example", 443)),
        ("git.example:8443", ("git.example", 8443)),
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("http://localhost:5000", ("localhost", 5000)),
        ("http://127.0.0.1", ("127.0.0.1", 80)),
        ("https://[::1]:5000/", ("::1", 5000)),
    ],
)
def test_host_is_found(asked: str, host: tuple[str, int]) -> None:
    assert parse_host(asked) == host


@pytest.mark.parametrize(
    "asked",
    [
        "http://git.example",  # without TLS
        "ssh://git.example",
        "https://git.example@evil.example",
        "https://git.example\\@evil.example",
        "https://evil.example\\.git.example",
        "https://git.example%2eevil",
        "https://git.example:443x",
        "https://git.example:99999",
        "git.example evil",
        "git.exa\u0301mple",
        "https:///git.example",
        "",
        "[::1",
    ],
)
def test_what_is_no_plain_host_gets_nothing(asked: str) -> None:
    assert parse_host(asked) is None


def given(resource: str | None = None) -> Credentials:
    basic = names.CLIENT_SECRET_BASIC
    return Credentials("https://as.example", "billing", basic, client_secret="s" * 32, resource=resource)


@pytest.mark.parametrize(
    ("value", "kind"), [("a\nhost=evil", "Bearer"), ("a b", "Bearer"), ("", "Bearer"), ("abc", "DPoP")]
)
def test_no_other_than_a_bearer_token_is_handed_out(value: str, kind: str) -> None:
    with pytest.raises(LocalError, match="only a bearer token"):
        holder.check_bearer(Token(value, 2e9, None, token_type=kind))


def test_user_name_without_colon() -> None:
    with pytest.raises(LocalError, match="--username NAME"):
        _ = Holder(given(), TokenKey(None, None), frozenset(), "a:b").username


@pytest.mark.parametrize(
    ("resource", "words", "why"),
    [
        ("orders", [], "name the host that may get the token: --host HOST"),
        ("http://git.example", [], "'http://git.example' is no host that may get a token"),
        ("https://git.example", ["--host", "http://git.example"], "'http://git.example' is no host"),
    ],
)
def test_host_must_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], resource: str, words: list[str], why: str
) -> None:
    given(resource=resource).write(tmp_path / "f.json")
    with pytest.raises(SystemExit) as end:
        main(["helper", "git", "-c", str(tmp_path / "f.json"), *words, "get"])
    assert end.value.code == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("question", [b"\xff", b"a" * 70_000])
def test_question_is_short_text(monkeypatch: pytest.MonkeyPatch, question: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(question)))
    with pytest.raises(click.UsageError, match="not text, or too long"):
        holder.read_question()
