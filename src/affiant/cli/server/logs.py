"""The log of `affiant serve`: what it says in place of its notes without a terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from typing import Any

from starlette.applications import Starlette

from affiant.cli.output import note
from affiant.server.request.audit.lines.logs import Logs
from affiant.server.settings import Settings

log: logging.Logger = logging.getLogger("affiant.serve")


def begin(chosen: Settings) -> Logs:
    """Configure the logging of this process, once."""
    return _begin(chosen.log, chosen.log_level)


@lru_cache(maxsize=1)
def _begin(form: str, level: str) -> Logs:
    logs = Logs(form, level)
    logs.install()
    return logs


def remark(logs: Logs, text: str) -> None:
    """Warn the operator: in the log, or as commands do."""
    if logs.is_json:
        log.warning("%s", text)
    else:
        note(text)


def speaks_to_people(logs: Logs) -> bool:
    """Whether standard output is for people, and not for a program that collects lines of JSON."""
    return not logs.is_json or sys.stdout.isatty()


def watch(built: Starlette, logs: Logs, at_end: Callable[[Callable[[], None]], None]) -> None:
    """Log the start and the end of this application, and write all lines before the process ends.

    `at_end` takes what is called when the process is asked to end.
    """
    inner = built.router.lifespan_context

    @contextlib.asynccontextmanager
    async def life(application: Starlette) -> AsyncIterator[Any]:
        try:
            async with inner(application) as state:
                at_end(partial(log.info, "process %d is asked to end, and finishes what it has begun", os.getpid()))
                log.info("process %d serves", os.getpid())
                yield state
                log.info("process %d has ended its work", os.getpid())
        finally:
            logs.writer.close()  # a signal may end the process before it could

    built.router.lifespan_context = life
