"""Audit sinks of a real server with two workers that is killed: a file, rsyslog over TLS, and an HTTPS receiver."""

import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import authority, lasting
from tests.loopback import free_port
from tests.process import Child, Server

RSYSLOGD = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
CONFIG = """
global(workDirectory="{folder}" maxMessageSize="64k"
  defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="text" type="string" string="%msg%\\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{folder}/syslog.jsonl" template="text")
"""


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = authority().serve("127.0.0.1").wrap_socket(self.socket, server_side=True)
        self.lines: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.lines += self.rfile.read(int(self.headers["content-length"])).splitlines()
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the library's name


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[int]:
    if RSYSLOGD is None:
        pytest.skip("rsyslogd is not installed: apt-get install rsyslog rsyslog-gnutls")
    folder, port = tmp_path / "rsyslog", free_port()
    folder.mkdir()
    (folder / "ca.pem").write_bytes(authority().pem)
    certificate, key = lasting(dn="CN=syslog", ip=("127.0.0.1",), by=authority()).write(folder, "syslog")
    (folder / "conf").write_text(
        CONFIG.format(folder=folder, ca=folder / "ca.pem", certificate=certificate, key=key, port=port)
    )
    command = (RSYSLOGD, "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid"))
    with Child.start(folder, *command, name="rsyslogd") as child:
        child.until_listening(port)
        yield port


def _numbers(lines: Sequence[bytes]) -> list[int]:
    return [json.loads(line)["number"] for line in lines]


def _check_order(numbers: Sequence[int], last: int) -> None:
    """Every record from the first on; what comes again, after the kill, comes in order, too."""
    assert sorted(set(numbers)) == list(range(1, last + 1))
    steps = [after - before for before, after in pairwise(numbers)]
    assert [step for step in steps if step != 1 and step > 0] == []  # no gap
    assert sum(step <= 0 for step in steps) <= 1  # one step back at most: there was one kill


def test_no_record_is_lost_when_the_server_is_killed(tmp_path: Path, receiver: Receiver, syslog: int) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority().pem)
    environment = {
        "AFFIANT_AUDIT_FILE": str(tmp_path / "audit.jsonl"),
        "AFFIANT_AUDIT_SYSLOG": f"tls://127.0.0.1:{syslog}",
        "AFFIANT_AUDIT_WEBHOOK": f"https://127.0.0.1:{receiver.server_port}/audit",
        "AFFIANT_AUDIT_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
        "AFFIANT_AUDIT_SINKS_BEGIN": "start",
        "SSL_CERT_FILE": str(ca),
    }
    server = Server(tmp_path, workers=2, environment=environment)
    written = tmp_path / "rsyslog" / "syslog.jsonl"
    with server:
        for number in range(30):
            server.token(client_id=f"made-up-{number}", grant_type="client_credentials")
        assert server.child is not None
        server.child.until(lambda: len(receiver.lines) > 0)
        server.kill()
        _end_leases(server)
        server.start()
        for number in range(30):
            server.token(client_id=f"later-{number}", grant_type="client_credentials")
        head = server.affiant("audit", "head")["number"]
        server.child.until(lambda: all(sink["number"] == head for sink in _sinks(server)))
        shown = _sinks(server)
        assert server.affiant("audit", "verify", environment["AFFIANT_AUDIT_FILE"])["number"] == head
        log = server.child.err
    assert [(sink["name"], sink["records_behind"], sink["problem"]) for sink in shown] == [
        (name, 0, None) for name in ("audit_file", "audit_syslog", "audit_webhook")
    ]
    assert head >= 60
    assert _numbers((tmp_path / "audit.jsonl").read_bytes().splitlines()) == list(range(1, head + 1))
    _check_order(_numbers(receiver.lines), head)
    _check_order(_numbers(written.read_bytes().splitlines()), head)
    assert log.count('"client_claimed":"later-') == 30  # and each decision has its line in the log
    assert "0123456789abcdef" not in log


def _end_leases(server: Server) -> None:
    """Let the next server take over at once; tests of the relay wait for the end of a lease, by a clock of their own."""
    with contextlib.closing(sqlite3.connect(server.data / "affiant.db")) as connection, connection:
        assert connection.execute("UPDATE cursor SET until = 0 WHERE name LIKE 'audit_%'").rowcount == 3


def _sinks(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.affiant("audit", "sinks")
    return found
