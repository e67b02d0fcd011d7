"""The port that a server listens on, and what uvicorn needs to serve there."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from affiant.cli.server.listening import loop
from affiant.cli.server.listening.connection import Connection
from affiant.cli.server.listening.table import Caps
from affiant.errors import ConfigError

DRAIN_SECONDS = 10


def listen(host: str, port: int, *, option: str) -> socket.socket:
    """Return a socket that listens; `option` is where the user chose the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with {option}") from error
    listening.set_inheritable(True)
    return listening


def options(caps: Caps) -> dict[str, Any]:
    """Return the options of uvicorn for a process that keeps so many connections open."""
    return {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "http": Connection,
        "ws": "none",
        "loop": partial(loop.make, caps),
    }
