"""The strings that IANA registers (OAuth Parameters)."""

from __future__ import annotations

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a name
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105

PRIVATE_KEY_JWT = "private_key_jwt"
CLIENT_SECRET_JWT = "client_secret_jwt"  # noqa: S105
CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105
CLIENT_SECRET_POST = "client_secret_post"  # noqa: S105
TLS_CLIENT_AUTH = "tls_client_auth"
SELF_SIGNED_TLS_CLIENT_AUTH = "self_signed_tls_client_auth"
# Ours: the token of a trusted issuer, for which a rule names the client. A client that is registered so has no
# credential of its own; a rule may name any other client too.
FEDERATED_JWT = "federated_jwt"
BY_TLS = (TLS_CLIENT_AUTH, SELF_SIGNED_TLS_CLIENT_AUTH)
# The methods that a client can be registered for, in the order of the metadata, each with the credential it needs.
CREDENTIALS = {
    PRIVATE_KEY_JWT: "keys",
    CLIENT_SECRET_JWT: "secret",
    CLIENT_SECRET_BASIC: "secret",
    CLIENT_SECRET_POST: "secret",
    TLS_CLIENT_AUTH: "subject",  # the name in a certificate
    SELF_SIGNED_TLS_CLIENT_AUTH: "keys",
    FEDERATED_JWT: "rule",
}
AUTH_METHODS = tuple(CREDENTIALS)
BY_KEYS = tuple(name for name, credential in CREDENTIALS.items() if credential == "keys")
BY_SECRET = tuple(name for name, credential in CREDENTIALS.items() if credential == "secret")

REGISTRABLE_METHODS = tuple(name for name in AUTH_METHODS if name != FEDERATED_JWT)  # at /register, and in metadata

SERVICE, AGENT = "service", "agent"
CLIENT_KINDS = (SERVICE, AGENT)
AI_AGENT = "ai_agent"  # as a sub_profile (draft-mcguinness-oauth-actor-profile)

JWT_BEARER_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_SPIFFE_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
ASSERTION_TYPES = (JWT_BEARER_ASSERTION_TYPE, JWT_SPIFFE_ASSERTION_TYPE)
ACCESS_TOKEN_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693 section 3
TXN_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105
JWT_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"  # noqa: S105

CLIENT_ASSERTION_TYP = "client-authentication+jwt"
ACCESS_TOKEN_TYP = "at+jwt"  # noqa: S105
TXN_TOKEN_TYP = "txntoken+jwt"  # noqa: S105
# That an API may have. RFC 9068 section 2.1 knows the first alone; with the last, the API is a trust domain.
ACCESS_TOKEN_TYPES = (ACCESS_TOKEN_TYP, "JWT", TXN_TOKEN_TYP)
DPOP_TYP = "dpop+jwt"
INTROSPECTION_TYP = "token-introspection+jwt"
REVOCATIONS_TYP = "revocations+jwt"  # ours: see oauth/revocations.py

WELL_KNOWN_OAUTH = "/.well-known/oauth-authorization-server"
WELL_KNOWN_OPENID = "/.well-known/openid-configuration"
WELL_KNOWN_RESOURCE = "/.well-known/oauth-protected-resource"
