"""`affiant call`, `affiant token` and `affiant assertion`: their answers, their exit codes, and what they never show."""

import json
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.loopback import free_port
from tests.process import Server


@pytest.fixture(scope="module")
def reader(server: Server, api: str) -> tuple[str, str]:
    """Who may read orders at the API."""
    return _new(server, "call-reader", "--scope", "orders.read", "--resource", api)


@pytest.fixture(scope="module")
def writer(server: Server, api: str) -> tuple[str, str]:
    """Who may write orders at the API, but not read them."""
    return _new(server, "call-writer", "--scope", "orders.write", "--resource", api)


@pytest.fixture(scope="module")
def stranger(server: Server) -> tuple[str, str]:
    """Who gets tokens for another API only."""
    return _new(server, "call-stranger", "--scope", "orders.read")


@pytest.fixture(scope="module")
def keeper(server: Server, api: str) -> tuple[str, str]:
    """Who has a secret instead of a key."""
    return _new(server, "call-keeper", "--scope", "orders.read", "--resource", api, "--auth", "client_secret_post")


def _new(server: Server, name: str, *words: str) -> tuple[str, str]:
    server.affiant("client", "new", name, *words)
    return ("--credentials", f"{name}.affiant.json")


def _secrets(server: Server, who: tuple[str, str]) -> list[str]:
    members = server.credentials(who[1].removesuffix(".affiant.json"))
    return [members["client_secret"]] if "client_secret" in members else [members["key"]["d"]]


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("affiant: ")
    return lines[0]


def _document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_call_prints_the_answer_alone(server: Server, api: str, reader: tuple[str, str]) -> None:
    """Standard output is the body, standard error is empty."""
    done = server.run("call", f"{api}/orders", *reader)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"for": "call-reader"}


