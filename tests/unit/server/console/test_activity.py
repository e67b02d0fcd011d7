"""The activity: rows, filters, files, and what is shown live."""

import asyncio
import csv
import io
import json
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.admin import MASTER, NOW
from tests.console import signed_in
from tests.unit.server.console.conftest import Desk

from affiant.server.admin.roles import Role
from affiant.server.console.pages.events import activity, live
from affiant.server.console.pages.events.live import Full, Live, News, Tab
from affiant.server.console.signin import Visitor
from affiant.server.registry import clients
from affiant.storage.records import Client, Team

HOSTILE = "<img src=x onerror=alert(1)>\"'"


async def test_rows(desk: Desk) -> None:
    await desk.record("aaaaaaaaaaaa", client_id="billing", alg="ES256", scope="orders.read", address="192.0.2.1")
    await desk.record("bbbbbbbbbbbb", "refused", reason="assertion.audience", client_claimed=HOSTILE, kid=HOSTILE)
    shown = await desk.see("/activity")
    assert shown.index("bbbbbbbbbbbb") < shown.index("aaaaaaaaaaaa")
    assert "192.0.2.1" in shown
    assert "(claimed)" in shown
    assert "<img src=x" not in shown
    assert shown.count('class="dot-bad"') == 2  # one in the legend


async def test_empty_state_teaches(desk: Desk) -> None:
    assert "affiant client new billing" in await desk.see("/activity")
    assert "No record matches" in await desk.see("/activity?outcome=refused")


async def test_filters_are_chips(desk: Desk) -> None:
    await desk.record("aaaaaaaaaaaa", client_id="billing")
    await desk.record("bbbbbbbbbbbb", "refused", client_id="billing", reason="assertion.expired")
    shown = await desk.see(f"/activity?client_id=billing&outcome=refused&since={NOW - 60}")
    assert "bbbbbbbbbbbb" in shown
    assert "aaaaaaaaaaaa" not in shown
    assert "affiant audit show --client billing --outcome refused --since 20" in shown
    assert f'href="/console/activity?outcome=refused&amp;since={NOW - 60}"' in shown


async def test_further_back(desk: Desk) -> None:
    for number in range(live.SHOWN + 5):
        await desk.record(f"t{number:011}")
    shown = await desk.see("/activity")
    cursor = shown.split("activity?cursor=")[1].split('"')[0]
    older = await desk.see(f"/activity?cursor={cursor}")
    assert "t00000000004" in older
    assert "not live" in older


async def test_refuse_filters(desk: Desk) -> None:
    answer = await desk.http.get("/console/activity?since=yesterday")
    assert answer.status_code == 400
    assert "cannot be shown" in answer.text
    assert (await desk.http.get("/console/activity/export?since=yesterday")).status_code == 400


async def test_export_is_what_is_filtered(desk: Desk) -> None:
    for number in range(600):
        outcome = "refused" if number % 2 else "issued"
        await desk.record(f"t{number:011}", outcome, client_id="=1+1", detail='a "b",\nc')
    answer = await desk.http.get("/console/activity/export?format=csv&outcome=refused")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == 300
    assert {row["outcome"] for row in rows} == {"refused"}
    assert rows[0]["client_id"] == "'=1+1"
    assert rows[0]["detail"] == 'a "b",\nc'
    assert "attachment" in answer.headers["content-disposition"]
    lines = (await desk.http.get("/console/activity/export?format=jsonl&outcome=refused")).text.splitlines()
    assert [json.loads(line)["record"]["trace_id"] for line in lines] == [row["trace_id"] for row in rows]


def visitor(name: str = "ann", teams: frozenset[str] | None = None) -> Visitor:
    return Visitor(name, Role.VIEWER, teams, "s", "c")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "SHARE", 1.0)


async def news(tab: Tab) -> News:
    return await asyncio.wait_for(tab.news.get(), 20)


def live_of(desk: Desk) -> Live:
    found: Live = desk.console._live
    return found


@pytest.mark.usefixtures("fast")
async def test_live_has_every_record_once(desk: Desk) -> None:
    await desk.record("aaaaaaaaaaaa")
    await desk.record("bbbbbbbbbbbb")
    with live_of(desk).open(visitor(), (), 1) as tab, live_of(desk).open(visitor(), (), 2) as other:
        first = await news(tab)
        assert "bbbbbbbbbbbb" in first.rows
        assert "aaaaaaaaaaaa" not in first.rows
        await desk.record("cccccccccccc", "refused", reason="assertion.expired")
        second, same = await news(tab), await news(other)
        assert second == same
        assert second.rows.count("<tr") == 1
        assert second.number == 3
        assert second.plot.count("<title>") == 3


@pytest.mark.usefixtures("fast")
async def test_live_filters(desk: Desk) -> None:
    with live_of(desk).open(visitor(), (("outcome", "refused"),), 0) as tab:
        for number in range(300):
            await desk.record(f"t{number:011}")
        await desk.record("bbbbbbbbbbbb", "refused")
        found = await news(tab)
        assert found.rows.count("<tr") == 1
        assert "bbbbbbbbbbbb" in found.rows


