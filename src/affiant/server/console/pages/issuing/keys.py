"""The keys that sign access tokens, as a timeline."""

from collections.abc import Mapping, Sequence
from typing import Any

from affiant.server.console.pages.page import page
from affiant.server.console.show import timeline
from affiant.server.console.show.records import exports
from affiant.server.console.view import View
from affiant.server.keys import calendar
from affiant.server.request.http import Answer

_MOST = 1000
# States of keys by which tokens may be signed that APIs see now.
_IN_USE = ("announced", "active", "retiring")


@page("/keys")
async def show_keys(view: View) -> Answer:
    if exports.is_wanted(view):
        return await exports.stream(view, "/signing-keys", "signing-keys")
    keys = (await view.api.get("/signing-keys", limit=_MOST))["items"]
    return view.show(
        "keys/keys.html",
        lines=[(line, _of_line(keys, line), _draw(view, keys, line)) for line in _lines(keys)],
        removed=[key for key in keys if key["state"] == "removed"],
        copy_age=calendar.GUARD_SECONDS,
        max_age=calendar.MAX_AGE,
        retiring=calendar.RETIRING_SECONDS,
    )


def _lines(keys: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return the lines that have keys: first that of all APIs which have chosen no algorithm."""
    return sorted({key["line"] for key in keys if key["state"] in _IN_USE}, key=lambda line: line or "")


def _of_line(keys: Sequence[Mapping[str, Any]], line: str | None) -> list[Mapping[str, Any]]:
    found = [key for key in keys if key["line"] == line and key["state"] in _IN_USE]
    return sorted(found, key=lambda key: -key["active_at"])


def _draw(view: View, keys: Sequence[Mapping[str, Any]], line: str | None) -> Any:
    return timeline.draw([key for key in keys if key["line"] == line], view.now, copy_age=float(calendar.GUARD_SECONDS))
