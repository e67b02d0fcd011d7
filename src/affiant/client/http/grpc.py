"""gRPC: call credentials, and interceptors that renew a refused token once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio

from affiant.client.http.exchange import Access, Exchange

_UNAUTHORIZED = 401


def call_credentials(access: Access) -> Any:
    """Return grpc.CallCredentials; gRPC itself sends them over TLS only."""
    return grpc.metadata_call_credentials(_Plugin(access), name="affiant")


class _Plugin(grpc.AuthMetadataPlugin):  # type: ignore[misc] # grpc has no types
    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, context: Any, callback: Any) -> None:
        """Give the metadata of a call. gRPC calls this in a thread of its own, for grpc.aio too, so it may block."""
        url = context.service_url
        try:
            headers = self._access.begin(url).headers("POST", url)
        except Exception as error:  # noqa: BLE001 - the call fails with it
            callback((), error)
        else:
            callback(tuple((name.lower(), value) for name, value in headers.items()), None)


class Renewal(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no types
    """Repeats a unary call once after UNAUTHENTICATED. A call with `.future` waits for its response."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        # The credentials get their token by themselves: the same, or a newer one.
        exchange = Exchange(self._access, self._access.source.get(self._access.key).value)
        call = continuation(details, request)
        if call.code() is not grpc.StatusCode.UNAUTHENTICATED or not _has_remedy(exchange, call.trailing_metadata()):
            return call
        exchange.renew()
        return continuation(details, request)


class AsyncRenewal(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc] # grpc has no types
    """Renewal for channels of grpc.aio."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        exchange = Exchange(self._access, (await self._access.source.aget(self._access.key)).value)
        call = await continuation(client_call_details, request)
        if await call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return call
        if not _has_remedy(exchange, await call.trailing_metadata()):
            return call
        await exchange.arenew()
        return await continuation(client_call_details, request)


def _has_remedy(exchange: Exchange, trailing: Any) -> bool:
    found = [str(value) for name, value in trailing or () if name == "www-authenticate"]
    answer = SimpleNamespace(status=_UNAUTHORIZED, headers={"WWW-Authenticate": ", ".join(found)})
    return exchange.has_remedy("", exchange.headers("POST", ""), answer)
