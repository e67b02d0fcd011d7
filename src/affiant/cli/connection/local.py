"""The admin API of the data on this machine, called in this process."""

from __future__ import annotations

import asyncio
import functools
import getpass
import http.client
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from affiant.cli.connection.admin import Admin, Take
from affiant.cli.connection.data import (
    ISSUER,
    find_issuer,
    is_issuer_known,
    open_vault,
    shown_place,
    with_new_store,
    with_store,
)
from affiant.cli.output import note
from affiant.server import settings
from affiant.server.admin import app
from affiant.server.admin.app import AdminEndpoint
from affiant.server.admin.calls import AdminContext
from affiant.server.admin.reads import Reads
from affiant.server.admin.roles import Principal, Role
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.registry.directory import Directory
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.late_fetch import LateFetcher
from affiant.server.request.limits import Limits, Rates
from affiant.server.settings import Settings
from affiant.storage.ports import Store
from affiant.system.urls import LOOPBACK

if TYPE_CHECKING:  # it loads the token endpoint, which few commands need
    from affiant.server.explain.explainer import Explainer

Result = TypeVar("Result")
_OK = 200
_SECONDS = 1.0  # for the question to another server
_MAX_BYTES = 262_144


def run(
    chosen: Settings,
    work: Callable[[Admin], Awaitable[Result]],
    *,
    options: Sequence[str] = (),
    may_be_new: bool = False,
) -> Result:
    """Run this with the admin API of this data; `options` names the settings given on the command line."""

    async def here(store: Store, key: MasterKey) -> tuple[Result, str, set[str], bool]:
        vault = open_vault(chosen, key)
        try:
            issuer = await find_issuer(store, chosen)
            gate = await _gate(issuer, store, key, chosen, vault, options)
            done = await work(Admin(functools.partial(call, gate), issuer))
            kids = {signing_key.kid for signing_key in await store.signing_keys.list()}
            return done, issuer, kids, await is_issuer_known(store, chosen)
        finally:
            await vault.close()

    if not may_be_new:
        return with_store(chosen, here)[0]
    done, issuer, kids, is_known = with_new_store(chosen, here)
    if _has_other_server(issuer, kids):
        note(
            f"the server at {issuer} has other signing keys than {shown_place(chosen)}, so it does not know what was"
            " registered here: give its data folder with --data"
        )
    elif not is_known:
        note(
            f"no server has run with {shown_place(chosen)}, so its issuer is assumed to be {issuer}. For another, set"
            " AFFIANT_ISSUER first, or start the server once; files with the wrong issuer must be made again"
        )
    return done


def user() -> str:
    """Return the OS user, for the audit log."""
    try:
        return f"cli, {getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as containers have
        return "cli"


def build_explainer(issuer: str, store: Store, key: MasterKey, chosen: Settings) -> Explainer:
    """Return what judges a request as the server of this data would, without side effects."""
    from affiant.server import app as server  # it loads the whole server, which few commands need

    return server.build_explainer(issuer=issuer, store=store, master_key=key, options=chosen.options)


async def _gate(
    issuer: str, store: Store, key: MasterKey, chosen: Settings, vault: Vault, options: Sequence[str]
) -> AdminEndpoint:
    context = AdminContext(
        issuer=issuer,
        store=store,
        master_key=key,
        vault=vault,
        directory=Directory(issuer, store, key, demands=chosen.demands, vault=vault),
        explainer=lambda *, store: build_explainer(issuer, store, key, chosen),
        methods=chosen.methods,
        calendar=chosen.calendar,
        trust_keys=TrustKeys(LateFetcher(chosen.options.jwks_uri_allowed)),
        reads=Reads(rest=0),  # nothing else runs in this process
        limits=Limits(Rates(), key=secrets.token_bytes(32)),  # of this process alone: a local caller has no limits
        settings=settings.described(chosen, options=options, issuer=await store.settings.get(ISSUER)),
    )

    async def authenticate(*_: object) -> Principal:
        return Principal(user(), Role.OWNER, is_local=True)

    return app.build(context, authenticate=authenticate)


async def call(
    gate: AdminEndpoint, method: str, target: str, body: bytes | None, headers: Mapping[str, str], take: Take | None
) -> tuple[int, bytes, str]:
    """Send a request to the application in this process."""
    path, _, query = target.partition("?")
    status, kept, etag = 0, bytearray(), ""
    pending = [body or b""]

    async def receive() -> dict[str, Any]:
        if not pending:  # the caller never disconnects before the answer
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pending.pop(), "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, etag
        status = message.get("status", status)
        etag = next((value.decode() for name, value in message.get("headers", ()) if name.lower() == b"etag"), etag)
        piece = message.get("body", b"")
        if take is not None and status == _OK:
            take(piece)
        else:
            kept.extend(piece)

    await gate(_scope(method, gate.prefix + path, query, headers), receive, send)
    return status, bytes(kept), etag


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


def _has_other_server(issuer: str, kids: Collection[str]) -> bool:
    """Whether a server on this machine answers at this issuer and publishes none of these signing keys.

    An issuer on another machine is not asked: a command at the data folder needs no network.
    """
    parts = urlsplit(issuer)
    if parts.hostname not in LOOPBACK:
        return False
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/jwks")
        answer = connection.getresponse()
        published = json.loads(answer.read(_MAX_BYTES))["keys"] if answer.status == http.client.OK else []
        found = {key["kid"] for key in published}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False  # no server, or not affiant
    finally:
        connection.close()
    return bool(found) and found.isdisjoint(kids)
