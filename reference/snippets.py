"""The examples that the console shows on the page of an API: copied from docs/how-to, where tests run them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

PAGES = Path(__file__).resolve().parent.parent / "docs" / "how-to"
FILE = Path(__file__).resolve().parent.parent / "src/affiant/server/console/show/guards/protect.json"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MADE = re.compile(r"^guard = Guard\(.*\)$", re.MULTILINE)
_GUARD = re.compile(r"`(affiant guard serve [^`]+)`")


class _Wanted(NamedTuple):
    """A block of a page: the first one that has this text."""

    name: str
    title: str
    page: str
    has: str = ""


_WANTED = (
    _Wanted("fastapi", "FastAPI", "fastapi"),
    _Wanted("flask", "Flask", "flask"),
    _Wanted("django", "Django", "django"),
    _Wanted("starlette", "Starlette", "starlette"),
    _Wanted("litestar", "Litestar", "litestar"),
    _Wanted("aiohttp", "aiohttp", "aiohttp"),
    _Wanted("wsgi", "WSGI", "guard", "start_response"),
    _Wanted("asgi", "ASGI", "guard", "guard.asgi"),
    _Wanted("grpc", "gRPC", "grpc"),
    _Wanted("mcp", "MCP, FastMCP", "mcp", "GuardMiddleware("),
    _Wanted("nginx", "nginx", "nginx", "auth_request"),
    _Wanted("caddy", "Caddy", "caddy", "forward_auth"),
    _Wanted("traefik", "Traefik", "traefik", "forwardAuth"),
    _Wanted("envoy", "Envoy", "envoy", "ext_authz"),
    _Wanted("envoy-jwt", "Envoy, jwt_authn", "interop", "remote_jwks"),
    _Wanted("apache", "Apache", "interop", "OAuth2TokenVerify"),
    _Wanted("haproxy", "HAProxy", "interop", "jwt_verify("),
    _Wanted("rabbitmq", "RabbitMQ", "interop", "rabbit_auth_backend_oauth2"),
)


def build() -> str:
    """Return the text of the file."""
    return json.dumps([_find(wanted) for wanted in _WANTED], indent=1, ensure_ascii=False) + "\n"


def _find(wanted: _Wanted) -> dict[str, str]:
    text = (PAGES / f"{wanted.page}.md").read_text("utf-8")
    language, code = next(block for block in _BLOCK.findall(text) if wanted.has in block[1])
    if "guard." in code and "Guard(" not in code:  # the page has made the guard before
        code = f"from affiant import Guard\n\n{_MADE.search(text)[0]}\n\n{code}"  # type: ignore[index]
    command = _GUARD.search(text)
    if command is not None and wanted.page != "guard":  # a proxy asks a guard, which is started so
        code = f"# {' '.join(command[1].split())}\n\n{code}"
    return {
        "name": wanted.name,
        "title": wanted.title,
        "page": f"how-to/{wanted.page}.md",
        "language": language,
        "code": code,
    }
