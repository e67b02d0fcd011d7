"""Revoked tokens: the rule, and the feed."""

from typing import Any

import pytest

from affiant.errors import Rejected
from affiant.jose import compact, keys
from affiant.oauth import access_token, names, revocations
from affiant.oauth.revocations import LIFETIME, SEEN_SECONDS, Feed, build, named, of_key, of_task, verify

ISSUER, NOW = "https://as.example", 1_800_000_000
KEY = keys.generate("ES256")
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": ["https://a", "https://b"],
    "sub": "c",
    "client_id": "c",
    "client_key": "k",
    "jti": "f.1",
    "iat": NOW,
    "exp": NOW + 60,
}


def _believed(text: str, *, now: float = NOW, issuer: str = ISSUER) -> Feed:
    return verify(compact.verify(compact.parse(text), KEY.public()), issuer=issuer, now=now)


async def _feed(*revoked: tuple[str, str, int]) -> Feed:
    return _believed(await build(revoked, issuer=ISSUER, now=NOW, signer=KEY))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("jti", "f.1"),
        ("family", "f"),
        ("client", "c"),
        ("key", "k"),
        ("key", of_key("c", "k")),
        ("api", "https://a"),
        ("api", "https://b"),
        ("all", ""),
    ],
)
async def test_named_tokens_are_revoked(kind: str, value: str) -> None:
    """And a token of another name of that kind does not; nor is a value of one kind one of another."""
    assert (await _feed((kind, value, NOW))).revokes(CLAIMS)
    assert not (await _feed((kind, f"{value}x", NOW))).revokes(CLAIMS)
    others = {"jti", "family", "client", "key", "api"} - {kind}
    assert not any([(await _feed((other, value, NOW))).revokes(CLAIMS) for other in others])


@pytest.mark.parametrize("kind", ["client", "api", "all"])
async def test_tokens_issued_later_are_not_revoked(kind: str) -> None:
    """Once every node has heard of it."""
    value = {"client": "c", "api": "https://a", "all": ""}[kind]
    feed = await _feed((kind, value, NOW))
    assert [feed.revokes({**CLAIMS, "iat": NOW + n}) for n in (-60, 0, SEEN_SECONDS, SEEN_SECONDS + 1)] == [
        True
    ] * 3 + [False]
    assert feed.revokes({**CLAIMS, "iat": "x"})


@pytest.mark.parametrize("kind", ["jti", "family", "key"])
async def test_token_family_and_key_are_revoked_for_good(kind: str) -> None:
    """The clock of the node that issued the token does not matter."""
    value = {"jti": "f.1", "family": "f", "key": "k"}[kind]
    assert (await _feed((kind, value, NOW))).revokes({**CLAIMS, "iat": NOW + 3600})


async def test_another_clients_key_is_another_name() -> None:
    """A client that registers and revokes the public key of another ends no token of that client."""
    assert not (await _feed(("key", of_key("evil", "k") or "", NOW))).revokes(CLAIMS)


def test_token_with_few_claims_has_few_names() -> None:
    assert list(named({"jti": "1", "aud": 5})) == [("all", ""), ("jti", "1")]
    assert list(named({"jti": "x" * 300, "aud": [1, "a"]})) == [("all", ""), ("api", "a")]


PARENT = {"jti": "g.1", "client_id": "p", "client_key": "q", "aud": "https://b", "iat": NOW - 60, "rule": "ci/deploy"}
CHILD = {**CLAIMS, "jti": "child", "aud": "https://c", "iat": NOW, "parents": [PARENT | {"task": "t"}]}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("jti", "g.1"),
        ("family", "g"),
        ("client", "p"),
        ("key", "q"),
        ("key", of_key("p", "q")),
        ("api", "https://b"),
        ("rule", "ci/deploy"),
        ("trust", "ci"),
        ("task", of_task("p", "t")),
        ("all", ""),
    ],
)
async def test_what_ends_a_token_ends_what_it_was_exchanged_for(kind: str, value: str) -> None:
    """However late that was issued: between the two, its parent was ended, and lives on nowhere."""
    feed = await _feed((kind, value, NOW - 30))
    assert feed.revokes(CHILD)
    assert not feed.revokes({**CHILD, "parents": []})
    grandchild = {**CLAIMS, "jti": "last", "parents": list(revocations.lineage(CHILD))}
    assert feed.revokes(grandchild)


async def test_a_parent_that_was_issued_later_lives() -> None:
    feed = await _feed(("client", "p", NOW - 120), ("rule", "ci/deploy", NOW - 120), ("all", "", NOW - 120))
    assert not feed.revokes(CHILD)


async def test_an_ancestor_without_iat_counts_from_its_child() -> None:
    """So the clients of a blueprint stand in their tokens, and the rule of a platform's token."""
    child = {**CLAIMS, "parents": [{"client_id": "blueprint"}, 5, {"rule": "ci/x"}, {"client_id": "b", "iat": "x"}]}
    assert not (await _feed(("client", "blueprint", NOW - 30), ("trust", "ci", NOW - 30))).revokes(child)
    assert (await _feed(("client", "blueprint", NOW))).revokes(child)
    assert (await _feed(("trust", "ci", NOW))).revokes(child)
    assert (await _feed(("client", "b", 1))).revokes(child)


