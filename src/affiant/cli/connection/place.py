"""The one road of administration: every command asks the admin API, here on the data folder or of a server elsewhere.

Here it is called in this process: no network, no token; who can read the data folder is its owner. Elsewhere the same
requests go over HTTP, with a token that this client gets for its credentials file.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote, unquote, urlencode

import click
from msgspec import structs

from affiant.cli.connection import other_server
from affiant.cli.connection.data import (
    ISSUER,
    check_data,
    find_issuer,
    is_issuer_known,
    load,
    open_vault,
    place_options,
    shown_place,
    with_new_store,
    with_store,
)
from affiant.errors import ConfigError, Refused, RemoteError, StoreError
from affiant.server.admin.roles import PATH, Principal, Role
from affiant.server.keys.master_key import MasterKey
from affiant.server.settings import Settings
from affiant.storage.ports import Store
from affiant.storage.records import AlreadyExists, NotFound
from affiant.system.text import printable
from affiant.values import Value

if TYPE_CHECKING:
    from affiant.server.admin.gate import Gate
    from affiant.server.explain.explainer import Explainer

Send = Callable[..., Awaitable[tuple[int, bytes, str]]]  # status, body, ETag

Result = TypeVar("Result")
_LIMIT = 1000
_DENIED, _FAILED, _STORE = (401, 403, 429), 500, 503
# What says by itself what is wrong; other details say what would have been right.
_IN_A_SENTENCE = {"admin.not_found": NotFound, "admin.exists": AlreadyExists, "admin.invalid": ConfigError}
LINES = {"accept": "application/jsonl"}


class Place(Value, frozen=True):
    """Whose administration: that of the data that is set, or of a server elsewhere.

    Attributes:
        url: the issuer of the server elsewhere.
        credentials: the file of a client of its admin API.
        options: the names of the settings that were given on the command line.
        may_be_new: whether the data is made if there is none.
    """

    chosen: Any
    url: str | None = None
    credentials: Path | None = None
    options: tuple[str, ...] = ()
    may_be_new: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether it is elsewhere."""
        return self.url is not None


