"""The closed list of reasons for which something is refused.

A reason is told to the caller, written to the audit log, looked up under ``<issuer>/errors/<code>`` and counted:
all of them read this one list. The rung is the step of client authentication at which it falls;
0 stands for what lies outside it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Row(NamedTuple):
    """What is known of one reason.

    Attributes:
        code: its dotted name.
        status: the HTTP status of the answer.
        error: the OAuth error code of the answer.
        rung: the step of the ladder, 0 outside it.
        sentence: what happened, in the characters that RFC 6749 section 5.2 allows.
        fix: what to do about it.
        source: the paragraph that demands the refusal.
    """

    code: str
    status: int
    error: str
    rung: int
    sentence: str
    fix: str
    source: str


def _request(name: str, sentence: str, fix: str, source: str, *, status: int = 400, rung: int = 1) -> Row:
    return Row(f"request.{name}", status, "invalid_request", rung, sentence, fix, source)


def _client(code: str, rung: int, sentence: str, fix: str, source: str) -> Row:
    return Row(code, 401, "invalid_client", rung, sentence, fix, source)


def _token(name: str, sentence: str, source: str) -> Row:
    fix = "Ask the authorization server for a new token for this API, and send it unchanged."
    return Row(f"token.{name}", 401, "invalid_token", 0, sentence, fix, source)


_SIGN = "Let a JWT library make the assertion, and send its compact form unchanged."
_CLOCK = "Compare the clocks of both machines (timedatectl status), and sign a new assertion for each request."
_KEYS = "Compare the key that signs with the keys that are registered for this client (affiant client show)."


class Reason(Enum):
    """Every way to be refused."""

    # 1 the form
    METHOD = _request(
        "method", "this endpoint takes POST only", "Send the request as POST.", "RFC 6749 3.2", status=405
    )
    CONTENT_TYPE = _request(
        "content_type",
        "the body must be application/x-www-form-urlencoded, in UTF-8",
        "Send the parameters as a form, with that Content-Type.",
        "RFC 6749 3.2",
    )
    TOO_LARGE = _request(
        "too_large",
        "the body is larger than 64 KiB",
        "Send only the parameters of the grant.",
        "RFC 9110 15.5.14",
        status=413,
    )
    TOO_MANY_PARAMETERS = _request(
        "too_many_parameters",
        "the form has more than 32 parameters",
        "Send only the parameters of the grant.",
        "RFC 6749 3.2",
    )
    ENCODING = _request(
        "encoding",
        "the form has broken percent-encoding or is not UTF-8",
        "Let the HTTP library encode the form.",
        "RFC 6749 B",
    )
    IN_QUERY = _request(
        "credentials_in_query",
        "credentials and grant parameters belong in the body, never in the URL",
        "Move every parameter from the URL to the form. A secret that was in a URL may be in logs: replace it.",
        "RFC 6749 2.3.1",
    )
    DUPLICATE_PARAMETER = _request(
        "duplicate_parameter",
        "a parameter stands in the form more than once",
        "Send each parameter once; only resource and audience may repeat.",
        "RFC 6749 3.2",
    )
    MISSING_PARAMETER = _request(
        "missing_parameter", "a parameter that this request needs is missing", "Add it.", "RFC 6749 5.2"
    )
    BAD_FRAMING = _request(
        "incomplete", "the body ended before it was complete", "Send the request again.", "RFC 9112 8", rung=1
    )
    # 2 one way to authenticate
    HALF_ASSERTION = _request(
        "incomplete_assertion",
        "client_assertion and client_assertion_type must come together",
        "Send client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer beside client_assertion.",
        "RFC 7521 4.2",
        rung=2,
    )
    ASSERTION_TYPE = _request(
        "assertion_type",
        "client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "Send exactly that value.",
        "RFC 7523 2.2",
        rung=2,
    )
    MULTIPLE_METHODS = _request(
        "multiple_methods",
        "more than one way to authenticate was used",
        "Use either the Authorization header or client_secret, not both.",
        "RFC 6749 2.3",
        rung=2,
    )
    MISPLACED_ASSERTION = _request(
        "assertion_in_wrong_parameter",
        "with grant_type=client_credentials a JWT goes into client_assertion, with client_assertion_type="
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer and without client_secret. "
        "Only a client registered with the guide profile may send assertion, and then all it sends must verify",
        "Rename assertion to client_assertion, add client_assertion_type, drop client_secret, make sub the client_id.",
        "RFC 7523 2.2",
        rung=2,
    )
    ASSERTION_AND_OTHER = _client(
        "client.assertion_and_other_method",
        2,
        "a client assertion was sent together with another way to authenticate",
        "Send the assertion alone: no client_secret and no Authorization header.",
        "RFC 7521 4.2.1",
    )
    NO_CREDENTIALS = _client(
        "client.no_credentials",
        2,
        "the request does not authenticate a client",
        "Send client_assertion and client_assertion_type, or what the client is registered for.",
        "RFC 6749 3.2.1",
    )
    BASIC_MALFORMED = _client(
        "client.authorization_malformed",
        2,
        "the Authorization header is not Basic with base64 of client_id:client_secret",
        "Form-encode both, join them with a colon, encode the result in base64.",
        "RFC 6749 2.3.1",
    )
    # 3 the assertion is a compact JWS
    JWT_TOO_LONG = _client(
        "assertion.too_long",
        3,
        "the assertion is longer than 8,192 characters",
        "Leave out claims and header parameters that nobody reads.",
        "RFC 8725 3.3",
    )
    JWT_CHARACTERS = _client(
        "assertion.characters",
        3,
        "the assertion has characters outside A-Z a-z 0-9 _ - and the dots",
        "Use base64url without padding, and send no white space or line ends.",
        "RFC 7515 2",
    )
    JWT_PARTS = _client("assertion.parts", 3, "the assertion does not have three parts", _SIGN, "RFC 7515 3.1")
    JWT_ENCRYPTED = _client(
        "assertion.encrypted",
        3,
        "the assertion is encrypted (five parts); it must be signed only",
        "Sign, do not encrypt.",
        "RFC 8725 3.3",
    )
    JWT_BASE64URL = _client(
        "assertion.base64url", 3, "a part of the assertion is not canonical base64url", _SIGN, "RFC 7515 2"
    )
    JWT_JSON = _client(
        "assertion.json",
        3,
        "header or payload is not one strict JSON object: UTF-8, no member twice, finite numbers, not nested deeply",
        _SIGN,
        "RFC 7519 7.2",
    )
    JWT_CRIT = _client(
        "assertion.critical_header",
        3,
        "the header has crit or b64, which are not supported here",
        "Leave crit and b64 out.",
        "RFC 7515 4.1.11",
    )
    JWT_ALG = _client(
        "assertion.algorithm_missing", 3, "the header has no alg that is a string", _SIGN, "RFC 7515 4.1.1"
    )
    JWT_KID = _client(
        "assertion.kid", 3, "the header has a kid that is not a string of 1 to 256 characters", _SIGN, "RFC 7515 4.1.4"
    )
    # 4 who it names
    JWT_TYP = _client(
        "assertion.type",
        4,
        "typ must be absent, JWT or client-authentication+jwt",
        "Set typ to client-authentication+jwt; an access token or a proof is no client assertion.",
        "RFC 8725 3.11",
    )
    ISS_SUB = _client(
        "assertion.issuer_subject",
        4,
        "iss and sub must both be the client_id",
        "Set iss and sub to the client_id.",
        "RFC 7523 3",
    )
    CLIENT_ID = _client(
        "assertion.client_id",
        4,
        "the parameter client_id names another client than the assertion",
        "Send the client_id of the assertion, or none.",
        "RFC 7521 4.2",
    )
    # 5 the client
    CLIENT_UNKNOWN = _client(
        "client.unknown", 5, "no client has this client_id", "Register it: affiant client new.", "RFC 6749 5.2"
    )
    CLIENT_DISABLED = _client(
        "client.disabled", 5, "the client is disabled", "Enable it: affiant client enable.", "RFC 6749 5.2"
    )
    CLIENT_METHOD = _client(
        "client.method",
        5,
        "the client is registered for another way to authenticate",
        "Authenticate as registered (affiant client show).",
        "RFC 7591 2",
    )
    # 6 the key
    KEY_ALGORITHM = _client(
        "key.algorithm", 6, "the alg is not one that the client's key and method allow", _KEYS, "RFC 8725 3.1"
    )
    KEY_UNKNOWN = _client(
        "key.unknown", 6, "no key with this kid is registered for the client", _KEYS, "RFC 7515 4.1.4"
    )
    KEY_NONE = _client("key.none", 6, "the client has no live key that fits the alg", _KEYS, "RFC 7515 D")
    # 7 the proof
    SIGNATURE = _client("signature.invalid", 7, "the signature does not verify", _KEYS, "RFC 7515 5.2")
    SECRET = _client(
        "secret.invalid",
        7,
        "the secret is not the client's",
        "Use the secret that was shown when it was made.",
        "RFC 6749 2.3.1",
    )
    # 8 audience
    AUDIENCE = _client(
        "assertion.audience",
        8,
        "aud must be the issuer of this server, alone",
        "Set aud to the issuer exactly as the server's metadata spell it.",
        "draft-ietf-oauth-rfc7523bis 4",
    )
    # 9 time
    EXP_MISSING = _client(
        "assertion.exp",
        9,
        "exp must be present and a number of seconds",
        "Set exp to now plus 60 seconds.",
        "RFC 7523 3",
    )
    TIME_CLAIM = _client(
        "assertion.time_claim",
        9,
        "iat and nbf must be numbers of seconds",
        "Leave nbf out and set iat to now.",
        "RFC 7519 2",
    )
    EXPIRED = _client("assertion.expired", 9, "the assertion has expired", _CLOCK, "RFC 7523 3")
    LIFETIME = _client(
        "assertion.lifetime",
        9,
        "exp is more than 300 seconds away",
        "Set exp to now plus 60, in seconds (not milliseconds).",
        "RFC 7523 3",
    )
    NOT_YET = _client("assertion.not_yet_valid", 9, "nbf is in the future", _CLOCK, "RFC 7519 4.1.5")
    IAT_FUTURE = _client("assertion.issued_in_future", 9, "iat is in the future", _CLOCK, "RFC 7519 4.1.6")
    IAT_OLD = _client("assertion.issued_long_ago", 9, "iat is more than 300 seconds ago", _CLOCK, "RFC 7523 3")
    # 10, 11 once
    JTI = _client(
        "assertion.jti",
        10,
        "jti must be a string of 1 to 256 characters",
        "Set jti to a new random value for each assertion.",
        "OpenID Connect Core 9",
    )
    REPLAYED = _client(
        "assertion.replayed",
        11,
        "this assertion was used before",
        "Sign a new assertion, with a new jti, for each request and each retry.",
        "RFC 7523 3",
    )
    # the grant
    GRANT_UNSUPPORTED = Row(
        "grant.unsupported",
        400,
        "unsupported_grant_type",
        0,
        "this server does not know the grant_type",
        "Use client_credentials.",
        "RFC 6749 5.2",
    )
    GRANT_NOT_ALLOWED = Row(
        "grant.not_allowed",
        400,
        "unauthorized_client",
        0,
        "the client is not registered for this grant_type",
        "Register the grant for the client (affiant client new --grant).",
        "RFC 6749 5.2",
    )
    SCOPE_MALFORMED = Row(
        "scope.malformed",
        400,
        "invalid_scope",
        0,
        "scope must be at most 64 names, separated by single spaces",
        "Send the names of the scopes only.",
        "RFC 6749 3.3",
    )
    SCOPE_NOT_ALLOWED = Row(
        "scope.not_allowed",
        400,
        "invalid_scope",
        0,
        "the client may not ask for one of these scopes at this resource",
        "Ask for granted scopes, or have the scope granted.",
        "RFC 6749 3.3",
    )
    RESOURCE_MALFORMED = Row(
        "resource.malformed",
        400,
        "invalid_target",
        0,
        "resource must be an absolute URI without a fragment",
        "Send the identifier of the API exactly as it is registered.",
        "RFC 8707 2",
    )
    RESOURCE_NOT_ALLOWED = Row(
        "resource.not_allowed",
        400,
        "invalid_target",
        0,
        "the client may not ask for this resource",
        "Send the identifier of an API that the client is registered for.",
        "RFC 8707 2",
    )
    RESOURCE_MISSING = Row(
        "resource.missing",
        400,
        "invalid_target",
        0,
        "no resource was asked for and there is no default",
        "Send resource with the identifier of the API.",
        "RFC 9068 3",
    )
    REFRESH_UNKNOWN = Row(
        "refresh_token.unknown",
        400,
        "invalid_grant",
        0,
        "the refresh token is not one of this client",
        "Get a new token with client_credentials.",
        "RFC 6749 6",
    )
    REFRESH_EXPIRED = Row(
        "refresh_token.expired",
        400,
        "invalid_grant",
        0,
        "the refresh token has expired",
        "Get a new token with client_credentials.",
        "RFC 6749 6",
    )
    REFRESH_REVOKED = Row(
        "refresh_token.revoked",
        400,
        "invalid_grant",
        0,
        "the refresh token was revoked",
        "Get a new token with client_credentials.",
        "RFC 6749 6",
    )
    REFRESH_REUSED = Row(
        "refresh_token.reused",
        400,
        "invalid_grant",
        0,
        "the refresh token was used before; it and its successors are revoked now",
        "Get a new token with client_credentials, and keep only the newest refresh token.",
        "RFC 9700 4.14",
    )
    # the server
    STORE = Row(
        "server.store_unavailable",
        503,
        "temporarily_unavailable",
        0,
        "the server cannot record its decision now, so it issues nothing",
        "Send the request again in a moment, with a new assertion.",
        "RFC 9110 15.6.4",
    )
    UNEXPECTED = Row(
        "server.error",
        500,
        "server_error",
        0,
        "the server failed",
        "Give the operator the trace_id.",
        "RFC 9110 15.6.1",
    )
    # the guard of an API
    TOKEN_REQUEST = Row(
        "token.request",
        400,
        "invalid_request",
        0,
        "the request must carry one access token, in one Authorization header",
        "Send one header: Authorization: Bearer TOKEN.",
        "RFC 6750 3.1",
    )
    TOKEN_MISSING = _token("missing", "this needs an access token", "RFC 6750 3")
    TOKEN_MALFORMED = _token("malformed", "the access token is not a well-formed signed JWT", "RFC 9068 4")
    TOKEN_TYPE = _token("type", "the token is not an access token (typ at+jwt)", "RFC 9068 4")
    TOKEN_ALGORITHM = _token(
        "algorithm", "the token is signed with an algorithm that this API does not accept", "RFC 9068 4"
    )
    TOKEN_KEY = _token("unknown_key", "the token is signed with a key that the issuer does not publish", "RFC 9068 4")
    TOKEN_SIGNATURE = _token("signature", "the signature of the token does not verify", "RFC 9068 4")
    TOKEN_ISSUER = _token("issuer", "the token is from another issuer", "RFC 9068 4")
    TOKEN_AUDIENCE = _token("audience", "the token is for another API", "RFC 9068 4")
    TOKEN_EXPIRED = _token("expired", "the token has expired", "RFC 9068 4")
    TOKEN_NOT_YET_VALID = _token("not_yet_valid", "the token is not valid yet", "RFC 7519 4.1.5")
    TOKEN_CLAIM = _token("claim", "the token lacks a claim, or has one of the wrong kind", "RFC 9068 2.2")
    TOKEN_BINDING = _token("binding", "the token is bound to a key, and the request does not prove it", "RFC 7800 3")
    SCOPE_INSUFFICIENT = Row(
        "token.insufficient_scope",
        403,
        "insufficient_scope",
        0,
        "the token lacks a scope that this needs",
        "Ask for a token with that scope.",
        "RFC 6750 3.1",
    )

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
