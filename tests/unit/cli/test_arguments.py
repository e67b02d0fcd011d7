"""No message repeats a secret that was pasted into the command line, for any command and any place."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from tests.unit.cli.commands import LEAVES

from affiant.cli.arguments import NamedPath, with_thumbprints
from affiant.cli.main import affiant, main

pytestmark = pytest.mark.usefixtures("no_settings")
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
SECRETS = {
    "jwt": JWT,
    "base64url": "canary-Zk3_9sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo",
    "base64": "/canaryk3+9sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kA=",
    "json": json.dumps({"affiant": 1, "client_secret": "canary"}),
    "pem": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    "ticket": "affiant-ticket-canaryZk39sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo",
    "option": "--canaryZk39sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo",
}


COMMANDS = list(LEAVES)
GROUPS = sorted({words[:-1] for words in COMMANDS})


def _fail(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code not in (0, None)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out + err


def _holds(text: str, secret: str) -> bool:
    return "canary" in text or secret in text or any(part in text for part in JWT.split("."))


def _takes_any_number(words: tuple[str, ...]) -> bool:
    """Whether the command takes any number of names, so that no argument is unexpected."""
    command: Any = affiant
    for word in words:
        command = command.get_command(click.Context(command), word)
    return any(isinstance(parameter, click.Argument) and parameter.nargs < 0 for parameter in command.params)


@pytest.mark.parametrize("words", [words for words in COMMANDS if not _takes_any_number(words)], ids=" ".join)
def test_an_unexpected_argument_is_not_repeated(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    for secret in (*SECRETS.values(), "1234"):
        said = _fail(capsys, *words, *["a"] * 9, secret)
        assert not _holds(said, secret), said
        assert "1234" not in said
    for given in ([JWT, *["a"] * 9], [*["a"] * 9, "--", JWT]):
        said = _fail(capsys, *words, *given)
        assert not _holds(said, JWT), said
    said = _fail(capsys, *words, *["a"] * 9, JWT, "--json")
    assert not _holds(said, JWT), said


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_not_repeated(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    for option in (f"--{JWT}", f"--nope={JWT}", SECRETS["option"], f"-Z{JWT}"):
        said = _fail(capsys, *words, option)
        assert not _holds(said, option), said


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_value_of_the_wrong_kind_is_not_repeated(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    command: click.Command = affiant
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    for parameter in command.params:
        if isinstance(parameter.type, click.Choice | click.types.IntParamType | click.types.FloatParamType):
            for secret in SECRETS.values():
                given = [parameter.opts[0], secret] if isinstance(parameter, click.Option) else ["a", secret]
                said = _fail(capsys, *words, *given)
                assert not _holds(said, secret), said


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
@pytest.mark.parametrize("kind", SECRETS)
def test_an_unknown_command_is_not_repeated(
    words: tuple[str, ...], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _fail(capsys, *words, SECRETS[kind])
    assert not _holds(said, SECRETS[kind]), said


@pytest.mark.parametrize(
    "words",
    [
        ("token", "-c"),
        ("client", "show"),
        ("client", "new", "x", "--public-key"),
        ("client", "list", "--data"),
        ("client", "list", "--url"),
        ("key", "put"),
        ("plan",),
        ("db", "check", "--database"),
        ("serve", "--issuer"),
        ("serve", "--signing-alg"),
        ("serve", "--port"),
        ("serve", "--host"),
        ("explain", "--at"),
        ("audit", "show"),
        ("revoke", "--jti"),
        ("admin", "grant"),
        ("enroll",),
        ("register", "http://127.0.0.1:1", "--initial-access-token-file"),
        ("agent", "--to", "token", "-c"),
        ("agent", "--to", "token", "--group"),
        ("proxy", "--listen", "127.0.0.1:0", "--to"),
        ("proxy", "--to", "https://api.example", "--listen"),
        ("proxy", "--to", "https://api.example", "--listen", "127.0.0.1:0", "-c"),
        ("verify", "x", "--audience", "https://api.example", "--issuer"),
        ("verify", "x", "--audience", "a", "--issuer", "http://127.0.0.1:1", "--url", "x", "--dpop-proof"),
    ],
    ids=" ".join,
)
def test_a_token_as_a_name_a_file_or_a_url_is_not_repeated(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("jwt", "json", "pem", "ticket"):
        said = _fail(capsys, *words, SECRETS[kind])
        assert not _holds(said, SECRETS[kind]), said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("clint",), "No such command 'clint'. Did you mean 'client'?"),
        (("serv",), "No such command 'serv'. Did you mean 'serve'?"),
        (("token", "--nope"), "No such option '--nope'."),
        (("client", "new", "x", "--scpe", "y"), "No such option '--scpe'. Did you mean '--scope'?"),
        (("token", "a"), "too many arguments: write  affiant token [OPTIONS]"),
        (("client", "show", "a", "b"), "too many arguments: write  affiant client show [OPTIONS] NAME"),
        (("token", "--min-ttl", "soon"), "Invalid value for '--min-ttl': 'soon' is not a whole number."),
        (
            ("call", "ftp://orders.example.com/a/long/path"),
            "'ftp://orders.example.com/a/long/path' is not an http or https URL",
        ),
    ],
)
def test_short_plain_words_are_repeated(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"affiant": 1, "issuer": "http://127.0.0.1:1", "client_id": "a", "client_secret": "x" * 43}
    monkeypatch.setenv("AFFIANT_CREDENTIALS", json.dumps({**members, "auth_method": "client_secret_basic"}))
    assert says in _fail(capsys, *words)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_path_may_not_be_empty(words: tuple[str, ...]) -> None:
    """`--to "$UNSET"`: an empty path is the current folder to Python."""
    paths = [one for one in LEAVES[words].params if isinstance(one.type, click.Path)]
    for one in paths:
        assert isinstance(one.type, NamedPath), f"{one.name}: use FILE or FOLDER of cli/arguments.py"
        with pytest.raises(click.BadParameter, match="is empty: is a variable not set"):
            one.type_cast_value(click.Context(LEAVES[words]), [""] if one.multiple or one.nargs != 1 else "")


def test_two_forms_of_a_token_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert "choose one" in _fail(capsys, "token", "--env", "--header")


def test_a_jwt_is_read_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"Bearer {JWT}\n")
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(tmp_path / "token")])
    assert (ended.value.code, '"canary"' in capsys.readouterr().out) == (0, True)


def test_name_that_looks_like_an_option_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    """One thumbprint of 64 begins with a hyphen; for a command without names, the word is a mistake."""
    for words, is_name in ((["client", "key", "revoke", "billing", "-Ab"], True), (["client", "list", "-x"], False)):
        with pytest.raises(SystemExit):
            main(words)
        assert ("begins with a hyphen goes after two:  -- -NAME" in capsys.readouterr().err) is is_name


@pytest.mark.parametrize("first", ["-A", "-h", "-c", "-_"])
def test_key_name_may_begin_with_a_hyphen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Otherwise -h... would show the help and exit with 0, as if a leaked key had been revoked."""
    monkeypatch.chdir(tmp_path)
    kid = f"{first}Zk3_9sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo_-"
    assert len(kid) == 43
    for words in (
        ("client", "key", "revoke", "billing", kid),
        ("client", "key", "revoke", "billing", kid, "--json"),
        ("client", "key", "complete", "billing", kid, "--overlap", "60"),
        ("client", "key", "revoke", "--", "billing", kid),
    ):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code == 3, "it was read, and there is no data folder"
        assert "option" not in capsys.readouterr().err


def test_other_words_are_not_moved() -> None:
    kid = "-AZk3_9sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo_-"
    assert with_thumbprints(["x", kid, "--json"]) == ["x", "--json", "--", kid]
    for words in (["revoke", "--client", "a", "--key", kid], ["x", "--", kid], ["x", kid[:-1]], ["x", "-cfile"], []):
        assert with_thumbprints(words) == words


def test_token_in_the_place_of_its_jti(capsys: pytest.CaptureFixture[str]) -> None:
    said = _fail(capsys, "revoke", "--jti", JWT)
    assert "affiant inspect TOKEN  shows it" in said
    assert not _holds(said, JWT)
