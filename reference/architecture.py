"""docs/explanation/architecture.md: the rooms of the package, and which of them import which."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from reference.markdown import head, table

_SOURCE = Path(__file__).resolve().parent.parent / "src"
_PACKAGE = _SOURCE / "affiant"
_DIVIDED = ("server",)  # drawn room by room
_FOUNDATION = "errors, system"
# Each walk: its title, and its steps with the functions that take them.
_WALKS = {
    "A token request": (
        ("the server finds the endpoint of the path", "affiant.server.app:Server"),
        ("the list of all steps", "affiant.server.token.endpoint:TokenEndpoint.road"),
        ("step 1: the form is read", "affiant.server.client_auth.endpoint:ClientEndpoint.read_form"),
        ("what the request gets; `explain` calls it too", "affiant.server.token.endpoint:TokenEndpoint.decide"),
        ("steps 2 to 10: the client is authenticated", "affiant.server.client_auth.ladder:Authenticator.authenticate"),
        ("its method verifies the assertion", "affiant.server.client_auth.methods.client_assertion"),
        ("what the client may have, and asked for", "affiant.server.token.policy:grant"),
        ("limits, before anything is written", "affiant.server.request.endpoint:Endpoint.check_limits"),
        ("the access token is minted", "affiant.server.token.issue:issue"),
        (
            "step 11: jti, record and refresh token in one commit",
            "affiant.server.request.endpoint:Endpoint.commit",
        ),
        ("what the commit does, for every store", "affiant.storage.commit:Commit.apply"),
        ("a refusal becomes an answer", "affiant.server.request.endpoint:Endpoint.refuse"),
    ),
    "A revocation, from the operator to the guard": (
        ("the options become a request", "affiant.cli.operations.revoke"),
        ("the command asks the admin API, here or elsewhere", "affiant.cli.connection.place:Place"),
        ("the admin API authenticates, finds the route, checks the role", "affiant.server.admin.app:AdminEndpoint"),
        ("revocation and audit record in one commit", "affiant.server.admin.routes.tokens:revoke"),
        ("the feed answers the guards that wait", "affiant.server.published.revocations:RevocationFeed"),
        ("the guard follows the feed", "affiant.resource.issuer.revocations"),
        ("one rule says which tokens a revocation ends", "affiant.oauth.revocations"),
    ),
    "A rotation of a client's key": (
        ("`affiant key rotate` adds, proves and retires", "affiant.client.credentials.rotation"),
        ("the client's request", "affiant.server.registration.client_keys:ClientKeysEndpoint"),
        ("or the operator's", "affiant.server.admin.routes.clients"),
        ("each becomes an action", "affiant.server.registry.credentials.actions:Action"),
        ("which is judged, applied and recorded in one commit", "affiant.server.registry.credentials.actions:commit"),
        ("what a key may do at a time", "affiant.server.registry.credentials.keys:state"),
    ),
}
_TEXT = """\
affiant is one package, divided by role, and the server by endpoint. Imports point down: a room imports only rooms below
it. [0001: The house](../decisions/0001-the-house.md) says why; the import contracts in `pyproject.toml` and
`tests/test_house.py` enforce it."""
_PICTURE = """
## The rooms

An arrow means "imports". Arrows that follow from others are left out.

```mermaid
flowchart TB
{}
```
"""


def build() -> str:
    rooms = imports()
    named = {room: f"r{number}" for number, room in enumerate(sorted(rooms))}
    lines = [f'    {named[room]}["{room}"]' for room in sorted(rooms)]
    lines += [f"    {named[room]} --> {named[other]}" for room in sorted(rooms) for other in sorted(_direct(room))]
    owned = table(("room", "what it owns"), ((f"`{room}`", _owns(room)) for room in sorted(rooms)))
    walks = (f"\n## {title}\n{table(('step', 'where'), _steps(steps))}" for title, steps in _WALKS.items())
    change = "reference/architecture.py and the docstrings of the packages"
    picture = _PICTURE.format("\n".join(lines))
    return head("Architecture", _TEXT, change=change) + picture + owned + "".join(walks)


def _steps(steps: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Add links; raise AttributeError or ModuleNotFoundError for a place that is no longer there."""
    for step, place in steps:
        module, _, name = place.partition(":")
        loaded = import_module(module)
        attrgetter(name)(loaded) if name else None
        path = Path(str(loaded.__file__)).relative_to(_SOURCE.parent).as_posix()
        label = path.removeprefix("src/affiant/") + (f" {name}" if name else "")
        yield step, f"[`{label}`](../../{path})"


@cache
def imports() -> dict[str, frozenset[str]]:
    """The other rooms that each room imports, when its modules load or later."""
    found: dict[str, set[str]] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        room = _room(path.relative_to(_SOURCE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"))
        if room is not None:
            found.setdefault(room, set()).update(other for name in _imported(path) if (other := _room(name)))
    return {room: frozenset(others - {room}) for room, others in found.items()}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name


def _room(name: str) -> str | None:
    """Return the room of a module, or of a name in one; None for other packages and for the top of ours."""
    package, _, rest = name.partition(".")
    parts = rest.split(".")
    if package != "affiant" or parts[0] in {"", "version"}:
        return None
    if not (_PACKAGE / parts[0]).is_dir() or parts[0] in {"errors", "system"}:
        return _FOUNDATION if parts[0] in {"errors", "system"} else None
    if parts[0] in _DIVIDED and len(parts) > 1 and (_PACKAGE / parts[0] / parts[1] / "__init__.py").exists():
        return "/".join(parts[:2])
    return parts[0]


def _direct(room: str) -> set[str]:
    """Return the rooms that it imports, without those that it also reaches through one of them."""
    others = imports()[room]
    between = {other for other in others if room not in _reached(other)}
    return {other for other in others if not any(other in _reached(one) for one in between - {other})}


@cache
def _reached(room: str) -> frozenset[str]:
    seen: set[str] = set()
    rooms = [room]
    while rooms:
        for other in imports()[rooms.pop()] - seen:
            seen.add(other)
            rooms.append(other)
    return frozenset(seen)


def _owns(room: str) -> str:
    if room == _FOUNDATION:
        return "What every room may import: errors, the closed list of reasons, value types, files and network."
    docstring = ast.get_docstring(ast.parse((_PACKAGE / room / "__init__.py").read_text("utf-8")))
    if docstring is None:
        raise KeyError(f"src/affiant/{room}/__init__.py has no docstring")
    return docstring.partition("\n\n")[0]
