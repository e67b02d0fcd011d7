"""One check for one request, whatever number of layers ask for it: a proof is good for one (RFC 9449 section 11.1).

A middleware, a blueprint and a view may each have a need. The first of them authenticates the caller; the others judge
the scopes of that caller.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters.need import Need
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks, Presented

CALLER = "affiant.caller"  # in the environ or the scope: for the application
_CHECKED = "affiant.checked"  # in the same place, for the next layer: what each guard has found
Marks = MutableMapping[str, Any]  # lives as long as the request: its environ or its scope


@dataclass(frozen=True, slots=True)
class _Checked:
    guard: Checks
    presented: Presented = field(repr=False)
    caller: Caller


async def check(guard: Checks, scope: Scope, need: Need, marks: Marks) -> Caller | Denied:
    """Check a request with an event loop. A caller is then in ``marks["affiant.caller"]``."""
    presented = guard.presented(scope)
    if (known := _find(guard, presented, marks)) is not None:
        return _judge(guard, known, need, presented)
    return _keep(guard, presented, marks, await guard.check_scope(scope, need))


def check_sync(guard: Checks, scope: Scope, need: Need, marks: Marks) -> Caller | Denied:
    """Check a request, as `check` does, in a thread without an event loop."""
    presented = guard.presented(scope)
    if (known := _find(guard, presented, marks)) is not None:
        return _judge(guard, known, need, presented)
    return _keep(guard, presented, marks, guard.check_scope_sync(scope, need))


def _find(guard: Checks, presented: Presented, marks: Marks) -> Caller | None:
    """Return the caller that this guard has found in this request.

    Attack: an application passes its environ on, as a request with another token. Such a request is checked by itself.
    """
    for known in marks.get(_CHECKED, ()):
        if isinstance(known, _Checked) and known.guard is guard and known.presented == presented:
            return known.caller
    return None


def _judge(guard: Checks, caller: Caller, need: Need, presented: Presented) -> Caller | Denied:
    if need.is_met_by(caller.scopes):
        return caller
    return guard.deny(Rejected(Reason.SCOPE_INSUFFICIENT, expected=need.text), presented.authorization)


def _keep(guard: Checks, presented: Presented, marks: Marks, found: Caller | Denied) -> Caller | Denied:
    if isinstance(found, Caller):
        marks[CALLER] = found
        marks[_CHECKED] = (*marks.get(_CHECKED, ()), _Checked(guard, presented, found))
    return found
