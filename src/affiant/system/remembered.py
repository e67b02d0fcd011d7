"""Values that several objects have in common, for as long as one of these objects is in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from affiant.system import forks

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Finds the value of a key, which is made at its first use; it is forgotten when nothing refers to it."""

    def __init__(self) -> None:
        self._values: WeakValueDictionary[object, Value] = WeakValueDictionary()
        self._lock = forks.Lock()

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        """Return the value of this key."""
        try:
            hash(key)
        except TypeError:  # a caller's object, such as a clock, that cannot be a key: nothing is in common
            return make()
        with self._lock:
            found = self._values.get(key)
            if found is None:
                found = self._values[key] = make()
            return found
