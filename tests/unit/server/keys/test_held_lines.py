"""The calendar of lines whose keys an operator makes in a KMS, in any order of events."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import settings, stateful
from hypothesis import strategies as st
from tests.unit.server.keys.test_calendar import CALENDAR, NOW

from affiant.errors import ConfigError
from affiant.server.keys import calendar as rules
from affiant.server.keys.calendar import DAY, SEEN_SECONDS
from affiant.storage.entries import LONGEST_TOKEN
from affiant.storage.records import SigningKey

OPERATOR, BY_ITSELF = "operator", "calendar"


class Held(stateful.RuleBasedStateMachine):
    """One line: the calendar, and an operator who names keys in a KMS, goes back, and removes keys."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.made = NOW, 0
        self.by: dict[str, str] = {}
        self.tokens: list[tuple[str, int]] = []
        self.killed: set[str] = set()
        self.keys: list[SigningKey] = []
        self._change(rules.rotate([], self._candidate(BY_ITSELF), now=NOW, delay=0))

    def _candidate(self, by: str, kms: str = "") -> SigningKey:
        self.made += 1
        kid = str(self.made)
        self.by[kid] = by
        return SigningKey(kid, "ES256", "{}", b"sealed", self.now, kms=kms and f"{kms}{kid}")

    def _change(self, changed: Sequence[SigningKey]) -> None:
        self.keys = list({**{key.kid: key for key in self.keys}, **{key.kid: key for key in changed}}.values())

    @stateful.rule(seconds=st.integers(0, 120 * DAY) | st.integers(0, 3 * LONGEST_TOKEN) | st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @stateful.rule()
    def the_calendar_is_kept(self) -> None:
        """As on a node that looked before the operator named a key."""
        before = {key.kid for key in self.keys}
        held = rules.find_held(self.keys)
        candidate = self._candidate(BY_ITSELF)
        self._change(rules.revive(self.keys, now=self.now))
        self._change(rules.announce_due(self.keys, candidate, now=self.now, calendar=CALENDAR))
        self._change(rules.erase_removed(self.keys, self.now))
        assert held is None or {key.kid for key in self.keys} == before

    @stateful.rule(delay=st.sampled_from([SEEN_SECONDS, CALENDAR.announcement]), kms=st.sampled_from(["vault:x/", ""]))
    def an_operator_names_a_key(self, delay: int, kms: str) -> None:
        candidate = self._candidate(OPERATOR, kms)
        try:
            rules.check_new(self.keys, candidate, self.now)
            self._change(rules.announce_named(self.keys, candidate, now=self.now, delay=delay))
        except ConfigError:
            assert rules.find_announced(self.keys, self.now) is not None

    @stateful.rule(data=st.data())
    def an_operator_removes(self, data: st.DataObject) -> None:
        live = rules.live(self.keys, self.now)
        if not live:
            return
        lost = data.draw(st.sampled_from(live))
        candidate = None if lost.kms else self._candidate(BY_ITSELF)
        self._change(rules.remove(self.keys, lost.kid, candidate, now=self.now))
        self.killed.add(lost.kid)

    @stateful.rule(data=st.data())
    def a_removed_key_is_named_again(self, data: st.DataObject) -> None:
        gone = [key for key in self.keys if rules.is_removed(key, self.now)]
        if gone:
            again = replace(data.draw(st.sampled_from(gone)), sealed=b"sealed")
            try:
                rules.check_new(self.keys, again, self.now)
            except ConfigError:
                return
            raise AssertionError("its tokens would be valid again")

    @stateful.rule(life=st.integers(10, LONGEST_TOKEN))
    def a_token_is_issued(self, life: int) -> None:
        signer = rules.find_signer(self.keys, self.now)
        if signer is not None:
            self.tokens.append((signer.kid, self.now + life))

    @stateful.invariant()
    def one_key_signs_or_the_last_was_removed_in_an_emergency(self) -> None:
        states = [rules.state(key, self.keys, self.now) for key in self.keys]
        signer = rules.find_signer(self.keys, self.now)
        if signer is None:
            last = rules.find_held(self.keys)
            assert last is not None
            assert last.kid in self.killed
            assert "active" not in states
        else:
            assert states.count("active") == 1
            assert signer.kid not in self.killed

    @stateful.invariant()
    def good_tokens_verify(self) -> None:
        published = {key.kid for key in rules.live(self.keys, self.now)}
        assert {kid for kid, exp in self.tokens if self.now < exp and kid not in self.killed} <= published


TestHeld = Held.TestCase
TestHeld.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
