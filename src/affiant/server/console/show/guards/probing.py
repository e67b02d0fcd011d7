"""A probe of an API: the commands that send it a good token, one for another API and an expired one.

The console sends nothing itself. Attack: the server would connect to addresses that a visitor names (SSRF). And a good
token is a credential: only the machine of its client gets one, and it goes to a URL below the identifier alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from affiant.errors import ConfigError
from affiant.server.registry import kinds

EXPIRED_AFTER = 40  # seconds: a guard accepts a token for 30 after its end, since clocks differ


class Probe(NamedTuple):
    """The commands for a shell; `problem` says why there are none."""

    url: str
    client_id: str
    other: str  # an API that the client may ask tokens for, too
    script: str
    problem: str = ""


def build(api: Mapping[str, Any], url: str, client_id: str, other: str) -> Probe:
    """Return the probe of this API at this URL, with tokens of this client; `other` is another API of the client."""
    identifier = str(api["identifier"])
    url, client_id = url or (identifier if _is_web(identifier) else ""), client_id or "billing"
    try:
        _check(identifier, url, client_id, other)
    except ConfigError as error:
        return Probe(url, client_id, other, "", str(error))
    return Probe(url, client_id, other, "\n".join(_lines(identifier, url, client_id, other)))


def _lines(identifier: str, url: str, client_id: str, other: str) -> list[str]:
    token = f"affiant token -c {shlex.quote(f'{client_id}.affiant.json')}"
    resource = shlex.quote(identifier)
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' -H \"Authorization: Bearer $2\" {shlex.quote(url)}"
    lines = [
        'try() { [ -n "$2" ] || { echo "✗ $1: no token"; return; }',
        f"  code=$({ask})",
        '  case "$1 $code" in good\\ 401|good\\ 403|good\\ 5*|good\\ 000) m=✗;; good*|*\\ 401) m=✓;; *) m=✗;; esac',
        '  echo "$m $1: $code"; }',
        f'try good "$({token} --resource {resource})"',
    ]
    if other:
        lines.append(f'try other-audience "$({token} --resource {shlex.quote(other)})"')
    lines.append(f"old=$({token} --resource {resource} --task probe --for 1)")
    lines.append(f'sleep {EXPIRED_AFTER}; try expired "$old"')
    return lines


def _check(identifier: str, url: str, client_id: str, other: str) -> None:
    """Raise ConfigError unless the URL is below the identifier, and the names are names."""
    if not kinds.is_client_id(client_id):
        raise ConfigError("this is no client_id")
    if not url:
        raise ConfigError("give the URL of a route of the API")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("a URL is written in ASCII, without spaces")
    if _is_web(identifier) and not is_below(url, identifier):
        raise ConfigError(f"a good token goes to the API alone: the URL must be below {identifier}")
    if not _is_web(identifier) and urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError("this is no http or https URL")
    if other:
        try:
            kinds.API.parse(other)
        except ValueError:
            raise ConfigError("the other API has no such identifier") from None


def is_below(url: str, identifier: str) -> bool:
    """Whether a URL has the scheme and host of the identifier, and its path or one below it."""
    try:
        given, own = urlsplit(url), urlsplit(identifier)
        same = (given.scheme, given.netloc) == (own.scheme, own.netloc)
    except ValueError:
        return False
    path = own.path.rstrip("/")
    # Attack: `..` leads out again, also escaped; and a browser and curl read `\` as `/`.
    is_plain = ".." not in given.path and "%2e" not in given.path.lower() and "\\" not in url
    return same and is_plain and (given.path == path or given.path.startswith(f"{path}/"))


def _is_web(identifier: str) -> bool:
    return identifier.startswith(("https://", "http://"))
