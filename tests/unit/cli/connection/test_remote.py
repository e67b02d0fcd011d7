"""`--url` with another program or a hostile admin API: one clear line, and no control of the terminal."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.conftest import Answer, Foreign, Request, metadata_answer, token_answer

from affiant.cli.connection import remote
from affiant.cli.main import main
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.routes.operation import Operation

Ask = Callable[..., tuple[int, str, str]]

COMMANDS: tuple[str, ...] = (
    "client list", "client show x", "client key list x", "client new x", "client disable x", "client secret new x",
    "api list", "api new o --identifier https://o.example", "api update o --default", "api show o",
    "plan r.toml", "apply r.toml --yes --credentials-to .", "audit verify", "audit show", "audit head",
    "audit export --client x", "settings", "signing-key list", "signing-key rotate", "signing-key remove k",
    "issued find j", "issued revocations", "issued refresh-tokens", "grants", "revoke --jti j", "invitation list",
    "invitation new", "invitation revoke x", "explain aaaaaaaaaaaa", "explain a=b", "admin list",
    "admin grant x owner", "admin bootstrap y",
)  # fmt: skip
CLIENT: dict[str, Any] = {
    "client_id": "c", "client_name": None, "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_signing_alg": None, "grant_types": [], "scope": [], "resources": [], "introspects": [],
    "dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": False,
    "authorization_details_types": [], "profile": None, "audience_policy": "strict", "typ_policy": "strict",
    "lifetime_policy": "strict", "jti_policy": "strict", "observe": [], "jwks_uri": None, "registered_itself": False,
    "enabled": True, "created_at": 1, "keys": [], "secrets": [],
}  # fmt: skip
EXPLAINED: dict[str, Any] = {
    "accepted": False,
    "client_id": None,
    "at": 1.0,
    "fix": None,
    "detail": None,
    "observed": [],
}
PROBLEM = {"reason": "r\x1b[31m", "title": "t\x1b[31m", "detail": "d\x1b[31m", "trace_id": "x\x1b", "type": "y\x1b"}


class Hostile(Foreign):
    """It gives every client a token, and answers for its admin API what the test sets."""

    status, body = 200, b""

    def answer(self, request: Request) -> Answer:
        if "/admin/api" in request.path:
            headers = {"Content-Type": "application/json", "Location": "http://127.0.0.1:1/"}
            return Answer(self.status, raw=self.body, headers=headers)
        return metadata_answer(self.url) if "/.well-known/" in request.path else token_answer()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Path("r.toml").write_text('[[clients]]\nclient_id = "x"\ntoken_endpoint_auth_method = "client_secret_basic"\n')
    server = Hostile()
    yield server
    server.close()


@pytest.fixture
def ask(hostile: Hostile, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Run a command against it: exit code, output, errors."""
    monkeypatch.setenv("AFFIANT_ISSUER", hostile.url)
    with pytest.raises(SystemExit):
        main(["admin", "bootstrap", "alice"])
    capsysbinary.readouterr()

    def run(command: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--url", hostile.url, "-c", "alice.affiant.json"])
        said = capsysbinary.readouterr()
        return int(str(ended.value.code)), said.out.decode(), said.err.decode()

    return run


@pytest.mark.parametrize("route", OPERATIONS, ids=lambda route: f"{route.method} {route.path}")
def test_the_answer_of_each_route_is_checked(route: Operation) -> None:
    path = re.sub(r"{[^}]+}", "x", route.path)
    assert remote._route(route.method, path) is route
    with pytest.raises(ValueError, match=r"\w"):
        remote.check_answer(route.method, path, b"7")
    if route.is_list:
        with pytest.raises(ValueError, match=r"\w"):
            remote.check_line(path, b"7")


@pytest.mark.parametrize(
    ("body", "commands"),
    [
        (b"<html>please log in", ("api new o --identifier urn:o", "client list")),
        (b"{}\n", COMMANDS),
        (b"[1]\n", ("client show x", "client list", "settings")),
        (b'[{"scope": 5}]\n', ("grants", "client key list x")),
        (b"[" * 100_000 + b"\n", ("audit show aaaaaaaaaaaa", "client list")),
        (b"\xff\xfe\n", ("audit export --client x", "client list")),
        (b'{"trace_id": 1e400}\n', ("audit show aaaaaaaaaaaa",)),
        (json.dumps({**CLIENT, "created_at": 10**30}).encode() + b"\n", ("client show x", "client list")),
        (json.dumps({**CLIENT, "client_id": "c\x1b[31m"}).encode() + b"\n", ("client show x", "client list")),
        (json.dumps({**EXPLAINED, "reason": "no.such", "ladder": []}).encode(), ("explain a=b",)),
        (json.dumps({**EXPLAINED, "reason": None, "ladder": [{"rung": "x"}]}).encode(), ("explain a=b",)),
        (b'{"holds": true, "number": 1, "head": "x"}', ("audit verify",)),
        (b'{"holds": false, "number": 1, "code": "x"}', ("audit verify",)),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_answer_that_is_not_an_admin_apis_is_one_line(
    hostile: Hostile, ask: Ask, body: bytes, commands: tuple[str, ...]
) -> None:
    hostile.body = body
    for command in commands:
        code, out, err = ask(command)
        assert "\x1b" not in out + err, command
        lines = [line for line in err.splitlines() if not line.startswith("the server may have made x")]
        assert (code, len(lines), err.startswith(f"affiant: {hostile.url}")) == (5, 1, True), (command, err)
        assert "well-known" not in err


@pytest.mark.parametrize("status", [302, 401, 404, 422, 500, 503])
def test_refusal_cannot_command_the_terminal(hostile: Hostile, ask: Ask, status: int) -> None:
    """Nor is a redirect followed: the token is only for the server that the user named."""
    hostile.status = status
    for reason in ("r\x1b[31m", "admin.not_found"):
        hostile.body = json.dumps({**PROBLEM, "reason": reason}).encode()
        code, out, err = ask("client list")
        assert code in (3, 4, 5, 8)
        assert "\x1b" not in out + err, err
        assert err.startswith("affiant: ")
    for body in (b"[]", b'{"reason": "x", "detail": "y"}'):
        hostile.body = body
        code, _, err = ask("client list")
        assert (code, err) == (
            5,
            f"affiant: {hostile.url}/admin/api answered {status}, and not as an admin API does\n",
        )


def test_an_endless_answer_ends(hostile: Hostile, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_ANSWER", 1 << 20)
    monkeypatch.setattr(remote, "MAX_LINE", 1 << 20)
    hostile.body = b" " * (2 << 20)
    for command in ("client list", "client show x", "audit export"):
        code, _, err = ask(command)
        assert (code, "more than 1 MiB at once" in err) == (5, True), err


def test_limits_and_failures_are_refusals(hostile: Hostile, ask: Ask) -> None:
    """A busy or broken server is not a configuration error, and the message comes first."""
    for status, reason in ((429, "limit.failures"), (500, "server.error")):
        hostile.status = status
        hostile.body = json.dumps(
            {"reason": reason, "title": "what happened", "detail": "what to do", "trace_id": "t", "type": "https://p"}
        ).encode()
        code, _, err = ask("client list")
        assert (code, err) == (
            4,
            f"affiant: {reason}: what happened (what to do) (trace t)\nExplained at: https://p\n",
        )
