"""Token budgets on every store, with two nodes: how far a client can go beyond its budget has a bound."""

from collections.abc import Callable

from tests.spending import token_request
from tests.stores import nodes

from affiant.errors import Rejected
from affiant.server.request.counting.budgets import Budgets
from affiant.server.request.counting.counts import Counts
from affiant.storage.history.counts import HOUR, ISSUED, Selection, begin
from affiant.storage.ports import Store
from affiant.storage.records import Client
from affiant.testing.clock import Clock

AT = begin(HOUR, 1_800_000_000)
BUDGET, RATE, LOOK_EVERY = 100, 7, 2  # tokens in the hour, tokens a second at each node, seconds
CLIENT = Client("c", "private_key_jwt", token_budget=BUDGET, budget="enforce")


def _asks(node: tuple[Counts, Budgets], now: float) -> bool:
    """Whether the node issues a token."""
    counts, budgets = node
    request = token_request(CLIENT, now)
    try:
        budgets.check(CLIENT, request)
    except Rejected as refusal:
        counts.count(request, refusal.reason.code)
        return False
    counts.count(request)
    budgets.count(CLIENT, request)
    return True


async def _issued(store: Store) -> int:
    return sum(total.count for total in await store.counts.totals(Selection(HOUR, AT, AT + 1, ("c",), (ISSUED,))))


async def test_two_nodes_share_a_budget(make_store: Callable[..., Store]) -> None:
    """Each writes every second and looks every two seconds, so that a node misses three seconds of the other."""
    clock, issued = Clock(AT + 0.0), 0
    async with nodes(make_store) as stores:
        await stores[0].clients.add(CLIENT)
        counted = [Counts(store.counts, lambda _: True) for store in stores]
        both = [(counts, Budgets(counts, store.counts, clock)) for counts, store in zip(counted, stores, strict=True)]
        for second in range(40):
            clock.now = AT + float(second)
            issued += sum(_asks(node, clock.now) for node in both for _ in range(RATE))
            for number, (counts, budgets) in enumerate(both):
                if second % LOOK_EVERY == number:  # before the other has written this second
                    await budgets.look()
                await counts.write()
        assert BUDGET <= issued <= BUDGET + len(both) * RATE * (LOOK_EVERY + 1)
        assert await _issued(stores[0]) == issued
        for counts, budgets in both:
            await budgets.look()
            assert budgets.tokens("c", clock.now) == issued, counts


async def test_a_node_that_starts_again_knows_what_was_issued(make_store: Callable[..., Store]) -> None:
    clock = Clock(AT + 0.0)
    async with nodes(make_store) as stores:
        await stores[0].clients.add(CLIENT)
        before = Counts(stores[0].counts, lambda _: True)
        node = before, Budgets(before, stores[0].counts, clock)
        assert sum(_asks(node, clock.now) for _ in range(BUDGET + 5)) == BUDGET
        await before.write()
        after = Counts(stores[1].counts, lambda _: True)
        node = after, Budgets(after, stores[1].counts, clock)
        assert _asks(node, clock.now)  # until the first look
        await node[1].look()
        assert not _asks(node, clock.now)
