"""Register a client and write its credentials file: both or neither, even if the process is killed.

A process can be killed after any step. The next run finds the draft of the file (draft.py) and finishes the work: with
the key of the draft, or with a new secret if the server's answer was lost.

If the owner of a client has the private key, there is no file: `hand_over` is what the owner must know.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from affiant.cli.connection.admin import Admin, segment
from affiant.cli.registry.handover import draft
from affiant.cli.registry.handover.draft import Draft
from affiant.client.credentials import file as credentials
from affiant.client.credentials.file import VERSION, Credentials, file_name
from affiant.errors import ConfigError, Error, Refused, RemoteError, StoreError
from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names
from affiant.storage.records import NotFound

Result = TypeVar("Result")
_FAILED = 500
_IN_FILE = ("issuer", "client_id", "auth_method", "alg", "kid", "scope")


def credentials_of(
    registered: Mapping[str, Any], issuer: str, key: PrivateKey | None = None, secret: str | None = None
) -> Credentials:
    """Return the credentials of a registered client with this key or secret."""
    resources, blueprint = registered["resources"], registered.get("blueprint")
    return Credentials(
        issuer=issuer,
        client_id=registered["client_id"],
        auth_method=registered["token_endpoint_auth_method"],
        alg=registered["token_endpoint_auth_signing_alg"],
        kid=key.kid if key is not None else None,
        key=key.to_jwk() if key is not None else None,
        key_file=file_name(blueprint) if blueprint is not None else None,
        client_secret=secret,
        scope=" ".join(registered["scope"]) or None,
        resource=resources[0] if len(resources) == 1 else None,
    )


async def register(api: Admin, wanted: Mapping[str, Any], path: Path, key: PrivateKey | None = None) -> dict[str, Any]:
    """Register a client and write its credentials file, or finish what a stopped run began; return the client."""
    name = wanted["client_id"]
    if (left := draft.find(path)) is not None:
        finished = await finish(api, left, wanted)
        if finished is not None:
            return finished
    draft.check_free(path)
    ids = (new_id(),) if wanted.get("token_endpoint_auth_method") in names.BY_SECRET else ()
    begun = Draft(path, api.issuer, name, key.to_jwk() if key is not None else None, ids)
    begun.write()
    sent = {**wanted, "client_secret_id": ids[0]} if ids else wanted
    made: dict[str, Any] = await asked(begun, api.post("/clients", sent))
    await _keep(api, begun, credentials_of(made, api.issuer, key, made.get("client_secret")))
    return made


async def finish(api: Admin, left: Draft, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Finish what a stopped run began. Return the client, or None if it must be registered again."""
    name = wanted["client_id"]
    if (left.issuer, left.name) != (api.issuer, name):
        raise ConfigError(
            f"{draft.place(left.path)} belongs to a stopped registration of {left.name} at {left.issuer}: finish that"
            " first, or delete the file"
        )
    try:
        found: dict[str, Any] = await api.get(f"/clients/{segment(name)}")
    except NotFound:
        found = {"keys": [], "secrets": []}
    if left.key is not None:
        key = keys.parse_private_jwk(left.key)
        if key.public().thumbprint in [each["thumbprint"] for each in found["keys"] if each["state"] != "revoked"]:
            return await _finish_key(left, found, api.issuer, key)
    elif is_lost(left, found):
        return await _finish_secret(api, left, found)
    elif not left.ids and _is_as(wanted, found):
        return await _finish_key(left, found, api.issuer, None)
    left.remove()
    return None


def is_lost(left: Draft, found: Mapping[str, Any]) -> bool:
    """Whether every secret of this client was made by runs that were stopped."""
    return bool(left.ids) and bool(live := _live(found)) and set(live) <= set(left.ids)


