"""Immutable values that are quick to make.

A frozen dataclass of six fields takes 1.8 µs to make, a Struct 0.1 µs; a request makes sixteen.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class Value(msgspec.Struct, frozen=True):
    """An immutable value, equal to another of the same kind with the same fields.

    Attributes:
        HIDDEN: names of fields that are not in its repr: secrets, and long values.
    """

    HIDDEN: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.HIDDEN)
        return f"{type(self).__name__}({', '.join(shown)})"
