"""What many nodes and many partitions of the ledger would do, computed from what one node and one writer do.

A partition is a writer that commits in groups, as storage/sqlite/writer.py does: what arrives while a commit runs
shares the next one. Clients ask unequally (Zipf); each belongs to one partition. Nodes are counted by their processor.

Usage: python -m bench.scale_simulation [TOKENS_PER_SECOND] [CLIENTS] [--sqlite | --postgres]
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
from dataclasses import dataclass, field

SECONDS = 2.0  # simulated, for the partition with the most to do
MAX_GROUP = 256
KEPT_SECONDS = 120  # a jti: the minute that its assertion lives, and twice the leeway
FULL = 0.6  # how busy a processor or a writer may be, so that a burst or a lost neighbour is no trouble
ZIPF = 0.8  # how unequal clients are; 0: all alike
DAY = 86_400


@dataclass(frozen=True)
class Measured:
    """The inputs. Replace them by what `python -m bench tokens` and `bench.growth` say where it will run.

    Attributes:
        token_cpu: processor seconds of a node for one token, all of it: HTTP, two signatures, its part of the commit.
        commit: seconds of a commit of one entry: the disk, and with a database of its own the network.
        entry: seconds that each further entry of a group adds.
        jti_bytes: of a live jti with its indexes.
        audit_bytes: of an audit record with its indexes.
        client_bytes: of a registered client.
    """

    token_cpu: float
    commit: float
    entry: float
    jti_bytes: float = 129
    audit_bytes: float = 610
    client_bytes: float = 720


SQLITE = Measured(token_cpu=550e-6, commit=400e-6, entry=50e-6)
# A database on the same machine: a network adds its round trip to the commit, and frees the processor of the node.
POSTGRES = Measured(token_cpu=550e-6, commit=520e-6, entry=51e-6, jti_bytes=122, audit_bytes=575)


@dataclass
class Partition:
    """One writer, and who waits for it."""

    measured: Measured
    waits: list[float] = field(default_factory=list)

    def run(self, rate: float, seconds: float, random_: random.Random) -> None:
        """Let so many a second arrive, at random."""
        arrivals, now = list[float](), 0.0
        while now < seconds:
            now += random_.expovariate(rate)
            heapq.heappush(arrivals, now)
        now = 0.0
        while arrivals:
            now = max(now, arrivals[0])
            group = []
            while arrivals and arrivals[0] <= now and len(group) < MAX_GROUP:
                group.append(heapq.heappop(arrivals))
            now += self.measured.commit + self.measured.entry * (len(group) - 1)
            self.waits += [now - arrived for arrived in group]


def most(measured: Measured) -> float:
    """Tokens a second that one writer commits when every group is full."""
    return MAX_GROUP / (measured.commit + measured.entry * (MAX_GROUP - 1))


def shares(clients: int, partitions: int, random_: random.Random) -> list[float]:
    """What part of all tokens each partition has to write: the busiest clients one by one, the crowd evenly."""
    leaders = min(clients, 100_000)
    weights = [(rank + 1) ** -ZIPF for rank in range(leaders)]
    rest = (clients ** (1 - ZIPF) - leaders ** (1 - ZIPF)) / (1 - ZIPF) if clients > leaders else 0.0
    total, loads = sum(weights) + rest, [rest / partitions] * partitions
    for weight in weights:
        loads[random_.randrange(partitions)] += weight
    return [load / total for load in loads]


def plan(measured: Measured, rate: float, clients: int) -> tuple[int, float]:
    """The fewest partitions, in powers of two, of which none is too busy; and the share of the busiest."""
    partitions = 1
    while True:
        share = max(shares(clients, partitions, random.Random(1)))
        if rate * share <= FULL * most(measured):
            return partitions, share
        if partitions >= 1 << 16:
            raise SystemExit("one client alone is too much for a partition: give it several names")
        partitions *= 2


def main() -> None:
    """Plan, simulate the busiest partition, and print."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    rate = float(words[0]) if words else 100_000.0
    clients = int(words[1]) if len(words) > 1 else 10_000_000
    measured = POSTGRES if "--postgres" in sys.argv else SQLITE
    partitions, share = plan(measured, rate, clients)
    partition = Partition(measured)
    partition.run(rate * share, SECONDS, random.Random(2))
    centiles = statistics.quantiles(partition.waits, n=100)
    print(f"{rate:,.0f} tokens/s, {clients:,} clients, {'PostgreSQL' if measured is POSTGRES else 'SQLite'}")
    print(f"cores for nodes      {rate * measured.token_cpu / FULL:12,.0f}   at {FULL:.0%}")
    print(f"partitions           {partitions:12,}   a writer commits {most(measured):,.0f}/s at most")
    print(f"busiest partition    {rate * share:12,.0f}/s, {rate * share / most(measured):.0%} of that")
    print(f"its commits          {centiles[49] * 1e3:12.1f} ms p50, {centiles[98] * 1e3:.1f} ms p99")
    print(
        f"live jtis            {rate * KEPT_SECONDS:12,.0f}   {rate * KEPT_SECONDS * measured.jti_bytes / 1e9:.1f} GB"
    )
    print(f"audit a day          {rate * DAY * measured.audit_bytes / 1e12:12.1f} TB")
    print(f"clients              {clients * measured.client_bytes / 1e9:12.1f} GB, in every replica")


if __name__ == "__main__":
    main()
