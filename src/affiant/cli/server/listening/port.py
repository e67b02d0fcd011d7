"""The port that a server listens on, and what uvicorn needs to serve there."""

from __future__ import annotations

import errno
import socket
from functools import partial
from pathlib import Path
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


def listen_at(path: Path, *, option: str) -> socket.socket:
    """Return a Unix socket that listens. Its file is for all users of this machine; its folder may be for fewer."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {path} ({error.strerror or error}): choose a path with {option}"
        ) from error
    return listening


def _remove_stale(path: Path) -> None:
    """Remove the file of a process that has ended; a file that is no socket stays, and so does one that is in use."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()


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
