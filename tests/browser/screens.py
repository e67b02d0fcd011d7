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
    Screen("clients by a search", "/clients?q=disabled+unused:soon"),
    Screen("new client", "/new/client"),
    Screen("client", "/clients/{client}"),
    *(
        Screen(f"client, {tab}", f"/clients/{{client}}?tab={tab}")
        for tab in ("credentials", "permissions", "use", "events", "settings")
    ),
    Screen("client in a rotation", "/clients/warehouse?tab=credentials"),
    Screen("activity", "/activity"),
    Screen("activity with filters", "/activity?outcome=refused&client_id=partner-acme"),
    Screen("debugger", "/debugger"),
    Screen("event", "/events/{trace}"),
    Screen("settings", "/settings"),
    Screen("apis", "/apis"),
    Screen("new api", "/new/api"),
    Screen("api", "/apis/{api}"),
    Screen("api protected", "/apis/{api}?tab=protect&with=nginx"),
    Screen("api probed", "/apis/{api}?tab=probe&other=https://stock.example"),
    Screen("api settings", "/apis/{api}?tab=settings"),
    Screen("trusts", "/trusts"),
    Screen("refused tokens", "/trusts?tab=refused"),
    Screen("new trust", "/new/trust"),
    Screen("trust questions", "/new/trust?platform=github"),
    Screen("trust", "/trusts/{trust}"),
    Screen("trust settings", "/trusts/{trust}?tab=settings"),
    Screen("rule", "/rules/deploy"),
    Screen("signing keys", "/keys"),
    Screen("tokens", "/tokens"),
    Screen("initial access tokens", "/tokens?list=initial"),
    Screen("audit", "/audit"),
    Screen("audit with filters", "/audit?endpoint=admin"),
    Screen("teams", "/settings/teams"),
    Screen("users", "/settings/users"),
    Screen("user", "/settings/users/{user}"),
)


def at(screen: Screen, names: dict[str, str]) -> str:
    """Return the path of a screen with these names in it."""
    return screen.path.format(**{key: quote(name, safe="") for key, name in names.items()})
