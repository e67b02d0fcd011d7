"""Register a client (RFC 7591), and delete its registration (RFC 7592 section 2.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from affiant.client.protocol import flow
from affiant.client.protocol.flow import NOT_TAKEN, TRY_AGAIN, Patience, Reply, Send, Step
from affiant.errors import LocalError, RemoteError
from affiant.jose.keys import PublicKey
from affiant.jose.strict_json import parse_object
from affiant.oauth import names
from affiant.system.urls import is_safe_url

CREATED, NO_CONTENT = 201, 204
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")  # RFC 6750 section 2.1
_MAX_TEXT = 2048


@dataclass(frozen=True, slots=True)
class Registration:
    """The server's response to a registration (RFC 7591 section 3.2.1)."""

    client_id: str
    scope: str | None  # that the server registered; it may be less than the requested one
    uri: str | None = None  # registration_client_uri, if the server has RFC 7592
    token: str | None = field(default=None, repr=False)  # registration_access_token


def check_token(text: str) -> str:
    """Return the text if it can be a bearer token. The error does not show it."""
    if _TOKEN.fullmatch(text) is None:
        raise LocalError("this is not an initial access token: that is one line of letters, digits and . _ ~ + / -")
    return text


def find_endpoint(issuer: str, *, clock: Callable[[], float]) -> Generator[Step, Reply | None, str]:
    """Return the URL of the registration endpoint. Nothing about the client is sent."""
    server = yield from flow.discover(issuer, clock=clock)
    return flow.endpoint(server, "registration_endpoint", missing="lets no client register itself")


def register(
    url: str,
    initial_access_token: str,
    key: PublicKey,
    *,
    clock: Callable[[], float],
    scope: str | None = None,
    client_name: str | None = None,
) -> Generator[Step, Reply | None, Registration]:
    """Register a client of private_key_jwt with this public key; without a scope, for all that the token allows."""
    check_token(initial_access_token)
    wanted = {
        "token_endpoint_auth_method": names.PRIVATE_KEY_JWT,
        "token_endpoint_auth_signing_alg": key.alg,
        "grant_types": [names.CLIENT_CREDENTIALS],
        "response_types": [],
        "jwks": {"keys": [key.to_jwk()]},
        "scope": scope,
        "client_name": client_name,
    }
    body = json.dumps({name: value for name, value in wanted.items() if value is not None}).encode()
    send = Send("POST", url, {"content-type": "application/json", **_headers(initial_access_token)}, body)
    # Sent again only if the server did not process it: a second request would register a second client.
    reply = yield from flow.persist(lambda: send, Patience(), NOT_TAKEN, clock)
    if reply.status != CREATED:
        raise flow.refusal(reply, url)
    return _read(reply, url)


def deregister(uri: str, token: str, *, clock: Callable[[], float]) -> Generator[Step, Reply | None, None]:
    """Delete the client at the server, and end its tokens."""
    send = Send("DELETE", uri, _headers(check_token(token)))
    reply = yield from flow.persist(lambda: send, Patience(), TRY_AGAIN, clock)
    if reply.status != NO_CONTENT:
        raise flow.refusal(reply, uri)


def _headers(token: str) -> dict[str, str]:
    return {"accept": "application/json", "authorization": f"Bearer {token}"}


def _read(reply: Reply, url: str) -> Registration:
    try:
        members = parse_object(reply.body)
    except ValueError:
        members = dict[str, Any]()
    if not _is_text(members.get("client_id")):
        raise RemoteError(f"{url} did not answer with a registration")
    # RFC 7591 section 3.2.1: the server may replace requested values.
    if members.get("token_endpoint_auth_method") != names.PRIVATE_KEY_JWT:
        raise RemoteError(f"{url} registered the client for another method than {names.PRIVATE_KEY_JWT}")
    uri, token = members.get("registration_client_uri"), members.get("registration_access_token")
    is_managed = _is_text(uri) and _is_text(token) and _TOKEN.fullmatch(str(token)) is not None
    scope = members.get("scope")
    said = str(scope) if _is_text(scope) else None
    if not is_managed:
        return Registration(members["client_id"], said)
    _check_uri(str(uri), url)
    return Registration(members["client_id"], said, str(uri), str(token))


def _check_uri(uri: str, url: str) -> None:
    """Reject a registration_client_uri at another origin: the token must be sent to its server only."""
    if not is_safe_url(uri) or urlsplit(uri)[:2] != urlsplit(url)[:2]:
        raise RemoteError(f"{url} answered with a registration_client_uri of another origin")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable() and value.isascii()
