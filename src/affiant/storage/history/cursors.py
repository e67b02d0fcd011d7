"""Named cursors over the audit log: work of which one process of all nodes does one piece at a time."""

from __future__ import annotations

from affiant.system.values import Value


class Cursor(Value, frozen=True):
    """The place of one work in the audit log, and the process that does it.

    The lease of `holder` has ended at `until` (epoch seconds), or when another process has taken the cursor.
    """

    name: str
    number: int  # of the last record that is done
    holder: str
    until: int
    problem: str = ""  # of the last attempt; empty when it succeeded


def is_free(cursor: Cursor, holder: str, now: int, seconds: int) -> bool:
    """Whether this holder may take a cursor.

    Also a lease that ends later than two leases from now: the clock was set back, and no process may wait for so long.
    """
    return cursor.holder == holder or cursor.until <= now or cursor.until > now + 2 * seconds
