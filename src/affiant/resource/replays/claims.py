"""The last step of a check with a proof: use the proof up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from affiant.errors import Rejected, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.oauth.binding.dpop import DpopProof, Replays
from affiant.resource.replays.store import ReplayStore
from affiant.resource.waiting import Steps

MOST_SECONDS = 1.0  # that a request waits for the store
# For which a store remembers a proof that is too old already: the clock of another machine may be behind, and a check
# may wait for the issuer after it has judged the age of a proof.
MARGIN_SECONDS = 120.0


class Claims:
    """Claims proofs in a store, or in the memory of this process where there is none."""

    def __init__(self, memory: Replays, store: ReplayStore | None, *, api: str, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._store = store
        self._scope = sha256(api.encode()).digest()
        self._clock = clock

    def claim(self, proof: DpopProof) -> Steps[None]:
        """Use up the proof; raise DPOP_REPLAYED, or RemoteError if the store does not say."""
        now = self._clock()
        if self._store is None:
            self._memory.claim(proof, now)
        elif (yield partial(self._ask, self._store, proof, now)) is not True:
            raise Rejected(Reason.DPOP_REPLAYED)

    async def _ask(self, store: ReplayStore, proof: DpopProof, now: float) -> bool:
        name = sha256(self._scope + proof.digest).digest()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                return await store.claim(name, now=now, until=proof.live_until + MARGIN_SECONDS)
        except TimeoutError:
            raise Unreachable(f"the store of used proofs did not answer within {MOST_SECONDS:.0f} s") from None
        except RemoteError:
            raise
        # Attack: the store is made to fail. Whatever it raises, the proof counts as used.
        except Exception as error:
            raise RemoteError(f"the store of used proofs failed: {type(error).__name__}") from error
