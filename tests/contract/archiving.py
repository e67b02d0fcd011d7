"""Fixtures of the archive tests: a log of many days, and the parts that archive it."""

from pathlib import Path

from affiant.errors import Error
from affiant.server.keys import signing_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault
from affiant.server.request.audit.archiving.folder import Folder
from affiant.server.request.audit.retention import Archived, Parts, Retention
from affiant.storage.entries import AuditRecord, AuditRow, Entry
from affiant.storage.history.audit_chain import Verification, walk
from affiant.storage.ports import Store

ISSUER = "https://as.example"
KEY = MasterKey.from_bytes(b"m" * 32)
DAY = 86_400
NOW = 1_800_000_000


def entry(number: int, at: float | None = None) -> Entry:
    """A refusal, an hour after the one before it."""
    record = AuditRecord(
        at=number * 3600.0 if at is None else at,
        trace_id=f"trace{number:07d}",
        endpoint="token",
        outcome="refused",
        reason="assertion.expired",
        detail=f"\u2028 number {number}",
    )
    return Entry(record)


async def fill(store: Store, count: int, first: int = 1) -> None:
    """Append so many records."""
    for number in range(first, first + count):
        await store.ledger.claim(entry(number))


async def parts(store: Store, folder: Path) -> Parts:
    """The parts of a server with a signing key."""
    vault = Vault(KEY)
    await signing_keys.ensure(store, vault, now=NOW)
    return Parts(ISSUER, store, KEY, vault, Folder(folder, is_own=True), lambda: float(NOW))


async def archived(made: Parts, before: float, most: int = 1_000_000) -> list[Archived]:
    """Archive, at once."""
    retention = Retention(made, by="cli, test", rest=0.0, most=most)
    return [one async for one in retention.archive(before)]


async def verified(store: Store) -> list[AuditRow]:
    """The rows of a log whose chain holds."""
    verification = Verification(KEY.audit, base=await store.audit_log.base())
    given, rows = (await store.audit_log.head()).given, []
    async for row in walk(store.audit_log):
        verification.feed(row)
        rows.append(row)
    verification.finish(given)
    return rows


async def refusal(made: Parts, before: float) -> str:
    """Return the error for which nothing was archived."""
    try:
        await archived(made, before)
    except Error as error:
        return str(error)
    raise AssertionError("it archived")
