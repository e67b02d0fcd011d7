"""Visitors of the console on the bench: signed in with a link, as a browser sends it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.attacks.bench import Bench
from tests.wire import FORM_TYPE, JSON_TYPE, Header, Reply, Request

from affiant.server.admin.routes.users import rules
from affiant.storage.records import User
from affiant.testing import ISSUER, NOW

ORIGIN = (b"origin", ISSUER.encode())
CONSOLE = "/console"


def form(path: str, *headers: Header, **members: str) -> Request:
    """Return a form that a page of the console sends."""
    return Request(urlencode(members).encode(), path=f"{CONSOLE}{path}", headers=(FORM_TYPE, *headers))


def script(path: str, body: bytes, *headers: Header) -> Request:
    """Return what a script of the console sends."""
    return Request(body, path=f"{CONSOLE}{path}", headers=(JSON_TYPE, (b"accept", b"application/json"), *headers))


def page(path: str, *headers: Header, query: bytes = b"", method: str = "GET") -> Request:
    return Request(method=method, path=f"{CONSOLE}{path}", query=query, headers=headers)


async def make_link(bench: Bench, user: str = "alice", *, role: str = "owner", seconds: int = 900, **more: Any) -> str:
    """Return the token of a new link for this user, who is added if need be."""
    if await bench.store.users.find(user) is None:
        await bench.store.users.add(User(user, role, handle="aGFuZGxl", created_at=NOW, **more))
    link, token = rules.make_link(bench.master_key, user, now=int(bench.clock()), seconds=seconds)
    await bench.store.sign_in_links.add(link)
    return token


@dataclass
class Browser:
    """A browser in which a user is signed in."""

    bench: Bench
    cookie: str

    @property
    def header(self) -> Header:
        return (b"cookie", self.cookie.encode())

    async def see(self, path: str = "/account", *headers: Header, query: bytes = b"") -> Reply:
        return await self.bench.send(page(path, self.header, *headers, query=query))

    async def csrf(self) -> str:
        body = (await self.see()).body.decode()
        return body.partition('name="csrf" value="')[2].partition('"')[0]

    async def post(self, path: str, *headers: Header, **members: str) -> Reply:
        return await self.bench.send(form(path, self.header, *(headers or (ORIGIN,)), **members))

    async def act(self, action: str, **members: str) -> Reply:
        """Do an action, as the button of its confirm page."""
        return await self.post(f"/actions/{action}", csrf=await self.csrf(), confirmed="1", **members)


async def sign_in(bench: Bench, user: str = "alice", *, role: str = "owner", **more: Any) -> Browser:
    reply = await bench.send(form("/sign-in", ORIGIN, token=await make_link(bench, user, role=role, **more)))
    assert reply.status == 303, reply.body
    return Browser(bench, reply.headers["set-cookie"].partition(";")[0])
