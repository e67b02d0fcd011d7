"""A platform as a row of a table: its issuers, the claims that identify a workload, and what `trust add` asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from affiant.oauth.federation import conditions, trusted_token
from affiant.oauth.federation.conditions import Scalar
from affiant.storage.records import ClaimCondition, Rule, Trust

DAY = 86_400
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# The part that an id has in an issuer, by its name in braces.
_PARTS = {
    "host": r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?",
    "uuid": UUID,
    "slug": r"[A-Za-z0-9][A-Za-z0-9_-]*",
    "domain": r"[a-z0-9._-]+",
    "path": r"[A-Za-z0-9._~/-]+",
}
_PART = re.compile(r"\{([a-z]+)\}")

Value = TypeVar("Value")
Path = tuple[str, ...]  # the members that lead to a claim


@dataclass(frozen=True, slots=True)
class IssuerForm:
    """The form of issuers, with {uuid} and the like where they differ."""

    text: str

    def fits(self, issuer: str) -> bool:
        return re.fullmatch(_pattern(self.text), issuer) is not None

    def has_host(self, host: str) -> bool:
        """Whether this form names the host; a form for any host names none."""
        own = urlsplit(self.text).netloc
        return own != "{host}" and self.text.startswith("https") and re.fullmatch(_pattern(own), host) is not None

    def fill(self, part: str) -> str | None:
        """Return the issuer with this part; None if the form has no such part, several, or a path."""
        filled, count = _PART.subn(lambda _: part, self.text)
        return filled if count == 1 and "{path}" not in self.text and self.fits(filled) else None

    def part_of(self, issuer: str) -> str | None:
        """Return the variable part of an issuer of this form; None if the form has none."""
        before, brace, _ = self.text.partition("{")
        after = self.text.rpartition("}")[2]
        return issuer[len(before) : len(issuer) - len(after)] if brace else None


@dataclass(frozen=True, slots=True)
class Shape:
    """The values that a claim has on a platform: no token meets a condition on others.

    `pattern` is for texts; without it, values have the type `kind`. `stem` is the pattern of a prefix before its `*`;
    without it, prefixes are refused.
    """

    wanted: str
    pattern: str | None = None
    stem: str | None = None
    kind: type = str

    def allows(self, value: Scalar) -> bool:
        if type(value) is not self.kind:
            return False
        if self.pattern is None or not isinstance(value, str):
            return not conditions.is_prefix(value)
        if not conditions.is_prefix(value):
            return re.fullmatch(self.pattern, value) is not None
        return self.stem is not None and re.fullmatch(self.stem, value.rstrip("*")) is not None


@dataclass(frozen=True, slots=True)
class Need:
    """Claims of which a rule needs a condition on one.

    Attributes:
        claims: by name or JSON Pointer.
        example: a condition that would do.
        because: why it is needed; completes "since ...".
        is_exact: whether the condition must have whole values alone.
        patterns: of the values that do, for claims of which others do not.
        names: claims that do in their place for a rule with names_only.
    """

    claims: tuple[str, ...]
    example: str
    because: str
    is_exact: bool = True
    patterns: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def is_met(self, rule: Rule) -> bool:
        names = self.names if rule.names_only else ()
        return any(self._fits(one) or is_one_of(one.claim, names) for one in rule.conditions)

    def has_names(self, rule: Rule) -> bool:
        """Whether the rule has the names that would do with names_only."""
        return any(is_one_of(one.claim, self.names) for one in rule.conditions)

    def _fits(self, condition: ClaimCondition) -> bool:
        if not is_one_of(condition.claim, self.claims):
            return False
        if self.is_exact and any(map(conditions.is_prefix, condition.values)):
            return False
        pattern = find(self.patterns, condition.claim)
        return pattern is None or all(
            isinstance(value, str) and re.fullmatch(pattern, value) is not None for value in condition.values
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A question of `affiant trust add`, whose answer becomes a condition, an issuer or a member.

    Attributes:
        name: of the option; in capitals, of an argument.
        meaning: for the help and the prompt.
        claim: the claim that the answer is a condition on.
        form: the value of the claim, with {} for the answer.
        slash: the text that replaces a slash of the answer in the claim.
        is_issuer: whether the answer is the issuer, or its part.
        part: for an answer that is more than the part of the issuer, a pattern whose group 1 is that part.
        member: the member of the trust that the answer is.
        usual: the answer if none is given.
        unless: questions whose answers take the place of the usual one.
        is_asked: whether a terminal is asked for it.
        is_read: whether a pasted token answers it.
    """

    name: str
    meaning: str
    claim: str | None = None
    form: str = "{}"
    slash: str = "/"
    is_issuer: bool = False
    part: str | None = None
    member: str | None = None
    usual: str | None = None
    unless: tuple[str, ...] = ()
    is_asked: bool = True
    is_read: bool = True

    @property
    def is_argument(self) -> bool:
        return self.name.isupper()

    def value(self, answer: str) -> str:
        """Return the value of the claim."""
        return self.form.format(answer.replace("/", self.slash))

    def answer(self, value: object) -> str | None:
        """Return the answer that makes this value of the claim, or None."""
        before, _, after = self.form.partition("{}")
        if not isinstance(value, str) or not value.startswith(before) or not value.endswith(after):
            return None
        inner = value[len(before) : len(value) - len(after)]
        return inner.replace(self.slash, "/") or None


