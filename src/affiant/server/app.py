"""The composition root: settings and a store become an ASGI application. Nothing else names a storage adapter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from affiant.oauth import names
from affiant.oauth.binding.dpop import Nonces
from affiant.server.admin.calls import AdminContext
from affiant.server.admin.roles import PATH as ADMIN_PATH
from affiant.server.admin.roles import identifier, touches_admin
from affiant.server.client_auth import stranger
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.explain import hints
from affiant.server.explain.hints import Inquiry
from affiant.server.keys import rotation, signing_keys
from affiant.server.keys.calendar import Calendar
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.published import site
from affiant.server.published.revocations import RevocationFeed
from affiant.server.published.serving import Late, Server
from affiant.server.registration.client_keys import ClientKeysEndpoint
from affiant.server.registration.endpoints import PATH, ManagementEndpoint, RegistrationEndpoint
from affiant.server.registration.records import Policy
from affiant.server.registry.directory import Directory
from affiant.server.registry.federation.followed import LOOK_SECONDS, FollowedFeeds
from affiant.server.registry.federation.keys import TrustKeys
from affiant.server.registry.key_cache import Fetch
from affiant.server.registry.late_fetch import LateFetcher
from affiant.server.registry.remote_keys import RemoteKeys
from affiant.server.request.audit import retention
from affiant.server.request.audit.measures import measure_audit
from affiant.server.request.audit.retention import Retention
from affiant.server.request.background import Background, Piece, Write
from affiant.server.request.counting import budgets
from affiant.server.request.counting.budgets import Budgets
from affiant.server.request.counting.counts import PURGE_SECONDS, Counts
from affiant.server.request.counting.gauges import measure_keys, measure_now, measure_store
from affiant.server.request.counting.meter import Meter, timed
from affiant.server.request.counting.publisher import Publisher
from affiant.server.request.counting.uses import Uses
from affiant.server.request.endpoint import Context, Endpoint
from affiant.server.request.limits import Limits, Rates
from affiant.server.settings import Options, Setting
from affiant.server.token.binding import Proofs
from affiant.server.token.endpoint import TokenEndpoint
from affiant.server.token.exchange.subject import SubjectTokens
from affiant.server.token.exchange.transaction import Transactions
from affiant.server.token.grants.client_credentials import ClientCredentials
from affiant.server.token.grants.jwt_bearer import JwtBearer
from affiant.server.token.grants.refresh_token import RefreshTokenGrant
from affiant.server.token.grants.token_exchange import TokenExchange
from affiant.server.token.introspection import IntrospectionEndpoint
from affiant.server.token.revocation import RevocationEndpoint
from affiant.server.token.signers import PROVE_SECONDS, Signers
from affiant.storage.ports import Store
from affiant.telemetry import Telemetry
from affiant.telemetry.board import Board, OwnBoard

CONSOLE_PATH = "/console"  # below the issuer

if TYPE_CHECKING:  # no token needs them
    from affiant.server.explain.explainer import Explainer
    from affiant.server.request.audit.spans import Spans

__all__ = ["Options", "Server", "build", "build_explainer", "limits_key"]


def build(
    *,
    issuer: str,
    store: Store,
    master_key: MasterKey,
    options: Options | None = None,
    limits: Limits | None = None,
    vault: Vault | None = None,
    clock: Callable[[], float] = time.time,
    at_end: Callable[[Callable[[], None]], None] = lambda _: None,
    fetch: Fetch | None = None,
    settings: Sequence[Setting] = (),
    telemetry: Telemetry | None = None,
    board: Board | None = None,
    spans: Spans | None = None,
) -> Server:
    """Build the authorization server, an ASGI application that opens the store at its start and closes it at its end.

    Args:
        issuer: the issuer identifier; every URL of the server begins with it.
        store: keeps clients, APIs, keys, tokens and the audit log; not open yet.
        master_key: seals the secrets and keys in the store.
        options: the choices of the operator; by default those of the settings.
        limits: of failures and requests; by default the usual ones, for this process alone.
        vault: makes and opens signing keys; by default they are sealed in the store.
        clock: returns seconds since the epoch.
        at_end: takes a function to call in the event loop when the process is asked to end. A server waits for the last
            answer before it ends the application, and that answer may wait for the revocation feed to change.
        fetch: fetches the key sets of clients and trusts; by default a Fetcher for `options`.
        settings: of the server, as the admin API shows them.
        telemetry: measures this process; by default one of its own.
        board: takes what is measured once a second, and has it of all processes, as the admin API shows it; by default
            that of this process alone.
        spans: traces the requests to the endpoints; without them nothing is traced.
    """
    options, vault = options or Options(), vault or Vault(master_key)
    limits = limits or Limits(Rates(), key=limits_key(master_key))
    fetch = fetch or LateFetcher(options.jwks_uri_allowed)
    observers = _Observers(telemetry or Telemetry(), board or OwnBoard(), spans)
    parts = _Parts(issuer, store, master_key, options, vault, limits, clock, fetch, observers=observers)
    endpoints = parts.endpoints()
    background = Background(store.ledger, limits, clock, parts.pieces())
    parts.telemetry.watch(lambda: measure_now(store, background.states(), parts.feeds.states()))
    feed = parts.feed()
    path, health = urlsplit(issuer).path, site.Health(parts.directory, background)
    console = path + CONSOLE_PATH if options.console == "on" else None
    admin = parts.admin(settings, health.obstacles)
    return Server(
        telemetry=parts.telemetry,
        below=_below(admin, clock, admin=path + ADMIN_PATH, console=console),
        endpoints=observers.around({f"{path}/{name}": endpoint for name, endpoint in endpoints.items()}),
        routes=_routes(parts, endpoints.values(), feed, health),
        obstacles=health.obstacles,
        lifespan=partial(_life, parts, background, feed, at_end),
        exception_handlers=site.handlers(issuer, console=console),
    )


@dataclass(frozen=True, slots=True)
class _Observers:
    """The metrics and the traces of this process."""

    telemetry: Telemetry
    board: Board
    spans: Spans | None = None

    def telling(self, tally: Callable[..., None]) -> Callable[..., None]:
        return tally if self.spans is None else self.spans.telling(tally)

    def around(self, endpoints: Mapping[str, Endpoint]) -> Mapping[str, ASGIApp]:
        """Return the endpoints with a span for each request, by their paths."""
        if self.spans is None:
            return endpoints
        return {path: self.spans.around(endpoint, path) for path, endpoint in endpoints.items()}


class _Parts:
    """The parts of the endpoints of one server."""

    def __init__(
        self,
        issuer: str,
        store: Store,
        master_key: MasterKey,
        options: Options,
        vault: Vault,
        limits: Limits,
        clock: Callable[[], float],
        fetch: Fetch | None,
        trust_keys: TrustKeys | None = None,
        observers: _Observers | None = None,
    ) -> None:
        self.issuer, self.store, self.master_key, self.options = issuer, store, master_key, options
        self.vault, self.limits, self.clock = vault, limits, clock
        self.observers = observers or _Observers(Telemetry(), OwnBoard())
        self.telemetry, self.board = self.observers.telemetry, self.observers.board
        self.directory = Directory(
            issuer,
            store,
            master_key,
            demands=options.demands,
            vault=vault,
            clock=clock,
            fresh_seconds=options.fresh_seconds,
        )
        # Attack: clients that register themselves fill all places for fetches. Trusts have a cache of their own.
        fetches = [timed(one, self.telemetry, name) for name, one in _fetches(fetch).items()]
        self.remote_keys, self.trust_keys = RemoteKeys(fetches[0]), trust_keys or TrustKeys(fetches[1])
        self.feeds = FollowedFeeds(self.trust_keys, fetches[2], store=store, clock=clock)
        self.uses, self.counts = Uses(store.key_uses), Counts(store.counts, self.directory.knows)
        self.inquiry, self.budgets = Inquiry(store.ledger, clock), Budgets(self.counts, store.counts, clock)
        self.signers, self.ending = Signers(self.directory, store, vault, clock=clock), asyncio.Event()
        self.authenticator, self.context = self._authenticator(), self._context()

    def _authenticator(self) -> Authenticator:
        return Authenticator(
            self.directory,
            self.master_key,
            certificates=self.options.certificates,
            methods=self.options.auth_methods,
            remote_keys=self.remote_keys,
            trust_keys=self.trust_keys,
            feeds=self.feeds,
        )

    def _context(self) -> Context:
        Meter(self.counts, self.telemetry)
        return Context(
            self.issuer,
            self.store.ledger,
            self.limits,
            self.uses,
            self.clock,
            inquire=self.inquiry.offer,
            tally=self.observers.telling(self.counts.count),
        )

    def feed(self) -> RevocationFeed:
        """Build the feed of revocations."""
        return RevocationFeed(
            self.directory,
            self.store.revocations,
            issuer=self.issuer,
            clock=self.clock,
            max_waiting=self.options.max_waiting,
            fresh_seconds=self.options.fresh_seconds,
        )

    def token_endpoint(self) -> TokenEndpoint:
        store, key, options = self.store, self.master_key, self.options
        urls = tuple(f"{base}/token" for base in (self.issuer, options.mtls_url) if base is not None)
        return TokenEndpoint(
            self.context,
            self.authenticator,
            directory=self.directory,
            grants=(ClientCredentials(), RefreshTokenGrant(store.refresh_tokens, key), JwtBearer(), self._exchange()),
            proofs=Proofs(urls, nonces=_nonces(key, options), algorithms=options.demands.algorithms),
            signers=self.signers,
            master_key=key,
            lifetime=options.access_token_lifetime,
            budgets=self.budgets,
        )

    def _exchange(self) -> TokenExchange:
        subjects = SubjectTokens(self.directory, self.authenticator, self.store.revocations)
        transactions = Transactions(self.directory) if self.options.transaction_tokens == "on" else None
        return TokenExchange(self.issuer, subjects, depth=self.options.exchange_depth, transactions=transactions)

    def endpoints(self) -> dict[str, Endpoint]:
        """The endpoints that decide something, by their paths below the issuer."""
        context, authenticator, store, key = self.context, self.authenticator, self.store, self.master_key
        directory, revocations = self.directory, store.revocations
        policy = self._policy()
        return {
            "token": self.token_endpoint(),
            "introspect": IntrospectionEndpoint(context, authenticator, directory=directory, revocations=revocations),
            "revoke": RevocationEndpoint(
                context, authenticator, directory=directory, refresh_tokens=store.refresh_tokens, master_key=key
            ),
            "client-keys": ClientKeysEndpoint(context, authenticator, store=store),
            PATH: RegistrationEndpoint(context, store=store, master_key=key, policy=policy),
            f"{PATH}/": ManagementEndpoint(context, store=store, master_key=key, policy=policy),
        }

    def pieces(self) -> list[Piece | Write]:
        """The background work that is not the store's."""
        return [
            Write("key uses", self.uses.write),
            Write("counts", self.counts.write),
            ("budgets", self.budgets.look, budgets.LOOK_SECONDS),
            ("history", partial(self.counts.purge, self.clock), PURGE_SECONDS),
            _keeper(self.store, self.vault, self.options.calendar, self.clock),
            ("master key", self._note_key, rotation.NOTE_SECONDS),
            ("signature", self.signers.prove, PROVE_SECONDS),
            ("hints", self.inquiry.work, hints.SECONDS),
            ("feeds", partial(_look_at_feeds, self.directory, self.feeds), LOOK_SECONDS),
            Write("metrics", self._publisher().publish),
            *self._retention(),
        ]

    def _publisher(self) -> Publisher:
        keys = partial(measure_keys, self.store, self.options.calendar, self.clock)
        audit = partial(measure_audit, self.store, self.options.audit.seconds, self.clock)
        return Publisher(self.counts, self.telemetry, self.board, partial(measure_store, self.store), keys, audit)

    def _retention(self) -> list[Piece]:
        seconds, folder = self.options.audit
        if not seconds:
            return []
        parts = retention.Parts(self.issuer, self.store, self.master_key, self.vault, folder, self.clock)
        return [(retention.NAME, partial(Retention(parts).keep, seconds), retention.LOOK_SECONDS)]

    async def _note_key(self) -> None:
        await rotation.note(self.store, self.master_key, int(self.clock()))

    def admin(self, settings: Sequence[Setting], obstacles: Callable[[], Awaitable[list[str]]]) -> AdminContext:
        """Return the parts that the admin API works with."""
        return AdminContext(
            issuer=self.issuer,
            store=self.store,
            master_key=self.master_key,
            directory=self.directory,
            explainer=partial(
                build_explainer,
                issuer=self.issuer,
                store=self.store,
                master_key=self.master_key,
                options=self.options,
                trust_keys=self.trust_keys,
            ),
            calendar=self.options.calendar,
            vault=self.vault,
            limits=self.limits,
            methods=self.authenticator.methods,
            settings=settings,
            obstacles=obstacles,
            certificates=self.options.certificates,
            trust_keys=self.trust_keys,
            remote_keys=self.remote_keys,
            nonces=_nonces(self.master_key, self.options),
            ending=self.ending,
            board=self.board,
        )

    def _policy(self) -> Policy:
        chosen = self.options
        is_closed = partial(touches_admin, api=identifier(self.issuer))
        return Policy(
            tuple(name for name in self.authenticator.methods if name in names.REGISTRABLE_METHODS),
            chosen.demands,
            chosen.software_statement_issuers,
            chosen.jwks_uri_allowed,
            is_closed,
        )


