"""The keys of trusts: uploaded, or fetched from their issuers."""

from __future__ import annotations

from collections.abc import Sequence

from affiant.errors import Rejected
from affiant.jose.compact import Unverified
from affiant.jose.keys import PublicKey
from affiant.reasons import Reason
from affiant.server.registry.federation.known import KnownTrust


class TrustKeys:
    """Finds the keys that may have signed a token of a trust."""

    async def find(self, trust: KnownTrust, unverified: Unverified, *, now: float) -> Sequence[PublicKey]:  # noqa: ARG002
        """Return the keys to try; raise Rejected if there is none."""
        if trust.keys is None:
            raise Rejected(Reason.TRUST_KEYS)
        found = trust.keys.candidates(unverified.alg, unverified.kid)
        if not found:
            raise Rejected(Reason.TRUST_KEY_UNKNOWN, got=f"{unverified.alg} {unverified.kid or 'without kid'}"[:100])
        return found

    async def close(self) -> None:
        """Cancel the fetches in flight."""
