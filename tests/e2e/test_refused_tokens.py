"""docs/how-to/federation/refused.md, as an operator follows it: from a refused token to a rule, no claim typed."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.platforms import github
from tests.platforms.issuer import Issuer, signed
from tests.process import ORDERS, Server

from affiant.oauth import names
from affiant.server.registry.directory import FRESH_SECONDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "federation" / "refused.md"
USAGE, REFUSED = 2, 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("refused")) as made:
        made.add_api(ORDERS, scope="orders.write")
        made.affiant("admin", "bootstrap", "root", "--role", "viewer")
        yield made


def _commands() -> dict[str, list[str]]:
    """The commands of the page, by their first words."""
    lines = re.findall(r"^affiant .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {" ".join(line.split()[1:3]): shlex.split(line)[1:] for line in lines}


def test_from_a_refusal_to_a_rule(server: Server) -> None:
    commands = _commands()
    assert commands.keys() == {"trust test", "explain TRACE_ID", "trust refused", "trust add"}
    job = github.job(audience=server.issuer)
    text = signed(job, time.time())
    (server.folder / "job.jwt").write_text(text)
    (server.folder / "keys.json").write_text(json.dumps(Issuer.of(job).jwks))

    # Before a trust exists, here and over the admin API.
    remote = ("--url", server.issuer, "-c", "root.affiant.json")
    for place in ((), remote):
        tried = server.run(*commands["trust test"], *place)
        assert tried.returncode == REFUSED, tried.stderr
        assert tried.stdout.splitlines()[0] == "fix  affiant trust add github --from-token job.jwt"

    answer = server.token(grant_type=names.JWT_BEARER, assertion=text).json()
    trace = answer["trace_id"]
    (row,) = server.affiant(*commands["trust refused"])
    assert (row["issuer"], row["reason"], row["trace_id"]) == (github.ISSUER, "trust.unknown", trace)
    assert not row["verified"]
    found = server.run("explain", trace).stdout.splitlines()[0]
    assert found == f"fix  affiant trust add --from-refused {trace}"

    # It asks first, and says that the claims are a stranger's.
    words = [word.replace("TRACE_ID", trace) for word in commands["trust add"]]
    asked = server.run(*words, "--jwks", "keys.json", "--scope", "orders.write")
    assert asked.returncode == USAGE
    assert "no trust had verified this token" in asked.stderr
    assert server.affiant("trust", "list") == []

    made = server.affiant(*words, "--jwks", "keys.json", "--scope", "orders.write", "--yes")
    assert made["rule"]["conditions"] == {"repository_id": ["74"], "repository_owner_id": ["65"],
                                          "ref": ["refs/heads/main"]}  # fmt: skip
    time.sleep(1.2 * FRESH_SECONDS)  # until the server looks again at what is registered
    tried = server.run(*commands["trust test"], *remote)
    assert tried.returncode == 0, tried.stdout
    assert "orders.write at" in tried.stdout
    reply = server.token(grant_type=names.JWT_BEARER, assertion=signed(job, time.time()))
    assert reply.status_code == 200, reply.text

    # What stands in no log: the token, its id, its signature.
    log = json.dumps(server.affiant("audit", "show"))
    assert not [part for part in text.split(".")[1:] if part in log]
