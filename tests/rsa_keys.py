"""RSA keys take long to make: one for each algorithm, for all modules of a process."""

from functools import cache

from affiant.jose import keys
from affiant.jose.keys import PrivateKey


@cache
def rsa_key(alg: str = "RS256") -> PrivateKey:
    """The key for this algorithm; `keys.generate` makes another one, where a test needs two."""
    return keys.generate(alg)
