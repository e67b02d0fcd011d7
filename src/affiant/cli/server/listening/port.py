"""The port that a server listens on, and what uvicorn needs to serve there."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from functools import partial
from pathlib import Path
from typing import Any

import click

from affiant.cli.server.listening import loop
from affiant.cli.server.listening.connection import Connection
from affiant.cli.server.listening.table import Caps, Succession
from affiant.errors import ConfigError

DRAIN_SECONDS = 10
_MAX_PORT = 65_535
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", re.ASCII)


def parse_address(text: str, *, option: str) -> tuple[str, int] | Path:
    """Return host and port, or the path of a Unix socket."""
    if text.startswith("unix:/"):
        return Path(text.removeprefix("unix:"))
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > _MAX_PORT:
        hint = "write it like 127.0.0.1:8400, [::1]:8400 or unix:/run/affiant.sock: a port to 65535, or a whole path"
        raise click.BadParameter(hint, param_hint=option)
    return found[1] or found[2], int(found[3])


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, *, option: str, is_shared: bool = False) -> socket.socket:
    """Return a socket that listens; `option` is where the user chose the address.

    Other processes of this user may listen on a shared one too: each connection goes to one of them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): choose another with {option}") from error
    listening.set_inheritable(True)
    return listening


def listen_at(path: Path, *, option: str, mode: int = 0o666) -> socket.socket:
    """Return a Unix socket that listens. By default its file is for all users of this machine; its folder may limit."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        # Attack: chmod after it would change another file, to which the owner of the folder puts a link.
        former = os.umask(0o777 & ~mode)
        try:
            listening.bind(str(path))
        finally:
            os.umask(former)
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


def options(caps: Caps, succession: Succession | None = None) -> dict[str, Any]:
    """Return the options of uvicorn for a process that keeps so many connections open."""
    return {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "http": Connection,
        "ws": "none",
        "loop": partial(loop.make, caps, succession),
    }
