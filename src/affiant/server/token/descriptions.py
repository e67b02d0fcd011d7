"""The endpoints for tokens, their answers, and the claims of a token, for the reference."""

from __future__ import annotations

from affiant.oauth import names
from affiant.server.client_auth import descriptions as client_auth
from affiant.server.request.description import Description, Member, Parameter
from affiant.server.token.issue import REFRESH_ABSOLUTE, REFRESH_IDLE
from affiant.storage.entries import RETRY_WINDOW

_DAY = 86_400  # seconds
_HINT = Parameter("token_type_hint", "not read: all kinds of tokens are searched", "RFC 7009 2.1")
_SHOWN_TOKEN = Parameter("token", "the token in question", "RFC 7662 2.1", "required")

_FOR_EXCHANGE = "for the grant `token-exchange`"
_MAY_EXCHANGE = f"{_FOR_EXCHANGE}, optional"
EXCHANGE = (
    Parameter("subject_token", "the token to exchange: an access token of this server that is this client's, or is for an API that this client introspects for; or the token of a trusted issuer", "RFC 8693 2.1", _FOR_EXCHANGE),
    Parameter("subject_token_type", f"`{names.ACCESS_TOKEN_TOKEN_TYPE}`, or `{names.JWT_TOKEN_TYPE}` for either of them; for a transaction token also `{names.TXN_TOKEN_TYPE}`", "RFC 8693 2.1", _FOR_EXCHANGE),
    Parameter("actor_token", "an access token that this client got for itself; it changes nothing, because the client that authenticates is the actor", "RFC 8693 2.1", _MAY_EXCHANGE),
    Parameter("request_details", "a JSON object about the transaction, at most 2,048 bytes; it becomes `tctx`", "OAuth Transaction Tokens 7", "for a transaction token, which need not have it"),
    Parameter("request_context", "a JSON object about the request from outside, at most 2,048 bytes; it becomes `rctx`", "OAuth Transaction Tokens 7", "for a transaction token, which need not have it"),
    Parameter("actor_token_type", "as `subject_token_type`", "RFC 8693 2.1", "with `actor_token`, and only then"),
    Parameter("requested_token_type", f"`{names.ACCESS_TOKEN_TOKEN_TYPE}`, the default; or `{names.TXN_TOKEN_TYPE}`, with the setting `transaction_tokens`", "RFC 8693 2.1", _MAY_EXCHANGE),
    Parameter("task", "name of a task, of 1 to 128 visible ASCII characters: tokens for a task can be revoked together", "affiant", _MAY_EXCHANGE),
    Parameter("expires_in", "lifetime of the token in seconds, at most", "affiant", _MAY_EXCHANGE),
)  # fmt: skip

TOKEN = Description(
    "Issues an access token to a client.",
    client_auth.CALLER,
    ("POST",),
    (
        Parameter("grant_type", "`client_credentials`, `refresh_token`, `urn:ietf:params:oauth:grant-type:jwt-bearer` or `urn:ietf:params:oauth:grant-type:token-exchange`; the client must be registered for it", "RFC 6749 4.4.2", "required"),
        Parameter("scope", "at most 64 names, separated by single spaces; all that the client may have if left out", "RFC 6749 3.3"),
        Parameter("resource", "identifier of an API, an absolute URI; may repeat; the default API if left out", "RFC 8707 2"),
        Parameter("audience", "the same as `resource`, for clients that use this name; if both are sent, they must name the same APIs", "RFC 8707 2"),
        Parameter("authorization_details", "a JSON array of rights finer than a scope", "RFC 9396 2"),
        Parameter("refresh_token", f"the newest one. If the answer with it was lost, the one before it gets the same successor for {RETRY_WINDOW} seconds, unless the successor was used; any other use of a spent one revokes the whole family", "RFC 6749 6", "for the grant `refresh_token`"),
        Parameter("assertion", "a JWT as for `client_assertion`: here it is the grant and authenticates the client; its claims `scope` and `resource` are the request, and the parameters may request less. With `client_credentials` only clients with the guide profile may send it", "RFC 7523 2.1", "for the grant `jwt-bearer`"),
        *EXCHANGE,
        Parameter("DPoP", "a proof of the key that the token will be bound to", "RFC 9449 5", "optional; required if the client is registered so", "header"),
        *client_auth.PARAMETERS,
    ),
    answers=(
        Member("access_token", "a JWT with [these claims](metadata.md#access-token-claims); opaque to the client", "RFC 6749 5.1"),
        Member("token_type", "`Bearer`, or `DPoP` if the request had a proof", "RFC 6749 7.1, RFC 9449 5"),
        Member("expires_in", "lifetime of the token, in seconds", "RFC 6749 5.1"),
        Member("scope", "the granted scope", "RFC 6749 5.1", "unless it is empty"),
        Member("refresh_token", f"expires after {REFRESH_IDLE // _DAY} days without use, and {REFRESH_ABSOLUTE // _DAY} days after the first; each use returns the next, except for clients with FAPI 2.0, which keep theirs", "RFC 6749 6", "for clients registered for `refresh_token`, when there is a new one"),
        Member("authorization_details", "the granted ones", "RFC 9396 7", "if some were granted"),
        Member("issued_token_type", f"`{names.ACCESS_TOKEN_TOKEN_TYPE}`, or `{names.TXN_TOKEN_TYPE}` for a transaction token", "RFC 8693 2.2.1", "for the grant `token-exchange`"),
    ),
    refuses=(*client_auth.REFUSES, *("dpop." + name for name in ("missing", "headers", "malformed", "type", "algorithm", "key", "signature", "jti", "method", "url", "time", "nonce", "replayed")), "grant", "ceiling", "scope", "resource", "certificate.missing", "authorization_details", "refresh_token", "exchange"),
)  # fmt: skip

