"""The keys and secrets of a client: add, complete or cancel a rotation, revoke."""

from __future__ import annotations

from typing import Any

from affiant.errors import ConfigError
from affiant.server.console.actions.action import IF_MATCH, action
from affiant.server.console.actions.clients import figures
from affiant.server.console.actions.clients.state import CLIENT
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.times import duration
from affiant.server.console.view import Form
from affiant.server.registry.credentials import given

_KEYS, _SECRETS = f"{CLIENT}/keys", f"{CLIENT}/secrets"
KEY = "public_key"  # the field with pasted keys


def pasted(form: Form) -> dict[str, Any]:
    """Return the JWK Set of the keys in the form; raise ConfigError if there are none, or a private one."""
    text = form.text(KEY)
    if not text:
        raise ConfigError("paste a public key: PEM, JWK, JWK Set or certificate")
    return given.parse(text.encode("utf-8", "replace"), "the pasted text").to_jwks()


@action("client.key.add", "Add the next key")
async def add_key(_: Api, form: Form) -> Ask:
    found = pasted(form)["keys"]
    if len(found) != 1:
        raise ConfigError(f"add one key at a time: this has {len(found)}")
    return Ask("POST", at(_KEYS, form.text("client_id")), {"jwk": found[0]}, form.maybe(IF_MATCH))


@action("client.key.complete", "Complete the rotation")
async def complete_key(_: Api, form: Form) -> Ask:
    overlap = form.number("overlap") or 0
    return _of_key(form, "complete", **({"overlap": overlap} if overlap else {}))


@complete_key.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name, kid = form.text("client_id"), form.text("kid")
    held = await api.get(at(_KEYS, name))
    found = next((key for key in held if key["thumbprint"] == kid), None)
    if found is None:
        raise ConfigError("the client no longer has this key")
    used = await figures.last_hour(api, name, credential=kid)
    overlap = form.number("overlap") or 0
    ends = f"in {duration(overlap)}" if overlap else "at once"
    is_safe = found.get("safe_to_complete")
    judged = f"Safe to complete: {found['why']}." if is_safe else f"Not safe yet: {found.get('why', 'no successor')}."
    return [
        used.said(f"{name} used the old key"),
        judged,
        f"The old key ends {ends}. The tokens that it obtained live until they expire.",
    ]


@action("client.key.cancel", "Cancel the rotation")
async def cancel_key(_: Api, form: Form) -> Ask:
    return _of_key(form, "cancel")


@cancel_key.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [
        await _used(api, form, "this new key"),
        "The new key ends, and the old one is used as before.",
    ]


@action("client.key.revoke", "Revoke the key")
async def revoke_key(_: Api, form: Form) -> Ask:
    return _of_key(form, "revoke")


@revoke_key.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    name, kid = form.text("client_id"), form.text("kid")
    held = await api.get(at(_KEYS, name))
    others = [key for key in held if key["state"] == "active" and key["thumbprint"] != kid]
    return [
        await _used(api, form, "this key"),
        "Every token that it obtained ends, and APIs refuse them within two seconds.",
        f"{name} goes on with {len(others)} other {'key' if len(others) == 1 else 'keys'}."
        if others
        else f"It is the last key: {name} gets no token until it has another.",
        "A revoked key can never be used again: this cannot be undone.",
    ]


@action("client.secret.new", "Make the next secret", reveals="clients/secret.html")
async def new_secret(_: Api, form: Form) -> Ask:
    return Ask("POST", at(_SECRETS, form.text("client_id")), {}, form.maybe(IF_MATCH))


@action("client.secret.complete", "Complete the rotation")
async def complete_secret(_: Api, form: Form) -> Ask:
    return _of_secret(form, "complete")


@complete_secret.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [
        await _used(api, form, "the old secret"),
        "The old secret ends at once. The tokens that it obtained live until they expire.",
    ]


@action("client.secret.cancel", "Cancel the rotation")
async def cancel_secret(_: Api, form: Form) -> Ask:
    return _of_secret(form, "cancel")


@cancel_secret.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [await _used(api, form, "the new secret"), "The new secret ends, and the old one is used as before."]


@action("client.secret.revoke", "Revoke the secret")
async def revoke_secret(_: Api, form: Form) -> Ask:
    path = at(f"{_SECRETS}/revoke", form.text("client_id"))
    return Ask("POST", path, {"id": form.text("id")}, form.maybe(IF_MATCH))


@revoke_secret.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    return [
        await _used(api, form, "this secret"),
        "Every token that it obtained ends, and APIs refuse them within two seconds. This cannot be undone.",
    ]


def _of_key(form: Form, step: str, **more: int) -> Ask:
    path = at(f"{_KEYS}/{step}", form.text("client_id"))
    return Ask("POST", path, {"kid": form.text("kid"), **more}, form.maybe(IF_MATCH))


def _of_secret(form: Form, step: str) -> Ask:
    return Ask("POST", at(f"{_SECRETS}/{step}", form.text("client_id")), None, form.maybe(IF_MATCH))


async def _used(api: Api, form: Form, what: str) -> str:
    name = form.text("client_id")
    found = await figures.last_hour(api, name, credential=form.text("kid") or form.text("id"))
    return found.said(f"{name} used {what}")
