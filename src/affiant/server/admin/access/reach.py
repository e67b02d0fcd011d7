"""The rights of a client, and those that a team may grant. Pure: records in, rights out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from affiant.oauth.parameters.scope import is_covered
from affiant.storage.records import Api, Client, InitialAccessToken, Team


class Right(NamedTuple):
    """A token for this API; and with a kind, one of its scopes or types of authorization_details in it."""

    api: str  # "" for a scope or type that none of the client's APIs knows yet
    kind: str = ""  # scope or type
    name: str = ""


class Apis:
    """The APIs of a server."""

    def __init__(self, apis: Iterable[Api]) -> None:
        self.by_name: dict[str, Api] = {api.identifier: api for api in apis}
        self.default: str | None = next((api.identifier for api in self.by_name.values() if api.is_default), None)

    def rights(self, record: Client | InitialAccessToken | None) -> set[Right]:
        """Return all that this client, or a client that registers with this token, may get.

        A scope is a name at every API that knows it. Attack: a team grants a scope of its own API, and a client without
        resources gets that of the default API, which has the same name.
        """
        if record is None:
            return set()
        asks = bool(record.scope or record.authorization_details_types)
        names = record.resources or ((self.default or "",) if asks or self.default else ())
        found, known = {Right(name) for name in names}, set[tuple[str, str]]()
        for api in (self.by_name[name] for name in names if name in self.by_name):
            given = {("scope", name) for name in _common(record.scope, api.scopes)}
            given |= {("type", name) for name in record.authorization_details_types if name in _types(api)}
            found |= {Right(api.identifier, *one) for one in given}
            known |= given
        wanted = {("scope", name) for name in record.scope}
        wanted |= {("type", name) for name in record.authorization_details_types}
        return found | {Right("", *one) for one in wanted - known}

    def holds(self, team: Team, right: Right) -> bool:
        """Whether this team may grant this: all of the APIs that it owns, and its scopes at its resources."""
        if not right.api:
            return self._knows(team, right)
        if self.owns(team, right.api):
            return True
        is_given = right.api in team.resources
        return is_given and (not right.kind or (right.kind == "scope" and is_covered(right.name, team.scope)))

    def owns(self, team: Team, identifier: str) -> bool:
        """Whether this is an API of the team."""
        api = self.by_name.get(identifier)
        return api is not None and api.team == team.name

    def _knows(self, team: Team, right: Right) -> bool:
        own = [api for api in self.by_name.values() if api.team == team.name]
        if right.kind == "scope":
            return is_covered(right.name, {*team.scope, *(name for api in own for name in api.scopes)})
        return any(right.name in _types(api) for api in own) if right.kind else False


def words(rights: Iterable[Right]) -> str:
    """Return these rights for a person."""
    found = sorted(rights)
    return ", ".join(_word(one) for one in found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")  # noqa: PLR2004


def _word(right: Right) -> str:
    if not right.kind:
        return f"tokens for {right.api or 'the default API: name resources'}"
    return f"the {right.kind} {right.name}" + (f" of {right.api}" if right.api else "")


def _common(scope: Sequence[str], offered: Sequence[str]) -> set[str]:
    """Return the names within both, where one of them may cover a narrower one of the other."""
    return {name for name in scope if is_covered(name, offered)} | {name for name in offered if is_covered(name, scope)}


def _types(api: Api) -> Sequence[str]:
    return api.authorization_details_types
