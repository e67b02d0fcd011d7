"""Detectors that read every client: keys that end, shared secrets, clients that are no longer used; and of keys."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from affiant.oauth import names
from affiant.server.admin import views
from affiant.server.admin.calls import Call
from affiant.server.admin.routes.usage import budgets, used
from affiant.server.admin.routes.usage.budgets import Spending
from affiant.server.admin.routes.usage.finding import (
    DAY_SECONDS,
    KEY_ENDS,
    OVER_BUDGET,
    SHARED_SECRET,
    SIGNING_KEY_DUE,
    TRUST_KEYS_OLD,
    UNUSED,
    Finding,
    Scan,
)
from affiant.server.admin.routes.usage.used import Used
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.profiles import GUIDE
from affiant.storage.records import Client

END_DAYS, UNUSED_DAYS, UPLOADED_DAYS = 30, 90, 90
_PAGE = 100


async def scan(call: Call, found: Scan) -> None:
    """Judge every client, in pages and slices."""
    after = ""

    async def fetch() -> list[tuple[Client, Used, Spending | None]]:
        clients = await call.whole.clients.list(after=after, limit=_PAGE)
        uses = await used.find_last(call, [client.client_id for client in clients])
        over = await budgets.find(call, clients)
        return [(client, uses[client.client_id], over.get(client.client_id)) for client in clients]

    def judge(row: tuple[Client, Used, Spending | None]) -> str:
        client, use, spending = row
        for finding in _judge(client, use, call.now):
            found.add(finding)
        if spending is not None and client.enabled:
            found.add(_spends(client, spending))
        return row[0].client_id

    while names_read := await call.context.reads.each(fetch, judge):
        after = names_read[-1]


def _judge(client: Client, use: Used, now: int) -> Iterator[Finding]:
    if not client.enabled:
        return
    if (end := _end(client, now)) is not None and end - now < END_DAYS * DAY_SECONDS:
        yield _ends(client, end, now)
    if client.token_endpoint_auth_method in names.BY_SECRET and client.profile != GUIDE:
        fix = f"affiant client update {quote(client.client_id)} --auth private_key_jwt --public-key FILE"
        sentence = f"proves itself by a secret that this server knows too ({client.token_endpoint_auth_method})"
        sentence += "; a key of its own would never leave it"
        yield Finding(SHARED_SECRET, "client", client.client_id, sentence, use.last_at or 0, {}, fix, client.team)
    if use.is_unused(client, now - UNUSED_DAYS * DAY_SECONDS):
        days = (now - max(use.last_at or 0, client.created_at)) // DAY_SECONDS
        sentence = f"was not used for {days:,} days" if use.last_at else f"was never used, in {days:,} days"
        fix = f"affiant client disable {quote(client.client_id)}"
        yield Finding(UNUSED, "client", client.client_id, sentence, days, {"days": days}, fix, client.team)


def _spends(client: Client, spending: Spending) -> Finding:
    return Finding(
        OVER_BUDGET,
        "client",
        client.client_id,
        spending.sentence,
        spending.asked / spending.budget,
        {"asked": spending.asked, "budget": spending.budget, "refused": spending.refused},
        f"affiant client show {quote(client.client_id)}",
        client.team,
    )


def _end(client: Client, now: int) -> int | None:
    """Return when the last credential of a client ends; None if one has no end, or none is left.

    A key that is followed by another ends as planned.
    """
    if client.token_endpoint_auth_method in names.BY_SECRET:
        ends = [secret.expires_at for secret in client.secrets if secret.expires_at is None or secret.expires_at > now]
    else:
        ends = [key.expires_at for key in client_keys.live(client.keys, now) if key.revoked_at is None]
    return max((end for end in ends if end is not None), default=None) if None not in ends else None


def _ends(client: Client, end: int, now: int) -> Finding:
    is_secret = client.token_endpoint_auth_method in names.BY_SECRET
    days, what = (end - now) // DAY_SECONDS, "secret" if is_secret else "key"
    left = f"in {days} days" if days > 1 else "within two days"
    command = "client secret new {}" if is_secret else "client key add {} --public-key FILE"
    return Finding(
        KEY_ENDS,
        "client",
        client.client_id,
        f"has a {what} that ends {left}, and no other: from then on it is refused",
        -end,
        {"ends_at": end, "days": days},
        f"affiant {command.format(quote(client.client_id))}",
        client.team,
    )


async def find_keys(call: Call) -> list[Finding]:
    """Return the signing keys that an operator must follow up, and the uploaded keys of trusts that are old."""
    found = []
    keys = await call.context.store.signing_keys.list()
    for key in keys:
        due = views.signing_key(key, keys, call.now, call.context.calendar).next_due_at
        if due is not None and due - call.now < END_DAYS * DAY_SECONDS:
            sentence = "is in a KMS, and the key that follows it is due: the server cannot make it"
            fix = "affiant signing-key rotate --key NAME"
            found.append(Finding(SIGNING_KEY_DUE, "signing_key", key.kid, sentence, -due, {"due_at": due}, fix))
    for trust in await call.context.store.trusts.list():
        days = (call.now - (trust.jwks_at or trust.created_at)) // DAY_SECONDS
        if trust.enabled and trust.jwks is not None and days >= UPLOADED_DAYS:
            sentence = f"has keys that were uploaded {days:,} days ago, and are never fetched: new ones are not known"
            fix = f"affiant trust update {quote(trust.name)} --jwks FILE"
            found.append(Finding(TRUST_KEYS_OLD, "trust", trust.name, sentence, days, {"days": days}, fix, trust.team))
    return found
