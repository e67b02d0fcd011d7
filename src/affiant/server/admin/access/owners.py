"""Owners: only an owner makes another one, and the last one cannot be removed over the network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from affiant.errors import ConfigError, Error, Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.server.admin import roles
from affiant.server.admin.calls import Call
from affiant.server.admin.roles import Role, touches_admin
from affiant.storage.records import Client
from affiant.storage.registry import OtherClient

Result = TypeVar("Result")
_PAGE = 1000
_ATTEMPTS = 8  # at each one, the owner that was found may be demoted before the commit


def check_escalation(call: Call, *clients: Client) -> None:
    """Raise unless the caller is an owner or no client has a part in the admin API: its keys are worth its role."""
    if call.who.role is not Role.OWNER and any(touches_admin(client, call.context.identifier) for client in clients):
        raise Rejected(Reason.ADMIN_OWNER_ONLY)


def check_admin_api(call: Call, identifier: str) -> None:
    """Raise if the admin API would be changed or removed through itself."""
    if identifier == call.context.identifier and not call.who.is_local:
        raise Rejected(Reason.ADMIN_LAST_OWNER, expected="the admin API itself is changed at the data folder only")


def check_credentials(call: Call, client: Client) -> None:
    """Raise if a client gets a part whose credentials are not in the hands of owners alone.

    A registration access token can change the keys of its client, and an operator those of a blueprint.
    """
    if not touches_admin(client, call.context.identifier):
        return
    if roles.registered_itself(client):
        raise ConfigError("a client that registered itself can have no part in the admin API: register another")
    if client.blueprint is not None:
        raise ConfigError("a client with a blueprint can have no role in the admin API: register another client for it")


async def keeping_one(call: Call, client_id: str, act: Callable[[OtherClient | None], Awaitable[Result]]) -> Result:
    """Change a client and leave at least one owner, also against changes by other nodes at the same moment.

    Another owner is found before the commit, and checked in it. A caller at the data folder may leave none, because
    it can make another one there; so may an owner who uses the console, and who is still one afterwards.
    """
    if not call.who.is_client:
        return await act(None)
    other: str | None = call.who.name  # usually another owner
    for _ in range(_ATTEMPTS):
        if other is None:
            break
        with contextlib.suppress(_NoneLeft):
            return await act(OtherClient(other, partial(_check_left, call.context.identifier)))
        other = await anext((name async for name in _names(call) if name != client_id), None)
    raise Rejected(Reason.ADMIN_LAST_OWNER)


async def find_all(call: Call) -> frozenset[str]:
    """Return the names of all owners."""
    return frozenset([name async for name in _names(call)])


def takes_owner(call: Call, before: Client, after: Client | None) -> bool:
    """Whether a change removes an owner, by a caller that must leave one."""
    api = call.context.identifier
    return call.who.is_client and _is_owner(before, api) and (after is None or not _is_owner(after, api))


def check_left(call: Call, before: Client, owners: Iterable[str], known: Mapping[str, Client | None]) -> None:
    """Raise if a planned change removes this owner and leaves no other; `known` are clients that it changes."""
    made = {name for name, client in known.items() if client is not None and _is_owner(client, call.context.identifier)}
    if not (set(owners) - known.keys() | made) - {before.client_id}:
        raise Rejected(Reason.ADMIN_LAST_OWNER)


class _NoneLeft(Error):
    """Undoes a change: the other owner is none."""


def _check_left(api: str, before: Client, after: Client | None, other: Client | None) -> None:
    if not _is_owner(before, api) or (after is not None and _is_owner(after, api)):
        return
    if other is None or other.client_id == before.client_id or not _is_owner(other, api):
        raise _NoneLeft(f"{before.client_id} is the last owner")


def _is_owner(client: Client, api: str) -> bool:
    can_ask = names.CLIENT_CREDENTIALS in client.grant_types
    return can_ask and roles.role_of(client, api) is Role.OWNER


async def _names(call: Call) -> AsyncIterator[str]:
    """Yield the names of all owners."""
    after = ""
    while found := await call.whole.clients.list(after=after, limit=_PAGE):
        for client in found:
            if _is_owner(client, call.context.identifier):
                yield client.client_id
        after = found[-1].client_id
