"""DPoP at the token endpoint: the proof that comes with a request, and with it the key that its token is bound to.

Used proofs are remembered by each process for itself, and nothing of them is stored. Whoever repeats one elsewhere
still needs a client assertion that was never used, or the secret, and gets a token bound to a key that they lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affiant.errors import Rejected
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import DpopProof, Nonces
from affiant.reasons import Reason
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.visit import Visit


class Proofs:
    """Judges proofs."""

    def __init__(self, *urls: str, nonces: Nonces | None = None, algorithms: tuple[str, ...] | None = None) -> None:
        self._urls = urls
        self._nonces = nonces
        self._algorithms = algorithms or ASYMMETRIC
        self._replays = dpop.Replays()

    def metadata(self) -> dict[str, Any]:
        """What the server's metadata says of proofs (RFC 9449 section 5.1)."""
        return {"dpop_signing_alg_values_supported": list(self._algorithms)}

    def verify(
        self, values: Sequence[bytes], client: RegisteredClient, visit: Visit, *, is_bound: bool = False
    ) -> DpopProof | None:
        """The proof of an authenticated client's request, or None where there is none and none is needed."""
        demands = client.demands
        if not values and not client.record.dpop_bound_access_tokens and (is_bound or not demands.binds):
            return None
        if self._nonces is not None:
            visit.headers = ((b"dpop-nonce", self._nonces.current(visit.now).encode("ascii")),)
        if not values:
            raise Rejected(Reason.DPOP_MISSING)
        algorithms = demands.algorithms or self._algorithms
        proof = dpop.verify(
            values,
            method="POST",
            urls=self._urls,
            now=visit.now,
            nonces=self._nonces,
            algorithms=algorithms,
        )
        # From here on it is used, whatever becomes of the request.
        self._replays.claim(proof, visit.now)
        visit.note = f"dpop {proof.jkt}"
        return proof
