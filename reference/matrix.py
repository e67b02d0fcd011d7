"""The published matrix: which role may call which route, and what of it within teams."""

import re
from pathlib import Path

from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.roles import Role
from affiant.server.admin.routes.operation import Reach

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "admin.md"
_TABLE = re.compile(r"^\| route \| .*?(?=^[^|]|\Z)", re.DOTALL | re.MULTILINE)
_MAY = "yes"
_WITHIN = {Reach.TEAMS: "their own", Reach.OWN: "their own", Reach.PUBLIC: _MAY, Reach.SERVER: ""}


def build() -> str:
    """The table, in Markdown."""
    roles = " | ".join(role.value for role in Role)
    head = f"| route | {roles} | limited to teams | what it does |\n|---|{'---|' * (len(Role) + 2)}\n"
    rows = []
    for route in OPERATIONS:
        cells = " | ".join(_MAY if role.includes(route.role) else "" for role in Role)
        within = _WITHIN[route.reach] if route.role is not Role.OWNER or route.team_role else ""
        also = f" ({route.team_role.value})" if route.team_role else ""
        told = (route.endpoint.__doc__ or "").strip().splitlines()[0]
        rows.append(f"| `{route.method} {route.path}` | {cells} | {within}{also} | {told} |\n")
    return head + "".join(rows)


def parse(page: str) -> dict[str, dict[str, bool]]:
    """What the page says: by route, whether each role may call it."""
    rows = [line.split("|")[1:-3] for line in page.splitlines() if line.startswith("| `")]
    return {
        cells[0].strip(" `"): {role.value: cell.strip() == _MAY for role, cell in zip(Role, cells[1:], strict=True)}
        for cells in rows
    }


def write() -> None:
    """Put the table into the page, which people write."""
    page = PAGE.read_text("utf-8")
    PAGE.write_text(_TABLE.sub(lambda _: build(), page, count=1), "utf-8")
