"""What a client's keys may do, and how one follows another."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from affiant.errors import ConfigError, Error
from affiant.jose import keys as jose
from affiant.jose.keys import parse_public_jwk
from affiant.server.registry.credentials import actions
from affiant.server.registry.credentials import keys as client_keys
from affiant.server.registry.credentials.actions import Action
from affiant.server.registry.credentials.keys import MAX_KEYS, MAX_REVOKED, ClientKeys
from affiant.storage.records import Client, NotFound

if TYPE_CHECKING:
    from affiant.jose.keys import PublicKey
    from affiant.storage.records import ClientKey

NOW = 1_800_000_000
Keys = tuple["ClientKey", ...]


@cache
def _public(number: int) -> PublicKey:
    return jose.generate("Ed25519").public()


def _key(number: int, *, kid: str | None = None, **options: Any) -> ClientKey:
    made = _public(number)
    if kid is not None:
        made = parse_public_jwk({**made.to_jwk(), "kid": kid})
    return client_keys.build(made, now=NOW, **options)


def _announced(number: int, **options: Any) -> ClientKey:
    return _key(number, source="client", is_proved=False, **options)


def _thumbprint(number: int) -> str:
    return _public(number).thumbprint


def _kid(number: int) -> str:
    return _public(number).kid


def _states(keys: Keys, now: int = NOW) -> list[str]:
    return [client_keys.state(key, now) for key in keys]


def _take(keys: Keys, action: Action, now: int = NOW) -> Keys:
    return action.step(Client("c", "private_key_jwt", keys=keys), now).keys


@pytest.fixture
def two() -> Keys:
    """An active key, and the next one, proved."""
    keys = _take((_key(1),), actions.add_key(_announced(2)))
    return _take(keys, actions.prove_key(_thumbprint(2)))


def test_a_rotation_from_its_beginning_to_its_end() -> None:
    keys: Keys = (_key(1),)
    keys = _take(keys, actions.add_key(_announced(2)))
    assert _states(keys) == ["active", "announced"]
    assert [key.kid for key in ClientKeys(keys).usable(NOW)] == [_kid(1)]
    assert [key.kid for key in ClientKeys(keys).proving().usable(NOW)] == [_kid(1), _kid(2)]
    keys = _take(keys, actions.prove_key(_thumbprint(2)), NOW + 1)
    assert _states(keys, NOW + 1) == ["active", "active"]
    keys = _take(keys, actions.retire_key(_kid(1), overlap=60, signer=_thumbprint(2)), NOW + 2)
    assert _states(keys, NOW + 2) == ["retiring", "active"]
    assert _states(keys, NOW + 61) == ["retiring", "active"]
    assert _states(keys, NOW + 62) == ["revoked", "active"]
    assert [key.kid for key in ClientKeys(keys).usable(NOW + 62)] == [_kid(2)]


def test_a_key_for_later_waits_after_its_proof() -> None:
    keys = _take((_key(1),), actions.add_key(_announced(2, not_before=NOW + 100, expires_at=NOW + 200)))
    keys = _take(keys, actions.prove_key(_thumbprint(2)))
    assert [_states(keys, NOW + at)[1] for at in (0, 99, 100, 199, 200)] == [
        "announced",
        "announced",
        "active",
        "active",
        "revoked",
    ]


def test_what_was_done_already_changes_nothing(two: Keys) -> None:
    announced = _take((_key(1),), actions.add_key(_announced(2)))
    assert _take(announced, actions.add_key(replace(_announced(2), created_at=NOW + 9)), NOW + 9) == announced
    assert _take(two, actions.prove_key(_thumbprint(2)), NOW + 9) == two
    retired = _take(two, actions.retire_key(_kid(1), signer=_thumbprint(2)))
    assert _take(retired, actions.retire_key(_kid(1), signer=_thumbprint(2)), NOW + 9) == retired
    cancelled = _take(announced, actions.cancel_key(_kid(2)))
    assert _take(cancelled, actions.cancel_key(_kid(2)), NOW + 9) == cancelled
    assert client_keys.put_vouched(two, [_public(1), _public(2)], now=NOW + 9) == two


def test_the_same_key_under_another_name_or_time_is_not_the_same_request() -> None:
    announced = _take((_key(1),), actions.add_key(_announced(2)))
    for other in (_announced(2, kid="other"), _announced(2, not_before=NOW + 5), _announced(1, kid="other")):
        with pytest.raises(ConfigError, match="there already"):
            _take(announced, actions.add_key(other))


@pytest.mark.parametrize("end", ["retire", "revoke", "cancel", "put"])
def test_an_ended_key_never_comes_back(two: Keys, end: str) -> None:
    if end == "cancel":
        three = _take(two, actions.add_key(_announced(1 + 2)))
        keys, gone = _take(three, actions.cancel_key(_kid(3))), 3
    elif end == "put":
        keys, gone = client_keys.put_vouched(two, [_public(2)], now=NOW), 1
    else:
        action = {"retire": actions.retire_key, "revoke": actions.revoke_key}[end]
        keys, gone = _take(two, action(_kid(1), signer=_thumbprint(2))), 1
    for again in (_announced(gone), _announced(gone, kid="renamed")):
        with pytest.raises(ConfigError, match="never comes back"):
            _take(keys, actions.add_key(again))
    with pytest.raises(ConfigError, match="never comes back"):
        client_keys.put_vouched(keys, [_public(gone), _public(2)], now=NOW)
    with pytest.raises(NotFound):
        _take(keys, actions.prove_key(_thumbprint(gone)))


def test_nobody_shuts_itself_out(two: Keys) -> None:
    for action in (actions.retire_key, actions.revoke_key):
        with pytest.raises(ConfigError, match="cannot end itself"):
            _take(two, action(_kid(1), signer=_thumbprint(1)))
        with pytest.raises(ConfigError, match="last"):
            _take((_key(1),), action(_kid(1), signer=_thumbprint(2)))
        with pytest.raises(NotFound):
            _take(two, action("unknown", signer=_thumbprint(2)))
    retiring = _take(two, actions.retire_key(_kid(1), overlap=60))
    with pytest.raises(ConfigError, match="last"):  # one that is on its way out is no successor
        _take(retiring, actions.retire_key(_kid(2), signer=_thumbprint(1)))
    with pytest.raises(ConfigError, match="could be used"):
        client_keys.put_vouched(two, [], now=NOW)


def test_an_operator_may_shut_a_client_out() -> None:
    assert _states(_take((_key(1),), actions.revoke_key(_kid(1)))) == ["revoked"]


def test_each_state_has_its_own_end(two: Keys) -> None:
    announced = _take(two, actions.add_key(_announced(3)))
    with pytest.raises(ConfigError, match="cancel it"):
        _take(announced, actions.retire_key(_kid(3)))
    with pytest.raises(ConfigError, match="retire it"):
        _take(announced, actions.cancel_key(_kid(2), signer=_thumbprint(1)))
    for overlap in (-1, actions.LONGEST_OVERLAP + 1):
        with pytest.raises(ConfigError, match="overlap"):
            _take(announced, actions.retire_key(_kid(1), overlap=overlap))


def test_an_operator_takes_the_new_key_back_until_the_old_one_has_ended(two: Keys) -> None:
    retiring = _take(two, actions.retire_key(_kid(1), overlap=60))
    resumed = _take(retiring, actions.cancel_key(_kid(2)), NOW + 59)
    assert (resumed[0], _states(resumed, NOW + 59)) == (two[0], ["active", "revoked"])
    with pytest.raises(ConfigError, match="last"):
        _take(retiring, actions.cancel_key(_kid(2)), NOW + 60)


def test_a_hosted_set_is_exactly_what_was_put(two: Keys) -> None:
    keys = client_keys.put_vouched(
        _take(two, actions.add_key(_announced(3))), [_public(2), _public(3), _public(4)], now=NOW
    )
    assert _states(keys) == ["revoked", "active", "active", "active"]
    assert [key.source for key in keys] == ["operator", "client", "client", "client"]
    retiring = _take(two, actions.retire_key(_kid(1), overlap=60))
    assert _states(client_keys.put_vouched(retiring, [_public(1), _public(2)], now=NOW)) == ["active", "active"]
    with pytest.raises(ConfigError, match="under the name"):
        client_keys.put_vouched(two, [_public(1), parse_public_jwk({**_public(2).to_jwk(), "kid": "b"})], now=NOW)


def test_a_single_key_has_a_kid_of_its_own() -> None:
    with pytest.raises(ConfigError, match="a kid of its own"):
        _take((_key(1, kid="a"),), actions.add_key(_announced(2, kid="a")))
    ended = (_key(1, kid="a", expires_at=NOW), _key(3))
    assert _states(_take(ended, actions.add_key(_announced(2, kid="a")))) == ["revoked", "active", "announced"]


def test_a_kid_that_names_several_keys_is_not_guessed() -> None:
    """The leaked one must be the one that is revoked, whether it ended before or not."""
    keys = (_key(1, kid="a", expires_at=NOW), _key(2, kid="a"), _key(3))
    for action in (actions.retire_key, actions.cancel_key, actions.revoke_key):
        with pytest.raises(
            ConfigError, match=f"2 keys have the kid a.*{_thumbprint(2)} .active., {_thumbprint(1)} .rev"
        ):
            _take(keys, action("a"))
    assert client_keys.get(keys, _thumbprint(1), NOW) == keys[0]
    assert client_keys.get((keys[0], keys[2]), "a", NOW) == keys[0]
    assert _states(_take(keys, actions.revoke_key(_thumbprint(2)))) == ["revoked", "revoked", "active"]


def test_a_thumbprint_is_never_taken_for_a_kid() -> None:
    """A key that is named like another's thumbprint does not shield that one from its revocation."""
    keys = (_key(1), _key(2, kid=_thumbprint(1)), _key(3))
    assert _states(_take(keys, actions.revoke_key(_thumbprint(1)))) == ["revoked", "active", "active"]
    assert _states(_take(keys, actions.revoke_key(_thumbprint(2)))) == ["active", "revoked", "active"]


