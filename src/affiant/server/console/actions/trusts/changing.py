"""Change, disable and remove trusts and rules. Each change ends the tokens that they gave."""

from __future__ import annotations

from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.records import issued, members
from affiant.server.console.view import Form
from affiant.server.registry.federation import fields
from affiant.server.registry.fields import By

TRUST, RULE = "/trusts/{}", "/rules/{}"
TRUST_ROWS = [row for row in fields.TRUST.by(By.CHANGE) if row.name != "enabled"]
RULE_ROWS = [row for row in fields.RULE.by(By.CHANGE) if row.name != "enabled"]
_AGAIN = "A job that asks again gets another one, if it is still allowed."


def _set(path: str, form: Form, *, enabled: bool) -> Ask:
    return Ask("PATCH", at(path, form.text("name")), {"enabled": enabled}, form.maybe(IF_MATCH))


async def _ended(api: Api, form: Form, what: str) -> list[str]:
    """Return which tokens a change of this trust or rule ends."""
    name = form.text("name")
    path = name if what == "trust" else (await api.get(at(RULE, name)))["trust"] + f"/{name}"

    def has(record: object) -> bool:
        rule = str(record.get("rule") or "") if isinstance(record, dict) else ""
        return rule == path or (what == "trust" and rule.startswith(f"{path}/"))

    return [(await issued.find(api, has)).sentence(f"of this {what}"), "They end within two seconds."]


@action("trust.update", "Change the trust")
async def update_trust(api: Api, form: Form) -> Ask:
    path = at(TRUST, form.text("name"))
    return Ask("PATCH", path, members.read(form, TRUST_ROWS, await api.get(path)), form.maybe(IF_MATCH))


@update_trust.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [*await _ended(api, form, "trust"), _AGAIN]


@action("trust.disable", "Disable the trust")
async def disable_trust(_: Api, form: Form) -> Ask:
    return _set(TRUST, form, enabled=False)


@disable_trust.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [*await _ended(api, form, "trust"), "No token of its issuer gets another one until you enable it again."]


@action("trust.enable", "Enable the trust")
async def enable_trust(_: Api, form: Form) -> Ask:
    return _set(TRUST, form, enabled=True)


@action("trust.remove", "Remove the trust and its rules")
async def remove_trust(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(TRUST, form.text("name")), None, form.maybe(IF_MATCH), {"with_rules": "true"})


@remove_trust.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    rules = (await api.get("/rules", trust=form.text("name"), limit=1000))["items"]
    names = ", ".join(rule["name"] for rule in rules[:10]) or "none"
    return [*await _ended(api, form, "trust"), f"Its rules go, too: {names}.", "This cannot be undone."]


@action("rule.add", "Add the rule")
async def add_rule(_: Api, form: Form) -> Ask:
    body = {name: form.text(name) for name in ("name", "trust", "client_id")}
    return Ask("POST", "/rules", {**body, **members.read(form, RULE_ROWS)})


@action("rule.update", "Change the rule")
async def update_rule(api: Api, form: Form) -> Ask:
    path = at(RULE, form.text("name"))
    return Ask("PATCH", path, members.read(form, RULE_ROWS, await api.get(path)), form.maybe(IF_MATCH))


@update_rule.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [*await _ended(api, form, "rule"), _AGAIN]


@action("rule.disable", "Disable the rule")
async def disable_rule(_: Api, form: Form) -> Ask:
    return _set(RULE, form, enabled=False)


@disable_rule.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return await _ended(api, form, "rule")


@action("rule.enable", "Enable the rule")
async def enable_rule(_: Api, form: Form) -> Ask:
    return _set(RULE, form, enabled=True)


@action("rule.remove", "Remove the rule")
async def remove_rule(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at(RULE, form.text("name")), None, form.maybe(IF_MATCH))


@remove_rule.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [*await _ended(api, form, "rule"), "This cannot be undone."]
