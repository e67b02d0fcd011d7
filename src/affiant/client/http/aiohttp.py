"""aiohttp: a client middleware."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from affiant.client.http.exchange import Access


class AiohttpMiddleware:
    """aiohttp calls its middleware for each hop of a redirect."""

    _access: Access

    async def send_through(self, request: Any, handler: Any) -> Any:
        """Send a request of aiohttp.ClientSession(middlewares=[...])."""
        url = str(request.url)
        self._access.destination.check_hop(url, "aiohttp")
        exchange = await self._access.abegin(url)
        while True:
            exchange.authorize(request)
            response = await handler(request)
            if not exchange.has_remedy(url, request.headers, response) or not _is_whole(request.body):
                return response
            response.release()
            await exchange.arenew()


def _is_whole(body: Any) -> bool:
    """Whether a body can be sent twice: bytes and text, and no stream."""
    payload = import_module("aiohttp.payload")
    return isinstance(body, bytes | payload.BytesPayload)
