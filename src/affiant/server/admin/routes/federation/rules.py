"""Rules, which name the client of a trust's tokens. Each change of one ends the tokens that it gave."""

from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from affiant.server.admin import changes, lists, models
from affiant.server.admin.access import owners
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.federation import documents
from affiant.server.admin.routes.federation.documents import RuleChanges, RuleNew, view_rule
from affiant.server.admin.routes.operation import OF_CHANGES, TAKEN, UNKNOWN, Call, IfMatch, Reach, Routes
from affiant.server.registry import kinds
from affiant.server.registry.federation import fields, rules
from affiant.server.registry.fields import By
from affiant.storage.entries import Entry
from affiant.storage.ports import Audit
from affiant.storage.records import Client, NotFound, Rule
from affiant.storage.registry import CLIENTS, TRUSTS, Condition, Get, Rows, Steps
from affiant.storage.registry import RULES as RECORDS

RULES = Routes("rules")
OfTrust = Annotated[str | None, Field(max_length=64, description="only the rules of this trust")]
OfClient = Annotated[str | None, Field(max_length=256, description="only the rules that name this client")]


@RULES("GET /rules", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.Rule), is_list=True)
async def list_rules(
    call: Call, trust: OfTrust = None, client_id: OfClient = None, limit: Limit = 100, cursor: CursorText = None
) -> Any:
    """List the rules, by name."""

    def is_wanted(rule: Rule) -> bool:
        return trust in (None, rule.trust) and client_id in (None, rule.client_id)

    async def fetch(after: str, limit: int) -> list[Rule]:
        return [rule for rule in await call.context.store.rules.list(after=after) if is_wanted(rule)][:limit]

    source = Source.paged(fetch, attrgetter("name"), lambda rule: [view_rule(rule)])
    return await lists.answer(call, limit, cursor, source)


@RULES("POST /rules", Role.OPERATOR, Reach.TEAMS, answers=documents.Rule, status=201, refuses=TAKEN)
async def register_rule(call: Call, wanted: RuleNew) -> Any:
    """Register a rule: from now on, tokens of the trust that meet its conditions speak for the client."""
    built = build(call, wanted)
    await call.context.store.rules.add(built, audit=_audit(call, built.name), condition=_judging(call))
    return view_rule(built)


def build(call: Call, wanted: RuleNew) -> Rule:
    """Return the rule of this document, not stored yet; raise ConfigError for an invalid member."""
    members = models.members(wanted, fields.RULE.by(By.NEW))
    return rules.build(fields.RULE.put(Rule(wanted.name, wanted.trust, wanted.client_id), members), now=call.now)


@RULES("GET /rules/{name}", Role.VIEWER, Reach.TEAMS, answers=documents.Rule, refuses=UNKNOWN)
async def show_rule(call: Call, name: str) -> Any:
    """Show a rule."""
    return changes.tagged(call, view_rule(await get(call, name)))


@RULES("PATCH /rules/{name}", Role.OPERATOR, Reach.TEAMS, answers=documents.Rule, refuses=OF_CHANGES)
async def change_rule(call: Call, name: str, wanted: RuleChanges, if_match: IfMatch = None) -> Any:
    """Change a rule. The tokens that it gave end at once, also if it is disabled (`enabled`)."""
    await get(call, name)

    def change(stored: Rule) -> Rule:
        changes.check_match(if_match, view_rule(stored))
        return build_changed(stored, wanted)

    changed = await call.context.store.rules.update(name, change, audit=_audit(call, name), condition=_judging(call))
    return changes.tagged(call, view_rule(changed))


def build_changed(stored: Rule, wanted: RuleChanges) -> Rule:
    """Return the rule with these changes, not stored yet; raise ConfigError for an invalid member."""
    return rules.change(stored, models.members(wanted, fields.RULE.by(By.CHANGE)))


@RULES("DELETE /rules/{name}", Role.OPERATOR, Reach.TEAMS, status=204, refuses=OF_CHANGES)
async def remove_rule(call: Call, name: str, if_match: IfMatch = None) -> None:
    """Remove a rule; the tokens that it gave end in the same commit."""
    await get(call, name)
    await call.context.store.rules.remove(name, audit=_audit(call, name), condition=_judging(call, if_match))


async def get(call: Call, name: str) -> Rule:
    """Return the rule of this name; raise NotFound if there is none."""
    found = await call.context.store.rules.find(name) if kinds.is_name(name) else None
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> NotFound:
    """Return the refusal of an unknown name."""
    return NotFound(f"there is no rule named {name}: see  affiant rule list")


def with_removed(call: Call, audit: Audit) -> Audit:
    """Return what also makes the entries of rules that are removed with their trust or client."""

    def entries(before: Any, after: Any) -> list[Entry]:
        if isinstance(before, Rule):
            return [rules.removal(before, call.request.record(), now=call.now)]
        return list(audit(before, after))

    return entries


def _judging(call: Call, if_match: str | None = None) -> Condition:
    """Return what judges a new, changed or removed rule in the commit."""

    def judge(before: Rule | None, after: Rule | None) -> Steps[None]:
        rule = after if after is not None else before
        assert rule is not None  # noqa: S101
        client: Client | None = yield Get(CLIENTS, rule.client_id)
        # A rule is worth as much as a key of its client.
        owners.check_escalation(call, *([client] if client is not None else []))
        if after is None:
            changes.check_match(if_match, view_rule(rule))
            return
        if before is None or after.enabled:  # it must be possible to disable every rule
            rules.check(after, (yield Get(TRUSTS, after.trust)), client, demands=call.context.directory.demands)
            rules.check_among(after, (yield Rows(RECORDS)))

    return judge


def _audit(call: Call, name: str) -> Audit:
    def ends(before: Rule | None, after: Rule | None) -> changes.Ended | None:
        # One that was disabled gave none since. Its revocation would end tokens of the seconds after it is enabled.
        if before is None or before == after or not before.enabled:
            return None
        return changes.Ended(rules.ended(before, call.now))

    return changes.audit(call, f"rule {name}", view_rule, ends=ends)
