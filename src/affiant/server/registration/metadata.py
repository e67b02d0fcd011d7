"""Client metadata at /register (RFC 7591 section 2): read by the rows of registry/fields.py, and written back.

A member without a row is ignored, as section 2 demands: it is neither stored nor returned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from affiant.errors import ConfigError, Rejected
from affiant.errors.reasons import Reason
from affiant.jose.key_set import KeySet, LeftOut
from affiant.jose.keys import PublicKey
from affiant.server.registry import fields, kinds
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.fields import By, Member
from affiant.storage.records import Client

MAX_KID = 128  # bytes of UTF-8
STATEMENT = "software_statement"
TOKEN, URL, CLIENT_ID = "registration_access_token", "registration_client_uri", "client_id"
SECRET, SECRET_END, ISSUED_AT = "client_secret", "client_secret_expires_at", "client_id_issued_at"
LEFT_OUT = "jwks_left_out"  # our own member: the members of a JWK Set that were not registered, and why
MEMBERS = frozenset({"jwks", *(row.name for table in (fields.CLIENT, fields.SOFTWARE) for row in table.by(By.CLIENT))})


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a client.

    `values` are typed, by the attributes of the record; `software` is kept as it was sent.
    """

    values: dict[str, Any] = field(default_factory=dict)
    software: dict[str, Any] = field(default_factory=dict)
    jwks: tuple[PublicKey, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def parse(members: dict[str, Any]) -> Metadata:
    """Read a client's metadata; raise Rejected with the name of the member that cannot be registered."""
    # RFC 7592 section 2.2: null is absent, and so is an empty array here.
    sent = {name: value for name, value in members.items() if value is not None and value != []}
    if "redirect_uris" in sent:
        raise Rejected(Reason.REGISTRATION_REDIRECT_URIS)
    if "response_types" in sent:
        raise _unlike("response_types", "empty or left out")
    if "jwks" in sent and "jwks_uri" in sent:
        raise Rejected(Reason.REGISTRATION_METADATA, expected="jwks or jwks_uri, not both")
    given = _parse_jwks(sent["jwks"]) if "jwks" in sent else KeySet(())
    registered = {row.name: sent[row.name] for row in fields.CLIENT.by(By.CLIENT) if row.name in sent}
    try:
        values = fields.CLIENT.read(registered, parse=_parse)
    except ConfigError as error:
        raise unregistrable(error) from None
    software = {row.name: _parse(row, sent[row.name]) for row in fields.SOFTWARE if row.name in sent}
    return Metadata(values, software, given.keys, given.left_out)


def check_new(members: dict[str, Any]) -> None:
    """Raise Rejected if a new client chooses its own secret, which might be a weak one."""
    if SECRET in members:
        raise _unlike(SECRET, "left out: the server makes it")


def check_replacement(members: dict[str, Any], client_id: str) -> None:
    """Raise Rejected if this body cannot replace the metadata of this client (RFC 7592 section 2.2)."""
    if members.get(CLIENT_ID) != client_id:
        raise Rejected(Reason.REGISTRATION_METADATA, expected=f"{CLIENT_ID} to be that of the client")
    for name in (TOKEN, URL, SECRET_END, ISSUED_AT):
        if name in members:
            raise _unlike(name, "left out")


def render(client: Client, now: float) -> dict[str, Any]:
    """Return all registered members of a client, and no secret (RFC 7591 section 3.2.1)."""
    keys = [json.loads(key.jwk) for key in client_keys.live(client.keys, now)]
    members = {CLIENT_ID: client.client_id, ISSUED_AT: client.created_at, "jwks": {"keys": keys} if keys else None}
    for row in fields.CLIENT.by(By.CLIENT):
        value = row.get(client)
        members[row.name] = row.at_register.render(value) if row.at_register is not None else value
    members |= json.loads(client.metadata or "{}")
    found = {name: value for name, value in members.items() if value not in (None, "", [])}
    return {**found, "response_types": []}


def view(client: Client, now: float) -> dict[str, Any]:
    """Return the members for the audit log: keys by their thumbprints, and no statement, a whole JWS."""
    members = render(client, now)
    for name in ("jwks", STATEMENT):
        members.pop(name, None)
    keys = [client_keys.thumbprint(key) for key in client_keys.live(client.keys, now)]
    return {**members, "keys": keys}


def unregistrable(error: ConfigError) -> Rejected:
    """Return the refusal for a rule of every client."""
    return Rejected(Reason.REGISTRATION_METADATA, expected=f"other metadata: {error}")


def _unlike(name: str, wanted: str) -> Rejected:
    return Rejected(Reason.REGISTRATION_METADATA, expected=f"{name} to be {wanted}")


def _parse(row: Member, value: object) -> Any:
    kind = row.at_register or row.kind
    try:
        return kind.parse(value)
    except ValueError as error:
        if row.name == "jwks_uri":
            raise Rejected(Reason.REGISTRATION_JWKS_URI, detail=f"jwks_uri: {error}") from None
        raise _unlike(row.name, str(error)) from None


def _parse_jwks(value: object) -> KeySet:
    try:
        found = KeySet.parse_given(value)
    except ConfigError as error:
        raise Rejected(Reason.REGISTRATION_KEYS, expected=f"other keys: {error}") from None
    for key in found.keys:
        if not (kinds.is_visible(key.kid) and 1 <= len(key.kid.encode()) <= MAX_KID):
            wanted = f"a kid of 1 to {MAX_KID} bytes, each character of which can be seen"
            raise Rejected(Reason.REGISTRATION_KEYS, expected=wanted)
    return found
