"""Announce, rotate and remove the keys that sign access tokens."""

from typing import Any

from affiant.server.console.actions.action import action
from affiant.server.console.api import Api, Ask, at
from affiant.server.console.show.records import issued
from affiant.server.console.show.times import duration
from affiant.server.console.view import Form
from affiant.server.keys.calendar import GUARD_SECONDS, MAX_AGE, RETIRING_SECONDS


def _ask(form: Form, *, at_once: bool = False) -> Ask:
    body: dict[str, Any] = {name: form.text(name) for name in ("alg", "line", "key") if form.text(name)}
    return Ask("POST", "/signing-keys", body | ({"at_once": True} if at_once else {}))


@action("signing-key.announce", "Announce the next signing key")
async def announce(_: Api, form: Form) -> Ask:
    return _ask(form)


@action("signing-key.rotate", "Sign with the next key at once")
async def rotate(_: Api, form: Form) -> Ask:
    return _ask(form, at_once=True)


@rotate.tells_what_breaks
async def _(api: Api, _form: Form) -> list[str]:
    count = await issued.find(api, lambda _: True)
    return [
        "An API that does not fetch the key set when it meets an unknown key refuses every new token.",
        "Guards of affiant fetch it. If you do not know your APIs, announce the next key instead.",
        f"{count.sentence('of all APIs')} They stay valid.",
        f"The key that signed them is published for another {duration(RETIRING_SECONDS)}.",
    ]


@action("signing-key.remove", "Remove the signing key")
async def remove(_: Api, form: Form) -> Ask:
    return Ask("DELETE", at("/signing-keys/{}", form.text("kid")))


@remove.tells_what_breaks
async def _(api: Api, form: Form) -> list[str]:
    keys = (await api.get("/signing-keys", limit=1000))["items"]
    key = next((one for one in keys if one["kid"] == form.text("kid")), None)
    if key is None or key["state"] == "announced":
        return ["Nothing was signed with it: no token ends. Another key is announced when the next one is due."]
    begin, end = key["active_at"], key["retiring_at"] or api.now
    count = await issued.find(api, lambda record: begin <= record.get("at", 0.0) <= end)
    of = "of its time" if key["line"] is None else f"of its time, for all APIs and not only those with {key['line']},"
    sentences = [
        f"Every token that it has signed becomes invalid. {count.sentence(of)}",
        f"This server refuses them within a second, and guards that reach it within {duration(MAX_AGE)}.",
        f"A guard that does not reach it uses its copy for {duration(GUARD_SECONDS)} at most.",
        "The private part of the key is erased, so this cannot be undone.",
    ]
    if key["state"] == "active":
        sentences.append(
            "No key follows one in a KMS: no token is issued until you name the next."
            if key["kms"]
            else "The announced key signs then, or a new one, which APIs may not have seen yet."
        )
    return sentences
