"""docs/reference/python.md: the public names of the package, from their docstrings."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from reference.markdown import head

# The public modules that tests/test_house.py names, without those that export the names of another one.
MODULES = (
    "affiant",
    "affiant.client",
    "affiant.resource",
    "affiant.resource.replays",
    "affiant.errors",
    "affiant.server.app",
    "affiant.server.settings",
    "affiant.storage.ports",
    "affiant.telemetry",
    "affiant.testing",
)
_TEXT = """\
Every public class and function, with its parameters and errors. `import affiant` has the names that most programs
need. What is not here can change without notice."""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")
_ITEM = re.compile(r"^    (?! )(\*{0,2}\w[\w.]*)(?: \([^)]*\))?: ?(.*)$")
_ROLE = re.compile(r"``([^`]+)``")


def build() -> str:
    """The page, in Markdown."""
    change = "the docstrings in src/affiant"
    seen: dict[int, str] = {}
    return head("Python API", _TEXT, change=change) + "".join(_module(name, seen) for name in MODULES)


def names(module: str) -> list[str]:
    """Return the names that a module exports, or the public ones that it defines."""
    loaded = import_module(module)
    exported: list[str] | None = getattr(loaded, "__all__", None)
    if exported is not None:
        return sorted(exported, key=str.lower)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", "") == module]
    return sorted((name for name in own if not name.startswith("_")), key=str.lower)


def _module(name: str, seen: dict[int, str]) -> str:
    """Return the section of a module. What an earlier module has, too, is only named."""
    loaded = import_module(name)
    summary = (inspect.getdoc(loaded) or "").split("\n\n")[0]
    values = {one: getattr(loaded, one) for one in names(name)}
    again = [f"`{one}`" for one, value in values.items() if id(value) in seen]
    also = f"\nIt also has, from above: {', '.join(again)}.\n" if again else ""
    fresh = {one: value for one, value in values.items() if id(value) not in seen}
    seen.update((id(value), one) for one, value in fresh.items() if inspect.isclass(value) or inspect.isroutine(value))
    shown = "".join(_object(f"{name}.{one}", value) for one, value in fresh.items() if one != "__version__")
    return f"\n## `{name}`\n\n{_prose(summary)}\n{also}{shown}"


def _object(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        members = [(one, getattr(value, one)) for one in names(value.__name__)]
        return f"\n### `{name}`\n\n{_doc(value)}" + "".join(_member(f"{name}.{one}", found) for one, found in members)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return f"\n### `{name}`\n\nA value of type `{type(value).__name__}`.\n"
    methods = _methods(value) if inspect.isclass(value) else ()
    return f"\n### `{name}`\n\n{_signature(name, value)}{_doc(value)}" + "".join(
        _member(f"{name.rpartition('.')[2]}.{one}", found) for one, found in methods
    )


def _methods(value: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class of ours, also those of its bases of ours."""
    if issubclass(value, BaseException | enum.Enum):
        return
    ours = [base for base in value.__mro__ if base.__module__.startswith("affiant")]
    found = dict[str, Any]()
    for base in reversed(ours):
        found |= {name: one for name, one in vars(base).items() if not name.startswith("_")}
    for name, one in found.items():
        plain = one.__func__ if isinstance(one, classmethod | staticmethod) else one
        documented = plain.fget if isinstance(plain, property) else getattr(plain, "func", plain)
        if inspect.isfunction(documented) and documented.__doc__:
            yield name, one


def _member(name: str, value: Any) -> str:
    plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if isinstance(plain, property) or not inspect.isroutine(plain):
        return f"\n#### `{name}`\n\n{_doc(plain)}"
    return f"\n#### `{name}`\n\n{_signature(name, plain)}{_doc(plain)}"


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, BaseException | enum.Enum):
        return ""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (ValueError, TypeError):
        return ""
    shown = [one for one in parameters if one.name not in ("self", "cls")]
    words = [
        "async " if inspect.iscoroutinefunction(value) else "",
        name.rpartition(".")[2],
        f"({', '.join(_parameters(shown))})",
    ]
    return f"`{''.join(words)}`\n\n"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """Yield the parameters: with a default `=...`, since what it is, the text says."""
    named = False
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and not named:
            named = True
            yield "*"
        named = named or one.kind is one.VAR_POSITIONAL
        stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
        yield f"{stars}{one.name}{'=...' if one.default is not one.empty else ''}"


def _doc(value: Any) -> str:
    return "".join(_lines(inspect.getdoc(value) or "")).rstrip() + "\n"


def _lines(text: str) -> Iterator[str]:
    """Yield a docstring in the form of Google as Markdown: its sections become lists."""
    inside = False
    for line in text.splitlines():
        if (section := _SECTION.match(line)) is not None:
            inside = True
            yield f"**{section[1]}**\n\n"
        elif inside and (item := _ITEM.match(line)) is not None:
            yield f"- `{item[1]}`: {_prose(item[2])}\n"
        elif inside and line.startswith("    "):
            yield f"  {_prose(line.strip())}\n"
        else:
            inside = inside and not line
            yield f"{_prose(line)}\n"


def _prose(text: str) -> str:
    return _ROLE.sub(r"`\1`", text)
