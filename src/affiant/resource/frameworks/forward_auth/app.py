"""The application that proxies ask."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from affiant.errors import ConfigError
from affiant.oauth.binding.forwarded import Proxies
from affiant.oauth.parameters.need import Needed
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import NO_ROUTE, Denied
from affiant.resource.caller import Caller, headers_of
from affiant.resource.diagnosis.diagnosed import Diagnosed
from affiant.resource.diagnosis.metrics import CONTENT_TYPE
from affiant.resource.frameworks import routes as rules
from affiant.resource.frameworks.asgi import Receive, Send
from affiant.resource.frameworks.forward_auth import identity, request
from affiant.resource.frameworks.forward_auth.request import KINDS
from affiant.resource.frameworks.routes import PUBLIC
from affiant.resource.options import check_list
from affiant.telemetry.exposition import render

log: logging.Logger = logging.getLogger(__name__)

NO_CONTENT = 204
UNIX = "unix"  # a peer without an address
HEALTH, READY, METRICS = "/healthz", "/readyz", "/metrics"
UNTRUSTED = replace(NO_ROUTE, status=403, error="untrusted_proxy", body=b'{"error": "untrusted_proxy"}')


class ForwardAuth:
    """An ASGI application that answers 200 with the headers of `identity`, or with the whole refusal.

    Args:
        guard: checks the tokens. Its `url` is where callers reach the API.
        routes: what each route needs, as for `Guard.asgi`.
        proxy: the kind of proxy that asks: ``nginx``, ``caddy``, ``traefik`` or ``envoy``.
        trusted: addresses and networks of these proxies, and ``unix`` for peers on a Unix socket; any other peer is
            refused.

    Raises:
        ConfigError: the guard has no `url`, a route is none, the kind is unknown, or `trusted` is empty.
    """

    def __init__(
        self, guard: Diagnosed, routes: Mapping[str, Needed | None], *, proxy: str, trusted: Sequence[str]
    ) -> None:
        check_list("trusted", trusted)
        if guard.url is None:
            raise ConfigError("forward-auth needs a guard with url=: where callers reach the API")
        if proxy not in KINDS:
            raise ConfigError(f"proxy= is one of: {', '.join(KINDS)}")
        self._guard, self._kind, self._is_unix_trusted = guard, KINDS[proxy], UNIX in trusted
        self._trusted = Proxies.parse(",".join(one for one in trusted if one != UNIX))
        if not (self._trusted.networks or self._is_unix_trusted):
            raise ConfigError("trusted= is empty: write the addresses of the proxies that ask")
        self._find_need = rules.finder(need=(), public=(), routes=routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a proxy that asks about a request, or a probe."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"forward-auth knows no ASGI scope of type {scope['type']!r}")
        status, headers, body = await self._answer(scope)
        fields = {**headers, "Content-Length": str(len(body))} if status != NO_CONTENT else headers
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._guard.warm_up()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    def _measured(self, scope: Scope) -> tuple[int, Mapping[str, str], bytes]:
        if self._guard.telemetry is None:
            return 200, {"Content-Type": CONTENT_TYPE}, self._guard.metrics().text().encode()
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"").decode("latin-1")
        page = render(self._guard.telemetry, accept)
        return 200, {"Content-Type": page.media_type}, page.text

    async def _answer(self, scope: Scope) -> tuple[int, Mapping[str, str], bytes]:
        if scope["path"] == HEALTH:
            return 200, {}, b""
        if scope["path"] == READY:
            readiness = self._guard.readiness()
            return readiness.status, readiness.headers, readiness.body
        if scope["path"] == METRICS:
            return self._measured(scope)
        published = self._guard.published
        if published is not None and scope["path"] == published.path:
            return published.answer_text(scope["method"])
        caller = await self._judge(scope)
        if isinstance(caller, Denied):
            return caller.status, caller.headers, caller.body
        more = headers_of(caller) if caller is not None else {}
        return 200, {"Cache-Control": "no-store", **identity.build(caller), **more}, b""

    async def _judge(self, scope: Scope) -> Caller | Denied | None:
        """Return the caller, None on a public route, or the refusal."""
        peer = scope["client"][0] if scope.get("client") else None
        if not (self._trusted.has(peer) if peer is not None else self._is_unix_trusted):
            log.info("refused: the peer %s is not a trusted proxy", peer)
            return UNTRUSTED
        if identity.is_forged(name for name, _ in scope["headers"]):
            log.info("refused: the client sent a header that is the guard's, with an underscore")
            return request.MISSTATED
        asked = request.read(scope, self._kind)
        if isinstance(asked, Denied):
            log.info(
                "refused: %s: the request is not described, twice described, or has no single reading", asked.error
            )
            return asked
        need = self._find_need(asked["method"], asked["path"], asked["raw_path"].decode("ascii"))
        if isinstance(need, Denied):
            log.info("refused: no route is named for this %s", asked["method"])
        if need is PUBLIC or isinstance(need, Denied):
            return need
        return await self._guard.check_scope(asked, need=need)
