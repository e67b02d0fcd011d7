"""The times of decisions are in the metrics: of a commit only if there was one, of a signature only for a token."""

from pathlib import Path

import httpx2

from affiant import testing
from affiant.server import app
from affiant.storage.sqlite import SqliteStore
from affiant.telemetry import Telemetry
from affiant.telemetry.samples import Samples

API, CLIENT = "https://orders.example", "billing"


def _number(found: Samples, name: str, *labels: str) -> float:
    """Return how many were observed, whose sum is above 0."""
    number = found[name][labels]
    assert isinstance(number, list)
    assert number[0] > 0
    return sum(number[1:])


async def test_a_commit_that_fails_is_not_measured(tmp_path: Path) -> None:
    path, telemetry = tmp_path / "affiant.db", Telemetry()
    store = SqliteStore(path, audit_key=bytes(32))
    async with testing.Server.in_process(store=store) as first:
        await first.add_api(API, scope=("orders.read",), is_default=True)
        await first.add_client(CLIENT)
        forms = [first.form() for _ in range(3)]
    server = app.build(
        issuer=first.issuer, store=store, master_key=first.master_key, clock=first.clock, telemetry=telemetry
    )
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server), base_url=first.issuer)
    async with http, server.router.lifespan_context(server):
        answers = [await http.post("/token", data=form) for form in (*forms[:2], forms[0])]
        path.rename(tmp_path / "gone.db")
        answers.append(await http.post("/token", data=forms[2]))
        path.touch()
        (tmp_path / "gone.db").rename(path)
    assert [answer.status_code for answer in answers] == [200, 200, 401, 503]
    found = telemetry.samples()
    assert _number(found, "affiant_request_seconds", "token") == 4
    assert _number(found, "affiant_commit_seconds") == 3
    # The replay is found by the commit, so its token was signed.
    assert _number(found, "affiant_signature_seconds") == 3
