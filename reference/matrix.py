"""The published matrix: which role may call which route. `python -m reference.matrix` prints it."""

import sys

from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.roles import Role

_MAY = "yes"


def build() -> str:
    """The table, in Markdown."""
    head = f"| route | {' | '.join(role.value for role in Role)} | what it does |\n|---|{'---|' * (len(Role) + 1)}\n"
    rows = []
    for route in OPERATIONS:
        cells = " | ".join(_MAY if role.includes(route.role) else "" for role in Role)
        told = (route.endpoint.__doc__ or "").strip().splitlines()[0]
        rows.append(f"| `{route.method} {route.path}` | {cells} | {told} |\n")
    return head + "".join(rows)


def parse(page: str) -> dict[str, dict[str, bool]]:
    """What the page says: by route, whether each role may call it."""
    rows = [line.split("|")[1:-2] for line in page.splitlines() if line.startswith("| `")]
    return {
        cells[0].strip(" `"): {role.value: cell.strip() == _MAY for role, cell in zip(Role, cells[1:], strict=True)}
        for cells in rows
    }


if __name__ == "__main__":
    sys.stdout.write(build())
