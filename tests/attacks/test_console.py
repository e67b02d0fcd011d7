"""T15: the console. No other site, thief or stranger acts in the name of a visitor."""

import asyncio
import json
from dataclasses import replace
from html import escape
from urllib.parse import quote

import pytest
from tests.attacks.bench import Bench, running
from tests.attacks.callers import ADMIN, ask, hire
from tests.attacks.visiting import CONSOLE, ORIGIN, Browser, form, make_link, page, script, sign_in
from tests.wire import Header, Reply, Request

from affiant.errors.reasons import Reason
from affiant.server.admin.routes.users import rules
from affiant.server.console.app import HEADERS
from affiant.server.request.limits import Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Passkey, Team, UsedChallenge
from affiant.testing import ISSUER, NOW

FOREIGN: list[tuple[Header, ...]] = [
    (),
    ((b"origin", b"null"),),
    ((b"origin", b"https://evil.example"),),
    ((b"origin", f"{ISSUER}.evil.example".encode()),),
    ((b"origin", f"{ISSUER}:8443".encode()),),
    ((b"origin", ISSUER.replace("https", "http").encode()),),
    (ORIGIN, ORIGIN),
    (ORIGIN, (b"sec-fetch-site", b"cross-site")),
    ((b"referer", f"{ISSUER}/console/account".encode()),),
]
POSTS = ("/sign-in", "/sign-out", "/actions/client.disable", "/actions/session.end", "/clients", "/nothing")


async def _refused(bench: Bench, what: Request, reason: Reason) -> Reply:
    """Send what must be refused, with a page that says so and one record."""
    before = len(await bench.audited())
    reply = await bench.send(what)
    assert (reply.status, reason.code.encode() in reply.body or b"trace_id" in reply.body) == (
        reason.value.status,
        True,
    )
    (line,) = (await bench.audited())[before:]
    assert (json.loads(line)["reason"], json.loads(line)["outcome"]) == (reason.code, "refused")
    return reply


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.attack(291)
async def test_a_form_of_another_site_does_nothing(bench: Bench, headers: tuple[Header, ...]) -> None:
    """With the cookie, and even with the token of the session; so is a sign-in as somebody else."""
    browser = await sign_in(bench)
    token, csrf = await make_link(bench, "mallory"), await browser.csrf()
    version, sessions = await bench.store.version(), await bench.store.sessions.list()
    for path in POSTS:
        what = form(path, browser.header, *headers, csrf=csrf, token=token, client_id="c1", id=sessions[0].id)
        await _refused(bench, what, Reason.ADMIN_CSRF)
    for path in ("/sign-in/options", "/sign-in/passkey", "/passkeys/options", "/passkeys"):
        body = script(path, b"{}", browser.header, (b"x-csrf-token", csrf.encode()), *headers)
        await _refused(bench, body, Reason.ADMIN_CSRF)
    assert (await bench.store.version(), await bench.store.sessions.list()) == (version, sessions)
    assert await bench.store.sign_in_links.find(rules.link_id(bench.master_key, token)) is not None


@pytest.mark.attack(291)
async def test_a_form_without_the_token_of_the_session_does_nothing(bench: Bench) -> None:
    browser, other = await sign_in(bench), await sign_in(bench, "bob")
    for csrf in ("", "x", await other.csrf(), browser.cookie.partition("=")[2]):
        for path in POSTS[1:]:
            what = form(path, browser.header, ORIGIN, csrf=csrf, client_id="c1")
            await _refused(bench, what, Reason.ADMIN_CSRF)
        for path in ("/passkeys/options", "/passkeys"):
            given = script(path, b"{}", browser.header, ORIGIN, (b"x-csrf-token", csrf.encode()))
            await _refused(bench, given, Reason.ADMIN_CSRF)
    client = await bench.store.clients.find("c1")
    assert client is not None
    assert client.enabled


