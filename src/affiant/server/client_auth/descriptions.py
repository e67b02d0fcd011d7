"""The parameters that authenticate a client, for the reference."""

from __future__ import annotations

from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.server.request.description import Parameter

_PROOF = "dpop."  # only at the token endpoint
CALLER = "a client, authenticated as it is registered"
PARAMETERS = (
    Parameter("client_assertion", "a JWT that the client signed for this one request; at most 16,384 characters", "RFC 7521 4.2", "for `private_key_jwt` and `client_secret_jwt`"),
    Parameter("client_assertion_type", f"`{names.JWT_BEARER_ASSERTION_TYPE}`", "RFC 7523 2.2", "with `client_assertion`, and only then"),
    Parameter("client_id", "the client; next to an assertion or `Authorization` it must name the same client", "RFC 6749 2.3.1", "for `client_secret_post` and mutual TLS"),
    Parameter("client_secret", "the client's secret", "RFC 6749 2.3.1", "for `client_secret_post`"),
    Parameter("Authorization", "`Basic` and base64 of client_id:client_secret, both form-encoded before. `Bearer` and `DPoP` authenticate no client, and are ignored next to `client_secret`", "RFC 6749 2.3.1", "for `client_secret_basic`", "header"),
    Parameter("Client-Cert", "the certificate of the client, in DER, as base64 between colons, or another header if `client_certificate_header` names one; believed only from `client_certificate_proxies`", "RFC 9440 2.2", "for mutual TLS behind a proxy", "header"),
    Parameter("Content-Type", "`application/x-www-form-urlencoded`, in UTF-8", "RFC 6749 3.2", "required", "header"),
)  # fmt: skip
# The reasons to refuse a form and its sender.
REFUSES = (*(r.code for r in Reason if r.value.step and not r.code.startswith(_PROOF)), "limit", "server")
