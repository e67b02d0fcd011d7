"""Service: the tokens of a registered service, and its `auth` for an HTTP client."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from affiant.client.cache.token_source import TokenSource
from affiant.client.token import Token, TokenKey
from affiant.errors import ConfigError, LocalError, Refused, RemoteError
from affiant.oauth import names
from affiant.system.later import Later

if TYPE_CHECKING:  # a program imports Service in half the time: the first one that is made loads the rest
    import ssl
    from pathlib import Path

    import httpx2

    from affiant.client.credentials import file as credentials_file
    from affiant.client.credentials.file import Credentials
    from affiant.client.http import auth as http_auth
    from affiant.client.protocol import auth as client_auth
    from affiant.client.protocol import flow, prover, transport
    from affiant.client.protocol.auth import ClientAuth
    from affiant.jose import keys
    from affiant.jose.keys import PrivateKey
    from affiant.jose.signer import Signer
    from affiant.oauth import assertion
    from affiant.oauth import token as token_messages
    from affiant.oauth.binding import dpop as dpop_proofs
    from affiant.oauth.binding.dpop import ProofKey
    from affiant.oauth.metadata import Metadata
    from affiant.oauth.token import TokenResponse
    from affiant.signers import local as local_signers
    from affiant.system import network
else:
    credentials_file = Later("affiant.client.credentials.file")
    http_auth = Later("affiant.client.http.auth")
    client_auth = Later("affiant.client.protocol.auth")
    flow = Later("affiant.client.protocol.flow")
    prover = Later("affiant.client.protocol.prover")
    transport = Later("affiant.client.protocol.transport")
    keys = Later("affiant.jose.keys")
    assertion = Later("affiant.oauth.assertion")
    token_messages = Later("affiant.oauth.token")
    dpop_proofs = Later("affiant.oauth.binding.dpop")
    local_signers = Later("affiant.signers.local")
    network = Later("affiant.system.network")

_BY_KEY = (names.PRIVATE_KEY_JWT,)
_BY_SECRET = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST, names.CLIENT_SECRET_JWT)


class Service:
    """A service that is registered at an authorization server.

    Args:
        issuer: the server's issuer identifier; its metadata must name the same (RFC 8414 section 3.3).
        client_id: of this service.
        key: signs the assertions: a private key as PEM or JWK, the path of a file with either, a private key of the
            package cryptography, the name of a key in a KMS such as ``awskms:alias/billing``, or any Signer.
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

    Raises:
        LocalError: a key or the secret cannot be used.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        *,
        key: Signer | dict[str, Any] | str | bytes | Path | None = None,
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
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self._auth = _client_auth(key, secret, auth_method, alg, kid)
        _check_certificate(auth_method, certificate, certificate_key, http)
        self._certificate = (
            (str(certificate), str(certificate_key) if certificate_key else None) if certificate else None
        )
        self._scope = scope
        self._resource = resource
        self._clock = clock
        if http is not None and _is_async(http):
            raise LocalError("http= takes an httpx2.Client, also for atoken(): tokens are fetched on a thread")
        self._http = http
        self._metadata: Metadata | None = None
        self._prover = prover.Prover(_proof_key(dpop), clock) if dpop is not False else None
        self._offset = flow.Offset()
        self._tls: ssl.SSLContext | None = None
        self._source = TokenSource(self._fetch, clock)
        self._read_again: Callable[[], Credentials] | None = None
        self._credentials: Credentials | None = None

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
    ) -> Service:
        """Return the service of a credentials file: the argument, or AFFIANT_CREDENTIALS.

        When the server answers invalid_client, the file is read once more: its key may have been rotated since. The
        other arguments are those of Service; a certificate replaces the one that the file names.

        Raises:
            LocalError: there is none, or it cannot be used.
        """
        found = path if isinstance(path, credentials_file.Credentials) else credentials_file.find(path)
        made = cls(
            found.issuer,
            found.client_id,
            key=found.private_key,
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
        )
        if not isinstance(path, credentials_file.Credentials):
            made._read_again = lambda: credentials_file.find(path)
            made._credentials = found
        return made

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
        if self._certificate is None:
            raise LocalError("this service has no certificate: name its file with certificate=")
        context = network.authorities()
        try:
            # With a password, or OpenSSL would ask for one on the terminal.
            context.load_cert_chain(*self._certificate, password="")
        except (OSError, ValueError) as error:  # no message shows the names: one may be a key, by mistake
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not PEM"
            raise LocalError(f"certificate= and certificate_key= cannot be used ({why})") from None
        return context

    def refresh(self, refresh_token: str, *, scope: str | None = None) -> TokenResponse:
        """Use a refresh token (RFC 6749 section 6); for clients registered with that grant.

        Raises:
            Refused: the refresh token is no longer valid.
            RemoteError: as `token`.
        """
        return self._request(token_messages.refresh_form(refresh_token, scope=scope))[0]

    def auth(
        self,
        resource: str | None = None,
        *scopes: str,
        origin: str | None = None,
        authorization_details: Sequence[dict[str, Any]] | None = None,
        unsafe_http: bool = False,
    ) -> Any:
        """Return an `auth=` for httpx2, httpx and requests, and a middleware for aiohttp.

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
        return http_auth.make_auth(self._source, key, origin=origin, prover=self._prover, unsafe_http=unsafe_http)

    def assertion(self) -> str:
        """Return a new client assertion (RFC 7523) for use by other means.

        Raises:
            LocalError: this service sends its secret and has no key.
        """
        if not isinstance(self._auth, client_auth.Assertion):
            raise LocalError("this service sends its secret itself; it has no key to sign an assertion with")
        return assertion.build(self.client_id, issuer=self.issuer, signer=self._auth.signer, now=self._clock())

    def discover(self) -> Metadata:
        """Return the server's metadata (RFC 8414), fetched once.

        Raises:
            RemoteError: there are none, or those of another issuer.
            Unreachable: the server did not answer.
        """
        with self._client() as http:
            return self._discover(http)

    def _key(
        self, resource: str | None, scope: str | None, details: Sequence[dict[str, Any]] | None = None
    ) -> TokenKey:
        text = json.dumps(list(details), sort_keys=True) if details else None
        return TokenKey(resource or self._resource, scope or self._scope, text)

    def _fetch(self, key: TokenKey) -> tuple[TokenResponse, float]:
        return self._request(token_messages.client_credentials_form(**key._asdict()))

    def _request(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]:
        try:
            return self._ask(form)
        except Refused as refusal:
            if refusal.error != "invalid_client" or not self._has_new_credential():
                raise
            return self._ask(form)

    def _has_new_credential(self) -> bool:
        """Reload the credential from the file, if the file has another one for this service."""
        if self._read_again is None or self._credentials is None:
            return False
        try:
            found = self._read_again()
            is_mine = (found.issuer, found.client_id) == (self.issuer, self.client_id)
            if not is_mine or found == self._credentials:
                return False
            self._auth = _client_auth(found.private_key, found.client_secret, found.auth_method, found.alg, found.kid)
        except LocalError:  # report the server's refusal, not a file that is being replaced
            return False
        self._credentials = found
        return True

    def _ask(self, form: list[tuple[str, str]]) -> tuple[TokenResponse, float]:
        with self._client() as http:
            server = self._discover(http)
            asking = flow.request_token(
                server,
                self.client_id,
                self._auth,
                form,
                clock=self._clock,
                prover=self._prover,
                offset=self._offset,
            )
            try:
                return transport.run(asking, http)
            except Refused:
                raise
            except RemoteError:
                self._metadata = None  # the endpoint may have moved: discover it again next time
                raise

    def _discover(self, http: httpx2.Client) -> Metadata:
        found = self._metadata  # another thread may set it to None at any time
        if found is None:
            found = transport.run(flow.discover(self.issuer, clock=self._clock), http)
            if self._certificate is not None or isinstance(self._auth, client_auth.OverTls):
                found = _over_mtls(found)
            self._metadata = found
        return found

    @contextlib.contextmanager
    def _client(self) -> Iterator[httpx2.Client]:
        """Yield the given HTTP client, or one for this request: token requests are rare, so no connection is kept."""
        if self._http is not None:
            yield self._http
            return
        if self._certificate is None and self._tls is None:
            self._tls = network.authorities()  # once: it takes longer than the request
        with network.http_client(verify=self._tls or self.tls()) as http:
            yield http


def _is_async(http: httpx2.Client) -> bool:
    from inspect import iscoroutinefunction  # noqa: PLC0415 - slow to load, and few programs bring their own client

    return iscoroutinefunction(http.request)


def _over_mtls(found: Metadata) -> Metadata:
    try:
        return found.over_mtls()
    except ValueError as error:
        raise RemoteError(f"the metadata of {found.issuer}: {error}") from None


def _check_certificate(method: str | None, certificate: object, key: object, http: object) -> None:
    if certificate is not None and http is not None:
        raise LocalError("give either http= or certificate=: the HTTP client presents its own certificate")
    if certificate is None and (key is not None or (method in names.BY_TLS and http is None)):
        raise LocalError("the certificate is missing: name its file with certificate=")


def _client_auth(key: Any, secret: str | None, method: str | None, alg: str | None, kid: str | None) -> ClientAuth:
    if method in names.BY_TLS and key is None and secret is None:
        return client_auth.OverTls()
    if (key is None) == (secret is None):
        raise LocalError("a service needs either a key or a secret")
    # Order: before a secret is sent in a way that the operator did not choose.
    methods = _BY_KEY if secret is None else _BY_SECRET
    if method is not None and method not in methods:
        given = "a key" if secret is None else "a secret"
        raise LocalError(f"auth_method {method!r} cannot be used with {given}: expected {' or '.join(methods)}")
    if secret is not None and not secret:
        raise LocalError("the client secret is empty")
    try:
        if secret is None:
            return client_auth.Assertion(local_signers.load_signer(key, alg, kid))
        if method == names.CLIENT_SECRET_JWT:
            return client_auth.Assertion(keys.SecretKey(secret.encode(), alg or "HS256", kid))
    except ConfigError as error:
        raise LocalError(str(error)) from None
    return client_auth.SecretPost(secret) if method == names.CLIENT_SECRET_POST else client_auth.SecretBasic(secret)


def _proof_key(key: Any) -> ProofKey:
    if key is True:
        return dpop_proofs.ProofKey.of(keys.generate("ES256"))
    try:
        signer = local_signers.load_signer(key, None, None)
    except (ConfigError, LocalError) as error:
        raise LocalError(f"dpop=: {error}") from None
    if not isinstance(signer, keys.PrivateKey):
        raise LocalError("dpop= takes a private key, not another signer: every proof contains its public part")
    return dpop_proofs.ProofKey.of(signer)