def test_few_of_many_keys_of_one_kid_are_listed() -> None:
    keys = tuple(_key(number, kid="a", expires_at=NOW) for number in range(9))
    with pytest.raises(ConfigError, match=r"9 keys have the kid a.* and 5 more") as refused:
        client_keys.get(keys, "a", NOW)
    assert _thumbprint(8) in str(refused.value)
    assert _thumbprint(0) not in str(refused.value)


def _named(number: int, kid: str, alg: str | None = "Ed25519") -> PublicKey:
    bare = {name: value for name, value in _public(number).to_jwk().items() if name != "alg"}
    return parse_public_jwk({**bare, "kid": kid, **({"alg": alg} if alg else {})})


@pytest.mark.rfc(7517, "4.5")
def test_a_key_with_two_names_is_one_key() -> None:
    """Directories publish one key for RS256 and for PS256. What happens to it happens under both names."""
    keys = client_keys.put_vouched((_key(9),), [_named(1, "a"), _named(1, "b"), _named(2, "c")], now=NOW)
    assert [(key.kid, client_keys.state(key, NOW)) for key in keys[1:]] == [(kid, "active") for kid in "abc"]
    assert client_keys.put_vouched(keys, [_named(1, "a"), _named(1, "b"), _named(2, "c")], now=NOW + 9) == keys
    assert _states(_take(keys, actions.retire_key("b")), NOW)[1:] == ["revoked", "revoked", "active"]
    assert _states(_take(keys, actions.revoke_key(_thumbprint(1))), NOW)[1:] == ["revoked", "revoked", "active"]
    only = _take(keys, actions.retire_key("c"))
    with pytest.raises(ConfigError, match="last"):  # its other name is no successor
        _take(only, actions.retire_key("a"))
    with pytest.raises(ConfigError, match="cannot end itself"):
        _take(keys, actions.retire_key("b", signer=_thumbprint(1)))


