"""An API of several workers: `gunicorn workers:wsgi`, `uvicorn workers:asgi`. Every answer names its worker."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from affiant import Caller, Guard
from affiant.resource.replays import RedisReplays, SqliteReplays

STORES: dict[str, Callable[[str], Any]] = {"sqlite": SqliteReplays, "redis": RedisReplays, "memory": lambda _: None}
guard = Guard(
    os.environ["GUARD_ISSUER"],
    audience=os.environ["GUARD_AUDIENCE"],
    url=os.environ["GUARD_AUDIENCE"],
    revocations="off",
    replays=STORES[os.environ["GUARD_STORE"]](os.environ["GUARD_PLACE"]),
)


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    found = guard.check_environ(environ)
    status = "200 OK" if isinstance(found, Caller) else f"{found.status} Refused"
    start_response(status, [("X-Worker", str(os.getpid()))])
    return [b"" if isinstance(found, Caller) else found.body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    found = await guard.check_scope(scope)
    status, body = (200, b"") if isinstance(found, Caller) else (found.status, found.body)
    headers = [(b"x-worker", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
