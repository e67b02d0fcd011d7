"""End tokens before they expire; make and revoke initial access tokens."""

from typing import Any

from affiant.errors import ConfigError
from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show import times
from affiant.server.console.show.records import issued
from affiant.server.console.show.records.issued import Has
from affiant.server.console.view import Form

_OF_CLIENTS = ("key", "task")
_SELECTED = ("all", "client", "key", "api")  # with their refresh tokens
_OF = {"all": "in all", "api": "for this API"}
_DAY = 86_400


@action("token.revoke", "Revoke")
async def revoke(api: Api, form: Form) -> Ask:
    kind, value, client_id = (form.text(name) for name in ("kind", "value", "client_id"))
    body: dict[str, Any] = {"kind": kind}
    if kind != "all":
        if not value:
            raise ConfigError("enter which one: its jti, name or identifier")
        body["value"] = value
    if kind in _OF_CLIENTS:
        if not client_id:
            raise ConfigError("enter the client that the key or the task belongs to")
        body["client_id"] = client_id
    if before := form.text("before"):
        body["before"] = _instant(api, before)
    return Ask("POST", "/revocations", body)


def _instant(api: Api, text: str) -> int:
    found = times.parse(text, api.now)
    if found is None:
        raise ConfigError("write the time as 15m (15 minutes ago) or 2026-11-29T14:05Z")
    return int(found)


@revoke.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    kind, value, client_id = form.text("kind"), form.text("value"), form.text("client_id")
    sentences = []
    if kind != "family":
        of_client = value if kind == "client" else client_id or None
        has, before = _has(kind, value), form.text("before")
        until = _instant(api, before) if before else api.now
        count = await issued.find(api, lambda one: has(one) and one.get("at", 0.0) < until + 1, client_id=of_client)
        sentences.append(count.sentence(_OF.get(kind, f"of this {kind}")))
    sentences += [
        "Introspection and the admin API refuse them at once, and guards that read the feed within two seconds.",
        "A client that may still ask gets new tokens at once: to stop that, disable it, or revoke its key.",
        "This cannot be undone.",
    ]
    if kind in _SELECTED:
        sentences.append("Refresh tokens of the same reach end, too.")
    if kind == "family":
        sentences.append("The refresh tokens of this family end, and the access tokens that were issued with them.")
    return sentences


def _has(kind: str, value: str) -> Has:
    """Return what accepts the records of tokens that this revocation ends."""
    found: dict[str, Has] = {
        "jti": lambda record: record.get("token") == value,
        "key": lambda record: record.get("thumbprint") == value,
        "task": lambda record: record.get("task") == value,
        "rule": lambda record: record.get("rule") == value,
        "trust": lambda record: str(record.get("rule") or "").startswith(f"{value}/"),
        "api": lambda record: value in str(record.get("resource") or "").split(),
    }
    return found.get(kind, lambda _: True)


@action("initial-token.new", "Make an initial access token", reveals="tokens/initial.html")
async def make(_: Api, form: Form) -> Ask:
    lists = {"scope": form.words("scope"), "resources": form.words("resources")}
    body: dict[str, Any] = {name: words for name, words in lists.items() if words}
    body["uses"] = form.number("uses") or 1
    body["lifetime_seconds"] = (form.number("days") or 1) * _DAY
    return Ask("POST", "/initial-access-tokens", body)


@action("initial-token.revoke", "Revoke the initial access token")
async def revoke_initial(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at("/initial-access-tokens/{}", form.text("id")))


@revoke_initial.tells_what_breaks
async def _(_api: Api, _form: Form) -> list[str]:
    return ["No further client registers with it. Clients that did stay registered.", "This cannot be undone."]
