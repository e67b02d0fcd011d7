"""Undo a change: give its members their values before it, unless they were changed again."""

import json

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.view import Form

PATHS = {"client": "/clients/{}", "api": "/apis/{}", "trust": "/trusts/{}", "rule": "/rules/{}"}
# Members of a view that no request may set: they follow from others, or cannot come back.
_FIXED = {"keys", "secrets", "created_at"}


@action("undo", "Undo")
async def undo(api: Api, form: Form) -> Ask:
    record = await api.get(at("/audit/{}", form.text("trace_id")))
    kind, _, name = (record.get("subject") or "").partition(" ")
    before, after = json.loads(record.get("before") or "null"), json.loads(record.get("after") or "null")
    if record.get("outcome") != "changed" or kind not in PATHS or not before or _FIXED & {*before, *after}:
        raise ConfigError("this cannot be undone: it was no change of members alone")
    now = await api.read(at(PATHS[kind], name))
    if any(now.document.get(member) != value for member, value in after.items()):
        raise ConfigError(f"{kind} {name} was changed again since then: undo the later change first")
    return Ask("PATCH", at(PATHS[kind], name), before, now.etag)
