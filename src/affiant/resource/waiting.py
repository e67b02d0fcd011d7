"""Run a check that may have to wait for the issuer, with an event loop or without one.

A check is a generator. It yields a function whose coroutine fetches what is not known, and goes on with its result.
Where everything is known it yields nothing, and neither a coroutine nor an event loop has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from affiant.errors import Error, Unreachable
from affiant.resource.issuer.worker import worker

MOST_SECONDS = 20.0  # that a thread waits for one fetch; each of them has a shorter limit of its own

Result = TypeVar("Result")
Fetch = Callable[[], Coroutine[Any, Any, Any]]
Steps = Generator[Fetch, Any, Result]


async def run(steps: Steps[Result]) -> Result:
    """Return the result of a check, and await what it waits for."""
    try:
        fetch = next(steps)
        while True:
            try:
                value = await fetch()
            except Error as error:
                fetch = steps.throw(error)
            else:
                fetch = steps.send(value)
    except StopIteration as done:
        result: Result = done.value
        return result


def run_sync(steps: Steps[Result]) -> Result:
    """Return the result of a check; the worker fetches what it waits for, and this thread waits a bounded time."""
    try:
        fetch = next(steps)
        while True:
            try:
                value = _wait(fetch)
            except Error as error:
                fetch = steps.throw(error)
            else:
                fetch = steps.send(value)
    except StopIteration as done:
        result: Result = done.value
        return result


def _wait(fetch: Fetch) -> object:
    future = worker.submit(fetch())
    try:
        return future.result(timeout=MOST_SECONDS)
    except TimeoutError:
        future.cancel()
        raise Unreachable(f"the issuer did not answer within {MOST_SECONDS:.0f} s") from None
    except CancelledError:
        raise Unreachable("the event loop that asked has ended") from None
