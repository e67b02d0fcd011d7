"""The limit of open files: each connection is one."""

from __future__ import annotations

import resource

RESERVE = 256  # files that are not connections: the database, logs, sockets to a database or a jwks_uri


def raise_limit(wanted: int) -> int:
    """Raise the soft limit of open files, for this process and its children, and return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reached = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    except (OSError, ValueError):  # some platforms have a second limit, lower than the hard one
        reached = soft
    return min(wanted, max(reached - RESERVE, reached // 2))
