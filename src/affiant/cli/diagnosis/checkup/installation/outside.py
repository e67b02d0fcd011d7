"""Checks of the server as its clients reach it, at its issuer: through proxies, with TLS."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from affiant.cli.diagnosis.checkup import network
from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Finding
from affiant.cli.diagnosis.checkup.installation.inspected import Installation
from affiant.cli.diagnosis.checkup.reply import SECONDS, get
from affiant.jose.strict_json import parse_object
from affiant.oauth.metadata import well_known_url
from affiant.system.network import failure, find_proxy, http_client
from affiant.system.text import printable

_LONGEST = 200  # characters of a foreign text that are shown
_REDIRECT, _NOT_FOUND = 300, 400


def issuer(found: Installation) -> Iterator[Finding]:
    """The metadata, the keys and the health at the issuer are those of this server."""
    if found.facts is None:
        return
    if not found.facts.is_issuer_known:
        text = "it is not set, so the server was not checked from outside"
        yield Finding("issuer", WARNING, text, "affiant serve --issuer https://NAME, once")
        return
    at = found.facts.issuer
    yield from network.certificate(at)
    with http_client(timeout=SECONDS, follow_redirects=False) as http:
        sent_at = time.time()
        try:
            reply, body = get(http, well_known_url(at))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            why = failure(error, at, proxy=find_proxy(at))
            yield Finding("issuer", BAD, why, f"is the server running?  curl -v {shlex.quote(well_known_url(at))}")
            return
        members = _members(reply, body)
        yield from _metadata(at, reply, members)
        if members.get("issuer") == at:
            yield from network.compare(reply, sent_at)
            yield _keys(http, at, found.facts.kids)
            yield _health(http, at)


def _members(reply: httpx2.Response, body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body) if reply.is_success else {}
    except ValueError:
        return {}


def _metadata(at: str, reply: httpx2.Response, members: dict[str, Any]) -> Iterator[Finding]:
    url, look = well_known_url(at), f"curl -v {shlex.quote(well_known_url(at))}"
    if _REDIRECT <= reply.status_code < _NOT_FOUND:
        to = printable(reply.headers.get("location", ""), _LONGEST)
        text = f"{url} redirects to {to}, and clients do not follow"
        yield Finding("issuer", BAD, text, "let the proxy serve this path, or set the issuer to the target")
    elif not members:
        text = f"{url} answers {reply.status_code}, and not with metadata"
        yield Finding("issuer", BAD, text, f"let the proxy pass on every path of the server:  {look}")
    elif members.get("issuer") != at:
        named = printable(str(members.get("issuer")), _LONGEST)
        text = f"the server there says that it is {named}"
        yield Finding("issuer", BAD, text, f"give it this name: affiant serve --issuer {shlex.quote(at)}")
    else:
        hsts = at.startswith("https://") and "strict-transport-security" not in reply.headers
        yield Finding("issuer", GOOD, f"{at} reaches this server{', without HSTS' if hsts else ''}")


def _keys(http: httpx2.Client, at: str, kids: frozenset[str]) -> Finding:
    url, fix = f"{at}/jwks", "the server there has other data: compare AFFIANT_DATA, or restart it"
    try:
        reply, body = get(http, url)
        published = {str(key.get("kid")) for key in parse_object(body)["keys"]} if reply.is_success else set()
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        published = set()
    if published == kids:
        return Finding("keys", GOOD, f"{url} has the {len(kids)} of the database")
    if published & kids:
        text = f"{url} has {len(published)} keys and the database {len(kids)}: a cache in between has old ones"
        return Finding("keys", WARNING, text, "let the proxy obey Cache-Control, and look again in a minute")
    return Finding("keys", BAD, f"{url} has none of the keys of this database", fix)


def _health(http: httpx2.Client, at: str) -> Finding:
    fix = f"curl -i {shlex.quote(at)}/health"
    try:
        reply, body = get(http, f"{at}/health")
        why = [printable(text, _LONGEST) for text in json.loads(body).get("why", ())][:3]
    except (httpx2.HTTPError, ValueError, AttributeError, TypeError):
        return Finding("health", WARNING, f"{at}/health does not answer as this server does", fix)
    if reply.is_success:
        return Finding("health", GOOD, "it issues tokens")
    return Finding("health", BAD, f"it answers {reply.status_code}: {'; '.join(why)}", fix)
