"""Checks of what the database has: signing keys, clients, backups, the audit log."""

from __future__ import annotations

import shlex
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

import msgspec

from affiant.cli.connection import data, local
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation import signing
from affiant.cli.diagnosis.checkup.installation.inspected import DAY, MIB, Facts, Installation
from affiant.cli.operations import weaknesses
from affiant.errors import Error
from affiant.jose.claims import LEEWAY
from affiant.server.keys import calendar, rotation
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import client_secret_purpose
from affiant.server.request.audit import retention
from affiant.server.request.audit.archiving.keeping import parse_keep
from affiant.server.request.audit.sinks import configured
from affiant.server.request.audit.sinks.lag import lags
from affiant.server.settings import Settings
from affiant.storage.entries import AuditRow
from affiant.storage.ports import Store
from affiant.storage.records import BACKED_UP_AT, Client
from affiant.system.text import instant, one_line, printable

_SHORT = 32  # bytes of a secret; those that the server makes have 43
_RECORD_BYTES, _LOOKED = 600, 10_000  # of an audit record; how many records the growth is measured over
_OLD_BACKUP, _SOON_FULL = 7, 30  # days
_LATE_ARCHIVE = 2 * DAY
_LATE_SINK = 300  # seconds
_PROBLEM = 300  # characters
_RESTART = "systemctl restart affiant, with this setting"
_PAGE = 1000
_SENTENCES = {
    weaknesses.NO_OWNER: "has no owner",
    weaknesses.NAMES_ONLY: "has a rule that rests on names, which another tenant of the platform could take over",
}


def contents(found: Installation) -> Iterator[Finding]:
    """The records open with this master key."""
    if not found.is_current:
        return
    try:
        found.facts = data.with_store(found.chosen, partial(_read, found.chosen))
    except Error as error:
        yield Finding("contents", BAD, one_line(error), "docs/how-to/master-key.md")
        return
    yield Finding("contents", GOOD, f"the records open with this master key; the issuer is {found.facts.issuer}")


async def _read(chosen: Settings, store: Store, key: MasterKey) -> Facts:
    now, keys = time.time(), await store.signing_keys.list()
    vault = data.open_vault(chosen, key)
    try:
        about_keys = [finding async for finding in signing.look(keys, vault, chosen, now)]
    finally:
        await vault.close()
    newest_at, a_day = await _growth(store)
    oldest, rings = await store.audit_log.export(limit=1), await rotation.find(store)
    backed_up_at = await store.settings.get(BACKED_UP_AT)
    behind, cursors = await lags(store, now), await store.cursors.list()
    problems = {cursor.name: printable(cursor.problem, _PROBLEM) for cursor in cursors}
    return Facts(
        issuer=await data.find_issuer(store, chosen),
        is_issuer_known=await data.is_issuer_known(store, chosen),
        kids=frozenset(known.kid for known in calendar.live(keys, now)),
        signing=about_keys,
        weak=[client_id async for client_id in _guessable(store, key)],
        backed_up_at=int(backed_up_at) if backed_up_at is not None else None,
        oldest_at=_at(oldest[0]) if oldest else None,
        newest_at=newest_at,
        records_a_day=a_day,
        sinks={name: (lag, problems.get(name, "")) for name, lag in behind.items()},
        archive_problem=problems.get(retention.NAME, ""),
        rotating_since=rings.rotated_at if rings is not None and not rotation.is_finished(rings, key) else None,
    )


async def _growth(store: Store) -> tuple[float | None, float | None]:
    """Return the time of the newest audit record, and how many come in a day."""
    newest = await store.audit_log.newest(limit=1)
    if not newest:
        return None, None
    older = await store.audit_log.newest(before=max(newest[0].number - _LOOKED, 2), limit=1)
    end, begin = _at(newest[0]), _at(older[0]) if older else None
    if begin is None or end is None or end - begin < DAY / 24:
        return end, None
    return end, (newest[0].number - older[0].number) / (end - begin) * DAY


