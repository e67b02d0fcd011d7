"""Checks of the server: what its metadata list, and whether it knows this client."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator

from affiant.cli.diagnosis.checkup.finding import BAD, GOOD, WARNING, Examined, Finding
from affiant.errors import Refused, RemoteError, Unreachable
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.oauth.metadata import well_known_url
from affiant.system.text import one_line

_FIXES = {
    "invalid_scope": "ask for a scope that the client has: affiant client show {client}",
    "invalid_target": "name the API by its identifier with --resource, or let an operator allow it: affiant client show"
    " {client}",
    "unauthorized_client": "let an operator allow the grant client_credentials: affiant client update {client}",
}


def discovery(examined: Examined) -> Iterator[Finding]:
    """The metadata are of this issuer, and name a token endpoint."""
    if examined.service is None:
        return
    url = well_known_url(examined.service.issuer)
    try:
        found = examined.service.discover()
    except RemoteError as error:
        look = f"curl -v {shlex.quote(url)}"
        fix = look if isinstance(error, Unreachable) else f'correct "issuer" in the credentials, or look:  {look}'
        yield Finding("discovery", BAD, one_line(error), fix)
        return
    if found.token_endpoint is None:
        yield Finding("discovery", BAD, "the metadata lack token_endpoint", "is this the server of the tokens?")
        return
    examined.server = found
    yield Finding("discovery", GOOD, f"the issuer is equal; tokens are at {found.token_endpoint}")


def methods(examined: Examined) -> Iterator[Finding]:
    """The server lists the method, the algorithm, the grant and the scope of this client, if it lists any."""
    server, found = examined.server, examined.credentials
    if server is None or found is None:
        return
    alg = examined.alg or found.alg
    wanted = [
        ("token_endpoint_auth_methods_supported", [found.auth_method], BAD),
        ("grant_types_supported", [names.CLIENT_CREDENTIALS], BAD),
        ("scopes_supported", (examined.wanted_scope or "").split(), WARNING),
    ]
    if found.auth_method in (names.PRIVATE_KEY_JWT, names.CLIENT_SECRET_JWT) and alg is not None:
        wanted.append(("token_endpoint_auth_signing_alg_values_supported", [alg], BAD))
    missing = False
    for member, values, state in wanted:
        listed = server.raw.get(member)
        if isinstance(listed, list) and (lacking := [value for value in values if value not in listed]):
            missing = True
            offered = ", ".join(map(str, listed[:12]))
            fix = f"use one of these, and let an operator register it: {offered}"
            yield Finding("metadata", state, f"{member} lacks {', '.join(lacking)}", fix)
    if not missing:
        yield Finding("metadata", GOOD, f"they allow {found.auth_method}{f' with {alg}' if alg else ''}")


def token(examined: Examined) -> Iterator[Finding]:
    """The server knows this client, and gives it a token."""
    if examined.server is None or examined.service is None:
        return
    try:
        got = examined.service.token(examined.resource, examined.scope)
    except Refused as refusal:
        yield Finding("token", BAD, one_line(refusal), _fix(examined, refusal))
        return
    except RemoteError as error:
        yield Finding("token", BAD, one_line(error), "ask the operator of the server")
        return
    examined.token = got
    life = got.expires_at - time.time()
    yield Finding("token", GOOD, f"the client is registered: {got.token_type} token, for {life:.0f} s")
    asked = set((examined.wanted_scope or "").split())
    granted = asked if got.scope is None else set(got.scope.split())
    if asked - granted:
        text = f"{' '.join(sorted(asked - granted))} was asked for and not granted"
        fix = f"let an operator allow it: affiant client show {shlex.quote(examined.service.client_id)}"
        yield Finding("scope", WARNING, text, fix)
    else:
        yield Finding("scope", GOOD, " ".join(sorted(granted)) or "none, and none was asked for")


def _fix(examined: Examined, refusal: Refused) -> str:
    client = shlex.quote(examined.service.client_id if examined.service is not None else "")
    known = examined.thumbprint
    with contextlib.suppress(KeyError):  # a server of affiant says why, once the client has authenticated
        return Reason.from_code((refusal.error_uri or "").rpartition("/")[2]).value.fix
    if refusal.error == "invalid_client":
        mine = f"the key here has the thumbprint {known}" if known else "the secret here may be an old one"
        return f"compare with what is registered, at the server: affiant client show {client}; {mine}"
    trace = f"let an operator run  affiant explain {refusal.trace_id}" if refusal.trace_id else "ask the operator"
    return _FIXES.get(refusal.error, trace).format(client=client)
