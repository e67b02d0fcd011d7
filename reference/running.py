"""A server in this process with everything switched on, to be asked what it has."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from affiant.oauth import names
from affiant.oauth.binding.forwarded import Proxies
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.request.certificate import Certificates
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api

ISSUER = "https://as.example"
_OPTIONS = app.Options(
    authorization_endpoint="on",
    dpop_nonces="on",
    mtls_url="https://mtls.as.example",
    certificates=Certificates(Proxies.parse("127.0.0.1")),
)


def server(store: MemoryStore | None = None) -> Any:
    """The application, whose life has not begun."""
    key = MasterKey.from_bytes(bytes(32))
    return app.build(issuer=ISSUER, store=store or MemoryStore(), master_key=key, options=_OPTIONS)


def metadata() -> dict[str, Any]:
    """The document that it publishes."""
    return asyncio.run(_metadata())


async def _metadata() -> dict[str, Any]:
    store = MemoryStore()
    built = server(store)
    transport = httpx2.ASGITransport(app=built)
    api = Api("https://api.example", "api", (), is_default=True, created_at=0, authorization_details_types=("payment",))
    await store.open()
    await store.apis.add(api)
    async with built.router.lifespan_context(built), httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        document: dict[str, Any] = (await http.get(names.WELL_KNOWN_OAUTH)).json()
        return document
