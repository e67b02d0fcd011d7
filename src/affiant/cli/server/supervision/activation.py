"""Sockets that systemd opened for this process (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from affiant.errors import ConfigError

_FIRST = 3  # SD_LISTEN_FDS_START
_MOST = 64
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def take(environment: MutableMapping[str, str] = os.environ, *, first: int = _FIRST) -> list[socket.socket]:
    """Return the inherited sockets, none without socket activation; remove the variables, so that no child reads them.

    Raises:
        ConfigError: LISTEN_FDS is wrong, or a file descriptor is not a TCP socket that listens.
    """
    pid, number, names = (environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if not number or pid != str(os.getpid()):  # they are for another process
        return []
    if not (number.isascii() and number.isdigit()) or not 0 < int(number[:4]) <= _MOST:
        raise ConfigError(f"LISTEN_FDS is {number!r}: write a number from 1 to {_MOST}, as systemd does")
    named = dict(enumerate(names.split(":"), first))
    return [_open(each, named.get(each, "")) for each in range(first, first + int(number))]


def _open(number: int, name: str) -> socket.socket:
    shown = f"file descriptor {number}" + (f" ({name!r})" if name else "") + " of socket activation"
    try:
        os.set_inheritable(number, False)
        opened = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigError(f"{shown} is not a socket ({error.strerror}): is it the right .socket unit?") from None
    listens = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if opened.family not in _FAMILIES or opened.type != socket.SOCK_STREAM or not listens:
        opened.detach()
        raise ConfigError(f"{shown} is not a TCP socket that listens: write ListenStream=PORT, and Accept=no")
    return opened
