"""Descriptions of the public endpoints and of the server's metadata, for the reference."""

from __future__ import annotations

from affiant.server.published.revocations import LONGEST_WAIT
from affiant.server.request.description import Description, Member, Parameter

_ANYBODY = "anybody"
_AWAY = "503 with `Retry-After` when the store does not answer"
_MATCH = Parameter("If-None-Match", "the `ETag` of a copy that is at hand: 304 when it is still good", "RFC 9110 13.1.2", place="header")  # fmt: skip
_READ = ("GET", "HEAD")
_READ_ANYWHERE = (*_READ, "OPTIONS")  # by pages of any origin
METADATA = (
    Member("issuer", "the issuer identifier, and what client assertions have as their `aud`", "RFC 8414 2"),
    Member("jwks_uri", "the keys that tokens verify with", "RFC 8414 2"),
    Member("response_types_supported", "empty: users do not log in here", "RFC 8414 2"),
    Member("subject_types_supported", "`public`; for readers of OpenID Connect discovery, as are the next", "OpenID Connect Discovery 3"),
    Member("id_token_signing_alg_values_supported", "the algorithms of the keys at `jwks_uri`, with which access tokens are signed; no ID token is ever signed, but some relying parties check access tokens against this", "OpenID Connect Discovery 3"),
    Member("service_documentation", "the pages of the reasons", "RFC 8414 2"),
    Member("token_endpoint", "where tokens are asked for", "RFC 8414 2"),
    Member("token_endpoint_auth_methods_supported", "how clients authenticate there", "RFC 8414 2"),
    Member("token_endpoint_auth_signing_alg_values_supported", "`alg` of client assertions", "RFC 8414 2", "where a method uses assertions"),
    Member("grant_types_supported", "what `grant_type` may be", "RFC 8414 2"),
    Member("dpop_signing_alg_values_supported", "`alg` of DPoP proofs", "RFC 9449 5.1"),
    Member("authorization_details_types_supported", "the types that the registered APIs understand", "RFC 9396 10", "where an API has one"),
    Member("tls_client_certificate_bound_access_tokens", "true: tokens can be bound to certificates", "RFC 8705 3.3", "where client certificates are asked for"),
    Member("mtls_endpoint_aliases", "the endpoints that ask for a certificate, by name", "RFC 8705 5", "with the setting `mtls_url`"),
    Member("introspection_endpoint", "where APIs ask for a token", "RFC 8414 2"),
    Member("introspection_endpoint_auth_methods_supported", "how clients authenticate there", "RFC 8414 2"),
    Member("introspection_endpoint_auth_signing_alg_values_supported", "`alg` of client assertions there", "RFC 8414 2", "where a method uses assertions"),
    Member("introspection_signing_alg_values_supported", "`alg` of signed answers", "RFC 9701 7"),
    Member("revocation_endpoint", "where clients end their tokens", "RFC 8414 2"),
    Member("revocation_endpoint_auth_methods_supported", "how clients authenticate there", "RFC 8414 2"),
    Member("revocation_endpoint_auth_signing_alg_values_supported", "`alg` of client assertions there", "RFC 8414 2", "where a method uses assertions"),
    Member("registration_endpoint", "where clients register themselves", "RFC 8414 2"),
    Member("client_keys_endpoint", "where clients change their keys", "affiant"),
    Member("revocations_uri", "where guards hear of tokens that ended before their time", "affiant"),
    Member("authorization_endpoint", "refuses every request; MSAL and the SDKs of MCP insist on the member", "RFC 8414 2", "with the setting `authorization_endpoint`"),
)  # fmt: skip
DISCOVERY = Description(
    "The [metadata](metadata.md#server-metadata) of the server; may be kept for 5 minutes.",
    _ANYBODY,
    _READ_ANYWHERE,
    statuses=("200", _AWAY),
    answers=(Member("...", "server metadata", "RFC 8414 3.2"),),
)
JWKS = Description(
    "The public keys that tokens verify with, a JWK Set; may be kept as `Cache-Control` says.",
    _ANYBODY,
    _READ_ANYWHERE,
    (_MATCH,),
    ("200", "304 to who has it already", _AWAY),
    (Member("keys", "the keys that are announced, active or retiring", "RFC 7517 5"),),
)
REVOCATIONS = Description(
    "Which tokens ended before their time, for guards that judge tokens by themselves: a JWT with the typ"
    " `revocations+jwt`. [How it is used](../how-to/revocation.md).",
    _ANYBODY,
    _READ_ANYWHERE,
    (
        _MATCH,
        Parameter("wait", f"seconds, at most {LONGEST_WAIT}: with `If-None-Match`, hold the answer back until it is news", "affiant", place="query"),
    ),
    ("200", "304 to who has it already", _AWAY),
)  # fmt: skip
READY = Description(
    "Whether the server should be sent requests.",
    _ANYBODY,
    _READ,
    statuses=("200 when a token could be issued now", "503 when not"),
    answers=(
        Member("status", "`ok` or `failing`", "affiant"),
        Member("why", "what is in the way, an array of sentences", "affiant", "when failing"),
    ),
)
LIVE = Description(
    "Whether the process answers; it says nothing of the store.",
    _ANYBODY,
    _READ,
    answers=(Member("status", "`ok`", "affiant"),),
)
REASONS = Description("The reasons for a refusal, an HTML page.", _ANYBODY, _READ_ANYWHERE)
REASON = Description(
    "One reason, an HTML page: what happened, and what to do. `error_uri` leads here.",
    _ANYBODY,
    _READ_ANYWHERE,
    (Parameter("code", "of the reason", "RFC 6749 5.2", "required", "path"),),
    ("200", "404 with the list of all, for a code that is none"),
)
AUTHORIZE = Description(
    "Answers everything with 400 and `unsupported_response_type`; there with the setting `authorization_endpoint` alone.",
    _ANYBODY,
    ("GET", "HEAD", "POST"),
    statuses=("400",),
    answers=(
        Member("error", "`unsupported_response_type`", "RFC 6749 4.1.2.1"),
        Member("error_description", "a sentence", "RFC 6749 4.1.2.1"),
    ),
)
# By the path below the issuer, or below the host for what RFC 8414 section 3.1 puts before the issuer's path.
BY_PATH = {
    "/.well-known/oauth-authorization-server": DISCOVERY,
    "/.well-known/openid-configuration": DISCOVERY,
    "/jwks": JWKS,
    "/revocations": REVOCATIONS,
    "/health": READY,
    "/health/ready": READY,
    "/health/live": LIVE,
    "/errors": REASONS,
    "/errors/{code}": REASON,
    "/authorize": AUTHORIZE,
}
