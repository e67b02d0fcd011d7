"""Detectors that read counts, of the clients with the most refusals, tokens, odd clocks or breaches of loose rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from shlex import quote

from affiant.errors.reasons import Reason
from affiant.server.admin.calls import Call
from affiant.server.admin.routes.usage import used
from affiant.server.admin.routes.usage.finding import (
    CLOCK_SKEWED,
    NO_CACHE,
    REFUSED_OFTEN,
    WOULD_BREAK,
    Figures,
    Finding,
)
from affiant.server.request.counting.counts import AGES
from affiant.storage.history.counts import AGE, ISSUED, OBSERVED, REFUSED, Selection

TOP = 50  # clients that each detector looks at
LEAST_CALLS, REFUSED_SHARE = 20, 0.05
LEAST_ODD, ODD_SHARE = 5, 0.2
_AHEAD = frozenset(AGES[: AGES.index("0")])
_Labels = dict[str, Counter[str]]  # by client


async def find(call: Call) -> list[Finding]:
    """Return all that these detectors find, of clients that still exist and are enabled."""
    found = [*await _refused(call), *await _skewed(call), *await _breaking(call), *await _asking(call)]
    known = []
    for finding in found:
        client = await call.context.store.clients.find(finding.subject)
        if client is not None and client.enabled:
            known.append(replace(finding, team=client.team))
    return known


async def _top(call: Call, span: tuple[str, int, int], kind: str, *also: str) -> dict[str, _Labels]:
    """Return the counts by kind, client and label of the clients with the most of one kind."""
    top = await call.context.store.counts.top(Selection(*span, kinds=(kind,)), TOP)
    return await _of(call, span, [total.client_id for total in top], kind, *also)


async def _of(call: Call, span: tuple[str, int, int], client_ids: Sequence[str], *kinds: str) -> dict[str, _Labels]:
    found: dict[str, _Labels] = {kind: defaultdict(Counter) for kind in kinds}
    for total in await call.context.store.counts.totals(Selection(*span, tuple(client_ids), kinds)):
        found[total.kind][total.client_id][total.label] = total.count
    return found


async def _refused(call: Call) -> list[Finding]:
    # By day it reads few counts; the 24 hours of those that are found decide.
    top = await call.context.store.counts.top(Selection(*used.days(call.now, 2), kinds=(REFUSED,)), TOP)
    counts = await _of(call, used.hours(call.now), [total.client_id for total in top], REFUSED, ISSUED)
    found = []
    for client_id, reasons in counts[REFUSED].items():
        refused = reasons.total()
        calls = refused + counts[ISSUED][client_id].total()
        if calls >= LEAST_CALLS and refused > REFUSED_SHARE * calls:
            reason, most = reasons.most_common(1)[0]
            sentence = f"was refused {refused:,} of {calls:,} times in 24 hours, {most:,} times for {reason}"
            figures: Figures = {"refused": refused, "calls": calls, "reason": reason}
            fix = f"affiant audit show --client {quote(client_id)} --refused --since 24h"
            found.append(Finding(REFUSED_OFTEN, "client", client_id, sentence, refused / calls, figures, fix))
    return found


async def _skewed(call: Call) -> list[Finding]:
    counts = await _top(call, used.days(call.now, 2), AGE, ISSUED, REFUSED)
    found = []
    for client_id, ages in counts[AGE].items():
        ahead = sum(count for label, count in ages.items() if label in _AHEAD)
        behind = ages.total() - ahead
        calls = max(counts[ISSUED][client_id].total() + counts[REFUSED][client_id].total(), ages.total())
        odd = max(ahead, behind)
        if odd < LEAST_ODD or odd < ODD_SHARE * calls:
            continue
        sentence = f"signed {odd:,} of {calls:,} assertions {'in the future' if ahead > behind else 'long ago'}: "
        sentence += "its clock is ahead" if ahead > behind else "its clock is behind, or it signs long before it asks"
        figures: Figures = {"ahead": ahead, "behind": behind, "calls": calls}
        fix = f"affiant audit show --client {quote(client_id)}"
        found.append(Finding(CLOCK_SKEWED, "client", client_id, sentence, odd / calls, figures, fix))
    return found


async def _breaking(call: Call) -> list[Finding]:
    counts = await _top(call, used.days(call.now, 7), OBSERVED)
    for codes in counts[OBSERVED].values():
        del codes[Reason.LIMIT_BUDGET.code]  # OVER_BUDGET says more of it
    return [
        Finding(
            WOULD_BREAK,
            "client",
            client_id,
            f"got through {codes.total():,} times in 7 days where a stricter rule refuses: {', '.join(sorted(codes))}",
            codes.total(),
            dict(codes),
            f"affiant client check {quote(client_id)}",
        )
        for client_id, codes in counts[OBSERVED].items()
        if codes
    ]


async def _asking(call: Call) -> list[Finding]:
    top = await call.context.store.counts.top(Selection(*used.hours(call.now, 2), kinds=(ISSUED,)), TOP)
    often = [total.client_id for total in top if total.count >= used.OFTEN]
    found = []
    for client_id, asking in (await used.find_asking(call, often)).items():
        if asking.is_too_often:
            figures: Figures = {
                "tokens": asking.tokens,
                "needed": asking.needed,
                "seconds": asking.seconds,
            }
            weight = asking.tokens / asking.needed
            fix = f"affiant client show {client_id}"
            found.append(Finding(NO_CACHE, "client", client_id, asking.sentence, weight, figures, fix))
    return found
