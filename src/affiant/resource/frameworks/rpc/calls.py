"""A call of gRPC as a request: a POST to the path of its method, whose metadata are the headers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import grpc

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.parameters.need import Need
from affiant.oauth.resource_request import Scope
from affiant.resource.answers import Denied
from affiant.resource.checks import Checks

log: logging.Logger = logging.getLogger(__name__)

MALFORMED = (grpc.StatusCode.INTERNAL, "Exception deserializing request!")  # in gRPC's words
_NO_PROOFS = "gRPC takes no DPoP proofs: send a bearer token, or one that is bound to a certificate"
_CODES = {403: "PERMISSION_DENIED", 404: "UNIMPLEMENTED", 503: "UNAVAILABLE"}  # all others: UNAUTHENTICATED
_SENT = ("WWW-Authenticate", "Retry-After")
_PEER = re.compile(r"ipv[46]:\[?([0-9A-Fa-f.:]+)\]?:[0-9]+", re.ASCII)


def read(guard: Checks, need: Need | Denied, method: str, context: Any) -> tuple[Scope, Need] | Denied:
    """Return what is to be checked, in the form of ASGI, or a refusal. `context` is that of the handler."""
    if isinstance(need, Denied):
        return need
    headers = [(name.encode(), _bytes(value)) for name, value in context.invocation_metadata()]
    authorization = [value for name, value in headers if name == b"authorization"]
    # A proof names a URL, and gRPC gives a handler none.
    if any(value[:5].lower() == b"dpop " for value in authorization):
        denied = guard.deny(Rejected(Reason.TOKEN_BINDING, detail=_NO_PROOFS), authorization)
        return replace(denied, body=json.dumps({"error": denied.error, "error_description": _NO_PROOFS}).encode())
    # TLS of gRPC asks for a certificate only where it verifies it.
    certificates = context.auth_context().get("x509_pem_cert") or ()
    scope = {
        "type": "http",
        "method": "POST",
        "path": method,
        "headers": [(name, value) for name, value in headers if name != b"dpop"],
        "client": _client(context.peer()),
        "extensions": {"tls": {"client_cert_chain": [pem.decode("latin-1") for pem in certificates]}},
    }
    return scope, need


def status(denied: Denied) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]:
    """Return the status code of a refused call, its details, and its trailing metadata."""
    code = getattr(grpc.StatusCode, _CODES.get(denied.status, "UNAUTHENTICATED"))
    trailing = tuple((name.lower(), denied.headers[name]) for name in _SENT if name in denied.headers)
    return code, json.loads(denied.body)["error_description"], trailing


def parse(deserializer: Callable[[bytes], Any] | None, request: Any) -> Any:
    """Return the message of a request, or None if it is none: what gRPC itself would do before the check."""
    if deserializer is None:
        return request
    try:
        return deserializer(request)
    except Exception:  # whatever the API's own code raises
        log.exception("a request cannot be deserialized")
        return None


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _client(peer: str) -> tuple[str, int] | None:
    """Return the address in ``ipv4:127.0.0.1:50051`` or ``ipv6:[::1]:50051``, whose brackets may be escaped."""
    found = _PEER.fullmatch(unquote(peer))
    return (found[1], 0) if found is not None else None
