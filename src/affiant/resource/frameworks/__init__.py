"""The guard in web frameworks: each module turns one framework's requests into checks, and refusals into its answers.

No module has a rule of its own. `Guard` has a method for each, which loads the module when it is called. Where a
framework has applications, its module has ``install(guard, app)``. It serves ``guard.publish()``, answers refusals
exactly, and calls ``guard.warm_up()`` when the application starts, as far as the framework has a place for each.
"""

from __future__ import annotations

from importlib import import_module

from affiant.errors import ConfigError
from affiant.resource.checks import Checks

# By the class of the application: the module in this folder. A class is found by its name, so none is imported.
FRAMEWORKS = {
    "aiohttp.web_app.Application": "aiohttp",
    "fastapi.applications.FastAPI": "fastapi",
    "flask.app.Flask": "flask",
    "litestar.app.Litestar": "litestar",
    "starlette.applications.Starlette": "starlette",
}


def install(guard: Checks, app: object) -> None:
    """Install a guard in an application of a known framework.

    Raises:
        ConfigError: the application is of none of them.
    """
    for kind in type(app).__mro__:
        name = FRAMEWORKS.get(f"{kind.__module__}.{kind.__qualname__}")
        if name is not None:
            import_module(f"affiant.resource.frameworks.{name}").install(guard, app)
            return
    known = ", ".join(sorted(FRAMEWORKS.values()))
    raise ConfigError(f"install() takes an application of {known}, not {type(app).__name__}: wrap it in guard.asgi()")