async def test_strangers_read_no_names() -> None:
    text = await build([("client", "billing", NOW), ("jti", "secret-jti", NOW)], issuer=ISSUER, now=NOW, signer=KEY)
    shown = str(compact.parse(text).claims)
    assert "billing" not in shown
    assert "secret-jti" not in shown


async def test_one_state_has_the_same_claims() -> None:
    rows = [("jti", "a", NOW), ("jti", "b", NOW), ("client", "c", NOW), ("api", "d", NOW)]
    ways = [await build(given, issuer=ISSUER, now=NOW, signer=KEY) for given in (rows, rows[::-1])]
    assert compact.parse(ways[0]).claims == compact.parse(ways[1]).claims


async def test_ten_thousand_weigh_a_third_of_a_megabyte() -> None:
    text = await build([("jti", str(n), NOW) for n in range(10_000)], issuer=ISSUER, now=NOW, signer=KEY)
    assert 300_000 < len(text) < 350_000


@pytest.mark.parametrize(
    ("changes", "typ"),
    [
        ({"iss": "https://evil.example"}, names.REVOCATIONS_TYP),
        ({"exp": NOW - 30}, names.REVOCATIONS_TYP),
        ({"exp": None}, names.REVOCATIONS_TYP),
        ({"exp": True}, names.REVOCATIONS_TYP),
        ({"iat": NOW + 31}, names.REVOCATIONS_TYP),
        ({"revoked": None}, names.REVOCATIONS_TYP),
        ({"revoked": ["x"]}, names.REVOCATIONS_TYP),
        ({"revoked": [["x"]]}, names.REVOCATIONS_TYP),
        ({"revoked_before": []}, names.REVOCATIONS_TYP),
        ({"revoked_before": {"A" * 22: "1"}}, names.REVOCATIONS_TYP),
        ({"revoked_before": {"A" * 22: True}}, names.REVOCATIONS_TYP),
        ({"revoked_before": {"x": 1}}, names.REVOCATIONS_TYP),
        ({}, "at+jwt"),
        ({}, None),
    ],
)
async def test_what_is_not_believed(changes: dict[str, Any], typ: str | None) -> None:
    good = {"iss": ISSUER, "iat": NOW, "exp": NOW + LIFETIME, "revoked": [], "revoked_before": {}}
    assert _believed(compact.sign({"typ": names.REVOCATIONS_TYP}, good, KEY)) == Feed(NOW, NOW + LIFETIME)
    text = compact.sign({"typ": typ} if typ else {}, {**good, **changes}, KEY)
    with pytest.raises(ValueError):  # noqa: PT011 - which one is for people
        _believed(text)


async def test_the_feed_is_no_access_token() -> None:
    """And no token is a feed: one key signs both."""
    text = await build([], issuer=ISSUER, now=NOW, signer=KEY)
    with pytest.raises(Rejected):
        access_token.verify(compact.verify(compact.parse(text), KEY.public()), access_token.Expected(ISSUER, "a", NOW))
    assert revocations.DIGEST_BYTES == 16


def test_token_of_another_server_is_named_by_digests() -> None:
    """Each name of the other server's token has the instant that it has there; the token itself has its own names."""
    parent = revocations.foreign_parent(CLAIMS, "https://first.example")
    assert "f.1" not in str(parent)
    child = {**CLAIMS, "jti": "child", "iat": NOW + 50, "parents": [parent]}
    own = named({**child, "parents": []})
    foreign = {name: since for name, since in named(child).items() if name not in own}
    assert len(foreign) == len(named(CLAIMS)) == len(parent["names"])
    assert {kind for kind, _ in foreign} == {revocations.FOREIGN}
    assert set(foreign.values()) == {0.0, NOW - SEEN_SECONDS}


def test_feed_of_another_server_ends_what_was_issued_for_its_tokens() -> None:
    child = {**CLAIMS, "jti": "child", "iat": NOW + 50, "parents": [revocations.foreign_parent(CLAIMS, "https://f")]}
    theirs = Feed(NOW, NOW, whole=frozenset({revocations.digest("jti", "f.1")}))
    ((value, at),) = revocations.foreign_entries(theirs, "https://f")
    assert at is None
    assert Feed(NOW, NOW, before={revocations.digest(revocations.FOREIGN, value): NOW}).revokes(child)
    ((other, _),) = revocations.foreign_entries(theirs, "https://g")
    assert not Feed(NOW, NOW, before={revocations.digest(revocations.FOREIGN, other): NOW}).revokes(child)


@pytest.mark.parametrize(
    "parent",
    [
        {"names": None},
        {"names": 5, "iss": "https://f"},
        {"names": ["a"], "iss": "https://f"},
        {"names": {"a": "1"}, "iss": "https://f"},
        {"names": {"a": -1}, "iss": "https://f"},
        {"names": {"a": True}, "iss": "https://f"},
        {"names": {"a": 10**400}, "iss": "https://f"},
        {"names": {"a": 1.5}, "iss": 5},
    ],
)
def test_parents_of_another_form(parent: dict[str, Any]) -> None:
    """Attack: a guard of several issuers reads a token in which another one writes what it likes."""
    assert named({**CLAIMS, "parents": [parent]}) == named(CLAIMS)


def test_token_with_too_many_names() -> None:
    with pytest.raises(ValueError, match="at most 64 names"):
        revocations.foreign_parent({**CLAIMS, "aud": [f"https://{number}" for number in range(70)]}, "https://f")