def _routes(parts: _Parts, endpoints: Iterable[Endpoint], feed: RevocationFeed, health: site.Health) -> list[BaseRoute]:
    """Return the routes to what is published."""
    stubs = [site.Stub(parts.issuer)] if parts.options.authorization_endpoint == "on" else []
    document = partial(_document, parts, (*endpoints, feed, *stubs))
    age = parts.options.calendar.max_age
    return [
        *site.routes(parts.issuer, document=document, directory=parts.directory, max_age=age, health=health, feed=feed),
        *(route for stub in stubs for route in stub.routes()),
    ]


def _below(context: AdminContext, clock: Callable[[], float], *, admin: str, console: str | None) -> dict[str, Late]:
    """Return the applications below these paths."""
    loaded = {admin: Late(partial(_load_admin, context, clock))}
    if console is not None:
        loaded[console] = Late(partial(_load_console, context, clock))
    return loaded


def _load_admin(context: AdminContext, clock: Callable[[], float]) -> ASGIApp:
    from affiant.server.admin import app  # noqa: PLC0415 - this is loaded late

    return app.build(context, clock=clock)


def _load_console(context: AdminContext, clock: Callable[[], float]) -> ASGIApp:
    from affiant.server.console import app  # noqa: PLC0415 - this is loaded late

    return app.build(context, clock=clock)