def admin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data, --database, --url and --credentials, which reach the command as `place`."""
    url = click.option("--url", metavar="ISSUER", help="administer this server, over its admin API")
    file = click.option(
        "-c",
        "--credentials",
        type=click.Path(path_type=Path, dir_okay=False, readable=False),
        help="with --url: credentials file of a client of its admin API (default: AFFIANT_CREDENTIALS)",
    )

    @place_options
    @url
    @file
    @functools.wraps(command)
    def run(
        *arguments: Any,
        data: Path | None,
        database: str | None,
        url: str | None,
        credentials: Path | None,
        **options: Any,
    ) -> Any:
        if url is not None and (data is not None or database is not None):
            raise click.UsageError("give either --url, a server elsewhere, or --data or --database, the data itself")
        if url is None and credentials is not None:
            raise click.UsageError("--credentials goes with --url: the data folder needs none")
        given = tuple(name for name, value in (("data", data), ("database", database)) if value is not None)
        place = Place(load(data=data, database=database), url, credentials, given)
        return command(*arguments, place=place, **options)

    return run


class Admin:
    """Asks the admin API, and says what went wrong in one line."""

    def __init__(self, send: Send, issuer: str) -> None:
        self._send = send
        self.issuer = issuer

    async def get(self, path: str, **query: Any) -> Any:
        """What stands there."""
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, members: Mapping[str, Any] | None = None) -> Any:
        """Make something, or do it."""
        return await self._ask("POST", path, members)

    async def read(self, path: str) -> tuple[Any, str]:
        """What stands there, and its ETag."""
        _, body, etag = await self._answer("GET", path)
        return json.loads(body), etag

    async def patch(self, path: str, members: Mapping[str, Any], *, etag: str | None = None) -> Any:
        """Change it; with an ETag, only if nobody else has since."""
        return await self._ask("PATCH", path, members, headers=_if_match(etag))

    async def delete(self, path: str, *, etag: str | None = None) -> Any:
        """Remove it; with an ETag, only if nobody changed it since."""
        return await self._ask("DELETE", path, headers=_if_match(etag))

    async def all(self, path: str, **query: Any) -> list[Any]:
        """Every item of a list."""
        items: list[Any] = []
        await self.lines(path, lambda line: items.append(json.loads(line)), **query)
        return items

    async def lines(self, path: str, take: Callable[[bytes], object], **query: Any) -> None:
        """Every item of a list, a line of JSON each, as they come."""
        rest = bytearray()

        def feed(piece: bytes) -> None:
            rest.extend(piece)
            *whole, left = bytes(rest).split(b"\n")
            rest[:] = left
            for line in whole:
                take(line)

        status, body, _ = await self._send("GET", _target(path, query), None, LINES, feed)
        if status != 200:  # noqa: PLR2004
            _fail(status, body, self.issuer)
        if rest:
            raise RemoteError(f"{self.issuer}{PATH} ended the list in the middle of a line: ask again")

    async def _ask(self, method: str, path: str, members: Mapping[str, Any] | None = None, **options: Any) -> Any:
        _, answer, _ = await self._answer(method, path, members, **options)
        return json.loads(answer) if answer else None

    async def _answer(
        self,
        method: str,
        path: str,
        members: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes, str]:
        body = json.dumps(members).encode() if members is not None else None
        kind = {"content-type": "application/json"} if body is not None else {}
        answer = await self._send(method, _target(path, query or {}), body, {**kind, **(headers or {})}, None)
        if answer[0] >= 300:  # noqa: PLR2004
            _fail(answer[0], answer[1], self.issuer)
        return answer


def run_admin(place: Place, work: Callable[[Admin], Awaitable[Result]]) -> Result:
    """Do this."""
    if place.url is not None:
        from affiant.cli.connection import remote as elsewhere

        return elsewhere.run(place.url, place.credentials, work)
    chosen: Settings = place.chosen

    async def here(store: Store, key: MasterKey) -> tuple[Result, str, set[str], bool]:
        vault = open_vault(chosen, key)
        try:
            gate, issuer = await _gate(store, key, chosen, vault, place.options)
            done = await work(Admin(functools.partial(_call, gate), issuer))
            kids = {signing_key.kid for signing_key in await store.signing_keys.list()}
            return done, issuer, kids, await is_issuer_known(store, chosen)
        finally:
            await vault.close()

    if not place.may_be_new:
        return with_store(chosen, here)[0]
    done, issuer, kids, is_known = with_new_store(chosen, here)
    if other_server.answers(issuer, kids):
        click.echo(
            f"! the server at {issuer} has other signing keys than {shown_place(chosen)}, so it does not know what was"
            " registered here: give its data folder with --data",
            err=True,
        )
    elif not is_known:
        click.echo(
            f"! no server has run with {shown_place(chosen)}, so {issuer} was taken for its issuer: for another, set"
            " AFFIANT_ISSUER first, or start the server once; files that name the wrong issuer have to be made again",
            err=True,
        )
    return done


def existing(place: Place) -> Place:
    """Return the place if there is data."""
    if not place.is_remote:
        check_data(place.chosen)
    return place


def new_or_existing(place: Place) -> Place:
    """Return the place with its data, created if there is none: for commands that can be the first one."""
    return structs.replace(place, may_be_new=True)


def segment(name: str) -> str:
    """A name, as it stands in a path."""
    if name in ("", ".", ".."):
        raise NotFound(f"there is nothing named {name!r}")
    return quote(name, safe="")


def who() -> str:
    """Who sits at the data folder."""
    try:
        return f"cli, {getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as containers have
        return "cli"


async def _gate(store: Store, key: MasterKey, chosen: Settings, vault: Any, options: Sequence[str]) -> tuple[Gate, str]:
    """The admin API on an open store."""
    from affiant.server import settings
    from affiant.server.admin import app
    from affiant.server.admin.calls import Desk
    from affiant.server.admin.reads.turns import Reads
    from affiant.server.registry.directory import Directory
    from affiant.server.request.limits import Limits, Rates

    issuer = await find_issuer(store, chosen)

    def explainer() -> Explainer:  # with it comes the whole server, and few commands need that
        from affiant.server import app as server

        return server.build_explainer(issuer=issuer, store=store, master_key=key, options=chosen.options)

    desk = Desk(
        issuer=issuer,
        store=store,
        master_key=key,
        vault=vault,
        directory=Directory(issuer, store, key, demands=chosen.demands, vault=vault),
        explainer=explainer,
        methods=chosen.methods,
        calendar=chosen.calendar,
        reads=Reads(rest=0),  # nothing else runs in this process
        limits=Limits(Rates(), key=secrets.token_bytes(32)),  # for this process alone: who sits here is not counted
        settings=settings.described(chosen, options=options, issuer=await store.settings.get(ISSUER)),
    )

    async def recognise(*_: object) -> Principal:
        return Principal(who(), Role.OWNER, is_local=True)

    return app.build(desk, recognise=recognise), issuer


def _scope(method: str, path: str, query: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": None,
    }


async def _call(
    gate: Gate,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
    take: Callable[[bytes], object] | None,
) -> tuple[int, bytes, str]:
    """Ask the application in this process: ASGI, without a network."""
    path, _, query = target.partition("?")
    status, kept, etag = 0, bytearray(), ""

    pending = [body or b""]

    async def receive() -> dict[str, Any]:
        if not pending:  # nobody goes away before the answer
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pending.pop(), "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, etag
        status = message.get("status", status)
        etag = next((value.decode() for name, value in message.get("headers", ()) if name.lower() == b"etag"), etag)
        piece = message.get("body", b"")
        if take is not None and status == 200:  # noqa: PLR2004
            take(piece)
        else:
            kept.extend(piece)

    scope = _scope(method, gate.prefix + path, query, headers)
    await gate(scope, receive, send)
    return status, bytes(kept), etag


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _if_match(etag: str | None) -> dict[str, str]:
    return {"if-match": etag} if etag is not None else {}


def _fail(status: int, body: bytes, issuer: str) -> NoReturn:
    """Say what the admin API said, as the same thing that would be raised where it happened."""
    try:
        problem: dict[str, Any] = json.loads(body)
        # Whoever answers may have chosen it to command the terminal that shows it.
        reason, title, detail = (printable(str(problem[name])) for name in ("reason", "title", "detail"))
        trace_id, page = (printable(str(problem[name])) for name in ("trace_id", "type"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RemoteError(f"{issuer}{PATH} answered {status}, and not as an admin API does") from None
    if reason in _IN_A_SENTENCE:
        raise _IN_A_SENTENCE[reason](detail)
    if status == _STORE:
        raise StoreError(title)
    if status in _DENIED or status >= _FAILED or reason in ("admin.last_owner", "admin.changed"):
        told = f"{title} ({detail})"
        raise Refused(reason, description=told, trace_id=trace_id, status=status, error_uri=page)
    raise ConfigError(f"{title} ({detail})")