@pytest.mark.attack(291)
@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/form-data; boundary=x", b"application/json", b""])
async def test_other_bodies_are_no_forms(bench: Bench, kind: bytes) -> None:
    """A form of another site can have the first two types."""
    token = await make_link(bench)
    what = Request(f"token={token}".encode(), path=f"{CONSOLE}/sign-in", headers=((b"content-type", kind), ORIGIN))
    assert (await bench.send(what)).status == 400
    what = Request(b"{}", path=f"{CONSOLE}/sign-in/options", headers=((b"content-type", kind), ORIGIN))
    assert (await bench.send(what)).status == (200 if kind == b"application/json" else 400)
    assert await bench.store.sessions.list() == []


@pytest.mark.attack(293)
async def test_headers_of_every_answer(bench: Bench) -> None:
    browser = await sign_in(bench)
    answers = [
        await bench.send(page("/sign-in")),
        await bench.send(page("/sign-in", method="HEAD")),
        await bench.send(page("/clients")),
        await bench.send(page("/clients", browser.header, method="DELETE")),
        await bench.send(Request(b"token=x", path=f"{CONSOLE}/sign-in", headers=(ORIGIN,))),
        await bench.send(form("/sign-in", ORIGIN, token="x" * 43)),
        await bench.send(form("/sign-in")),
        await bench.send(script("/sign-in/options", b"{}", ORIGIN)),
        await bench.send(script("/sign-in/passkey", b"{}", ORIGIN)),
        await browser.see("/account"),
        await browser.see("/clients"),
        await browser.see("/clients/nothing"),
        await browser.see("/nothing"),
        await browser.see("/static/nothing.js"),
        await browser.post("/actions/client.disable", client_id="c1"),
        await browser.act("client.disable", client_id="nothing"),
        await bench.send(page("/static/passkeys.js")),
        await bench.send(page("/static/console.css")),
    ]
    assert {reply.status for reply in answers} >= {200, 303, 400, 403, 404, 405}
    wanted = {name.decode(): value.decode() for name, value in HEADERS}
    policy = wanted["content-security-policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= set(
        policy.split("; ")
    )
    for reply in answers:
        assert {name: reply.headers.get(name) for name in wanted} == wanted, reply.status
        assert reply.headers["x-content-type-options"] == "nosniff"
        is_file = reply.headers.get("content-type", "").startswith(("text/javascript", "text/css"))
        assert reply.headers["cache-control"] == ("no-cache" if is_file else "no-store")
        assert b"<script>" not in reply.body
        assert b" style=" not in reply.body
        assert b" onclick=" not in reply.body


@pytest.mark.attack(285)
async def test_no_page_without_a_session(bench: Bench) -> None:
    """Pages lead to the sign-in, and posts do nothing; with a forged cookie too."""
    forged: list[tuple[Header, ...]] = [(), ((b"cookie", b"__Host-affiant=" + b"A" * 43),)]
    for headers in forged:
        for path in ("", "/", "/clients", "/account", "/settings", "/activity/stream", "/nothing", "/sign-in/x", "/\n"):
            reply = await bench.send(page(path, *headers))
            assert reply.status == 303, path
            assert reply.headers["location"].startswith(f"{CONSOLE}/sign-in?then=/console")
        for path in POSTS[2:]:
            assert (await bench.send(form(path, ORIGIN, *headers))).status == 403


@pytest.mark.attack(287)
async def test_roles_are_those_of_the_admin_api(bench: Bench) -> None:
    viewer, operator = await sign_in(bench, "v", role="viewer"), await sign_in(bench, "o", role="operator")
    assert b"token.insufficient_scope" in (await viewer.act("client.disable", client_id="c1")).body
    client = await bench.store.clients.find("c1")
    assert client is not None
    assert client.enabled
    assert (await operator.act("client.disable", client_id="c1")).status == 303
    record = await bench.last()
    assert (record["by"], record["subject"], "client_id" in record) == ("user:o", "client c1", False)


