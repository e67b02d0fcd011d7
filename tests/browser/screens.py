"""Every screen of the console, with the state that it needs: for accessibility, layout and pictures."""

from typing import NamedTuple


class Screen(NamedTuple):
    """A screen by its name and its path below the console; `{client}` and so on are filled in (`world.py`)."""

    name: str
    path: str


SCREENS = (
    Screen("overview", "/"),
    Screen("clients", "/clients"),
    Screen("client", "/clients/{client}"),
)
