"""Clients that asked for more tokens in an hour than their budget has, whether it is enforced or observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from affiant.errors.reasons import Reason
from affiant.server.admin.calls import Call
from affiant.server.admin.routes.usage.used import hours
from affiant.storage.history.counts import HOUR, ISSUED, REFUSED, Selection, begin
from affiant.storage.records import Client


@dataclass(frozen=True, slots=True)
class Spending:
    """The tokens that a client asked for in an hour, and its budget; `refused` of them for that."""

    asked: int
    budget: int
    refused: int
    is_over: bool  # the hour, not the budget

    @property
    def sentence(self) -> str:
        text = f"asked for {self.asked:,} tokens in {'the last' if self.is_over else 'this'} hour"
        text += f", its budget is {self.budget:,}"
        return f"{text}: {self.refused:,} were refused" if self.refused else text


async def find(call: Call, clients: Sequence[Client]) -> dict[str, Spending]:
    """Return the spending of those of these clients that went over their budget in this hour, or else in the last."""
    budgets = {client.client_id: client.token_budget for client in clients if client.token_budget is not None}
    if not budgets:
        return {}
    issued, refused = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for row in await call.context.store.counts.list(Selection(*hours(call.now, 2), tuple(budgets), (ISSUED, REFUSED))):
        if row.kind == ISSUED:
            issued[row.client_id, row.at] += row.count
        elif row.label == Reason.LIMIT_BUDGET.code:
            refused[row.client_id, row.at] += row.count
    found: dict[str, Spending] = {}
    present = begin(HOUR, call.now)
    for client_id, at in sorted({*issued, *refused}):  # the present hour comes last, and replaces the last one
        of, budget = (client_id, at), budgets[client_id]
        asked = issued[of] + refused[of]
        if asked > budget:
            found[client_id] = Spending(asked, budget, refused[of], is_over=at < present)
    return found
