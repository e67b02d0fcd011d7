"""The list of what needs the attention of an operator, the most urgent first."""

from collections import Counter
from functools import partial
from typing import Any

from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes.operation import Call, Routes
from affiant.server.admin.routes.usage import counted, documents, registered
from affiant.server.admin.routes.usage.finding import Finding
from affiant.server.admin.routes.usage.registered import Scan

ATTENTION = Routes("attention")
SHOWN = 10  # of each kind


@ATTENTION("GET /attention", Role.VIEWER, answers=documents.Attention, is_long=True)
async def list_attention(call: Call) -> Any:
    """List what needs attention, the most urgent first, with the command that mends it; ten of each kind at most.

    What is found by reading all clients is as of `scanned_at`: on a large server it may be some minutes old, and null
    while they are read for the first time.
    """
    version = await call.context.store.version()
    scanned: Scan | None = await call.context.reads.survey.get(version, partial(registered.scan, call))
    found = [*await counted.find(call), *await registered.find_keys(call)]
    number = Counter(finding.kind for finding in found)
    if scanned is not None:
        found += [finding for kept in scanned.found.values() for finding in kept]
        number += scanned.number
    if call.who.teams is not None:
        found = [finding for finding in found if sees(call.who, finding)]
        number = Counter(finding.kind for finding in found)
    items, shown = [], Counter[str]()
    for finding in sorted(found, key=lambda finding: finding.place):
        shown[finding.kind] += 1
        if shown[finding.kind] <= SHOWN:
            items.append(documents.AttentionItem.of(finding))
    more = {kind: count - SHOWN for kind, count in sorted(number.items()) if count > SHOWN}
    return documents.Attention(items=items, more=more, scanned_at=scanned.at if scanned is not None else None)


def sees(who: Principal, finding: Finding) -> bool:
    """Whether a caller who is limited to teams sees this: what one of them owns, and the keys of the server."""
    return who.teams is None or finding.noun == "signing_key" or finding.team in who.teams
