"""What needs attention, on every store: found in the counts and in the registry, ranked, with the command that mends it."""

import shlex
from dataclasses import replace
from typing import Any

import pytest
from tests.admin import NOW, OWNER, asking

from affiant.server.admin import reads
from affiant.server.admin.roles import Principal, Role
from affiant.storage.history.counts import AGE, API, DAY, HOUR, ISSUED, OBSERVED, REFUSED, Count, begin
from affiant.storage.ports import Store
from affiant.storage.records import Client, ClientKey, KeyUse, StoredSecret, Trust

_HOUR, _DAY, _DAYS = begin(HOUR, NOW), begin(DAY, NOW), 86_400


def _client(name: str, **more: Any) -> Client:
    return Client(name, **{"token_endpoint_auth_method": "private_key_jwt", "created_at": NOW - 9 * _DAYS, **more})


def _key(end: int | None) -> ClientKey:
    return ClientKey("k", "{}", NOW - 9 * _DAYS, expires_at=end, proved_at=NOW)


def _secret(end: int | None) -> StoredSecret:
    return StoredSecret(b"x", None, NOW, end, "id")


def _count(kind: str, number: int, client_id: str, label: str = "", unit: str = HOUR, at: int = _HOUR) -> Count:
    return Count(unit, at if unit == HOUR else _DAY, client_id, kind, label, number)


async def _attention(store: Store, who: Principal = OWNER, **more: Any) -> dict[str, Any]:
    async with asking(store, who, **more) as http:
        found: dict[str, Any] = (await http.get("/attention")).json()
    return found


