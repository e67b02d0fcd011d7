"""A guard, and requests whose tokens are bound to a key."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.resource.issuer import API, Issuer

from affiant.errors import Rejected, RemoteError
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.oauth.binding import dpop
from affiant.resource import Caller, Guard, Proved


class Sender:
    """A client with a bound token. `prove` makes a request with a new proof."""

    def __init__(self, issuer: Issuer, **claims: Any) -> None:
        self._issuer, self._key = issuer, dpop.ProofKey.of(keys.generate("ES256"))
        bound = {"cnf": {"jkt": self._key.thumbprint}, "scope": "a", **claims}
        self.token = issuer.token(**bound).removeprefix(b"Bearer ")
        self.authorization = [b"DPoP " + self.token]

    def prove(self, **parts: Any) -> Proved:
        claims = {"now": self._issuer.now, "access_token": self.token.decode(), **parts}
        return Proved("GET", f"{API}/", (dpop.build(self._key, method="GET", url=f"{API}/", **claims).encode(),))


async def outcome(
    check: Callable[..., Awaitable[Caller]], guard: Guard, sender: Sender, proved: Proved, **more: Any
) -> Any:
    """Return the reason of a refusal, the text of a 503, or None for a caller."""
    try:
        await check(guard, sender.authorization, proved=proved, **more)
    except Rejected as refusal:
        return refusal.reason
    except RemoteError as error:
        return str(error)
    return None


REPLAYED = Reason.DPOP_REPLAYED
