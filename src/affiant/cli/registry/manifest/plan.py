"""Plan the steps that make the registry as the file says: documents in, steps out, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from affiant.cli.registry.manifest import client_keys
from affiant.cli.registry.manifest.registry_file import (
    KEEP,
    Desired,
    DesiredApi,
    DesiredClient,
    DesiredRule,
    DesiredTeam,
    DesiredTrust,
)
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.admin.roles import SCOPES
from affiant.server.registry import fields, kinds
from affiant.server.registry.federation.fields import RULE, TRUST
from affiant.server.registry.fields import By, Table
from affiant.server.registry.kinds import Conditions, Names

_SAME_SECRET = {names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST}
_ROWS: dict[str, Table[Any]] = {
    "team": fields.TEAM,
    "client": fields.CLIENT,
    "api": fields.API,
    "trust": TRUST,
    "rule": RULE,
}
# The member of each kind that names it. Order: what depends on others is after them, and is removed before them.
KEYS = {"team": "name", "api": "identifier", "client": "client_id", "trust": "name", "rule": "name"}
_SECRET = "client_secret"  # noqa: S105 - the name of a member


class Found(NamedTuple):
    """The documents of all that is registered."""

    apis: Sequence[Mapping[str, Any]]
    clients: Sequence[Mapping[str, Any]]
    trusts: Sequence[Mapping[str, Any]] = ()
    rules: Sequence[Mapping[str, Any]] = ()
    teams: Sequence[Mapping[str, Any]] = ()

    def of(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """Return the documents of a kind by their names."""
        documents: Sequence[Mapping[str, Any]] = getattr(self, f"{kind}s")
        return {document[KEYS[kind]]: document for document in documents}


@dataclass(frozen=True, slots=True)
class Change:
    """A new value of a member; for keys, their thumbprints."""

    member: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the registry."""

    action: str  # create, update or remove
    kind: str  # team, api, client, trust or rule
    name: str
    changes: tuple[Change, ...]  # none for a removal
    members: Mapping[str, Any]  # of the request; of what is removed its trust or team
    then: Mapping[str, Any]  # of a second one: a client is registered enabled, and disabled after that
    secret: str | None = field(default=None, repr=False)  # of a new client that keeps the one it has elsewhere

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}"

    def as_change(self) -> dict[str, Any]:
        """Return the step as a change for a dry run."""
        named = {"action": self.action, "kind": self.kind, "name": self.name}
        return {**named, "members": self.document, "then": dict(self.then)}

    @property
    def document(self) -> dict[str, Any]:
        """Return the members of the request, with the secret that the client keeps."""
        return {**self.members, **({_SECRET: self.secret} if self.secret is not None else {})}

    @property
    def makes_secret(self) -> bool:
        """Whether its answer has a secret."""
        method = self.members.get("token_endpoint_auth_method")
        is_new = self.action == "create" and self.secret is None and method in names.BY_SECRET
        return is_new or self.recovers_secret

    @property
    def recovers_secret(self) -> bool:
        """Whether it replaces a secret whose file was never written."""
        return any(change.member == _SECRET for change in self.changes)

    def is_still(self, found: Mapping[str, Any]) -> bool:
        """Whether the members that the step changes are as they were when it was planned."""
        return all(
            _same(self.kind, c.member, _before(self.kind, c.member, found, self.members), c.before)
            for c in self.changes
        )


