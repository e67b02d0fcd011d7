"""Plan the steps that make the registry as the file says: documents in, steps out, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affiant.cli.registry.manifest import client_keys
from affiant.cli.registry.manifest.registry_file import KEEP, Desired, DesiredApi, DesiredClient
from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.admin.roles import SCOPES
from affiant.server.registry import fields, kinds
from affiant.server.registry.fields import By, Table
from affiant.server.registry.kinds import Names

_SAME_SECRET = {names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST}
_ROWS: dict[str, Table[Any]] = {"client": fields.CLIENT, "api": fields.API}
_SECRET = "client_secret"  # noqa: S105 - the name of a member


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
    kind: str  # api or client
    name: str
    changes: tuple[Change, ...]  # none for a removal
    members: Mapping[str, Any]  # of the request
    then: Mapping[str, Any]  # of a second one: a client is registered enabled, and disabled after that

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.name}"

    def as_change(self) -> dict[str, Any]:
        """Return the step as a change for a dry run."""
        named = {"action": self.action, "kind": self.kind, "name": self.name}
        return {**named, "members": dict(self.members), "then": dict(self.then)}

    @property
    def makes_secret(self) -> bool:
        """Whether its answer has a secret."""
        is_new = self.action == "create" and self.members.get("token_endpoint_auth_method") in names.BY_SECRET
        return is_new or self.recovers_secret

    @property
    def recovers_secret(self) -> bool:
        """Whether it replaces a secret whose file was never written."""
        return any(change.member == _SECRET for change in self.changes)

    def is_still(self, found: Mapping[str, Any]) -> bool:
        """Whether the members that the step changes are as they were when it was planned."""
        return all(_same(self.kind, c.member, _before(c.member, found, self.members), c.before) for c in self.changes)


def build(
    desired: Desired,
    apis: Sequence[Mapping[str, Any]],
    clients: Sequence[Mapping[str, Any]],
    *,
    prune: bool = False,
    keep: Iterable[str] = (),
) -> list[Step]:
    """Return the steps in a working order: APIs before the clients that ask for them."""
    known_apis = {api["identifier"]: api for api in apis}
    known_clients = {client["client_id"]: client for client in clients}
    steps = [_api(wanted, known_apis.get(wanted.identifier)) for wanted in desired.apis]
    # Order: a blueprint before the clients that it is of.
    ordered = sorted(desired.clients, key=lambda wanted: "blueprint" in wanted.members())
    steps += [_client(wanted, known_clients.get(wanted.client_id)) for wanted in ordered]
    if prune:
        kept = set(keep)
        steps += [_removal(kind, name) for kind, name in unnamed(desired, apis, clients) if name not in kept]
    return [step for step in steps if step is not None]


def recovery(client_id: str) -> Step:
    """Return the step that replaces a secret, after a run was stopped before it wrote the first one to its file."""
    lost = Change(_SECRET, "lost: a run was stopped before it wrote it to a file", "a new one")
    return Step("update", "client", client_id, (lost,), {}, {})


def unnamed(
    desired: Desired, apis: Sequence[Mapping[str, Any]], clients: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return kind and name of what is registered and not in the file; clients before the APIs that they ask for."""
    named = {client.client_id for client in desired.clients}
    named_apis = {api.identifier for api in desired.apis}
    return [
        *(("client", name) for name in sorted(client["client_id"] for client in clients) if name not in named),
        *(("api", name) for name in sorted(api["identifier"] for api in apis) if name not in named_apis),
    ]


def unprunable(clients: Iterable[Mapping[str, Any]], admin_api: str) -> list[str]:
    """Return the names that --prune never removes: the admin API, its clients, and clients that registered themselves.

    A file without an owner must not lock out all administrators, and no file can know clients that registered
    themselves.
    """
    return [admin_api, *(client["client_id"] for client in clients if must_stay(client, admin_api))]


def must_stay(client: Mapping[str, Any], admin_api: str) -> bool:
    has_role = admin_api in (*client["resources"], *client["introspects"]) or any(s in SCOPES for s in client["scope"])
    return has_role or bool(client["registered_itself"])


def _api(wanted: DesiredApi, found: Mapping[str, Any] | None) -> Step | None:
    members = wanted.members()
    if found is None:
        members.setdefault("name", wanted.identifier[: kinds.LABEL.longest])
        return _creation("api", wanted.identifier, members)
    del members["identifier"]
    return _update("api", wanted.identifier, members, found)


def _client(wanted: DesiredClient, found: Mapping[str, Any] | None) -> Step | None:
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


def _creation(kind: str, name: str, members: Mapping[str, Any]) -> Step:
    given = {member: value for member, value in members.items() if not _is_none(kind, member, value)}
    later = [row.name for row in _ROWS[kind] if By.NEW not in row.by]
    changes = tuple(Change(member, None, _shown(kind, member, value)) for member, value in given.items())
    then = {member: given.pop(member) for member in later if member in given}
    return Step("create", kind, name, changes, given, then)


def _update(kind: str, name: str, members: Mapping[str, Any], found: Mapping[str, Any]) -> Step | None:
    changes = [
        Change(member, _before(member, found, members), _shown(kind, member, after))
        for member, after in members.items()
        if member != client_keys.OWN_KEYS
    ]
    changes = [change for change in changes if not _same(kind, change.member, change.before, change.after)]
    if not changes:
        return None
    sent = {change.member: members[change.member] for change in changes}
    if "jwks" in sent:
        sent[client_keys.OWN_KEYS] = members[client_keys.OWN_KEYS]
    if "observe" in sent:  # a rule that is no longer observed is enforced
        sent["enforce"] = sorted(set(found["observe"]) - set(sent["observe"]))
    return Step("update", kind, name, tuple(changes), sent, {})


def _removal(kind: str, name: str) -> Step:
    return Step("remove", kind, name, (), {}, {})


def _before(member: str, found: Mapping[str, Any], members: Mapping[str, Any]) -> Any:
    return client_keys.judged(found, members) if member == "jwks" else found.get(member)


def _shown(kind: str, member: str, value: Any) -> Any:
    if member == "jwks":
        return client_keys.thumbprints(value)
    return None if _is_none(kind, member, value) else value


def _is_none(kind: str, member: str, value: Any) -> bool:
    """Whether the file says that the member has no value; leaving it out says that the file does not manage it."""
    row = _ROWS[kind].rows.get(member)
    return row is not None and row.kind.none is not None and value == row.kind.none


def _same(kind: str, member: str, one: Any, other: Any) -> bool:
    row = _ROWS[kind].rows.get(member)
    if member == "jwks" or (row is not None and isinstance(row.kind, Names)):
        return sorted(set(one or ())) == sorted(set(other or ()))
    return bool(one == other)
