"""The server's own signing keys: made once, sealed, published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from affiant.jose import keys
from affiant.server.clients import signing_key_purpose
from affiant.storage.records import SigningKey

if TYPE_CHECKING:
    from affiant.server.keys.master_key import MasterKey
    from affiant.storage.ports import Store

DEFAULT_ALG = "ES256"  # what API gateways of every make verify; Ed25519 is refused by several


async def ensure(store: Store, master_key: MasterKey, *, now: int, alg: str = DEFAULT_ALG) -> SigningKey:
    """The newest signing key, made if there is none; of two that start at once, both get the same.

    Raises:
        StoreError: it cannot be stored.
    """
    standing = await store.signing_keys.list()
    if standing:
        return standing[0]
    key = keys.generate(alg)
    sealed = master_key.seal(json.dumps(key.to_jwk()).encode(), purpose=signing_key_purpose(key.kid))
    return await store.signing_keys.add_first(
        SigningKey(
            kid=key.kid,
            alg=alg,
            public_jwk=json.dumps(key.public().to_jwk()),
            sealed=sealed,
            state="active",
            created_at=now,
        )
    )
