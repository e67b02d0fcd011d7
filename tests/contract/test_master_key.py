"""The master key is rotated under running servers, on every store; what the former key still opens afterwards."""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.stores import entry, opened

from affiant.errors import ConfigError
from affiant.server.keys import rotation, signing_keys
from affiant.server.keys.master_key import SETTING, MasterKey, Rings, fingerprint, seal_ring
from affiant.server.keys.rotation import SEEN, Doer
from affiant.server.keys.vault import Vault, client_secret_purpose, signing_key_purpose
from affiant.server.registry.directory import Directory
from affiant.storage.entries import AuditRow
from affiant.storage.history.audit_chain import Broken, Verification, walk
from affiant.storage.ports import Store
from affiant.storage.records import Client, StoredSecret

ISSUER, NOW = "https://as.example", 1_800_000_000
FIRST, SECOND, THIRD = (bytes([number]) + secrets.token_bytes(31) for number in range(3))
OLD, NEW = MasterKey.from_bytes(FIRST), MasterKey.from_bytes(SECOND)
DOER = Doer("alice", NOW)
TEXT = "a-secret-that-both-sides-know-and-must-be-recovered"
PURPOSE = client_secret_purpose("billing")
MakeStore = Callable[..., Store]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of these tests reads the ring with its next request."""
    monkeypatch.setattr(rotation, "SEEN_SECONDS", 0.0)


async def _fill(store: Store) -> None:
    await signing_keys.ensure(store, Vault(OLD), now=NOW)
    for client_id in ("billing", "other"):
        sealed = OLD.seal(TEXT.encode(), purpose=client_secret_purpose(client_id))
        secret = StoredSecret(None, sealed, NOW, None)
        await store.clients.add(
            Client(
                client_id,
                "client_secret_jwt",
                token_endpoint_auth_signing_alg="HS256",
                secrets=(secret,),
                created_at=NOW,
            )
        )


async def _sealed(store: Store) -> bytes:
    client = await store.clients.find("billing")
    assert client is not None
    assert client.secrets[0].sealed is not None
    return client.secrets[0].sealed


async def _rings(store: Store) -> Rings:
    rings = await rotation.find(store)
    assert rings is not None
    return rings


async def _rotate(store: Store) -> MasterKey:
    """Rotate from OLD to NEW, and return NEW as a server has it that starts afterwards."""
    await rotation.begin(store, OLD, SECOND, DOER)
    key = NEW.opened(await _rings(store))
    await rotation.finish(store, key, DOER)
    return NEW.opened(await _rings(store))


def _directory(store: Store, key: MasterKey) -> Directory:
    return Directory(ISSUER, store, key, fresh_seconds=0.0)


async def test_servers_with_either_key_go_on_until_the_end(make_store: MakeStore) -> None:
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        before = _directory(store, OLD)
        await before.refresh()
        await rotation.begin(store, OLD, SECOND, DOER)
        key = NEW.opened(await _rings(store))
        after = _directory(store, key)
        for directory in (before, after):
            assert (await directory.client("billing")) is not None
            assert directory.signer is not None
        assert key.digest("x") == OLD.digest("x")  # tokens, sessions and links of before are recognised
        assert key.successor("x") == OLD.successor("x")  # a retry gets the same refresh token
        # A secret that is given while servers differ is known to all.
        sealed = OLD.opened(await _rings(store)).seal(b"given", purpose="x")
        assert key.unseal(sealed, purpose="x") == b"given"
        number = await rotation.finish(store, key, DOER)
        assert number == 3
        # The server that was started in between goes on: it read the ring with the next request.
        assert (await after.client("other")) is not None
        assert key.unseal(await _sealed(store), purpose=PURPOSE) == TEXT.encode()


async def test_the_former_key_opens_nothing_afterwards(make_store: MakeStore) -> None:
    """Attack: the former key and a copy of the database of now."""
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        key = await _rotate(store)
        rings = await _rings(store)
        with pytest.raises(ConfigError, match=f"needs another master key: that with the fingerprint {NEW.fingerprint}"):
            OLD.opened(rings)
        for signing_key in await store.signing_keys.list():
            purpose = signing_key_purpose(signing_key.kid)
            assert key.unseal(signing_key.sealed, purpose=purpose)
            for other in (OLD, NEW):  # the new one opens nothing without the ring
                with pytest.raises(ConfigError):
                    other.unseal(signing_key.sealed, purpose=purpose)
        with pytest.raises(ConfigError):
            OLD.unseal(key.seal(b"new", purpose="x"), purpose="x")
        assert SECOND.hex() not in rings.to_text()
        assert OLD.fingerprint not in rings.to_text()


async def test_what_the_former_key_sealed_is_refused_afterwards(make_store: MakeStore) -> None:
    """Attack: with the former key and write access, a signing key of the attacker's is put into the database."""
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        planted = OLD.seal(b"{}", purpose="signing-key/k")
        key = await _rotate(store)
        with pytest.raises(ConfigError, match="does not open"):
            key.unseal(planted, purpose="signing-key/k")


async def test_the_rings_of_an_attacker_are_refused(make_store: MakeStore) -> None:
    """Attack: a ring of known keys under the name of the master key, or a bridge for the former one."""
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        key = await _rotate(store)
        rings = await _rings(store)
        forged = seal_ring(replace(key.ring, seals=(THIRD,)), THIRD)
        names = {NEW.fingerprint: forged, OLD.fingerprint: rings.sealed[NEW.fingerprint]}
        text = Rings(names, NEW.fingerprint, NOW).to_text()
        for wanted in (OLD, NEW):
            with pytest.raises(ConfigError, match="was altered"):
                wanted.opened(Rings.parse(text))
        cut = {NEW.fingerprint: rings.sealed[NEW.fingerprint][:11]}
        with pytest.raises(ConfigError):
            NEW.opened(Rings(cut, NEW.fingerprint, NOW))
        for garbage in ("", "{}", "[]", '{"sealed":{"a":1}}', "\ud800"):
            with pytest.raises(ConfigError, match="was altered"):
                Rings.parse(garbage)
        # A running server keeps the keys that it has.
        await store.settings.put(SETTING, text)
        directory = _directory(store, key)
        await directory.refresh()
        assert (await directory.client("billing")) is not None


