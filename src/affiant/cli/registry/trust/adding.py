"""`affiant trust add`: one command for each platform, made from the table of presets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from affiant.cli.connection.place import Place, admin_options
from affiant.cli.output import note, show, warn
from affiant.cli.registry.options import CONDITION, conditions, member_options, members
from affiant.cli.registry.trust import pasted, refusal, saving
from affiant.cli.registry.trust.saving import Done, Wanted
from affiant.server.registry.federation import fields
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.adding import jobs, plan
from affiant.server.registry.federation.platforms.adding import pasted as pasted_tokens
from affiant.server.registry.federation.platforms.adding.pasted import Pasted
from affiant.server.registry.federation.platforms.adding.plan import Chosen
from affiant.server.registry.federation.platforms.platform import Platform, Question
from affiant.server.registry.federation.platforms.table import PLATFORMS

_TRUST = [fields.TRUST.rows[name] for name in ("discovery_url", "jwks_uri", "jwks", "ca", "audiences")]
_FROM_REFUSED = "--from-refused"
_RULE = [fields.RULE.rows[name] for name in ("scope", "resources")]
# For every platform, and for a refused token.
_SAVED: tuple[Callable[[Any], Any], ...] = (
    click.option("--client", metavar="CLIENT_ID", help="the service for which such a token speaks"),
    click.option("--new-client", metavar="CLIENT_ID", help="the same, for a service that is registered now"),
    click.option(
        "--when", type=CONDITION, multiple=True, metavar="CLAIM=VALUE", help="a further condition; may repeat"
    ),
    click.option("--name", help="name of the trust (default: the one of its issuer, or the name of the platform)"),
    click.option("--rule", help="name of the rule (default: that of the service)"),
    click.option("--names-only", is_flag=True, help="rest on names, which another tenant could take over"),
)


class _Add(click.Group):
    """Accepts `--from-refused TRACE_ID` in place of a platform: the record of the request names that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [part for word in args for part in (word.split("=", 1) if word.startswith(_FROM_REFUSED) else [word])]
        if words[:1] == [_FROM_REFUSED]:
            words[0] = from_refused.name or ""
        return super().parse_args(ctx, words)


@click.group(cls=_Add)
def add() -> None:
    """Take the tokens of a platform, for a service.

    \b
    affiant trust add github acme/app --repository-id 123 --branch main --client deploy
    affiant trust add kubernetes shop/orders --issuer https://cluster.example --client orders
    affiant trust add gitlab --from-token job.jwt --new-client deploy --scope orders.write
    affiant trust add --from-refused TRACE_ID
    """


def _command(platform: Platform) -> click.Command:
    """Return the command of a platform; it asks for what is left out where a person can answer."""

    def run(place: Place, **options: Any) -> None:
        answers = {name: options.pop(_parameter(name)) for name in [one.name for one in platform.questions]}
        given = {name: answer for name, answer in answers.items() if answer is not None}
        _add(platform, given, place, options)

    arguments = "".join(f"{one.name}: {one.meaning}. " for one in platform.questions if one.is_argument)
    run.__doc__ = (
        f"Take the tokens of {platform.title}.\n\n{arguments}On a terminal, the command asks for what is left out."
        "\n\n\b\n"
        f"affiant trust add {platform.name} {platform.example}\n"
        f"affiant trust add {platform.name} --from-token FILE --client {platform.example.rpartition(' ')[2]}"
    )
    return click.command(platform.name)(_with(_options(platform))(admin_options(run)))


