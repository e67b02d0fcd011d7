"""The software bill of materials of a server (CycloneDX 1.6), which the wheel has in `.dist-info/sboms` (PEP 770).

It names what requirements.lock pins for `affiant[server]` on Linux. Other extras are not in it, and an installation
without the lock may have other versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from affiant.system.version import __version__

REPO = Path(__file__).resolve().parent.parent
FILE = REPO / "reference" / "affiant-server.cdx.json"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# The same on every machine: a server as it is mostly installed.
_LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.0",
    "python_version": "3.13",
    "sys_platform": "linux",
}
Edges = dict[str, list[str]]


def build() -> str:
    """Return the document; it is the same for the same lock."""
    pinned: dict[str, str] = {canonicalize_name(name): version for name, version in _PINNED.findall(_lock())}
    edges: Edges = {}
    _walk("affiant", frozenset({"server"}), edges)
    names = sorted(name for name in edges if name != "affiant")
    missing = [name for name in names if name not in pinned]
    if missing:
        raise ValueError(f"requirements.lock does not pin {', '.join(missing)}: make lock")
    refs = {name: f"pkg:pypi/{name}@{pinned[name]}" for name in names} | {"affiant": f"pkg:pypi/affiant@{__version__}"}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component("affiant", __version__, refs)},
        "components": [_component(name, pinned[name], refs) for name in names],
        "dependencies": [
            {"ref": refs[name], "dependsOn": sorted(refs[other] for other in set(edges[name]))}
            for name in sorted(edges)
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _lock() -> str:
    return (REPO / "requirements.lock").read_text("utf-8")


def _component(name: str, version: str, refs: dict[str, str]) -> dict[str, Any]:
    return {"type": "library", "bom-ref": refs[name], "name": name, "version": version, "purl": refs[name]}


def _walk(name: str, extras: frozenset[str], edges: Edges) -> None:
    """Add a distribution and what it needs with these extras."""
    wanted = edges.setdefault(name, [])
    for needed in _needs(name, extras):
        other = canonicalize_name(needed.name)
        is_new = other not in edges or bool(needed.extras)
        if other not in wanted:
            wanted.append(other)
        if is_new:
            _walk(other, frozenset(needed.extras), edges)


def _needs(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        found = [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:  # not on this machine
        return
    for one in found:
        environments = [_LINUX | {"extra": extra} for extra in extras or {""}]
        if one.marker is None or any(one.marker.evaluate(environment) for environment in environments):
            yield one
