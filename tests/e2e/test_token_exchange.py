"""docs/how-to/token-exchange.md as it is there, on real processes: two APIs in a chain, and the end of the first token."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import Server, guarded_api

from affiant.jose import compact

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "token-exchange.md").read_text("utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [block.replace("\\\n", " ") for language, block in FENCED if not language]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this page alone, whose names other pages have too."""
    with Server(tmp_path_factory.mktemp("exchange")) as made:
        made.add_api()
        yield made


@pytest.fixture(scope="module")
def stock(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stock API behind our guard, and all that the page registers."""
    identifier = f"http://127.0.0.1:{free_port()}"
    for line in BLOCKS[0].splitlines():
        server.affiant(*_words(server, line, identifier)[1:])
    with guarded_api(tmp_path_factory.mktemp("stock"), server.issuer, identifier):
        yield identifier


def _words(server: Server, line: str, stock: str) -> list[str]:
    return shlex.split(line.replace("https://as.example", server.issuer).replace("https://stock.example", stock))


def _ask(server: Server, line: str, stock: str, token: str) -> dict[str, Any]:
    """Do what curl does with this line of the page."""
    client = re.findall(r"-c (\S+)\)", line)[0]
    assertion = server.run("assertion", "-c", client).stdout.strip()
    line = re.sub(r"\$\(affiant assertion .*?\)", assertion, line).replace("$TOKEN", token)
    words = _words(server, line, stock)
    assert words[0] == "curl"
    form = dict(word.split("=", 1) for option, word in zip(words[2::2], words[3::2], strict=True) if option == "-d")
    answer: dict[str, Any] = httpx2.post(words[1], data=form).raise_for_status().json()
    return answer


def _status(api: str, token: str) -> int:
    return httpx2.get(f"{api}/orders", headers={"Authorization": f"Bearer {token}"}).status_code


def test_the_page(server: Server, stock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, request = BLOCKS[1].splitlines()
    token = server.run(*_words(server, first.partition("$(")[2].rstrip(")"), stock)[1:]).stdout.strip()
    answer = _ask(server, request, stock, token)
    claims = compact.parse(answer["access_token"]).claims
    (shown,) = [block for language, block in FENCED if language == "json"]
    for name, value in json.loads(shown.replace("https://as.example", server.issuer)).items():
        assert claims[name] == (stock if name == "aud" else value)
    monkeypatch.chdir(server.folder)
    (code,) = [block for language, block in FENCED if language == "python"]
    found: dict[str, Any] = {"token": token}
    exec(code.replace("https://stock.example", stock), found)
    assert found["made"].issued_token_type == answer["issued_token_type"]
    of_task = compact.parse(_ask(server, BLOCKS[3].strip(), stock, token)["access_token"]).claims
    assert (of_task["scope"], of_task["task"], of_task["exp"] - of_task["iat"]) == ("desk.read", "invoice-7", 120)

    assert _status(stock, answer["access_token"]) == 403  # it is valid, and lacks the scope of that page
    server.affiant(*shlex.split(BLOCKS[4])[1:])
    began = time.monotonic()
    while {_status(stock, one) for one in (answer["access_token"], found["made"].access_token)} != {401}:
        assert time.monotonic() - began < 10
    assert time.monotonic() - began < 5  # 2 s are promised; the machine may be busy


def test_delegates_to(server: Server, stock: str) -> None:
    for line in BLOCKS[2].splitlines():
        server.affiant(*shlex.split(line)[1:])
    assert server.affiant("client", "show", "shop")["delegates_to"] == []
