"""`affiant call`: the request it sends, and the answer as users see it."""

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.unit.client.conftest import Answer, Foreign, token_answer

from affiant.cli.output import Answered
from affiant.cli.tokens.call import call
from affiant.jose.keys import PrivateKey

Call = Callable[..., Result]

CHALLENGED = Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


@pytest.fixture
def calling(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> Call:
    """Call /orders with these words, and tokens of the same server."""
    path = tmp_path / "billing.affiant.json"
    who = {"affiant": 1, "issuer": foreign.url, "client_id": "billing", "auth_method": "private_key_jwt"}
    path.write_text(json.dumps({**who, "key": key.to_jwk()}))
    path.chmod(0o600)
    foreign.default["/orders"] = Answer(200, {"done": True}, {"X-Told": "yes"})

    def invoke(*words: str, stdin: bytes | None = None, url: str = f"{foreign.url}/orders") -> Result:
        every = [url, "-c", str(path), *words]
        return CliRunner().invoke(call, every if "--dpop" in words else [*every, "--no-cache"], input=stdin)

    return invoke


@pytest.mark.parametrize("control", ["\x1b[2J", "\x9bK", "\x7f"])
def test_challenge_is_printed_without_control_characters(foreign: Foreign, calling: Call, control: str) -> None:
    challenge = f'Bearer error="insufficient_scope{control}"'
    foreign.default["/orders"] = Answer(403, {}, {"WWW-Authenticate": challenge})
    done = calling()
    assert isinstance(done.exception, Answered)
    assert str(done.exception).startswith(f'{foreign.url}/orders answered 403 Bearer error="insufficient_scope')
    assert str(done.exception).isprintable()
    assert done.exception.details["www_authenticate"] == challenge
    shown = calling("-v").stderr
    assert 'error="insufficient_scope' in shown
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("scope", "advice"),
    [("b a", "--scope 'a b'"), ("a'; id '", ""), ("$(id)", "--scope '$(id)'"), ("\u0430", ""), ("x" * 300, "")],
)
def test_missing_scope_is_advised_as_one_word_of_a_shell(
    foreign: Foreign, calling: Call, scope: str, advice: str
) -> None:
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    headers = {"WWW-Authenticate": challenge.encode().decode("latin-1")}
    foreign.default["/orders"] = Answer(403, {}, headers)
    _, _, after = str(calling().exception).partition("; the token lacks a scope: call again with ")
    assert after.removesuffix(", if the client may have it") == advice


def test_headers_are_sent(foreign: Foreign, calling: Call) -> None:
    """Each of them, instead of the library's defaults."""
    done = calling("-H", "Accept: application/xml", "-H", "x-one:1", "--header", "X-Two:  a: b ")
    assert done.exit_code == 0
    (sent,) = foreign.sent("/orders")
    assert (sent.method, sent.headers["authorization"]) == ("GET", "Bearer token-1")
    assert [sent.headers[name] for name in ("accept", "x-one", "x-two")] == ["application/xml", "1", "a: b"]


@pytest.mark.attack
@pytest.mark.parametrize(
    "name", ["Authorization", "AUTHORIZATION", "DPoP", "Host", "content-length", "Transfer-Encoding"]
)
def test_headers_of_the_command_are_refused(foreign: Foreign, calling: Call, name: str) -> None:
    """Credentials, host and length of the body: nothing is sent, and the value is not repeated."""
    done = calling("-H", f"{name}: hidden")
    assert done.exit_code == 1
    assert f"the command itself sets the header {name}" in done.output
    assert "hidden" not in done.output
    assert not foreign.requests


@pytest.mark.attack
@pytest.mark.parametrize(
    "text",
    ["", "hidden", ": hidden", "X:", "X: ", "X :hidden", " X: hidden", "X: hidden\r\nAuthorization: Bearer x", "X: hidden\n",
     "X: hidden\0", "X\n: hidden", "X: hid\x7fden", "X: hidd\u00ebn", "X: \udcffhidden", "Authorization\t: hidden"],
)  # fmt: skip
def test_invalid_header_is_refused(foreign: Foreign, calling: Call, text: str) -> None:
    """A line end would begin another header, and parsers differ on a space before the colon."""
    done = calling("-H", text)
    assert done.exit_code == 1
    assert "-H takes 'Name: value' in ASCII" in done.output
    assert "hid" not in done.output
    assert not foreign.requests


