"""The registry as it would be after some changes, for a dry run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from affiant.server.admin.access.limit import Limit as TeamLimit
from affiant.server.admin.roles import Role, touches_admin
from affiant.server.admin.routes import apis, clients, teams
from affiant.server.admin.routes.federation import rules, trusts
from affiant.server.admin.routes.operation import Call
from affiant.server.registry import kinds
from affiant.storage.records import Api, Client, Rule, Team, Trust
from affiant.storage.registry import APIS, CLIENTS, RULES, TEAMS, TRUSTS, Get, Rows, Table, Tables, read

Record = TypeVar("Record", Trust, Rule)


@dataclass
class Draft:
    """The registry after the changes so far; None for what was removed."""

    call: Call
    clients: dict[str, Client | None] = field(default_factory=dict)
    apis: dict[str, Api | None] = field(default_factory=dict)
    trusts: dict[str, Trust | None] = field(default_factory=dict)
    rules: dict[str, Rule | None] = field(default_factory=dict)
    teams: dict[str, Team | None] = field(default_factory=dict)
    needs: Role = Role.VIEWER
    # Read from the store once. Attack: a plan of many changes would read all of them for each change.
    owners: frozenset[str] | None = None
    stored_trusts: Sequence[Trust] | None = None
    stored_rules: Sequence[Rule] | None = None
    stored_clients: dict[str, Client | None] = field(default_factory=dict)  # clients that rules name
    judged_trusts: set[str] = field(default_factory=set)

    async def client(self, name: str) -> Client:
        found = self.clients[name] if name in self.clients else await clients.get(self.call, name)
        if found is None:
            raise clients.unknown(name)
        return found

    async def find_client(self, name: str) -> Client | None:
        if name not in self.clients and name not in self.stored_clients:
            found = await self.call.whole.clients.find(name) if kinds.is_client_id(name) else None
            self.stored_clients[name] = found
        return self.clients[name] if name in self.clients else self.stored_clients[name]

    async def api(self, name: str) -> Api:
        found = self.apis[name] if name in self.apis else await apis.get(self.call, name)
        if found is None:
            raise apis.unknown()
        return found

    async def find_trust(self, name: str) -> Trust | None:
        return next((trust for trust in await self.all_trusts() if trust.name == name), None)

    async def trust(self, name: str) -> Trust:
        found = await self.find_trust(name)
        if found is None or not await self.has(found):
            raise trusts.unknown(name)
        return found

    async def rule(self, name: str) -> Rule:
        found = next((rule for rule in await self.all_rules() if rule.name == name), None)
        if found is None or not await self.has(found):
            raise rules.unknown(name)
        return found

    async def all_trusts(self) -> list[Trust]:
        if self.stored_trusts is None:
            self.stored_trusts = await self.call.whole.trusts.list()
        return _changed(self.stored_trusts, self.trusts)

    async def all_rules(self) -> list[Rule]:
        if self.stored_rules is None:
            self.stored_rules = await self.call.whole.rules.list()
        return _changed(self.stored_rules, self.rules)

    async def team(self, name: str) -> Team:
        found = self.teams[name] if name in self.teams else await teams.get(self.call, name)
        if found is None:
            raise teams.unknown(name)
        return found

    async def owned(self, name: str) -> list[str]:
        """Return what this team owns, as kinds and names."""
        return await read(self._tables, teams.owned_by(name))

    async def has(self, record: Record) -> bool:
        """Whether the caller sees this record."""
        return await read(self._tables, TeamLimit(self.call.who.limit).has(record))

    async def judge(self, before: Any, after: Any) -> None:
        """Raise what the commit of this change would raise for this caller."""
        await read(self._tables, TeamLimit(self.call.who.limit).judge(before, after))

    @property
    def _tables(self) -> Tables:
        return cast("Tables", _Drafted(self))

    async def drop_rules(self, *, client_id: str) -> None:
        """Remove the rules of a removed client."""
        self.rules |= {rule.name: None for rule in await self.all_rules() if rule.client_id == client_id}

    def need(self, role: Role) -> None:
        self.needs = role if role.includes(self.needs) else self.needs

    async def need_for_rules(self, trust: str) -> None:
        """Note the role that a change of this trust needs, once; each new rule notes its own."""
        if trust not in self.judged_trusts:
            self.judged_trusts.add(trust)
            for client_id in {rule.client_id for rule in await self.all_rules() if rule.trust == trust}:
                await self.need_for(client_id)

    async def need_for(self, client_id: str) -> None:
        """Note the role that a rule for this client needs."""
        client = await self.find_client(client_id)
        if client is not None and touches_admin(client, self.call.context.identifier):
            self.need(Role.OWNER)


def _changed(stored: Sequence[Record], changes: Mapping[str, Record | None]) -> list[Record]:
    left = [record for record in stored if record.name not in changes]
    left += [record for record in changes.values() if record is not None]
    return left


class _Drafted:
    """The tables of the registry after the changes so far, to be read alone."""

    def __init__(self, draft: Draft) -> None:
        self._tables = draft.call.whole.tables
        self._changed: dict[Table[Any], Mapping[str, Any]] = {
            CLIENTS: draft.clients, APIS: draft.apis, TRUSTS: draft.trusts, RULES: draft.rules, TEAMS: draft.teams,
        }  # fmt: skip

    async def get(self, step: Get[Any]) -> Any:
        changed = self._changed[step.table]
        return changed[str(step.value)] if step.value in changed else await self._tables.get(step)

    async def rows(self, step: Rows[Any]) -> list[Any]:
        changed, key = self._changed[step.table], step.table.key
        left = [row for row in await self._tables.rows(step) if getattr(row, key) not in changed]
        return [*left, *(row for row in changed.values() if row is not None)]
