"""The platforms' tokens that were refused lately, by issuer and reason."""

from typing import Any

from affiant.server.admin.lists import PAGE
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.audit import Instant, members_of
from affiant.server.admin.routes.federation import documents
from affiant.server.admin.routes.operation import Call, Reach, Routes
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.request.notes import REFUSED
from affiant.storage.entries import OUT_OF_ORDER, AuditRow

TOKENS = Routes("refused tokens")
_SCANNED = 10_000  # newest records that are read
_MOST = 200  # pairs of issuer and reason. Attack: anyone can make up issuers
_WRITTEN = (b'"refused"', b'"issuer"', b"://")  # in every record that is counted
_Key = tuple[str, str]


@TOKENS("GET /refused-tokens", Role.VIEWER, Reach.TEAMS, answers=list[documents.RefusedTokens], is_long=True)
async def list_refused_tokens(call: Call, since: Instant = None) -> Any:
    """List the platforms' tokens that were refused, among the newest 10,000 records, by issuer and reason."""
    log, found, following = call.context.store.audit_log, dict[_Key, dict[str, Any]](), None
    before = (await log.head()).number + 1
    end = before - _SCANNED

    async def fetch() -> list[AuditRow]:
        nonlocal following
        rows, following = await log.search(_WRITTEN, before=before, looked=before - end, limit=PAGE)
        return rows

    while before > end:
        for record in await call.context.reads.each(fetch, members_of):
            _count(found, record, since or 0.0)
        if following is None or (since is not None and _at(members_of(following)) < since - OUT_OF_ORDER):
            break
        before = following.number + 1
    return list(found.values())


def _at(record: dict[str, Any]) -> float:
    at = record.get("at")
    return float(at) if isinstance(at, int | float) else 0.0


def _count(found: dict[_Key, dict[str, Any]], record: dict[str, Any], since: float) -> None:
    """Count the record of a refused token; the newest record comes first."""
    issuer, reason = record.get("issuer"), str(record.get("reason"))
    is_token = record.get("outcome") == REFUSED and isinstance(issuer, str) and "://" in issuer
    if not is_token or _at(record) < since:
        return
    key = (str(issuer), reason)
    if key in found:
        found[key]["count"] += 1
    elif len(found) < _MOST:
        kept = kept_claims.parse(record.get("claims"))
        subject = kept.claims.get("sub") if kept is not None else None
        found[key] = {
            "issuer": issuer,
            "reason": reason,
            "count": 1,
            "at": _at(record),
            "trace_id": str(record.get("trace_id")),
            "subject": None if subject is None else str(subject),
            # One that a rule took, and that was refused afterwards, has no claims in its record.
            "verified": record.get("rule") is not None or (kept is not None and kept.verified),
        }
