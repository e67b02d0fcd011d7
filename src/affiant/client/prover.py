"""The proofs of a service (RFC 9449): one for each request, with the nonce that its server gave last."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from affiant.client.token import NotPickled
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey

_HEADER = "dpop-nonce"
MAX_ORIGINS = 64  # servers whose nonces are kept
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1


class Prover(NotPickled):
    """Makes proofs, and learns nonces.

    Args:
        key: what is proved.
        clock: seconds since the epoch.
    """

    def __init__(self, key: ProofKey, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._nonces: dict[str, str] = {}

    def prove(self, method: str, url: str, *, access_token: str | None = None, offset: float = 0.0) -> str:
        """A proof for one request, never used before.

        Args:
            method: of the request.
            url: of the request.
            access_token: the one that goes along.
            offset: seconds that this machine's clock is known to be behind.
        """
        return dpop.build(
            self._key,
            method=method,
            url=url,
            now=self._clock() + offset,
            nonce=self._nonces.get(_origin(url)),
            access_token=access_token,
        )

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Keep the nonce of an answer for the next request; whether there was one (RFC 9449 section 8.2).

        Args:
            url: of the request.
            headers: of the answer; names in lower case, or a mapping that does not mind.
        """
        nonce = headers.get(_HEADER, "")
        # What is no nonce would stand in a JWT that no server takes.
        if _NONCE.fullmatch(nonce) is None:
            return False
        if len(self._nonces) >= MAX_ORIGINS:
            self._nonces.clear()  # each costs a request to learn again, and nobody talks to so many
        self._nonces[_origin(url)] = nonce
        return True


def _origin(url: str) -> str:
    """RFC 9449 section 8.2 leaves it to servers how far a nonce goes; further than its origin none is meant."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
