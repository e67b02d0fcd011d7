"""How often one may fail: bursts, names, clocks, and workers that count together."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from affiant.errors import ConfigError
from affiant.errors.reasons import Reason
from affiant.server.request.limits import Limited, Limits, Rate, Rates, network
from affiant.server.request.notes import Notes, Request

NOW, KEY = 1_800_000_000.0, bytes(32)
THREE = Rates(failures=Rate(3, 0.5), tokens=Rate(2, 10.0))


def _visit(address: str = "192.0.2.1", claimed: str | None = None, now: float = NOW) -> Request:
    return Request("token", address, now, notes=Notes(claimed=claimed))


def _failures(limits: Limits, number: int, visit: Request) -> list[float]:
    """The seconds that each failure must wait; 0 for one that is only counted."""
    waits = []
    for _ in range(number):
        try:
            limits.check_failures(visit)
            limits.count_failure(visit)
            waits.append(0.0)
        except Limited as limited:
            assert limited.reason is Reason.LIMIT_FAILURES
            waits.append(limited.retry_after)
    return waits


def test_a_burst_and_then_a_rate() -> None:
    limits = Limits(THREE, key=KEY)
    assert _failures(limits, 5, _visit()) == [0, 0, 0, 3, 3]
    assert _failures(limits, 2, _visit(now=NOW + 2)) == [0, 3]
    assert _failures(limits, 4, _visit(now=NOW + 100)) == [0, 0, 0, 3]


def test_address_and_name_are_counted_apart() -> None:
    """Failures in the name of one client are limited from every address; another name from a new address is not."""
    limits = Limits(THREE, key=KEY)
    waits = [_failures(limits, 1, _visit(f"192.0.2.{n}", "victim"))[0] for n in range(5)]
    assert waits == [0, 0, 0, 3, 3]
    assert _failures(limits, 1, _visit("192.0.2.99", "somebody")) == [0]


def test_a_victim_succeeds_whatever_others_do() -> None:
    limits = Limits(THREE, key=KEY)
    _failures(limits, 1000, _visit("192.0.2.1", "victim"))
    limits.check_share("victim", "token", NOW)


def test_tokens_of_one_client() -> None:
    limits = Limits(THREE, key=KEY)
    for _ in range(2):
        limits.check_share("c", "token", NOW)
        limits.count_share("c", "token", NOW)
    with pytest.raises(Limited) as limited:
        limits.check_share("c", "token", NOW)
    assert (limited.value.reason, limited.value.retry_after) == (Reason.LIMIT_TOKENS, 1)
    limits.check_share("d", "token", NOW)
    limits.check_share("c", "client-keys", NOW)
    limits.check_share("c", "token", NOW + 0.11)


def test_what_came_at_once_is_not_held_up_for_long() -> None:
    """A hundred requests that pass together, before any is counted, cost no more than the burst."""
    limits = Limits(THREE, key=KEY)
    for _ in range(100):
        limits.count_share("c", "token", NOW)
    with pytest.raises(Limited):
        limits.check_share("c", "token", NOW)
    limits.check_share("c", "token", NOW + 0.11)


def test_no_limit() -> None:
    limits = Limits(Rates(failures=Rate(0, 1.0), tokens=Rate(0, 1.0)), key=KEY)
    assert _failures(limits, 500, _visit()) == [0] * 500
    for _ in range(500):
        limits.count_share("c", "token", NOW)
        limits.check_share("c", "token", NOW)


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    limits = Limits(THREE, key=KEY)
    _failures(limits, 3, _visit(now=NOW + 86_400))
    assert _failures(limits, 1, _visit(now=NOW)) == [0]


def test_what_was_refused_is_told_once() -> None:
    limits = Limits(THREE, key=KEY)
    _failures(limits, 10, _visit("192.0.2.1"))
    assert dict(limits.take_refused()) == {(Reason.LIMIT_FAILURES, "address 192.0.2.1"): 7}
    assert not limits.take_refused()


def test_what_is_told_is_bounded() -> None:
    limits = Limits(Rates(failures=Rate(1, 0.001)), key=KEY)
    for n in range(300):
        _failures(limits, 2, _visit(f"10.1.{n // 256}.{n % 256}"))
    refused = limits.take_refused()
    assert len(refused) <= 101
    assert sum(refused.values()) == 300


def test_half_a_surrogate_is_a_name_like_another() -> None:
    limits = Limits(THREE, key=KEY)
    assert _failures(limits, 4, _visit("", "\ud800"))[-1] > 0


def test_names_rarely_share() -> None:
    """Of 5,000 addresses that fail once, none is taken for one that failed often."""
    limits = Limits(Rates(failures=Rate(2, 0.001)), key=KEY)
    waits = [_failures(limits, 1, _visit(f"10.0.{n // 256}.{n % 256}"))[0] for n in range(5000)]
    assert sum(map(bool, waits)) <= 5


def test_workers_count_together(tmp_path: Path) -> None:
    """Another process that has the same file and key sees what was counted here."""
    path = tmp_path / "limits"
    limits = Limits(THREE, key=KEY, path=path)
    assert _failures(limits, 2, _visit()) == [0, 0]
    script = f"""
from pathlib import Path
from affiant.server.request.limits import Limited, Limits, Rate, Rates
from affiant.server.request.notes import Notes, Request
limits = Limits(Rates(failures=Rate(3, 0.5)), key=bytes(32), path=Path({str(path)!r}))
for _ in range(2):
    try:
        visit = Request("token", "192.0.2.1", {NOW})
        limits.check_failures(visit)
        limits.count_failure(visit)
        print("counted")
    except Limited:
        print("limited")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["counted", "limited"]
    assert _failures(limits, 1, _visit())[0] > 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        Limits(THREE, key=KEY, path=tmp_path / "missing" / "limits")


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_network(address: str, whose: str) -> None:
    assert network(address) == whose
