"""A change and its audit entries are one commit, on every store."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.stores import NOW, nodes, records

from affiant.storage.entries import AuditRecord, Entry, JtiClaim, RefreshSelection, RefreshToken, Revocation
from affiant.storage.ports import Audit, Store
from affiant.storage.records import AlreadyExists, Api, Client, NotFound, SigningKey

CLIENT = Client("c", "private_key_jwt")
API = Api("https://a", "a", ("r",), is_default=True, created_at=NOW)
KEY = SigningKey("k", "ES256", "{}", b"sealed", NOW)
REFRESH = RefreshToken(b"r1", "f", "c", ("r",), "https://a https://b", NOW, NOW + 1000, NOW + 1500, key_thumbprint="t")


def auditing(seen: list[tuple[Any, Any]] | None = None, **wanted: Any) -> Audit:
    def audit(before: Any, after: Any) -> Sequence[Entry]:
        if seen is not None:
            seen.append((before, after))
        audit = AuditRecord(at=NOW, trace_id="t", endpoint="admin", outcome="changed", by="cli", subject="x")
        return [Entry(audit, **wanted)]

    return audit


async def test_every_change_is_audited_with_before_and_after(store: Store) -> None:
    seen: list[tuple[Any, Any]] = []
    audit = auditing(seen)
    changed, named = replace(CLIENT, enabled=False), replace(API, name="b")
    await store.clients.add(CLIENT, audit=audit)
    await store.clients.update("c", lambda _: changed, audit=audit)
    await store.clients.remove("c", audit=audit)
    await store.apis.add(API, audit=audit)
    await store.apis.update("https://a", lambda _: named, audit=audit)
    await store.apis.remove("https://a", audit=audit)
    await store.signing_keys.change(lambda _: [KEY], audit=audit)
    await store.signing_keys.change(lambda _: [], audit=audit)
    assert seen == [
        *((None, CLIENT), (CLIENT, changed), (changed, None)),
        *((None, API), (API, named), (named, None)),
        ([], [KEY]),
    ]
    assert len(await records(store)) == 7


async def test_a_refused_change_is_not_audited(store: Store) -> None:
    def refuse(_: Any) -> Any:
        raise NotFound("no")

    audit = auditing()
    await store.clients.add(CLIENT)
    await store.apis.add(API)
    before = await store.version()
    attempts: list[tuple[type[Exception], Any]] = [
        (AlreadyExists, lambda: store.clients.add(CLIENT, audit=audit)),
        (NotFound, lambda: store.clients.add(replace(CLIENT, client_id="d"), audit=audit, spend="none")),
        (NotFound, lambda: store.clients.update("c", refuse, audit=audit)),
        (NotFound, lambda: store.clients.update("\0", lambda client: client, audit=audit)),
        (NotFound, lambda: store.clients.remove("nobody", audit=audit)),
        (AlreadyExists, lambda: store.apis.add(API, audit=audit)),
        (NotFound, lambda: store.apis.update("https://a", refuse, audit=audit)),
        (NotFound, lambda: store.apis.update("https://nowhere", lambda api: api, audit=audit)),
        (NotFound, lambda: store.apis.remove("https://nowhere", audit=audit)),
        (NotFound, lambda: store.signing_keys.change(refuse, audit=audit)),
    ]
    for error, attempt in attempts:
        with pytest.raises(error):
            await attempt()
    assert await records(store) == []
    assert await store.version() == before
    assert (await store.clients.list(), await store.apis.list()) == ([CLIENT], [API])


async def test_it_revokes_in_the_same_commit(store: Store) -> None:
    """The tokens that the revoked key obtained, and no others."""
    other = replace(REFRESH, digest=b"r2", family="g", key_thumbprint="u")
    for token in (REFRESH, other):
        await store.ledger.claim(Entry(AuditRecord(NOW, "t", "token", "issued"), new_refresh=token))
    await store.clients.add(CLIENT)
    ended = Revocation("key", "t", NOW, NOW + 3600)
    audit = auditing(revocations=(ended,), revoke_refresh=RefreshSelection(key_thumbprint="t"))
    await store.clients.update("c", lambda client: replace(client, enabled=False), audit=audit)
    assert await store.revocations.find([("key", "t")]) == [ended]
    assert await store.refresh_tokens.find(b"r1") == replace(REFRESH, revoked_at=NOW)
    assert await store.refresh_tokens.find(b"r2") == other
    assert await store.refresh_tokens.list("c") == [replace(REFRESH, revoked_at=NOW), other]


async def test_changes_and_claims_at_once_are_one_chain(store: Store) -> None:
    """Registry and ledger write to one log, each in its own way: nothing is lost, doubled or unchained."""
    audit = AuditRecord(at=NOW, trace_id="t", endpoint="token", outcome="issued")
    claims = [
        store.ledger.claim(Entry(audit, claim=JtiClaim("c", number.to_bytes(32, "big"), NOW))) for number in range(40)
    ]
    changes = [store.clients.add(replace(CLIENT, client_id=f"c{number}"), audit=auditing()) for number in range(10)]
    await asyncio.gather(*claims, *changes)
    written = await records(store)
    assert sorted(record["endpoint"] for record in written) == ["admin"] * 10 + ["token"] * 40


@pytest.mark.parametrize("make_store", ["sqlite", "postgres"], indirect=True)
async def test_stores_on_one_database_share_one_chain(make_store: Callable[..., Store]) -> None:
    audit = AuditRecord(at=NOW, trace_id="t", endpoint="token", outcome="issued")
    async with nodes(make_store) as stores:
        for number in range(5):
            claims = [one.ledger.claim(Entry(audit)) for one in stores]
            changes = [
                one.clients.add(Client(f"c{number}{place}", "x"), audit=auditing()) for place, one in enumerate(stores)
            ]
            await asyncio.gather(*claims, *changes)
        assert len(await records(stores[0])) == 20


async def test_lists_go_on_where_they_stopped(store: Store) -> None:
    clients = [replace(CLIENT, client_id=name) for name in ("a", "b", "c")]
    for client in clients:
        await store.clients.add(client)
    assert await store.clients.list(limit=2) == clients[:2]
    assert await store.clients.list(after="b") == clients[2:]
    assert await store.clients.list(after="c", limit=5) == []
    for number in range(1, 4):
        token = replace(REFRESH, digest=bytes([number]), client_id="c" if number < 3 else "d")
        await store.ledger.claim(Entry(AuditRecord(NOW, str(number), "token", "issued"), new_refresh=token))
    assert [token.digest for token in await store.refresh_tokens.list(limit=2)] == [b"\1", b"\2"]
    assert [token.digest for token in await store.refresh_tokens.list(after=b"\2")] == [b"\3"]
    assert [token.digest for token in await store.refresh_tokens.list("c", after=b"\1")] == [b"\2"]
    assert await store.refresh_tokens.list("c\0") == []
    assert [row.trace_id for row in await store.audit_log.newest(limit=2)] == ["3", "2"]
    assert [row.number for row in await store.audit_log.newest(before=3)] == [2, 1]
    assert await store.audit_log.newest(before=1) == []
    assert await store.audit_log.newest(before=-5) == []
    assert [row.number for row in await store.audit_log.newest(before=2**70)] == [3, 2, 1]


async def test_a_search_finds_records_by_their_texts(store: Store) -> None:
    for number in range(1, 8):
        record = AuditRecord(
            NOW, f"t{number}", "token", "refused" if number % 2 else "issued", client_id="it's 100%_\\"
        )
        await store.ledger.claim(Entry(record))

    async def search(*texts: bytes, **how: Any) -> tuple[list[int], int | None]:
        found = await store.audit_log.search(texts, **how)
        return [row.number for row in found.rows], found.following.number if found.following is not None else None

    assert await search() == ([7, 6, 5, 4, 3, 2, 1], None)
    assert await search(b'"refused"') == ([7, 5, 3, 1], None)
    assert await search(b'"refused"', b'"t5"') == ([5], None)
    assert await search(b'"refused"', before=7, looked=3) == ([5], 3)
    assert await search(b'"refused"', limit=2) == ([7, 5], 4)
    assert await search(b'"refused"', limit=4) == ([7, 5, 3, 1], None)
    assert await search(b'"t1"', looked=6) == ([], 1)
    assert await search(b'"t1"', looked=7) == ([1], None)
    assert await search(b'"T1"') == await search(b'"t_"') == await search(b"\xff\0") == ([], None)
    assert await search(b"""it's 100%_""", looked=1) == ([7], 6)
    assert await search(before=1) == await search(before=-5) == ([], None)
    assert await search(before=2**70, looked=2) == ([7, 6], 5)


async def test_one_default_after_an_update(store: Store) -> None:
    await store.apis.add(API)
    await store.apis.add(replace(API, identifier="https://b", is_default=False))
    await store.apis.update("https://b", lambda api: replace(api, is_default=True))
    assert [(api.identifier, api.is_default) for api in await store.apis.list()] == [
        ("https://a", False),
        ("https://b", True),
    ]
    await store.apis.remove("https://b")
    assert await store.apis.default() is None
