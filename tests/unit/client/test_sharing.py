"""Tokens in a store: who may use a kept one, and when another one is requested."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affiant.client import FileTokenStore
from affiant.client.cache.sharing import Sharing
from affiant.client.cache.stores import kept
from affiant.client.cache.stores.kept import digest
from affiant.client.token import Token, TokenKey
from affiant.errors import RemoteError

NAMES = ("https://as.example", "billing", "https://orders.example", "orders.read")
NOW = 1_800_000_000.0
KEY = TokenKey(None, None)


def _fetch(value: str, lifetime: float = 600) -> Callable[[], Token]:
    return lambda: Token(value, NOW + lifetime, "orders.read", refresh_token="refresh-canary", leeway=30)


def _never() -> Token:
    raise AssertionError("asked")


def _fail(error: Exception) -> None:
    raise AssertionError("the store failed") from error


def _sharing(
    store: FileTokenStore, now: float = NOW, min_ttl: float = 0.0, is_revoked: Callable[[Token], bool] | None = None
) -> Sharing:
    return Sharing(store, lambda _: NAMES, lambda: now, complain=_fail, min_ttl=min_ttl, is_revoked=is_revoked)


def _token(
    store: FileTokenStore,
    fetch: Callable[[], Token],
    *,
    now: float,
    min_ttl: float = 0.0,
    is_revoked: Callable[[Token], bool] | None = None,
) -> Token:
    return _sharing(store, now, min_ttl, is_revoked).obtain(KEY, fetch)


@pytest.fixture
def store(tmp_path: Path) -> FileTokenStore:
    """A store in a folder that does not exist yet."""
    return FileTokenStore(tmp_path / "tokens")


def test_token_is_kept_until_it_ends(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    kept = _token(store, _never, now=NOW + 569)
    assert (kept.value, kept.expires_at, kept.scope) == ("a", NOW + 600, "orders.read")
    assert _token(store, _fetch("b", 1200), now=NOW + 570).value == "b"


@pytest.mark.attack(279)
def test_files_are_for_their_owner_only(store: FileTokenStore) -> None:
    before = os.umask(0)
    try:
        _token(store, _fetch("a"), now=NOW)
    finally:
        os.umask(before)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    assert {path.suffix for path in store.folder.iterdir()} == {"", ".lock"}


def test_refresh_token_is_not_kept(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    assert not any("refresh-canary" in path.read_text() for path in store.folder.iterdir())


@pytest.mark.attack(279)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00",
        "[" * 50_000,
        '{"value": 1, "expires_at": 2e9, "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "x", "expires_at": 1e999, "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "x", "expires_at": 1' + "0" * 400 + ', "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "x\\r\\nevil: 1", "expires_at": 1800000600, "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "x y", "expires_at": 1800000600, "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "", "expires_at": 1800000600, "scope": null, "token_type": "x", "leeway": 0}',
        '{"value": "x", "expires_at": 1800000600, "scope": [], "token_type": "x", "leeway": 0}',
        '{"value": "x", "expires_at": 1800000600, "scope": null, "token_type": "x", "leeway": {}}',
    ],
)
def test_broken_file_is_ignored(store: FileTokenStore, text: str) -> None:
    _token(store, _fetch("a"), now=NOW)
    (store.folder / digest(NAMES)).write_text(text)
    assert _token(store, _fetch("b"), now=NOW).value == "b"
    assert _token(store, _never, now=NOW).value == "b"


@pytest.mark.parametrize("expires_at", ["Infinity", "NaN", "1e18"])
def test_file_that_never_ends_is_ignored(store: FileTokenStore, expires_at: str) -> None:
    _token(store, _fetch("a"), now=NOW)
    path = store.folder / digest(NAMES)
    path.write_text(path.read_text().replace(str(NOW + 600), expires_at))
    assert _token(store, _fetch("b"), now=NOW).value == "b"


def test_file_of_another_mode_is_ignored(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    (store.folder / digest(NAMES)).chmod(0o644)
    assert _token(store, _fetch("b"), now=NOW).value == "b"


@pytest.mark.attack(279)
def test_link_is_not_followed(store: FileTokenStore, tmp_path: Path) -> None:
    _token(store, _fetch("a"), now=NOW)
    path, elsewhere = store.folder / digest(NAMES), tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert _token(store, _fetch("b"), now=NOW).value == "b"
    assert '"a"' in elsewhere.read_text()
    assert not path.is_symlink()


def test_failure_is_not_kept_and_leaves_no_lock(store: FileTokenStore) -> None:
    with pytest.raises(AssertionError):
        _token(store, _never, now=NOW)
    assert _token(store, _fetch("a"), now=NOW).value == "a"


def test_forgotten_token_is_fetched_again(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    _sharing(store).forget(KEY, "a")
    _sharing(store).forget(KEY, "a")
    assert _token(store, _fetch("b"), now=NOW).value == "b"


def test_token_fetched_by_another_process_is_not_forgotten(store: FileTokenStore) -> None:
    _token(store, _fetch("b"), now=NOW)
    _sharing(store).forget(KEY, "a")
    assert _token(store, _never, now=NOW).value == "b"


def test_token_that_ends_too_soon_is_fetched_again(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    assert _token(store, _never, now=NOW, min_ttl=600).value == "a"
    assert _token(store, _fetch("b"), now=NOW + 1, min_ttl=600).value == "b"


def test_names_do_not_run_together() -> None:
    assert len({digest(names) for names in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc")]}) == 5


def test_a_kept_token_is_checked_once_a_minute(store: FileTokenStore) -> None:
    """Within the minute nothing is asked; a token that was revoked is replaced."""
    asked = list[str]()

    def is_revoked(token: Token) -> bool:
        asked.append(token.value)
        return len(asked) > 1

    _token(store, _fetch("a"), now=NOW, is_revoked=is_revoked)
    assert _token(store, _never, now=NOW + 59, is_revoked=is_revoked).value == "a"
    assert asked == []
    assert _token(store, _never, now=NOW + 60, is_revoked=is_revoked).value == "a"
    assert _token(store, _never, now=NOW + 119, is_revoked=is_revoked).value == "a"
    assert _token(store, _fetch("b"), now=NOW + 120, is_revoked=is_revoked).value == "b"
    assert asked == ["a", "a"]


def test_a_clock_that_was_set_back_checks_at_once(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    assert _token(store, _fetch("b"), now=NOW - 3600, is_revoked=lambda _: True).value == "b"


def test_a_revoked_token_is_gone_although_no_other_comes(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    with pytest.raises(AssertionError, match="asked"):
        _token(store, _never, now=NOW + 60, is_revoked=lambda _: True)
    assert not (store.folder / digest(NAMES)).exists()


def test_a_token_is_renewed_before_its_end_by_the_first_that_needs_it(store: FileTokenStore) -> None:
    first = replace(_fetch("a")(), renew_at=NOW + 450)
    assert _token(store, lambda: first, now=NOW).value == "a"
    assert _token(store, _never, now=NOW + 449).value == "a"
    second = replace(_fetch("b", 1200)(), renew_at=NOW + 900)
    assert _token(store, lambda: second, now=NOW + 450).value == "b"
    assert _token(store, _never, now=NOW + 450) == replace(second, refresh_token=None)


def test_a_renewal_that_fails_leaves_the_token_that_is_still_good(store: FileTokenStore) -> None:
    """The next one in memory is tried a little later, and past its end there is none."""

    def down() -> Token:
        raise RemoteError("down")

    _token(store, lambda: replace(_fetch("a")(), renew_at=NOW + 450), now=NOW)
    kept = _token(store, down, now=NOW + 450)
    assert (kept.value, kept.renew_at) == ("a", NOW + 455)
    assert _token(store, down, now=NOW + 562).renew_at == NOW + 562 + 5
    with pytest.raises(RemoteError):
        _token(store, down, now=NOW + 570)


def test_a_refused_token_is_gone_before_another_is_requested(store: FileTokenStore) -> None:
    _token(store, _fetch("a"), now=NOW)
    with pytest.raises(AssertionError, match="asked"):
        _sharing(store).obtain(KEY, _never, refused="a")
    assert store.get(digest(NAMES)) is None
    assert _sharing(store).obtain(KEY, _fetch("b"), refused="a").value == "b"
    assert _sharing(store).obtain(KEY, _never, refused="a").value == "b"


class _Failing:
    """A store that fails at one of its steps."""

    def __init__(self, store: FileTokenStore, step: str) -> None:
        self._store = store
        self._step = step

    def _do(self, step: str) -> None:
        if step == self._step:
            raise ConnectionError("canary")

    def get(self, name: str) -> bytes | None:
        self._do("get")
        return self._store.get(name)

    def put(self, name: str, value: bytes, ttl: float) -> None:
        self._do("put")
        self._store.put(name, value, ttl)

    def remove(self, name: str) -> None:
        self._do("remove")
        self._store.remove(name)

    @contextmanager
    def lock(self, name: str, seconds: float) -> Iterator[None]:
        self._do("lock")
        with self._store.lock(name, seconds):
            yield
        self._do("unlock")


@pytest.mark.parametrize("step", ["get", "put", "remove", "lock", "unlock"])
def test_a_store_that_fails_fails_no_caller(store: FileTokenStore, step: str) -> None:
    """A broken store: one request, its answer, and its error as it was."""
    complaints, requests = list[Exception](), list[str]()
    broken = Sharing(_Failing(store, step), lambda _: NAMES, lambda: NOW, complain=complaints.append)

    def fetch() -> Token:
        requests.append("x")
        return _fetch("b")()

    def refuse() -> Token:
        raise refusal from ValueError("cause")

    refusal = RemoteError("refused")
    store.put(digest(NAMES), b'{"value": "old", "expires_at": 1, "scope": null, "token_type": "", "leeway": 0}', 60)
    with pytest.raises(RemoteError) as caught:
        broken.obtain(KEY, refuse)
    assert (caught.value, str(caught.value.__cause__)) == (refusal, "cause")
    assert broken.obtain(KEY, fetch).value == "b"
    assert len(requests) == 1
    broken.forget(KEY, "b")
    assert {str(error) for error in complaints} == {"canary"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("value", "expires_at", "scope", "token_type", "leeway", "renew_at", "checked_at"), _JSON
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_content_is_a_token_or_nothing(members: dict[str, object]) -> None:
    """No exception, and no token that cannot be sent in a header."""
    found = kept.parse(json.dumps(members).encode())
    if found is not None:
        kept.serves(found, NOW, 60)
        assert found["value"].isprintable()
        assert found["value"].split() == [found["value"]]


@pytest.mark.parametrize(("behind", "value"), [(200, "first"), (5 * 3600, "second")])
def test_token_that_was_kept_by_a_clock_far_ahead_is_not_used(tmp_path: Path, behind: float, value: str) -> None:
    store = FileTokenStore(tmp_path)
    _token(store, _fetch("first"), now=NOW)
    assert _token(store, _fetch("second"), now=NOW - behind).value == value


def test_files_of_locks_do_not_grow_with_the_tokens(tmp_path: Path) -> None:
    """They are never removed: a program that puts an id into each scope would use up the inodes."""
    store = FileTokenStore(tmp_path)
    for number in range(64):
        name = f"abc{digest((str(number),))[3:]}"
        with store.lock(name, 1):
            store.put(name, b"x", -120)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
