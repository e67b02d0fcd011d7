"""Fixes for a token that no rule fits: a change of the nearest rule, or of the job.

A rule is never widened for tokens that outsiders can cause, such as those of `pull_request_target`.
"""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple
from urllib.parse import unquote

from affiant.oauth.federation.conditions import Scalar
from affiant.server.explain.federation.presented import Presented
from affiant.server.explain.fix import Fix, command, quoted
from affiant.server.registry.federation import claims as kept_claims
from affiant.server.registry.federation import fields
from affiant.server.registry.federation.nearest import Compared, Nearest

_FOREIGN_EVENTS = ("pull_request", "pull_request_target", "workflow_run")
_IMMUTABLE = re.compile(r"(?:^|[_/-])(?:u?uid|oid|tid|id)$|(?:Uuid|account)$")
WITHOUT_SSH = "Run the job again without SSH."
_ALIKE = 0.75
_PROTECTED = """rules: [{if: '$CI_COMMIT_REF_PROTECTED == "true"'}]"""

Changed = dict[str, tuple[Scalar, ...]]


def mend(presented: Presented, client_id: str | None, add: str) -> Fix | None:
    """Return the change with which the token meets the nearest rule, or `add`, the command for a rule of its own."""
    found = presented.nearest
    if found is None or not found.rule:
        return None
    if not found.unmet:
        return _met(found, client_id)
    for one in found.unmet:
        if (of_job := _of_job(presented, one)) is not None:
            return of_job
    changes = [(one, _change(presented, one)) for one in found.unmet]
    if any(change is None for _, change in changes):
        one = next(one for one, change in changes if change is None)
        return Fix(f"affiant rule show {found.rule}", f"{_came(one)}, and no condition can have that")
    wanted = {one.claim: change for one, change in changes if change is not None}
    # Attack: another repository has the name of a deleted one, and gets the rule by a line that an operator pastes.
    other = next((change for change in wanted.values() if change.is_other), None)
    return Fix(add, other.why) if other is not None else _update(found, wanted)


def _met(found: Nearest, client_id: str | None) -> Fix:
    if not found.enabled:
        return Fix(command("rule", "enable", found.rule), f"the token meets the rule {found.rule}, which is disabled")
    why = f"the token meets the rule {found.rule}, which is for the client {found.client_id}"
    return Fix(f'form["client_id"] = {quoted(found.client_id)}', f"{why}; the request names {client_id or 'another'}")


def _update(found: Nearest, changes: dict[str, _Change]) -> Fix:
    """Return the command that gives the rule these conditions in place of its unmet ones."""
    wanted: Changed = {}
    for one in found.conditions:
        change = changes.get(one.claim)
        if change is None:
            wanted[one.claim] = one.expected
        else:
            wanted[change.claim] = change.values
    why = "; ".join(change.why for change in changes.values())
    return Fix(command("rule", "update", found.rule, when=fields.option_values(wanted)), why)


class _Change(NamedTuple):
    """A condition in place of another."""

    claim: str
    values: tuple[Scalar, ...]
    why: str
    is_other: bool = False  # whether the token is of another workload than the rule


def _change(presented: Presented, one: Compared) -> _Change | None:
    if one.got is None:
        return _renamed(presented, one)
    value = presented.proposable(one.claim)
    if value is None:
        return None
    name = one.claim
    for expected in one.expected:
        if isinstance(expected, str) is not isinstance(value, str) and _text(expected) == _text(value):
            kinds = f"{name} is {_kind(value)} in the token, and {_kind(expected)} in the rule"
            return _Change(name, _replaced(one.expected, expected, value), kinds)
        if isinstance(expected, str) and isinstance(value, str) and (how := _alike(expected, value)):
            return _Change(name, _replaced(one.expected, expected, value), f"{_came(one)}: {how}")
    if _IMMUTABLE.search(name):
        why = f"{_came(one)}: another one that may have the same name now; give it its own rule only if it is yours"
        return _Change(name, (value,), why, is_other=True)
    return _Change(name, (*one.expected, value), f"{_came(one)}; add it, if such tokens shall have the client")


def _renamed(presented: Presented, one: Compared) -> _Change | None:
    """Return the condition on the claim that the operator meant, if the token has none of this name."""
    names = [name for name in presented.claims if name not in ("iss", "aud")]
    pointer = f"/{one.claim}"
    known = kept_claims.plain(one.claim)
    close = [pointer] if pointer in names else difflib.get_close_matches(known, names, n=1, cutoff=_ALIKE)
    if not close:
        return None
    return _Change(close[0], one.expected, f"the token has no claim {one.claim}; it has {close[0]}")


