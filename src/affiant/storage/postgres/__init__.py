"""PostgreSQL: one store for any number of nodes. Every promise is held by the database, none by the nodes."""

from affiant.storage.postgres.connection import parse_address
from affiant.storage.postgres.store import PostgresStore, is_made

__all__ = ["PostgresStore", "is_made", "parse_address"]
