"""Plots: numbers in, markup out; a hostile name stays text."""

from xml.etree import ElementTree

import pytest

from affiant.server.console.show import plots
from affiant.server.console.show.plots import Plot, Series

HOSTILE = '"><script>alert(1)</script>&'
PLOT = Plot(HOSTILE, [HOSTILE, "b", "c", "d"], [Series("issued", [1, 0, 4, 2]), Series(HOSTILE, [0, 0, 1, 2])])


@pytest.mark.parametrize(
    "drawn",
    [plots.sparkline([1, 5, 0], HOSTILE), plots.stacked_bars(PLOT), plots.lines(PLOT), plots.legend(PLOT)],
    ids=["sparkline", "bars", "lines", "legend"],
)
def test_text_stays_text(drawn: str) -> None:
    names = {element.tag for element in ElementTree.fromstring(str(drawn)).iter()}
    assert "script" not in names


def test_bars_stand_on_each_other() -> None:
    tree = ElementTree.fromstring(str(plots.stacked_bars(PLOT)))
    slots = tree.findall("g")
    assert [slot.findtext("title") for slot in slots] == [
        f"{HOSTILE}: issued 1",
        f"c: issued 4, {HOSTILE} 1",
        f"d: issued 2, {HOSTILE} 2",
    ]
    lower, upper = slots[2].findall("rect")
    assert float(upper.attrib["y"]) + float(upper.attrib["height"]) == pytest.approx(float(lower.attrib["y"]), abs=0.2)


def test_bar_leads_to_its_page() -> None:
    linked = PLOT._replace(links=["/a?x=1&y=2", "/b", "/c", "/d"])
    tree = ElementTree.fromstring(str(plots.stacked_bars(linked)))
    assert [link.attrib["href"] for link in tree.findall("a")] == ["/a?x=1&y=2", "/c", "/d"]
    assert tree.attrib["role"] == "group"


def test_nothing_counted() -> None:
    empty = Plot("none", [], [Series("issued", [])])
    for drawn in (plots.sparkline([], "none"), plots.stacked_bars(empty), plots.lines(empty)):
        ElementTree.fromstring(str(drawn))


@pytest.mark.parametrize(("value", "top"), [(1, 1), (3, 5), (11, 20), (100, 100), (101, 200), (0.5, 1)])
def test_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert plots.ceiling(value) == top
