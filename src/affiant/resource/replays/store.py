"""What a store of used proofs promises to the guards that share it."""

from __future__ import annotations

from typing import Protocol


class ReplayStore(Protocol):
    """Remembers which DPoP proofs were used, for all processes of an API.

    Several APIs may share a store. It learns digests: neither a jti nor a key, and no token.
    """

    async def claim(self, name: bytes, *, now: float, until: float) -> bool:
        """Return True if the name was not claimed before, and remember it.

        Of any number of calls with one name, from tasks, threads, processes and machines, exactly one returns True
        before `until`. A store that forgets names earlier must not return True for them.

        It is called in the event loop that checks the request, or in one of the guard. If it raises, or takes longer
        than a second, the request is refused with 503: whether the name is claimed then does not matter.

        Args:
            name: 32 bytes, a digest of the proof and the API.
            now: the clock of the guard, in seconds since the epoch.
            until: when the name may be forgotten. Two minutes earlier the proof is refused for its age: the clocks of
                an API's machines may differ.
        """
        ...
