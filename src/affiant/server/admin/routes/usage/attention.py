"""The list of what needs the attention of an operator, the most urgent first.

Reading 100,000 clients and their counts takes seconds. So what is found is kept for a while (Reads.survey).
"""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from affiant.server.admin.roles import Principal, Role
from affiant.server.admin.routes.operation import Call, Reach, Routes
from affiant.server.admin.routes.usage import counted, documents, registered
from affiant.server.admin.routes.usage.finding import Finding, Scan

ATTENTION = Routes("attention")
SHOWN = 10  # of each kind
FRESH_SECONDS = 30


@ATTENTION("GET /attention", Role.VIEWER, Reach.TEAMS, answers=documents.Attention, is_long=True)
async def list_attention(call: Call) -> Any:
    """List what needs attention, the most urgent first, with the command that mends it; ten of each kind at most.

    It is as of `scanned_at`, half a minute ago at most. On a server with many clients it may be some minutes old; it is
    null, and the list empty, while they are read for the first time.
    """
    version = await call.whole.version(), call.now // FRESH_SECONDS
    # Kept for all callers, so read for none of them: what a caller of teams does not see is left out below.
    unlimited = replace(call, context=replace(call.context, store=call.whole))
    scan: Scan | None = await call.context.reads.survey.get(version, partial(_scan, unlimited))
    found = [finding for kept in scan.found.values() for finding in kept] if scan is not None else []
    number = scan.number if scan is not None else Counter[str]()
    if call.who.limit is not None:
        found = [finding for finding in found if sees(call.who, finding)]
        number = Counter(finding.kind for finding in found)
    items, shown = [], Counter[str]()
    for finding in sorted(found, key=lambda finding: finding.place):
        shown[finding.kind] += 1
        if shown[finding.kind] <= SHOWN:
            items.append(documents.AttentionItem.of(finding))
    more = {kind: count - SHOWN for kind, count in sorted(number.items()) if count > SHOWN}
    return documents.Attention(items=items, more=more, scanned_at=scan.at if scan is not None else None)


async def _scan(call: Call) -> Scan:
    scan = Scan(call.now)
    for finding in (*await counted.find(call), *await registered.find_keys(call)):
        scan.add(finding)
    await registered.scan(call, scan)
    return scan


def sees(who: Principal, finding: Finding) -> bool:
    """Whether a caller who is limited to teams sees this: what one of them owns, and the keys of the server."""
    return who.limit is None or finding.noun == "signing_key" or finding.team in who.limit
