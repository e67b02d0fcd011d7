"""A listener of its own for `/metrics`, in a thread of each worker with an event loop of its own.

The supervisor keeps no port for it, because it loads nothing of the server. Attack: whoever reaches the port opens
connections and sends nothing. They have the deadlines of every connection, and few of them fit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from affiant.cli.server.listening import port
from affiant.cli.server.listening.table import Caps
from affiant.server.settings.metrics import parse_address
from affiant.system.urls import join_host
from affiant.telemetry.board import Board
from affiant.telemetry.exposition import render_of

PATH, OPTION = "/metrics", "AFFIANT_METRICS"
_CAPS = Caps(total=32, per_address=0)
_ENDING_SECONDS = 2.0
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def reserve(place: str, *, alone: bool) -> str:
    """Return HOST:PORT with the port that all workers share, which may be given as 0; no place stays none.

    Raises:
        ConfigError: the place is in use, by another server if this one has no workers yet (`alone`).
    """
    if not place:
        return place
    host, number = parse_address(place)
    if alone or not number:
        with contextlib.closing(port.listen(host, number, option=OPTION)) as probe:
            number = probe.getsockname()[1]
    return join_host(host, number)


@contextlib.contextmanager
def exposed(place: str, board: Board) -> Iterator[None]:
    """Serve the numbers of a board at HOST:PORT for as long as the context lasts; at no place, do nothing."""
    if not place:
        yield
        return
    # Any worker may answer, also one of the next generation: all have the same numbers.
    listening = port.listen(*parse_address(place), option=OPTION, is_shared=True)
    # Order: uvicorn's own log_config would take its loggers from ours, and its lines would wait for their reader.
    config = uvicorn.Config(_application(board), lifespan="off", log_config=None, **port.options(_CAPS))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="affiant-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_ENDING_SECONDS)


def _application(board: Board) -> Starlette:
    def show(request: Request) -> Response:
        page = render_of(board.read, request.headers.get("accept", ""))
        return Response(page.text, media_type=page.media_type, headers=_HEADERS)

    return Starlette(routes=[Route(PATH, show)])
