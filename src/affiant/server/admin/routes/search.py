"""Search: all that has a name or an id, by that or by its beginning."""

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from affiant.server.admin.models import Out
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import tokens
from affiant.server.admin.routes.operation import Call, Reach, Routes
from affiant.server.registry.credentials import keys as client_keys
from affiant.storage.records import Client, NotFound

SEARCH = Routes("search")
_SHOWN = 20  # names of one kind that begin with the text
_SEARCHED = 2000  # clients whose keys are compared, a second or so
_PAGE = 250
_SHORTEST = 8  # characters of a kid that is looked for: a shorter text is the beginning of a name
_SHORTEST_JTI = 16
_THUMBPRINT = 43  # characters (RFC 7638, SHA-256)
Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="a name or its beginning, a trace id, the jti of a token, the kid or thumbprint of a key",
    ),
]


Kind = Literal["client", "api", "trust", "rule", "event", "token", "key", "signing key"]


class Hit(Out):
    """A find: its kind, its name or id, the client that it belongs to, and whether the text is all of its name."""

    kind: Kind
    name: str
    client_id: str | None = None
    is_exact: bool = True


class Found(Out):
    """The finds, whole names first. `is_complete` is false if there are more clients than were searched for a key."""

    hits: list[Hit]
    is_complete: bool = True


@SEARCH("GET /search", Role.VIEWER, Reach.TEAMS, answers=Found, is_long=True)
async def search(call: Call, q: Text) -> Any:
    """Find clients, APIs, trusts and rules by name, and requests, tokens and keys by id.

    Keys are searched if nothing else is found, those of the first 2,000 clients.
    """
    hits = [hit async for hit in _named(call, q)]
    hits += [hit async for hit in _with_id(call, q)]
    is_complete = True
    if not hits and len(q) >= _SHORTEST:
        hits, is_complete = await _keys(call, q)
    return Found(hits=sorted(hits, key=lambda hit: not hit.is_exact), is_complete=is_complete)


async def _named(call: Call, q: str) -> AsyncIterator[Hit]:
    """Yield what has this name, or begins with it."""
    store = call.context.store
    same = await store.clients.find(q)
    following = await store.clients.list(after=q, limit=_SHOWN)
    clients = [client.client_id for client in ([same] if same is not None else []) + following]
    apis = [api.identifier for api in await store.apis.list()]
    trusts = [trust.name for trust in await store.trusts.list()]
    kinds: tuple[tuple[Kind, list[str]], ...] = (("client", clients), ("api", apis), ("trust", trusts))
    for kind, names in kinds:
        for name in [name for name in names if name.startswith(q)][:_SHOWN]:
            yield Hit(kind=kind, name=name, is_exact=name == q)
    for rule in [rule for rule in await store.rules.list() if rule.name.startswith(q)][:_SHOWN]:
        yield Hit(kind="rule", name=rule.name, client_id=rule.client_id, is_exact=rule.name == q)


async def _with_id(call: Call, q: str) -> AsyncIterator[Hit]:
    """Yield the request of this trace id, the recent token of this jti, and the signing key of this kid."""
    record = await call.context.store.audit_log.find(q)
    if record is not None:
        yield Hit(kind="event", name=q, client_id=record.get("client_id"))
    for key in await call.context.store.signing_keys.list():
        if key.kid == q:
            yield Hit(kind="signing key", name=q)
    if record is None and len(q) >= _SHORTEST_JTI:
        with suppress(NotFound):
            token = await tokens.find_token(call, q)
            yield Hit(kind="token", name=q, client_id=token.client_id)


async def _keys(call: Call, q: str) -> tuple[list[Hit], bool]:
    """Return the keys of clients with this kid or thumbprint, and whether all clients were searched."""

    def look(client: Client) -> tuple[str, list[Hit]]:
        # A thumbprint is computed: for each key of each client, that takes longer than all else.
        is_long = len(q) == _THUMBPRINT
        held = [key for key in client.keys if key.kid == q or (is_long and client_keys.thumbprint(key) == q)]
        return client.client_id, [Hit(kind="key", name=q, client_id=client.client_id) for _ in held[:1]]

    hits, after = list[Hit](), ""
    for _ in range(0, _SEARCHED, _PAGE):
        fetch = partial(call.context.store.clients.list, after=after, limit=_PAGE)
        page = await call.context.reads.each(fetch, look)
        hits += [hit for _, found in page for hit in found]
        if len(page) < _PAGE:
            return hits, True
        after = page[-1][0]
    return hits, False
