"""client_secret_basic and client_secret_post: a secret that is recognised by its keyed digest."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from affiant.errors import Rejected
from affiant.reasons import Reason

if TYPE_CHECKING:
    from affiant.server.clients import RegisteredClient
    from affiant.server.keys.master_key import MasterKey

_NOBODY = bytes(32)


def verify(client: RegisteredClient | None, secret: str, *, master_key: MasterKey, now: float) -> None:
    """Check the secret of a client, with the same work when there is none.

    Raises:
        Rejected: SECRET.
    """
    digest = master_key.digest(secret)
    stored = [s for s in client.record.secrets if s.digest is not None] if client is not None else []
    # Every live secret is compared, so that the time does not tell which one it was.
    matches = [
        hmac.compare_digest(s.digest or _NOBODY, digest) for s in stored if s.expires_at is None or s.expires_at > now
    ] or [hmac.compare_digest(_NOBODY, digest)]
    if not any(matches):
        raise Rejected(Reason.SECRET)
