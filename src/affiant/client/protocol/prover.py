"""The DPoP proofs of a service (RFC 9449): one for each request, with the last nonce of the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from affiant.client.token import NotPickled
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import ProofKey

_HEADER = "dpop-nonce"
MAX_ORIGINS = 64  # whose nonces are kept
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # RFC 9449 section 8.1


class Prover(NotPickled):
    def __init__(self, key: ProofKey, clock: Callable[[], float]) -> None:
        self._key = key
        self._clock = clock
        self._nonces: dict[str, str] = {}

    @property
    def thumbprint(self) -> str:
        """The jkt of tokens that are bound to this key (RFC 9449 section 6)."""
        return self._key.thumbprint

    def prove(self, method: str, url: str, *, access_token: str | None = None, offset: float = 0.0) -> str:
        """Return a new proof for one request. `offset` is how many seconds this machine's clock is behind."""
        return dpop.build(
            self._key,
            method=method,
            url=url,
            now=self._clock() + offset,
            nonce=self._nonces.get(_origin(url)),
            access_token=access_token,
        )

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Keep the nonce of a response for the next request, and say whether it has one (RFC 9449 section 8.2).

        The names of the headers are in lower case, or the mapping ignores case.
        """
        nonce = headers.get(_HEADER, "")
        if _NONCE.fullmatch(nonce) is None:
            return False
        if len(self._nonces) >= MAX_ORIGINS:
            self._nonces.clear()  # each costs one request to learn again
        self._nonces[_origin(url)] = nonce
        return True


def _origin(url: str) -> str:
    """Return the origin: how far a nonce is valid is up to the server (RFC 9449 section 8.2), but never further."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
