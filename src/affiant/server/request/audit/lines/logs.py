"""One configuration of Python's logging, for the server and each of its workers."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from affiant.server.request.audit.lines import forms
from affiant.server.request.audit.lines.forms import Event
from affiant.server.request.audit.lines.writer import LineWriter

AUTO: Final = "auto"
HUMAN: Final = "human"
JSON: Final = "json"
LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}
_OF_OTHERS: Final = logging.WARNING  # level of the loggers of libraries
_WITH_THEIR_OWN: Final = ("uvicorn", "uvicorn.access", "uvicorn.error")  # handlers, from a configuration before ours


class Logs(logging.Handler):
    """The log of a process, on standard error.

    Args:
        form: ``human``, ``json``, or ``auto``: human on a terminal, JSON elsewhere.
        level: ``info``: a line for each decision; ``warning``: for refusals and faults.
        file: descriptor to write to.
    """

    def __init__(self, form: str = AUTO, level: str = "info", *, file: int | None = None) -> None:
        super().__init__()
        self._file = sys.stderr.fileno() if file is None else file
        self.is_json: bool = form == JSON or (form == AUTO and not os.isatty(self._file))
        self._level_of_ours = LEVELS[level]
        skips = forms.is_calm if self._level_of_ours > logging.INFO else _skips_none
        self.writer: LineWriter = LineWriter(self._file, forms.to_json if self.is_json else forms.to_text, skips)

    def install(self) -> None:
        """Become the one handler of every logger."""
        logging.basicConfig(level=_OF_OTHERS, handlers=[self], force=True)
        logging.getLogger("affiant").setLevel(self._level_of_ours)
        for name in _WITH_THEIR_OWN:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True

    def decisions(self, records: Sequence[bytes]) -> None:
        """Take audit records that were committed: a listener of a store."""
        self.writer.put(records)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a message of Python's logging."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a bad format must not fail a request
            message = str(record.msg)
        traceback = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        members = getattr(record, "members", None) or {}
        # By the format, not by the text: what a caller sent must not look like a trace.
        if str(record.msg).startswith("trace %s") and isinstance(record.args, tuple) and record.args:
            members = {**members, "trace_id": record.args[0]}
        level = record.levelname.lower()
        self.writer.put([Event(record.created, level, record.name, message, members, traceback)])


def _skips_none(_: bytes) -> bool:
    return False
