"""Test support: a fake issuer for guards, a real server in this process, and builders for the requests of clients.

`FakeIssuer` takes over the guard of an API; the pytest fixture `affiant_issuer` makes one. It needs `affiant[guard]`.
`Server.in_process()` is the authorization server itself, on memory and without a network. It needs `affiant[server]`.
`assertion`, `form`, `proof`, `basic` and `bearer` build requests, good ones and bad ones. docs/how-to/testing.md shows
how to test an API, a Service and a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from affiant.testing.clock import NOW, Clock
from affiant.testing.messages import ABSENT, ISSUER, KEY, assertion, basic, bearer, form, proof

if TYPE_CHECKING:  # __getattr__ loads them
    from affiant.testing.issuer import FakeIssuer
    from affiant.testing.server import UNLIMITED, ClientMembers, Server

__all__ = [
    "ABSENT",
    "ISSUER",
    "KEY",
    "NOW",
    "UNLIMITED",
    "ClientMembers",
    "Clock",
    "FakeIssuer",
    "Server",
    "assertion",
    "basic",
    "bearer",
    "form",
    "proof",
]

_ROOMS = {
    "FakeIssuer": "affiant.testing.issuer",
    "Server": "affiant.testing.server",
    "ClientMembers": "affiant.testing.server",
    "UNLIMITED": "affiant.testing.server",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for (PEP 562): a test of an API needs no server."""
    from importlib import import_module  # noqa: PLC0415 - nothing is loaded before it is asked for

    if name not in _ROOMS:
        raise AttributeError(f"module 'affiant.testing' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