def _at(row: AuditRow) -> float | None:
    try:
        return float(msgspec.json.decode(row.record)["at"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


async def _guessable(store: Store, key: MasterKey) -> AsyncIterator[str]:
    """Yield the clients with a short secret. Of a secret that is only recognised, the length is not known."""
    after = ""
    while page := await store.clients.list(after=after, limit=_PAGE):
        for client in page:
            if any(len(text) < _SHORT for text in _secrets(client, key)):
                yield client.client_id
        after = page[-1].client_id


def _secrets(client: Client, key: MasterKey) -> list[bytes]:
    purpose = client_secret_purpose(client.client_id)
    return [key.unseal(secret.sealed, purpose=purpose) for secret in client.secrets if secret.sealed is not None]


def signing_keys(found: Installation) -> Iterator[Finding]:
    """Each line has a key that can sign now, and its successor comes in time."""
    if found.facts is not None:
        yield from found.facts.signing


def growth(found: Installation) -> Iterator[Finding]:
    """The audit log leaves room on the disk for a month, and its newest record is not from the future."""
    if found.facts is None or found.facts.newest_at is None:
        return
    ahead = found.facts.newest_at - time.time()
    if ahead > LEEWAY:
        text = f"the newest record is of {instant(found.facts.newest_at)}: the clock was set back since"
        yield Finding("audit log", WARNING, text, "timedatectl set-ntp true")
    a_day = found.facts.records_a_day
    if a_day is None:
        yield Finding("audit log", GOOD, "too few records to see how fast it grows")
        return
    text = f"about {a_day:,.0f} records a day, {a_day * _RECORD_BYTES / MIB:,.1f} MiB"
    days = found.free / (a_day * _RECORD_BYTES) if found.free is not None and found.chosen.database is None else None
    if days is not None and days < _SOON_FULL:
        fix = "affiant audit archive --keep 90d, or a larger disk"
        yield Finding("audit log", WARNING, f"{text}: the disk is full in {days:.0f} days", fix)
    else:
        yield Finding("audit log", GOOD, text)


def archive(found: Installation) -> Iterator[Finding]:
    """Records older than audit_keep are archived."""
    kept, setting = parse_keep(found.chosen.audit_keep), found.chosen.audit_keep
    if found.facts is None or not kept:
        return
    oldest_at, problem = found.facts.oldest_at, found.facts.archive_problem
    fix = f"affiant audit archive --keep {setting}, which reports the cause"
    if problem:
        yield Finding("archive", WARNING, f"the last attempt failed: {problem}", fix)
    elif oldest_at is not None and time.time() - oldest_at > kept + _LATE_ARCHIVE:
        text = f"records of {instant(oldest_at)} are in the log, and audit_keep is {setting}"
        yield Finding("archive", WARNING, text, fix)
    else:
        yield Finding("archive", GOOD, f"no record is older than audit_keep = {setting}")


def sinks(found: Installation) -> Iterator[Finding]:
    """Each sink of the audit log has its records, and no other one holds back the archive."""
    if found.facts is None:
        return
    wanted = {name for name in configured.NAMES if getattr(found.chosen, name) is not None}
    faults = [*_unused(found.facts, wanted), *_late(found.facts, wanted)]
    yield from faults
    if wanted and not faults:
        yield Finding("audit sinks", GOOD, f"{', '.join(sorted(wanted))}: no record waits for long")


def _unused(facts: Facts, wanted: set[str]) -> Iterator[Finding]:
    for name, (lag, _) in facts.sinks.items():
        if name not in wanted:
            text = f"{name} is no longer set, and {lag.records:,} records wait for it, which are not archived"
            yield Finding("audit sinks", WARNING, text, f"affiant audit sinks --forget {shlex.quote(name)}")


def _late(facts: Facts, wanted: set[str]) -> Iterator[Finding]:
    for name in sorted(wanted):
        if name not in facts.sinks:
            yield Finding("audit sinks", WARNING, f"{name} is set, and no server has begun to send", _RESTART)
            continue
        lag, problem = facts.sinks[name]
        if problem:
            text = f"{name} failed, and {lag.records:,} records wait: {problem}"
            yield Finding("audit sinks", WARNING, text, "repair its receiver: docs/how-to/audit-sinks.md")
        elif lag.seconds > _LATE_SINK:
            text = f"{lag.records:,} records wait for {name}, the oldest for {lag.seconds:,.0f} seconds"
            yield Finding("audit sinks", WARNING, text, _RESTART)


def unfinished(found: Installation) -> Iterator[Finding]:
    """A rotation of the master key was finished."""
    since = found.facts.rotating_since if found.facts is not None else None
    if since is not None and time.time() - since > DAY:
        text = f"the rotation that began at {instant(since)} is not finished: the former key still opens secrets"
        yield Finding("master key", WARNING, text, "affiant master-key finish")


def backup(found: Installation) -> Iterator[Finding]:
    """The last backup is no older than a week."""
    if found.facts is None:
        return
    at, is_sqlite = found.facts.backed_up_at, found.chosen.database is None
    fix = "affiant db backup FILE, each day" if is_sqlite else "pg_dump, and then  affiant db backed-up"
    if at is None:
        yield Finding("backup", WARNING, "none was noted", fix)
        return
    days = (time.time() - at) / DAY
    text = f"the last was made at {instant(at)}, {days:.0f} days ago"
    yield Finding("backup", WARNING if days > _OLD_BACKUP else GOOD, text, fix)


def clients(found: Installation) -> Iterator[Finding]:
    """No client is weak, or soon refused."""
    if found.facts is None:
        return
    sentences: dict[str, str] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for weak in local.run(found.chosen, lambda api: weaknesses.find(api, None)):
        sentences.setdefault(weak["reason"], weak.get("sentence") or _SENTENCES[weak["reason"]])
        names[weak["reason"]].append(weak["client_id"])
    if found.facts.weak:
        text = _named("has a secret of less than 32 characters", found.facts.weak)
        yield Finding("clients", BAD, text, f"affiant client secret new {shlex.quote(found.facts.weak[0])}")
    for reason, of in names.items():
        yield Finding("clients", WARNING, _named(sentences[reason], of), f"affiant client check {shlex.quote(of[0])}")
    if not names and not found.facts.weak:
        yield Finding("clients", GOOD, "none is weak, and no key or secret ends soon")


def _named(sentence: str, names: Sequence[str]) -> str:
    more = f" (and {len(names) - 1} more of this kind)" if len(names) > 1 else ""
    return f"{names[0]} {sentence}{more}"
