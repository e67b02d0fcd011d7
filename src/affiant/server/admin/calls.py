"""The parts of one server that a route works with, and the call that it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affiant.oauth import names
from affiant.oauth.binding.dpop import Nonces
from affiant.oauth.resource_request import path_of
from affiant.server.admin import roles
from affiant.server.admin.reads import Reads
from affiant.server.admin.roles import Principal
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.registry.directory import Directory
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request import http
from affiant.server.request.certificate import Certificates
from affiant.server.request.limits import Limits
from affiant.server.request.notes import Request
from affiant.server.settings import Setting
from affiant.storage.ports import Store
from affiant.telemetry.board import Board, OwnBoard

if TYPE_CHECKING:  # it loads the token endpoint, which few calls need
    from affiant.server.explain.explainer import Explainer


async def no_obstacles() -> list[str]:
    """Return none: for a context without a server."""
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminContext:
    """The parts of one server that the admin API works with."""

    issuer: str
    store: Store
    master_key: MasterKey = field(repr=False)
    directory: Directory
    explainer: Callable[..., Explainer]  # makes one on this `store`; few calls need it
    calendar: Calendar
    vault: Vault
    limits: Limits
    methods: Sequence[str] = names.AUTH_METHODS  # how clients may authenticate
    settings: Sequence[Setting] = ()  # without secrets
    obstacles: Callable[[], Awaitable[list[str]]] = no_obstacles  # that /health reports
    certificates: Certificates = field(default_factory=Certificates)
    trust_keys: TrustKeys = field(default_factory=TrustKeys)  # to try the keys of a trust before it is saved
    remote_keys: RemoteKeys = field(default_factory=RemoteKeys)  # of clients with a jwks_uri, as this process has them
    nonces: Nonces | None = field(default=None, repr=False)  # if DPoP proofs need one
    reads: Reads = field(default_factory=Reads)
    board: Board = field(default_factory=OwnBoard)  # what all processes of this node have measured
    ending: asyncio.Event = field(default_factory=asyncio.Event)  # set when the process is asked to end

    @property
    def identifier(self) -> str:
        """The identifier of the admin API, which is the audience of its tokens."""
        return roles.identifier(self.issuer)


@dataclass(slots=True)
class Call:
    """One request of an authenticated caller."""

    context: AdminContext  # with the store as the caller sees it
    request: Request
    who: Principal
    whole: Store  # that of the server: for what is compared and counted, and shown to no caller
    body: bytes = b""
    query: dict[str, str] = field(default_factory=dict)  # of the URL
    headers: dict[str, str] = field(default_factory=dict)  # of the answer

    def __post_init__(self) -> None:
        self.request.notes.by = self.who.name
        self.request.notes.client_id = self.who.name if self.who.is_client else None

    @property
    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.request.now)

    @property
    def path(self) -> str:
        """The path as it was sent: a client named a/keys is not the keys of a client named a."""
        return path_of(self.request.scope)

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        return next((value.decode("latin-1") for value in http.header(self.request.scope, name.encode())), None)