async def _look_at_feeds(directory: Directory, feeds: FollowedFeeds) -> None:
    await feeds.look((await directory.federation()).trusts)


async def _document(parts: _Parts, mounted: Sequence[Endpoint | RevocationFeed | site.Stub]) -> dict[str, Any]:
    await parts.directory.refresh()
    said = [part.metadata() for part in mounted]
    keys = parts.directory.published_keys()
    return site.metadata(parts.issuer, said, keys=keys, mtls_url=parts.options.mtls_url)


def _fetches(fetch: Fetch | None) -> dict[str, Fetch | None]:
    """Return what fetches each kind of document, by the name of the kind."""
    return {"client_keys": fetch, "trust_keys": fetch, "feed": _for_feeds(fetch)}


def _for_feeds(fetch: Fetch | None) -> Fetch | None:
    """Return the same for feeds, which are larger than key sets."""
    return LateFetcher(fetch.allowed, "FEED") if isinstance(fetch, LateFetcher) else fetch


def build_explainer(
    *,
    issuer: str,
    store: Store,
    master_key: MasterKey,
    options: Options | None = None,
    trust_keys: TrustKeys | None = None,
) -> Explainer:
    """The same decisions without a commit, on a store that is open.

    Keys of trusts are those of the running server, or else fetched: an operator tries a token before a job sends one.
    """
    from affiant.server.explain.explainer import Explainer  # noqa: PLC0415 - no token needs it

    options = options or Options()
    # Whether a proof has the nonce of its time, and which proxy sent the request, cannot be known later. A captured
    # request is believed, and the certificate in its header with it.
    options = replace(options, dpop_nonces="off", certificates=options.certificates.believing_all())
    limits = Limits(Rates(), key=limits_key(master_key))
    trust_keys = trust_keys or TrustKeys(LateFetcher(options.jwks_uri_allowed))
    parts = _Parts(issuer, store, master_key, options, Vault(master_key), limits, time.time, None, trust_keys)
    return Explainer(issuer, parts.token_endpoint(), parts.directory, store)


