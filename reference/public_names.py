"""The public Python API as lines: each exported name with its signature, so that no change of it passes unseen."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from reference.python_api import MODULES, names

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "public-names.txt"
_OWN = ("__call__", "__init__")


def build() -> str:
    """Return a line for each public name and each public member of a public class."""
    return "".join(f"{line}\n" for module in MODULES for line in _lines(module))


def _lines(name: str) -> Iterator[str]:
    module = import_module(name)
    for exported in sorted(names(name)):
        value = getattr(module, exported)
        if inspect.isclass(value):
            yield f"{name}.{exported}{_bases(value)}"
            yield from (f"{name}.{exported}.{line}" for line in _members(value))
        elif callable(value):
            yield f"{name}.{exported}{_signature(value)}"
        else:
            yield f"{name}.{exported}"


def _bases(found: type) -> str:
    own = [base.__name__ for base in found.__bases__ if base is not object and not base.__name__.startswith("_")]
    return f"({', '.join(own)})" if own else ""


def _members(found: type) -> Iterator[str]:
    """Yield what a class has of its own and of bases of affiant, as it is called."""
    fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
    own = {name for base in found.__mro__ if base.__module__.startswith("affiant") for name in vars(base)}
    annotated = {name for base in found.__mro__ if base.__module__.startswith("affiant") for name in _annotations(base)}
    for name in sorted(own | fields | annotated):
        if name.startswith("_") and name not in _OWN:
            continue
        value = inspect.getattr_static(found, name, None)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        yield f"{name}{_signature(value)}" if inspect.isfunction(value) else name


def _annotations(found: type) -> Any:
    return vars(found).get("__annotations__", {})


def _signature(value: Any) -> str:
    """Return the parameters by name and kind, and whether each has a default; types and defaults may grow."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return ""
    bare = [
        one.replace(annotation=inspect.Parameter.empty, default=... if one.default is not one.empty else one.empty)
        for one in parameters
    ]
    return str(inspect.Signature(bare)).replace("Ellipsis", "...")
