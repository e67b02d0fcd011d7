"""What is shown of a client's keys: what each may do, how it was used, and whether it can go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affiant.server.registry import client_keys
from affiant.server.registry.credentials import completion
from affiant.storage.records import ClientKey, KeyUse

_IN_USE = ("active", "retiring")


def keys(records: Sequence[ClientKey], uses: Sequence[KeyUse], *, now: int) -> list[dict[str, Any]]:
    """Every key, in the order of their registration; instants in seconds since the epoch."""
    by_name = {use.credential: use for use in uses}
    shown = []
    for place, key in enumerate(records):
        name = client_keys.thumbprint(key)
        successors = [
            by_name.get(other)
            for later in records[place + 1 :]
            if client_keys.state(later, now) == "active" and (other := client_keys.thumbprint(later)) != name
        ]
        use = by_name.get(name)
        members = {**_key(key, now), **_use(use)}
        if successors and members["state"] in _IN_USE:
            judged = completion.judge(use, successors, now=now)
            members |= {"safe_to_complete": judged.is_safe, "why": judged.why}
        shown.append(members)
    return shown


def _key(key: ClientKey, now: int) -> dict[str, Any]:
    public = client_keys.parse(key.jwk)
    return {
        "kid": key.kid,
        "thumbprint": public.thumbprint,
        "alg": public.alg,
        "state": client_keys.state(key, now),
        "created_at": key.created_at,
        "not_before": key.not_before or None,
        "expires_at": key.expires_at,
        "proved_at": key.proved_at,
        "retiring_at": key.retiring_at,
        "revoked_at": key.revoked_at,
        "source": key.source,
    }


def _use(use: KeyUse | None) -> dict[str, Any]:
    return {"last_used_at": use.last_at if use else None, "use_count": use.count if use else 0}
