"""The authentication methods, one file each; a new file here is found without being listed."""

from __future__ import annotations

import importlib
import pkgutil

from affiant.server.client_auth.method import Method

_FOUND: list[Method] = [
    importlib.import_module(f"{__name__}.{module.name}").METHOD for module in pkgutil.iter_modules(__path__)
]
METHODS = sorted(_FOUND, key=lambda method: method.is_last)
PLACES = {name: place for method in METHODS for name, place in method.places.items()}
