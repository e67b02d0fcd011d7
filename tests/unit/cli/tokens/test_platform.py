"""`--from PLATFORM` of the commands, their kept tokens, and the mask in a job of GitHub."""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from tests import process
from tests.unit.client.conftest import Answer, Foreign
from tests.unit.client.platforms.imitation import Platform, Trusting, issue

from affiant.client.credentials.file import Credentials
from affiant.jose.keys import PrivateKey


@pytest.fixture
def platform() -> Iterator[Platform]:
    found = Platform()
    yield found
    found.close()


@pytest.fixture
def server() -> Iterator[Trusting]:
    found = Trusting()
    yield found
    found.close()


@pytest.fixture
def job(platform: Platform) -> dict[str, str]:
    url = f"{platform.url}/idtoken?api-version=2.0"
    return {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-request-token"}


def test_token_is_kept_for_this_workload_alone(
    job: dict[str, str], platform: Platform, server: Trusting, tmp_path: Path
) -> None:
    def run(subject: str) -> str:
        server.subject = subject
        platform.claims = {"sub": subject}
        done = process.run(tmp_path, "token", "--from", "github", "--issuer", server.url, **job)
        assert done.stderr == ""
        return done.stdout

    assert [run("a"), run("a"), run("b"), run("a")] == ["token-1\n", "token-1\n", "token-2\n", "token-1\n"]
    assert len(server.sent("/token")) == 2
    assert len(platform.requests) == 4


def test_processes_of_one_run_share_one_exchange(server: Trusting, tmp_path: Path) -> None:
    """HCP Terraform gives one token to all processes of a phase: a second exchange would be a replay."""
    server.delay = 0.5
    shared = {"TFC_WORKLOAD_IDENTITY_TOKEN": issue(server.url)}
    words = ("token", "--from", "env:TFC_WORKLOAD_IDENTITY_TOKEN", "--issuer", server.url)
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(process.run, tmp_path, *words, **shared) for _ in range(2)]
    assert [run.result().stdout for run in runs] == ["token-1\n"] * 2
    assert server.mistakes == []
    assert len(server.sent("/token")) == 1


def test_new_token_costs_one_token_of_the_platform(
    job: dict[str, str], platform: Platform, server: Trusting, tmp_path: Path
) -> None:
    words = ("token", "--from", "github", "--issuer", server.url, "--carrier", "client_assertion", "--client-id", "ci")
    assert process.run(tmp_path, *words, **job).stdout == "token-1\n"
    assert process.run(tmp_path, *words, "--no-cache", **job).stdout == "token-2\n"
    assert len(platform.requests) == 2
    assert server.sent("/token")[1].form["client_id"] == "ci"
    kept = "".join(path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert not [token for token in platform.issued_tokens if token in kept]


def test_audience_is_asked_for(job: dict[str, str], platform: Platform, server: Trusting, tmp_path: Path) -> None:
    server.audience = "sts.example"
    words = ("token", "--from", "github", "--issuer", server.url, "--audience", "sts.example")
    assert process.run(tmp_path, *words, **job).stdout == "token-1\n"


@pytest.mark.parametrize("form", [(), ("--header",), ("--env",), ("--json",)])
def test_token_in_a_job_of_github_is_masked(
    form: tuple[str, ...], key: PrivateKey, foreign: Foreign, tmp_path: Path
) -> None:
    mine = Credentials(foreign.url, "billing", "private_key_jwt", kid=key.kid, key=key.to_jwk())
    mine.write(tmp_path / "my.affiant.json")
    for _ in range(2):  # a new one, and the kept one
        done = process.run(tmp_path, "token", "-c", "my.affiant.json", *form, GITHUB_ACTIONS="true")
        assert done.stderr == "::add-mask::token-1\n"
        assert "token-1" in done.stdout
        assert "add-mask" not in done.stdout
    assert process.run(tmp_path, "token", "-c", "my.affiant.json", *form, GITHUB_ACTIONS="false").stderr == ""


def test_call_sends_the_token(job: dict[str, str], server: Trusting, foreign: Foreign, tmp_path: Path) -> None:
    foreign.default["/orders"] = Answer(200, raw=b"two orders")
    words = ("call", f"{foreign.url}/orders", "--from", "github", "--issuer", server.url)
    done = process.run(tmp_path, *words, **job)
    assert (done.stdout, done.stderr) == ("two orders\n", "")
    assert foreign.sent("/orders")[0].headers["authorization"] == "Bearer token-1"


def test_agent_keeps_the_token(server: Trusting, tmp_path: Path) -> None:
    (tmp_path / "platform").write_text(issue(server.url))
    words = ("agent", "--from", "file:platform", "--issuer", server.url, "--to", "token", "--json")
    child = process.Child.start(tmp_path, *process.AFFIANT, *words)
    try:
        child.until(lambda: child.out.endswith("\n"))
        assert json.loads(child.out)["data"]["file"] == "token"
        assert (tmp_path / "token").read_text() == "token-1"
    finally:
        child.process.terminate()
        child.process.wait(10)


def test_proxy_adds_the_token(server: Trusting, foreign: Foreign, tmp_path: Path) -> None:
    (tmp_path / "platform").write_text(issue(server.url))
    foreign.default["/orders"] = Answer(200, {})
    words = ("proxy", "--from", "file:platform", "--issuer", server.url, "--to", foreign.url, "--listen", "127.0.0.1:0")
    child = process.Child.start(tmp_path, *process.AFFIANT, *words, "--json")
    try:
        child.until(lambda: child.out.endswith("\n"))
        (place,) = re.findall(r"127\.0\.0\.1:[1-9]\d*", child.out.replace(foreign.url, ""))
        assert httpx2.get(f"http://{place}/orders").status_code == 200
    finally:
        child.process.terminate()
        child.process.wait(10)
    assert foreign.sent("/orders")[0].headers["authorization"] == "Bearer token-1"


def test_missing_permission_is_one_line(server: Trusting, tmp_path: Path) -> None:
    done = process.run(tmp_path, "token", "--from", "github", "--issuer", server.url, GITHUB_ACTIONS="true")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "permissions: id-token: write" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--issuer", "https://as.example"), "--issuer goes with --from"),
        (("--audience", "x"), "--audience goes with --from"),
        (("--from", "github"), "--from needs --issuer"),
        (("--from", "github", "--issuer", "https://as.example", "-c", "my.affiant.json"), "--from replaces --cred"),
        (("--from", "jenkins", "--issuer", "https://as.example"), "is not known"),
    ],
)
def test_wrong_options_are_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = process.run(tmp_path, "token", *words)
    assert done.returncode != 0
    assert said in done.stderr


def test_environment_of_these_tests_is_no_job() -> None:
    assert "GITHUB_ACTIONS" not in os.environ
