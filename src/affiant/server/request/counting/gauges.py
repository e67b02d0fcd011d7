"""Gauges of the server: its store, its keys, its process."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from affiant.server.keys import calendar as rules
from affiant.server.keys.calendar import Calendar
from affiant.storage.ports import Store
from affiant.storage.records import SigningKey
from affiant.system.version import __version__
from affiant.telemetry.samples import Labels, Number, Samples

_PAGES = Path("/proc/self/statm")  # its second number; Linux alone has it, and the next
_FILES = Path("/proc/self/fd")
_STARTED = time.time()
_DEFAULT = "default"  # the label of signing_keys.DEFAULT_LINE


async def measure_store(store: Store) -> Samples:
    """Return how much is in the store; StoreError while it fails."""
    sizes = await store.sizes()
    found: Samples = {"affiant_live_jtis": {(): sizes.claims}, "affiant_audit_newest_number": {(): sizes.newest}}
    return found | ({"affiant_store_bytes": {(): sizes.stored_bytes}} if sizes.stored_bytes else {})


def measure_now(store: Store, works: dict[str, bool], feeds: dict[str, tuple[float | None, bool]]) -> Samples:
    """Return what is known without asking the store: of the work in the background, and of followed feeds, too."""
    return {
        "affiant_commits_waiting": {(): store.waiting},
        "affiant_clock_offset_seconds": {(): store.clock_offset},
        "affiant_background_problems": {(name,): float(fails) for name, fails in works.items()},
        "affiant_followed_feed_age_seconds": {(name,): age for name, (age, _) in feeds.items() if age is not None},
        "affiant_followed_feed_failing": {(name,): float(fails) for name, (_, fails) in feeds.items()},
    }


async def measure_keys(store: Store, calendar: Calendar, clock: Callable[[], float]) -> Samples:
    """Return when the keys that sign are followed by others; StoreError while the store fails."""
    stored, now = await store.signing_keys.list(), clock()
    states: dict[Labels, Number] = {}
    until: dict[Labels, Number] = {}
    due: dict[Labels, Number] = {}
    for line in {key.line for key in stored}:
        name = line or _DEFAULT
        keys = rules.of_line(stored, line)
        states |= {(name, state): 0 for state in ("announced", "active", "retiring")}
        for state in _states(keys, stored, now):
            number = states[name, state]
            assert not isinstance(number, list)  # noqa: S101 - no histogram
            states[name, state] = number + 1
        signer, following = rules.find_signer(keys, now), rules.find_announced(keys, now)
        if signer is None or rules.has_ended(keys, now):
            continue
        due_at = rules.due_at(signer, calendar)
        until[name,] = following.active_at if following else due_at + calendar.announcement
        if following is None:
            due[name,] = due_at
    return {
        "affiant_signing_keys": states,
        "affiant_signing_key_until_timestamp_seconds": until,
        "affiant_signing_key_due_timestamp_seconds": due,
    }


def _states(keys: list[SigningKey], every: list[SigningKey], now: float) -> Iterator[str]:
    return (state for key in keys if (state := rules.state(key, every, now)) != "removed")


def measure_process() -> Samples:
    """Return what this process uses."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    found: Samples = {
        "affiant_workers": {(): 1},
        "affiant_build_info": {(__version__, platform.python_version()): 1},
        "process_start_time_seconds": {(): _STARTED},
        "process_cpu_seconds_total": {(): used.ru_utime + used.ru_stime},
        "process_max_fds": {(): resource.getrlimit(resource.RLIMIT_NOFILE)[0]},
    }
    if _PAGES.exists():
        pages = int(_PAGES.read_text(encoding="ascii").split()[1])
        found["process_resident_memory_bytes"] = {(): pages * os.sysconf("SC_PAGE_SIZE")}
        found["process_open_fds"] = {(): sum(1 for _ in _FILES.iterdir())}
    return found
