"""Service: the tokens of a registered service, and its `auth` for an HTTP client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from affiant.client.cache.breaker import Breaker
from affiant.client.cache.token_source import TokenSource
from affiant.client.grants import OtherGrants
from affiant.client.protocol import options
from affiant.client.token import Token, TokenKey
from affiant.errors import LocalError, Refused, RemoteError
from affiant.system.later import Later
from affiant.system.remembered import Remembered

if TYPE_CHECKING:  # a program imports Service in half the time: the first one that is made loads the rest
    import ssl
    from pathlib import Path
    from typing import Unpack

    import httpx2

    from affiant.client import events, spans
    from affiant.client.cache import owner
    from affiant.client.cache.sharing import Sharing
    from affiant.client.credentials import environment, own_key, rotating, search, workload
    from affiant.client.credentials import file as credentials_file
    from affiant.client.credentials.file import Credentials
    from affiant.client.http import auth as http_auth
    from affiant.client.protocol import auth as client_auth
    from affiant.client.protocol import connection, credential, flow, server, transport
    from affiant.client.protocol.options import Options
    from affiant.jose.keys import PrivateKey
    from affiant.jose.signer import AnySigner
    from affiant.oauth import token as token_messages
    from affiant.oauth.metadata import Metadata
    from affiant.oauth.token import TokenResponse
    from affiant.telemetry.tracing import traces as tracing
    from affiant.telemetry.tracing.traces import Traces
else:
    client_auth = Later("affiant.client.protocol.auth")
    connection = Later("affiant.client.protocol.connection")
    credential = Later("affiant.client.protocol.credential")
    credentials_file = Later("affiant.client.credentials.file")
    environment = Later("affiant.client.credentials.environment")
    events = Later("affiant.client.events")
    flow = Later("affiant.client.protocol.flow")
    http_auth = Later("affiant.client.http.auth")
    own_key = Later("affiant.client.credentials.own_key")
    rotating = Later("affiant.client.credentials.rotating")
    search = Later("affiant.client.credentials.search")
    workload = Later("affiant.client.credentials.workload")
    owner = Later("affiant.client.cache.owner")
    server = Later("affiant.client.protocol.server")
    spans = Later("affiant.client.spans")
    token_messages = Later("affiant.oauth.token")
    tracing = Later("affiant.telemetry.tracing.traces")
    transport = Later("affiant.client.protocol.transport")

_OFFSETS = Remembered["flow.Offset"]()
_BREAKERS = Remembered[Breaker]()


class Service(OtherGrants):
    """A service that is registered at an authorization server.

    Args:
        issuer: the server's issuer identifier; its metadata must name the same (RFC 8414 section 3.3).
        client_id: of this service.
        key: signs the assertions: a private key as PEM, PKCS #12, JWK or JWK Set, the path of a file with one,
            ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/USER``, a private key of the package cryptography, the name
            of a key in a KMS such as ``awskms:alias/billing``, or any Signer. Its sign() may be asynchronous; it then
            runs on an event loop of its own.
        secret: a client secret instead of a key.
        auth_method: how the secret is sent; client_secret_basic if left out.
        alg: the algorithm (RFC 7518), if the key does not name one.
        kid: for the header; the key's own, or its thumbprint, if left out.
        scope: requested when a call names none.
        resource: requested when a call names none (RFC 8707).
        dpop: True binds every token to a new key of this object (RFC 9449); a private key, as PEM or JWK or the path of
            a file with either, binds them to that, so that several processes can use one token.
        certificate: the file of a certificate, PEM, for mutual TLS (RFC 8705): to authenticate with, or to bind tokens
            to.
        certificate_key: the file of its private key, PEM, if that is another file.
        http: an httpx2.Client to use instead of one of its own.
        clock: seconds since the epoch.
        token_endpoint: of a server without metadata, which is then not discovered; `issuer` may be any identifier.
        reach: where the server is reached, such as ``https://as.internal:8377``, if that is not where its issuer says.
            It replaces scheme, host and port of the issuer's addresses; the audience stays as it is.
        unsafe_reach: the same, and http is allowed. Attack: a machine between the two answers in the server's place.
        unsafe_http: True lets `token_endpoint` be http on another machine. Attack: a machine in between has the tokens.
        unsafe_audience: `aud` of the assertions, for a server that refuses its issuer: ``token_endpoint``, another URL,
            or ``fallback``, which tries the endpoint after the issuer was refused as audience, at most once in a
            minute. Attack: a server that the client trusts names another one's endpoint as its own, and uses the
            assertion there (draft-ietf-oauth-rfc7523bis, "audience injection"). Register a key of its own at such a
            server.
        profile: the rules of a field: smart, nhs, maskinporten, fapi, google or salesforce.
        grant: ``jwt-bearer`` sends the assertion as the grant (RFC 7523 section 2.1); client_credentials if left out.
        subject: the account that a jwt-bearer grant is for; the client_id if left out.
        header: more members for the header of assertions, such as ``x5c``, or a function that returns them.
        claims: more claims for assertions, or a function that returns them.
        lifetime: of each assertion, in seconds; 60 if left out, or what the profile says.
        on_event: called with each `Event`, by the thread in which it happens; it must not block. An exception in it is
            logged, and fails no call.
        telemetry: a `Telemetry`, which counts the token requests of all services and guards that have the same one.
        traces: traces the token requests, and sends the trace with requests to APIs, too (`affiant.telemetry.Traces`).
        key_password: of an encrypted key; else AFFIANT_KEY_PASSWORD, or the file that AFFIANT_KEY_PASSWORD_FILE names.
        store: shares the tokens with other processes of this client (`TokenStore`); in memory alone if left out. A
            token that is bound to a key or a certificate is shared with processes that have the same one: not to be
            used with an `http` that has a certificate.

    Raises:
        LocalError: a key or the secret cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        *,
        key: AnySigner | dict[str, Any] | str | bytes | Path | None = None,
        secret: str | None = None,
        auth_method: str | None = None,
        alg: str | None = None,
        kid: str | None = None,
        scope: str | None = None,
        resource: str | None = None,
        dpop: PrivateKey | dict[str, Any] | str | bytes | Path | bool = False,
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        http: httpx2.Client | None = None,
        clock: Callable[[], float] = time.time,
        **more: Unpack[Options],
    ) -> None:
        options.check(more)
        self.issuer: str = issuer
        self.client_id: str = client_id
        self._scope, self._resource = scope, resource
        self._clock = clock
        self._shape = credential.make_shape(more, kid)
        given = (key, secret, auth_method, alg, kid, self._shape, more.get("key_password"))
        self._auth = credential.make_auth(*given)
        self._rotating = rotating.follow_key(key, lambda: credential.make_auth(*given))
        self._connection = connection.Connection(
            http, certificate=certificate, certificate_key=certificate_key, auth_method=auth_method
        )
        is_by_tls = certificate is not None or isinstance(self._auth, client_auth.OverTls)
        self._server = server.Server(issuer, more, self._shape.profile, is_by_tls=is_by_tls)
        self._prover = credential.make_prover(dpop, clock)
        self._check_binding(is_by_tls=is_by_tls)
        self._announce, self._traces = self._observers(more)
        self._offset, breaker = self._in_common(more)
        fetch = self._announce.watch(self._fetch, self._offset) if self._announce is not None else self._fetch
        sharing = self._share(more, has_new_key=dpop is True)
        self._source = TokenSource(fetch, clock, self._announce, sharing, breaker)

    def _observers(self, more: Options) -> tuple[events.Announcer | None, Traces | None]:
        """Return what the caller wants to hear of, and what traces it."""
        on_event, telemetry, traces = more.get("on_event"), more.get("telemetry"), more.get("traces")
        announce = events.make_announcer(self.issuer, self.client_id, on_event, telemetry=telemetry)
        return announce, tracing.check(traces) if traces is not None else None

    def _in_common(self, more: Options) -> tuple[flow.Offset, Breaker]:
        """Return what every object of this process learned of the server, and how it answers this client."""
        place = self.issuer, more.get("token_endpoint"), self._server.reach, self._clock, self._connection.way
        offset = _OFFSETS.get(place, lambda: flow.Offset())  # noqa: PLW0108 - flow is loaded later
        return offset, _BREAKERS.get((*place, self.client_id), lambda: Breaker(self._clock))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Service holds a key and is not pickled: make it where it is used")

    def __repr__(self) -> str:
        return f"Service({self.issuer!r}, {self.client_id!r})"

    @classmethod
    def from_credentials(
        cls,
        path: str | Path | Credentials | None = None,
        *,
        dpop: PrivateKey | dict[str, Any] | str | bytes | Path | bool = False,
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        http: httpx2.Client | None = None,
        clock: Callable[[], float] = time.time,
        **more: Unpack[Options],
    ) -> Service:
        """Return the service of a credentials file: the argument, or the first that `affiant who` finds.

        Those are, in order: AFFIANT_CREDENTIALS (a path, or the JSON itself); AFFIANT_CLIENT_ID and its siblings (see
        `from_env`); affiant or affiant.json in $CREDENTIALS_DIRECTORY and in /run/secrets; and the one file
        *.affiant.json in $XDG_CONFIG_HOME/affiant. When the server answers invalid_client, the file is read once more:
        its key may have been rotated since. The other arguments are those of Service, and replace what the file says.

        Raises:
            LocalError: there is none, or it cannot be used.
        """
        found = path if isinstance(path, credentials_file.Credentials) else search.find(path)
        chosen: Options = {**found.options, **more}
        made = cls(
            found.issuer,
            found.client_id,
            key=own_key.locate(found),
            secret=found.client_secret,
            auth_method=found.auth_method,
            alg=found.alg,
            kid=found.kid,
            scope=found.scope,
            resource=found.resource,
            dpop=dpop,
            certificate=found.certificate if certificate is None else certificate,
            certificate_key=found.certificate_key if certificate_key is None else certificate_key,
            http=http,
            clock=clock,
            **chosen,
        )
        if not isinstance(path, credentials_file.Credentials):
            make = partial(credential.make_auth, shape=made._shape, password=more.get("key_password"))
            made._rotating = rotating.follow_credentials(path, found, make)
        return made

    @classmethod
    def from_env(
        cls,
        *,
        dpop: PrivateKey | dict[str, Any] | str | bytes | Path | bool = False,
        certificate: str | Path | None = None,
        certificate_key: str | Path | None = None,
        http: httpx2.Client | None = None,
        clock: Callable[[], float] = time.time,
        **more: Unpack[Options],
    ) -> Service:
        """Return the service that the environment describes.

        Its variables are AFFIANT_ISSUER, AFFIANT_CLIENT_ID and one of AFFIANT_KEY (whatever `key` takes),
        AFFIANT_CLIENT_SECRET and AFFIANT_CLIENT_SECRET_FILE; optional are AFFIANT_AUTH_METHOD, AFFIANT_ALG,
        AFFIANT_KID, AFFIANT_SCOPE, AFFIANT_RESOURCE and AFFIANT_KEY_PASSWORD. Without them, `from_credentials` decides.

        Raises:
            LocalError: a variable is missing, two contradict each other, or there are no credentials.
        """
        tls = {"certificate": certificate, "certificate_key": certificate_key}
        made = cls.from_credentials(dpop=dpop, http=http, clock=clock, **tls, **more)
        environment.check_issuer(made.issuer)
        return made

    @classmethod
    def from_platform(
        cls,
        name: str,
        issuer: str,
        *,
        client_id: str | None = None,
        audience: str | None = None,
        carrier: str = "assertion",
        scope: str | None = None,
        resource: str | None = None,
        dpop: PrivateKey | dict[str, Any] | str | bytes | Path | bool = False,
        http: httpx2.Client | None = None,
        clock: Callable[[], float] = time.time,
        **more: Unpack[Options],
    ) -> Service:
        """Return a service without a secret: each request shows a token by which the platform names this workload.

        It is for authorization servers that trust the platform. The options are those of Service, without the ones for
        assertions that a service signs itself.

        Args:
            name: github, gitlab, kubernetes, aws, google, azure, buildkite, circleci, spiffe, file or env. A place may
                follow: ``kubernetes:PATH``, ``gitlab:VARIABLE``, ``spiffe:unix:///PATH``; it must in ``file:PATH`` and
                ``env:NAME``.
            issuer: the identifier of the authorization server.
            client_id: sent only if given; servers find the client by the token.
            audience: for which the platform issues the token; the issuer if left out.
            carrier: "assertion", the token as the grant (RFC 7523 section 2.1), or "client_assertion", the token as
                authentication for client_credentials (section 2.2).
            scope: as in Service.
            resource: as in Service.
            dpop: as in Service.
            http: for the requests to the server; the platform is asked without it.
            clock: as in Service.

        Raises:
            LocalError: an argument cannot be used. The tokens' own: `token` raises it if the platform gives none.
        """
        workload.check(more)
        words = {"client_id": client_id, "audience": audience, "scope": scope, "resource": resource}
        found = workload.describe(name, issuer, carrier=carrier, **words)
        return cls.from_credentials(found, dpop=dpop, http=http, clock=clock, **more)

    def token(
        self,
        resource: str | None = None,
        scope: str | None = None,
        *,
        authorization_details: Sequence[dict[str, Any]] | None = None,
    ) -> Token:
        """Return a good access token, from the cache or the server. Blocks during a request.

        Args:
            resource: the identifier of the API (RFC 8707).
            scope: to request, names separated by spaces.
            authorization_details: to request, finer than by a scope (RFC 9396).

        Raises:
            Refused: the server's OAuth error.
            RemoteError: the server answered with something else.
            Unreachable: the server did not answer.
        """
        return self._source.get(self._key(resource, scope, authorization_details))

    async def atoken(
        self,
        resource: str | None = None,
        scope: str | None = None,
        *,
        authorization_details: Sequence[dict[str, Any]] | None = None,
    ) -> Token:
        """Return the same as `token`, without blocking the event loop."""
        return await self._source.aget(self._key(resource, scope, authorization_details))

    def tls(self) -> ssl.SSLContext:
        """Return the TLS settings for calls with tokens bound to the certificate: ``httpx2.Client(verify=...)``.

        Raises:
            LocalError: this service has no certificate, or it cannot be used.
        """
        return self._connection.tls()

    def auth(
        self,
        resource: str | None = None,
        *scopes: str,
        origin: str | None = None,
        authorization_details: Sequence[dict[str, Any]] | None = None,
        unsafe_http: bool = False,
    ) -> Any:
        """Return an `auth=` for httpx2, httpx, requests and niquests, and a middleware for aiohttp.

        Its methods make what other libraries take: `niquests_async`, `urllib3`, `urllib`, `botocore` and `grpc`.

        Args:
            resource: the identifier of the API (RFC 8707).
            scopes: to request; each may be several names separated by spaces.
            origin: of the API, if its identifier has another; the token is sent to no other.
            authorization_details: to request, finer than by a scope (RFC 9396).
            unsafe_http: True sends the token without TLS to other machines too. On loopback it always may go so.

        Raises:
            LocalError: the origin is not an http or https URL, or a scope is not a str.
        """
        if not all(isinstance(scope, str) for scope in scopes):
            raise LocalError('auth() takes scopes one by one: service.auth(resource, "a", "b")')
        key = self._key(resource, " ".join(scopes) or None, authorization_details)
        return http_auth.make_auth(
            self._source,
            key,
            origin=origin,
            prover=self._prover,
            unsafe_http=unsafe_http,
            offset=self._offset,
            announce=self._announce,
            traces=self._traces,
        )

    def assertion(self) -> str:
        """Return a new client assertion (RFC 7523) for use by other means.

        Raises:
            LocalError: this service sends its secret and has no key.
        """
        if not isinstance(self._auth, (client_auth.Assertion, client_auth.JwtBearer)):
            raise LocalError("this service authenticates in another way: it has no key to sign an assertion with")
        form = self._form(self._key(None, None))
        return self._auth.build(form, client_id=self.client_id, audience=self._audience(), now=self._clock())

    def discover(self) -> Metadata:
        """Return the server's metadata (RFC 8414), fetched once.

        Raises:
            RemoteError: there are none, or those of another issuer.
            Unreachable: the server did not answer.
        """
        with self._connection.open() as http:
            return self._server.find(http, self._clock)

    def _audience(self) -> str:
        """Return `aud`; only where it is the token endpoint, the server must be known for it."""
        return self._server.audience(self.discover() if self._server.is_audience_of_metadata else None)

    def _check_binding(self, *, is_by_tls: bool) -> None:
        profile = self._shape.profile
        if profile.needs_binding and self._prover is None and not is_by_tls:
            raise LocalError(
                f"profile={profile.name!r} needs tokens that are bound to a key: dpop=True or certificate="
            )

    def _share(self, more: Options, *, has_new_key: bool) -> Sharing | None:
        if (store := more.get("store")) is None:
            return None
        mine = owner.Owner(
            self.issuer,
            self.client_id,
            lambda: self._auth,
            self._shape,
            self._connection,
            self._prover,
            has_new_key=has_new_key,
            token_endpoint=more.get("token_endpoint"),
            reach=self._server.reach.inner,
            clock=self._clock,
        )
        return owner.share(store, mine, self._clock)

    def _key(
        self, resource: str | None, scope: str | None, details: Sequence[dict[str, Any]] | None = None
    ) -> TokenKey:
        text = json.dumps(list(details), sort_keys=True) if details else None
        return TokenKey(resource or self._resource, scope or self._scope, text)

    def _fetch(self, key: TokenKey) -> tuple[TokenResponse, float]:
        if self._shape.profile.needs_scope and key.scope is None:
            raise LocalError(f"profile={self._shape.profile.name!r} needs a scope: name it in the call, or as scope=")
        return self._request(self._form(key))

    def _form(self, key: TokenKey) -> list[tuple[str, str]]:
        is_grant = self._shape.is_grant
        make = token_messages.jwt_bearer_form if is_grant else token_messages.client_credentials_form
        return make(**key._asdict())

    def _request(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]:
        if self._traces is None:
            return self._persist(form)
        return spans.requesting(self._traces, self.issuer, self.client_id, self._persist, form)

    def _persist(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]:
        rule, used = self._server.audience_rule, self._auth
        try:
            return self._ask(form)
        except Refused as refusal:
            if refusal.error not in flow.auth_errors(form):
                raise
            if self._has_new_credential(used):
                return self._ask(form)
            return self._server.fall_back(refusal, rule, lambda: self._ask(form))

    def _has_new_credential(self, used: client_auth.ClientAuth) -> bool:
        """Whether there is another one than the used one; if it came from a file, that is read again."""
        if self._rotating is None:
            return False
        with self._rotating.lock:  # several requests may be refused at once: one of them reads
            if self._auth is used:
                self._auth = self._rotating.find_new() or used
            return self._auth is not used

    def _ask(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]:
        with self._connection.open() as http:
            found = self._server.find(http, self._clock)
            asking = flow.request_token(
                found,
                self.client_id,
                self._auth,
                form,
                clock=self._clock,
                prover=self._prover,
                offset=self._offset,
                audience=self._server.audience(found),
                reach=self._server.reach,
            )
            try:
                return transport.run(asking, http, headers=self._traces.outgoing() if self._traces else None)
            except Refused:
                raise
            except RemoteError:
                self._server.forget()
                raise
