"""Ask the server whether it has revoked a kept token."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import httpx2

from affiant.client import flow, transport
from affiant.client.flow import Reply, Step
from affiant.errors import Error, Rejected, RemoteError
from affiant.jose import compact
from affiant.jose.key_set import KeySet
from affiant.jose.strict_json import parse_object
from affiant.oauth import revocations
from affiant.oauth.revocations import Feed
from affiant.system import network

_OK = 200


def is_revoked(issuer: str, token: str) -> bool:
    """Whether the token is in the server's feed of revocations.

    False if the server has no feed or does not answer: an API still rejects a revoked token, and scripts continue
    while the server restarts.
    """
    try:
        with network.http_client() as http:
            found = _fetch(issuer, http)
    except (Error, ValueError):
        return False
    return found is not None and found.revokes(_claims(token))


def _fetch(issuer: str, http: httpx2.Client) -> Feed | None:
    server = transport.run(flow.discover(issuer, clock=time.time), http)
    if server.revocations_uri is None:
        return None
    signed = compact.parse(_get(server.revocations_uri, http).decode("ascii"), limit=revocations.MAX_BYTES)
    keys = KeySet.parse(parse_object(_get(server.require_jwks_uri(), http)))
    key = keys.find(signed.kid) if signed.kid is not None else None
    if key is None:
        raise RemoteError(f"{server.jwks_uri} has no key for the revocations")
    return revocations.verify(compact.verify(signed, key), issuer=issuer, now=time.time())


def _claims(token: str) -> dict[str, Any]:
    try:
        return compact.parse(token).claims
    except Rejected:  # not a JWT, so from another server: no revocation names it
        return {}


def _get(url: str, http: httpx2.Client) -> bytes:
    reply = transport.run(_ask(url), http)
    if reply.status != _OK:
        raise RemoteError(f"{url} answered {reply.status}")
    return reply.body


def _ask(url: str) -> Generator[Step, Reply | None, Reply]:
    patience, asked = flow.Patience(attempts=1), flow.Send("GET", url, limit=revocations.MAX_BYTES)
    return (yield from flow.persist(lambda: asked, patience, flow.TRY_AGAIN, time.time))
