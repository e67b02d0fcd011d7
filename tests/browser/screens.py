"""Every screen of the console, with the state that it needs: for accessibility, layout and pictures."""

from typing import NamedTuple
from urllib.parse import quote


class Screen(NamedTuple):
    """A screen by its name and its path below the console; `{client}` and so on are filled in (`world.py`)."""

    name: str
    path: str


SCREENS = (
    Screen("overview", "/"),
    Screen("setup", "/setup"),
    Screen("search", "/search?q=b"),
    Screen("search without a find", "/search?q=nothing-like-this"),
    Screen("clients", "/clients"),
    Screen("client", "/clients/{client}"),
    Screen("activity", "/activity"),
    Screen("activity with filters", "/activity?outcome=refused&client_id=partner-acme"),
    Screen("debugger", "/debugger"),
    Screen("event", "/events/{trace}"),
    Screen("settings", "/settings"),
)


def at(screen: Screen, names: dict[str, str]) -> str:
    """Return the path of a screen with these names in it."""
    return screen.path.format(**{key: quote(name, safe="") for key, name in names.items()})
