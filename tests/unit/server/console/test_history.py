"""Counts as series: each count in its slot, the most frequent reason first, latencies from their buckets."""

import math
from typing import Any

import pytest

from affiant.server.console.show import history
from affiant.server.console.show.history import SPANS, Window

NOW = 1_800_000_030


def count(at: int, number: int, kind: str = "refused", label: str = "") -> dict[str, Any]:
    return {"at": at, "kind": kind, "label": label, "count": number}


@pytest.mark.parametrize("name", SPANS)
def test_the_last_slot_has_now(name: str) -> None:
    window = Window.ending(NOW, SPANS[name])
    assert window.begins[-1] <= NOW < window.until
    assert len(window.begins) == len(window.marks()) == SPANS[name].slots


def test_each_count_in_its_slot() -> None:
    window = Window(600, 900, 60)
    counts = [count(540, 1), count(600, 2), count(659, 3), count(840, 4), count(900, 5)]
    assert window.sums(counts) == [5, 0, 0, 0, 4]


def test_most_counted_label_first() -> None:
    counts = [count(0, 1, label="b"), count(0, 3, label="a"), count(60, 4, label="b"), count(60, 5, label="c")]
    assert history.labels(counts) == ["b", "c", "a"]


@pytest.mark.parametrize(("share", "bound"), [(0.5, 2), (0.9, 2), (0.99, 50), (1, math.inf)])
def test_percentile_is_the_bound_of_a_bucket(share: float, bound: float) -> None:
    counts = [count(0, 900, label="2"), count(0, 95, label="50"), count(0, 5, label="inf")]
    assert history.percentile(counts, share) == bound


def test_no_percentile_of_nothing() -> None:
    assert history.percentile([], 0.5) is None
