"""What a client may bring to authenticate, as the reference tells it."""

from __future__ import annotations

from affiant.oauth import names
from affiant.reasons import Reason
from affiant.server.request.described import Parameter

_PROOF = "dpop."  # which the token endpoint alone takes
CALLER = "a client, authenticated as it is registered"
PARAMETERS = (
    Parameter("client_assertion", "a JWT that the client made for this one request; at most 16,384 characters", "RFC 7521 4.2", "for `private_key_jwt` and `client_secret_jwt`"),
    Parameter("client_assertion_type", f"`{names.JWT_BEARER_ASSERTION_TYPE}`", "RFC 7523 2.2", "with `client_assertion`, and only then"),
    Parameter("client_id", "who asks; beside an assertion or `Authorization` it must name the same client", "RFC 6749 2.3.1", "for `client_secret_post` and mutual TLS"),
    Parameter("client_secret", "the client's secret", "RFC 6749 2.3.1", "for `client_secret_post`"),
    Parameter("Authorization", "`Basic` and base64 of client_id:client_secret, both form-encoded before. `Bearer` and `DPoP` authenticate no client, and are passed over beside `client_secret`", "RFC 6749 2.3.1", "for `client_secret_basic`", "header"),
    Parameter("Client-Cert", "the certificate that the client showed, in DER, as base64 between colons, or another header if `client_certificate_header` says so; believed from `client_certificate_proxies` alone", "RFC 9440 2.2", "for mutual TLS behind a proxy", "header"),
    Parameter("Content-Type", "`application/x-www-form-urlencoded`, in UTF-8", "RFC 6749 3.2", "required", "header"),
)  # fmt: skip
# Whatever a form and its sender are refused for.
REFUSES = (*(r.code for r in Reason if r.value.rung and not r.code.startswith(_PROOF)), "limit", "server")
