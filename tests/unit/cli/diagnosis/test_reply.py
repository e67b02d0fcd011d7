"""What a diagnosis reads of an answer."""

import gzip
from collections.abc import Iterator

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign

from affiant.cli.diagnosis.checkup import reply


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(verify=False) as http:
        yield http


@pytest.mark.attack
def test_an_answer_is_read_up_to_a_limit_and_not_unpacked(foreign: Foreign, http: httpx2.Client) -> None:
    bomb = gzip.compress(bytes(4 << 20))
    foreign.default["/long"] = Answer(401, raw=bytes(4 << 20))
    foreign.default["/bomb"] = Answer(200, raw=bomb, headers={"Content-Encoding": "gzip"})
    found, body = reply.get(http, f"{foreign.url}/long")
    assert (found.status_code, len(body)) == (401, reply.MOST_BYTES)
    assert reply.get(http, f"{foreign.url}/bomb")[1] == bomb


def test_an_answer_that_trickles_is_left(
    foreign: Foreign, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply, "SECONDS", -1.0)
    foreign.default["/slow"] = Answer(200, raw=bytes(1 << 20))
    assert len(reply.get(http, f"{foreign.url}/slow")[1]) < 1 << 20
