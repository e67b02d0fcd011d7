"""A hundred copies of one assertion at once, against real processes: one token, whatever the number of workers."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from tests.process import Server

from affiant import testing
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.keys import PrivateKey
from affiant.storage.sqlite import SqliteStore

COPIES, ROUNDS, SOAK_ROUNDS, SECONDS = 100, 3, 400, 30


@pytest.fixture(scope="module", params=[1, 2, 4], ids="workers-{}".format)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with so many workers, and the client `racer`."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AFFIANT_FAILURE_BURST", "0")  # no limit: every copy must reach the claim
        with Server(tmp_path_factory.mktemp("race"), workers=request.param) as started:
            started.add_api()
            started.affiant("client", "new", "racer", "--scope", "orders.read")
            yield started


def _message(server: Server, key: PrivateKey) -> bytes:
    body = urlencode(testing.form(server.assertion("racer", key=key, lifetime=120))).encode()
    lines = (
        f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return lines.encode() + body


async def _race(port: int, message: bytes) -> list[tuple[int, dict[str, str]]]:
    """Every copy but for its last byte is with the server before the first last byte leaves."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(COPIES)]
    try:
        for _, writer in streams:
            writer.write(message[:-1])
        await asyncio.gather(*(writer.drain() for _, writer in streams))
        for _, writer in streams:
            writer.write(message[-1:])
        answers = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in streams)), SECONDS)
    finally:
        for _, writer in streams:
            writer.close()
    return [_parsed(answer) for answer in answers]


def _parsed(answer: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


async def _records(server: Server) -> list[dict[str, str]]:
    store = SqliteStore(server.folder / "affiant-data" / "affiant.db")
    await store.open()
    try:
        records, after = list[dict[str, str]](), 0
        while page := await store.audit_log.export(after=after):
            records += [json.loads(row.record) for row in page]
            after = page[-1][0]
        return records
    finally:
        await store.close()


@pytest.mark.attack(131)
@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(SOAK_ROUNDS, marks=pytest.mark.soak)])
async def test_copies_of_one_assertion_get_one_token(server: Server, rounds: int) -> None:
    """Exactly one 200 in each round; all others 401 as replayed; and the audit log says the same."""
    key = server.key("racer")
    before, tokens = Counter(_outcomes(await _records(server))), set[str]()
    for _ in range(rounds):
        answers = await _race(server.port, _message(server, key))
        (won,) = [members for status, members in answers if status == 200]
        lost = [(status, members["error"], members["error_uri"]) for status, members in answers if status != 200]
        page = f"{server.issuer}/errors/{Reason.REPLAYED.code}"
        assert Counter(lost) == {(401, "invalid_client", page): COPIES - 1}
        assert sum("access_token" in members for _, members in answers) == 1
        tokens.add(str(compact.parse(won["access_token"]).claims["jti"]))
    assert len(tokens) == rounds
    written = Counter(_outcomes(await _records(server))) - before
    assert written == {("issued", None): rounds, ("refused", Reason.REPLAYED.code): rounds * (COPIES - 1)}


def _outcomes(records: list[dict[str, str]]) -> list[tuple[str, str | None]]:
    """The decisions; the server adds a hint to some refusals later, in a record of its own."""
    decided = [one for one in records if one["endpoint"] == "token" and one["outcome"] != "explained"]
    return [(record["outcome"], record.get("reason")) for record in decided]
