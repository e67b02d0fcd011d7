"""What is written down of a change: what differs, and never a secret, whatever stands in the record."""

import json
from dataclasses import fields, replace
from typing import Any

from tests.admin import NOW, OWNER, make_context, member

from affiant.server.admin import changes, documents, views
from affiant.server.admin.calls import Call
from affiant.server.admin.roles import Principal, Role
from affiant.server.request.notes import Request
from affiant.storage.entries import RefreshSelection, Revocation
from affiant.storage.memory import MemoryStore
from affiant.storage.records import StoredSecret

SECRET = b"\xde\xad\xbe\xef" * 8


def call(who: Principal = OWNER) -> Call:
    store = MemoryStore()
    return Call(make_context(store), Request("admin", "203.0.113.7", float(NOW)), who, store)


def show(client: Any) -> documents.Client:
    return views.client(client, NOW)


def test_what_comes_and_goes_is_told_whole() -> None:
    client = member("a")
    (come,) = changes.audit(call(), "client a", show)(None, client)
    (gone,) = changes.audit(call(), "client a", show)(client, None)
    assert (come.audit.outcome, come.audit.before, json.loads(come.audit.after or "")) == (
        "created",
        None,
        show(client).model_dump(mode="json"),
    )
    assert (gone.audit.outcome, gone.audit.after, json.loads(gone.audit.before or "")) == (
        "removed",
        None,
        show(client).model_dump(mode="json"),
    )


def test_no_secret_is_told() -> None:
    """Not of any field: each that holds bytes is filled with what must not be found."""
    secret = StoredSecret(SECRET, SECRET, NOW, None, id="s1")
    client = replace(member("a"), secrets=(secret,), registration_token=SECRET, metadata='{"software_statement":"eyJ"}')
    held = {field.name for field in fields(client) if isinstance(getattr(client, field.name), bytes)}
    assert held == {"registration_token"}
    for before, after in ((None, client), (client, None), (member("a"), client)):
        (entry,) = changes.audit(call(), "client a", show)(before, after)
        text = entry.audit.to_json().decode()
        for spelt in (
            SECRET.hex(),
            SECRET.decode("latin-1"),
            "3q2-7",
            "3q2+7",
            "registration_token",
            "software_statement",
        ):
            assert spelt not in text, spelt


def test_who_sits_at_the_folder_is_no_client() -> None:
    record = changes.record(call(Principal("cli, root", Role.OWNER, is_local=True)), "client a", outcome="changed")
    assert (record.by, record.client_id) == ("cli, root", None)


def test_what_ends_is_in_the_same_entry() -> None:
    ended = changes.Ended(Revocation("client", "a", NOW, NOW + 1), RefreshSelection(client_id="a"))
    (entry,) = changes.audit(call(), "client a", show, ends=lambda *_: ended)(member("a"), None)
    assert (entry.revocations, entry.revoke_refresh) == ((ended.access,), ended.refresh)
    (entry,) = changes.audit(call(), "client a", show, ends=lambda *_: None)(member("a"), None)
    assert (entry.revocations, entry.revoke_refresh) == ((), None)