@pytest.mark.rfc(7517, "4.5")
def test_the_names_of_a_key_are_those_of_the_set() -> None:
    one = client_keys.put((), [_named(1, "a")], now=NOW)
    two = client_keys.put(one, [_named(1, "a"), _named(1, "b")], now=NOW + 9)
    assert two[0] == one[0]
    assert replace(two[1], kid="a", jwk=two[0].jwk) == two[0], "a further name may do what the key may"
    assert client_keys.put(two, [_named(1, "a")], now=NOW + 9) == one
    assert client_keys.put(one, [_named(1, "z")], now=NOW) == one, "a key with one name keeps it"
    assert client_keys.put(one, [_named(1, "a", None)], now=NOW) == one, "and its alg"
    with pytest.raises(ConfigError, match="under the name b"):
        client_keys.put_vouched(two, [_named(1, "a")], now=NOW)
    by_alg = client_keys.put((), [_named(1, "a"), _named(1, "a", "EdDSA")], now=NOW)
    assert [client_keys.parse(key.jwk).alg for key in by_alg] == ["Ed25519", "EdDSA"]
    assert client_keys.put(by_alg, [_named(1, "a"), _named(1, "a", "EdDSA")], now=NOW + 9) == by_alg


def test_a_set_may_have_two_keys_of_one_kid() -> None:
    keys = client_keys.put((), [_named(1, "a"), _named(2, "a")], now=NOW)
    assert [key.kid for key in ClientKeys(keys).usable(NOW)] == ["a", "a"]
    assert client_keys.put(keys, [_named(1, "a"), _named(2, "a")], now=NOW + 9) == keys