def test_call_json(server: Server, api: str, reader: tuple[str, str]) -> None:
    done = server.run("call", f"{api}/orders", *reader, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    data = _document(done)["data"]
    assert data["status"] == 200
    assert json.loads(data["body"]) == {"for": "call-reader"}


def test_call_sends_method_and_body(server: Server, api: str, writer: tuple[str, str]) -> None:
    done = server.run("call", f"{api}/orders", *writer, "-X", "POST", "-d", "grüße")
    assert json.loads(done.stdout)["body"] == "grüße"


def test_call_takes_a_body_from_a_file_and_shows_what_it_sends(
    server: Server, api: str, writer: tuple[str, str]
) -> None:
    """POST because there is a body, and the token on neither stream."""
    (server.folder / "order.txt").write_text("two of them")
    done = server.run("call", f"{api}/orders", *writer, "-d", "@order.txt", "-H", "Content-Type: text/plain", "-v")
    assert json.loads(done.stdout)["body"] == "two of them"
    lines = done.stderr.splitlines()
    assert {f"> POST {api}/orders", "> content-type: text/plain", "> authorization: Bearer (token)", "< 200 OK"} <= {
        *lines
    }
    assert "eyJ" not in done.stdout + done.stderr


def test_call_wrong_header(server: Server, api: str, reader: tuple[str, str]) -> None:
    done = server.run("call", f"{api}/orders", *reader, "-H", "Authorization: Bearer x")
    assert done.returncode == 2
    assert "sets the header Authorization" in _one_line(done)


def test_call_forbidden(server: Server, api: str, writer: tuple[str, str]) -> None:
    """403: exit 4, and the API's challenge says which scope is missing."""
    done = server.run("call", f"{api}/orders", *writer)
    assert done.returncode == 4
    assert "403" in _one_line(done)
    assert 'scope="orders.read"' in done.stderr
    assert "call again with --scope 'orders.read'" in done.stderr


def test_call_unauthorized(server: Server, api: str, stranger: tuple[str, str]) -> None:
    """401, with a token for another API: exit 4, and the challenge says why."""
    done = server.run("call", f"{api}/orders", *stranger)
    assert done.returncode == 4
    assert "401" in _one_line(done)
    assert "invalid_token" in done.stderr


def test_call_not_found_at_the_api(server: Server, api: str, reader: tuple[str, str]) -> None:
    done = server.run("call", f"{api}/nowhere", *reader)
    assert done.returncode == 4
    assert "404" in _one_line(done)


def test_call_json_of_a_refusal(server: Server, api: str, writer: tuple[str, str]) -> None:
    """With --json a refusal is one document that says so, and nothing else."""
    done = server.run("call", f"{api}/orders", *writer, "--json")
    assert done.returncode == 4
    document = _document(done)
    assert document["ok"] is False
    assert document["error"]["exit_code"] == 4
    assert done.stderr == ""


def test_call_unreachable(server: Server, reader: tuple[str, str]) -> None:
    """Nothing listens: exit 5, and the address is named; the token was for there, so nothing else is tried."""
    url = f"http://127.0.0.1:{free_port()}/orders"
    done = server.run("call", url, *reader)
    assert done.returncode == 5
    assert f"{urlsplit(url).netloc} cannot be reached: it refused the connection" in _one_line(done)
    document = _document(server.run("call", url, *reader, "--json"))
    assert document["ok"] is False
    assert document["error"]["exit_code"] == 5


@pytest.mark.parametrize("url", ["nope", "ftp://127.0.0.1/", "http://[::1", "http://127.0.0.1:99999/", "http://"])
def test_call_wrong_url(server: Server, reader: tuple[str, str], url: str) -> None:
    """What is no URL is shown with an example of one."""
    done = server.run("call", url, *reader)
    assert done.returncode == 8
    assert "write it like https://api.example" in _one_line(done)


def test_call_without_tls(server: Server, reader: tuple[str, str]) -> None:
    """A token goes to no other machine in clear, unless the user says so."""
    done = server.run("call", "http://api.invalid/orders", *reader)
    assert done.returncode == 8
    assert "by https, or with --unsafe-http" in _one_line(done)
    assert server.run("call", "http://api.invalid/orders", *reader, "--unsafe-http").returncode == 5


def test_call_wrong_method(server: Server, api: str, reader: tuple[str, str]) -> None:
    done = server.run("call", f"{api}/orders", *reader, "-X", "A B")
    assert done.returncode == 2
    assert "A B" in _one_line(done)


@pytest.mark.parametrize(
    "words", [("-d", "\udcff"), ("-X", "\udcff"), ("--scope", "\udcff"), ("-H", "X: \udcff"), ("--resource", "\udcff")]
)
def test_call_bytes_that_are_not_text(
    server: Server, api: str, reader: tuple[str, str], words: tuple[str, ...]
) -> None:
    """An argument that is not UTF-8 is a mistake like any other."""
    done = server.run("call", f"{api}/orders", *reader, *words)
    assert done.returncode in (2, 8)
    assert _one_line(done)


def test_call_without_the_server(lone_server: Server) -> None:
    """The authorization server is away: exit 5, and it is named."""
    lone_server.affiant("client", "new", "alone", "--scope", "orders.read")
    lone_server.stop()
    for words in (("token",), ("call", "http://127.0.0.1:9/")):
        done = lone_server.run(*words, "--credentials", "alone.affiant.json")
        assert done.returncode == 5
        assert f"127.0.0.1:{lone_server.port}" in _one_line(done)


def test_token_is_bare(server: Server, reader: tuple[str, str]) -> None:
    """A token for `$(affiant token)`: one line, three parts."""
    done = server.run("token", *reader)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.count(".") == 2


def test_token_header(server: Server, reader: tuple[str, str]) -> None:
    done = server.run("token", *reader, "--header")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Authorization: Bearer ey")
    assert len(done.stdout.splitlines()) == 1


def test_token_json(server: Server, reader: tuple[str, str]) -> None:
    data = server.affiant("token", *reader)
    assert set(data) == {"access_token", "expires_at", "scope"}
    assert data["scope"] == "orders.read"


def test_token_from_the_environment(server: Server, reader: tuple[str, str]) -> None:
    """AFFIANT_CREDENTIALS is a path, or the file's text itself."""
    text = json.dumps(server.credentials("call-reader"))
    for value in (reader[1], text):
        assert server.run("token", AFFIANT_CREDENTIALS=value).returncode == 0


def test_assertion_json(server: Server, reader: tuple[str, str]) -> None:
    assert server.affiant("assertion", *reader)["client_assertion"].count(".") == 2


def test_secrets_stay_in_their_file(server: Server, api: str, reader: tuple[str, str], keeper: tuple[str, str]) -> None:
    """No command shows a key or a secret, nor `call` the token, whether it goes well or not."""
    every = [
        ("token", "--json"),
        ("token", "--scope", "nope"),
        ("assertion",),
        ("call", f"{api}/orders", "--json", "-v"),
    ]
    for who in (reader, keeper):
        for words in every:
            done = server.run(*words, *who)
            shown = done.stdout + done.stderr
            assert not [secret for secret in _secrets(server, who) if secret in shown], words
            assert words[0] != "call" or "eyJ" not in shown
