"""Handing over what a new client proves itself with: it and its file, or neither of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from affiant.cli.operations.road import segment
from affiant.client.credentials import Credentials
from affiant.errors import ConfigError, Error

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any

    from affiant.cli.operations.road import Admin
    from affiant.jose.keys import PrivateKey

Result = TypeVar("Result")


def credentials_of(registered: dict[str, Any], issuer: str, key: PrivateKey | None = None) -> Credentials:
    """The credentials of a client, from the answer to its registration and the key that was made for it."""
    resources = registered["resources"]
    return Credentials(
        issuer=issuer,
        client_id=registered["client_id"],
        auth_method=registered["token_endpoint_auth_method"],
        alg=registered["token_endpoint_auth_signing_alg"],
        kid=key.kid if key is not None else None,
        key=key.to_jwk() if key is not None else None,
        client_secret=registered["client_secret"],
        scope=" ".join(registered["scope"]) or None,
        resource=resources[0] if len(resources) == 1 else None,
    )


async def keep(api: Admin, made: Credentials, path: Path) -> None:
    """Write the credentials file of a client that was just registered; where that fails, take the client back.

    Raises:
        ConfigError: it cannot be written; a note says so where the client is still there.
    """
    try:
        made.write(path)
    except ConfigError as failure:
        try:
            await api.delete(f"/clients/{segment(made.client_id)}")
        except Error as error:
            failure.add_note(left_behind(made.client_id, error, f"remove it: affiant client remove {made.client_id}"))
        raise


def left_behind(client_id: str, why: Error, remedy: str) -> str:
    """What is told of a client that is registered, and of which nobody has the key or the secret."""
    return f"{client_id} is registered all the same, and nobody can use it ({why}): {remedy}"


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """What it returns or raises. Who is stopped meanwhile stops when it is done, and not between its halves."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
