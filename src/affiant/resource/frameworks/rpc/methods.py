"""A method of a gRPC server behind a check, whatever kind of function it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from affiant.oauth.parameters.need import Need
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks
from affiant.resource.frameworks.rpc import calls

CALLER: ContextVar[Caller] = ContextVar("affiant.caller")
Behavior = Callable[..., Any]  # what a handler does
Parse = Callable[[bytes], Any]  # a message

_END = object()
_NOT_ENDED = "abort() of gRPC has not ended the call"


@dataclass(frozen=True)
class Method:
    """A method behind a check. The handler does it: only there gRPC has the certificate, and may wait."""

    guard: Checks
    need: Need | Denied
    path: str
    behavior: Behavior
    parse: Parse | None  # of a unary request. Attack: a message is parsed before its sender is known.

    def one(self, request: Any, context: Any) -> Any:
        """Call the method, in a thread."""
        own = self._admit(context)
        return own.run(self.behavior, self._read(request, context), context)

    def many(self, request: Any, context: Any) -> Iterator[Any]:
        """Call the method, in a thread, and yield its responses."""
        own = self._admit(context)
        responses = own.run(self.behavior, self._read(request, context), context)
        while (response := own.run(next, responses, _END)) is not _END:
            yield response

    async def one_here(self, request: Any, context: Any) -> Any:
        """Call the coroutine function that the method is. It may write a stream to the context."""
        await self._admit_here(context)
        return await self.behavior(await self._read_here(request, context), context)

    async def many_here(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Call the asynchronous generator function that the method is."""
        await self._admit_here(context)
        async with aclosing(self.behavior(await self._read_here(request, context), context)) as responses:
            async for response in responses:
                yield response

    def _admit(self, context: Any) -> Context:
        """Return the context for the method, with the caller. The next call in this thread has another."""
        read = calls.read(self.guard, self.need, self.path, context)
        found = read if isinstance(read, Denied) else self.guard.check_scope_sync(*read)
        if isinstance(found, Caller):
            own = copy_context()
            own.run(CALLER.set, found)
            return own
        code, details, trailing = calls.status(found)
        context.set_trailing_metadata(trailing)
        context.abort(code, details)
        raise RuntimeError(_NOT_ENDED)

    async def _admit_here(self, context: Any) -> None:
        """Set the caller in the context of this task, which handles one call."""
        read = calls.read(self.guard, self.need, self.path, context)
        found = read if isinstance(read, Denied) else await self.guard.check_scope(*read)
        if isinstance(found, Caller):
            CALLER.set(found)
            return
        await context.abort(*calls.status(found))
        raise RuntimeError(_NOT_ENDED)

    def _read(self, request: Any, context: Any) -> Any:
        message = calls.parse(self.parse, request)
        if message is None:
            context.abort(*calls.MALFORMED)
        return message

    async def _read_here(self, request: Any, context: Any) -> Any:
        message = calls.parse(self.parse, request)
        if message is None:
            await context.abort(*calls.MALFORMED)
        return message
