"""Take the tokens of a platform for a client: a trust unless its issuer has one, a client if it is new, and a rule."""

from __future__ import annotations

from typing import NamedTuple

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask, Refusal, at
from affiant.server.console.show.records import members
from affiant.server.console.view import Form
from affiant.server.registry.federation import fields
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.adding import plan
from affiant.server.registry.federation.platforms.adding.plan import Chosen, Plan
from affiant.server.registry.federation.platforms.platform import Platform, Question
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.server.registry.fields import Member

_MOST = 1000  # a server has at most 256 trusts, and pages of this size
# Members of the trust that the form has in addition to the questions of the platform.
TRUST_ROWS = [fields.TRUST.rows[name] for name in ("discovery_url", "jwks_uri", "jwks", "ca", "audiences")]
_ASKED = "q-"  # before the name of a question, as the name of its field


class Planned(NamedTuple):
    """A plan, with the answers from which it was made."""

    platform: Platform
    answers: dict[str, str]
    chosen: Chosen
    plan: Plan


def field_of(question: Question) -> str:
    """Return the name of the field for a question."""
    return f"{_ASKED}{question.name.lower()}"


def rows_of(platform: Platform) -> list[Member]:
    """Return the members of the trust that no question of the platform is about."""
    asked = {question.member for question in platform.questions}
    return [row for row in TRUST_ROWS if row.name not in asked]


def find_platform(name: str) -> Platform:
    """Return the preset of this name; raise ConfigError if there is none."""
    if name not in PLATFORMS:
        raise ConfigError("choose a platform: there is no preset of this name")
    return PLATFORMS[name]


def answers_of(platform: Platform, form: Form) -> dict[str, str]:
    """Return the answers of the form, with the usual ones; raise ConfigError if one is missing."""
    given = {one.name: form.text(field_of(one)) for one in platform.questions if form.text(field_of(one))}
    answers = proposal.with_usual(platform, given)
    has_keys = any(form.text(name) for name in ("jwks", "jwks_uri", "discovery_url"))
    for question in platform.questions:
        is_given = question.member == "jwks_uri" and has_keys
        if not is_given and proposal.is_needed(platform, question, answers, names_only=form.flag("names_only")):
            raise ConfigError(f"give {question.name.lower()}: {question.meaning}")
    return answers


async def make(api: Api, form: Form) -> Planned:
    """Return what is to be registered; raise ConfigError or Refusal if it cannot be."""
    platform = find_platform(form.text("platform"))
    answers = answers_of(platform, form)
    chosen = await _choose(api, platform, form)
    trusts = (await api.get("/trusts", limit=_MOST))["items"]
    rules = (await api.get("/rules", limit=_MOST))["items"]
    return Planned(platform, answers, chosen, plan.make(platform, answers, chosen, trusts, rules))


async def _choose(api: Api, platform: Platform, form: Form) -> Chosen:
    client_id = form.text("client_id")
    if not client_id:
        raise ConfigError("enter the client that such a token authenticates")
    trust = members.read(form, rows_of(platform))
    if (life := form.number("max_lifetime")) is not None and life > platform.lifetime:
        trust["max_lifetime"] = life
    scope, resources = form.words("scope"), form.words("resources")
    return Chosen(
        client_id=client_id,
        is_new=await _is_new(api, client_id),
        names_only=form.flag("names_only"),
        when=members.conditions(form.text("when")),
        ceiling={name: value for name, value in (("scope", scope), ("resources", resources)) if value},
        trust=trust,
        trust_name=form.maybe("name"),
        rule_name=form.maybe("rule"),
    )


async def _is_new(api: Api, client_id: str) -> bool:
    try:
        await api.get(at("/clients/{}", client_id))
    except Refusal as refusal:
        if refusal.reason == "admin.not_found":
            return True
        raise
    return False


async def refusals(api: Api, planned: Planned) -> list[str]:
    """Return why the server would refuse this plan; nothing is stored."""
    judged = (await api.send(Ask("POST", "/dry-run", {"changes": planned.plan.changes}))).document
    found = [f"{one['kind']} {one['name']}: {one['title']} ({one['detail']})" for one in judged["refused"]]
    return found if judged["role"] == judged["needs"] or found else _role(judged)


def _role(judged: dict[str, str]) -> list[str]:
    ranks = ("viewer", "operator", "owner")
    is_enough = ranks.index(judged["role"]) >= ranks.index(judged["needs"])
    return [] if is_enough else [f"this needs the role {judged['needs']}, and yours is {judged['role']}"]


@action("trust.add", "Register the trust and the rule")
async def add(api: Api, form: Form) -> list[Ask]:
    planned = await make(api, form)
    if problems := await refusals(api, planned):
        raise ConfigError(f"{problems[0]}; nothing was changed")
    found = planned.plan
    # Order: a trust gives nothing without a rule, and a rule needs its client.
    return [
        *([Ask("POST", "/trusts", dict(found.trust))] if found.is_new else []),
        *([Ask("POST", "/clients", dict(found.client))] if found.client is not None else []),
        Ask("POST", "/rules", dict(found.rule)),
    ]


def command(planned: Planned) -> list[str]:
    """Return the words of `affiant trust add` that does the same; keys are files there."""
    words = ["affiant", "trust", "add", planned.platform.name]
    questions = planned.platform.questions
    words += [planned.answers[one.name] for one in questions if one.is_argument and one.name in planned.answers]
    for one in questions:
        if not one.is_argument and one.name in planned.answers:
            words += [f"--{one.name}", planned.answers[one.name]]
    chosen = planned.chosen
    words += ["--new-client" if chosen.is_new else "--client", chosen.client_id]
    words += [word for one in chosen.ceiling.get("scope", ()) for word in ("--scope", one)]
    words += [word for one in chosen.ceiling.get("resources", ()) for word in ("--resource", one)]
    words += [word for one in fields.option_values(chosen.when) for word in ("--when", one)]
    words += ["--names-only"] if chosen.names_only else []
    files = {"jwks": ("--jwks", "keys.json"), "ca": ("--ca", "ca.pem")}
    for name, value in chosen.trust.items():
        row = fields.TRUST.rows[name]
        given = value if isinstance(value, list) else [value]
        words += [word for one in given for word in files.get(name, (str(row.option), str(one)))]
    return words
