"""A list as a file: JSON Lines or CSV of exactly what is filtered, sent while it is read."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
from collections.abc import AsyncGenerator, Callable, Mapping, MutableMapping
from typing import Any

from affiant.server.console.api import Refusal
from affiant.server.console.view import View
from affiant.server.request.http import Answer
from affiant.storage.entries import AuditRecord

Keep = Callable[[Mapping[str, Any]], bool]
Messages = AsyncGenerator[MutableMapping[str, Any], None]
FORMAT = "format"  # of the query: jsonl or csv
_TYPES = {"jsonl": b"application/jsonl", "csv": b"text/csv; charset=utf-8"}
_OK = 200
# Attack: a cell that begins so is a formula for spreadsheets, and clients choose texts of the audit log.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_wanted(view: View) -> bool:
    """Whether the visitor asks for the list as a file."""
    return view.query.text(FORMAT) in _TYPES


async def stream(
    view: View, path: str, name: str, query: Mapping[str, Any] | None = None, *, keep: Keep | None = None
) -> Answer:
    """Return all of this list of the admin API in the format that the visitor asks for, as the file of this name.

    With no format that there is, it is JSON Lines. `keep` chooses among the rows. Raises Refusal if the admin API
    refuses.
    """
    chosen = view.query.text(FORMAT) if is_wanted(view) else "jsonl"
    messages = _read(view, path, query or {})
    begun = await anext(messages)
    if begun.get("status") != _OK:
        refusal = [message.get("body", b"") async for message in messages]
        raise Refusal(json.loads(b"".join(refusal)))
    disposition = f'attachment; filename="{name}.{chosen}"'.encode("ascii")
    return Answer(
        _OK,
        {},
        [(b"content-disposition", disposition), (b"x-content-type-options", b"nosniff")],
        media_type=_TYPES[chosen],
        stream=_lines(messages, keep) if chosen == "jsonl" else _csv(_lines(messages, keep)),
    )


async def _read(view: View, path: str, query: Mapping[str, Any]) -> Messages:
    """Yield the messages of the answer as the admin API sends them; when it is closed, the read ends."""
    pieces: asyncio.Queue[MutableMapping[str, Any] | None] = asyncio.Queue(1)

    async def work() -> None:
        try:
            await view.api.stream(path, pieces.put, headers=[], **query)
        except Exception:
            await pieces.put(None)
            raise
        await pieces.put(None)

    task = asyncio.create_task(work())
    try:
        while (message := await pieces.get()) is not None:
            yield message
        await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _whole(messages: Messages) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(messages):
        async for message in messages:
            if body := message.get("body"):
                yield body


async def _lines(messages: Messages, keep: Keep | None) -> AsyncGenerator[bytes, None]:
    """Yield the lines, whole ones; all of them, or those of the rows to keep."""
    left = b""
    async with contextlib.aclosing(_whole(messages)) as pieces:
        async for piece in pieces:
            *whole, left = (left + piece).split(b"\n")
            if kept := [line for line in whole if keep is None or keep(json.loads(line))]:
                yield b"".join(line + b"\n" for line in kept)


async def _csv(lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the table of these objects; its columns are the members of the first one."""
    names: list[str] = []
    async with contextlib.aclosing(lines):
        async for piece in lines:
            rows = [_flat(json.loads(line)) for line in piece.splitlines()]
            text = io.StringIO()
            writer = csv.writer(text)
            if not names:
                names = list(rows[0])
                writer.writerow(names)
            writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
            yield text.getvalue().encode()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row; of an audit row, the number with the members of the record."""
    record = row.get("record")
    if not isinstance(record, dict):
        return row
    return {"number": row.get("number"), **dict.fromkeys(AuditRecord.__struct_fields__), **record}


def _cell(value: object) -> object:
    if isinstance(value, list | dict):
        value = " ".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
