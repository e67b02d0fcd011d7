"""Find what `affiant client check` lists besides breaches: no owner, rules that rest on names, and other troubles.

The other troubles are those that the server finds itself (GET /attention).
"""

from __future__ import annotations

import asyncio
from typing import Any

from affiant.cli.connection.admin import Admin, segment

NO_OWNER, NAMES_ONLY = "client.no_owner", "rule.names_only"
_BREACHES = "would_break"  # listed with the requests that they were in
_AGAIN_SECONDS, _TIMES = 0.2, 300


async def find(api: Admin, name: str | None) -> list[dict[str, Any]]:
    """Return the weaknesses of this client, or of all."""
    return [*await _without_owner(api, name), *await _weak_rules(api, name), *await _attention(api, name)]


def line(found: dict[str, Any]) -> str:
    """Return the client, the weakness, and the command that mends or shows it."""
    client_id, reason = found["client_id"], found["reason"]
    if "sentence" in found:
        return f"{client_id}  {reason}  {found['sentence']}  {found['fix']}"
    if reason == NO_OWNER:
        mends = f"affiant client update {client_id} --owner NAME"
    else:
        mends = f"affiant rule show {found['rule']}"
    return f"{client_id}  {reason}  {mends}"


async def _attention(api: Admin, name: str | None) -> list[dict[str, Any]]:
    """Return the other troubles of clients; the server may first have to read all of them."""
    found = await api.get("/attention")
    for _ in range(_TIMES):
        if found["scanned_at"] is not None:
            break
        await asyncio.sleep(_AGAIN_SECONDS)
        found = await api.get("/attention")
    return [
        {"client_id": item["subject"], "reason": item["kind"], "sentence": item["sentence"], "fix": item["fix"]}
        for item in found["items"]
        if item["noun"] == "client" and item["kind"] != _BREACHES and name in (None, item["subject"])
    ]


async def _weak_rules(api: Admin, name: str | None) -> list[dict[str, Any]]:
    """Return the enabled rules that rest on names alone, which another tenant of the platform could take over."""
    return [
        {"client_id": rule["client_id"], "reason": NAMES_ONLY, "rule": rule["name"]}
        for rule in await api.all("/rules")
        if rule["names_only"] and rule["enabled"] and name in (None, rule["client_id"])
    ]


async def _without_owner(api: Admin, name: str | None) -> list[dict[str, Any]]:
    """Return the enabled clients that have no owner."""
    clients = [await api.get(f"/clients/{segment(name)}")] if name is not None else await api.all("/clients")
    return [
        {"client_id": client["client_id"], "reason": NO_OWNER}
        for client in clients
        if client["owner"] is None and client["enabled"]
    ]
