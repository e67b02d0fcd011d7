"""The limit of one caller of the admin API: which records it has to do with, and which changes it may make.

Teams limit viewers and operators, and never an owner (`Principal.limit`). The limit reads in the transaction of a
change, so a record that moves to another team between the read and the commit is judged where it is by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.server.admin.access import reach
from affiant.server.admin.access.reach import Apis
from affiant.server.explain import near
from affiant.storage.records import Api, Client, InitialAccessToken, NotFound, Rule, Team, Trust, User
from affiant.storage.registry import APIS, CLIENTS, RULES, TEAMS, TRUSTS, Get, Rows, Steps, Table

_OF_TEAMS = Client | Api | Trust | InitialAccessToken


class Limit:
    """Has the records of some teams, or all with None; takes a change that a caller of these teams may make."""

    def __init__(self, teams: frozenset[str] | None) -> None:
        self._teams = teams
        self._resources: frozenset[str] | None = None  # APIs that the teams may grant besides their own

    @property
    def has_all(self) -> bool:
        return self._teams is None

    def among(self, table: Table[Any]) -> tuple[str, ...] | None:
        return tuple(sorted(self._teams)) if self._teams is not None and table is CLIENTS else None

    def has(self, record: Any) -> Steps[bool]:
        """Whether a team of the caller owns it; a rule is of the team of its client. Any other record: no."""
        if self._teams is None:
            return True
        if isinstance(record, Rule):
            client: Client | None = yield Get(CLIENTS, record.client_id)
            return client is not None and client.team in self._teams
        if isinstance(record, Api) and record.team not in self._teams:
            return record.identifier in (yield from self._granted())
        if isinstance(record, Team):
            return record.name in self._teams
        return isinstance(record, _OF_TEAMS) and record.team in self._teams

    def owns(self, record: Any) -> Steps[bool]:
        """Whether a team of the caller owns it, and does not only grant it."""
        is_seen = yield from self.has(record)
        return is_seen and (self._teams is None or not isinstance(record, Api) or record.team in self._teams)

    def judge(self, before: Any, after: Any) -> Steps[None]:
        """Raise an Error unless the caller may make this change."""
        if self._teams is not None and after is not None:
            yield from self._judge_limited(before, after)
        # Order: a limited caller learns the names of his own teams alone.
        yield from _check_teams(before, after)

    def _judge_limited(self, before: Any, after: Any) -> Steps[None]:
        match after:
            case Client() | InitialAccessToken():
                yield from self._judge_reach(before, after)
            case Rule():
                yield from self._judge_rule(before, after)
            case Trust():
                yield from self._judge_trust(before, after)
            case _:
                raise Rejected(Reason.ADMIN_TEAM, expected="an owner registers and changes APIs and teams")

    def _granted(self) -> Steps[frozenset[str]]:
        if self._resources is None:
            names = set[str]()
            for name in self._teams or ():
                team: Team | None = yield Get(TEAMS, name)
                names.update(team.resources if team is not None else ())
            self._resources = frozenset(names)
        return self._resources

    def _judge_reach(self, before: Any, after: Client | InitialAccessToken) -> Steps[None]:
        """Judge what a client gets that it did not have; one that comes from another team had nothing."""
        team = yield from self._own_team(after)
        if before is not None and before.team != after.team:
            before = None
        apis = Apis((yield Rows(APIS)))
        new = apis.rights(after) - apis.rights(before)
        if excess := {right for right in new if not apis.holds(team, right)}:
            raise Rejected(Reason.ADMIN_TEAM, expected=f"the team {team.name} cannot grant {reach.words(excess)}")
        if isinstance(after, Client):
            yield from self._judge_client(before, after, apis, team)

    def _judge_client(self, before: Client | None, after: Client, apis: Apis, team: Team) -> Steps[None]:
        """Judge the other members by which a client reaches what is another team's."""
        was = before or Client(after.client_id, after.token_endpoint_auth_method)
        for name in set(after.introspects) - set(was.introspects):
            if not apis.owns(team, name):
                raise Rejected(Reason.ADMIN_TEAM, expected=f"introspects: an API that the team {team.name} owns")
        named = {*(after.delegates_to or ())} - {*(was.delegates_to or ())}
        if after.blueprint is not None and after.blueprint != was.blueprint:
            # Attack: who has the keys of a blueprint acts as its clients.
            named.add(after.blueprint)
        for name in sorted(named):
            yield from self._check_client(name)

    def _judge_rule(self, before: Rule | None, after: Rule) -> Steps[None]:
        yield from self._check_client(after.client_id)
        if before is not None and replace(before, enabled=after.enabled) == after:
            return  # it must be possible to disable every rule
        # Attack: a rule on the trust of another team takes the jobs that the rules of that team are for.
        trust: Trust | None = yield Get(TRUSTS, after.trust)
        if trust is None or trust.team not in (self._teams or ()):
            raise NotFound(f"there is no trust named {after.trust}: see  affiant trust list")

    def _judge_trust(self, before: Trust | None, after: Trust) -> Steps[None]:
        yield from self._own_team(after)
        if before is not None and replace(before, enabled=False) == after:
            return
        # Attack: a team puts keys of its own into a trust that speaks for the client of another team.
        rules: list[Rule] = yield Rows(RULES)
        for name in sorted({rule.client_id for rule in rules if rule.trust == after.name}):
            client: Client | None = yield Get(CLIENTS, name)
            if client is not None and client.team not in (self._teams or ()):
                raise Rejected(Reason.ADMIN_TEAM, expected="a rule of this trust is for a client of another team")

    def _own_team(self, after: Client | InitialAccessToken | Trust) -> Steps[Team]:
        """Return the team of a record; raise unless it is one of the caller's."""
        name = after.team or ""
        team: Team | None = (yield Get(TEAMS, name)) if name in (self._teams or ()) else None
        if team is None:
            expected = f"team: {' or '.join(sorted(self._teams or ())) or 'none is yours'}"
            raise Rejected(Reason.ADMIN_TEAM, expected=expected)
        return team

    def _check_client(self, name: str) -> Steps[None]:
        """Raise as for a name that no client has, unless it is a client of the caller's teams."""
        client: Client | None = yield Get(CLIENTS, name)
        if client is None or client.team not in (self._teams or ()):
            raise NotFound(f"there is no client named {name}: see  affiant client list")


def named_by(record: Any) -> set[str]:
    """Return the teams that a record names."""
    names = {record.team} if isinstance(record, _OF_TEAMS) and record.team is not None else set[str]()
    limited = record.administers if isinstance(record, Client) else record.teams if isinstance(record, User) else ()
    return names | set(limited)


def _check_teams(before: Any, after: Any) -> Steps[None]:
    """Raise ConfigError for a team that a record names and that does not exist."""
    for name in sorted(named_by(after) - named_by(before)):
        if (yield Get(TEAMS, name)) is None:
            teams: list[Team] = yield Rows(TEAMS)
            raise unknown(name, [team.name for team in teams])


def unknown(name: str, teams: Iterable[str]) -> ConfigError:
    """Return the refusal of a team that does not exist, with the one that is perhaps meant, or how to make it."""
    close = near.closest(name, teams)
    meant = f"did you mean {close}? See  affiant team list" if close else f"add it first:  affiant team add {name}"
    return ConfigError(f"there is no team named {name}: {meant}")
