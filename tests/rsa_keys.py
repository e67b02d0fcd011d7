"""RSA keys take long to make: one for each algorithm, for all modules of a process."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

from affiant.jose import keys
from affiant.jose.keys import PrivateKey


@cache
def rsa_key(alg: str = "RS256") -> PrivateKey:
    """The key for this algorithm; `keys.generate` makes another one, where a test needs two."""
    return keys.generate(alg)


@cache
def rsa_2048(number: int = 1) -> rsa.RSAPrivateKey:
    """The key of this number, of the size that most platforms have."""
    return rsa.generate_private_key(65537, 2048)
