"""`affiant explain`, `client update` and `client check`, as an operator types them."""

import json
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.process import Server, run

from affiant import testing
from affiant.jose import base64url


@pytest.fixture(scope="module")
def client(server: Server) -> str:
    server.affiant("client", "new", "explained", "--scope", "orders.read")
    return "explained"


def test_a_trace(server: Server, client: str) -> None:
    """The trace_id of an answer is all that the operator needs."""
    refused = server.token(**testing.form(server.assertion(client, audience=f"{server.issuer}/token")))
    done = server.run("explain", refused.json()["trace_id"])
    assert (done.returncode, done.stderr) == (0, "")
    assert server.run("explain", refused.json()["trace_id"], "--exit-code").returncode == 4
    assert "refused: assertion.audience" in done.stdout
    assert f'claims["aud"] = "{server.issuer}"' in done.stdout
    issued = server.token(**testing.form(server.assertion(client)))
    done = server.run("explain", issued.headers["x-trace-id"], "--exit-code")
    assert (done.returncode, done.stderr) == (0, "")
    assert "accepted" in done.stdout


def test_a_jwt_and_a_replay(server: Server, client: str) -> None:
    """Explaining uses nothing up, and says what was used."""
    text = server.assertion(client)
    assert server.affiant("explain", text)["accepted"] is True
    assert server.affiant("explain", text)["accepted"] is True
    assert server.token(**testing.form(text)).status_code == 200
    done = server.run("explain", text, "--json")
    assert done.returncode == 0
    data = json.loads(done.stdout)["data"]
    assert data["reason"] == "assertion.replayed"
    assert data["ladder"][10]["mark"] == "failed"


def test_from_standard_input_and_from_a_file(server: Server, client: str, tmp_path: Path) -> None:
    text = f"curl {server.issuer}/token -d grant_type=client_credentials -d client_assertion={server.assertion(client)}"
    (tmp_path / "request.txt").write_text(text)
    from_file = server.run("explain", str(tmp_path / "request.txt"))
    from_input = server.run("explain", "-", given=text)
    for done in (from_file, from_input):
        assert done.returncode == 0
        assert "request.incomplete_assertion" in done.stdout


def test_as_of_another_time(server: Server, client: str) -> None:
    text = server.assertion(client)
    done = server.run("explain", text, "--at", "2020-01-01T00:00:00Z")
    assert done.returncode == 0
    assert "as of 2020-01-01 00:00:00 UTC" in done.stdout
    assert server.run("explain", text, "--at", "yesterday").returncode == 2


def test_a_server_elsewhere(server: Server, client: str, tmp_path: Path) -> None:
    """From its metadata alone, in a folder that knows nothing."""
    text = server.assertion(client, audience="https://elsewhere.example")
    done = run(tmp_path, "explain", text, "--issuer", server.issuer)
    assert done.returncode == 0
    assert "?  5 client       depends on the registration" in done.stdout
    assert "refused: assertion.audience" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [("aaaaaaaaaaaa", 3, "aaaaaaaaaaaa"), ("what is this", 8, "give a trace id"), ("curl 'x", 8, "curl line")],
)
def test_what_cannot_be_explained(server: Server, what: str, code: int, says: str) -> None:
    done = server.run("explain", what)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert says in done.stderr


def test_without_a_server(tmp_path: Path) -> None:
    """Asking makes no data folder."""
    done = run(tmp_path, "explain", "a=b")
    assert done.returncode == 8
    assert "--issuer" in done.stderr
    assert not list(tmp_path.iterdir())


def test_controls_do_not_reach_the_terminal(server: Server) -> None:
    done = server.run("explain", "grant_type=%1b%5b2J%e2%80%ae")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_an_access_token(server: Server, client: str) -> None:
    """What an API provider pastes first: it is judged as a guard would, and no line says to change its type."""
    token = server.token(**testing.form(server.assertion(client))).json()["access_token"]
    done = server.run("explain", "-", given=token)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{client}   as of" in done.stdout
    assert "valid" in done.stdout.splitlines()[0]
    assert "this is an access token of this server" in done.stdout
    assert "client-authentication" not in done.stdout
    jti = json.loads(base64url.decode(token.split(".")[1]))["jti"]
    assert server.run("revoke", "--jti", jti).returncode == 0
    assert "refused: token.revoked" in server.run("explain", token).stdout


def test_a_signature_in_der_by_its_trace_id(server: Server, client: str) -> None:
    """Kafka's client logs the trace_id alone."""
    head, payload, signature = server.assertion(client).split(".")
    raw = base64url.decode(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    refused = server.token(**testing.form(f"{head}.{payload}.{base64url.encode(der)}")).json()
    assert refused["error_description"] == "client authentication failed"
    done = server.run("explain", refused["trace_id"])
    assert "the signature is DER" in done.stdout
    assert "librdkafka" in done.stdout


def test_code_that_cannot_be_changed(server: Server, client: str) -> None:
    """One look names all that is wrong, and the one command that lets it in."""
    text = server.assertion(client, audience=f"{server.issuer}/token", lifetime=3000)
    done = server.run("explain", server.token(**testing.form(text)).json()["trace_id"])
    assert "also        assertion.lifetime" in done.stdout
    assert f"affiant client update {client} --audience legacy --lifetime legacy" in done.stdout


def test_observe_and_check(server: Server) -> None:
    """Let an old client in under observation, see whom a strict rule would stop, and make it strict."""
    server.affiant("client", "new", "old", "--scope", "orders.read")
    endpoint = f"{server.issuer}/token"
    assert server.token(**testing.form(server.assertion("old", audience=endpoint))).status_code == 401
    changed = server.affiant("client", "update", "old", "--observe", "audience")
    assert changed["observe"] == ["audience"]
    _until_seen(server, "old", endpoint)
    found, unowned = server.affiant("client", "check", "old")
    assert (found["client_id"], found["reason"]) == ("old", "assertion.audience")
    assert unowned == {"client_id": "old", "reason": "client.no_owner"}
    assert server.affiant("explain", found["trace_id"])["observed"] == ["assertion.audience"]
    assert server.affiant("client", "update", "old", "--enforce", "audience")["observe"] == []
    assert "affiant explain" in server.run("client", "check").stdout
    assert server.run("client", "update", "old", "--audience", "nope").returncode == 2
    assert server.run("client", "update", "nobody", "--audience", "legacy").returncode == 3


def _until_seen(server: Server, name: str, audience: str) -> None:
    """A change is seen within a second; ask until it is."""
    end = time.monotonic() + 5
    while server.token(**testing.form(server.assertion(name, audience=audience))).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_update_takes_the_place_of_what_was(server: Server) -> None:
    server.affiant("client", "new", "changing", "--scope", "orders.read", "--alg", "ES256")
    changed = server.affiant("client", "update", "changing", "--scope", "a", "--scope", "b", "--jti", "legacy")
    assert (changed["scope"], changed["jti_policy"], changed["audience_policy"]) == (["a", "b"], "legacy", "strict")
    done = server.run("client", "update", "changing", "--grant", "password")
    assert done.returncode == 8
    assert "client_credentials" in done.stderr
