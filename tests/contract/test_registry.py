"""The promises about clients, APIs, signing keys and settings, on every store."""

import asyncio
from dataclasses import replace

import pytest

from affiant.storage.ports import Store
from affiant.storage.records import AlreadyExists, Api, Client, ClientKey, NotFound, SigningKey, StoredSecret

FULL = Client(
    client_id="billing",
    token_endpoint_auth_method="client_secret_jwt",
    token_endpoint_auth_signing_alg="HS256",
    keys=(ClientKey("k1", '{"kty":"EC"}', 1, 2, 3, 4, 5, 6, "client"), ClientKey("k2", "{}", 1)),
    secrets=(StoredSecret(b"\x00\xff", None, 1, None), StoredSecret(None, b"sealed", 2, 3)),
    grant_types=("client_credentials", "refresh_token"),
    scope=("read", "write"),
    resources=("https://api.example",),
    profile="guide",
    audience_policy="string",
    enabled=False,
    created_at=1_800_000_000,
)


def _api(identifier: str, *, is_default: bool = False) -> Api:
    return Api(identifier, "An API", ("read", "write"), is_default, 1_800_000_000)


async def test_a_client_comes_back_whole(store: Store) -> None:
    await store.clients.add(FULL)
    assert await store.clients.find("billing") == FULL
    assert await store.clients.find("Billing") is None
    assert await store.clients.find("billing\0") is None
    assert await store.clients.list() == [FULL]


async def test_one_of_many_adds_a_name(store: Store) -> None:
    added = await asyncio.gather(*(store.clients.add(FULL) for _ in range(20)), return_exceptions=True)
    assert added.count(None) == 1
    assert sum(isinstance(result, AlreadyExists) for result in added) == 19


async def test_a_refusal_changes_nothing(store: Store) -> None:
    await store.clients.add(FULL)
    await store.apis.add(_api("https://a", is_default=True))
    before = await store.version()
    with pytest.raises(NotFound):
        await store.clients.update("nobody", lambda client: replace(client, enabled=True))
    with pytest.raises(NotFound):
        await store.clients.remove("nobody")
    with pytest.raises(AlreadyExists):
        await store.clients.add(FULL)
    with pytest.raises(AlreadyExists):
        await store.apis.add(_api("https://a"))
    assert await store.version() == before
    assert await store.apis.find("https://a") == _api("https://a", is_default=True)


async def test_there_is_one_default_api(store: Store) -> None:
    assert await store.apis.default() is None
    await store.apis.add(_api("https://b", is_default=True))
    await store.apis.add(_api("https://a", is_default=True))
    await store.apis.add(_api("https://c"))
    assert await store.apis.default() == _api("https://a", is_default=True)
    assert [(api.identifier, api.is_default) for api in await store.apis.list()] == [
        ("https://a", True),
        ("https://b", False),
        ("https://c", False),
    ]


async def test_every_change_changes_the_version(store: Store) -> None:
    seen = [await store.version()]
    for change in (
        store.clients.add(FULL),
        store.clients.update("billing", lambda client: replace(client, enabled=True)),
        store.apis.add(_api("https://a")),
        store.signing_keys.change(lambda _: [SigningKey("k", "ES256", "{}", b"", 1)]),
        store.clients.remove("billing"),
    ):
        await change
        seen.append(await store.version())
    assert len(set(seen)) == len(seen)


async def test_settings(store: Store) -> None:
    assert await store.settings.get("issuer") is None
    await store.settings.put("issuer", "https://a")
    await store.settings.put("issuer", "https://b")
    assert await store.settings.get("issuer") == "https://b"
