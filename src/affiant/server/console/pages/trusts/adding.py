"""Add a trust: a tile for each platform, its questions, what follows from the answers, and a token tried before it."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any, NamedTuple

from affiant.errors import ConfigError
from affiant.server.console.actions.trusts import adding
from affiant.server.console.actions.trusts.adding import Planned
from affiant.server.console.api import Ask, Refusal, at
from affiant.server.console.pages.page import page
from affiant.server.console.show.records import members
from affiant.server.console.view import Form, View
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.adding import jobs, pasted, plan, refused
from affiant.server.registry.federation.platforms.platform import Platform, Question
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.server.request.http import Answer

# Of the form, and of no request to the admin API.
_OWN = ("csrf", "then")


class _Asked(NamedTuple):
    """A question as the form has it."""

    field: str
    name: str
    meaning: str
    value: str
    is_first: bool  # whether it is one of those that everyone answers


class _Filled(NamedTuple):
    """The first values of the form."""

    answers: dict[str, str]
    client_id: str = ""
    token: str = ""
    max_lifetime: int = 0
    notes: tuple[str, ...] = ()


@page("/new/trust")
async def new_trust(view: View) -> Answer:
    trace_id = view.query.text("from")
    if trace_id:
        return await _from_refused(view, trace_id)
    if not view.query.text("platform"):
        return view.show("trusts/tiles.html", platforms=list(PLATFORMS.values()), problem=None)
    return _ask(view, _platform(view.query.text("platform")), _Filled({}))


@page("/new/trust", method="POST")
async def from_token(view: View) -> Answer:
    """By POST: the token is a credential. It is in this answer again, and is kept nowhere."""
    try:
        token = pasted.parse(view.form.text("token"))
        platform = proposal.find_platform(token.issuer)
        answers = proposal.read(platform, token.issuer, token.claims)
        pasted.check(token, platform)
    except ConfigError as error:
        return view.show("trusts/tiles.html", status=422, platforms=list(PLATFORMS.values()), problem=str(error))
    usual = proposal.with_usual(platform, answers)
    notes = tuple(f"The token does not say {one}: {usual[one]} is taken." for one in usual.keys() - answers.keys())
    return _ask(view, platform, _Filled(answers, "", token.text, token.lifetime or 0, notes))


async def _from_refused(view: View, trace_id: str) -> Answer:
    record = {"trace_id": trace_id, **await view.api.get(at("/audit/{}", trace_id))}
    trusts = (await view.api.get("/trusts", limit=1000))["items"]
    try:
        token = refused.read(record, trusts)
        answers = proposal.read(token.platform, token.issuer, token.claims)
    except ConfigError as error:
        return view.show("trusts/tiles.html", status=422, platforms=list(PLATFORMS.values()), problem=str(error))
    notes = ["From the claims of a refused token. The next one of the job shows whether they are right."]
    if not token.is_verified:
        notes.append("No trust had verified this token: anyone can send one with these claims. Is it your job?")
    client_id = token.client_id
    if await _exists(view, client_id):
        try:
            token.check_client()
        except ConfigError:
            notes.append(f"The client {client_id} has rights already, and whoever sent the token may have named it.")
            client_id = ""
    return _ask(view, token.platform, _Filled(answers, client_id, notes=tuple(notes)))


async def _exists(view: View, client_id: str) -> bool:
    with contextlib.suppress(Refusal):
        await view.api.get(at("/clients/{}", client_id))
        return True
    return False


def _platform(name: str) -> Platform:
    try:
        return adding.find_platform(name)
    except ConfigError as error:
        raise Refusal({"status": 404, "title": "no such platform", "detail": str(error)}) from None


def _ask(view: View, platform: Platform, filled: _Filled) -> Answer:
    answers = proposal.with_usual(platform, filled.answers)
    asked = [_asked(platform, one, answers) for one in platform.questions]
    return view.show(
        "trusts/questions.html",
        platform=platform,
        first=[one for one in asked if one.is_first],
        more=[one for one in asked if not one.is_first],
        fields=members.fields(adding.rows_of(platform)),
        filled=filled,
    )


def _asked(platform: Platform, question: Question, answers: dict[str, str]) -> _Asked:
    usual = question.usual is not None
    is_needed = proposal.is_needed(platform, question, {})
    return _Asked(
        adding.field_of(question),
        question.name.lower().replace("_", " "),
        question.meaning,
        answers.get(question.name, ""),
        is_needed or question.name in answers or (usual and question.is_asked),
    )


@page("/new/trust/preview", method="POST")
async def preview(view: View) -> Answer:
    """Show the planned records, the server's refusals of them, and its verdict on a token."""
    form = view.form
    try:
        planned = await adding.make(view.api, form)
        problems = await adding.refusals(view.api, planned)
    except ConfigError as error:
        return _refuse(view, str(error))
    except Refusal as refusal:
        return _refuse(view, f"{refusal.title}: {refusal.detail}")
    token = form.text("token")
    return view.show(
        "trusts/preview.html",
        planned=planned,
        sentence=_sentence(planned),
        risks=list(plan.risks(planned.plan.trust, planned.plan.rule)),
        problems=problems,
        tried=await _try(view, planned, token) if token and not problems else None,
        fields=[(name, value) for name, value in form.pairs() if name not in (*_OWN, "token")],
        token=token,
        command=shlex.join(adding.command(planned)),
        job="\n".join(_job(view, planned)),
    )


def _refuse(view: View, problem: str) -> Answer:
    return view.show("trusts/not_planned.html", status=422, problem=problem, fields=_kept(view.form))


def _kept(form: Form) -> list[tuple[str, str]]:
    return [(name, value) for name, value in form.pairs() if name not in _OWN]


def _sentence(planned: Planned) -> str:
    rule = planned.plan.rule
    scope = " ".join(rule.get("scope", ())) or "every scope that the client has"
    return (
        f"A token of {planned.platform.title} speaks for {rule['client_id']} when {plan.in_words(rule)}."
        f" It gets {scope}."
    )


def _job(view: View, planned: Planned) -> list[str]:
    trust = {"audiences": [], **planned.plan.trust}
    return jobs.lines(trust["preset"], view.issuer, plan.audiences(trust, view.issuer)[0])


async def _try(view: View, planned: Planned, token: str) -> dict[str, Any]:
    """Return how the server would judge this token, or why it cannot."""
    found = planned.plan
    body: dict[str, Any] = {"token": token.removeprefix("Bearer "), "rule": dict(found.rule)}
    if found.is_new:
        body["trust"] = dict(found.trust)
    try:
        return {"judged": (await view.api.send(Ask("POST", "/explain/planned", body))).document, "problem": None}
    except Refusal as refusal:
        return {"judged": None, "problem": f"{refusal.title}: {refusal.detail}"}
