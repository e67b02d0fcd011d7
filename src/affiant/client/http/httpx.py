"""httpx2 and httpx, sync and async: an auth flow."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any

from affiant.client.http.exchange import Access


class HttpxFlow:
    """Redirects are followed inside of the flow, and the library drops the token at another origin."""

    requires_request_body = False
    requires_response_body = False
    _access: Access

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """For httpx2.Client and httpx.Client."""
        exchange = self._access.begin(str(request.url))
        while True:
            exchange.authorize(request)
            response = yield request
            request = response.request  # that of the last hop, if the library followed redirects
            if not exchange.has_remedy(str(request.url), request.headers, response) or not _has_whole_body(request):
                return
            exchange.renew()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """For httpx2.AsyncClient and httpx.AsyncClient."""
        exchange = await self._access.abegin(str(request.url))
        while True:
            exchange.authorize(request)
            response = yield request
            request = response.request  # that of the last hop, if the library followed redirects
            if not exchange.has_remedy(str(request.url), request.headers, response) or not _has_whole_body(request):
                return
            await exchange.arenew()


def _has_whole_body(request: Any) -> bool:
    """Whether the body can be sent twice: a stream cannot."""
    try:
        _ = request.content
    except RuntimeError:  # RequestNotRead: a stream, or the bytes that a redirect took along
        library = sys.modules[type(request).__module__.partition(".")[0]]
        return isinstance(request.stream, library.ByteStream)
    return True
