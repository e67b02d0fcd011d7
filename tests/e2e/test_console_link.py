"""`affiant serve` and `affiant console`: the first link, users, sessions, at a real server."""

import os
import pty
import re
import subprocess
from pathlib import Path

import httpx2
from tests.loopback import free_port
from tests.process import AFFIANT, READY_SECONDS, Child, Server

_LINK = re.compile(rb"http://localhost:(\d+)/console/sign-in#([A-Za-z0-9_-]{43})")


def _sign_in(http: httpx2.Client, base: str, token: str) -> httpx2.Response:
    return http.post(f"{base}/console/sign-in", data={"token": token}, headers={"Origin": base})


def test_the_first_start_at_a_terminal_prints_a_link(tmp_path: Path) -> None:
    """Once, from the process that owns the terminal; it signs a first owner in, at both names of this machine."""
    port = free_port()
    screen, terminal = pty.openpty()
    command = (*AFFIANT, "serve", "--port", str(port), "--workers", "2")
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with Child(tmp_path, process, "serve") as child:
        os.close(terminal)
        shown = b""
        while len(_LINK.findall(shown)) < 1 or b"until" not in shown:
            shown += os.read(screen, 4096)
        for name in ("out", "err"):
            (tmp_path / f"serve.{name}").touch()
        child.until_healthy(f"http://127.0.0.1:{port}")
        ((at, token),) = _LINK.findall(shown)
        assert int(at) == port
        with httpx2.Client(timeout=READY_SECONDS) as http:
            base = f"http://127.0.0.1:{port}"
            assert _sign_in(http, base, token.decode()).status_code == 303
            assert "owner" in http.get(f"{base}/console/account").text
            assert _sign_in(http, base, token.decode()).status_code == 403
    os.close(screen)


def test_elsewhere_it_prints_the_command(tmp_path: Path) -> None:
    """What is no terminal is kept, and a link is as good as a password until it is used."""
    with Server(tmp_path) as server:
        assert server.child is not None
        server.child.until(lambda: f"affiant console link --data {server.data}" in server.child.err)  # type: ignore[union-attr]
        made = server.affiant("console", "link", "alice")
        assert (made["user"], server.affiant("console", "users")[0]["role"]) == ("alice", "owner")
        token = made["url"].partition("#")[2]
        with httpx2.Client(timeout=READY_SECONDS) as http:
            assert _sign_in(http, server.issuer, token).status_code == 303
            (session,) = server.affiant("console", "sessions", "alice")
            assert server.affiant("console", "end", session["id"][:12]) == {"ended": [session["id"]]}
            assert http.get(f"{server.issuer}/console/account").status_code == 303
        assert server.run("console", "link", "alice", "--role", "viewer").returncode == 8
        assert "there is no team named payments" in server.run("console", "link", "bob", "--team", "payments").stderr
        server.affiant("console", "link", "bob")
        bob = server.affiant("console", "user", "update", "bob", "--role", "operator")
        assert (bob["role"], bob["teams"]) == ("operator", [])
        server.affiant("console", "user", "disable", "bob")
        assert "affiant console user enable bob" in server.run("console", "link", "bob").stderr
        server.affiant("console", "user", "enable", "bob")
        assert server.affiant("console", "passkeys", "bob") == []
        server.affiant("console", "user", "remove", "bob")
        assert server.run("console", "user", "show", "bob").returncode == 3
        assert token not in server.child.out + server.child.err + server.run("audit", "show", "--json").stdout
    with Server(tmp_path) as again:
        assert again.child is not None
        assert again.child.err.count("affiant console link") == 1, "the file has the output of both starts"
