"""The guard as an interceptor of gRPC's servers, with threads and with asyncio."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from contextvars import Context, ContextVar, copy_context
from typing import Any

import grpc
import grpc.aio

from affiant.oauth.parameters.need import Need, Needed
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks
from affiant.resource.frameworks import routes
from affiant.resource.frameworks.routes import PUBLIC
from affiant.resource.frameworks.rpc import calls

Handler = Any  # of a method; grpc has no types
Behavior = Callable[..., Any]  # what a handler does

_CALLER: ContextVar[Caller] = ContextVar("affiant.caller")
_END = object()


def caller() -> Caller:
    """Return the caller of the present call, in its handler.

    Raises:
        LookupError: the guard has not checked this call.
    """
    return _CALLER.get()


class _Rules:
    """What each method needs: ``{"/pkg.Orders/List": "orders.read", "/pkg.Health/*": None}``.

    A call that no rule names is refused.
    """

    def __init__(self, guard: Checks, methods: Mapping[str, Needed | None]) -> None:
        self._guard = guard
        self._find_need = routes.finder(need=(), public=(), routes=methods)

    def _guarded(self, handler: Handler | None, method: str) -> Handler | None:
        """Return the handler behind a check. It does the check itself: it has the certificate, and may wait."""
        need = self._find_need("POST", method)
        if handler is None or need is PUBLIC:
            return handler
        kind = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        behavior = self._wrapped(getattr(handler, kind), need, method, is_stream=handler.response_streaming)
        build = getattr(grpc, f"{kind}_rpc_method_handler")
        return build(behavior, handler.request_deserializer, handler.response_serializer)

    def _wrapped(self, behavior: Behavior, need: Need | Denied, method: str, *, is_stream: bool) -> Behavior:
        def one(request: Any, context: Any) -> Any:
            return self._admit(need, method, context).run(behavior, request, context)

        def many(request: Any, context: Any) -> Iterator[Any]:
            own = self._admit(need, method, context)
            responses = own.run(behavior, request, context)
            while (response := own.run(next, responses, _END)) is not _END:
                yield response

        return many if is_stream else one

    def _admit(self, need: Need | Denied, method: str, context: Any) -> Context:
        """Return the context for the handler, with the caller. The next call in this thread has another."""
        read = calls.read(self._guard, need, method, context)
        found = read if isinstance(read, Denied) else self._guard.check_scope_sync(*read)
        if isinstance(found, Caller):
            own = copy_context()
            own.run(_CALLER.set, found)
            return own
        code, details, trailing = calls.status(found)
        context.set_trailing_metadata(trailing)
        context.abort(code, details)
        raise RuntimeError("abort() of gRPC has not ended the call")


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

    def _wrapped(self, behavior: Behavior, need: Need | Denied, method: str, *, is_stream: bool) -> Behavior:
        async def one(request: Any, context: Any) -> Any:
            await self._admit_here(need, method, context)
            return await behavior(request, context)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            await self._admit_here(need, method, context)
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    yield response

        if inspect.iscoroutinefunction(behavior):  # a stream that it writes to the context, too
            return one
        if inspect.isasyncgenfunction(behavior):
            return many
        return super()._wrapped(behavior, need, method, is_stream=is_stream)  # gRPC runs it in a thread

    async def _admit_here(self, need: Need | Denied, method: str, context: Any) -> None:
        """Set the caller in the context of this task, which handles one call."""
        read = calls.read(self._guard, need, method, context)
        found = read if isinstance(read, Denied) else await self._guard.check_scope(*read)
        if isinstance(found, Caller):
            _CALLER.set(found)
            return
        await context.abort(*calls.status(found))
        raise RuntimeError("abort() of gRPC has not ended the call")


def _arity(is_streaming: bool) -> str:  # noqa: FBT001 - gRPC's
    return "stream" if is_streaming else "unary"
