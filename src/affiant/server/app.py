"""The composition root: settings and a store become an ASGI application. Nothing else names a storage adapter."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from affiant.oauth import names
from affiant.oauth.dpop import Nonces
from affiant.oauth.metadata import well_known_url
from affiant.server.background import Background
from affiant.server.client_auth import dummy
from affiant.server.client_auth.ladder import Ladder
from affiant.server.explain.walk import Explainer
from affiant.server.keys import signing_keys
from affiant.server.keys.calendar import Calendar
from affiant.server.published import metadata, pages
from affiant.server.published.health import Health
from affiant.server.published.jwks import Jwks
from affiant.server.registry.directory import Directory
from affiant.server.request.limits import Limits, Rates
from affiant.server.token.decision import Decider
from affiant.server.token.dpop import Proofs
from affiant.server.token.endpoint import TokenEndpoint
from affiant.server.token.grants.client_credentials import ClientCredentials
from affiant.server.token.grants.jwt_bearer import JwtBearer
from affiant.server.token.grants.refresh_token import RefreshTokenGrant
from affiant.server.token.introspection import IntrospectionEndpoint
from affiant.server.token.revocation import RevocationEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from affiant.server.background import Piece
    from affiant.server.keys.master_key import MasterKey
    from affiant.server.request.endpoint import Endpoint
    from affiant.storage.ports import Store


class Server(Starlette):
    """The routes, with a shorter way to the endpoints that authenticate clients."""

    def __init__(self, *, endpoints: dict[str, Endpoint], **options: Any) -> None:
        super().__init__(**options)
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An endpoint answers its own failures, so nothing needs to stand around it."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        await (endpoint or super().__call__)(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator chooses.

    Attributes:
        access_token_lifetime: seconds.
        calendar: when signing keys follow each other.
        dpop_nonces: ``on`` where DPoP proofs must have a nonce of this server (RFC 9449 section 8), or ``off``.
    """

    access_token_lifetime: int = 600
    calendar: Calendar = field(default_factory=Calendar)
    dpop_nonces: str = "off"


def build(
    *,
    issuer: str,
    store: Store,
    master_key: MasterKey,
    options: Options | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The authorization server as an ASGI application; it opens and closes the store with its own life.

    Args:
        issuer: its issuer identifier; every URL it names begins with it.
        store: where everything is kept.
        master_key: under which secrets and keys are sealed.
        options: what an operator chooses.
        limits: how often one may fail or ask; when left out, the usual ones for this process alone.
        clock: seconds since the epoch.
    """
    limits = limits or Limits(Rates(), key=limits_key(master_key))
    options = options or Options()
    directory = Directory(issuer, store, master_key, clock=clock)
    ladder = Ladder(directory=directory, master_key=master_key)
    decider = _decider(issuer, ladder, store, master_key, directory, options)
    alone: dict[str, Any] = {"issuer": issuer, "ledger": store.ledger, "limits": limits, "clock": clock}
    shared: dict[str, Any] = {**alone, "ladder": ladder, "directory": directory}
    endpoints: dict[str, Endpoint] = {
        "token": TokenEndpoint(decider=decider, master_key=master_key, **shared),
        "introspect": IntrospectionEndpoint(revocations=store.revocations, **shared),
        "revoke": RevocationEndpoint(refresh_tokens=store.refresh_tokens, master_key=master_key, **shared),
    }
    background = Background(store.ledger, limits, clock, [_keeper(store, master_key, options.calendar, clock)])
    jwks = Jwks(directory, max_age=options.calendar.max_age)
    document = metadata.build(issuer, [endpoint.metadata() for endpoint in endpoints.values()])

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with _life(store, master_key, directory, background, clock):
            yield

    path = urlsplit(issuer).path
    return Server(
        endpoints={f"{path}/{name}": endpoint for name, endpoint in endpoints.items()},
        routes=_published(issuer, document, jwks, Health(directory, background)),
        lifespan=lifespan,
        exception_handlers={404: _not_found, 405: _not_found, 500: _failed},
    )


def build_explainer(*, issuer: str, store: Store, master_key: MasterKey, options: Options | None = None) -> Explainer:
    """The same decisions, dry, on a store that is open."""
    directory = Directory(issuer, store, master_key)
    ladder = Ladder(directory=directory, master_key=master_key)
    # Whether a proof has the nonce of its time cannot be told later; all else about it can.
    options = replace(options or Options(), dpop_nonces="off")
    decider = _decider(issuer, ladder, store, master_key, directory, options)
    return Explainer(issuer, decider, directory, store.ledger, store.clients)


def _decider(
    issuer: str, ladder: Ladder, store: Store, master_key: MasterKey, directory: Directory, options: Options
) -> Decider:
    grants = (ClientCredentials(), RefreshTokenGrant(store.refresh_tokens, master_key), JwtBearer())
    # One key for every worker and node: they take each other's nonces, with no store between them.
    nonces = Nonces(master_key.digest("dpop nonces")) if options.dpop_nonces == "on" else None
    proofs = Proofs(f"{issuer}/token", nonces=nonces)
    return Decider(ladder, grants, directory, proofs=proofs, lifetime=options.access_token_lifetime)


def _keeper(store: Store, master_key: MasterKey, calendar: Calendar, clock: Callable[[], float]) -> Piece:
    async def keep() -> None:
        await signing_keys.keep(store, master_key, now=int(clock()), calendar=calendar)

    return "signing keys", keep, signing_keys.KEEP_SECONDS


def limits_key(master_key: MasterKey) -> bytes:
    """The same for every worker of one data folder, and known to nobody outside."""
    return master_key.digest("rate limits")


def _published(issuer: str, document: dict[str, Any], jwks: Jwks, health: Health) -> list[Route]:
    path = urlsplit(issuer).path

    async def show_metadata(_: Request) -> Response:
        return JSONResponse(document, headers={"Cache-Control": "public, max-age=300"})

    async def show_reason(request: Request) -> Response:
        page = pages.reason(request.path_params["code"])
        status = 200 if page else 404
        return HTMLResponse(page or pages.index(), status_code=status, headers=pages.SECURITY_HEADERS)

    async def show_reasons(_: Request) -> Response:
        return HTMLResponse(pages.index(), headers=pages.SECURITY_HEADERS)

    discovery = {
        urlsplit(well_known_url(issuer)).path,
        urlsplit(well_known_url(issuer, suffix=names.WELL_KNOWN_OPENID)).path,
        f"{path}{names.WELL_KNOWN_OPENID}",
    }
    return [
        *(Route(place, show_metadata) for place in sorted(discovery)),
        Route(f"{path}/jwks", jwks.show),
        Route(f"{path}/health", health.ready),
        Route(f"{path}/health/ready", health.ready),
        Route(f"{path}/health/live", health.live),
        Route(f"{path}/errors", show_reasons),
        Route(f"{path}/errors/{{code}}", show_reason),
    ]


@contextlib.asynccontextmanager
async def _life(
    store: Store, master_key: MasterKey, directory: Directory, background: Background, clock: Callable[[], float]
) -> AsyncIterator[None]:
    await store.open()
    await signing_keys.ensure(store, master_key, now=int(clock()))
    await directory.refresh()
    dummy.prepare()
    try:
        async with background.running():
            yield
    finally:
        await store.close()


async def _not_found(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    headers = {"Cache-Control": "no-store", **(getattr(error, "headers", None) or {})}
    return JSONResponse({"error": "not_found" if status == 404 else "method_not_allowed"}, status, headers)  # noqa: PLR2004


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "server_error"}, 500, {"Cache-Control": "no-store"})
