"""The client: a service (Service) and its access tokens.

identity.py has Service, which is all that most programs need. flow.py has the requests without I/O, transport.py sends
them, and token_source.py caches tokens. The names are loaded at their first use: a kept token is read without loading
cryptography. The package imports `oauth`, and neither server nor guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # __getattr__ loads them
    from affiant.client.credentials import Credentials
    from affiant.client.http_auth import NoTls, WrongOrigin
    from affiant.client.identity import Service
    from affiant.client.token import Token

__all__ = ["Credentials", "NoTls", "Service", "Token", "WrongOrigin"]

_ROOMS = {
    "Credentials": "credentials",
    "NoTls": "http_auth",
    "Service": "identity",
    "Token": "token",
    "WrongOrigin": "http_auth",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is loaded before it is asked for

    if name not in _ROOMS:
        raise AttributeError(f"module 'affiant.client' has no attribute {name!r}")
    return getattr(import_module(f"affiant.client.{_ROOMS[name]}"), name)
