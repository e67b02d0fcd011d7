"""Wait for the signature of a signer that is asynchronous, on an event loop of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any

from affiant.errors import LocalError
from affiant.jose.signer import AnySigner
from affiant.system import forks

LONGEST_SECONDS = 30.0  # to wait for a signature: every caller of the service waits for it
_lock = forks.Lock()
_running: list[tuple[int, asyncio.AbstractEventLoop]] = []


@dataclass(frozen=True, slots=True)
class Awaited:
    """A `Signer` of a signer whose `sign()` may return an awaitable.

    All of them share one event loop in a thread of its own, which lives as long as the process. It is not the loop of
    the caller: that one may be blocked, or closed before the next token. A connection that the signer keeps must be
    opened in its `sign()`, not elsewhere.
    """

    signer: AnySigner = field(repr=False)

    @property
    def alg(self) -> str:
        return self.signer.alg

    @property
    def kid(self) -> str | None:
        return self.signer.kid

    def sign(self, data: bytes) -> Any:
        """Return the signature, or what the signer returned instead; the caller checks it."""
        made = self.signer.sign(data)
        return _wait(made) if isawaitable(made) else made


def _wait(made: Awaitable[Any]) -> Any:
    future = asyncio.run_coroutine_threadsafe(_resolve(made), _loop())
    try:
        return future.result(LONGEST_SECONDS)
    except LateError:
        future.cancel()
        raise LocalError(f"the signer did not sign within {LONGEST_SECONDS:.0f} s") from None


async def _resolve(made: Awaitable[Any]) -> Any:
    return await made


def _loop() -> asyncio.AbstractEventLoop:
    with _lock:
        # After a fork the thread of the loop runs in the parent only.
        if not _running or _running[0][0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="affiant-signers", daemon=True).start()
            _running[:] = [(os.getpid(), loop)]
        return _running[0][1]