def build(desired: Desired, found: Found, *, prune: bool = False, keep: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """Return the steps in a working order: teams, APIs, their clients, trusts, and the rules that join them.

    `keep` has kind and name of what is not removed.
    """
    teams, apis, clients, trusts, rules = map(found.of, KEYS)
    steps = [_by_name("team", wanted, teams.get(wanted.name)) for wanted in desired.teams]
    steps += [_api(wanted, apis.get(wanted.identifier)) for wanted in desired.apis]
    steps += [of_client(wanted, clients.get(wanted.client_id)) for wanted in desired.clients]
    steps += [_by_name("trust", wanted, trusts.get(wanted.name)) for wanted in desired.trusts]
    steps += [_by_name("rule", wanted, rules.get(wanted.name)) for wanted in desired.rules]
    if prune:
        kept = set(keep)
        steps += [_removal(*one, found) for one in unnamed(desired, found) if one not in kept]
    return [step for step in steps if step is not None]


def recovery(client_id: str) -> Step:
    """Return the step that replaces a secret, after a run was stopped before it wrote the first one to its file."""
    lost = Change(_SECRET, "lost: a run was stopped before it wrote it to a file", "a new one")
    return Step("update", "client", client_id, (lost,), {}, {})


def unnamed(desired: Desired, found: Found) -> list[tuple[str, str]]:
    """Return kind and name of what is registered and not in the file, in the order of removals."""
    named = {(kind, getattr(entry, KEYS[kind])) for kind in KEYS for entry in getattr(desired, f"{kind}s")}
    registered = [(kind, name) for kind in reversed(KEYS) for name in sorted(found.of(kind))]
    return [one for one in registered if one not in named]


def unprunable(found: Found, admin_api: str) -> list[tuple[str, str]]:
    """Return what --prune never removes: the admin API, its clients, and clients that registered themselves.

    And the rules of these clients, with their trusts. A file without an owner must not lock out all administrators, and
    no file can know clients that registered themselves.
    """
    clients = {client["client_id"] for client in found.clients if must_stay(client, admin_api)}
    rules = [rule for rule in found.rules if rule["client_id"] in clients]
    return [
        ("api", admin_api),
        *(("client", name) for name in clients),
        *(("rule", rule["name"]) for rule in rules),
        *{("trust", rule["trust"]) for rule in rules},
        *{("team", name) for client in found.clients if client["client_id"] in clients for name in _teams(client)},
    ]


def _teams(client: Mapping[str, Any]) -> set[str]:
    """Return the teams that a client names."""
    return {*client.get("administers", ()), *filter(None, [client.get("team")])}


def must_stay(client: Mapping[str, Any], admin_api: str) -> bool:
    has_role = admin_api in (*client["resources"], *client["introspects"]) or any(s in SCOPES for s in client["scope"])
    return has_role or bool(client.get("administers") or client["registered_itself"])


def _api(wanted: DesiredApi, found: Mapping[str, Any] | None) -> Step | None:
    members = wanted.members()
    if found is None:
        members.setdefault("name", wanted.identifier[: kinds.LABEL.longest])
        return _creation("api", wanted.identifier, members)
    del members["identifier"]
    return _update("api", wanted.identifier, members, found)


def of_client(wanted: DesiredClient, found: Mapping[str, Any] | None) -> Step | None:
    """Return the step that makes a client as wanted, if one is needed; raise ConfigError if none can."""
    members = wanted.members()
    if found is None:
        members["token_endpoint_auth_method"] = wanted.auth_method
        members.pop("own_keys", None)
        return _creation("client", wanted.client_id, members)
    del members["client_id"]
    own_keys = members.pop("own_keys", KEEP)
    if (wanted_keys := members.pop("jwks", None)) is not None:
        members |= client_keys.wanted(wanted.client_id, wanted_keys, found, own_keys=own_keys)
    for name in ("token_endpoint_auth_method", "token_endpoint_auth_signing_alg"):
        value = members.pop(name, None)
        if {value, found.get(name)} == _SAME_SECRET:
            members[name] = value
        elif value is not None and value != found.get(name):
            raise ConfigError(
                f"client {wanted.client_id}: {name} is {found.get(name)} and cannot change: for {value}, give the"
                " client another client_id, or remove it first (affiant client remove)"
            )
    return _update("client", wanted.client_id, members, found)


def _by_name(
    kind: str, wanted: DesiredTeam | DesiredTrust | DesiredRule, found: Mapping[str, Any] | None
) -> Step | None:
    members = wanted.members()
    if found is None:
        return _creation(kind, wanted.name, members)
    del members["name"]
    for row in _ROWS[kind]:
        if By.CHANGE not in row.by and (value := members.pop(row.name, None)) not in (None, found.get(row.name)):
            raise ConfigError(
                f"{kind} {wanted.name}: {row.name} is {found.get(row.name)} and cannot change: for {value}, give the"
                f" {kind} another name"
            )
    return _update(kind, wanted.name, members, found)


def _creation(kind: str, name: str, members: Mapping[str, Any]) -> Step:
    given = {member: value for member, value in members.items() if kind == "trust" or not _is_none(kind, member, value)}
    later = [row.name for row in _ROWS[kind] if By.NEW not in row.by]
    changes = tuple(Change(member, None, _shown(kind, member, value)) for member, value in given.items())
    then = {member: given.pop(member) for member in later if member in given}
    return Step("create", kind, name, changes, given, then)


def _update(kind: str, name: str, members: Mapping[str, Any], found: Mapping[str, Any]) -> Step | None:
    changes = [
        Change(member, _before(kind, member, found, members), _shown(kind, member, after))
        for member, after in members.items()
        if member != client_keys.OWN_KEYS
    ]
    changes = [change for change in changes if not _same(kind, change.member, change.before, change.after)]
    if not changes:
        return None
    sent = {change.member: members[change.member] for change in changes}
    if kind == "client" and "jwks" in sent:
        sent[client_keys.OWN_KEYS] = members[client_keys.OWN_KEYS]
    if "observe" in sent:  # a rule that is no longer observed is enforced
        sent["enforce"] = sorted(set(found["observe"]) - set(sent["observe"]))
    return Step("update", kind, name, tuple(changes), sent, {})


def _removal(kind: str, name: str, found: Found) -> Step:
    of = "trust" if kind == "rule" else "team"  # which must be removed after it
    document = found.of(kind)[name]
    members = {of: document[of]} if document.get(of) is not None else {}
    return Step("remove", kind, name, (), members, {})


def _before(kind: str, member: str, found: Mapping[str, Any], members: Mapping[str, Any]) -> Any:
    return client_keys.judged(found, members) if (kind, member) == ("client", "jwks") else found.get(member)


def _shown(kind: str, member: str, value: Any) -> Any:
    if (kind, member) == ("client", "jwks"):
        return client_keys.thumbprints(value)
    row = _ROWS[kind].rows.get(member)
    return value if row is None else row.shown(value)


def _is_none(kind: str, member: str, value: Any) -> bool:
    """Whether the file says that the member has no value; leaving it out says that the file does not manage it."""
    row = _ROWS[kind].rows.get(member)
    return row is not None and row.kind.none is not None and value == row.kind.none


def _same(kind: str, member: str, one: Any, other: Any) -> bool:
    row = _ROWS[kind].rows.get(member)
    if (kind, member) == ("client", "jwks") or (row is not None and isinstance(row.kind, Names)):
        return sorted(set(one or ())) == sorted(set(other or ()))
    if row is not None and isinstance(row.kind, Conditions):
        return _typed(one) == _typed(other)
    return bool(one == other)


def _typed(conditions: Mapping[str, Sequence[Any]] | None) -> dict[str, set[tuple[type, Any]]]:
    """Return the conditions so that true is not 1, and the order of values is none."""
    return {claim: {(type(value), value) for value in values} for claim, values in (conditions or {}).items()}
