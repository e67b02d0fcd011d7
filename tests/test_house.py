"""The house rules that no linter knows: budgets, names, who loads whom, and who makes which proof."""

import ast
import graphlib
import importlib
import inspect
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "affiant"

FILE_LINES = 500
MEDIAN_LINES = 130
FUNCTION_LINES = 40
FOLDER_ENTRIES = 12
BANNED_NAMES = {"common", "core", "handler", "helpers", "manager", "misc", "service", "shared", "utils"}

# Where each proof is made, from the package's root: one module, or the modules of the folder named. A class that
# several rooms have by one name is looked for in the room named with it.
PROOFS = {
    "Unverified": "jose/compact.py",
    "Verified": "jose/compact.py",
    "ClientAssertion": "oauth/assertion.py",
    "DpopProof": "oauth/binding/dpop.py",
    "AccessToken": "oauth/access_token.py",
    "BoundToken": "oauth/access_token.py",
    "JudgedToken": "oauth/access_token.py",
    "server/Caller": "server/client_auth/methods/",
    "Authorization": "server/token/grants/",
    "IssuedToken": "server/token/issue.py",
}
# Every grant makes its own Authorization, and every authentication method its Caller.
MADE_BY_MANY = {"Authorization", "server/Caller"}

# The public API: whatever these modules export has docstrings.
PUBLIC = (
    "affiant",
    "affiant.client",
    "affiant.errors",
    "affiant.resource",
    "affiant.resource.replays",
    "affiant.server.app",
    "affiant.server.settings",
    "affiant.storage.ports",
    "affiant.telemetry",
    "affiant.testing",
)

# Importing the role on the left must leave everything on the right unloaded.
STRANGERS = {
    "affiant.client": ("affiant.server", "affiant.resource", "starlette", "uvicorn"),
    "affiant.resource": ("affiant.server", "affiant.client"),
    "affiant.server": ("affiant.client", "affiant.resource"),
    "affiant.testing": ("affiant.server", "starlette", "uvicorn"),
    "affiant.testing.issuer": ("affiant.server", "affiant.storage", "affiant.client", "starlette", "uvicorn"),
    "pytest_affiant": ("affiant",),
    "affiant.server.admin.app": ("affiant.client", "affiant.resource", "fastapi"),
}

