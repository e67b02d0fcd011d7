"""client_secret_basic and client_secret_post: a secret that is recognised by its keyed digest."""

from __future__ import annotations

import hmac

from affiant.errors import Rejected
from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.directory import RegisteredClient

_NOBODY = bytes(32)


def verify(client: RegisteredClient | None, secret: str, *, master_key: MasterKey, now: float) -> str | None:
    """Check the secret of a client, with the same work when there is none."""
    digest = master_key.digest(secret)
    stored = client.record.secrets if client is not None else ()
    live = [s for s in stored if s.digest is not None and (s.expires_at is None or s.expires_at > now)]
    # Every live secret is compared, so that the time does not tell which one it was.
    matches = [hmac.compare_digest(s.digest or _NOBODY, digest) for s in live]
    if not live:
        hmac.compare_digest(_NOBODY, digest)
    if not any(matches):
        raise Rejected(Reason.SECRET)
    return live[matches.index(True)].id or None
