"""Open streams of the live page: they bring what a real server decides, and keep it from nothing."""

import json
import threading
import time
from pathlib import Path

import httpx2
from tests.console import enter
from tests.process import Server

AT_ONCE = 3  # seconds; a server that waited for the streams would take ten


class Tab(threading.Thread):
    """One stream, read on a thread."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.url = f"{server.issuer}/console/activity/stream"
        self.cookies = enter(server.issuer, server.affiant("console", "link", "ann", "--role", "viewer")["url"])
        self.seen, self.is_open, self.has_row = "", threading.Event(), threading.Event()

    def run(self) -> None:
        with httpx2.Client(cookies=self.cookies, timeout=60) as http, http.stream("GET", self.url) as answer:
            for piece in answer.iter_text():
                self.seen += piece
                self.is_open.set()
                if "event: rows" in self.seen:
                    self.has_row.set()


def test_server_stops_at_once(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.add_api()
        server.affiant("client", "new", "billing", "--scope", "orders.read")
        tabs = [Tab(server) for _ in range(3)]
        for tab in tabs:
            tab.start()
            assert tab.is_open.wait(20)
        answer = server.token(**server.proof("billing"), grant_type="client_credentials")
        assert "access_token" in answer.json()
        assert all(tab.has_row.wait(20) for tab in tabs)
        assert "billing" in json.loads(tabs[0].seen.partition("data: ")[2].partition("\n")[0])["rows"]
        assert server.child is not None
        began = time.monotonic()
        server.child.process.terminate()
        server.child.process.wait(20)
        assert time.monotonic() - began < AT_ONCE
        for tab in tabs:
            tab.join(5)
            assert not tab.is_alive()
        assert "Traceback" not in server.child.err
        assert "without completing response" not in server.child.err
