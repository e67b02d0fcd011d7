"""A real authorization server in this process: no socket, no file, and the time that the test sets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self, TypedDict, Unpack

import httpx2
from starlette.applications import Starlette

from affiant.jose import compact
from affiant.jose import keys as jose_keys
from affiant.jose.keys import PrivateKey, PublicKey, SecretKey
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.server import app
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault, signing_key_purpose
from affiant.server.registration import initial_tokens
from affiant.server.registry import clients
from affiant.server.registry.key_cache import Fetch
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.server.settings.options import Options
from affiant.storage.memory import MemoryStore
from affiant.storage.ports import Store
from affiant.storage.records import Api, Client
from affiant.testing import messages
from affiant.testing.clock import Clock
from affiant.testing.messages import ISSUER, KEY

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
UNLIMITED = Rates(failures=Rate(0, 1.0), tokens=Rate(0, 1.0))
_TIMEOUT = 10  # seconds, for a thread that asks the server


class ClientMembers(TypedDict, total=False):
    """The members of a client, by the names of RFC 7591 section 2 where it has one.

    `scope` is a tuple of names, those of the default API when left out; `resources` of API identifiers. `enabled` is
    False for a client that an operator has disabled.
    """

    jwks_uri: str
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    grant_types: tuple[str, ...]
    introspects: tuple[str, ...]
    authorization_details_types: tuple[str, ...]
    token_endpoint_auth_signing_alg: str | None
    tls_subject: tuple[str, str] | None
    dpop_bound_access_tokens: bool
    tls_client_certificate_bound_access_tokens: bool
    access_token_lifetime: int
    client_name: str
    profile: str | None
    audience_policy: str
    typ_policy: str
    lifetime_policy: str
    jti_policy: str
    subject_policy: str
    observe: tuple[str, ...]
    kind: str
    owner: str | None
    token_budget: int | None
    budget: str
    blueprint: str | None
    delegates_to: tuple[str, ...] | None
    enabled: bool
    team: str | None
    contact: str | None
    labels: tuple[str, ...]
    administers: tuple[str, ...]


class Server:
    """An authorization server, and what a test needs to talk to it. Make one with `in_process`.

    Attributes:
        issuer: its issuer identifier.
        app: the ASGI application.
        http: an httpx2.AsyncClient whose requests reach this server, whatever their host.
        store: its storage, to look into or to change.
        clock: its time.
        master_key: what its secrets are sealed with.
        secrets: the client secrets that it made, by client_id.
        signers: what signs each client's assertions, by client_id.
    """

    def __init__(
        self,
        built: Starlette,
        http: httpx2.AsyncClient,
        *,
        issuer: str,
        store: Store,
        master_key: MasterKey,
        clock: Clock,
    ) -> None:
        self.issuer: str = issuer
        self.app: Starlette = built
        self.http: httpx2.AsyncClient = http
        self.store: Store = store
        self.master_key: MasterKey = master_key
        self.clock: Clock = clock
        self.secrets: dict[str, str] = {}
        self.signers: dict[str, Signer] = {}
        self._loop = asyncio.get_running_loop()

    @classmethod
    @asynccontextmanager
    async def in_process(
        cls,
        *,
        issuer: str = ISSUER,
        store: Store | None = None,
        clock: Clock | None = None,
        options: Options | None = None,
        rates: Rates = UNLIMITED,
        fetch: Fetch | None = None,
        vault: Vault | None = None,
    ) -> AsyncIterator[Self]:
        """Start a server, and stop it at the end of the `async with`.

        It begins without clients and APIs. What is added is seen by the next request.

        Args:
            issuer: its issuer identifier; nothing listens there.
            store: its storage; in memory when left out.
            clock: its time; one that stays at NOW when left out.
            options: what an operator chooses.
            rates: how often clients may ask and fail; unlimited when left out.
            fetch: gets the key sets that clients publish.
            vault: keeps the server's own keys; under the master key when left out.
        """
        store, clock = store or MemoryStore(), clock or Clock()
        master_key = MasterKey.from_bytes(bytes(range(32)))
        built = app.build(
            issuer=issuer,
            store=store,
            master_key=master_key,
            options=replace(options or Options(), fresh_seconds=0.0),
            limits=Limits(rates, key=bytes(32)),
            clock=clock,
            fetch=fetch,
            vault=vault,
        )
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=built), base_url=issuer)
        async with built.router.lifespan_context(built), http:
            yield cls(built, http, issuer=issuer, store=store, master_key=master_key, clock=clock)

    def blocking_http(self) -> httpx2.Client:
        """Return a blocking HTTP client whose requests reach this server: for `Service(http=...)`.

        Use it from another thread than the server's, as `Service.atoken` does.
        """
        return httpx2.Client(transport=_Bridge(self.app, self._loop), base_url=self.issuer)

    async def add_api(
        self,
        identifier: str,
        *,
        name: str = "api",
        scope: tuple[str, ...] = (),
        is_default: bool = False,
        authorization_details_types: tuple[str, ...] = (),
        signing_alg: str | None = None,
        access_token_lifetime: int | None = None,
        access_token_typ: str = names.ACCESS_TOKEN_TYP,
    ) -> None:
        """Register an API.

        Args:
            identifier: what tokens for it have as `aud`.
            name: what people call it; it is unique.
            scope: the names that it knows.
            is_default: whether tokens are for it when a request names no API.
            authorization_details_types: the types that it understands (RFC 9396).
            signing_alg: what tokens for it are signed with; the server's choice when left out.
            access_token_lifetime: seconds; the server's setting when left out.
            access_token_typ: of the header of tokens for it.
        """
        api = Api(
            identifier,
            name,
            scope,
            is_default,
            int(self.clock),
            signing_alg,
            authorization_details_types,
            access_token_lifetime,
            access_token_typ,
        )
        await self.store.apis.add(api)

    async def add_client(
        self,
        client_id: str,
        token_endpoint_auth_method: str = names.PRIVATE_KEY_JWT,
        *,
        key: PrivateKey | None = None,
        keys: tuple[PublicKey, ...] | None = None,
        **members: Unpack[ClientMembers],
    ) -> None:
        """Register a client; its secret, where it has one, is then in `secrets`.

        Args:
            client_id: its name.
            token_endpoint_auth_method: how it authenticates.
            key: its public half is registered, and `assertion` signs with it; KEY for private_key_jwt when left out.
            keys: the public keys to register, if not that of `key` alone.
            members: what else it is registered with: see ClientMembers.
        """
        signer: Signer = key or KEY
        if keys is None:
            has_others = "jwks_uri" in members or members.get("blueprint") is not None
            needs_key = token_endpoint_auth_method == names.PRIVATE_KEY_JWT and not has_others
            keys = ((key or KEY).public(),) if needs_key else ()
        if "scope" not in members and (default := await self.store.apis.default()):
            members["scope"] = default.scopes
        wanted = Client(client_id, token_endpoint_auth_method, **members)
        made = clients.build(wanted, keys=keys, master_key=self.master_key, now=int(self.clock))
        await self.store.clients.add(made.client)
        if made.client_secret is not None:
            self.secrets[client_id] = made.client_secret
            signer = SecretKey(made.client_secret.encode(), made.client.token_endpoint_auth_signing_alg or "HS256")
        self.signers[client_id] = signer

    async def invite(
        self,
        *,
        scope: tuple[str, ...] = (),
        resources: tuple[str, ...] = (),
        authorization_details_types: tuple[str, ...] = (),
        uses: int = 1,
        lifetime: int = 3600,
    ) -> str:
        """Return an initial access token, with which clients register themselves (RFC 7591 section 3).

        Args:
            scope: the names that a client may register for.
            resources: the APIs that a client may register for; empty for the default one.
            authorization_details_types: the types that a client may register for.
            uses: how many clients it lets in.
            lifetime: seconds.
        """
        _, text = await initial_tokens.issue(
            self.store,
            self.master_key,
            scope=scope,
            resources=resources,
            lifetime_seconds=lifetime,
            uses=uses,
            now=int(self.clock),
            types=authorization_details_types,
        )
        return text

    def assertion(
        self,
        client_id: str | None = None,
        /,
        *,
        key: Signer | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Build a client assertion for this server, at its time; see `affiant.testing.assertion`.

        Args:
            client_id: the client; the one that was added first when left out.
            key: what signs; what the client was registered with when left out.
            header: members of the header.
            claims: claims to set instead; ABSENT leaves one out.
        """
        client_id = client_id or next(iter(self.signers))
        key = key or self.signers.get(client_id, KEY)
        return messages.assertion(client_id, key=key, issuer=self.issuer, now=self.clock.now, header=header, **claims)

    def form(self, client_assertion: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Build the form of a token request with these parameters changed.

        Args:
            client_assertion: authenticates the client; a new one of the first client when left out.
            parameters: parameters to set instead or to add; ABSENT leaves one out.
        """
        return messages.form(self.assertion() if client_assertion is None else client_assertion, **parameters)

    async def post(
        self, form: Mapping[str, Any], *, path: str = "/token", headers: Headers | None = None
    ) -> httpx2.Response:
        """Send a form to the token endpoint, or to another."""
        return await self.http.post(self.issuer + path, data=dict(form), headers=headers)

    async def token(self, client_id: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Return the members of the token answer to this client.

        Args:
            client_id: the client; the one that was added first when left out.
            parameters: of the form, such as `scope` and `resource`.

        Raises:
            AssertionError: the server refused; the message is its answer.
        """
        reply = await self.post(messages.form(self.assertion(client_id), **parameters))
        assert reply.status_code == httpx2.codes.OK, reply.text
        members: dict[str, Any] = reply.json()
        return members

    async def signing_key(self) -> PrivateKey:
        """Return the newest key that the server signs access tokens with."""
        record = (await self.store.signing_keys.list())[-1]
        assert record.sealed is not None
        plain = self.master_key.unseal(record.sealed, purpose=signing_key_purpose(record.kid))
        return jose_keys.parse_private_jwk(json.loads(plain))

    async def access_token(
        self, *, header: Mapping[str, Any] | None = None, key: Signer | None = None, **claims: Any
    ) -> str:
        """Sign an access token with any claims, as no request could obtain it: expired, for another API, ...

        Args:
            header: members of the header to set instead; ABSENT leaves one out.
            key: signs in place of the server's own key.
            claims: claims to set instead, such as `aud`, `scope` and `exp`; ABSENT leaves one out.
        """
        now = int(self.clock)
        given = {
            "iss": self.issuer,
            "sub": "client",
            "client_id": "client",
            "exp": now + 600,
            "iat": now,
            "jti": "token",
        }
        headers = messages.changed({"typ": names.ACCESS_TOKEN_TYP}, header or {})
        return compact.sign(headers, messages.changed(given, claims), key or await self.signing_key())


class _Bridge(httpx2.BaseTransport):
    """Carry requests of a thread to the event loop of the server."""

    def __init__(self, application: Starlette, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = httpx2.ASGITransport(app=application)
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return asyncio.run_coroutine_threadsafe(self._ask(request), self._loop).result(_TIMEOUT)

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        reply = await self._transport.handle_async_request(request)
        return httpx2.Response(reply.status_code, headers=reply.headers, content=await reply.aread())
