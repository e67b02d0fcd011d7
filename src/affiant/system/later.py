"""Modules that are loaded at their first use, where most programs that import ours never use them."""

from __future__ import annotations

from typing import Any


class Later:
    """A module of this name: the first attribute that is asked for loads it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        from importlib import import_module  # noqa: PLC0415 - slower to load than this module

        return getattr(import_module(self._name), attribute)
