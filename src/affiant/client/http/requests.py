"""requests and niquests: a callable that prepares the request, and a hook that sees its response."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

from affiant.client.http.exchange import Access, Exchange, is_whole
from affiant.errors import LocalError


class RequestsHook:
    """The libraries drop the token in a redirect to another origin, and keep the hook."""

    _access: Access

    def prepare(self, request: Any) -> Any:
        """For requests, niquests.Session, and any other library that calls its auth with the request."""
        exchange = self._access.begin(str(request.url))
        exchange.authorize(request)
        if hasattr(request, "register_hook"):
            request.register_hook("response", lambda response, **options: _again(response, exchange, options))
        return request


class NiquestsAsync:
    """For niquests.AsyncSession."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __call__(self, request: Any) -> Any:
        exchange = await self._access.abegin(str(request.url))
        exchange.authorize(request)

        async def again(response: Any, **options: Any) -> Any:
            return await _again_async(response, exchange, options)

        request.register_hook("response", again)
        return request


def _again(response: Any, exchange: Exchange, options: dict[str, Any]) -> Any:
    if iscoroutinefunction(response.connection.send):
        raise LocalError("niquests.AsyncSession takes another auth: write auth=service.auth(…).niquests_async()")
    while _may_repeat(response, exchange):
        _ = response.content  # makes the connection free again
        exchange.renew()
        answer = response.connection.send(_repeated(response.request, exchange), **options)
        answer.history.append(response)
        response = answer
    return response


async def _again_async(response: Any, exchange: Exchange, options: dict[str, Any]) -> Any:
    while _may_repeat(response, exchange):
        await response.content  # makes the connection free again
        await exchange.arenew()
        answer = await response.connection.send(_repeated(response.request, exchange), **options)
        answer.history.append(response)
        response = answer
    return response


def _may_repeat(response: Any, exchange: Exchange) -> bool:
    sent = response.request
    return exchange.has_remedy(str(sent.url), sent.headers, response) and is_whole(sent.body)


def _repeated(sent: Any, exchange: Exchange) -> Any:
    exchange.authorize(sent)  # itself, too: a redirect that follows copies its headers
    return sent.copy()
