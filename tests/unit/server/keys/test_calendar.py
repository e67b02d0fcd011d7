"""The calendar of the signing keys: by the days, and by hypothesis for any order of rotations, removals and clock steps."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st

from affiant.errors import ConfigError
from affiant.jose.claims import LEEWAY
from affiant.resource.issuer.keys import MOST_SECONDS
from affiant.server.keys import calendar as rules
from affiant.server.keys.calendar import DAY, RETIRING_SECONDS, SEEN_SECONDS, Calendar
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import NotFound, SigningKey

NOW, CALENDAR = 1_800_000_000, Calendar()


def _key(kid: str, *, created_at: int = NOW, alg: str = "ES256") -> SigningKey:
    return SigningKey(kid, alg, "{}", b"sealed", created_at)


def _put(keys: Sequence[SigningKey], changed: Sequence[SigningKey]) -> list[SigningKey]:
    """As a store does: new ones first, others in their places."""
    known = {key.kid: key for key in changed}
    added = [key for key in changed if key.kid not in {standing.kid for standing in keys}]
    return [*added, *(known.get(key.kid, key) for key in keys)]


def _states(keys: Sequence[SigningKey], now: float) -> dict[str, str]:
    return {key.kid: rules.state(key, keys, now) for key in keys}


def _first() -> list[SigningKey]:
    return rules.announce_due([], _key("a"), now=NOW, calendar=CALENDAR)


def test_four_states_on_their_days() -> None:
    keys = _first()
    assert _states(keys, NOW) == {"a": "active"}
    assert not rules.is_due(keys, NOW + 83 * DAY - 1, CALENDAR)
    begun = NOW + 83 * DAY
    keys = _put(keys, rules.announce_due(keys, _key("b", created_at=begun), now=begun, calendar=CALENDAR))
    assert _states(keys, begun) == {"a": "active", "b": "announced"}
    assert _states(keys, NOW + 90 * DAY - 0.001) == {"a": "active", "b": "announced"}
    assert _states(keys, NOW + 90 * DAY) == {"a": "retiring", "b": "active"}
    assert _states(keys, NOW + 90 * DAY + RETIRING_SECONDS - 0.001) == {"a": "retiring", "b": "active"}
    gone = NOW + 90 * DAY + RETIRING_SECONDS
    assert _states(keys, gone) == {"a": "removed", "b": "active"}
    (erased,) = rules.erase_removed(keys, gone)
    assert (erased.kid, erased.sealed) == ("a", b"")
    assert rules.erase_removed(_put(keys, [erased]), gone) == []


def test_it_retires_for_longer_than_the_longest_token_and_the_copies_of_guards() -> None:
    assert RETIRING_SECONDS > LONGEST_TOKEN + LEEWAY + MOST_SECONDS


@pytest.mark.parametrize("announcement", [60, 300, 7 * DAY])
def test_copies_are_not_older_than_an_announcement(announcement: int) -> None:
    assert Calendar(announcement=announcement).max_age == min(300, announcement)


def test_a_server_that_was_away_announces_for_all_the_days() -> None:
    now = NOW + 400 * DAY
    keys = _put(_first(), rules.announce_due(_first(), _key("b", created_at=now), now=now, calendar=CALENDAR))
    assert [key.active_at for key in keys if key.kid == "b"] == [now + 7 * DAY]
    assert not rules.is_due(keys, now, CALENDAR)


def test_rotation_by_hand_announces_and_then_hastens() -> None:
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=7 * DAY))
    assert _states(keys, NOW) == {"a": "active", "b": "announced"}
    with pytest.raises(ConfigError, match=r"b is announced already, and signs from 2027-01-22 08:00:00 UTC"):
        rules.rotate(keys, _key("c"), now=NOW, delay=7 * DAY)
    keys = _put(keys, rules.rotate(keys, _key("c"), now=NOW + 5, delay=SEEN_SECONDS))
    assert _states(keys, NOW + 6) == {"a": "active", "b": "announced"}
    assert _states(keys, NOW + 7) == {"a": "retiring", "b": "active"}


def test_another_algorithm_is_not_mistaken_for_the_announced_key() -> None:
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=7 * DAY))
    with pytest.raises(ConfigError, match="affiant signing-key remove b"):
        rules.rotate(keys, _key("c", alg="RS256"), now=NOW, delay=SEEN_SECONDS)


@pytest.mark.attack(240)
def test_removal_of_the_only_key_makes_a_successor() -> None:
    keys = _put(_first(), rules.remove(_first(), "a", _key("b"), now=NOW + 9))
    assert _states(keys, NOW + 9) == {"a": "removed", "b": "active"}
    assert [key.sealed for key in keys if key.kid == "a"] == [b""]
    assert _states(keys, NOW) == {"a": "removed", "b": "active"}, "a clock that steps back brings nothing back"


def test_removal_of_the_signer_lets_the_announced_key_sign() -> None:
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=7 * DAY))
    keys = _put(keys, rules.remove(keys, "a", _key("c"), now=NOW + 9))
    assert _states(keys, NOW + 9) == {"a": "removed", "b": "active"}


def test_removal_of_the_announced_key_leaves_the_signer() -> None:
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=7 * DAY))
    keys = _put(keys, rules.remove(keys, "b", _key("c"), now=NOW + 9))
    assert _states(keys, NOW + 9) == {"a": "active", "b": "removed"}
    assert [(key.retiring_at, key.removed_at) for key in keys if key.kid == "a"] == [(None, None)]


def test_a_key_that_retires_already_does_not_live_longer_for_a_removal() -> None:
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=SEEN_SECONDS))
    keys = _put(keys, rules.remove(keys, "b", _key("c"), now=NOW + DAY))
    assert _states(keys, NOW + DAY) == {"a": "retiring", "b": "removed", "c": "active"}
    assert [key.retiring_at for key in keys if key.kid == "a"] == [NOW + SEEN_SECONDS]


def test_a_signer_is_removed_although_nothing_can_follow() -> None:
    """And what retires already does not sign again for it: the line has ended, and the next key signs at once."""
    keys = _put(_first(), rules.rotate(_first(), _key("b"), now=NOW, delay=SEEN_SECONDS))
    keys = _put(keys, rules.remove(keys, "b", None, now=NOW + 9))
    assert _states(keys, NOW + 9) == {"a": "retiring", "b": "removed"}
    assert rules.has_ended(keys, NOW + 9)
    keys = _put(keys, rules.announce_due(keys, _key("c"), now=NOW + 10, calendar=CALENDAR))
    assert _states(keys, NOW + 10) == {"a": "retiring", "b": "removed", "c": "active"}


@pytest.mark.parametrize("kid", ["nobody", "a"])
def test_what_is_not_there_cannot_be_removed(kid: str) -> None:
    keys = _put(_first(), rules.remove(_first(), "a", _key("b"), now=NOW))
    with pytest.raises(NotFound, match=kid):
        rules.remove(keys, kid, _key("c"), now=NOW)


MOST_BACK = RETIRING_SECONDS - LONGEST_TOKEN - LEEWAY


class Clocks(stateful.RuleBasedStateMachine):
    """A server whose clock goes on and is set, whose keys are rotated, removed and kept, and which issues tokens.

    The clock is set forward as far as one likes, and back by as much as the days of retirement allow for, in all: a
    token that was made under a clock that is a month ahead is nobody's good token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.latest = NOW
        self.keys = rules.announce_due([], _key("0"), now=NOW, calendar=CALENDAR)
        self.made = 1
        self.tokens: list[tuple[str, int]] = []
        self.seen = {"0"}
        self.killed: set[str] = set()
        self.emergency = {"0"}
        self.is_needed = True

    def _candidate(self) -> SigningKey:
        self.made += 1
        return _key(str(self.made), created_at=self.now)

    def _change(self, changed: Sequence[SigningKey]) -> None:
        self.keys = _put(self.keys, changed)
        assert len({key.kid for key in self.keys}) == len(self.keys)

    @stateful.rule(seconds=st.integers(0, 120 * DAY) | st.integers(0, 3 * LONGEST_TOKEN))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)

    @stateful.rule(seconds=st.integers(1, MOST_BACK))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.now = max(self.now - seconds, self.latest - MOST_BACK)

    @stateful.rule(is_needed=st.booleans())
    def the_last_api_goes_or_the_first_comes(self, *, is_needed: bool) -> None:
        self.is_needed = is_needed
        self.the_runner_keeps_the_calendar()

    @stateful.rule()
    def the_runner_keeps_the_calendar(self) -> None:
        if self.is_needed:
            begins = rules.has_ended(self.keys, self.now)
            self._change(rules.announce_due(self.keys, self._candidate(), now=self.now, calendar=CALENDAR))
            self.emergency |= {self._signer().kid} if begins else set()
        else:
            self._change(rules.retire_unused(self.keys, (), self.now))
        self._change(rules.erase_removed(self.keys, self.now))

    @stateful.precondition(lambda self: self.is_needed)
    @stateful.rule(delay=st.sampled_from([SEEN_SECONDS, CALENDAR.announcement]))
    def an_operator_rotates(self, delay: int) -> None:
        try:
            self._change(rules.rotate(self.keys, self._candidate(), now=self.now, delay=delay))
        except ConfigError:
            assert rules.find_announced(self.keys, self.now) is not None

    @stateful.precondition(lambda self: self.is_needed)
    @stateful.rule(data=st.data())
    def an_operator_removes(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from(rules.live(self.keys, self.now)))
        self._change(rules.remove(self.keys, lost.kid, self._candidate(), now=self.now))
        self.killed.add(lost.kid)
        assert lost.kid not in self._published()
        self.emergency.add(self._signer().kid)

    @stateful.precondition(lambda self: self.is_needed)
    @stateful.rule(life=st.integers(10, LONGEST_TOKEN))
    def a_token_is_issued(self, life: int) -> None:
        self.tokens.append((self._signer().kid, self.now + life))

    @stateful.precondition(lambda self: self.is_needed)
    @stateful.invariant()
    def one_key_signs(self) -> None:
        states = [rules.state(key, self.keys, self.now) for key in self.keys]
        assert states.count("active") == 1
        assert rules.state(self._signer(), self.keys, self.now) == "active"

    @stateful.precondition(lambda self: self.is_needed)
    @stateful.invariant()
    def it_was_announced_before(self) -> None:
        """Seen in the key set while another signed, but for the first key and the one that an emergency called for."""
        signer = self._signer().kid
        assert signer in self.seen | self.emergency
        self.seen |= self._published() - {signer}

    @stateful.invariant()
    def good_tokens_verify(self) -> None:
        self.tokens = [(kid, exp) for kid, exp in self.tokens if exp + LEEWAY > self.latest - MOST_BACK]
        good = {kid for kid, exp in self.tokens if self.now < exp + LEEWAY and kid not in self.killed}
        assert good <= self._published()

    @stateful.invariant()
    def what_was_removed_stays_removed(self) -> None:
        assert not self.killed & self._published()

    def _signer(self) -> SigningKey:
        signer = rules.find_signer(self.keys, self.now)
        assert signer is not None
        return signer

    def _published(self) -> set[str]:
        return {key.kid for key in rules.live(self.keys, self.now)}


TestClocks = Clocks.TestCase
TestClocks.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_two_that_became_active_at_once_have_one_signer() -> None:
    """Whatever a store was told: the answer is the same on every node."""
    both = [replace(_key("a"), active_at=NOW), replace(_key("b"), active_at=NOW)]
    assert rules.find_signer(both, NOW) == rules.find_signer(both[::-1], NOW)