# Parameters that no type checker sees, and why.
CLICK = "click passes the options of a command so"
JSON = "members of a JSON object: any name, any value"
TEMPLATE = "the values of a template, which fails without one that it uses"
BUNDLES = {
    "cli/connection/admin.py all **query": JSON,
    "cli/connection/admin.py get **query": JSON,
    "cli/connection/admin.py lines **query": JSON,
    "cli/connection/data.py run **options": CLICK,
    "cli/connection/place.py all **query": JSON,
    "cli/connection/place.py get **query": JSON,
    "cli/connection/place.py run **options": CLICK,
    "cli/diagnosis/doctor.py doctor **options": CLICK,
    "cli/diagnosis/verify.py verify **options": CLICK,
    "server/console/api.py get **query": JSON,
    "server/console/api.py read **query": JSON,
    "server/console/api.py stream **query": JSON,
    "server/console/rendering.py link **query": JSON,
    "server/console/rendering.py render **values": TEMPLATE,
    "server/console/view.py show **values": TEMPLATE,
    "cli/operations/audit.py export **_": CLICK,
    "cli/operations/audit.py run **options": CLICK,
    "cli/operations/console/group.py link **options": CLICK,
    "cli/operations/console/user.py update **options": CLICK,
    "cli/operations/records.py run **options": CLICK,
    "cli/registry/api.py new **options": CLICK,
    "cli/registry/api.py update **options": CLICK,
    "cli/registry/client.py new **options": CLICK,
    "cli/registry/client.py update **options": CLICK,
    "cli/registry/importing/commands.py import_ **options": CLICK,
    "cli/registry/team.py add **options": CLICK,
    "cli/registry/team.py update **options": CLICK,
    "cli/registry/trust/managing.py update **options": CLICK,
    "cli/registry/trust/rule.py add **options": CLICK,
    "cli/registry/trust/rule.py update **options": CLICK,
    "cli/registry/registration/invitation.py new **options": CLICK,
    "cli/registry/registration/register.py register **wanted": CLICK,
    "cli/registry/trust/adding.py from_refused **options": CLICK,
    "cli/registry/trust/adding.py run **options": CLICK,
    "cli/server/guard.py serve **options": CLICK,
    "cli/server/listening/connection.py __init__ **options": "uvicorn's",
    "cli/server/listening/loop.py create_server **options": "asyncio's",
    "cli/server/serve.py serve **options": CLICK,
    "server/published/serving.py __init__ **options": "Starlette's",
    "server/registry/credentials/actions.py _changed **changes": "those of dataclasses.replace",
    "testing/messages.py assertion **changes": JSON,
    "testing/messages.py claims **changes": JSON,
    "testing/messages.py form **parameters": JSON,
    "testing/messages.py proof **claims": JSON,
    "cli/tokens/helper/holder.py run **arguments": CLICK,
    "cli/tokens/platform.py run **options": CLICK,
    "client/http/requests.py again **options": "those of a hook of niquests",
    "client/http/urllib3.py connection_from_host **named": "urllib3's",
    "client/http/urllib3.py urlopen **options": "urllib3's",
    "resource/guard.py unsafe_replaced **options": "those of Guard",
    "testing/server.py access_token **claims": JSON,
    "testing/server.py assertion **claims": JSON,
    "testing/server.py form **parameters": JSON,
    "testing/server.py token **parameters": JSON,
    "testing/tokens.py bearer **members": JSON,
    "testing/tokens.py dpop **members": JSON,
    "testing/tokens.py expired **members": JSON,
    "testing/tokens.py opaque **claims": JSON,
    "testing/tokens.py token **claims": JSON,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def folders() -> list[Path]:
    return sorted({PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")})


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def listed(lines: list[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def length_without_docstring(function: Function) -> int:
    docstring = length(function.body[0]) if ast.get_docstring(function, clean=False) is not None else 0
    return length(function) - docstring


def test_files_are_short() -> None:
    long = [
        f"{shown(path)}: {lines} lines"
        for path in modules()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > FILE_LINES
    ]
    assert not long, f"Over {FILE_LINES} lines; split by subject, not by size:{listed(long)}"


def test_the_median_file_is_short() -> None:
    sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in modules() if path.name != "__init__.py"]
    assert statistics.median(sizes) <= MEDIAN_LINES


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}:{function.lineno} {function.name}: {lines} lines"
        for path in modules()
        for function in functions(path)
        if (lines := length_without_docstring(function)) > FUNCTION_LINES
    ]
    assert not long, f"Over {FUNCTION_LINES} lines without the docstring; give its steps names:{listed(long)}"


def entries(folder: Path) -> list[str]:
    return [
        path.name
        for path in sorted(folder.iterdir())
        if (path.is_dir() and path.name != "__pycache__") or (path.suffix == ".py" and path.name != "__init__.py")
    ]


def test_folders_are_small() -> None:
    crowded = [
        f"{shown(folder)}/ has {len(names)}: {' '.join(names)}"
        for folder in folders()
        if len(names := entries(folder)) > FOLDER_ENTRIES
    ]
    assert not crowded, (
        f"Over {FOLDER_ENTRIES} modules and folders; look for the room that is missing:{listed(crowded)}"
    )


def test_names_say_something() -> None:
    vague = [shown(path) for path in (*modules(), *folders()) if path.stem in BANNED_NAMES]
    assert not vague, f"Names that would hold anything; name the subject instead:{listed(vague)}"


def exists(module: str) -> bool:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def loaded_by(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that this one imports as soon as it is loaded."""
    found = set[str]()
    for node in tree(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= named & known or {str(node.module)}
    return found & known - {module_name(path)}


def test_imports_make_no_circle() -> None:
    known = {module_name(path) for path in modules()}
    try:
        graphlib.TopologicalSorter({module_name(path): loaded_by(path, known) for path in modules()}).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"A circle of imports; move what both need below them: {' <- '.join(error.args[1])}")


def test_imports_for_types_alone_have_a_reason() -> None:
    """As a comment behind `if TYPE_CHECKING:`: the circle, or what would be slow to load."""
    silent = [
        f"{shown(path)}:{node.lineno}"
        for path in modules()
        for node in tree(path).body
        if is_for_types(node) and "#" not in path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
    ]
    assert not silent, f"Import plainly, or say why not in a comment on the line:{listed(silent)}"


def bundles(path: Path) -> Iterator[str]:
    for function in functions(path):
        bundle = function.args.kwarg
        if bundle and bundle.annotation and ast.unparse(bundle.annotation) == "Any":
            yield f"{shown(path)} {function.name} **{bundle.arg}"


def test_parameters_are_named() -> None:
    """The type checker sees nothing of `**options: Any`, and a misspelt name gets through."""
    found = {bundle for path in modules() for bundle in bundles(path)}
    new, stale = sorted(found - BUNDLES.keys()), sorted(BUNDLES.keys() - found)
    assert not new, f"Name the parameters, or pass one value:{listed(new)}"
    assert not stale, f"No longer there; take them off the list:{listed(stale)}"


def undocumented(room: str) -> Iterator[str]:
    module = importlib.import_module(room)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == room]
    for name in getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]:
        value = getattr(module, name)
        if inspect.isroutine(value) and not value.__doc__:
            yield f"{room}.{name}"
        if inspect.isclass(value):
            members = [(f"{name}.{member}", found) for member, found in vars(value).items() if member[0] != "_"]
            routines = [(place, getattr(found, "fget", found)) for place, found in members]
            yield from (f"{room}.{place}" for place, found in routines if callable(found) and not found.__doc__)
            yield from () if value.__doc__ else (f"{room}.{name}",)


@pytest.mark.parametrize("room", [room for room in PUBLIC if exists(room)])
def test_the_public_api_has_docstrings(room: str) -> None:
    silent = list(undocumented(room))
    assert not silent, f"Say what it means, its errors and units:{listed(silent)}"


@pytest.mark.parametrize("role", [role for role in STRANGERS if exists(role)])
def test_roles_load_alone(role: str) -> None:
    program = f"import sys, {role}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    strangers = [name for name in loaded if name.startswith(tuple(f"{root}." for root in STRANGERS[role]))]
    strangers += [name for name in loaded if name in STRANGERS[role]]
    assert not strangers, f"`import {role}` also loads what belongs to another role:{listed(sorted(strangers))}"


@dataclass(frozen=True)
class Classes:
    """The classes that one module defines, imports under another name, and calls."""

    defined: frozenset[str]
    aliases: tuple[tuple[str, str], ...]
    calls: tuple[tuple[str, int], ...]  # with the line

    def names_of(self, class_name: str) -> set[str]:
        """Every name the class has in this module: its own, and those it was imported under."""
        return {class_name, *(alias for name, alias in self.aliases if name == class_name)}


@cache
def classes_in(path: Path) -> Classes:
    """Kept, for every proof asks; without the nodes, which are a million."""
    nodes = list(ast.walk(tree(path)))
    imported = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    calls = [(called(node), node.lineno) for node in nodes if isinstance(node, ast.Call)]
    return Classes(
        frozenset(node.name for node in nodes if isinstance(node, ast.ClassDef)),
        tuple((alias.name, alias.asname) for alias in imported if alias.asname),
        tuple((name, line) for name, line in calls if name is not None),
    )


def called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return None


def makers(proof: str) -> dict[str, list[int]]:
    """The modules that call the class, each with the lines where it does."""
    room, _, class_name = proof.rpartition("/")
    found: dict[str, list[int]] = {}
    for path in modules():
        if not shown(path).startswith(room):
            continue
        module = classes_in(path)
        names = module.names_of(class_name)
        lines = [line for name, line in module.calls if name in names]
        if lines:
            found[shown(path)] = sorted(lines)
    return found


def is_home(module: str, home: str) -> bool:
    return module.startswith(home) if home.endswith("/") else module == home


def defined_classes() -> set[str]:
    return {name for path in modules() for name in classes_in(path).defined}


@pytest.mark.parametrize("proof", sorted(PROOFS))
def test_proofs_have_one_maker(proof: str) -> None:
    assert proof.rpartition("/")[2] in defined_classes(), "the class has another name now"
    home = PROOFS[proof]
    found = makers(proof)
    elsewhere = [
        f"{module}:{line} calls {proof}(...)"
        for module, lines in found.items()
        if not is_home(module, home)
        for line in lines
    ]
    assert not elsewhere, f"{proof} is a proof because only {home} makes it; ask there for one:{listed(elsewhere)}"
    assert proof in MADE_BY_MANY or len(found) <= 1, f"{proof} must have one maker, not {len(found)}:{listed([*found])}"