async def _items(store: Store, who: Principal = OWNER) -> list[tuple[str, str]]:
    return [(item["kind"], item["subject"]) for item in (await _attention(store, who))["items"]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every caller wait until all is read, on a slow machine too."""
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 60.0)


async def test_nothing_needs_attention_at_first(store: Store) -> None:
    assert await _attention(store) == {"items": [], "more": {}, "scanned_at": NOW}


async def test_keys_and_secrets_that_end(store: Store) -> None:
    """The last one of a client, within 30 days; a key that another follows ends as planned."""
    soon, late = NOW + 3 * _DAYS, NOW + 31 * _DAYS
    for name, keys in (("a", (soon,)), ("b", (late,)), ("c", (soon, None)), ("d", (soon, late)), ("e", (NOW - 1,))):
        await store.clients.add(_client(name, keys=tuple(map(_key, keys))))
    secret = _client(
        "s", token_endpoint_auth_method="client_secret_basic", secrets=(_secret(soon - 1), _secret(NOW - 9))
    )
    await store.clients.add(secret)
    await store.clients.add(_client("off", keys=(_key(soon),), enabled=False))
    found = [item for item in (await _attention(store))["items"] if item["kind"] == "key_ends"]
    assert [(item["subject"], item["fix"]) for item in found] == [
        ("s", "affiant client secret new s"),
        ("a", "affiant client key add a --public-key FILE"),
    ]
    assert found[1]["sentence"] == "has a key that ends in 3 days, and no other: from then on it is refused"
    assert found[1]["figures"] == {"ends_at": soon, "days": 3}


async def test_shared_secrets_where_a_key_is_possible(store: Store) -> None:
    for name, method in (("basic", "client_secret_basic"), ("mac", "client_secret_jwt"), ("key", "private_key_jwt")):
        await store.clients.add(_client(name, token_endpoint_auth_method=method))
    await store.clients.add(_client("guide", token_endpoint_auth_method="client_secret_jwt", profile="guide"))
    assert await _items(store) == [("shared_secret", "basic"), ("shared_secret", "mac")]


async def test_unused_clients(store: Store) -> None:
    for name, days in (("never", 91), ("old", 400), ("used", 400), ("new", 89)):
        await store.clients.add(_client(name, created_at=NOW - days * _DAYS))
    await store.key_uses.add(
        [KeyUse("old", "t", 1, NOW - 200 * _DAYS, NOW - 200 * _DAYS), KeyUse("used", "t", 1, NOW, NOW)]
    )
    found = (await _attention(store))["items"]
    assert [(item["subject"], item["sentence"]) for item in found] == [
        ("old", "was not used for 200 days"),
        ("never", "was never used, in 91 days"),
    ]


async def test_clients_that_are_refused_often(store: Store) -> None:
    """More than 5 % of at least 20 calls, in 24 hours; the highest share first."""
    for name, refused, issued in (("few", 10, 5), ("a", 5, 95), ("b", 6, 94), ("c", 20, 0)):
        await store.clients.add(_client(name))
        await store.counts.add([_count(REFUSED, refused, name, "assertion.expired", unit) for unit in (HOUR, DAY)])
        await store.counts.add([_count(ISSUED, issued, name)])
    await store.counts.add([_count(REFUSED, 99, "a", "assertion.expired", at=_HOUR - 24 * 3600)])
    items = [item for item in (await _attention(store))["items"] if item["kind"] == "refused_often"]
    assert [item["subject"] for item in items] == ["c", "b"]
    assert items[1]["sentence"] == "was refused 6 of 100 times in 24 hours, 6 times for assertion.expired"
    assert items[1]["figures"] == {"refused": 6, "calls": 100, "reason": "assertion.expired"}


async def test_clocks_that_are_wrong(store: Store) -> None:
    for name in ("ahead", "behind", "fine"):
        await store.clients.add(_client(name))
        await store.counts.add([_count(ISSUED, 20, name, unit=DAY)])
    ages = (("ahead", "-30", 8), ("ahead", "60", 1), ("behind", "300", 20), ("fine", "60", 3))
    await store.counts.add([_count(AGE, number, name, label, unit=DAY) for name, label, number in ages])
    items = (await _attention(store))["items"]
    assert [(item["subject"], item["sentence"]) for item in items] == [
        ("behind", "signed 20 of 20 assertions long ago: its clock is behind, or it signs long before it asks"),
        ("ahead", "signed 8 of 20 assertions in the future: its clock is ahead"),
    ]


async def test_clients_that_ask_on_every_call(store: Store) -> None:
    """Compared with what caching needs: six tokens of ten minutes in an hour, for each API."""
    for name, tokens, apis in (("one", 61, 1), ("two", 100, 2), ("busy", 59, 1), ("often", 3412, 1)):
        await store.clients.add(_client(name))
        await store.counts.add([_count(ISSUED, tokens, name)])
        await store.counts.add([_count(API, 1, name, f"https://{number}.example", unit=DAY) for number in range(apis)])
    items = (await _attention(store))["items"]
    assert [item["subject"] for item in items] == ["often", "one"]
    assert items[0]["sentence"].startswith("asked for 3,412 tokens in an hour; one each 10 minutes would do: keep the")
    assert items[0]["figures"] == {"tokens": 3412, "needed": 6, "seconds": 600}


async def test_clients_that_a_stricter_rule_would_stop(store: Store) -> None:
    await store.clients.add(_client("old", observe=("audience",)))
    await store.counts.add([_count(OBSERVED, 7, "old", "assertion.audience", unit=DAY)])
    (item,) = (await _attention(store))["items"]
    assert (item["kind"], item["fix"]) == ("would_break", "affiant client check old")
    assert item["sentence"] == "got through 7 times in 7 days where a stricter rule refuses: assertion.audience"


async def test_uploaded_keys_that_are_old(store: Store) -> None:
    trust = Trust("cluster", "https://k8s.example", jwks="{}", jwks_at=NOW - 91 * _DAYS)
    await store.trusts.add(trust)
    await store.trusts.add(replace(trust, name="new", jwks_at=NOW))
    await store.trusts.add(replace(trust, name="fetched", jwks=None))
    assert await _items(store) == [("trust_keys_old", "cluster")]


async def test_ten_of_each_kind_are_listed_and_the_others_counted(store: Store) -> None:
    for number in range(25):
        await store.clients.add(_client(f"c{number:02}", token_endpoint_auth_method="client_secret_basic"))
    found = await _attention(store)
    assert [item["subject"] for item in found["items"]] == [f"c{number:02}" for number in range(10)]
    assert found["more"] == {"shared_secret": 15}


async def test_a_limited_caller_sees_what_his_teams_own(store: Store) -> None:
    for name, team in (("ours", "billing"), ("theirs", "shop"), ("free", None)):
        await store.clients.add(_client(name, token_endpoint_auth_method="client_secret_basic", team=team))
        await store.counts.add([_count(REFUSED, 20, name, "client.secret", unit) for unit in (HOUR, DAY)])
    limited = Principal("user:ann", Role.VIEWER, is_user=True, teams=frozenset({"billing"}))
    assert await _items(store, limited) == [("refused_often", "ours"), ("shared_secret", "ours")]
    assert len(await _items(store)) == 6


async def test_removed_and_disabled_clients_need_none(store: Store) -> None:
    await store.clients.add(_client("off", enabled=False))
    await store.counts.add([_count(REFUSED, 20, "off", "client.disabled", unit) for unit in (HOUR, DAY)])
    assert await _items(store) == []


async def test_a_change_shows_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients are read again when the store has changed, as often as that takes no more than a part of the time."""
    monkeypatch.setattr(reads, "REST", 0.0)
    await store.clients.add(_client("a", token_endpoint_auth_method="client_secret_basic"))
    async with asking(store) as http:
        assert len((await http.get("/attention")).json()["items"]) == 1
        await store.clients.update("a", lambda client: replace(client, enabled=False))
        assert (await http.get("/attention")).json()["items"] == []


@pytest.mark.attack
async def test_a_name_is_one_word_of_the_command(store: Store) -> None:
    """Attack: a client_id may have characters that a shell obeys, and an operator copies the command."""
    await store.clients.add(_client("a&b!c", token_endpoint_auth_method="client_secret_basic"))
    (item,) = (await _attention(store))["items"]
    assert shlex.split(item["fix"])[3] == "a&b!c"


async def test_clients_beyond_their_budget(store: Store) -> None:
    """Observed or enforced, in this hour or the last one; observed breaches of it are in no other finding."""
    for name, budget in (("seen", 600), ("held", 10), ("late", 5), ("within", 3000), ("free", None)):
        await store.clients.add(_client(name, token_budget=budget))
        await store.key_uses.add([KeyUse(name, "t", 1, NOW, NOW)])
    await store.clients.add(_client("off", token_budget=1, enabled=False))
    refused = _count(REFUSED, 2, "held", "limit.budget")
    issued = [_count(ISSUED, number, name) for name, number in (("seen", 812), ("held", 10), ("off", 9))]
    late = _count(ISSUED, 7, "late", at=_HOUR - 3600)
    others = [_count(ISSUED, 812, name) for name in ("within", "free")]
    observed = _count(OBSERVED, 212, "seen", "limit.budget", DAY)
    await store.counts.add([refused, *issued, late, *others, _count(REFUSED, 99, "late", "key.unknown"), observed])
    found = [item for item in (await _attention(store))["items"] if item["kind"] not in ("no_cache", "refused_often")]
    assert {(item["kind"], item["subject"], item["sentence"]) for item in found} == {
        ("over_budget", "seen", "asked for 812 tokens in this hour, its budget is 600"),
        ("over_budget", "held", "asked for 12 tokens in this hour, its budget is 10: 2 were refused"),
        ("over_budget", "late", "asked for 7 tokens in the last hour, its budget is 5"),
    }
    assert found[0]["figures"].keys() == {"asked", "budget", "refused"}
    async with asking(store) as http:
        shown = (await http.get("/clients/seen")).json()
    assert (shown["over_budget"], shown["token_budget"], shown["budget"]) == (_sentence("seen", found), 600, "observe")


def _sentence(subject: str, items: list[dict[str, Any]]) -> str:
    (sentence,) = [item["sentence"] for item in items if item["subject"] == subject]
    return str(sentence)