def _nonces(master_key: MasterKey, options: Options) -> Nonces | None:
    # One key for every worker and node: they take each other's nonces, with no store between them.
    return Nonces(master_key.digest("dpop nonces")) if options.dpop_nonces == "on" else None


def _keeper(store: Store, vault: Vault, calendar: Calendar, clock: Callable[[], float]) -> Piece:
    async def keep() -> None:
        await signing_keys.keep(store, vault, now=int(clock()), calendar=calendar)

    return "signing keys", keep, signing_keys.KEEP_SECONDS


def limits_key(master_key: MasterKey) -> bytes:
    """Return the key of the rate limits: the same in every worker of one data folder, and secret."""
    return master_key.digest("rate limits")


@contextlib.asynccontextmanager
async def _life(
    parts: _Parts,
    background: Background,
    feed: RevocationFeed,
    at_end: Callable[[Callable[[], None]], None],
    _: Starlette,
) -> AsyncIterator[None]:
    await parts.store.open()
    await signing_keys.ensure(parts.store, parts.vault, now=int(parts.clock()))
    await parts.directory.refresh()
    stranger.prepare()
    try:
        async with background.running():
            at_end(feed.stop)
            at_end(parts.ending.set)
            yield
            feed.stop()
            parts.ending.set()
            await parts.remote_keys.close()
            await parts.trust_keys.close()
            await parts.feeds.close()
    finally:
        await parts.vault.close()
        await parts.store.close()
