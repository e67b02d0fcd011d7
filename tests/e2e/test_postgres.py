"""Two nodes on one PostgreSQL, as an operator starts them."""

import json
import secrets
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from tests.loopback import free_port
from tests.postgres import PASSWORD, Postgres
from tests.process import AFFIANT, Child, run

from affiant import testing
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import assertion


@dataclass
class Nodes:
    """Two servers with nothing in common but the database, the master key and their name."""

    folder: Path
    database: str
    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    children: list[Child] = field(default_factory=list)
    master_key: str = field(default_factory=lambda: secrets.token_hex(32))
    key: PrivateKey | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AFFIANT_DATABASE": self.database,
            "AFFIANT_ISSUER": "https://as.example",
            "AFFIANT_MASTER_KEY": self.master_key,
            "AFFIANT_FAILURE_BURST": "0",
            "AFFIANT_TOKEN_BURST": "0",
        }

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/token" for port in self.ports]

    def start(self) -> None:
        self.children = [self.start_one("a"), self.start_one("b")]
        for child, port in zip(self.children, self.ports, strict=True):
            child.until_healthy(f"http://127.0.0.1:{port}")
        self.affiant("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")
        self.affiant("client", "new", "billing", "--scope", "orders.read")
        self.key = keys.parse_private_jwk(json.loads((self.folder / "billing.affiant.json").read_text())["key"])

    def start_one(self, name: str) -> Child:
        port = self.ports["ab".index(name)]
        words = ("serve", "--port", str(port), "--data", f"data-{name}")
        return Child.start(self.folder, *AFFIANT, *words, name=name, **self.environment)

    def stop(self) -> None:
        for child in self.children:
            child.stop()

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(self.folder, *words, **{**self.environment, **environment})

    def affiant(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    def form(self) -> dict[str, str]:
        assert self.key is not None
        text = assertion.build("billing", issuer="https://as.example", signer=self.key, now=time.time())
        return testing.form(text)

    def records(self) -> list[dict[str, Any]]:
        """The audit log, its chain checked."""
        self.affiant("audit", "verify")
        return [json.loads(line)["record"] for line in self.run("audit", "export").stdout.splitlines()]


@pytest.fixture(scope="module")
def nodes(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    yield from _started(Nodes(tmp_path_factory.mktemp("nodes"), postgres.create()))


@pytest.fixture
def own_nodes(own_postgres: Postgres, tmp_path: Path) -> Iterator[Nodes]:
    yield from _started(Nodes(tmp_path, own_postgres.create()))


def _started(made: Nodes) -> Iterator[Nodes]:
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_one_assertion_sent_50_times_to_both_nodes_makes_one_token(nodes: Nodes) -> None:
    form, urls = nodes.form(), cycle(nodes.urls)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda url: httpx2.post(url, data=form, timeout=10), [next(urls) for _ in range(50)]))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: 49}
    traces = {answer.headers["x-trace-id"] for answer in answers}
    records = [record for record in nodes.records() if record["trace_id"] in traces]
    assert Counter(record.get("reason") for record in records) == {None: 1, "assertion.replayed": 49}


def test_a_disabled_client_is_refused_by_both_nodes_within_a_second(nodes: Nodes) -> None:
    with httpx2.Client() as http:
        for verb, expected in (("disable", 401), ("enable", 200)):
            assert all(http.post(url, data=nodes.form()).status_code != expected for url in nodes.urls)
            nodes.affiant("client", verb, "billing")
            begun = time.monotonic()
            for url in nodes.urls:
                while http.post(url, data=nodes.form()).status_code != expected:
                    assert time.monotonic() - begun < 1


def test_the_commands_work_on_it(nodes: Nodes) -> None:
    assert [client["client_id"] for client in nodes.affiant("client", "list")] == ["billing"]
    assert [api["name"] for api in nodes.affiant("api", "list")] == ["orders"]
    answer = httpx2.post(nodes.urls[0], data=nodes.form() | {"scope": "orders.write"})
    explained = nodes.run("explain", answer.headers["x-trace-id"])
    assert explained.returncode == 0
    assert "scope" in explained.stdout
    assert nodes.affiant("audit", "head")["number"] >= 1
    assert not list(nodes.folder.rglob("*.db"))


