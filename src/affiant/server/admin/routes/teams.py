"""Teams, which own clients, APIs and trusts. Who administers a team grants only what it holds (access/limit.py)."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any

from affiant.errors import ConfigError
from affiant.server.admin import changes, lists, models
from affiant.server.admin.access.limit import named_by
from affiant.server.admin.lists import CursorText, Limit, Source
from affiant.server.admin.models import Checked, In, Out, shows, takes
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import OF_CHANGES, TAKEN, UNKNOWN, Call, IfMatch, Reach, Routes
from affiant.server.explain import near
from affiant.server.registry import fields, kinds
from affiant.storage import records
from affiant.storage.ports import Audit
from affiant.storage.records import NotFound
from affiant.storage.registry import APIS, CLIENTS, TRUSTS, Condition, Rows, Steps

TEAMS = Routes("teams")
_SHOWN = 5  # names in a refusal
_PAGE = 250


@shows(fields.TEAM, records.Team)
class _TeamMembers(Out):
    name: str


class Team(_TeamMembers):
    """A team, and what it may grant besides the scopes of its own APIs."""

    created_at: int


@takes(fields.TEAM)
class TeamNew(In):
    """A team to be added."""

    name: Annotated[str, Checked(kinds.NAME)]


@takes(fields.TEAM)
class TeamChanges(In):
    """Changes of a team; members that are left out stay."""


@TEAMS("GET /teams", Role.VIEWER, Reach.TEAMS, answers=models.page(Team), is_list=True)
async def list_teams(call: Call, limit: Limit = 100, cursor: CursorText = None) -> Any:
    """List the teams, by name."""

    async def fetch(after: str, limit: int) -> list[records.Team]:
        return await call.context.store.teams.list(after=after, limit=limit)

    return await lists.answer(call, limit, cursor, Source.paged(fetch, attrgetter("name"), lambda team: [view(team)]))


@TEAMS("POST /teams", Role.OWNER, Reach.TEAMS, answers=Team, status=201, refuses=TAKEN)
async def add_team(call: Call, wanted: TeamNew) -> Any:
    """Add a team. It owns nothing yet: name it in the `team` of clients, APIs and trusts."""
    built = build(call, wanted)
    await call.context.store.teams.add(built, audit=_audit(call, built.name))
    return view(built)


def build(call: Call, wanted: TeamNew) -> records.Team:
    """Return the team of this document, not stored yet."""
    return fields.TEAM.put(records.Team(wanted.name, created_at=call.now), models.members(wanted, fields.TEAM))


@TEAMS("GET /teams/{name}", Role.VIEWER, Reach.TEAMS, answers=Team, refuses=UNKNOWN)
async def show_team(call: Call, name: str) -> Any:
    """Show a team."""
    return changes.tagged(call, view(await get(call, name)))


@TEAMS("PATCH /teams/{name}", Role.OWNER, Reach.TEAMS, answers=Team, refuses=OF_CHANGES)
async def change_team(call: Call, name: str, wanted: TeamChanges, if_match: IfMatch = None) -> Any:
    """Change a team. What its clients may get already stays theirs."""
    await get(call, name)

    def change(stored: records.Team) -> records.Team:
        changes.check_match(if_match, view(stored))
        return build_changed(stored, wanted)

    changed = await call.context.store.teams.update(name, change, audit=_audit(call, name))
    return changes.tagged(call, view(changed))


def build_changed(stored: records.Team, wanted: TeamChanges) -> records.Team:
    """Return the team with these changes, not stored yet."""
    return fields.TEAM.put(stored, models.members(wanted, fields.TEAM))


@TEAMS("DELETE /teams/{name}", Role.OWNER, Reach.TEAMS, status=204, refuses=OF_CHANGES)
async def remove_team(call: Call, name: str, if_match: IfMatch = None) -> None:
    """Remove a team that owns nothing, and to which no role is limited."""
    await get(call, name)
    check_unused(name, await _administrators(call, name))
    removing = _removing(name, if_match)
    await call.context.store.teams.remove(name, audit=_audit(call, name), condition=removing)


async def get(call: Call, name: str) -> records.Team:
    """Return the team of this name; raise NotFound if there is none."""
    store = call.context.store
    found = await store.teams.find(name) if kinds.is_name(name) else None
    if found is None:
        raise unknown(name, near.closest(name, [team.name for team in await store.teams.list()]))
    return found


def unknown(name: str, similar: str | None = None) -> NotFound:
    """Return the refusal of an unknown name, with a similar one."""
    meant = f"did you mean {similar}? See" if similar else "see"
    return NotFound(f"there is no team named {name}: {meant}  affiant team list")


def view(record: records.Team) -> Team:
    return Team(name=record.name, created_at=record.created_at, **fields.TEAM.render(record))


def check_unused(name: str, owned: Sequence[str]) -> None:
    """Raise ConfigError if the team still has these."""
    if owned:
        more = f" and {len(owned) - _SHOWN} more" if len(owned) > _SHOWN else ""
        raise ConfigError(
            f"the team {name} still has {', '.join(owned[:_SHOWN])}{more}: give them to another team first"
        )


def owned_by(name: str) -> Steps[list[str]]:
    """Return what a team owns, as kinds and names."""
    found: list[str] = []
    clients: list[records.Client] = yield Rows(CLIENTS, limit=_PAGE, among=(name,))
    found += [f"client {client.client_id}" for client in clients if client.team == name]
    apis: list[records.Api] = yield Rows(APIS)
    found += [f"api {api.identifier}" for api in apis if api.team == name]
    trusts: list[records.Trust] = yield Rows(TRUSTS)
    return found + [f"trust {trust.name}" for trust in trusts if trust.team == name]


async def _administrators(call: Call, name: str) -> list[str]:
    """Return the clients and users whose role is limited to this team, among others, and its invitations."""
    store, found, after = call.whole, list[str](), ""
    while page := await store.clients.list(after=after, limit=_PAGE):
        found += [f"the administrator {one.client_id}" for one in page if name in one.administers]
        after = page[-1].client_id
    found += [f"the user {user.name}" for user in await store.users.list() if name in (user.teams or ())]
    tokens = [one for one in await store.initial_access_tokens.list() if one.uses and one.expires_at > call.now]
    return found + [f"the invitation {one.id}" for one in tokens if name in named_by(one)]


def _removing(name: str, if_match: str | None) -> Condition:
    def judge(before: records.Team, _: None) -> Steps[None]:
        changes.check_match(if_match, view(before))
        check_unused(name, (yield from owned_by(name)))

    return judge


def _audit(call: Call, name: str) -> Audit:
    return changes.audit(call, f"team {name}", view)
