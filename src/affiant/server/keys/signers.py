"""Who signs a token: the key of the line that its APIs have chosen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from affiant.errors import ConfigError, StoreError
from affiant.server.keys import signing_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from affiant.jose.signer import AnySigner
    from affiant.server.keys.vault import Vault
    from affiant.server.registry.directory import Directory
    from affiant.storage.ports import Store


class Signers:
    """Finds the key that signs, and makes the first of a line: an API's algorithm may be new to the server."""

    def __init__(self, directory: Directory, store: Store, vault: Vault, *, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._store = store
        self._vault = vault
        self._clock = clock
        self._alone = asyncio.Lock()

    async def get(self, line: str) -> AnySigner:
        """The key of this line that signs now.

        Raises:
            StoreError: there is none, and none can be made now.
        """
        signer = self._directory.find_signer(line)
        return signer if signer is not None else await self._begin(line)

    async def _begin(self, line: str) -> AnySigner:
        async with self._alone:  # of many first tokens, one makes the key
            signer = self._directory.find_signer(line)
            if signer is None:
                await self._make(line)
                signer = self._directory.find_signer(line)
        if signer is None:
            raise StoreError(f"there is no signing key of {line}")
        return signer

    async def _make(self, line: str) -> None:
        try:
            await signing_keys.ensure(self._store, self._vault, now=int(self._clock()), line=line)
        except ConfigError as error:
            raise StoreError(str(error)) from error
        await self._directory.refresh(at_once=True)
