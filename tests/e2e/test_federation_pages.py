"""Each page of docs/how-to/federation: its command is run as it is there, and then the tokens of its platform are sent.

One server for all pages. Nothing is fetched: each command gets the keys of the platform from a file.
"""

import contextlib
import io
import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.platforms import builds, clouds, kubernetes
from tests.platforms.issuer import Issuer, signed
from tests.platforms.token import AUDIENCE, Token
from tests.platforms.traps import GOOD, TRAPS
from tests.process import ORDERS, Server

from affiant.cli.main import main
from affiant.cli.registry.trust import jobs
from affiant.jose import compact
from affiant.oauth import names
from affiant.server.registry.directory import FRESH_SECONDS
from affiant.server.registry.federation.platforms.table import PLATFORMS

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "federation"
AS = "https://as.example"
ISSUER = "https://issuer.example"
GENERIC = Token("generic", ISSUER, {"iss": ISSUER, "sub": "build:42", "aud": AUDIENCE}, f"{ISSUER}/jwks")
# Audiences of tokens of jobs that ask for one for this server; two platforms have a usual one.
ASKED = (AUDIENCE, builds.CIRCLECI_ORGANIZATION, builds.BITBUCKET_AUDIENCE)
# The audience is that of the app registration, or of the team: jobs there ask for no other.
OWN_AUDIENCE = {"entra": "api://affiant", "vercel": "https://vercel.com/acme"}
# The ARN of the role has the account in it; and the page of Kubernetes has two clusters, one of which is the other.
BEYOND = {"aws-account-at-the-top", "kubernetes-other-cluster"}


def commands(page: str) -> list[list[str]]:
    """The commands of a page that add a trust."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (PAGES / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("affiant trust add")]


def run(words: list[str]) -> Any:
    """Run a command of a reader, and return the data that it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    document = json.loads(said.getvalue())
    assert ended.value.code == 0, document
    return document["data"]


def good(preset: str) -> Token:
    """The token of the right workload."""
    if preset == "generic":
        return GENERIC
    return kubernetes.pod(issuer=kubernetes.eks()) if preset == "kubernetes" else GOOD[preset].token


def keys_of(preset: str) -> dict[str, Any]:
    """The keys of the issuer; AWS has two algorithms."""
    return Issuer.of(good(preset), *([clouds.aws(alg="ES384")] if preset == "aws" else [])).jwks


class Readers:
    """Those who followed the pages, and what each of them registered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made: dict[str, Any] = {}

    def follow(self, preset: str) -> None:
        first, *more = commands(preset)
        for words, name in ((first, preset), *((words, f"{preset}-b") for words in more)):
            mine = list(words)
            mine[mine.index("--new-client") + 1] += f"-{name}"  # pages have the same names
            if "--bundle" in mine:
                del mine[mine.index("--bundle") : mine.index("--bundle") + 2]
            if "--jwks" not in mine:
                mine += ["--jwks", f"{preset}.json"]
            self.made[name] = run([*mine, "--data", str(self.server.data)])

    def sent(self, token: Token) -> tuple[int, Any]:
        """The answer to a token of a job that asks for one of this server."""
        aud = token.at("/aud")
        asked = [self.server.issuer if one in ASKED else one for one in (aud if isinstance(aud, list) else [aud])]
        token = token.changed({"/aud": asked if isinstance(aud, list) else asked[0]})
        reply = self.server.token(grant_type=names.JWT_BEARER, assertion=signed(token, time.time()))
        return reply.status_code, reply.json()


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    folder = tmp_path_factory.mktemp("pages")
    before = Path.cwd()
    with Server(folder) as server:
        server.add_api(ORDERS, "--scope", "orders.write")
        found = Readers(server)
        os.chdir(folder)
        try:
            (folder / "cluster-b.json").write_text(json.dumps(Issuer.of(kubernetes.pod()).jwks))
            for preset in PLATFORMS:
                (folder / f"{preset}.json").write_text(json.dumps(keys_of(preset)))
                found.follow(preset)
        finally:
            os.chdir(before)
        time.sleep(1.2 * FRESH_SECONDS)  # until the server looks again at what is registered
        yield found


@pytest.mark.parametrize("preset", PLATFORMS)
def test_the_page_of_a_platform(readers: Readers, preset: str) -> None:
    token = good(preset)

    status, answer = readers.sent(token)

    assert status == 200, answer
    claims = compact.parse(answer["access_token"]).claims
    made = readers.made[preset]
    assert claims["client_id"] == made["client"]["client_id"]
    assert claims["rule"] == f"{made['trust']['name']}/{made['rule']['name']}"
    for trap in TRAPS.values():
        if trap.beside is GOOD.get(preset) and trap.name not in BEYOND:
            status, answer = readers.sent(trap.token)
            assert status in (400, 401), trap.name


@pytest.mark.parametrize("preset", PLATFORMS)
def test_the_job_is_the_one_that_the_command_prints(readers: Readers, preset: str) -> None:
    text = (PAGES / f"{preset}.md").read_text("utf-8")
    audience = OWN_AUDIENCE.get(preset, AS)

    assert "\n".join(jobs.lines(preset, AS, audience)) + "\n```" in text
    printed = jobs.lines(preset, readers.server.issuer, OWN_AUDIENCE.get(preset, readers.server.issuer))
    assert readers.made[preset]["job"] == "\n".join(printed)


def test_a_private_cluster_has_a_trust_of_its_own(readers: Readers) -> None:
    status, answer = readers.sent(kubernetes.pod())

    assert status == 200, answer
    assert compact.parse(answer["access_token"]).claims["client_id"] == "orders-b-kubernetes-b"


def test_the_token_of_a_workload_is_taken_until_it_expires(readers: Readers) -> None:
    for token in (good("spiffe"), good("kubernetes")):
        text = signed(token.changed({"/aud": [readers.server.issuer]}), time.time())
        answers = {readers.server.token(grant_type=names.JWT_BEARER, assertion=text).status_code for _ in range(50)}
        assert answers == {200}


def test_the_command_administers_a_server_elsewhere(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    server = readers.server
    monkeypatch.chdir(server.folder)
    server.affiant("admin", "bootstrap", "owner-of-trusts")
    iss = "https://other.example"
    token = GENERIC.changed({"/iss": iss, "/aud": server.issuer})
    issuer = Issuer(iss, f"{iss}/jwks", Issuer.of(GENERIC).keys)
    (server.folder / "other.jwt").write_text(issuer.sign(token, time.time()))
    add = ["trust", "add", "generic", "--from-token", "other.jwt", "--jwks", "generic.json", "--scope", "orders.read"]

    made = run([*add, "--new-client", "elsewhere", "--url", server.issuer, "-c", "owner-of-trusts.affiant.json"])

    assert made["token"] == ["the server would accept this token, and its signature is right"]
    reply = server.token(grant_type=names.JWT_BEARER, assertion=issuer.sign(token, time.time()))
    assert reply.status_code == 200, reply.text


def test_the_first_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README.md: its commands, with a client that is there."""
    monkeypatch.chdir(tmp_path)
    run(["client", "new", "deploy", "--auth", "client_secret_basic"])
    (tmp_path / "job.jwt").write_text(signed(GOOD["gitlab"].token))

    keys = {"github": "github.json", "gitlab": "gitlab.json"}
    for preset, file in keys.items():
        (tmp_path / file).write_text(json.dumps(keys_of(preset)))

    made = [run([*words, "--jwks", keys[words[2]]]) for words in commands("README")]

    assert [one["trust"]["preset"] for one in made] == ["github", "gitlab"]