def _with(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a decorator that adds these options, in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _options(platform: Platform) -> list[Callable[[Any], Any]]:
    own = {f"--{question.name}" for question in platform.questions}
    members_ = [row for row in _TRUST if row.option not in own]
    return [
        *map(_option, platform.questions),
        click.option("--from-token", metavar="FILE|-", help="take the answers from a token, which is not printed"),
        *_SAVED,
        member_options([*_RULE, *members_]),
    ]


def _option(question: Question) -> Callable[[Any], Any]:
    if question.is_argument:
        return click.argument(_parameter(question.name), metavar=question.name, required=False)
    usual = f" (default: {question.usual})" if question.usual is not None else ""
    return click.option(
        f"--{question.name}",
        _parameter(question.name),
        metavar=question.name.rpartition("-")[2].upper(),
        help=question.meaning + usual,
    )


def _parameter(name: str) -> str:
    return f"answer_{name.lower().replace('-', '_')}"


for _platform in PLATFORMS.values():
    add.add_command(_command(_platform))


@add.command("from-refused")
@click.argument("trace_id")
@_with(_SAVED)
@click.option("--yes", is_flag=True, help="register it without a question")
@member_options([*_RULE, *_TRUST])
@admin_options
def from_refused(trace_id: str, place: Place, *, yes: bool, **options: Any) -> None:
    """Take tokens like one that was refused.

    The command proposes issuer, conditions and service from the audit record of the request, and asks before it
    registers them. If no trust had verified the token, its sender may have made the claims up: the command says so, and
    the next token of the job shows whether they are right.

    \b
    affiant trust add --from-refused q7Jd0kX2aQpz
    affiant trust add --from-refused q7Jd0kX2aQpz --client deploy --yes
    """
    token, is_new = place.run(lambda api: refusal.read(api, trace_id))
    given = members(_TRUST, options)
    if options["client"] is None and options["new_client"] is None:
        if not is_new:
            token.check_client()
        options["new_client" if is_new else "client"] = token.client_id
    answers = proposal.read(token.platform, token.issuer, token.claims)
    answers = proposal.with_usual(
        token.platform, _ask(token.platform, answers, {**given, "names_only": options["names_only"]})
    )
    wanted = _wanted(token.platform, answers, given, {**options, "name": options["name"] or token.trust})
    _propose(wanted, is_verified=token.is_verified)
    if not yes and not (sys.stdin.isatty() and click.confirm("register this?", err=True)):
        raise click.UsageError("nothing was registered: to register it, give --yes")
    _show(place.run(lambda api: saving.save(api, wanted)), [])


def _propose(wanted: Wanted, *, is_verified: bool) -> None:
    if not is_verified:
        warn("no trust had verified this token: anyone can send one with these claims. Is it your job?")
    planned = plan.make(wanted.platform, wanted.answers, wanted.chosen, (), ())
    note(f"the issuer {planned.trust['issuer']}, as {planned.trust['preset']}")
    note(f"the client {wanted.chosen.client_id}{' (new)' if wanted.chosen.is_new else ''}")
    note(f"when {plan.in_words(planned.rule)}")


def _add(platform: Platform, answers: dict[str, str], place: Place, options: dict[str, Any]) -> None:
    given = members(_TRUST, {**dict.fromkeys(row.name for row in _TRUST), **options})
    token = None
    if options["from_token"] is not None:
        token = pasted.read(options["from_token"])
        answers = {**_read(platform, token), **answers}
        if (life := token.lifetime or 0) > platform.lifetime:
            given["max_lifetime"] = life
    answers = proposal.with_usual(platform, _ask(platform, answers, {**given, "names_only": options["names_only"]}))
    wanted = _wanted(platform, answers, given, options)
    done = place.or_new().run(lambda api: saving.save(api, wanted))
    _show(done, [] if token is None else [pasted.judge(token, done.trust["name"], place)])


def _read(platform: Platform, token: Pasted) -> dict[str, str]:
    answers = proposal.read(platform, token.issuer, token.claims)
    pasted_tokens.check(token, platform)
    usual = proposal.with_usual(platform, answers)
    for name in usual.keys() - answers.keys():
        note(f"the token does not say {name}: {usual[name]} is taken")
    return answers


def _ask(platform: Platform, answers: dict[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers with those that a person gives at the terminal; raise UsageError if there is none."""
    has_keys = any(name in given for name in ("jwks", "jwks_uri", "discovery_url"))
    for question in platform.questions:
        is_given = question.member == "jwks_uri" and has_keys
        is_needed = proposal.is_needed(platform, question, answers, names_only=given["names_only"])
        if is_needed and not is_given:
            answers = {**answers, question.name: _answer(platform, question)}
    return answers


def _answer(platform: Platform, question: Question) -> str:
    if not sys.stdin.isatty():
        option = question.name if question.is_argument else f"--{question.name}"
        raise click.UsageError(f"give {option}, {question.meaning}")
    shown = question.name.lower().replace("_", " ")
    answer: str = click.prompt(f"{platform.title}: {shown} ({question.meaning})", err=True)
    return answer.strip()


def _find_client(options: Mapping[str, Any]) -> str:
    """Return the client_id of the service."""
    given: list[str] = [options[name] for name in ("client", "new_client") if options[name] is not None]
    if len(given) > 1:
        raise click.UsageError("give one of --client and --new-client")
    if given:
        return given[0]
    if not sys.stdin.isatty():
        raise click.UsageError("give --client CLIENT_ID, or --new-client CLIENT_ID to register it")
    client_id: str = click.prompt("client_id of the service", err=True)
    return client_id.strip()


def _wanted(
    platform: Platform, answers: dict[str, str], given: Mapping[str, Any], options: Mapping[str, Any]
) -> Wanted:
    return Wanted(
        platform,
        answers,
        Chosen(
            client_id=_find_client(options),
            is_new=options["new_client"] is not None,
            names_only=bool(options["names_only"]),
            when=conditions(options["when"]),
            ceiling=members(_RULE, options),
            trust=given,
            trust_name=options["name"],
            rule_name=options["rule"],
        ),
    )


def _show(done: Done, verdict: list[str]) -> None:
    trust, rule = done.trust, done.rule
    job = jobs.lines(trust["preset"], done.issuer, plan.audiences(trust, done.issuer)[0])
    made = [f"client {done.client['client_id']}, which has no credential of its own (new)"] if done.client else []
    for risk in plan.risks(trust, rule):
        warn(risk)
    if done.problem is not None:
        warn(f"{done.problem}; give them by  affiant trust update {trust['name']} --jwks FILE")
    if not trust["enabled"]:
        warn(f"the trust {trust['name']} is disabled:  affiant trust enable {trust['name']}")
    show(
        {"trust": trust, "rule": rule, "client": done.client, "job": "\n".join(job), "token": verdict},
        f"trust {trust['name']}: {trust['issuer']}{' (new)' if done.is_new else ''}",
        *made,
        f"rule {rule['name']}: for {rule['client_id']}, when {plan.in_words(rule)}",
        "the job:",
        *(f"  {line}" for line in job),
        *(verdict or ["try it with a token of the job:  affiant trust test FILE"]),
    )
