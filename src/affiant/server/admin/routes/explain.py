"""Explanations of refused requests."""

from typing import Any

import msgspec

from affiant.reasons import Reason
from affiant.server.admin import documents
from affiant.server.admin.documents import Question
from affiant.server.admin.roles import Role
from affiant.server.admin.routes import audit
from affiant.server.admin.routes.audit import TraceId
from affiant.server.admin.routes.operation import Call, Routes

ROUTES = Routes("explain")


@ROUTES("POST /explain", Role.VIEWER, answers=documents.Explanation, is_long=True)
async def explain_request(call: Call, question: Question) -> Any:
    """Judge a request step by step, without claiming, storing or sending anything."""
    from affiant.server.explain import captured  # noqa: PLC0415 - few calls need it

    at = question.at if question.at is not None else call.request.now
    return msgspec.to_builtins(await call.desk.explainer().explain(captured.parse(question.request), now=at))


@ROUTES(
    "GET /explain/{trace_id}",
    Role.VIEWER,
    answers=documents.Explanation,
    refuses=(Reason.ADMIN_NOT_FOUND,),
    is_long=True,
)
async def explain_record(call: Call, trace_id: TraceId) -> Any:
    """Explain the decision about a request, from its record."""
    return msgspec.to_builtins(await call.desk.explainer().explain_record(await audit.get(call, trace_id)))
