"""Undo a change: give its members their values before it, unless they were changed again."""

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.actions.clients.state import by_rule
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.records import undoing
from affiant.server.console.view import Form


@action("undo", "Undo")
async def undo(api: Api, form: Form) -> Ask:
    change = undoing.find(await api.get(at("/audit/{}", form.text("trace_id"))))
    if change is None:
        raise ConfigError("this cannot be undone: only changes of members can")
    path = at(undoing.PATHS[change.kind], change.name)
    now = await api.read(path)
    if any(now.document.get(member) != value for member, value in change.after.items()):
        raise ConfigError(f"{change.kind} {change.name} was changed again since then: undo the later change first")
    return Ask("PATCH", path, by_rule(change.before, now.document), now.etag)