@pytest.mark.usefixtures("fast")
async def test_live_says_that_there_were_more(desk: Desk) -> None:
    with live_of(desk).open(visitor(), (), 0) as tab:
        for number in range(live.SHOWN + 1):
            await desk.record(f"t{number:011}")
        found = await news(tab)
        assert found.is_cut
        assert found.number == live.SHOWN + 1


@pytest.mark.usefixtures("fast")
async def test_slow_tab_holds_little(desk: Desk) -> None:
    with live_of(desk).open(visitor(), (), 0) as slow, live_of(desk).open(visitor("bob"), (), 0) as tab:
        for number in range(9):
            await desk.record(f"t{number:011}")
            await news(tab)
        assert slow.has_missed
        assert slow.news.full()


async def test_tabs_are_bounded(desk: Desk) -> None:
    with ExitStack() as stack:
        for _ in range(live.TABS_OF_ONE):
            stack.enter_context(live_of(desk).open(visitor(), (), 0))
        with pytest.raises(Full), live_of(desk).open(visitor(), (), 0):
            pass
        stack.enter_context(live_of(desk).open(visitor("bob"), (), 0))
    with live_of(desk).open(visitor(), (), 0):
        pass


class Reader:
    """A browser that reads one stream from the application."""

    def __init__(
        self, desk: Desk, path: str = "/console/activity/stream", query: str = "", cookie: str | None = None
    ) -> None:
        self.sent: list[Any] = []
        self.left = asyncio.Event()
        self.came = asyncio.Event()
        headers = [(b"cookie", (desk.cookie if cookie is None else cookie).encode())]
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": headers, "client": ("192.0.2.1", 1), "asgi": {},
        }  # fmt: skip
        self.running = asyncio.create_task(desk.console(scope, self.receive, self.send))

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        self.came.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    async def until(self, wanted: str) -> None:
        async with asyncio.timeout(20):
            while wanted not in self.text:
                self.came.clear()
                await self.came.wait()


@pytest.mark.usefixtures("fast")
async def test_stream(desk: Desk) -> None:
    reader = Reader(desk, query="after=0")
    await desk.record("aaaaaaaaaaaa", client_id=HOSTILE)
    await reader.until("aaaaaaaaaaaa")
    assert "id: 1\nevent: rows\ndata: {" in reader.text
    assert "<img src=x" not in reader.text
    reader.left.set()
    await asyncio.wait_for(reader.running, 20)
    assert not live_of(desk)._tabs


async def test_stream_ends_with_the_process(desk: Desk) -> None:
    reader = Reader(desk)
    await reader.until("alive")
    desk.console._ending.set()
    await asyncio.wait_for(reader.running, 5)
    assert reader.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.usefixtures("fast")
async def test_stream_ends_with_the_session(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "HEARTBEAT_SECONDS", 0.02)
    reader = Reader(desk)
    await reader.until(": alive\n\n: alive")
    for session in await desk.store.sessions.list():
        assert session.last_at == NOW
        await desk.store.sessions.end(session.id)
    await reader.until("event: over")
    await asyncio.wait_for(reader.running, 20)


@pytest.mark.usefixtures("fast")
async def test_stream_ends_with_the_role(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "HEARTBEAT_SECONDS", 0.02)
    reader = Reader(desk)
    await reader.until("alive")
    await desk.store.users.update("ann", lambda user: replace(user, role="viewer"))
    await reader.until("event: over")


async def test_stream_needs_a_session(desk: Desk) -> None:
    reader = Reader(desk, cookie="affiant=x")
    await asyncio.wait_for(reader.running, 20)
    assert reader.sent[0]["status"] == 303


@pytest.mark.usefixtures("fast")
async def test_stream_is_limited_to_teams(desk: Desk) -> None:
    """One task looks for all tabs, and each gets what its visitor may see: in the page, the stream, and the file."""
    for name, team in (("billing", "payments"), ("stock", "warehouse")):
        await desk.store.teams.add(Team(team, created_at=NOW))
        made = clients.build(Client(name, "client_secret_basic", team=team), master_key=MASTER, now=NOW)
        await desk.store.clients.add(made.client)
    cookies, _ = await signed_in(desk.context, "bob", role="viewer", teams=("payments",))
    everything, limited = Reader(desk), Reader(desk, cookie="=".join(*cookies.items()))
    await limited.until("alive")
    await desk.record("aaaaaaaaaaaa", client_id="stock")
    # By a client that has the name of a part of the server: a caller sees what it changed itself.
    for name in ("console", "user:console", "user:", "live", "viewer"):
        await desk.record("aaaaaaaaaaaa", "revoked", endpoint="admin", by=name, subject="tokens client stock")
    await everything.until("aaaaaaaaaaaa")
    await desk.record("bbbbbbbbbbbb", client_id="billing")
    await limited.until("bbbbbbbbbbbb")
    await everything.until("bbbbbbbbbbbb")
    assert "aaaaaaaaaaaa" not in limited.text
    for path in ("/activity", "/activity/export?format=csv", "/activity?client_id=stock", "/events/aaaaaaaaaaaa"):
        shown = await desk.http.get(f"/console{path}", headers={"cookie": "=".join(*cookies.items())})
        assert shown.status_code == (404 if "events" in path else 200), shown.text
        assert ("bbbbbbbbbbbb" in shown.text) is ("stock" not in path and "events" not in path)
        assert 'events/aaaaaaaaaaaa"' not in shown.text
