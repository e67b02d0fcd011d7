"""Register several clients; if one fails, notes say which are registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affiant.cli.connection.admin import Admin
from affiant.cli.connection.place import Place
from affiant.cli.registry import dry_run
from affiant.cli.registry.handover import delivery, draft, partner
from affiant.client.credentials import file_name
from affiant.errors import Error
from affiant.jose import keys
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class New:
    """A client to be registered, as the admin API takes it, with its new private key."""

    wanted: Mapping[str, Any]
    key: PrivateKey | None
    path: Path | None  # the credentials file to write; None if the owner has the private key


def build(name: str, members: Mapping[str, Any], *, alg: str | None, writes: str) -> New:
    """Return a client to be registered."""
    key = keys.generate(alg or "ES256") if writes == "key" else None
    wanted = {**members, "client_id": name}
    if key is not None:
        wanted["jwks"] = KeySet((key.public(),)).to_jwks()
    if (signs_with := alg or (key.alg if key else None)) is not None:
        wanted["token_endpoint_auth_signing_alg"] = signs_with
    return New(wanted, key, Path(file_name(name)) if writes != "nothing" else None)


def register_all(place: Place, clients: Sequence[New]) -> list[dict[str, Any]]:
    """Register these clients in order. Return each as registered, with `credentials` and, without a file, `hand_over`.

    If a stopped run left a draft, skip the clients whose files exist.
    """
    if any(each.path is not None and draft.place(each.path).exists() for each in clients):
        clients = [each for each in clients if not _is_done(each)]
    for each in clients:
        if each.path is not None:
            draft.check_free(each.path)
    done: list[dict[str, Any]] = []

    async def work(api: Admin) -> None:
        await _check(api, clients)
        for each in clients:
            done.append(await delivery.to_the_end(_register(api, each)))  # noqa: PERF401 - the notes need it after a failure

    try:
        place.or_new().run(work)
    except Error as error:
        if len(clients) > 1:
            names = [str(each.wanted["client_id"]) for each in clients]
            error.add_note("registered: " + (", ".join(names[: len(done)]) or "none"))
            error.add_note("not registered: " + ", ".join(names[len(done) :]))
        raise
    return done


def _is_done(each: New) -> bool:
    return each.path is not None and each.path.exists() and not draft.place(each.path).exists()


async def _check(api: Admin, clients: Sequence[New]) -> None:
    """Raise ConfigError if the server would refuse one of several clients; a single one needs no dry run."""
    left = [each for each in clients if each.path is None or not draft.place(each.path).exists()]
    changes = [
        {"action": "create", "kind": "client", "name": each.wanted["client_id"], "members": each.wanted}
        for each in left
    ]
    if len(clients) > 1:
        await dry_run.check(api, changes)


async def _register(api: Admin, each: New) -> dict[str, Any]:
    if each.path is not None:
        made = await delivery.register(api, each.wanted, each.path, each.key)
        return {**made, "credentials": str(each.path)}
    made = await api.post("/clients", each.wanted)
    return {**made, "credentials": None, "hand_over": partner.build(made, api.issuer)}
