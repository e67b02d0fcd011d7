"""The client: a service (Service) and its access tokens.

identity.py has Service, which is all that most programs need. Its rooms: `protocol` asks the authorization server,
`cache` keeps the tokens, `http` adds them to requests, and `credentials` has the file that says who the service is.
The names are loaded at their first use: a kept token is read without loading cryptography. The package imports `oauth`
and `signers`, and neither server nor guard.
"""

from __future__ import annotations

TYPE_CHECKING = False  # of the module typing, which takes longer to load than this one
if TYPE_CHECKING:  # __getattr__ loads them
    from typing import Any

    from affiant.client.cache.stores.encrypted import EncryptedFileStore, EncryptedStore
    from affiant.client.cache.stores.folder import FileTokenStore
    from affiant.client.cache.stores.keyring import KeyringStore
    from affiant.client.cache.stores.redis import RedisStore
    from affiant.client.cache.stores.store import TokenStore
    from affiant.client.credentials.file import Credentials
    from affiant.client.events import Event
    from affiant.client.http.challenge import InsufficientScope, check_scope, find_needed_scope
    from affiant.client.http.origin import NoTls, WrongOrigin
    from affiant.client.identity import Service
    from affiant.client.protocol.auth import Assertion, OverTls, SecretBasic, SecretPost
    from affiant.client.token import Token

__all__ = [
    "Assertion",
    "Credentials",
    "EncryptedFileStore",
    "EncryptedStore",
    "Event",
    "FileTokenStore",
    "InsufficientScope",
    "KeyringStore",
    "NoTls",
    "OverTls",
    "RedisStore",
    "SecretBasic",
    "SecretPost",
    "Service",
    "Token",
    "TokenStore",
    "WrongOrigin",
    "check_scope",
    "find_needed_scope",
]

_ROOMS = {
    "TokenStore": "cache.stores.store",
    "RedisStore": "cache.stores.redis",
    "KeyringStore": "cache.stores.keyring",
    "FileTokenStore": "cache.stores.folder",
    "EncryptedStore": "cache.stores.encrypted",
    "EncryptedFileStore": "cache.stores.encrypted",
    "Assertion": "protocol.auth",
    "Credentials": "credentials.file",
    "Event": "events",
    "InsufficientScope": "http.challenge",
    "NoTls": "http.origin",
    "OverTls": "protocol.auth",
    "SecretBasic": "protocol.auth",
    "SecretPost": "protocol.auth",
    "Service": "identity",
    "Token": "token",
    "WrongOrigin": "http.origin",
    "check_scope": "http.challenge",
    "find_needed_scope": "http.challenge",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415 - nothing is loaded before it is asked for

    if name not in _ROOMS:
        raise AttributeError(f"module 'affiant.client' has no attribute {name!r}")
    return getattr(import_module(f"affiant.client.{_ROOMS[name]}"), name)