def test_another_master_key_is_refused(nodes: Nodes) -> None:
    done = nodes.run("client", "list", AFFIANT_MASTER_KEY=secrets.token_hex(32))
    assert done.returncode == 8
    assert "another master key" in done.stderr
    done = nodes.run("client", "list", "--data", "another-node", AFFIANT_MASTER_KEY="")
    assert (done.returncode, "another-node/master.key is missing" in done.stderr) == (8, True)
    assert not (nodes.folder / "another-node").exists()
    words = ("api", "new", "a", "--identifier", "https://a.example", "--scope", "x", "--data", "another-node")
    done = nodes.run(*words, AFFIANT_MASTER_KEY="")
    assert (done.returncode, "another-node/master.key is missing" in done.stderr) == (8, True)
    assert not list((nodes.folder / "another-node").iterdir()), "a key was made that is good for nothing"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://affiant:{PASSWORD}@127.0.0.1:1/affiant",
        f"postgresql://affiant:{PASSWORD}/@127.0.0.1/affiant",
        f"mysql://affiant:{PASSWORD}@127.0.0.1/affiant",
    ],
)
def test_a_database_that_cannot_be_used_is_told_of_without_its_password(tmp_path: Path, url: str) -> None:
    for words in (("serve", "--port", "0", "--database", url), ("client", "list", "--database", url)):
        done = run(tmp_path, *words)
        assert done.returncode == 8
        assert done.stderr.count("\n") == 1
        assert "database" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr


@dataclass(frozen=True)
class Answered:
    """One request of the load; status 0 when no answer came."""

    url: str
    begun_at: float
    seconds: float
    status: int
    trace_id: str | None
    retry_after: str | None


class Load:
    """Asks both nodes for tokens all the time, each time with a new assertion."""

    def __init__(self, nodes: Nodes) -> None:
        self.answers: list[Answered] = []
        self._nodes = nodes
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for url in nodes.urls * 4]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.until_issued(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def until_issued(self, number: int) -> None:
        """Wait until both nodes have issued so many more."""
        until, after = time.monotonic() + 20, time.monotonic()
        while sum(answer.status == 200 and answer.begun_at > after for answer in list(self.answers)) < number:
            assert time.monotonic() < until, Counter(answer.status for answer in self.answers)
            time.sleep(0.02)

    def _ask(self, url: str) -> None:
        with httpx2.Client(timeout=20) as http:
            while not self._ended.is_set():
                begun, status, headers = time.monotonic(), 0, httpx2.Headers()
                try:
                    answer = http.post(url, data=self._nodes.form())
                    status, headers = answer.status_code, answer.headers
                except httpx2.TransportError:
                    time.sleep(0.02)  # nobody listens: no need to ask so often
                seconds = time.monotonic() - begun
                known = (headers.get("x-trace-id"), headers.get("retry-after"))
                self.answers.append(Answered(url, begun, seconds, status, *known))


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_postgres_restarts_under_load(own_postgres: Postgres, own_nodes: Nodes, times: int) -> None:
    """503 in time while it is away, tokens again soon after, and nothing twice, nothing lost."""
    healed = []
    with Load(own_nodes) as load:
        for mode in ("fast", "immediate") * times:
            own_postgres.stop(mode)
            away = time.monotonic()
            while not any(answer.status == 503 and answer.begun_at > away for answer in list(load.answers)):
                time.sleep(0.02)
            own_postgres.start()
            back = time.monotonic()
            load.until_issued(50)
            first = min(a.begun_at + a.seconds for a in list(load.answers) if a.status == 200 and a.begun_at > back)
            healed.append(first - back)
    assert {answer.status for answer in load.answers} == {200, 503}
    assert all(answer.retry_after for answer in load.answers if answer.status == 503)
    assert max(answer.seconds for answer in load.answers) < 5
    assert max(healed) < 5
    _check(own_nodes, load.answers)
    for child in own_nodes.children:
        assert "the store failed" in child.err
        assert "Traceback" not in child.err
        assert "never retrieved" not in child.err


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_a_node_is_killed_under_load(nodes: Nodes, times: int) -> None:
    """The other one goes on as if nothing had happened; what the dead one answered is kept."""
    with Load(nodes) as load:
        for _ in range(times):
            nodes.children[0].kill()
            load.until_issued(50)
            nodes.children[0] = nodes.start_one("a")
            nodes.children[0].until_healthy(nodes.urls[0].removesuffix("/token"))
            load.until_issued(50)
    assert {answer.status for answer in load.answers if answer.url == nodes.urls[1]} == {200}
    assert {answer.status for answer in load.answers if answer.url == nodes.urls[0]} == {200, 0}
    _check(nodes, load.answers)


def _check(nodes: Nodes, answers: list[Answered]) -> None:
    """At most one success for a jti, every success has its record, and the chain holds."""
    records = nodes.records()
    issued = {record["trace_id"]: record["jti_digest"] for record in records if record["outcome"] == "issued"}
    assert len(set(issued.values())) == len(issued)
    assert {answer.trace_id for answer in answers if answer.status == 200} <= issued.keys()


def test_the_password_is_nowhere_in_what_the_nodes_said(nodes: Nodes) -> None:
    for child in nodes.children:
        assert "postgresql://127.0.0.1:" in child.err
        assert PASSWORD not in child.out + child.err
