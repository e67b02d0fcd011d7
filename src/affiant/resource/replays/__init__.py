"""The memory of used DPoP proofs that the processes of an API share (RFC 9449 section 11.1).

store.py says what a store promises, claims.py is the step of a check that asks it. sqlite.py is for the processes of
one machine, redis.py for several machines.
"""

from affiant.resource.replays.redis import RedisReplays
from affiant.resource.replays.sqlite import SqliteReplays
from affiant.resource.replays.store import ReplayStore

__all__ = ["RedisReplays", "ReplayStore", "SqliteReplays"]
