"""One key for each algorithm that is compared; RSA once, because it is slow to make."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.rsa_keys import rsa_key

from affiant.jose import keys
from affiant.jose.keys import PrivateKey, PublicKey, SecretKey

SECRET = b"0123456789abcdef0123456789abcdef"
_MAKERS: dict[str, Callable[[Any], Any]] = {
    "RSA": RSAKey.import_key, "EC": ECKey.import_key, "OKP": OKPKey.import_key
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One key as each of the three libraries takes it.

    Attributes:
        signer: signs.
        ours: verifies, here.
        joserfc: the same for joserfc.
        pyjwt: the same for PyJWT.
        algorithms: what it may verify; all three are told.
    """

    signer: PrivateKey | SecretKey
    ours: PublicKey | SecretKey
    joserfc: Any
    pyjwt: Any
    algorithms: tuple[str, ...]


def _pair(signer: PrivateKey | SecretKey) -> Pair:
    if isinstance(signer, SecretKey):
        return Pair(signer, signer, OctKey.import_key(signer.secret), signer.secret, (signer.alg,))
    public = signer.public()
    jwk = {name: value for name, value in public.to_jwk().items() if name not in {"alg", "kid"}}
    return Pair(signer, public, _MAKERS[public.kty](jwk), public.key, tuple(sorted(public.algorithms)))


@pytest.fixture(scope="session")
def pairs() -> dict[str, Pair]:
    """By algorithm; those that cost little stand more often in a run (ALGORITHMS in tokens.py)."""
    rsa = rsa_key()
    signers: list[PrivateKey | SecretKey] = [SecretKey(SECRET), keys.generate("ES256"), keys.generate("Ed25519"), rsa]
    made = {signer.alg: _pair(signer) for signer in signers}
    material = {name: value for name, value in rsa.to_jwk().items() if name != "alg"}
    return {**made, "PS256": _pair(keys.parse_private_jwk(material, alg="PS256"))}