def _is_as(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return "client_id" in found and all(found[name] == value for name, value in wanted.items() if name in found)


def _live(found: Mapping[str, Any]) -> list[str]:
    """Return the ids of the valid secrets, the newest last."""
    now = time.time()
    return [one["id"] for one in found["secrets"] if one["expires_at"] is None or one["expires_at"] > now]


async def _finish_key(left: Draft, found: dict[str, Any], issuer: str, key: PrivateKey | None) -> dict[str, Any]:
    if not _is_written(left):
        credentials_of(found, issuer, key).write(left.path)
    left.remove()
    return {**found, "finished": "wrote the file of a run that was stopped"}


async def _finish_secret(api: Admin, left: Draft, found: dict[str, Any]) -> dict[str, Any]:
    """Replace a secret that was lost with the server's answer."""
    at = f"/clients/{segment(left.name)}/secrets"
    live = _live(found)
    if not _is_written(left):
        if len(live) > 1:  # a run that tried to finish this was stopped, too
            await api.post(f"{at}/cancel")
        id_ = new_id()
        replace(left, ids=(*left.ids, id_)).write()
        made = await api.post(at, {"id": id_})
        credentials_of(found, api.issuer, secret=made["client_secret"]).write(left.path)
        live = [live[0], id_]
    if len(live) > 1:
        await api.post(f"{at}/complete")
    left.remove()
    return {**found, "finished": "a run was stopped before it wrote the secret: the client has a new one"}


async def replace_secret(api: Admin, path: Path, found: Credentials, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Start a rotation of a client's secret, write the next one into its credentials file, and return the answer.

    If a stopped run lost the next secret, cancel that one first.
    """
    at = f"/clients/{segment(found.client_id)}/secrets"
    left, before = draft.find(path), draft.digest(found.client_secret)
    if left is not None and left.before == before:
        live = _live(await api.get(f"/clients/{segment(found.client_id)}"))
        if len(live) > 1 and live[-1] in left.ids:
            await api.post(f"{at}/cancel")
    begun = Draft(path, api.issuer, found.client_id, ids=(new_id(),), before=before)
    begun.write()
    made: dict[str, Any] = await asked(begun, api.post(at, {**wanted, "id": begun.ids[0]}))
    replace(found, client_secret=made["client_secret"]).replace(path)
    begun.remove()
    return made


def _is_written(left: Draft) -> bool:
    """Whether the file exists; raise if it belongs to another client."""
    if not left.path.exists():
        return False
    found = credentials.read(left.path)
    if (found.issuer, found.client_id) != (left.issuer, left.name):
        raise ConfigError(f"{left.path} is the file of another client: move it away")
    return True


async def asked(begun: Draft, request: Coroutine[Any, Any, Result]) -> Result:
    """Return the answer. Remove the draft if the server certainly did nothing."""
    try:
        return await request
    except Error as error:
        if is_certain(error):
            begun.remove()
        else:
            error.add_note(f"the server may have made {begun.name}: run the same command again to finish")
        raise


def is_certain(error: Error) -> bool:
    """Whether after this failure the server has certainly done nothing; a lost answer and a 5xx leave that open."""
    if isinstance(error, Refused):
        return (error.status or 0) < _FAILED
    return not isinstance(error, RemoteError | StoreError)


async def _keep(api: Admin, begun: Draft, made: Credentials) -> None:
    """Write the credentials file of a client that was just registered; if that fails, remove the client."""
    try:
        made.write(begun.path)
    except ConfigError as failure:
        try:
            await api.delete(f"/clients/{segment(made.client_id)}")
        except Error as error:
            remedy = f"run the same command again, or  affiant client remove {shlex.quote(made.client_id)}"
            failure.add_note(left_behind(made.client_id, error, remedy))
            raise failure from None
        begun.remove()
        raise
    begun.remove()


def new_id() -> str:
    """Return an id for a secret, which identifies the secret if the answer with its text is lost."""
    return secrets.token_hex(8)


def left_behind(client_id: str, why: Error, remedy: str) -> str:
    """Return the note about a registered client without a credentials file."""
    return f"{client_id} is still registered, and its file is missing ({why}): {remedy}"


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await this work; a cancellation takes effect after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def hand_over(registered: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """Return the members to hand over; none of them is secret."""
    keys = [key for key in registered["keys"] if key["state"] != "revoked"]
    method = registered["token_endpoint_auth_method"]
    alg = registered["token_endpoint_auth_signing_alg"] or (keys[0]["alg"] if keys else None)
    found = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "client_id": registered["client_id"],
        "auth_method": method,
        "audience": issuer if method == names.PRIVATE_KEY_JWT else None,
        "alg": alg if method == names.PRIVATE_KEY_JWT else None,
        "kid": keys[0]["kid"] if len(keys) == 1 else None,
        "scope": " ".join(registered["scope"]) or None,
        "resources": registered["resources"] or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def hand_over_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the hand-over as lines for a mail, with an example."""
    if found["auth_method"] == names.FEDERATED_JWT:
        name = found["client_id"]
        return [
            "it has no credential of its own: a rule gives it to jobs or pods of a platform",
            f"next: affiant trust add PLATFORM --client {shlex.quote(name)}",
            "the platforms: affiant trust add --help",
        ]
    lines = ["hand this to the owner of the key; none of it is secret:", ""]
    lines += [f"  {name:<16}{_plain(value)}" for name, value in found.items()]
    if found["auth_method"] == names.PRIVATE_KEY_JWT:
        lines += ["", *_example(found), "", *_file(found)]
    return lines


def _example(found: Mapping[str, Any]) -> list[str]:
    header = json.dumps({name: found[name] for name in ("alg", "kid") if name in found})
    claims = f'{{"iss": "{found["client_id"]}", "sub": "{found["client_id"]}", "aud": "{found["audience"]}",'
    wanted = {"grant_type": names.CLIENT_CREDENTIALS}
    wanted |= {"scope": found["scope"].replace(" ", "+")} if "scope" in found else {}
    form = "&".join(f"{name}={value}" for name, value in wanted.items())
    return [
        "with any OAuth library (private_key_jwt, RFC 7523), or by hand:",
        "",
        f"  POST {found['token_endpoint']}",
        f"  {form}&client_assertion_type={names.JWT_BEARER_ASSERTION_TYPE}&client_assertion=JWT",
        "",
        f"  header of the JWT  {header}",
        f'  its claims         {claims} "iat": now, "exp": now + 60, "jti": "a new random string"}}',
    ]


def _file(found: Mapping[str, Any]) -> list[str]:
    members = {"affiant": VERSION, "key_file": "private.pem"}
    members |= {name: found[name] for name in _IN_FILE if name in found}
    if len(found.get("resources", ())) == 1:
        members["resource"] = found["resources"][0]
    lines = [f"  {line}" for line in json.dumps(members, indent=2).splitlines()]
    return [f"with affiant, in {file_name(found['client_id'])} (mode 0600), next to the private key:", "", *lines]


def _plain(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
