"""Templates: every value is escaped, a missing one is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from affiant.server.console import static
from affiant.server.console.show import times
from affiant.server.console.show.snippets import handover
from affiant.system.files import file_name
from affiant.system.version import __version__


class Renderer:
    """Renders the templates of one console."""

    def __init__(self, base: str) -> None:
        self._templates = Environment(
            loader=PackageLoader("affiant.server.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"base": base, "version": __version__}
        self._templates.globals |= {"link": build_link(base), "file": _namer(base)}
        self._templates.filters |= {
            "utc": times.utc,
            "machine": times.machine,
            "duration": times.duration,
            "clock": times.clock,
            "moment": times.moment,
            "capfirst": lambda text: text[:1].upper() + text[1:],
            "cut": lambda text, length: text if len(text) <= length else f"{text[:length]}…",
            "unquoted": unquote,
            "file_of": lambda client: file_name(client["client_id"]),
            "handover": handover.members,
            "count": lambda number: f"{number:,}",
            "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        }
        self._templates.globals["relative"] = times.relative

    def render(self, template: str, **values: Any) -> str:
        """Return the page."""
        return self._templates.get_template(template).render(**values)


def build_link(base: str) -> Callable[..., str]:
    """Return the function that makes the path of a page of this console."""

    def link(*names: str, **query: Any) -> str:
        """Return the path of a page: each name is one segment of it, whatever it contains."""
        given = urlencode({name: value for name, value in query.items() if value not in (None, "")})
        return "/".join((base, *(quote(name, safe="") for name in names))) + (f"?{given}" if given else "")

    return link


def _namer(base: str) -> Any:
    def file(name: str) -> str:
        """Return the path of a file: the same by which modules import it, else a browser would run it twice."""
        return f"{base}{static.PATH}{name}"

    return file