def _nothing(_: Any) -> None:
    """Check nothing further."""


def _no_rule(_: Trust, __: Rule) -> None:
    """Check nothing further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One preset.

    Attributes:
        name: in commands and records.
        title: for people.
        issuers: their forms; empty for any. The first one is that of `trust add`.
        is_shared: whether strangers have the same issuer, so that only ids tell tenants apart.
        needs: conditions that each rule needs.
        shapes: the values of claims.
        never: claims on which no rule may rest, and why.
        pins: conditions that `trust add` gives each rule.
        audience: `aud` of its tokens where a job asks for no other, with {} for the part of the issuer; empty where
            each job asks for a token for this server.
        needs_audience: what `aud` is, where a job cannot ask for a token for this server.
        replays: those that fit its tokens, the usual one first.
        lifetime: usual max_lifetime in seconds.
        longest: the greatest max_lifetime.
        algorithms: of its tokens; empty for any that its keys fit.
        refuses: tokens that get nothing, unless the operator says otherwise.
        questions: those of `trust add`.
        example: arguments and options of `trust add`, for its help.
        check_trust: a further check; raises ConfigError.
        check_rule: the same for a rule.
    """

    name: str
    title: str
    issuers: tuple[IssuerForm, ...] = ()
    is_shared: bool = False
    needs: tuple[Need, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    never: Mapping[str, str] = field(default_factory=dict)
    pins: tuple[ClaimCondition, ...] = ()
    audience: str = ""
    needs_audience: str = ""
    replays: tuple[str, ...] = (trusted_token.ONCE,)
    lifetime: int = trusted_token.DEFAULT_LIFETIME
    longest: int = DAY
    algorithms: tuple[str, ...] = ()
    refuses: tuple[ClaimCondition, ...] = ()
    questions: tuple[Question, ...] = ()
    example: str = ""
    check_trust: Callable[[Trust], None] = _nothing
    check_rule: Callable[[Trust, Rule], None] = _no_rule

    def owns_host_of(self, issuer: str) -> bool:
        """Whether the host of this issuer is one of the platform's own."""
        # Attack: Google writes its issuer without https:// as well, which no check of Google's would be for.
        url = issuer if "://" in issuer else f"//{issuer}"
        try:
            host = (urlsplit(url).hostname or "").rstrip(".")
        except ValueError:  # brackets without an address
            return False
        return any(form.has_host(host) for form in self.issuers)


def path(claim: str) -> Path:
    """Return the members that lead to a claim: a name and the pointer to it are one claim."""
    return tuple(conditions.parse_pointer(claim)) if claim.startswith("/") else (claim,)


def is_one_of(claim: str, claims: Iterable[str]) -> bool:
    """Whether the claim is one of these, by name or by pointer."""
    return path(claim) in map(path, claims)


def find(by_claim: Mapping[str, Value], claim: str) -> Value | None:
    """Return what a table has for this claim."""
    return next((value for known, value in by_claim.items() if path(known) == path(claim)), None)


def _pattern(text: str) -> str:
    names = _PART.findall(text)
    fixed = map(re.escape, _PART.split(text)[::2])
    return "".join(part + (_PARTS[names[place]] if place < len(names) else "") for place, part in enumerate(fixed))
