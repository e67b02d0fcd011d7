"""The tokens of an hour are those of this process and those that others had written: none is counted twice."""

import pytest
from tests.spending import token_request

from affiant.errors.reasons import Reason
from affiant.server.request.counting.budgets import ACTIVE_SECONDS, Budgets
from affiant.server.request.counting.counts import Counts
from affiant.server.request.limits import Later
from affiant.server.request.notes import Request
from affiant.storage.history.counts import HOUR, ISSUED, Count, begin
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client
from affiant.testing.clock import Clock

HOUR_SECONDS = 3600
AT = begin(HOUR, 1_800_000_000)


class Process:
    """What one process of the server counts, of one client."""

    def __init__(self, store: MemoryStore, client: Client) -> None:
        self.store, self.client, self.clock = store, client, Clock(AT + 10.0)
        self.counts = Counts(store.counts, lambda _: True)
        self.budgets = Budgets(self.counts, store.counts, self.clock)

    def ask(self) -> Request:
        """Ask for one token, which is issued if the budget allows it."""
        request = token_request(self.client, self.clock.now)
        self.budgets.check(self.client, request)
        self.counts.count(request)
        self.budgets.count(self.client, request)
        return request

    @property
    def tokens(self) -> int:
        return self.budgets.tokens(self.client.client_id, self.clock.now)

    async def elsewhere(self, number: int, at: int = AT) -> None:
        """Other processes write that they issued so many."""
        await self.store.counts.add([Count(HOUR, at, self.client.client_id, ISSUED, "", number)])


async def _process(budget: int | None = 1000, how: str = "enforce") -> Process:
    store, client = MemoryStore(), Client("c", "private_key_jwt", token_budget=budget, budget=how)
    await store.clients.add(client)
    return Process(store, client)


async def test_a_token_is_counted_once_wherever_it_is() -> None:
    """In memory, in the store, or in the total of the last look; and with those that others wrote."""
    process = await _process()
    for number in range(1, 60):
        process.ask()
        assert process.tokens == number
        if number % 3 == 0:
            await process.counts.write()
        if number % 4 == 0:
            await process.budgets.look()
        assert process.tokens == number
    await process.elsewhere(100)
    await process.budgets.look()
    await process.counts.write()
    assert process.tokens == 159
    await process.budgets.look()
    assert process.tokens == 159


async def test_one_more_is_refused_until_the_hour_is_over() -> None:
    process = await _process(2)
    process.ask()
    process.ask()
    with pytest.raises(Later) as refused:
        process.ask()
    assert (refused.value.reason, refused.value.retry_after) == (Reason.LIMIT_BUDGET, HOUR_SECONDS - 10 + 1)
    assert (refused.value.expected, refused.value.got) == ("at most 2 tokens per hour", "one more after 2")
    process.clock.now = AT + HOUR_SECONDS - 0.5
    with pytest.raises(Later):
        process.ask()
    process.clock.now = AT + HOUR_SECONDS
    process.ask()
    assert process.tokens == 1


async def test_what_was_written_late_counts_for_its_own_hour() -> None:
    process = await _process()
    process.ask()
    process.clock.now = AT + HOUR_SECONDS
    process.ask()
    await process.counts.write()
    await process.budgets.look()
    assert process.tokens == 1


async def test_after_a_restart_the_total_of_the_store_counts() -> None:
    process = await _process()
    for _ in range(5):
        process.ask()
    await process.counts.write()
    again = Process(process.store, process.client)
    again.ask()
    await again.budgets.look()
    assert again.tokens == 6


async def test_a_clock_that_is_set_back_finds_the_hour_in_the_store() -> None:
    process = await _process()
    for _ in range(5):
        process.ask()
    process.clock.now = AT + HOUR_SECONDS
    process.ask()
    process.clock.now = AT + 20.0
    await process.counts.write()
    process.ask()
    await process.budgets.look()
    assert process.tokens == 6
    await process.counts.write()
    await process.budgets.look()
    assert process.tokens == 6


async def test_tokens_from_before_the_budget_count_too() -> None:
    """They are written after the budget was given, and are not taken for tokens of others twice or never."""
    process = await _process()
    request = token_request(process.client, process.clock.now)
    for _ in range(7):
        process.counts.count(request)
    process.ask()
    for _ in range(2):
        await process.counts.write()
        await process.budgets.look()
        assert process.tokens == 8


async def test_observed_budget_refuses_nothing_and_is_noted() -> None:
    process = await _process(2, "observe")
    observed = [process.ask().record().observed for _ in range(4)]
    assert observed == [None, None, "limit.budget", "limit.budget"]


async def test_a_client_without_a_budget_is_not_followed() -> None:
    process = await _process(None)
    assert process.ask().record().observed is None
    process.store.counts = None  # type: ignore[assignment]
    await process.budgets.look()


async def test_clients_that_are_quiet_are_not_looked_up() -> None:
    process = await _process()
    process.ask()
    process.clock.now += ACTIVE_SECONDS + 1
    await process.elsewhere(100)
    await process.budgets.look()
    assert process.tokens == 1  # this asks, and so it is active again
    await process.budgets.look()
    assert process.tokens == 101