_CHAIN = (
    ("rule", "affiant"),
    ("src", "affiant"),
    ("act", "RFC 8693 4.1"),
    ("sub_profile", "OAuth Actor Profile"),
    ("parents", "affiant"),
    ("task", "affiant"),
)
INTROSPECTION = Description(
    "Says whether an access token is active, and returns the claims that are for the calling API.",
    f"{client_auth.CALLER}, registered to introspect for an API",
    ("POST",),
    (
        _SHOWN_TOKEN,
        _HINT,
        Parameter("Accept", "`application/token-introspection+jwt` for a signed answer; refusals then have status 400, never 401", "RFC 9701 4", place="header"),
        *client_auth.PARAMETERS,
    ),
    answers=(
        Member("active", "whether the token is active, and for an API that the caller acts for; if false, it is the only member", "RFC 7662 2.2"),
        Member("token_type", "`Bearer` or `DPoP`", "RFC 7662 2.2", "when active"),
        Member("iss", "the issuer", "RFC 7662 2.2", "when active"),
        Member("sub", "the client: affiant issues no tokens for users", "RFC 7662 2.2", "when active"),
        Member("client_id", "the client that the token was issued to", "RFC 7662 2.2", "when active"),
        Member("aud", "the APIs in the audience of the token that the caller acts for", "RFC 7662 2.2", "when active"),
        Member("scope", "the names in the scope of the token that these APIs know", "RFC 7662 2.2", "when active, and the token has one"),
        Member("exp", "when it expires, in seconds since the epoch", "RFC 7662 2.2", "when active"),
        Member("iat", "when it was issued, in seconds since the epoch", "RFC 7662 2.2", "when active"),
        Member("nbf", "from when it is valid, in seconds since the epoch; affiant's own tokens have none", "RFC 7662 2.2", "when active, and the token has one"),
        Member("jti", "its name", "RFC 7662 2.2", "when active"),
        Member("cnf", "the key it is bound to, as in the token", "RFC 9449 6.2, RFC 8705 3.2", "when active and bound"),
        Member("client_key", "as in the token", "affiant", "when active"),
        *(Member(name, "as in the token", source, "when active, and the token has one") for name, source in _CHAIN),
        Member("authorization_details", "the entries of the token with types that these APIs know", "RFC 9396 9.2", "when active, and the token has some"),
    ),
    refuses=(*client_auth.REFUSES, "introspection"),
)  # fmt: skip
# Of the signed answer.
INTROSPECTION_CLAIMS = (
    Member("iss", "this server", "RFC 9701 5"),
    Member("aud", "the client_id of the caller", "RFC 9701 5"),
    Member("iat", "when it was made, in seconds since the epoch", "RFC 9701 5"),
    Member("token_introspection", "the members above", "RFC 9701 5"),
)

REVOCATION = Description(
    "Revokes a token of the caller: an access token, or a refresh token with its whole family.",
    client_auth.CALLER,
    ("POST",),
    (_SHOWN_TOKEN._replace(source="RFC 7009 2.1"), _HINT, *client_auth.PARAMETERS),
    statuses=("200, also for a token that is unknown or revoked already",),
    refuses=(*client_auth.REFUSES, "revocation"),
)

ACCESS_TOKEN = (
    Member("iss", "the issuer identifier of the server", "RFC 9068 2.2"),
    Member("sub", "the client: affiant issues no tokens for users", "RFC 9068 2.2"),
    Member("client_id", "the client that the token was issued to", "RFC 9068 2.2"),
    Member("aud", "the API it is for, or an array of several", "RFC 9068 2.2"),
    Member("exp", "when it expires, in seconds since the epoch", "RFC 9068 2.2"),
    Member("iat", "when it was issued, in seconds since the epoch", "RFC 9068 2.2"),
    Member("jti", "its name; with a refresh token, it begins with the name of the family", "RFC 9068 2.2"),
    Member("scope", "the granted scope", "RFC 9068 2.2.3", "unless it is empty"),
    Member("authorization_details", "the granted ones", "RFC 9396 9.1", "if some were granted"),
    Member("cnf", "the key it is bound to: `jkt`, the thumbprint of a key (DPoP), or `x5t#S256`, that of a certificate", "RFC 9449 6.1, RFC 8705 3.1", "if it is bound"),
    Member("client_key", "the credential that obtained it: the thumbprint of a key (RFC 7638), the id of a secret, or the thumbprint of a certificate; the token is revoked with it", "affiant"),
    Member("rule", "the rule by which the token of a trusted issuer obtained it, as `TRUST/RULE`; the token is revoked with either", "affiant", "if one did"),
    Member("src", "claims of that token, and its `iss`", "affiant", "if the rule copies some"),
    Member("act", "the client that acts for `sub`: `iss`, `sub`, `sub_profile`, and in `act` who acted before it", "RFC 8693 4.1", "if the token of another client was exchanged for it"),
    Member("sub_profile", "the kind of `sub`", "OAuth Actor Profile", "if it is known"),
    Member("parents", "the tokens that it was exchanged for, the first one first, each by the claims by which it can be revoked; the token is revoked with any of them", "affiant", "if it was exchanged"),
    Member("task", "the task that it is for", "affiant", "if one was named"),
)  # fmt: skip
