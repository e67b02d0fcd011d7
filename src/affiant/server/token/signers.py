"""Find the key that signs a token, and check that it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from affiant.errors import ConfigError, SignerError
from affiant.jose.signer import AnySigner
from affiant.server.keys import signing_keys
from affiant.server.keys.kms import KmsKey
from affiant.server.keys.vault import TokenKey, Vault
from affiant.server.registry.directory import Directory
from affiant.storage.ports import Store

PROVE_SECONDS = 5.0  # between two signatures that show that a PKCS #11 token is there; those of a KMS are fewer


class Signers:
    """Finds the key that signs; makes the first key of a line, because an API may choose a new algorithm."""

    def __init__(self, directory: Directory, store: Store, vault: Vault, *, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._store = store
        self._vault = vault
        self._clock = clock
        self._alone = asyncio.Lock()

    async def get(self, line: str) -> AnySigner:
        signer = self._directory.find_signer(line)
        return signer if signer is not None else await self._begin(line)

    async def prove(self) -> None:
        """Let each signing key that is in a PKCS #11 token or a KMS sign something: only that shows that it can."""
        await self._directory.refresh()
        for line in {signing_keys.DEFAULT_LINE, *(api.signing_alg or "" for api in self._directory.apis)}:
            signer = self._directory.find_signer(line)
            if isinstance(signer, TokenKey | KmsKey):
                await signer.prove()

    async def _begin(self, line: str) -> AnySigner:
        async with self._alone:  # one of many first requests makes the key
            signer = self._directory.find_signer(line)
            if signer is None:
                await self._make(line)
                signer = self._directory.find_signer(line)
        if signer is None:
            raise SignerError(f"no key signs{f' for {line}' if line else ''}: name one, {signing_keys.HOW}")
        return signer

    async def _make(self, line: str) -> None:
        try:
            await signing_keys.ensure(self._store, self._vault, now=int(self._clock()), line=line)
        except ConfigError as error:
            raise SignerError(str(error)) from error
        await self._directory.refresh(at_once=True)
