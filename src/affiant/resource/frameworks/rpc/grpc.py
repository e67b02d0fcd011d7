"""The guard as an interceptor of gRPC's servers, with threads and with asyncio."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from affiant.oauth.parameters.need import Needed
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks
from affiant.resource.frameworks import routes
from affiant.resource.frameworks.routes import PUBLIC
from affiant.resource.frameworks.rpc.methods import CALLER, Behavior, Method

Handler = Any  # of a method; grpc has no types


def caller() -> Caller:
    """Return the caller of the present call, in its handler.

    Raises:
        LookupError: the guard has not checked this call.
    """
    return CALLER.get()


class _Rules:
    """The scopes that each method needs: ``{"/pkg.Orders/List": "orders.read", "/pkg.Health/*": None}``.

    A call that no rule names is refused.
    """

    def __init__(self, guard: Checks, methods: Mapping[str, Needed | None]) -> None:
        self._guard = guard
        self._find_need = routes.finder(need=(), public=(), routes=methods)

    def _guarded(self, handler: Handler | None, path: str) -> Handler | None:
        """Return the handler behind a check."""
        need = self._find_need("POST", path)
        if handler is None or need is PUBLIC:
            return handler
        kind = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        behavior, parse = getattr(handler, kind), handler.request_deserializer
        is_lazy = handler.request_streaming  # gRPC parses its messages as they are read
        method = Method(self._guard, need, path, behavior, None if is_lazy else parse)
        guarded = self._wrapped(method, is_stream=handler.response_streaming)
        build = getattr(grpc, f"{kind}_rpc_method_handler")
        return build(guarded, parse if is_lazy else None, handler.response_serializer)

    def _wrapped(self, method: Method, *, is_stream: bool) -> Behavior:
        return method.many if is_stream else method.one


class GuardInterceptor(_Rules, grpc.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Passes on calls with a valid token, in ``grpc.server``."""

    def intercept_service(self, continuation: Callable[[Any], Handler], handler_call_details: Any) -> Handler | None:
        """Return the handler behind a check."""
        return self._guarded(continuation(handler_call_details), handler_call_details.method)


class AioGuardInterceptor(_Rules, grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Passes on calls with a valid token, in ``grpc.aio.server``."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Handler]], handler_call_details: Any
    ) -> Handler | None:
        """Return the handler behind a check."""
        return self._guarded(await continuation(handler_call_details), handler_call_details.method)

    def _wrapped(self, method: Method, *, is_stream: bool) -> Behavior:
        if inspect.iscoroutinefunction(method.behavior):
            return method.one_here
        if inspect.isasyncgenfunction(method.behavior):
            return method.many_here
        return super()._wrapped(method, is_stream=is_stream)  # gRPC runs it in a thread


def _arity(is_streaming: bool) -> str:  # noqa: FBT001 - gRPC's
    return "stream" if is_streaming else "unary"