@pytest.mark.parametrize(
    ("words", "stdin", "body"),
    [
        (("-d", "gr\u00fc\u00dfe"), None, "gr\u00fc\u00dfe".encode()),
        (("-d", ""), None, b""),
        (("-d", "@-"), b"\xff\n@", b"\xff\n@"),
    ],
)
def test_body_makes_a_post(
    foreign: Foreign, calling: Call, words: tuple[str, ...], stdin: bytes | None, body: bytes
) -> None:
    assert calling(*words, stdin=stdin).exit_code == 0
    assert calling(*words, "-X", "PUT", stdin=stdin).exit_code == 0
    assert [(sent.method, sent.body) for sent in foreign.sent("/orders")] == [("POST", body), ("PUT", body)]


def test_body_from_a_file(foreign: Foreign, calling: Call, tmp_path: Path) -> None:
    """Byte for byte."""
    (tmp_path / "order.bin").write_bytes(b"\x00\xff\r\n")
    assert calling("-d", f"@{tmp_path}/order.bin").exit_code == 0
    assert foreign.sent("/orders")[0].body == b"\x00\xff\r\n"
    for wrong, why in (("nowhere", "No such file"), ("", "Is a directory")):
        done = calling("-d", f"@{tmp_path}/{wrong}")
        assert done.exit_code == 1
        assert why in done.output
    assert len(foreign.sent("/orders")) == 1


def test_completion_reads_no_body(tmp_path: Path) -> None:
    """A shell completes words by parsing those before: that must not wait for standard input."""
    context = click.Context(call, resilient_parsing=True)
    call.parse_args(context, ["https://api.example/", "-d", f"@{tmp_path}/nowhere", "-H", "X"])
    assert context.params["body"] == f"@{tmp_path}/nowhere"


def test_verbose_shows_the_exchange(foreign: Foreign, calling: Call) -> None:
    """On standard error; standard output is the same without it."""
    done = calling("-v", "-H", "X-Mine: 1", "-d", "{}")
    assert json.loads(done.stdout) == {"done": True}
    lines = done.stderr.splitlines()
    assert lines[0] == f"> POST {foreign.url}/orders"
    assert {"> authorization: Bearer (token)", "> x-mine: 1", "> content-length: 2"} <= {*lines}
    assert lines[lines.index("< 200 OK") :][1:] == ["< x-told: yes", "< content-length: 14"]
    assert "/token" not in done.stderr
    assert json.loads(calling("-v", "--json").stdout)["data"]["status"] == 200


def test_verbose_shows_each_try(foreign: Foreign, calling: Call) -> None:
    """A token that the API refuses is renewed once: both requests were sent."""
    foreign.script["/orders"] = [CHALLENGED]
    lines = calling("-v").stderr.splitlines()
    assert [line for line in lines if line.startswith(("> GET", "< 4", "< 2"))] == [
        f"> GET {foreign.url}/orders",
        "< 401 Unauthorized",
        f"> GET {foreign.url}/orders",
        "< 200 OK",
    ]
    assert '< www-authenticate: Bearer error="invalid_token"' in lines


@pytest.mark.attack
def test_verbose_shows_no_secret(foreign: Foreign, calling: Call) -> None:
    """Neither ours nor the user's, nor those that the API sends back."""
    told = {"X-Echo": "Bearer token-1 and more", "Set-Cookie": "session=hidden"}
    foreign.default["/orders"] = Answer(200, {}, told)
    shown = calling("-v", "-H", "Cookie: hidden", "-H", "X-Api-Key: hidden", "-H", "X-Auth-Token: hidden").stderr
    assert "hidden" not in shown
    assert "token-1" not in shown
    assert {"> cookie: (not shown)", "< x-echo: Bearer (token) and more", "< set-cookie: (not shown)"} <= {
        *shown.splitlines()
    }


@pytest.mark.attack
def test_verbose_shows_no_proof(foreign: Foreign, calling: Call) -> None:
    foreign.default["/token"] = token_answer("token-1", token_type="DPoP")
    done = calling("-v", "--dpop")
    assert done.exit_code == 0
    assert {"> authorization: DPoP (token)", "> dpop: (proof)"} <= {*done.stderr.splitlines()}
    assert "token-1" not in done.stderr
    assert "eyJ" not in done.stderr


@pytest.mark.attack
def test_verbose_shows_no_password_of_a_url(foreign: Foreign, calling: Call) -> None:
    done = calling("-v", url=foreign.url.replace("//", "//me:hidden@") + "/orders")
    assert done.stderr.splitlines()[0] == f"> GET {foreign.url}/orders"
    assert "hidden" not in done.stderr
    assert foreign.sent("/orders")[0].headers["authorization"] == "Bearer token-1"
