"""Teams on a real server: the commands of docs/how-to/teams.md as they are printed, and two operators with tokens."""

import re
import shlex
from pathlib import Path

from tests.e2e.test_admin import elsewhere
from tests.process import Server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "teams.md"
UNKNOWN = 3  # the exit code


def printed() -> list[tuple[list[str], str]]:
    """Each command of the page, and what the page says that it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]]
    commands = [part.partition("\n") for part in parts]
    return [(shlex.split(line)[1:], said) for line, _, said in commands]


def follow(server: Server) -> list[list[str]]:
    """Run every command of the page, and return the words of each."""
    ran = []
    for documented, said in printed():
        words = [word.replace("https://as.example", server.issuer) for word in documented]
        if said:
            done = server.run(*words)
            assert (done.returncode != 0, done.stdout + done.stderr) == (True, said)
        else:
            server.affiant(*words)
        ran.append(words)
    return ran


def test_each_team_has_its_own_services(lone_server: Server) -> None:
    server = lone_server
    server.affiant("api", "update", "orders", "--scope", "orders.read", "--scope", "orders.write")
    server.add_api("https://ledger.example", name="ledger", scope="ledger.read")
    server.affiant("client", "new", "billing", "--scope", "orders.read")
    assert len(follow(server)) >= 8
    server.affiant("team", "add", "shipping")
    server.affiant("client", "new", "parcels", "--team", "shipping")
    server.affiant("admin", "bootstrap", "shipping-ops", "--role", "operator", "--team", "shipping")

    for who, others in (("shipping-ops", ("billing", "refunds")), ("payments-ops", ("parcels",))):
        for name in others:
            code, told = elsewhere(server, who, "client", "disable", name)
            assert (code, f"there is no client named {name}" in told["error"]["message"]) == (UNKNOWN, True), told
            assert server.affiant("client", "show", name)["enabled"] is True
        code, told = elsewhere(server, who, "client", "list")
        assert not {one["client_id"] for one in told["data"]} & set(others)
    for who, own in (("shipping-ops", "parcels"), ("payments-ops", "refunds")):
        assert elsewhere(server, who, "client", "disable", own)[0] == 0
        assert server.affiant("client", "show", own)["enabled"] is False