async def test_a_viewer_manages_its_own_access_only(bench: Bench) -> None:
    owner, viewer = await sign_in(bench, "boss"), await sign_in(bench, "v", role="viewer")
    sessions = {session.username: session.id for session in await bench.store.sessions.list()}
    refused = await viewer.act("session.end", id=sessions["boss"])
    assert (refused.status, b"admin.owner_only" in refused.body) == (403, True)
    assert (await viewer.see("/account")).body.count(b"this one") == 1
    assert (await viewer.act("session.end", id=sessions["v"])).status == 303
    assert (await viewer.see()).status == 303
    other = await sign_in(bench, "v")
    (session,) = await bench.store.sessions.list("v")
    assert (await owner.act("session.end", id=session.id)).status == 303
    assert (await other.see()).status == 303
    assert (await owner.see()).status == 200


async def test_a_role_limited_to_teams_manages_its_own_access(bench: Bench) -> None:
    """And sees no other user's."""
    await bench.store.teams.add(Team("payments", created_at=NOW))
    owner, limited = await sign_in(bench, "boss"), await sign_in(bench, "l", role="operator", teams=("payments",))
    shown = await limited.see("/account")
    assert (shown.status, shown.body.count(b"this one")) == (200, 1)
    other = await sign_in(bench, "l")
    sessions = {session.username: session.id for session in await bench.store.sessions.list()}
    assert (await limited.act("session.end", id=sessions["boss"])).status in (403, 404)
    own = [session.id for session in await bench.store.sessions.list("l")]
    assert (await other.act("session.end", id=own[0])).status == 303
    assert (await owner.see()).status == 200


@pytest.mark.attack(287)
async def test_an_access_token_is_no_user(bench: Bench) -> None:
    """A client that has the name of a user manages nothing of it."""
    await hire(bench)
    await bench.add_client("user:alice", scope=("admin.viewer",), resources=(ADMIN,))
    await sign_in(bench, "alice", role="viewer")
    reply = await ask(bench, "user:alice", "GET /users/alice/passkeys")
    assert (reply.status, reply.json()["reason"]) == (403, "admin.owner_only")
    assert (await ask(bench, "operator", "GET /sessions")).status == 403
    assert (await ask(bench, "owner", "GET /sessions")).status == 200


@pytest.mark.parametrize("change", ["used", "expired", "replaced", "disabled", "removed", "altered", "absent"])
async def test_a_link_that_is_over_signs_nobody_in(bench: Bench, change: str) -> None:
    token = await make_link(bench, seconds=60)
    match change:
        case "used":
            assert (await bench.send(form("/sign-in", ORIGIN, token=token))).status == 303
        case "expired":
            bench.clock.advance(60)
        case "replaced":
            await make_link(bench)
        case "disabled":
            await bench.store.users.update("alice", lambda user: replace(user, enabled=False))
        case "removed":
            await bench.store.users.remove("alice")
        case "altered":
            token = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
        case _:
            token = ""
    reply = await _refused(bench, form("/sign-in", ORIGIN, token=token), Reason.CONSOLE_LINK)
    assert b"affiant console link" in reply.body
    assert "set-cookie" not in reply.headers
    record = await bench.store.audit_log.find(reply.headers["x-trace-id"])
    assert token[:10] not in str(record) or not token


async def test_looking_at_a_link_takes_nothing(bench: Bench) -> None:
    token = await make_link(bench)
    for method in ("GET", "HEAD", "GET"):
        assert (await bench.send(page("/sign-in", method=method, query=b"then=/console/"))).status == 200
    assert (await bench.send(page("/sign-in", query=f"token={token}".encode()))).status == 200
    assert (await bench.send(form("/sign-in", ORIGIN, token=token))).status == 303


async def test_of_many_that_send_a_link_one_is_signed_in(durable: Bench) -> None:
    token = await make_link(durable)
    replies = await asyncio.gather(*(durable.send(form("/sign-in", ORIGIN, token=token)) for _ in range(20)))
    assert sorted(reply.status for reply in replies) == [303] + [403] * 19
    assert len(await durable.store.sessions.list()) == 1
    assert token not in "".join(await durable.audited())