def test_a_client_has_so_many_keys() -> None:
    keys: Keys = tuple(_key(number) for number in range(MAX_KEYS))
    with pytest.raises(ConfigError, match="at most 16"):
        _take(keys, actions.add_key(_announced(99)))


def test_of_endless_rotations_so_many_are_remembered(two: Keys) -> None:
    ended = tuple(replace(two[0], kid=f"old{number}", revoked_at=NOW) for number in range(MAX_REVOKED + 5))
    keys = _take((*ended, two[1]), actions.add_key(_announced(3)))
    assert len(keys) == MAX_REVOKED + 2
    assert [key.kid for key in keys[:1]] == ["old5"]


class Life(RuleBasedStateMachine):
    """A client that does whatever it likes with the keys that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.keys: Keys = (_key(0),)
        self.ended: set[str] = set()

    @rule(number=st.integers(0, 6), later=st.integers(0, 3))
    def announce(self, number: int, later: int) -> None:
        self._take(actions.add_key(_announced(number, not_before=self.now + later if later else 0)))

    @rule(number=st.integers(0, 6))
    def prove(self, number: int) -> None:
        self._take(actions.prove_key(_thumbprint(number)))

    @rule(number=st.integers(0, 6), overlap=st.integers(0, 3), signer=st.integers(0, 6))
    def retire(self, number: int, overlap: int, signer: int) -> None:
        self._take(actions.retire_key(_kid(number), overlap=overlap, signer=_thumbprint(signer)))

    @rule(number=st.integers(0, 6), signer=st.integers(0, 6))
    def revoke(self, number: int, signer: int) -> None:
        self._take(actions.revoke_key(_kid(number), signer=_thumbprint(signer)))

    @rule(number=st.integers(0, 6), signer=st.integers(0, 6))
    def cancel(self, number: int, signer: int) -> None:
        self._take(actions.cancel_key(_kid(number), signer=_thumbprint(signer)))

    @rule(numbers=st.sets(st.integers(0, 6), max_size=3))
    def host(self, numbers: set[int]) -> None:
        self._take(actions.put_keys(tuple(_public(number) for number in numbers), detail=""))

    @precondition(lambda self: self.now < NOW + 50)
    @rule()
    def wait(self) -> None:
        self.now += 1

    def _take(self, action: Action) -> None:
        try:
            self.keys = _take(self.keys, action, self.now)
        except Error:
            return

    @invariant()
    def nobody_is_shut_out(self) -> None:
        assert ClientKeys(self.keys).usable(self.now)
        assert "active" in _states(self.keys, self.now)

    @invariant()
    def what_ended_stays_so(self) -> None:
        usable = {key.thumbprint for key in ClientKeys(self.keys).usable(self.now)}
        assert not usable & self.ended
        self.ended |= {client_keys.thumbprint(key) for key in self.keys if client_keys.is_revoked(key, self.now)}
        assert len({key.kid for key in client_keys.live(self.keys, self.now)}) == len(
            client_keys.live(self.keys, self.now)
        )


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
