"""Parse a captured request: a curl line, a form, a HAR entry, an HTTP request, or a JWT alone."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from base64 import b64encode
from collections.abc import MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from affiant.errors import ConfigError
from affiant.oauth import names
from affiant.server.request.certificate import PEER

FORM_TYPE = "application/x-www-form-urlencoded"
_JWT = re.compile(r"[A-Za-z0-9_=+/-]*\.[A-Za-z0-9_=+/.-]*")
_TOKEN = re.compile(r"(?:Bearer|DPoP) +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)", re.IGNORECASE)
_HTTP = re.compile(r"([A-Z]+) (\S+) HTTP/[0-9.]+\r?\n((?:.*?\r?\n)?)\r?\n(.*)", re.DOTALL)
_HELP = "give a trace id, a JWT, a curl line, a form (a=b&c=d), an HTTP request or a HAR entry"


@dataclass(frozen=True, slots=True)
class Captured:
    """The parts of a request that the token endpoint reads."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    is_bare: bool = False  # a JWT alone, or a call of an API: it may be no client assertion

    def scope(self) -> MutableMapping[str, Any]:
        return {
            "type": "http",
            "method": self.method,
            "path": urlsplit(self.url).path,
            "query_string": urlsplit(self.url).query.encode("utf-8", "replace"),
            PEER: "127.0.0.1",  # not known any more
            "headers": [
                (n.lower().encode("latin-1", "replace"), v.encode("latin-1", "replace"))
                for n, v in (*self.headers, *self._length())
            ],
        }

    def _length(self) -> list[tuple[str, str]]:
        # The sender sent this header, even if it was not captured.
        is_captured = any(name.lower() == "content-length" for name, _ in self.headers)
        return [("Content-Length", str(len(self.body)))] if self.body and not is_captured else []

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": self.body, "more_body": False}


def parse(text: str) -> Captured:
    """Return the request in this text, or raise ConfigError."""
    captured = _read(text.strip().removeprefix("\ufeff"))
    try:
        urlsplit(captured.url)
    except ValueError:
        raise ConfigError(f"the URL of this request cannot be parsed: {_HELP}") from None
    return _call(captured) or captured


def _call(captured: Captured) -> Captured | None:
    """Return the access token of a request to an API: the question is about the token, not the request."""
    shown = [value for name, value in captured.headers if name.lower() == "authorization"]
    found = _TOKEN.fullmatch(shown[0].strip()) if len(shown) == 1 else None
    if found is None or urlsplit(captured.url).path.endswith("/token"):
        return None
    return _bare(found[1])


def _read(text: str) -> Captured:
    if text.startswith("curl"):
        return _curl(text)
    if text.startswith("{"):
        return _har(text)
    if found := _HTTP.fullmatch(text + "\n\n" if "\n\n" not in text and "\r\n\r\n" not in text else text):
        return _http(*found.groups())
    bare = re.sub(r"^(Authorization:\s*)?Bearer\s+", "", text, flags=re.IGNORECASE)
    if _JWT.fullmatch(bare):
        return _bare(bare)
    if "=" in text:
        return Captured("POST", "/token", (("Content-Type", FORM_TYPE),), text.encode())
    raise ConfigError(f"this is not a request in a known format: {_HELP}")


def _bare(jwt: str) -> Captured:
    return replace(_form({"client_assertion": jwt}), is_bare=True)


def _form(members: dict[str, str]) -> Captured:
    form = {
        "grant_type": names.CLIENT_CREDENTIALS,
        "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
        **members,
    }
    return Captured("POST", "/token", (("Content-Type", FORM_TYPE),), urlencode(form).encode())


def _http(method: str, target: str, head: str, body: str) -> Captured:
    lines = [line.partition(":") for line in head.splitlines()]
    return Captured(method, target, tuple((name.strip(), value.strip()) for name, _, value in lines), body.encode())


def _har(text: str) -> Captured:
    try:
        found: Any = json.loads(text)
        if "log" in found:
            entries = found["log"]["entries"]
            found = next((e for e in reversed(entries) if "/token" in e["request"]["url"]), entries[-1])
        request = found.get("request", found)
        headers = tuple((str(h["name"]), str(h["value"])) for h in request["headers"])
        posted = request.get("postData", {})
        body = posted.get("text") or urlencode([(p["name"], p["value"]) for p in posted.get("params", [])])
        return Captured(str(request["method"]), str(request["url"]), headers, str(body).encode())
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, StopIteration, RecursionError):
        raise ConfigError(
            "this JSON is not a HAR entry: request.method, .url, .headers and .postData are needed"
        ) from None


class _Options(argparse.ArgumentParser):
    """The options of curl that say what is sent."""

    def __init__(self) -> None:
        super().__init__(prog="curl", add_help=False, allow_abbrev=False, exit_on_error=False)
        self.add_argument("urls", nargs="*")
        self.add_argument("--url", action="append", dest="urls_named", default=[])
        self.add_argument("-X", "--request")
        self.add_argument("-H", "--header", action="append", default=[])
        self.add_argument("-d", "--data", "--data-ascii", "--data-raw", "--data-binary", action="append", dest="data")
        self.add_argument("--data-urlencode", action="append", dest="encoded", default=[])
        self.add_argument("-u", "--user")
        self.add_argument("-F", "--form", action="append", dest="multipart", default=[])
        self.add_argument("-G", "--get", action="store_true")
        for flag in ("-s", "-S", "-k", "-i", "-v", "-L", "-f", "-g", "-#", "-N", "-4", "-6"):
            self.add_argument(flag, action="store_true", dest="ignored")
        for option in ("-o", "-w", "-A", "-e", "-b", "-c", "-x", "-m", "-E"):
            self.add_argument(option, dest="ignored_too")

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"the curl line cannot be read: {message}")


def _curl(text: str) -> Captured:
    try:
        words = shlex.split(text.replace("\\\r\n", " ").replace("\\\n", " "))[1:]
        chosen, _ = _Options().parse_known_args(words)
    except (ValueError, argparse.ArgumentError) as error:
        raise ConfigError(f"the curl line cannot be read: {error}") from None
    parts = [*(chosen.data or []), *map(_encoded, chosen.encoded)]
    if any(part.startswith("@") for part in parts):
        raise ConfigError("the curl line sends a file (@NAME): replace it by its content")
    headers = [(name.strip(), value.strip()) for name, _, value in (h.partition(":") for h in chosen.header)]
    named = {name.lower() for name, _ in headers}
    if chosen.multipart:
        headers.append(("Content-Type", "multipart/form-data; boundary=x"))
    elif (parts and not chosen.get) and "content-type" not in named:
        headers.append(("Content-Type", FORM_TYPE))
    if chosen.user is not None and "authorization" not in named:
        headers.append(("Authorization", f"Basic {b64encode(chosen.user.encode()).decode('ascii')}"))
    url = next(iter([*chosen.urls_named, *chosen.urls]), "/token")
    body = "&".join(parts)
    if chosen.get:
        return Captured(chosen.request or "GET", f"{url}?{quote(body, safe='=&%+')}", tuple(headers), b"")
    method = chosen.request or ("POST" if parts or chosen.multipart else "GET")
    return Captured(method, url, tuple(headers), body.encode())


def _encoded(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={quote_plus(value)}" if equals else quote_plus(part)
