"""Judge a set of changes by the rules of their routes, without storing them."""

import asyncio
from typing import Any

from pydantic import ValidationError

from affiant.errors import Error, Rejected
from affiant.server.admin import documents, problems
from affiant.server.admin.access import owners
from affiant.server.admin.documents import ClientChanges, ClientNew, DryRun, Judgement, PlannedChange, RefusedChange
from affiant.server.admin.roles import Role, touches_admin
from affiant.server.admin.routes import apis, clients, teams
from affiant.server.admin.routes.dry_run.draft import Draft
from affiant.server.admin.routes.federation import rules, trusts
from affiant.server.admin.routes.federation.documents import RuleChanges, RuleNew, TrustChanges, TrustNew
from affiant.server.admin.routes.operation import Call, Reach, Routes
from affiant.server.admin.routes.teams import TeamChanges, TeamNew
from affiant.server.keys import calendar
from affiant.server.registry.federation import rules as judged_rules
from affiant.server.registry.federation import trusts as judged_trusts
from affiant.storage.records import AlreadyExists, Api

DRY_RUN = Routes("dry run")


@DRY_RUN("POST /dry-run", Role.VIEWER, Reach.TEAMS, answers=Judgement, is_long=True)
async def judge_changes(call: Call, wanted: DryRun) -> Any:
    """Return which of these changes a rule would refuse, and why. Nothing is changed."""
    draft, refused = Draft(call), list[RefusedChange]()
    for change in wanted.changes:
        try:
            await _JUDGES[change.kind](draft, change)
        except Error as error:
            refusal = problems.rejected(error)
            if not isinstance(refusal, Rejected):
                raise
            refused.append(_shown(change, refusal))
        await asyncio.sleep(0)  # lets other requests run
    return Judgement(refused=refused, needs=draft.needs.value, role=call.who.role.value)


async def _judge_api(draft: Draft, change: PlannedChange) -> None:
    call = draft.call
    draft.need(Role.OWNER)
    if change.action == "remove":
        owners.check_admin_api(call, (await draft.api(change.name)).identifier)
        draft.apis[change.name] = None
        return
    if change.action == "update":
        wanted, before = parse(documents.ApiChanges, change.members), await draft.api(change.name)
        built = apis.build_changed(call, before, wanted)
    else:
        built, before = apis.build(call, parse(documents.ApiNew, change.members), has_default=True), None
        _check_new(change, built.identifier, await call.whole.apis.find(built.identifier))
    await draft.judge(before, built)
    await _check_signing(call, built)
    draft.apis[change.name] = built


async def _judge_client(draft: Draft, change: PlannedChange) -> None:
    call, before, after = draft.call, None, None
    draft.need(Role.OPERATOR if change.action == "update" or call.who.limit is not None else Role.OWNER)
    if change.action == "create":
        wanted = parse(ClientNew, change.members)
        after = clients.build(call, wanted, clients.read_keys(call, wanted.jwks)[0]).client
        _check_new(change, after.client_id, await call.whole.clients.find(after.client_id))
        later = change.then
    else:
        before = await draft.client(change.name)
        after, later = (before, change.members) if change.action == "update" else (None, {})
    if after is not None and later:
        changes = parse(ClientChanges, later)
        after = clients.build_changed(call, after, changes, clients.read_keys(call, changes.jwks)[0])
    if any(touches_admin(client, call.context.identifier) for client in (before, after) if client is not None):
        draft.need(Role.OWNER)
    if before is not None and owners.takes_owner(call, before, after):
        # Attack: a lookup for each change lets one request of a viewer read all clients a thousand times.
        draft.owners = await owners.find_all(call) if draft.owners is None else draft.owners
        owners.check_left(call, before, draft.owners, draft.clients)
    await draft.judge(before, after)
    draft.clients[change.name] = after
    if after is None:
        await draft.drop_rules(client_id=change.name)


async def _judge_trust(draft: Draft, change: PlannedChange) -> None:
    call = draft.call
    draft.need(Role.OPERATOR if change.action == "update" else Role.OWNER)
    if change.action == "remove":
        judged_trusts.check_removable(await draft.trust(change.name), await draft.all_rules())
        draft.trusts[change.name] = None
        return
    if change.action == "create":
        built, later = trusts.build(call, parse(TrustNew, change.members)), dict[str, Any]()
        _check_new(change, built.name, await call.whole.trusts.find(built.name))
    else:
        built, later = await draft.trust(change.name), change.members
        await draft.need_for_rules(change.name)
    stored = None if change.action == "create" else built
    if later:
        before, built = built, trusts.build_changed(call, built, parse(TrustChanges, later))
        judged_trusts.check_rules(before, built, await draft.all_rules())
    await draft.judge(stored, built)
    if change.action == "create" or built.enabled:
        judged_trusts.check_apart(built, await draft.all_trusts())
    draft.trusts[change.name] = built


async def _judge_rule(draft: Draft, change: PlannedChange) -> None:
    call = draft.call
    draft.need(Role.OPERATOR)
    if change.action == "create":
        built, later = rules.build(call, parse(RuleNew, change.members)), dict[str, Any]()
        _check_new(change, built.name, await call.whole.rules.find(built.name))
    else:
        built, later = await draft.rule(change.name), change.members
    await draft.need_for(built.client_id)
    if change.action == "remove":
        draft.rules[change.name] = None
        return
    stored = None if change.action == "create" else built
    if later:
        built = rules.build_changed(built, parse(RuleChanges, later))
    await draft.judge(stored, built)
    if change.action == "create" or built.enabled:
        trust, client = await draft.find_trust(built.trust), await draft.find_client(built.client_id)
        judged_rules.check(built, trust, client, demands=call.context.directory.demands)
        judged_rules.check_among(built, await draft.all_rules())
    draft.rules[change.name] = built


async def _judge_team(draft: Draft, change: PlannedChange) -> None:
    call = draft.call
    draft.need(Role.OWNER)
    if change.action == "remove":
        found = await draft.team(change.name)
        draft.teams[change.name] = None
        teams.check_unused(found.name, await draft.owned(found.name))
        return
    if change.action == "update":
        built = teams.build_changed(await draft.team(change.name), parse(TeamChanges, change.members))
    else:
        built = teams.build(call, parse(TeamNew, change.members))
        _check_new(change, built.name, await call.whole.teams.find(built.name))
    draft.teams[change.name] = built


_JUDGES = {"team": _judge_team, "api": _judge_api, "client": _judge_client, "trust": _judge_trust, "rule": _judge_rule}


def parse(model: Any, members: dict[str, Any]) -> Any:
    """Return the document; refuse it as the body of its own request would be."""
    try:
        return model.model_validate(members)
    except ValidationError as error:
        raise problems.invalid(error, "body") from None


def _check_new(change: PlannedChange, name: str, found: object) -> None:
    if name != change.name or found is not None:
        raise AlreadyExists(f"{change.kind} {name} is registered already")


async def _check_signing(call: Call, api: Api) -> None:
    """Raise if the tokens of this API cannot be signed: there is no key, and none can be made."""
    if api.signing_alg is None:
        return
    keys = calendar.of_line(await call.context.store.signing_keys.list(), api.signing_alg)
    if calendar.has_ended(keys, call.now):
        call.context.vault.check_alg(api.signing_alg)


def _shown(change: PlannedChange, refusal: Rejected) -> RefusedChange:
    row, named = refusal.reason.value, {"action": change.action, "kind": change.kind, "name": change.name}
    return RefusedChange(**named, reason=row.code, title=row.sentence, detail=refusal.expected or row.fix)
