"""Checks of the API: what it says without a token, what it publishes about itself, and what it says to the token."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2

from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Examined, Finding
from affiant.cli.diagnosis.checkup.reply import SECONDS, get
from affiant.errors import LocalError, RemoteError
from affiant.jose.strict_json import parse_object
from affiant.system.network import failure, find_proxy, http_client
from affiant.system.text import one_line, printable

_LONGEST = 300  # characters of a challenge that are shown
_METADATA = re.compile(r'resource_metadata="([^"\\]{1,2048})"')
_AT_HOME = "let the API publish them at its own origin (RFC 9728)"
_UNAUTHORIZED, _FORBIDDEN = 401, 403


def api(examined: Examined) -> Iterator[Finding]:
    """It is reachable, and refuses a request without a token."""
    if examined.api is None:
        return
    if not _is_url(examined.api):
        examined.api = None
        yield Finding("api", BAD, "--api is not an http or https URL", "write it like https://api.example/orders")
        return
    with http_client(timeout=SECONDS, follow_redirects=False) as http:
        try:
            reply, _ = get(http, examined.api)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            text = failure(error, examined.api, proxy=find_proxy(examined.api))
            yield Finding("api", BAD, text, f"curl -v {printable(examined.api)}")
            return
        challenge = printable(reply.headers.get("www-authenticate", ""), _LONGEST)
        if reply.status_code == _UNAUTHORIZED:
            yield Finding("api", GOOD, f"without a token it answers 401 {challenge}")
        else:
            text = f"without a token it answers {reply.status_code}, and not 401"
            yield Finding("api", WARNING, text, "is this a route that needs a token? If so, guard it")
        named = _METADATA.search(reply.headers.get("www-authenticate", ""))
        if named is not None:
            yield from _metadata(examined, http, named[1])


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or an impossible port
        return False


def _metadata(examined: Examined, http: httpx2.Client, url: str) -> Iterator[Finding]:
    """The metadata of the API (RFC 9728) name this issuer and this resource."""
    # Attack: the API names an address of another machine, to be asked from inside this network.
    if not _is_url(url) or urlsplit(url)[:2] != urlsplit(examined.api or "")[:2]:
        yield Finding("resource", WARNING, "its metadata are at another origin, and were not fetched", _AT_HOME)
        return
    members = _fetch(http, url)
    resource, servers = members.get("resource"), members.get("authorization_servers")
    if not isinstance(resource, str):
        yield Finding("resource", BAD, f"{printable(url)} has no metadata of an API", "mend what the API publishes")
        return
    wanted = examined.wanted_resource
    if wanted not in (None, resource):
        text = f"it is {printable(resource, _LONGEST)}, and the token is for {wanted}"
        yield Finding(
            "resource", BAD, text, f"ask for its token: --resource {shlex.quote(printable(resource, _LONGEST))}"
        )
    issuer = examined.service.issuer if examined.service is not None else None
    if issuer is not None and isinstance(servers, list) and issuer not in servers:
        listed = ", ".join(printable(server, _LONGEST) for server in servers[:5])
        yield Finding("resource", BAD, f"it trusts {listed}, and not {issuer}", "use credentials of a server it trusts")
    elif wanted in (None, resource):
        yield Finding("resource", GOOD, f"it is {printable(resource, _LONGEST)}, and trusts the issuer")


def _fetch(http: httpx2.Client, url: str) -> dict[str, Any]:
    try:
        reply, body = get(http, url)
        return parse_object(body) if reply.is_success else {}
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return {}


def call(examined: Examined) -> Iterator[Finding]:
    """The API accepts the token."""
    if examined.api is None or examined.token is None or examined.service is None:
        return
    try:
        auth = examined.service.auth(examined.resource, examined.scope or "", origin=examined.api)
        verify = examined.service.tls() if examined.credentials and examined.credentials.certificate else True
        with http_client(timeout=SECONDS, follow_redirects=False, verify=verify) as http:
            reply, _ = get(http, examined.api, auth=auth)
    except (LocalError, RemoteError) as error:
        yield Finding("call", BAD, one_line(error), "name the API by https")
        return
    except (httpx2.HTTPError, httpx2.InvalidURL):  # the check before says why
        return
    text = f"with the token it answers {reply.status_code}"
    challenge = printable(reply.headers.get("www-authenticate", ""), _LONGEST)
    if reply.status_code == _UNAUTHORIZED:
        fix = "affiant token | affiant verify - --issuer … --audience …  shows which check fails"
        yield Finding("call", BAD, f"{text} {challenge}", fix)
    elif reply.status_code == _FORBIDDEN:
        yield Finding("call", WARNING, f"{text} {challenge}", "ask for the scope that it names: --scope")
    else:
        yield Finding("call", GOOD, text)
