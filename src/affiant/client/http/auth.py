"""One `auth=` object for every HTTP library; it depends on none of them.

httpx2, httpx, requests and niquests take it as `auth=`, aiohttp as a middleware. For other libraries, a method
named for each makes what it takes. exchange.py has the rules, which are the same for all.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from affiant.client.http.aiohttp import AiohttpMiddleware
from affiant.client.http.exchange import Access, Tokens
from affiant.client.http.httpx import HttpxFlow
from affiant.client.http.origin import Destination
from affiant.client.http.requests import NiquestsAsync, RequestsHook
from affiant.client.token import TokenKey
from affiant.errors import LocalError

if TYPE_CHECKING:  # it loads cryptography, which a cached token does not need
    from affiant.client.events import Announcer
    from affiant.client.protocol.flow import Offset
    from affiant.client.protocol.prover import Prover
    from affiant.telemetry.tracing.traces import Traces


class ServiceAuth(HttpxFlow, RequestsHook, AiohttpMiddleware):
    """Adds the token to requests to one origin, and renews it once if the API refuses it.

    With a prover, adds a DPoP proof too, and makes another one once if the API answers with a nonce.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def __reduce__(self) -> NoReturn:
        self._access.__reduce__()

    def __call__(self, request: Any, handler: Any = None) -> Any:
        """Prepare a request of requests or niquests; with `handler`, send one of aiohttp."""
        return self.prepare(request) if handler is None else self.send_through(request, handler)

    def niquests_async(self) -> NiquestsAsync:
        """Return the `auth=` for niquests.AsyncSession."""
        return NiquestsAsync(self._access)

    def urllib3(self, manager: Any) -> Any:
        """Return a copy of a urllib3.PoolManager that shares its connections and adds the token to each request."""
        from affiant.client.http.urllib3 import with_token  # noqa: PLC0415 - for those that use it

        return with_token(manager, self._access)

    def urllib(self) -> Any:
        """Return a handler for urllib.request.build_opener."""
        from affiant.client.http.opener import TokenHandler  # noqa: PLC0415 - for those that use it

        return TokenHandler(self._access)

    def botocore(self, client: Any) -> Any:
        """Add the token to each request of this client of botocore or boto3, and return it."""
        from affiant.client.http.botocore import add_token  # noqa: PLC0415 - for those that use it

        return add_token(client, self._access)

    def grpc(self) -> Any:
        """Return grpc.CallCredentials, for channels with TLS."""
        return self._grpc().call_credentials(self._access)

    def grpc_interceptor(self) -> Any:
        """Return an interceptor for grpc.intercept_channel: it renews a refused token once, in unary calls."""
        return self._grpc().Renewal(self._access)

    def grpc_aio_interceptor(self) -> Any:
        """Return such an interceptor for the interceptors= of a channel of grpc.aio."""
        return self._grpc().AsyncRenewal(self._access)

    def _grpc(self) -> Any:
        if self._access.prover is not None:
            # RFC 9449 section 4.2: a proof names the URL, which gRPC servers do not see.
            raise LocalError("a token that is bound by DPoP cannot be used with gRPC: use a Service without dpop=")
        try:
            return import_module("affiant.client.http.grpc")
        except ModuleNotFoundError as error:
            raise LocalError(f"{error.name} is not installed: pip install grpcio") from None


def make_auth(
    source: Tokens,
    key: TokenKey,
    *,
    origin: str | None = None,
    prover: Prover | None = None,
    unsafe_http: bool = False,
    offset: Offset | None = None,
    announce: Announcer | None = None,
    traces: Traces | None = None,
) -> ServiceAuth:
    """Return a ServiceAuth that httpx2, httpx, requests, niquests and aiohttp accept, as far as they are installed.

    The token is sent to this origin only: by default to that of the resource, or anywhere if the resource is no URL.
    """
    bases = [_base(name) for name in ("httpx2", "httpx")]
    if "requests" in sys.modules:  # requests accepts any callable
        bases.append(sys.modules["requests"].auth.AuthBase)
    kind = type("ServiceAuth", (ServiceAuth, *dict.fromkeys(base for base in bases if base is not None)), {})
    destination = Destination.of(key.resource, origin, unsafe_http=unsafe_http)
    made: ServiceAuth = kind(Access(source, key, destination, prover, offset, announce, traces))
    return made


def _base(library: str) -> Any:
    try:
        return getattr(import_module(library), "Auth", None)
    except ImportError:
        return None