@pytest.mark.parametrize(
    ("then", "there"),
    [
        ("/console/events/x?y=1&z=%2F", "/console/events/x?y=1&z=%2F"),
        ("", "/console/"),
        ("//evil.example", "/console/"),
        ("/\\evil.example", "/console/"),
        ("\\\\evil.example", "/console/"),
        ("/console/\\..\\..//evil.example", "/console/"),
        ("https://evil.example", "/console/"),
        ("https:/console/", "/console/"),
        ("javascript:alert(1)", "/console/"),
        ("/console.evil.example", "/console/"),
        ("/consolex/", "/console/"),
        ("/token", "/console/"),
        ("/console/../token", "/console/"),
        ("/console/.%2E//evil.example", "/console/"),
        ("/%2f/evil.example", "/console/"),
        ("/console/\r\nset-cookie: a=b", "/console/"),
        ("/console/\t/evil", "/console/"),
        ("/console/\u2028", "/console/"),
        ("/console/é", "/console/"),
        (f"{ISSUER}/console/", "/console/"),
        ("@evil.example/console/", "/console/"),
    ],
)
async def test_no_open_redirect(bench: Bench, then: str, there: str) -> None:
    reply = await bench.send(form("/sign-in", ORIGIN, token=await make_link(bench), then=then))
    assert (reply.status, reply.headers["location"]) == (303, there)
    shown = await bench.send(page("/sign-in", query=f"then={quote(then)}".encode()))
    assert f'name="then" value="{escape(there)}"'.encode() in shown.body


async def test_a_planted_cookie_is_worth_nothing(bench: Bench) -> None:
    """Session fixation."""
    planted = b"__Host-affiant=" + b"A" * 43
    reply = await bench.send(form("/sign-in", ORIGIN, (b"cookie", planted), token=await make_link(bench)))
    cookie = reply.headers["set-cookie"]
    assert set(cookie.split("; ")[1:]) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
    assert planted.decode() not in cookie
    assert (await bench.send(page("/account", (b"cookie", planted)))).status == 303


async def test_a_stolen_cookie_ends_with_the_session(bench: Bench) -> None:
    victim = await sign_in(bench)
    thief = Browser(bench, victim.cookie)
    assert (await thief.see()).status == 200
    assert (await victim.post("/sign-out", csrf=await victim.csrf())).status == 303
    assert (await thief.see()).status == 303
    idle, old = await sign_in(bench), await sign_in(bench)
    for _ in range(12):
        assert (await old.see()).status == 200
        bench.clock.advance(rules.IDLE_SECONDS - 1)
    bench.clock.advance(12)
    assert [(await browser.see()).status for browser in (idle, old)] == [303, 303]


async def test_a_page_left_open_keeps_nobody_signed_in(bench: Bench) -> None:
    """Its parts refresh themselves, which is no use of the session."""
    browser = await sign_in(bench)
    for _ in range(3):
        assert (await browser.see("/settings", query=b"parts=health")).status == 200
        bench.clock.advance(rules.IDLE_SECONDS // 3)
    assert (await browser.see("/settings", query=b"parts=health")).status == 303


@pytest.mark.attack(295)
async def test_markup_of_names_stays_text(bench: Bench) -> None:
    """The label of a passkey and the agent of a session are whatever somebody sent."""
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    browser = await sign_in(bench)
    passkey = Passkey("id", "alice", b"", 0, evil, NOW)
    await bench.store.passkeys.add(passkey, UsedChallenge("c", NOW + 60))
    token = await make_link(bench)
    await bench.send(form("/sign-in", ORIGIN, (b"user-agent", evil.encode()), token=token))
    body = (await browser.see()).body
    assert body.count(b"&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert b"<script>" not in body
    assert b"<img" not in body
    for text in (token, browser.cookie.partition("=")[2]):
        assert text.encode() not in body


async def test_a_stranger_who_fails_too_often_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right link is taken all the same: no stranger keeps a user out."""
    rates = Rates(failures=Rate(3, 0.1))
    async with running(MemoryStore(), caplog, monkeypatch, rates) as bench:
        wrong = form("/sign-in", ORIGIN, token="x" * 43)
        assert [(await bench.send(wrong)).status for _ in range(5)] == [403] * 3 + [429] * 2
        answer = await bench.send(wrong)
        assert int(answer.headers["retry-after"]) > 0
        assert len(await bench.audited()) == 3
        await sign_in(bench)
