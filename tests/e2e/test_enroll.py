"""`affiant enroll`: one string from the operator, the key made on the machine."""

import json
import re
from pathlib import Path

import pytest
from tests.process import Server, run
from tests.unit.client.conftest import Foreign, foreign, metadata_answer

from affiant.cli.registry.handover.ticket import Ticket, parse
from affiant.errors import LocalError

__all__ = ["foreign"]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "registration.md").read_text("utf-8")


@pytest.fixture
def ticket(server: Server) -> str:
    return str(server.affiant("invitation", "new", "--scope", "orders.read", "--ticket")["ticket"])


def test_machine_has_its_own_key(server: Server, ticket: str, tmp_path: Path) -> None:
    done = run(tmp_path, "enroll", "-", "billing", given=ticket + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "credentials billing.affiant.json  (0600: keep it secret)" in done.stdout
    token = run(tmp_path, "token", "-c", "billing.affiant.json").stdout.strip()
    words = ("--issuer", server.issuer, "--audience", "https://orders.example", "--scope", "orders.read")
    assert run(tmp_path, "verify", "-", *words, given=token).returncode == 0


def test_ticket_in_a_file(server: Server, tmp_path: Path) -> None:
    """The operator's file is private, and the ticket is nowhere else."""
    file = tmp_path / "billing.ticket"
    done = server.run("invitation", "new", "--scope", "orders.read", "--ticket", "--out", str(file))
    assert (done.returncode, file.stat().st_mode & 0o777) == (0, 0o600)
    assert f"next: affiant enroll {file}" in done.stdout
    assert "affiant-ticket-" not in done.stdout
    assert parse(file.read_text().strip()).issuer == server.issuer
    assert run(tmp_path, "enroll", str(file), "billing").returncode == 0


def test_page_line_by_line(lone_server: Server) -> None:
    """The two commands of docs/how-to/registration.md, in the folder of the server."""
    ((invited, enrolled),) = re.findall(
        r"^```sh\naffiant (invitation .*)\naffiant (enroll .*)\n```$", PAGE, re.MULTILINE
    )
    for line in (invited, enrolled):
        done = lone_server.run(*line.split())
        assert (done.returncode, done.stderr) == (0, "")
    assert lone_server.credentials("billing")["scope"] == "orders.read"


def test_ticket_is_for_one_machine(ticket: str, tmp_path: Path) -> None:
    """As an argument it works with a warning; the second machine is refused, and no file is left."""
    first = run(tmp_path, "enroll", ticket, "first")
    assert first.returncode == 0
    assert "others on this machine could see the ticket" in first.stderr
    second = run(tmp_path, "enroll", "-", "second", given=ticket)
    assert second.returncode == 4
    assert "it was used, revoked, or has expired: ask an operator for another" in second.stderr
    assert [path.name for path in tmp_path.iterdir() if "second" in path.name] == []
    again = run(tmp_path, "enroll", "-", "first", given=ticket)
    assert (again.returncode, "first.affiant.json exists already" in again.stderr) == (8, True)


@pytest.mark.attack
def test_server_of_another_name_gets_no_token(foreign: Foreign, tmp_path: Path) -> None:
    """Its metadata name another issuer than the ticket: neither the token nor a key is sent."""
    endpoint = f"{foreign.url}/register"
    foreign.default["/.well-known/oauth-authorization-server"] = metadata_answer(
        "https://as.example", registration_endpoint=endpoint
    )
    done = run(tmp_path, "enroll", "-", given=Ticket(foreign.url, "t" * 43).text())
    assert (done.returncode, "of another issuer" in done.stderr) == (5, True)
    assert {request.path for request in foreign.requests} == {"/.well-known/oauth-authorization-server"}
    assert not any("t" * 43 in str(request) for request in foreign.requests)
    assert list(tmp_path.glob(".*unfinished")) == []


@pytest.mark.parametrize("cut", [-1, 20, 15, 3])
def test_part_of_a_ticket_is_refused_and_not_repeated(cut: int, tmp_path: Path) -> None:
    whole = Ticket("https://as.example", "canary" * 8).text()
    assert "canary" not in repr(parse(whole))
    with pytest.raises(LocalError, match="not a whole ticket"):
        parse(whole[:cut])
    done = run(tmp_path, "enroll", whole[:cut], "--json")
    assert done.returncode in (3, 8)
    assert whole[16:cut][:24] not in done.stdout + done.stderr or cut < 20
    assert json.loads(done.stdout)["ok"] is False


@pytest.mark.parametrize("issuer", ["http://as.example", "file:///etc/passwd", "https://as.example?x", "as.example"])
def test_ticket_of_an_impossible_issuer(issuer: str) -> None:
    with pytest.raises(LocalError, match="not a whole ticket"):
        parse(Ticket(issuer, "t" * 43).text())
