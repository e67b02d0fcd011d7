"""Each page of docs/how-to/federation: its command is run as it is there, and then the tokens of its platform are sent.

One server for all pages. Nothing is fetched: each command gets the keys of the platform from a file.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.readers import GENERIC, OWN_AUDIENCE, PAGES, Readers, commands, good, keys_of, run
from tests.platforms import kubernetes
from tests.platforms.issuer import Issuer, signed
from tests.platforms.traps import GOOD, TRAPS
from tests.process import ORDERS, Server

from affiant.jose import compact
from affiant.oauth import names
from affiant.server.registry.federation.platforms import table
from affiant.server.registry.federation.platforms.adding import jobs

AS = "https://as.example"
PRESETS = [name for name in table.PLATFORMS if name != "affiant"]  # its page is two-servers.md: test_two_servers.py
# The ARN of the role has the account in it; and the page of Kubernetes has two clusters, one of which is the other.
BEYOND = {"aws-account-at-the-top", "kubernetes-other-cluster"}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    with Server(tmp_path_factory.mktemp("pages")) as server:
        server.add_api(ORDERS, "--scope", "orders.write")
        found = Readers(server)
        found.follow_all(PRESETS)
        yield found


@pytest.mark.parametrize("preset", PRESETS)
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


@pytest.mark.parametrize("preset", PRESETS)
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
    """README.md: its commands, with clients that are there."""
    monkeypatch.chdir(tmp_path)
    for name in ("deploy", "legacy"):
        run(["client", "new", name, "--auth", "client_secret_basic"])
    (tmp_path / "job.jwt").write_text(signed(GOOD["gitlab"].token))

    keys = {"github": "github.json", "gitlab": "gitlab.json"}
    for preset, file in keys.items():
        (tmp_path / file).write_text(json.dumps(keys_of(preset)))

    made = [run([*words, "--jwks", keys[words[2]]]) for words in commands("README")]

    assert [one["trust"]["preset"] for one in made] == ["github", "github", "gitlab"]
