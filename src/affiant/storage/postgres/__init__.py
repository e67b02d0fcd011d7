"""PostgreSQL: one store for any number of nodes. Every guarantee comes from the database.

`store` performs changes, and puts it together: `connection` has deadlines, `ledger` commits entries together, `watch`
follows the version and the clock of the database.
"""

from affiant.storage.postgres.connection import parse_address
from affiant.storage.postgres.store import PostgresStore, is_made

__all__ = ["PostgresStore", "is_made", "parse_address"]
