"""Propose a trust and a rule, from the answers to a preset's questions or from the claims of a token. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from affiant.errors import ConfigError
from affiant.oauth.federation import conditions, spiffe_id
from affiant.server.registry.federation.platforms.platform import Platform, Question, is_one_of
from affiant.server.registry.federation.platforms.table import PLATFORMS, find_owner

Answers = Mapping[str, str]  # by the name of the question


def find_platform(issuer: str) -> Platform:
    """Return the platform of this issuer, by its host; spiffe or generic for any other."""
    if (owner := find_owner(issuer)) is not None:
        return owner
    name = "spiffe" if spiffe_id.is_domain(issuer) else "generic"
    return PLATFORMS[name]


def check_claims(platform: Platform, claims: Mapping[str, Any]) -> None:
    """Raise ConfigError if the preset refuses tokens with these claims: no rule may be made from one."""
    for claim, values in platform.refuses:
        if conditions.holds(conditions.find(dict(claims), claim), values):
            wanted = " or ".join(map(str, values))
            raise ConfigError(f"tokens with {claim}={wanted} get nothing here: run the job another way")


def read(platform: Platform, issuer: str, claims: Mapping[str, Any]) -> dict[str, str]:
    """Return the answers that the issuer and the claims of a token give."""
    owner = find_owner(issuer)
    if owner is not None and owner is not platform:
        raise ConfigError(f"this is a token of {owner.title}:  affiant trust add {owner.name}")
    found: dict[str, str] = {}
    for question in platform.questions:
        if question.is_issuer and question.claim is None:
            found[question.name] = issuer
        elif question.claim is not None and question.is_read:
            answer = question.answer(conditions.find(dict(claims), question.claim))
            # Attack: a claim that ends in * would become a condition that other tokens meet.
            if answer is not None and conditions.is_prefix(answer):
                raise ConfigError(
                    f"{question.claim} of this token ends in *, and a condition on it would be met by others"
                )
            if answer is not None:
                found[question.name] = issuer if question.is_issuer and question.part is None else answer
    return found


def with_usual(platform: Platform, answers: Answers) -> dict[str, str]:
    """Return the answers, with the defaults of questions that are not answered."""
    usual = {
        question.name: question.usual
        for question in platform.questions
        if question.usual is not None and not any(other in answers for other in question.unless)
    }
    return {**usual, **answers}


def is_needed(platform: Platform, question: Question, answers: Answers, *, names_only: bool = False) -> bool:
    """Whether a trust or rule cannot be made without an answer to this question."""
    if not question.is_asked or question.name in with_usual(platform, answers):
        return False
    claims = (question.claim,) if question.claim is not None else ()
    has_names = any(need.names and is_one_of(claim, need.claims) for need in platform.needs for claim in claims)
    return not (names_only and has_names)


def find_issuer(platform: Platform, answers: Answers) -> str:
    """Return the issuer; raise ConfigError if the answer is neither an issuer of this platform nor a part of one."""
    question = next((question for question in platform.questions if question.is_issuer), None)
    answer = answers.get(question.name) if question is not None else None
    if question is None or answer is None:
        return platform.issuers[0].text
    if not platform.issuers:
        return answer
    part = answer
    if question.part is not None and (found := re.fullmatch(question.part, answer)) is not None:
        part = found[1]
    whole = [answer] if any(form.fits(answer) for form in platform.issuers) else []
    issuer = next((one for one in (*whole, *(form.fill(part) for form in platform.issuers)) if one is not None), None)
    if issuer is None:
        forms = " or ".join(dict.fromkeys(form.text for form in platform.issuers))
        raise ConfigError(f"{question.name}: {answer} is not an issuer of {platform.title}, {forms}, nor a part of one")
    return issuer


def make_conditions(platform: Platform, answers: Answers, *, names_only: bool) -> dict[str, list[Any]]:
    """Return the conditions of a rule; names are left out without names_only, since a rename would end the access."""
    names = [name for need in platform.needs for name in need.names]
    found: dict[str, list[Any]] = {claim: list(values) for claim, values in platform.pins}
    given: dict[str, str] = {}
    for question in platform.questions:
        answer = answers.get(question.name)
        if answer is None or question.claim is None:
            continue
        is_id = any(is_one_of(question.claim, need.claims) for need in platform.needs)
        if is_one_of(question.claim, names) and not is_id and not names_only:
            continue
        if question.claim in given:
            raise ConfigError(f"give one of {given[question.claim]} and {question.name}: both are {question.claim}")
        given[question.claim] = question.name
        found[question.claim] = [_value(platform, question, answer)]
    return found


def make_trust(platform: Platform, answers: Answers) -> dict[str, Any]:
    """Return the members of a trust, as JSON values; the server adds those that are usual for the platform."""
    issuer = find_issuer(platform, answers)
    members: dict[str, Any] = {"issuer": issuer, "preset": platform.name}
    if platform.audience and (part := _part(platform, issuer)) is not None:
        members["audiences"] = [platform.audience.format(part)]
    for question in platform.questions:
        if question.member is not None and (answer := answers.get(question.name)) is not None:
            members[question.member] = [answer] if question.member == "audiences" else answer
    return members


def _value(platform: Platform, question: Question, answer: str) -> str:
    if question.is_issuer and question.part is None:
        # The answer may be the whole issuer, and the claim is the part of it.
        return _part(platform, find_issuer(platform, {question.name: answer})) or answer
    return question.value(answer)


def _part(platform: Platform, issuer: str) -> str | None:
    """Return the part of the issuer that differs."""
    return next((form.part_of(issuer) for form in platform.issuers if form.fits(issuer)), None)