async def test_a_rotation_that_was_interrupted_goes_on(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        await rotation.begin(store, OLD, SECOND, DOER)
        with pytest.raises(ConfigError, match="is under way"):
            await rotation.begin(store, OLD, THIRD, DOER)
        with pytest.raises(ConfigError, match="has the former master key"):
            await rotation.finish(store, OLD.opened(await _rings(store)), DOER)
        key = NEW.opened(await _rings(store))
        for _ in range(2):  # it stops after the first step, and then after the second
            monkeypatch.setattr(rotation, "SEEN_SECONDS", 3600.0)
            before = (await _rings(store)).to_text()
            task = asyncio.create_task(rotation.finish(store, key, DOER))
            while (await _rings(store)).to_text() == before:  # noqa: ASYNC110 - a change of the database sets no event
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            started = NEW.opened(await _rings(store))
            assert started.unseal(await _sealed(store), purpose=PURPOSE) == TEXT.encode()
            with pytest.raises(ConfigError):
                OLD.opened(await _rings(store))
            assert not rotation.is_finished(await _rings(store), NEW)
        monkeypatch.setattr(rotation, "SEEN_SECONDS", 0.0)
        assert await rotation.finish(store, key, DOER) == 3
        assert rotation.is_finished(await _rings(store), NEW)
        with pytest.raises(ConfigError, match="no rotation is under way"):
            await rotation.finish(store, NEW.opened(await _rings(store)), DOER)


async def test_a_rotation_that_is_cancelled(make_store: MakeStore) -> None:
    """The new key was lost before a server had it."""
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        with pytest.raises(ConfigError, match="no rotation"):
            await rotation.cancel(store, OLD, DOER)
        await rotation.begin(store, OLD, SECOND, DOER)
        with pytest.raises(ConfigError, match="is the new master key"):
            await rotation.cancel(store, NEW.opened(await _rings(store)), DOER)
        assert await rotation.cancel(store, OLD.opened(await _rings(store)), DOER) == NEW.fingerprint
        with pytest.raises(ConfigError):
            NEW.opened(await _rings(store))
        # And the next one.
        key = OLD.opened(await _rings(store))
        await rotation.begin(store, key, THIRD, DOER)
        third = MasterKey.from_bytes(THIRD)
        await rotation.finish(store, third.opened(await _rings(store)), DOER)
        last = third.opened(await _rings(store))
        assert last.unseal(await _sealed(store), purpose=PURPOSE) == TEXT.encode()


async def test_one_rotation_after_another(make_store: MakeStore) -> None:
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        key = await _rotate(store)
        await rotation.begin(store, key, THIRD, DOER)
        third = MasterKey.from_bytes(THIRD)
        await rotation.finish(store, third.opened(await _rings(store)), DOER)
        last = third.opened(await _rings(store))
        assert last.unseal(await _sealed(store), purpose=PURPOSE) == TEXT.encode()
        assert last.digest("x") == OLD.digest("x")
        for lost in (OLD, NEW):
            with pytest.raises(ConfigError):
                lost.opened(await _rings(store))
        with pytest.raises(ConfigError):
            key.unseal(await _sealed(store), purpose=PURPOSE)


async def test_the_audit_chain_shows_edits_on_both_sides(make_store: MakeStore) -> None:
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        await store.ledger.claim(entry(1))
        key = await _rotate(store)
        await store.ledger.claim(entry(2))
        rows = [row async for row in walk(store.audit_log)]
        details = [json.loads(row.record).get("detail", "") for row in rows]
    assert [text for text in details if text] == [
        f"{OLD.fingerprint} to {NEW.fingerprint}, both open the database",
        f"only {NEW.fingerprint} opens the database",
    ]
    _verify(rows, key)
    for place in (0, len(rows) - 1):
        edited = list(rows)
        edited[place] = rows[place]._replace(record=rows[place].record.replace(b"token", b"other"))
        edited[place] = edited[place]._replace(record=edited[place].record.replace(b"issued", b"denied"))
        assert edited != rows
        with pytest.raises(Broken):
            _verify(edited, key)


def _verify(rows: list[AuditRow], key: MasterKey) -> None:
    verification = Verification(key.audit)
    for row in rows:
        verification.feed(row)
    verification.finish()


async def test_a_server_with_the_former_key_says_so(make_store: MakeStore) -> None:
    async with opened(make_store(audit_key=OLD.audit)) as store:
        await _fill(store)
        await rotation.note(store, OLD, NOW)
        assert await store.settings.get(SEEN) is None
        await rotation.begin(store, OLD, SECOND, DOER)
        await rotation.note(store, NEW.opened(await _rings(store)), NOW)
        assert await store.settings.get(SEEN) is None
        await rotation.note(store, OLD, NOW + 7)
        assert await store.settings.get(SEEN) == str(NOW + 7)


def test_fingerprints_name_keys() -> None:
    assert len({fingerprint(key) for key in (FIRST, SECOND, THIRD)}) == 3
    assert OLD.fingerprint not in FIRST.hex()
    assert FIRST.hex() not in repr(OLD) + repr(OLD.ring)
