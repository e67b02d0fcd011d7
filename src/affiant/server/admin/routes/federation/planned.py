"""Judge a platform's token by a trust and a rule before they are registered."""

from typing import Any

import msgspec

from affiant.server.admin.access.store import for_explaining
from affiant.server.admin.documents import Explanation
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.dry_run.judgement import parse
from affiant.server.admin.routes.federation import rules, trusts
from affiant.server.admin.routes.federation.documents import PlannedTrust, RuleNew, TrustNew
from affiant.server.admin.routes.operation import UNKNOWN, Call, Reach, Routes
from affiant.server.registry.federation.known import Federation

PLANNED = Routes("explain")


@PLANNED("POST /explain/planned", Role.OPERATOR, Reach.TEAMS, answers=Explanation, refuses=UNKNOWN, is_long=True)
async def explain_planned(call: Call, wanted: PlannedTrust) -> Any:
    """Judge a token by a trust and a rule that are not registered yet. Nothing is stored.

    The keys of the trust are fetched: only an owner, who may register one, names a new trust.
    """
    from affiant.server.explain import captured  # noqa: PLC0415 - few calls need it

    rule = rules.build(call, parse(RuleNew, wanted.rule))
    if wanted.trust is None:
        trust = await trusts.get(call, rule.trust)
    else:
        call.who.require(Role.OWNER)
        trust = trusts.build(call, parse(TrustNew, wanted.trust))
    _, keys = await call.context.trust_keys.load(trust)
    federation = Federation(call.context.issuer, [trust], [rule]).with_keys(keys)
    at = wanted.at if wanted.at is not None else call.request.now
    asked = captured.parse(wanted.token)
    explainer = call.context.explainer(store=for_explaining(call.whole, call.context.store))
    return msgspec.to_builtins(await explainer.explain_planned(asked, federation, now=at))
