"""The load generator of `make bench` counts only what was answered as it must be."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from bench import generator

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="load.c needs a C compiler")
REQUESTS = 30


@contextmanager
def serving(answer: Callable[[str], tuple[int, str]]) -> Iterator[int]:
    """Answer the body of each request so; the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, text = answer(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with suppress(BrokenPipeError):  # the generator has its number, and ends
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def requests() -> list[bytes]:
    return [generator.post("/token", {"number": str(number)}) for number in range(REQUESTS)]


@pytest.mark.parametrize("rate", [0.0, 500.0])
def test_each_request_is_sent_once(tmp_path: Path, rate: float) -> None:
    seen = list[str]()

    def answer(body: str) -> tuple[int, str]:
        seen.append(body)
        return 200, f'{{"access_token": "token-of-{body}"}}'

    answers = tmp_path / "answers"
    with serving(answer) as port:
        load = generator.send(port, requests(), connections=4, warm_up=10, rate=rate, answers=answers)
    assert sorted(seen) == sorted(f"number={number}" for number in range(REQUESTS))
    assert (load.connections, load.warm_up, load.requests) == (4, 10, REQUESTS - 10)
    assert 0 < load.p50 <= load.p90 <= load.p99 <= load.max
    assert len(answers.read_text().splitlines()) == REQUESTS
    if rate:
        assert load.seconds >= (load.requests - 1) / rate  # no sooner than the requests were due


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (200, '{"access_token": "the-same-each-time"}', "the same token"),
        (400, '{"access_token": "token-{}"}', "was answered: HTTP/1.1 400"),
        (200, '{"error": "none"}', "was answered: HTTP/1.1 200"),
        (200, '{"access_token": ""}', "got no token"),
    ],
)
def test_any_other_answer_ends_the_run(status: int, text: str, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    numbers = count()
    with serving(lambda _: (status, text.replace("{}", str(next(numbers))))) as port, pytest.raises(SystemExit):
        generator.send(port, requests(), connections=2)
    assert why in capfd.readouterr().err
