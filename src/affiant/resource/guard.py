"""The guard that an API puts in front of its routes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from wsgiref.types import WSGIApplication

from affiant.errors import ConfigError
from affiant.jose.algorithms import ASYMMETRIC
from affiant.jose.claims import LEEWAY
from affiant.oauth import bearer
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import AnyOf, Needed
from affiant.resource import frameworks, options
from affiant.resource.credentials.api_keys import ApiKeys
from affiant.resource.diagnosis.diagnosed import Diagnosed
from affiant.resource.frameworks import asgi, wsgi
from affiant.resource.frameworks.forward_auth import ForwardAuth
from affiant.resource.issuer import trust
from affiant.resource.issuer.introspect import Introspection
from affiant.resource.issuer.remote import Http
from affiant.resource.issuer.trust import Issuer, Trusted
from affiant.resource.metadata import ResourceMetadata
from affiant.resource.replays.store import ReplayStore
from affiant.telemetry.tracing import traces as tracing
from affiant.telemetry.tracing.traces import Traces

if TYPE_CHECKING:  # only some APIs have these frameworks
    from affiant.resource.frameworks import aiohttp, fastapi, flask, litestar, starlette
    from affiant.resource.frameworks.django import rest_framework
    from affiant.resource.frameworks.rpc.grpc import AioGuardInterceptor, GuardInterceptor
    from affiant.resource.frameworks.rpc.mcp import GuardTokenVerifier
    from affiant.telemetry import Telemetry


class Guard(Diagnosed):
    """Checks access tokens for one API.

    Args:
        issuer: the only issuer whose tokens are accepted, exactly as its metadata spell it. An `Issuer` for one whose
            tokens are not of RFC 9068, and a list for several: the options below that are about an issuer are then
            those of each `Issuer`.
        audience: the identifier of this API, or a list if it has several: a token must be for one of them. Challenges
            and metadata have the first. There is no default: a guard that accepts any audience protects nothing.
        algorithms: of the tokens' signatures (RFC 7518 names); asymmetric ones only. For one issuer.
        realm: for the challenge; the audience if left out.
        dpop: ``optional`` (bearer tokens, and bound ones with their proof), or ``required`` (only the latter).
        url: where callers reach this API, before the path, such as ``https://api.example``: the address in proofs. If
            left out, the scheme and Host of each request, which behind a proxy are different.
        certificate_proxies: addresses and networks of the proxies that end TLS and send the client's certificate in a
            header; from any other peer that header is ignored.
        certificate_header: its format: ``rfc9440`` (Client-Cert), ``nginx`` (ssl-client-cert) or
            ``nginx:HEADER-NAME``, ``xfcc`` (Envoy), ``alb`` or ``alb-passthrough``.
        proof_algorithms: of the proofs' signatures; every challenge lists them.
        nonce_key: at least 16 secret bytes, the same in every process of this API; proofs must then have a nonce.
        replays: where all processes of this API remember used proofs: ``SqliteReplays`` or ``RedisReplays`` of
            affiant.resource.replays, or another `ReplayStore`. If left out, each process remembers its own, and accepts
            a proof once.
        metadata: of this API, to be published (RFC 9728); every challenge then has their URL.
        revocations: ``optional`` (tokens that the issuer revoked are rejected within seconds, if it publishes its
            revocations; while it is unreachable, the last known ones count), ``required`` (all tokens are rejected when
            those are older than 30 seconds) or ``off``. For one issuer.
        introspection: how to ask the issuer about each token; all tokens are rejected while it does not answer. For one
            issuer.
        http: an httpx2.AsyncClient for requests to the issuer, and for nothing else: the event loop that first checks a
            token makes them all. When that loop ends, what must be fetched is refused with 503. If left out, the thread
            of the guards makes the requests, whatever loops come and go; so it does with a function that makes a
            client, which it calls each time that it connects.
        clock: seconds since the epoch.
        leeway: seconds by which the clocks of the issuer and this API may differ, at most 300.
        api_keys: API keys that are taken next to tokens, until every client has tokens.
        traces: traces each check, in the caller's trace (`affiant.telemetry.Traces`).
        development: True sends callers the reason of a refusal; otherwise only the log has it.
        telemetry: measures each check, with those of other guards and services that have the same one.

    Raises:
        ConfigError: no audience, an impossible issuer, a symmetric algorithm, or a wrong URL.
    """

    def __init__(
        self,
        issuer: str | Issuer | Sequence[str | Issuer],
        *,
        audience: str | Sequence[str],
        algorithms: Sequence[str] | None = None,
        realm: str | None = None,
        dpop: str = "optional",
        proof_algorithms: Sequence[str] = ASYMMETRIC,
        url: str | None = None,
        certificate_proxies: Sequence[str] = (),
        certificate_header: str = "rfc9440",
        nonce_key: bytes | None = None,
        replays: ReplayStore | None = None,
        metadata: ResourceMetadata | None = None,
        revocations: str | None = None,
        introspection: Introspection | None = None,
        http: Http | None = None,
        clock: Callable[[], float] = time.time,
        leeway: int = LEEWAY,
        api_keys: ApiKeys | None = None,
        traces: Traces | None = None,
        development: bool = False,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._made_with = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        issuers = trust.parse(issuer, algorithms=algorithms, revocations=revocations, introspection=introspection)
        audiences = options.check_audiences(audience)
        rules = options.rules([*map(_name, issuers)], audiences[0], leeway, dpop, proof_algorithms, nonce_key)
        super().__init__(
            rules,
            [trust.trust(one, audiences, http=http, clock=clock) for one in issuers],
            url=options.base(url),
            proxies=options.proxies(certificate_proxies, certificate_header),
            challenges=options.challenges(rules, realm, metadata, api_keys, is_development=development),
            clock=clock,
            replays=options.check_store(replays),
            api_keys=options.check_api_keys(api_keys, rules),
        )
        self.measure(telemetry, tracing.check(traces))

    @contextmanager
    def unsafe_replaced(self, **options: Any) -> Iterator[list[Trusted]]:
        """Be a new guard with these options changed, for as long as the context lasts: the way in of affiant.testing.

        Routes and middleware keep this object, and what it publishes stays. What it knows of its issuer is put away,
        and is back at the end.
        """
        issuer = trust.faked(self._made_with["issuer"])  # made with: the arguments by name
        before, made = self.__dict__, Guard(**{**self._made_with, "issuer": issuer, "telemetry": None, **options})
        self.__dict__ = {**before, **made.__dict__, **_published(before)}
        try:
            yield list(self._trusted.values())
        finally:
            self.__dict__ = {**self.__dict__, **before, **_published(self.__dict__)}

    def __call__(self, *scopes: str | AnyOf) -> fastapi.Needed:
        """Return what a route of FastAPI needs: ``caller: Annotated[Caller, guard("orders.read")]``.

        It also goes into ``dependencies=[guard("orders.read")]`` of a router or an application, into ``Depends`` and
        ``Security``, and it is the key for ``app.dependency_overrides``. A refused request or WebSocket gets the exact
        status and challenge, and after `install` the exact body; a WebSocket is closed with 1008, unaccepted, where the
        server cannot send a response.
        """
        from affiant.resource.frameworks import fastapi  # noqa: PLC0415 - only APIs with FastAPI have it

        return fastapi.Needed(self, *scopes)

    def asgi(
        self,
        app: asgi.App,
        routes: Mapping[str, Needed | None] | None = None,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
    ) -> asgi.GuardMiddleware:
        """Return an ASGI application behind this guard: ``guard.asgi(app, {"GET /orders*": "orders.read"})``."""
        return asgi.GuardMiddleware(app, self, need=need, public=public, routes=routes)

    def wsgi(
        self,
        app: WSGIApplication,
        routes: Mapping[str, Needed | None] | None = None,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
    ) -> wsgi.GuardWsgiMiddleware:
        """Return a WSGI application behind this guard: ``guard.wsgi(app, {"GET /orders*": "orders.read"})``."""
        return wsgi.GuardWsgiMiddleware(app, self, need=need, public=public, routes=routes)

    def flask(self, *scopes: str | AnyOf) -> flask.Required:
        """Return a decorator for views of Flask: ``@guard.flask("orders.read")``, below the route's.

        The caller is in ``flask.g.caller``. A refused request gets the exact status and challenge. For all views of a
        blueprint: ``blueprint.before_request(guard.flask("orders.read").check)``.
        """
        from affiant.resource.frameworks import flask  # noqa: PLC0415 - only APIs with Flask have it

        return flask.Required(self, needs.all_of("scopes", *scopes))

    def django(self, *scopes: str | AnyOf) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator for views of Django: ``@guard.django("orders.read")``; with ``method_decorator``, too.

        The caller is in ``request.caller``. A refused request gets the exact status and challenge. The view needs no
        CSRF token, since the guard refuses a request without an access token. For a whole project there is the
        middleware ``affiant.resource.frameworks.django.GuardMiddleware``.
        """
        from affiant.resource.frameworks.django import views  # noqa: PLC0415 - only APIs with Django have it

        return views.decorator(self, needs.all_of("scopes", *scopes))

    @cached_property
    def rest_framework(self) -> rest_framework.RestFramework:
        """Classes for Django REST framework.

        ``authentication_classes = [guard.rest_framework.authentication]``, and
        ``permission_classes = [guard.rest_framework.scope("orders.read")]``.
        """
        from affiant.resource.frameworks.django import rest_framework  # noqa: PLC0415 - only such APIs have it

        return rest_framework.RestFramework(self)

    def starlette(self, *scopes: str | AnyOf) -> starlette.Decorator:
        """Return a decorator for endpoints of Starlette: ``@guard.starlette("orders.read")``.

        An endpoint is a function, a method of a class, or a class, for HTTP or a WebSocket. ``request.user.caller`` is
        the caller, and ``request.auth.scopes`` has the scopes. A refused request gets the exact status and challenge.
        """
        from affiant.resource.frameworks import starlette  # noqa: PLC0415 - only APIs with Starlette have it

        return starlette.guarded(self, needs.all_of("scopes", *scopes))

    def install(self, app: object) -> None:
        """Prepare an application for this guard, once, before it starts.

        It serves the metadata of the API; without `metadata=` these are the identifier and the issuer. It answers each
        refusal exactly. It fetches the keys of the issuer when it starts, in Flask with its first request. A proxy must
        pass the path of the metadata on to it.

        Raises:
            ConfigError: the application is of no framework that has this.
        """
        frameworks.install(self, app)

    def mcp(self) -> GuardTokenVerifier:
        """Return a verifier for an MCP server: ``MCPServer("tools", token_verifier=guard.mcp(), auth=...)``.

        The scopes are in `auth`. Bound tokens are refused: a verifier never sees the proof, which `asgi` does.

        Raises:
            ConfigError: this guard takes bound tokens only.
        """
        from affiant.resource.frameworks.rpc import mcp  # noqa: PLC0415 - only MCP servers have it

        if bearer.BEARER not in self._rules.schemes:
            raise ConfigError("this guard takes bound tokens only, and a verifier never sees a proof: use guard.asgi()")
        return mcp.GuardTokenVerifier(self)

    def aiohttp(
        self,
        routes: Mapping[str, Needed | None] | None = None,
        *,
        need: Needed = (),
        public: Sequence[str] = (),
    ) -> aiohttp.GuardMiddleware:
        """Return middleware: ``web.Application(middlewares=[guard.aiohttp({"GET /orders*": "orders.read"})])``."""
        from affiant.resource.frameworks import aiohttp  # noqa: PLC0415 - only APIs with aiohttp have it

        return aiohttp.GuardMiddleware(self, need=need, public=public, routes=routes)

    def litestar(self, *scopes: str | AnyOf) -> litestar.RouteGuard:
        """Return a guard of Litestar, for any layer: ``@get("/orders", guards=[guard.litestar("orders.read")])``.

        The caller is then ``request.user``. The application needs ``guard.install(app)``, too.
        """
        from affiant.resource.frameworks import litestar  # noqa: PLC0415 - only APIs with Litestar have it

        return litestar.RouteGuard(self, needs.all_of("scopes", *scopes))

    def grpc(self, methods: Mapping[str, Needed | None]) -> GuardInterceptor:
        """Return an interceptor: ``grpc.server(pool, interceptors=[guard.grpc({"/shop.Orders/*": "orders.read"})])``.

        A call that no rule names is refused. Tokens that are bound to a key by DPoP are refused as well.

        Raises:
            ConfigError: a rule is none, or this guard takes tokens with DPoP only.
        """
        from affiant.resource.frameworks.rpc import grpc  # noqa: PLC0415 - only APIs with gRPC have it

        return grpc.GuardInterceptor(self._bearer(), methods)

    def grpc_aio(self, methods: Mapping[str, Needed | None]) -> AioGuardInterceptor:
        """Return an interceptor for ``grpc.aio.server``, as `grpc` does for servers with threads."""
        from affiant.resource.frameworks.rpc import grpc  # noqa: PLC0415 - only APIs with gRPC have it

        return grpc.AioGuardInterceptor(self._bearer(), methods)

    def _bearer(self) -> Guard:
        """Return this guard if it takes tokens without a proof, or raise ConfigError."""
        if bearer.BEARER not in self._rules.schemes:
            raise ConfigError("this guard takes tokens with a DPoP proof only, and a call of gRPC carries none")
        return self

    def forward_auth(self, routes: Mapping[str, Needed | None], *, proxy: str, trusted: Sequence[str]) -> ForwardAuth:
        """Return an ASGI application that nginx, Caddy, Traefik or Envoy ask about each request to an API.

        `trusted` has the addresses from which such proxies ask. `affiant guard serve` runs it.
        """
        return ForwardAuth(self, routes, proxy=proxy, trusted=trusted)


def _published(state: dict[str, Any]) -> dict[str, Any]:
    """Return what `install` changes in a guard."""
    return {name: state[name] for name in ("published", "_challenges")}


def _name(issuer: Issuer) -> str:
    return issuer.identifier
