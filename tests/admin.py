"""The admin API of one node, asked without a network and without a token: who calls is given."""

from functools import partial
from typing import Any

import httpx2

from affiant.server import app as server
from affiant.server.admin import app, roles
from affiant.server.admin.app import AdminEndpoint
from affiant.server.admin.calls import AdminContext
from affiant.server.admin.roles import SCOPES, Principal, Role
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.registry import clients
from affiant.server.registry.directory import Directory
from affiant.server.request.limits import Limits, Rates
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client

ISSUER, NOW = "https://as.example", 1_800_000_000
ADMIN = roles.identifier(ISSUER)
MASTER = MasterKey.from_bytes(bytes(range(32)))
OWNER = Principal("owner", Role.OWNER)


def make_context(store: Store, **more: Any) -> AdminContext:
    vault = Vault(MASTER)
    return AdminContext(
        issuer=ISSUER,
        store=store,
        master_key=MASTER,
        directory=Directory(ISSUER, store, MASTER, vault=vault, clock=lambda: NOW),
        explainer=partial(server.build_explainer, issuer=ISSUER, store=store, master_key=MASTER),
        calendar=Calendar(),
        vault=vault,
        limits=Limits(Rates(), key=bytes(32)),
        **more,
    )


def make_gate(store: Store, who: Principal = OWNER, **more: Any) -> AdminEndpoint:
    """The admin API on this store, which takes whoever asks for this caller."""

    async def authenticate(*_: object) -> Principal:
        return who

    return app.build(make_context(store, **more), clock=lambda: float(NOW), authenticate=authenticate)


def asking(store: Store, who: Principal = OWNER, **more: Any) -> httpx2.AsyncClient:
    """A client of that admin API; `more` are members of its context."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=make_gate(store, who, **more)), base_url=ADMIN)


def member(name: str, role: Role = Role.OWNER, **more: Any) -> Client:
    """A client with a role."""
    wanted = Client(name, "client_secret_basic", scope=(role.scope,), resources=(ADMIN,), **more)
    return clients.build(wanted, master_key=MASTER, now=NOW).client


async def open_api(store: Store) -> None:
    await store.apis.add(Api(ADMIN, "admin", SCOPES, is_default=False, created_at=NOW))