def _alike(expected: str, value: str) -> str:
    """Return the difference of two spellings of one text; empty for other texts."""
    if expected.casefold() == value.casefold():
        return "upper and lower case differ"
    if unquote(expected) == unquote(value):
        return "a colon is written as %3A in one of them"
    if expected.strip() == value or expected.strip("/") == value.strip("/"):
        return "a slash or a space at the end differs"
    if value in (f"refs/heads/{expected}", f"refs/tags/{expected}"):
        return "the platform writes the whole ref"
    return ""


def _of_job(presented: Presented, one: Compared) -> Fix | None:
    """Return the change of the job's configuration, where the rule is right and the job is not."""
    found = _OF_JOB.get((presented.job.name, kept_claims.plain(one.claim)))
    wanted = next((value for value in one.expected if isinstance(value, str) and not value.endswith("*")), "")
    return found(presented, one, wanted) if found is not None else None


def _environment(_: Presented, one: Compared, wanted: str) -> Fix | None:
    if one.got is not None or not wanted:
        return None
    return Fix(f"environment: {wanted}", "the job runs in no environment, and the rule wants one")


def _event(presented: Presented, one: Compared, _: str) -> Fix | None:
    if one.got not in _FOREIGN_EVENTS:
        return None
    return Fix(push(presented), f"outsiders can cause {one.got}: no rule should fit it")


def _ref(presented: Presented, one: Compared, _: str) -> Fix | None:
    if not str(one.got).startswith("refs/pull/"):
        return None
    return Fix(push(presented), "it runs for a pull request, which an outsider can open: run it for the branch")


def push(presented: Presented) -> str:
    """Return the trigger of a workflow that only members of the repository can cause."""
    conditions = presented.nearest.conditions if presented.nearest is not None else ()
    refs = [
        value
        for one in conditions
        if kept_claims.plain(one.claim) == "ref"
        for value in one.expected
        if isinstance(value, str)
    ]
    branch = next((ref.removeprefix("refs/heads/") for ref in refs if ref.startswith("refs/heads/")), "main")
    return f"on: {{push: {{branches: [{quoted(branch)}]}}}}"


def _project(presented: Presented, one: Compared, wanted: str) -> Fix | None:
    if presented.claims.get("job_project_id") != wanted:
        return None
    return Fix(_PROTECTED, f"the pipeline runs for a fork, project {one.got}, and its code is that of an outsider")


def _protected(_: Presented, one: Compared, wanted: str) -> Fix | None:
    if (wanted, one.got) != ("true", "false"):
        return None
    return Fix(_PROTECTED, "the branch is not protected: whoever may push to it would have the client")


def _account(_: Presented, one: Compared, wanted: str) -> Fix | None:
    if not str(one.got).endswith(":default") or wanted.count(":") != 3:  # noqa: PLR2004 - system:serviceaccount:NS:NAME
        return None
    name = wanted.rpartition(":")[2]
    return Fix(f"serviceAccountName: {name}", "the pod names no service account, and each such pod has default")


def _rerun(_: Presented, one: Compared, __: str) -> Fix | None:
    if one.got is not True:
        return None
    return Fix(WITHOUT_SSH, "a person can be inside a job that was run again with SSH")


_OF_JOB = {
    ("github", "environment"): _environment,
    ("github", "event_name"): _event,
    ("github", "ref"): _ref,
    ("gitlab", "project_id"): _project,
    ("gitlab", "ref_protected"): _protected,
    ("kubernetes", "sub"): _account,
    ("circleci", "oidc.circleci.com/ssh-rerun"): _rerun,
}


def _came(one: Compared) -> str:
    got = "absent" if one.got is None else str(one.got)
    return f"{one.claim} is {got} in the token, and {' or '.join(map(_text, one.expected))} in the rule"


def _replaced(values: tuple[Scalar, ...], old: Scalar, new: Scalar) -> tuple[Scalar, ...]:
    return tuple(new if type(value) is type(old) and value == old else value for value in values)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(value: object) -> str:
    names = {str: "a text", bool: "true or false, no text", int: "a number"}
    return names.get(type(value), "of another type")
