"""`affiant verify` against a real server, and `affiant token --env` in a real shell."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.loopback import free_port
from tests.process import ORDERS, Server

from affiant.client import Service
from affiant.jose import keys

Verify = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    server.affiant("client", "new", "verified", "--scope", "orders.read", "--resource", ORDERS)
    return str(server.affiant("token", "-c", "verified.affiant.json", "--no-cache")["access_token"])


@pytest.fixture
def verify(server: Server) -> Verify:
    """Verify a token from standard input for the API of the server; return the exit code, and the data."""

    def run(text: str, *words: str, audience: str = ORDERS) -> tuple[int, Any]:
        done = server.run(
            "verify", "-", "--issuer", server.issuer, "--audience", audience, *words, "--json", given=text
        )
        assert text not in done.stdout + done.stderr
        document = json.loads(done.stdout)
        assert "data" in document or done.returncode == 2, done.stdout
        return done.returncode, document.get("data")

    return run


def test_valid_token(verify: Verify, token: str) -> None:
    code, found = verify(token, "--scope", "orders.read")
    assert (code, found["verdict"], found["reason"]) == (0, "valid", None)
    assert {step["mark"] for step in found["steps"]} == {"passed"}
    code, found = verify(f"Authorization: Bearer {token}\n")
    assert (code, found["verdict"]) == (0, "valid")


def test_refused_token_is_explained(verify: Verify, token: str) -> None:
    code, found = verify(token, "--scope", "orders.write")
    assert (code, found["reason"], found["expected"]) == (4, "token.insufficient_scope", "orders.write")
    assert "scope 'orders.read'" in found["got"]
    assert found["fix"]
    code, found = verify(token, audience="https://other.example")
    assert (code, found["reason"], found["expected"]) == (4, "token.audience", "https://other.example")
    code, found = verify(f"{token[:-4]}AAAA")
    assert (code, found["reason"]) == (4, "token.signature")
    assert verify("no token")[0] == 4


def test_text_has_the_steps_and_the_mend(server: Server, token: str) -> None:
    words = ("--issuer", server.issuer, "--audience", "https://other.example")
    done = server.run("verify", "-", *words, given=token)
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout.startswith("refused: token.audience\n")
    assert "expected     https://other.example" in done.stdout
    assert "fix  " in done.stdout


def test_issuer_that_does_not_answer_is_no_verdict(server: Server, token: str) -> None:
    """Neither valid nor refused, so a script cannot take it for either."""
    gone = f"http://127.0.0.1:{free_port()}"
    words = ("--issuer", server.issuer, "--reach", gone, "--audience", ORDERS, "--json")
    done = server.run("verify", "-", *words, given=token)
    assert (done.returncode, json.loads(done.stdout)["data"]["verdict"]) == (5, "not known")


def test_proof_is_judged_too(server: Server, verify: Verify, token: str, tmp_path: Path) -> None:
    """The token alone is valid, as far as it goes; the proof is for one request."""
    key = keys.generate("ES256")
    service = Service.from_credentials(server.folder / "verified.affiant.json", dpop=key)
    bound, url, file = service.token().value, f"{ORDERS}/orders", tmp_path / "proof"
    prover = service._prover
    assert prover is not None
    file.write_text(prover.prove("GET", url, access_token=bound))
    code, found = verify(bound)
    assert (code, found["verdict"]) == (0, "valid")
    assert next(step["mark"] for step in found["steps"] if step["name"] == "binding") == "not known"
    assert verify(bound, "--dpop-proof", str(file), "--url", url)[0] == 0
    code, found = verify(bound, "--dpop-proof", str(file), "--url", url, "--method", "POST")
    assert (code, found["reason"]) == (4, "dpop.method")
    assert verify(token, "--dpop-proof", str(file))[0] == 2, "for which URL?"


def test_token_for_eval(server: Server, token: str) -> None:
    """A shell has the same token afterwards; only this line is printed."""
    assert token.count(".") == 2
    done = server.run("token", "-c", "verified.affiant.json", "--env")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    shell = subprocess.run(
        ("sh", "-c", f"{done.stdout}\nsh -c 'printf %s \"$ACCESS_TOKEN\"'"), capture_output=True, text=True, check=True
    )
    plain = server.run("token", "-c", "verified.affiant.json").stdout.strip()
    assert (shell.stdout, shell.stderr) == (plain, "")
    kept = server.run("token", "-c", "verified.affiant.json", "--env", "--min-ttl", "86400")
    assert kept.stdout.strip() != done.stdout.strip() or kept.returncode == 5
