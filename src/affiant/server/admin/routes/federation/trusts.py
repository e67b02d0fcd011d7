"""Trusts, the issuers whose tokens identify workloads. Each change of one ends the tokens that were given for its."""

from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.admin import changes, lists, models
from affiant.server.admin.access import owners
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.federation import documents, rules
from affiant.server.admin.routes.federation.documents import TrustChanges, TrustNew, view_trust
from affiant.server.admin.routes.operation import OF_CHANGES, TAKEN, UNKNOWN, Call, IfMatch, Reach, Routes
from affiant.server.registry import kinds
from affiant.server.registry.federation import fields, platforms, trusts
from affiant.server.registry.fields import By
from affiant.storage.entries import LONGEST_TOKEN, Revocation
from affiant.storage.ports import Audit
from affiant.storage.records import Client, NotFound, Trust
from affiant.storage.registry import CLIENTS, RULES, Condition, Get, Rows, Steps
from affiant.storage.registry import TRUSTS as RECORDS

TRUSTS = Routes("trusts")
TryKeys = Annotated[bool, Field(description="fetch its keys first, and change nothing if they cannot be obtained")]
WithRules = Annotated[bool, Field(description="remove its rules too; without it, a trust that has rules stays")]


@TRUSTS("GET /trusts", Role.VIEWER, Reach.TEAMS, answers=models.page(documents.Trust), is_list=True)
async def list_trusts(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the trusts, by name."""

    async def fetch(after: str, limit: int) -> list[Trust]:
        return await call.context.store.trusts.list(after=after, limit=limit)

    source = Source.paged(fetch, attrgetter("name"), lambda trust: [view_trust(trust)])
    return await lists.answer(call, limit, cursor, source)


@TRUSTS("POST /trusts", Role.OWNER, Reach.TEAMS, answers=documents.Trust, status=201, refuses=TAKEN)
async def register_trust(call: Call, wanted: TrustNew, *, try_keys: TryKeys = False) -> Any:
    """Register a trust. Its tokens get nothing before a rule names a client for them."""
    built = build(call, wanted)
    if try_keys:
        await call.context.trust_keys.probe(built)
    await call.context.store.trusts.add(built, audit=_audit(call, built.name), condition=_judging(call))
    return view_trust(built)


def build(call: Call, wanted: TrustNew) -> Trust:
    """Return the trust of this document, not stored yet; raise ConfigError if it cannot be registered.

    Members that it leaves out are as usual for its preset.
    """
    if names.FEDERATED_JWT not in call.context.methods:
        raise ConfigError(f"this server takes clients that authenticate by: {', '.join(call.context.methods)}")
    members = models.members(wanted, fields.TRUST.by(By.NEW))
    members = {**platforms.usual(members.get("preset", platforms.GENERIC)), **members}
    trust = fields.TRUST.put(Trust(wanted.name, wanted.issuer), members)
    return trusts.build(trust, issuer=call.context.issuer, now=call.now)


@TRUSTS("GET /trusts/{name}", Role.VIEWER, Reach.TEAMS, answers=documents.Trust, refuses=UNKNOWN)
async def show_trust(call: Call, name: str) -> Any:
    """Show a trust."""
    return changes.tagged(call, view_trust(await get(call, name)))


@TRUSTS("GET /trusts/{name}/keys", Role.OPERATOR, Reach.TEAMS, answers=documents.TrustKeys, refuses=UNKNOWN)
async def show_trust_keys(call: Call, name: str) -> Any:
    """Fetch the keys of a trust, and show them with the age of those that this server verifies with."""
    trust = await get(call, name)
    keys, federation = call.context.trust_keys, await call.context.directory.federation()
    known = next((one for one in federation.find(trust.issuer) if one.name == name), None)
    in_use = keys.describe(known, now=call.now) if known is not None else None
    try:
        return documents.view_keys(await keys.probe(trust), in_use=in_use)
    except ConfigError as error:
        return documents.TrustKeys(uri=None, keys=[], left_out=[], in_use=in_use, problem=str(error))


@TRUSTS("PATCH /trusts/{name}", Role.OPERATOR, Reach.TEAMS, answers=documents.Trust, refuses=OF_CHANGES)
async def change_trust(
    call: Call, name: str, wanted: TrustChanges, *, try_keys: TryKeys = False, if_match: IfMatch = None
) -> Any:
    """Change a trust. The tokens that its rules gave end at once, also if it is disabled (`enabled`)."""
    found = await get(call, name)
    if try_keys:
        await call.context.trust_keys.probe(build_changed(call, found, wanted))

    def change(stored: Trust) -> Trust:
        changes.check_match(if_match, view_trust(stored))
        return build_changed(call, stored, wanted)

    changed = await call.context.store.trusts.update(name, change, audit=_audit(call, name), condition=_judging(call))
    return changes.tagged(call, view_trust(changed))


def build_changed(call: Call, stored: Trust, wanted: TrustChanges) -> Trust:
    """Return the trust with these changes, not stored yet; raise ConfigError if it cannot be so."""
    return trusts.change(stored, models.members(wanted, fields.TRUST.by(By.CHANGE)), now=call.now)


@TRUSTS("DELETE /trusts/{name}", Role.OWNER, Reach.TEAMS, status=204, refuses=OF_CHANGES)
async def remove_trust(call: Call, name: str, *, with_rules: WithRules = False, if_match: IfMatch = None) -> None:
    """Remove a trust; the tokens that its rules gave end in the same commit."""
    await get(call, name)
    judging = _removing(if_match, with_rules=with_rules)
    await call.context.store.trusts.remove(name, audit=_audit(call, name), condition=judging)


async def get(call: Call, name: str) -> Trust:
    """Return the trust of this name; raise NotFound if there is none."""
    found = await call.context.store.trusts.find(name) if kinds.is_name(name) else None
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> NotFound:
    """Return the refusal of an unknown name."""
    return NotFound(f"there is no trust named {name}: see  affiant trust list")


def _judging(call: Call) -> Condition:
    """Return what judges a new or changed trust in the commit."""

    def judge(before: Trust | None, after: Trust) -> Steps[None]:
        if before is not None and call.who.role is not Role.OWNER:
            # Attack: an operator puts keys of its own into a trust that speaks for an owner.
            for client_id in {rule.client_id for rule in (yield Rows(RULES)) if rule.trust == before.name}:
                client: Client | None = yield Get(CLIENTS, client_id)
                owners.check_escalation(call, *([client] if client is not None else []))
        if before is None or after.enabled:
            trusts.check_apart(after, (yield Rows(RECORDS)))
        if before is not None:
            trusts.check_rules(before, after, (yield Rows(RULES)))

    return judge


def _removing(if_match: str | None, *, with_rules: bool) -> Condition:
    def judge(before: Trust, _: None) -> Steps[None]:
        changes.check_match(if_match, view_trust(before))
        if not with_rules:
            trusts.check_removable(before, (yield Rows(RULES)))

    return judge


def _audit(call: Call, name: str) -> Audit:
    def ends(before: Trust | None, after: Trust | None) -> changes.Ended | None:
        # One that was disabled gave none since. Its revocation would end tokens of the seconds after it is enabled.
        if before is None or before == after or not before.enabled:
            return None
        return changes.Ended(Revocation("trust", name, call.now, call.now + LONGEST_TOKEN))

    return rules.with_removed(call, changes.audit(call, f"trust {name}", view_trust, ends=ends))
