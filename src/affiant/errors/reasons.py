"""The closed list of reasons for a refusal.

A reason goes into the answer and the audit log, has a page at ``<issuer>/errors/<code>``, and is counted; all of them
read this list.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Row(NamedTuple):
    """One reason."""

    code: str  # dotted, such as assertion.audience; stable
    status: int  # of the HTTP answer
    error: str  # the OAuth error code of the answer
    step: int  # of client authentication, 0 outside it
    sentence: str  # in the characters that RFC 6749 section 5.2 allows
    fix: str
    source: str  # the paragraph that demands the refusal


class Reason(Enum):
    """Code, status, error and step; the sentence; the fix, and the rule."""

    # fmt: off
    # step 1: the form
    METHOD = Row("request.method", 405, "invalid_request", 1, "this endpoint does not take this method",
        "Send the request by a method that the Allow header of the answer names; tokens are asked for by POST.", "RFC 6749 3.2")
    CONTENT_TYPE = Row("request.content_type", 400, "invalid_request", 1, "the body must be application/x-www-form-urlencoded, in UTF-8",
        "Send the parameters as a form, with that Content-Type.", "RFC 6749 3.2")
    NO_BODY = Row("request.no_body", 400, "invalid_request", 1, "the request has no body; the parameters go into it, as application/x-www-form-urlencoded",
        "Send the parameters as a form in the body: curl -d grant_type=client_credentials -d ...", "RFC 6749 3.2")
    TOO_LARGE = Row("request.too_large", 413, "invalid_request", 1, "the body is larger than 64 KiB",
        "Send only the parameters of the grant.", "RFC 9110 15.5.14")
    TOO_MANY_PARAMETERS = Row("request.too_many_parameters", 400, "invalid_request", 1, "the form has more than 32 parameters",
        "Send only the parameters of the grant.", "RFC 6749 3.2")
    ENCODING = Row("request.encoding", 400, "invalid_request", 1, "the form has broken percent-encoding or is not UTF-8",
        "Encode the form with the HTTP library.", "RFC 6749 B")
    IN_QUERY = Row("request.credentials_in_query", 400, "invalid_request", 1, "credentials and grant parameters belong in the body, never in the URL",
        "Move every parameter from the URL to the form. A secret that was in a URL may be in logs: replace it.", "RFC 6749 2.3.1")
    DUPLICATE_PARAMETER = Row("request.duplicate_parameter", 400, "invalid_request", 1, "a parameter is in the form more than once",
        "Send each parameter once; only resource and audience may repeat.", "RFC 6749 3.2")
    MISSING_PARAMETER = Row("request.missing_parameter", 400, "invalid_request", 1, "a parameter that this request needs is missing",
        "Add it.", "RFC 6749 5.2")
    BAD_FRAMING = Row("request.incomplete", 400, "invalid_request", 1, "the body ended before it was complete",
        "Send the request again.", "RFC 9112 8")
    TOO_SLOW = Row("request.too_slow", 408, "invalid_request", 1, "the body did not arrive within 5 seconds",
        "Send the whole form at once.", "RFC 9110 15.5.9")
    # step 2: one way to authenticate
    HALF_ASSERTION = Row("request.incomplete_assertion", 400, "invalid_request", 2, "client_assertion and client_assertion_type must come together",
        "Send client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer with client_assertion.", "RFC 7521 4.2")
    ASSERTION_TYPE = Row("request.assertion_type", 400, "invalid_request", 2, "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "Send exactly that value.", "RFC 7523 2.2")
    MULTIPLE_METHODS = Row("request.multiple_methods", 400, "invalid_request", 2, "more than one authentication method was used",
        "Use either the Authorization header or client_secret, not both.", "RFC 6749 2.3")
    MISPLACED_ASSERTION = Row("request.assertion_in_wrong_parameter", 400, "invalid_request", 2, "with grant_type=client_credentials a JWT goes into client_assertion, with client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer and without client_secret. Only a client registered with the guide profile may send assertion, and then everything in the request must verify",
        "Rename assertion to client_assertion, add client_assertion_type, drop client_secret, make sub the client_id.", "RFC 7523 2.2")
    ASSERTION_AND_OTHER = Row("client.assertion_and_other_method", 401, "invalid_client", 2, "a client assertion was sent together with another authentication method",
        "Send the assertion alone: no client_secret and no Authorization header.", "RFC 7521 4.2.1")
    NO_CREDENTIALS = Row("client.no_credentials", 401, "invalid_client", 2, "the request does not authenticate a client",
        "Send client_assertion and client_assertion_type, or authenticate by the registered method (affiant client show).", "RFC 6749 3.2.1")
    BASIC_MALFORMED = Row("client.authorization_malformed", 401, "invalid_client", 2, "the Authorization header is not Basic with base64 of client_id:client_secret",
        "Form-encode both, join them with a colon, encode the result in base64.", "RFC 6749 2.3.1")
    CERTIFICATE_HEADER = Row("certificate.header", 400, "invalid_request", 2, "the client certificate that came with the request cannot be read",
        "Configure the proxy to send the certificate in one header, in the format that client_certificate_header names (see docs/how-to/mtls.md).", "RFC 9440 2.2")
    # step 3: the assertion is a compact JWS
    JWT_TOO_LONG = Row("assertion.too_long", 401, "invalid_client", 3, "the assertion is longer than 16,384 characters",
        "Leave out unused claims and header parameters.", "RFC 8725 3.3")
    JWT_CHARACTERS = Row("assertion.characters", 401, "invalid_client", 3, "the assertion has characters outside A-Z a-z 0-9 _ - and the dots",
        "Use base64url without padding, and send no white space or line ends.", "RFC 7515 2")
    JWT_PARTS = Row("assertion.parts", 401, "invalid_client", 3, "the assertion does not have three parts",
        "Make the assertion with a JWT library, and send its compact form unchanged.", "RFC 7515 3.1")
    JWT_ENCRYPTED = Row("assertion.encrypted", 401, "invalid_client", 3, "the assertion is encrypted (five parts); it must be signed only",
        "Sign, do not encrypt.", "RFC 8725 3.3")
    JWT_BASE64URL = Row("assertion.base64url", 401, "invalid_client", 3, "a part of the assertion is not canonical base64url",
        "Make the assertion with a JWT library, and send its compact form unchanged.", "RFC 7515 2")
    JWT_JSON = Row("assertion.json", 401, "invalid_client", 3, "header or payload is not one strict JSON object: UTF-8, no member twice, finite numbers, not nested deeply",
        "Make the assertion with a JWT library, and send its compact form unchanged.", "RFC 7519 7.2")
    JWT_CRIT = Row("assertion.critical_header", 401, "invalid_client", 3, "the header has crit or b64, which are not supported here",
        "Leave crit and b64 out.", "RFC 7515 4.1.11")
    JWT_ALG = Row("assertion.algorithm_missing", 401, "invalid_client", 3, "the header has no alg that is a string",
        "Make the assertion with a JWT library, and send its compact form unchanged.", "RFC 7515 4.1.1")
    JWT_KID = Row("assertion.kid", 401, "invalid_client", 3, "the header has a kid that is not a string of 1 to 256 characters",
        "Make the assertion with a JWT library, and send its compact form unchanged.", "RFC 7515 4.1.4")
    # step 4: the names
    JWT_TYP = Row("assertion.type", 401, "invalid_client", 4, "typ must be absent, JWT or client-authentication+jwt",
        "Set typ to client-authentication+jwt; an access token or a proof is no client assertion.", "RFC 8725 3.11")
    ISS_SUB = Row("assertion.issuer_subject", 401, "invalid_client", 4, "iss and sub must both be the client_id",
        "Set iss and sub to the client_id.", "RFC 7523 3")
    TRUST_UNKNOWN = Row("trust.unknown", 401, "invalid_client", 4, "this server does not trust the issuer of this token",
        "Let an operator trust the issuer: affiant trust add. A client that signs its own assertion sets both iss and sub to its client_id.", "RFC 7523 3")
    TRUST_SPIFFE_ID = Row("trust.spiffe_id", 401, "invalid_client", 4, "sub is not a SPIFFE ID",
        "Send a JWT-SVID as the Workload API gives it: its sub is spiffe://DOMAIN/PATH, without empty segments, escapes or a port.", "SPIFFE-ID 2")
    CLIENT_ID = Row("assertion.client_id", 401, "invalid_client", 4, "the parameter client_id names another client than the assertion",
        "Send the client_id of the assertion, or none.", "RFC 7521 4.2")
    # step 5: the client
    CLIENT_UNKNOWN = Row("client.unknown", 401, "invalid_client", 5, "no client has this client_id",
        "Register it: affiant client new.", "RFC 6749 5.2")
    CLIENT_DISABLED = Row("client.disabled", 401, "invalid_client", 5, "the client is disabled",
        "Enable it: affiant client enable.", "RFC 6749 5.2")
    TRUST_DISABLED = Row("trust.disabled", 401, "invalid_client", 5, "the trust in the issuer of this token is disabled",
        "Enable it to take its tokens again: affiant trust enable NAME.", "RFC 7523 3")
    CLIENT_METHOD = Row("client.method", 401, "invalid_client", 5, "the client is registered for another authentication method",
        "Authenticate as registered (affiant client show).", "RFC 7591 2")
    # step 6: the key
    KEY_ALGORITHM = Row("key.algorithm", 401, "invalid_client", 6, "the alg is not one that the client's key and method allow",
        "Compare the key that signs with the keys that are registered for this client (affiant client show).", "RFC 8725 3.1")
    KEY_UNKNOWN = Row("key.unknown", 401, "invalid_client", 6, "no key with this kid is registered for the client",
        "Compare the key that signs with the keys that are registered for this client (affiant client show).", "RFC 7515 4.1.4")
    TRUST_KEYS = Row("trust.keys_unavailable", 401, "invalid_client", 6, "the keys of the trusted issuer are not available",
        "Look at  affiant trust show NAME,  and upload the keys where this server cannot reach the issuer: affiant trust update NAME --jwks FILE.", "RFC 7523 3")
    TRUST_KEY_UNKNOWN = Row("trust.key_unknown", 401, "invalid_client", 6, "the trusted issuer has no key that fits this token",
        "If the issuer has changed its keys and they were uploaded, upload the new ones: affiant trust update NAME --jwks FILE.", "RFC 7517 4.5")
    KEY_NONE = Row("key.none", 401, "invalid_client", 6, "the client has no live key that fits the alg",
        "Compare the key that signs with the keys that are registered for this client (affiant client show).", "RFC 7515 D")
    JWKS_BLOCKED = Row("jwks.blocked", 401, "invalid_client", 6, "the host of the client's jwks_uri has an address that this server may not connect to",
        "Publish the keys at a public address, or ask the operator to allow this one (jwks_uri_allow).", "RFC 8725 3.10")
    JWKS_UNAVAILABLE = Row("jwks.unavailable", 401, "invalid_client", 6, "the client's jwks_uri cannot be reached, and its keys are not known",
        "Make the jwks_uri reachable from the server: check its name, port and firewall.", "RFC 7591 2")
    JWKS_TIMEOUT = Row("jwks.timeout", 401, "invalid_client", 6, "the client's jwks_uri did not answer within 3 seconds",
        "Publish the keys as a file or behind a cache, so that the answer is fast.", "RFC 7591 2")
    JWKS_TLS = Row("jwks.tls", 401, "invalid_client", 6, "the certificate of the client's jwks_uri is not valid",
        "Give the host of the jwks_uri a certificate for its name, of an authority that this server trusts.", "RFC 9110 4.3.4")
    JWKS_STATUS = Row("jwks.status", 401, "invalid_client", 6, "the client's jwks_uri does not answer with 200; redirects are not followed",
        "Register the final address of the keys, not one that redirects.", "RFC 9110 15")
    JWKS_TOO_LARGE = Row("jwks.too_large", 401, "invalid_client", 6, "the answer of the client's jwks_uri is larger than 64 KiB",
        "Publish only the keys of this client.", "RFC 7517 5")
    JWKS_MALFORMED = Row("jwks.malformed", 401, "invalid_client", 6, "the answer of the client's jwks_uri is not a JWK Set with a usable key",
        "Publish an object with an array of public keys, uncompressed, as application/jwk-set+json.", "RFC 7517 5")
    JWKS_STALE = Row("jwks.stale", 401, "invalid_client", 6, "the client's keys are too old, and its jwks_uri gives no new ones",
        "Make the jwks_uri reachable from the server: cached keys are used for at most 24 hours.", "RFC 9111 4.2.4")
    # step 7: the proof
    SIGNATURE = Row("signature.invalid", 401, "invalid_client", 7, "the signature does not verify",
        "Compare the key that signs with the keys that are registered for this client (affiant client show).", "RFC 7515 5.2")
    SECRET = Row("secret.invalid", 401, "invalid_client", 7, "the secret is not the client's",
        "Use the secret from the moment of its creation; it is not shown again.", "RFC 6749 2.3.1")
    CERTIFICATE = Row("certificate.not_registered", 401, "invalid_client", 7, "the certificate is not the client's",
        "Compare the certificate with the name or the key that is registered for this client (affiant client show).", "RFC 8705 2")
    CERTIFICATE_TIME = Row("certificate.not_valid_now", 401, "invalid_client", 7, "the certificate has expired, or is not valid yet",
        "Renew the certificate of the client.", "RFC 5280 4.1.2.5")
    # step 8: the audience
    TYP_EXPLICIT = Row("assertion.type_not_explicit", 401, "invalid_client", 8, "this client's assertions must have typ client-authentication+jwt",
        "Set typ to client-authentication+jwt.", "RFC 8725 3.11")
    JKU = Row("assertion.jku", 401, "invalid_client", 8, "jku is not the jwks_uri that is registered for the client",
        "Set jku to the jwks_uri that is registered (affiant client show), or leave it out: keys are fetched from there only.", "RFC 7515 4.1.2")
    TRUST_AUDIENCE = Row("trust.audience", 401, "invalid_client", 8, "aud of the token is not what the trust expects",
        "Let the platform write the issuer identifier of this server into aud, alone; or set what it writes: affiant trust update NAME --audience AUD.", "RFC 7523 3")
    AUDIENCE = Row("assertion.audience", 401, "invalid_client", 8, "aud must be the issuer of this server, alone",
        "Set aud to the issuer exactly as the server's metadata spell it.", "draft-ietf-oauth-rfc7523bis 4")
    # step 9: the time
    EXP_MISSING = Row("assertion.exp", 401, "invalid_client", 9, "exp must be present and a number of seconds",
        "Set exp to now plus 60 seconds.", "RFC 7523 3")
    TIME_CLAIM = Row("assertion.time_claim", 401, "invalid_client", 9, "iat and nbf must be numbers of seconds, and not after exp",
        "Leave nbf out and set iat to now.", "RFC 7519 2")
    EXPIRED = Row("assertion.expired", 401, "invalid_client", 9, "the assertion has expired",
        "Compare the clocks of both machines (timedatectl status), and sign a new assertion for each request.", "RFC 7523 3")
    TRUST_LIFETIME = Row("trust.lifetime", 401, "invalid_client", 9, "the token lives longer than the trust allows",
        "Ask the platform for a token with a shorter life, or allow it: affiant trust update NAME --max-lifetime SECONDS.", "RFC 7521 5.2")
    LIFETIME = Row("assertion.lifetime", 401, "invalid_client", 9, "exp is more than 300 seconds away",
        "Set exp to now plus 60, in seconds (not milliseconds).", "RFC 7523 3")
    NOT_YET = Row("assertion.not_yet_valid", 401, "invalid_client", 9, "nbf is in the future",
        "Compare the clocks of both machines (timedatectl status), and sign a new assertion for each request.", "RFC 7519 4.1.5")
    IAT_FUTURE = Row("assertion.issued_in_future", 401, "invalid_client", 9, "iat is in the future",
        "Compare the clocks of both machines (timedatectl status), and sign a new assertion for each request.", "RFC 7519 4.1.6")
    IAT_OLD = Row("assertion.issued_long_ago", 401, "invalid_client", 9, "iat is more than 300 seconds ago",
        "Compare the clocks of both machines (timedatectl status), and sign a new assertion for each request.", "RFC 7523 3")
    BEFORE_RESTORE = Row("assertion.before_restore", 401, "invalid_client", 9, "the server was restored from a backup, and an assertion from before that may have been used",
        "Sign a new assertion, with iat, half a minute after the restore.", "RFC 7523 3")
    # step 10: the jti
    JTI = Row("assertion.jti", 401, "invalid_client", 10, "jti must be a string of 1 to 256 characters",
        "Set jti to a new random value for each assertion.", "OpenID Connect Core 9")
    TRUST_FEED = Row("trust.feed_unavailable", 401, "invalid_client", 10, "the revocations of the trusted server are not known",
        "Let this server reach the issuer and its revocations_uri: see  affiant trust show NAME.", "RFC 7523 3")
    TRUST_REVOKED = Row("trust.revoked", 401, "invalid_client", 10, "the server that issued this token has revoked it",
        "Request a new token there: its client or its key may be disabled.", "RFC 7009 2")
    TRUST_REFUSES = Row("trust.refuses", 401, "invalid_client", 10, "the trust refuses tokens with this claim",
        "Run the job another way: this kind of token is one that outsiders can obtain. affiant trust show NAME lists what it refuses.", "RFC 7523 3")
    TRUST_AMBIGUOUS = Row("trust.ambiguous", 401, "invalid_client", 10, "more than one rule, or trust, fits this token",
        "Send client_id to choose, or narrow the rules: affiant rule list.", "RFC 7523 3")
    RULE_NONE = Row("rule.none", 401, "invalid_client", 10, "no rule fits this token",
        "Compare the token with the rules: affiant trust test FILE.", "RFC 7523 3")
    RULE_COPIES = Row("rule.copied_claims", 401, "invalid_client", 10, "the claims that the rule copies are too long for an access token",
        "Copy fewer: affiant rule update NAME --copy-claim CLAIM.", "RFC 7519 4")
    DPOP_MISSING = Row("dpop.missing", 400, "invalid_dpop_proof", 10, "this client's tokens are bound to a key, and the request brings no DPoP proof",
        "Send a DPoP header with a proof (RFC 9449), or allow the client tokens without a proof: affiant client update NAME --dpop optional.", "RFC 9449 5.2")
    DPOP_HEADERS = Row("dpop.headers", 400, "invalid_dpop_proof", 10, "the request must have one DPoP header",
        "Send one proof, in one header.", "RFC 9449 4.3")
    DPOP_MALFORMED = Row("dpop.malformed", 400, "invalid_dpop_proof", 10, "the DPoP proof is not a well-formed signed JWT",
        "Make the proof with a library, and send it unchanged.", "RFC 9449 4.3")
    DPOP_TYPE = Row("dpop.type", 400, "invalid_dpop_proof", 10, "the typ of the DPoP proof must be dpop+jwt",
        "Set typ to dpop+jwt; a client assertion or an access token is no proof.", "RFC 9449 4.3")
    DPOP_ALGORITHM = Row("dpop.algorithm", 400, "invalid_dpop_proof", 10, "the DPoP proof is signed with an algorithm that is not accepted, or does not fit its key",
        "Use one of dpop_signing_alg_values_supported, such as ES256.", "RFC 9449 4.3")
    DPOP_KEY = Row("dpop.key", 400, "invalid_dpop_proof", 10, "the header of the DPoP proof must have a jwk with a public key that is accepted",
        "Put the public key alone into jwk: EC (P-256, P-384, P-521), Ed25519, RSA of 2048 to 8192 bits or ML-DSA.", "RFC 9449 4.3")
    DPOP_SIGNATURE = Row("dpop.signature", 400, "invalid_dpop_proof", 10, "the signature of the DPoP proof does not verify",
        "Sign with the private half of the jwk in the header.", "RFC 9449 4.3")
    DPOP_JTI = Row("dpop.jti", 400, "invalid_dpop_proof", 10, "the jti of the DPoP proof must be a string of 1 to 256 characters",
        "Set jti to a new random value for each request.", "RFC 9449 4.2")
    DPOP_METHOD = Row("dpop.method", 400, "invalid_dpop_proof", 10, "the DPoP proof is for another HTTP method (htm)",
        "Make a proof for each request, with its method in upper case.", "RFC 9449 4.3")
    DPOP_URL = Row("dpop.url", 400, "invalid_dpop_proof", 10, "the DPoP proof is for another URL (htu)",
        "Set htu to the URL of the request without query and fragment. An API behind a proxy needs its public address: Guard(url=...).", "RFC 9449 4.3")
    DPOP_TIME = Row("dpop.time", 400, "invalid_dpop_proof", 10, "the iat of the DPoP proof is not a time near now",
        "Make a proof for each request, with iat in seconds, and compare the clocks of both machines (timedatectl status).", "RFC 9449 4.3")
    DPOP_NONCE = Row("dpop.nonce", 400, "use_dpop_nonce", 10, "the DPoP proof must have the nonce in the header DPoP-Nonce of this answer",
        "Make a new proof with that nonce, and a new client assertion, and send the request again. A nonce is valid for at least 5 minutes.", "RFC 9449 8")
    DPOP_REPLAYED = Row("dpop.replayed", 400, "invalid_dpop_proof", 10, "the DPoP proof was used before",
        "Make a new proof, with a new jti, for each request and each retry.", "RFC 9449 11.1")
    # step 11: once
    REPLAYED = Row("assertion.replayed", 401, "invalid_client", 11, "this assertion was used before",
        "Sign a new assertion, with a new jti, for each request and each retry. A job that has only one token of its platform"
        " keeps the access token, or its trust takes the token again: affiant trust update NAME --replay reused.", "RFC 7523 3")
    # grants, server, guard
    GRANT_UNSUPPORTED = Row("grant.unsupported", 400, "unsupported_grant_type", 0, "this server does not know the grant_type",
        "Use client_credentials.", "RFC 6749 5.2")
    GRANT_NOT_ALLOWED = Row("grant.not_allowed", 400, "unauthorized_client", 0, "the client is not registered for this grant_type",
        "Register the grant for the client (affiant client new --grant).", "RFC 6749 5.2")
    SCOPE_MALFORMED = Row("scope.malformed", 400, "invalid_scope", 0, "scope must be at most 64 names, separated by single spaces",
        "Send the names of the scopes only.", "RFC 6749 3.3")
    SCOPE_NOT_ALLOWED = Row("scope.not_allowed", 400, "invalid_scope", 0, "the client may not ask for one of these scopes at this resource",
        "Ask for granted scopes, or have the scope granted.", "RFC 6749 3.3")
    NOTHING_LEFT = Row("ceiling.nothing_left", 400, "invalid_grant", 0, "the limits of the client, the rule and the presented token leave nothing to grant",
        "Compare the scopes and lifetimes of the client, the API and the rule: affiant explain TRACE_ID shows each.", "RFC 7521 4.1")
    RESOURCE_MALFORMED = Row("resource.malformed", 400, "invalid_target", 0, "resource must be an absolute URI without a fragment",
        "Send the identifier of the API exactly as it is registered.", "RFC 8707 2")
    RESOURCE_NOT_ALLOWED = Row("resource.not_allowed", 400, "invalid_target", 0, "the client may not ask for this resource",
        "Send the identifier of an API that the client is registered for, in resource or audience.", "RFC 8707 2")
    RESOURCE_CONFLICT = Row("resource.conflict", 400, "invalid_target", 0, "resource and audience name different APIs",
        "Send resource alone; audience is taken as another name of it.", "RFC 8707 2")
    RESOURCE_MISSING = Row("resource.missing", 400, "invalid_target", 0, "no resource was asked for and there is no default",
        "Send resource with the identifier of the API.", "RFC 9068 3")
    RESOURCE_ALGORITHMS = Row("resource.algorithms", 400, "invalid_target", 0, "tokens for these resources are signed with different algorithms, and a token has one signature",
        "Ask for a token for one resource at a time.", "RFC 8707 2")
    RESOURCE_TYPES = Row("resource.types", 400, "invalid_target", 0, "tokens for these resources have different types (typ), and a token has one",
        "Ask for a token for one resource at a time.", "RFC 8707 2")
    RESOURCE_ALGORITHM = Row("resource.algorithm", 400, "invalid_target", 0, "tokens for this resource are signed with an algorithm that the profile of the client does not allow",
        "Configure the API or the server to sign with ES256, PS256 or Ed25519: affiant api update NAME --signing-alg ES256, affiant signing-key rotate --alg ES256.", "FAPI 2.0 5.4.1")
    CERTIFICATE_MISSING = Row("certificate.missing", 400, "invalid_request", 0, "this client's tokens are bound to its certificate, and the request came without one",
        "Send the request over mutual TLS, or allow the client unbound tokens: affiant client update NAME --certificate-bound optional.", "RFC 8705 3.4")
    DETAILS_MALFORMED = Row("authorization_details.malformed", 400, "invalid_authorization_details", 0, "authorization_details must be a strict JSON array of 1 to 16 objects, each with a type, in at most 4,096 bytes",
        "Make it with a JSON library; locations, actions, datatypes and privileges are arrays of strings, identifier is a string.", "RFC 9396 2")
    DETAILS_NOT_ALLOWED = Row("authorization_details.not_allowed", 400, "invalid_authorization_details", 0, "the client may not ask for these authorization_details at this resource",
        "Ask for types that both the client and the API are registered for (affiant client update --details-type), at granted locations.", "RFC 9396 5")
    REFRESH_UNKNOWN = Row("refresh_token.unknown", 400, "invalid_grant", 0, "the refresh token is not one of this client",
        "Get a new token with client_credentials.", "RFC 6749 6")
    REFRESH_EXPIRED = Row("refresh_token.expired", 400, "invalid_grant", 0, "the refresh token has expired",
        "Get a new token with client_credentials.", "RFC 6749 6")
    REFRESH_REVOKED = Row("refresh_token.revoked", 400, "invalid_grant", 0, "the refresh token was revoked",
        "Get a new token with client_credentials.", "RFC 6749 6")
    REFRESH_REUSED = Row("refresh_token.reused", 400, "invalid_grant", 0, "the refresh token was used before; it and its successors are revoked now",
        "Get a new token with client_credentials, and keep only the newest refresh token.", "RFC 9700 4.14")
    EXCHANGE_PARAMETER = Row("exchange.parameter", 400, "invalid_request", 0, "a parameter of the token exchange cannot be used",
        "Send what the answer expects.", "RFC 8693 2.1")
    EXCHANGE_TYPE = Row("exchange.token_type", 400, "invalid_request", 0, "this server exchanges no tokens of this type",
        "Send subject_token_type=urn:ietf:params:oauth:token-type:access_token, and the same or nothing as requested_token_type.", "RFC 8693 2.1")
    EXCHANGE_SUBJECT = Row("exchange.subject_token", 400, "invalid_request", 0, "the subject token is no valid token of this server or of an issuer that it trusts",
        "Send an access token of this server that has not expired, with the type access_token, or the token of a trusted issuer, with the type jwt.", "RFC 8693 2.2.2")
    EXCHANGE_REPLAYED = Row("exchange.subject_replayed", 400, "invalid_request", 0, "the subject token was used before, and its trust takes each token once",
        "Get a new token from the platform, or let the trust take it again: affiant trust update NAME --replay reused.", "RFC 8693 2.2.2")
    EXCHANGE_REVOKED = Row("exchange.subject_revoked", 400, "invalid_request", 0, "the subject token was revoked, or one that it was exchanged for, or the client of one of them is disabled",
        "Get a new token from the client that the token was issued to.", "RFC 8693 2.2.2")
    EXCHANGE_AUDIENCE = Row("exchange.not_audience", 400, "invalid_request", 0, "the subject token is neither this client's nor for an API that it speaks for",
        "Register the API of the token that this client speaks for: affiant client update NAME --introspect URL.", "RFC 8693 2.2.2")
    EXCHANGE_NOT_DELEGABLE = Row("exchange.not_delegable", 400, "invalid_request", 0, "the client of the subject token, or of one that it was exchanged for, does not let this client act for it",
        "Allow it: affiant client update NAME --delegates-to CLIENT_ID.", "RFC 8693 4.4")
    EXCHANGE_MAY_ACT = Row("exchange.may_act", 400, "invalid_request", 0, "may_act of the subject token names another party than this client",
        "Exchange the token as the client that it names.", "RFC 8693 4.4")
    EXCHANGE_ACT = Row("exchange.act", 400, "invalid_request", 0, "act of the subject token is not what this server can pass on",
        "Get a token in which each act has iss and sub.", "RFC 8693 4.1")
    EXCHANGE_CYCLE = Row("exchange.cycle", 400, "invalid_request", 0, "this client is the subject of the token or one of its actors already",
        "Use the token that this client had before it passed it on.", "RFC 8693 4.1")
    EXCHANGE_DEPTH = Row("exchange.depth", 400, "invalid_request", 0, "the token was passed on as often as this server allows",
        "Make the chain of calls shorter, or set AFFIANT_EXCHANGE_DEPTH.", "RFC 8693 4.1")
    EXCHANGE_ACTOR = Row("exchange.actor_token", 400, "invalid_request", 0, "the actor token is no valid access token of this client for itself",
        "Leave actor_token and actor_token_type out: the client that authenticates is the actor.", "RFC 8693 2.1")
    EXCHANGE_TRANSACTION = Row("exchange.transaction", 400, "invalid_request", 0, "this client cannot have transaction tokens",
        "Register a client that signs its requests or uses mutual TLS: affiant client new NAME.", "OAuth Transaction Tokens 7")
    EXCHANGE_UNBOUND = Row("exchange.unbound", 400, "invalid_request", 0, "the presented token is bound to a key, and this request does not bind the new one",
        "Send a DPoP proof with the request, or have the client registered for certificate-bound tokens.", "RFC 9449 5")
    INTROSPECTION_NOT_ALLOWED = Row("introspection.not_allowed", 403, "unauthorized_client", 0, "this client acts for no API, so it may not introspect tokens",
        "Register the API whose tokens it may introspect: affiant client update NAME --introspect URL.", "RFC 7662 2.1")
    REVOCATION_FOREIGN = Row("revocation.another_client", 400, "invalid_grant", 0, "the token was issued to another client",
        "Only the client that the token was issued to can revoke it.", "RFC 7009 2.1")
    KEYS_ELSEWHERE = Row("client_keys.elsewhere", 403, "unauthorized_client", 0, "this client has no registered keys to change: it uses another method, or publishes its keys at a jwks_uri",
        "Change the keys at the jwks_uri, or have the client registered for private_key_jwt with keys of its own.", "RFC 7591 2")
    KEYS_ACTION = Row("client_keys.action", 400, "invalid_request", 0, "the action is unknown",
        "Send one of the actions in the answer, or a whole key set by PUT.", "RFC 6749 5.2")
    KEYS_MALFORMED = Row("client_keys.malformed", 400, "invalid_client_metadata", 0, "a parameter for the client's keys cannot be used",
        "Send public keys alone, as a JWK or a JWK Set: EC (P-256, P-384, P-521), Ed25519, RSA of 2048 to 8192 bits or ML-DSA. A private key that was sent is known to others: make a new one.", "RFC 7517 4")
    KEYS_UNKNOWN = Row("client_keys.unknown", 400, "invalid_request", 0, "the client has no key with this kid",
        "Look at the client's keys: affiant key list.", "RFC 7517 4.5")
    KEYS_CONFLICT = Row("client_keys.conflict", 400, "invalid_request", 0, "this change of the client's keys is not possible",
        "Follow the answer, or look at the client's keys: affiant key list.", "RFC 7517 5")
    REGISTRATION_TOKEN_MISSING = Row("registration.token_missing", 401, "invalid_token", 0, "this needs a token of this server for registrations",
        "Ask the operator for an initial access token, and send it as Authorization: Bearer TOKEN.", "RFC 7591 3")
    REGISTRATION_TOKEN = Row("registration.initial_access_token", 401, "invalid_token", 0, "the initial access token is unknown, expired or used up",
        "Ask the operator for a new initial access token.", "RFC 7591 3")
    REGISTRATION_ACCESS_TOKEN = Row("registration.access_token", 401, "invalid_token", 0, "the registration access token is not the one of this client",
        "Send the registration_access_token to the registration_client_uri that came with it. A deleted client must be registered again.", "RFC 7592 2")
    REGISTRATION_CONTENT_TYPE = Row("registration.content_type", 400, "invalid_client_metadata", 0, "the body must be application/json, in UTF-8",
        "Send the metadata as JSON, with that Content-Type.", "RFC 7591 3.1")
    REGISTRATION_JSON = Row("registration.json", 400, "invalid_client_metadata", 0, "the body is not one strict JSON object: UTF-8, no member twice, finite numbers, not nested deeply",
        "Make the body with a JSON library.", "RFC 7591 3.1")
    REGISTRATION_METADATA = Row("registration.metadata", 400, "invalid_client_metadata", 0, "the client cannot be registered with these metadata",
        "Change the members that the answer names. docs/how-to/registration.md lists what can be registered.", "RFC 7591 3.2.2")
    REGISTRATION_KEYS = Row("registration.jwks", 400, "invalid_client_metadata", 0, "jwks has keys that are not accepted, or that are not distinct",
        "Send a JWK Set with public keys alone: EC (P-256, P-384, P-521), Ed25519, RSA of 2048 to 8192 bits or ML-DSA, each with a kid of its own. A private key that was sent is known to others: make a new one.", "RFC 7591 2")
    REGISTRATION_JWKS_URI = Row("registration.jwks_uri", 400, "invalid_client_metadata", 0, "jwks_uri is not the address of a JWK Set",
        "Send an https URL with a public host, without user and fragment, with port 443 or one from 1024 up.", "RFC 7591 2")
    REGISTRATION_SCOPE = Row("registration.scope", 400, "invalid_client_metadata", 0, "the scope has names that the initial access token does not allow",
        "Register with fewer, or ask the operator for an initial access token with more.", "RFC 7591 2")
    REGISTRATION_REDIRECT_URIS = Row("registration.redirect_uris", 400, "invalid_redirect_uri", 0, "this server redirects no users",
        "Leave redirect_uris out: clients of this server act for themselves.", "RFC 7591 3.2.2")
    REGISTRATION_STATEMENT = Row("registration.software_statement", 400, "invalid_software_statement", 0, "the software statement is not valid",
        "Send it unchanged, as its publisher signed it; ask the publisher for a new one if it has expired.", "RFC 7591 2.3")
    REGISTRATION_STATEMENT_ISSUER = Row("registration.software_statement_issuer", 400, "unapproved_software_statement", 0, "this server does not trust the issuer of the software statement",
        "Register without it, or ask the operator to add its issuer to software_statement_issuers.", "RFC 7591 3.2.2")
    LIMIT_FAILURES = Row("limit.failures", 429, "temporarily_unavailable", 0, "too many requests from this address, or in the name of this client, have failed",
        "Fix the failure first (affiant explain), then wait as Retry-After says. A request with a valid proof is always accepted.", "RFC 6585 4")
    LIMIT_TOKENS = Row("limit.tokens", 429, "temporarily_unavailable", 0, "this client sends too many requests",
        "Use each token until it expires instead of requesting one per call, and wait as Retry-After says.", "RFC 6585 4")
    LIMIT_BUDGET = Row("limit.budget", 429, "temporarily_unavailable", 0, "this client has used up its token budget of this hour",
        "Use each token until it expires, and wait as Retry-After says: the next hour has a new budget. For the operator, affiant client update NAME --token-budget N gives it more.", "RFC 6585 4")
    STORE = Row("server.store_unavailable", 503, "temporarily_unavailable", 0, "the server cannot record its decision now, so it issues nothing",
        "Send the request again in a moment, with a new assertion.", "RFC 9110 15.6.4")
    SIGNER = Row("server.signer_unavailable", 503, "temporarily_unavailable", 0, "the server cannot sign now, so it issues nothing",
        "Send the request again in a moment, with a new assertion. For the operator, /health reports what is wrong with the signing key.", "RFC 9110 15.6.4")
    UNEXPECTED = Row("server.error", 500, "server_error", 0, "the server failed",
        "Give the operator the trace_id.", "RFC 9110 15.6.1")
    TOKEN_REQUEST = Row("token.request", 400, "invalid_request", 0, "the request must carry one access token, in one Authorization header",
        "Send one header: Authorization: Bearer TOKEN.", "RFC 6750 3.1")
    TOKEN_MISSING = Row("token.missing", 401, "invalid_token", 0, "this needs an access token",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 6750 3")
    TOKEN_MALFORMED = Row("token.malformed", 401, "invalid_token", 0, "the access token is not a well-formed signed JWT",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_TYPE = Row("token.type", 401, "invalid_token", 0, "the token is not an access token (typ at+jwt)",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_ALGORITHM = Row("token.algorithm", 401, "invalid_token", 0, "the token is signed with an algorithm that this API does not accept",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_KEY = Row("token.unknown_key", 401, "invalid_token", 0, "the token is signed with a key that the issuer does not publish",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_SIGNATURE = Row("token.signature", 401, "invalid_token", 0, "the signature of the token does not verify",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_ISSUER = Row("token.issuer", 401, "invalid_token", 0, "the token is from another issuer",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_AUDIENCE = Row("token.audience", 401, "invalid_token", 0, "the token is for another API",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_EXPIRED = Row("token.expired", 401, "invalid_token", 0, "the token has expired",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 4")
    TOKEN_NOT_YET_VALID = Row("token.not_yet_valid", 401, "invalid_token", 0, "the token is not valid yet",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 7519 4.1.5")
    TOKEN_CLAIM = Row("token.claim", 401, "invalid_token", 0, "the token lacks a claim, or has one of the wrong kind",
        "Ask the authorization server for a new token for this API, and send it unchanged.", "RFC 9068 2.2")
    TOKEN_BINDING = Row("token.binding", 401, "invalid_token", 0, "the token is bound to a key, and the request does not prove it",
        "Send it with the scheme DPoP and a proof by the key that it was asked for with, or over TLS with the certificate.", "RFC 7800 3")
    TOKEN_UNBOUND = Row("token.not_bound", 401, "invalid_token", 0, "the token came with the scheme DPoP, and is bound to no key",
        "Ask the authorization server for a token with a DPoP proof, or send this one as Bearer.", "RFC 9449 7.1")
    DPOP_TOKEN_HASH = Row("dpop.token_hash", 401, "invalid_dpop_proof", 0, "the DPoP proof was made for another access token (ath)",
        "Set ath to the SHA-256 of the access token in base64url.", "RFC 9449 4.3")
    TOKEN_REVOKED = Row("token.revoked", 401, "invalid_token", 0, "the token was revoked",
        "Ask the authorization server for a new token. If it gives none, the client or its key was revoked: ask its operator.", "RFC 7009 2.1")
    TOKEN_API_KEY = Row("token.api_key", 401, "invalid_api_key", 0, "the API key is not valid here",
        "Send one key, as the API gave it to you, or an access token in its place.", "affiant")
    TOKEN_API_KEY_ENDED = Row("token.api_key_ended", 401, "invalid_api_key", 0, "this API takes no API key of this client any more, but an access token",
        "Register the client at the authorization server, and call with an access token (see docs/how-to/from-api-keys.md).", "affiant")
    SCOPE_INSUFFICIENT = Row("token.insufficient_scope", 403, "insufficient_scope", 0, "the token lacks a scope that this needs",
        "Ask for a token with that scope.", "RFC 6750 3.1")
    ADMIN_QUERY = Row("admin.query", 400, "invalid_request", 0, "this route does not accept the query or the path of the request",
        "Send only parameters in the openapi.json of the admin API, each once.", "RFC 9110 15.5.1")
    ADMIN_CURSOR = Row("admin.cursor", 400, "invalid_request", 0, "the cursor is from another server or another list",
        "Send the next of the previous page, unchanged and with the same filters, or no cursor.", "RFC 9110 15.5.1")
    ADMIN_JSON = Row("admin.json", 400, "invalid_request", 0, "the body must be one strict JSON object, or empty, as this route needs",
        "Send application/json: UTF-8, no member twice, finite numbers, not nested deeply.", "RFC 8259 4")
    ADMIN_INVALID = Row("admin.invalid", 422, "invalid_request", 0, "the server rejects this registration, change or action",
        "Change the members that the answer names.", "RFC 9110 15.5.21")
    ADMIN_NOT_FOUND = Row("admin.not_found", 404, "invalid_request", 0, "there is no object with this name",
        "Look for the name in the list.", "RFC 9110 15.5.5")
    ADMIN_EXISTS = Row("admin.exists", 409, "invalid_request", 0, "an object with this name is registered already",
        "Choose another name, or change the registered object.", "RFC 9110 15.5.10")
    ADMIN_CHANGED = Row("admin.changed", 412, "invalid_request", 0, "it was changed since it was read",
        "Read it again, and send If-Match with its new ETag.", "RFC 9110 13.1.1")
    ADMIN_BUSY = Row("admin.busy", 503, "temporarily_unavailable", 0, "too many long reads of the admin API are in progress",
        "Wait for one of your own to finish, then send the request again after the seconds in Retry-After.", "RFC 9110 15.6.4")
    ADMIN_OWNER_ONLY = Row("admin.owner_only", 403, "insufficient_scope", 0, "only owners may make and change clients and APIs of the admin API, and what is another user's",
        "Ask an owner.", "RFC 6750 3.1")
    ADMIN_TEAM = Row("admin.team", 403, "insufficient_scope", 0, "the role of this caller is limited to its teams",
        "Stay within the teams and the scopes that the answer names, or ask an owner.", "RFC 6750 3.1")
    ADMIN_LAST_OWNER = Row("admin.last_owner", 409, "invalid_request", 0, "the admin API would have no owner left",
        "Make another owner first: affiant admin bootstrap NAME --data FOLDER.", "RFC 9110 15.5.10")
    ADMIN_CSRF = Row("admin.csrf", 403, "invalid_request", 0, "the form was not sent by a page of this console in this session",
        "Open the page again, and send the form from there. Behind a proxy, AFFIANT_ISSUER must be the URL that the browser shows.", "RFC 6454 7")
    CONSOLE_LINK = Row("console.link", 403, "access_denied", 0, "the sign-in link was used, has expired, or was replaced by a newer one",
        "Make a new link with  affiant console link NAME,  or ask an owner for one.", "affiant")
    CONSOLE_PASSKEY = Row("console.passkey", 403, "access_denied", 0, "the passkey was not accepted",
        "Load the page again at the address in AFFIANT_ISSUER, and try once more; or sign in with a new link: affiant console link NAME.", "WebAuthn 7.2")
    # fmt: on

    @property
    def code(self) -> str:
        """The dotted name, such as ``assertion.audience``."""
        return self.value.code

    @classmethod
    def from_code(cls, code: str) -> Reason:
        """The reason with this dotted name.

        Raises:
            KeyError: there is none.
        """
        return _BY_CODE[code]


_BY_CODE = {reason.code: reason for reason in Reason}
