"""The reference of the endpoints by which clients register and rotate their keys, and of client metadata."""

from __future__ import annotations

from affiant.jose.key_set import MAX_GIVEN
from affiant.server.client_auth import descriptions as client_auth
from affiant.server.registry import fields
from affiant.server.registry.credentials.actions import LONGEST_OVERLAP
from affiant.server.registry.fields import By
from affiant.server.request.description import Description, Member, Parameter

# Client metadata: sent by a client, and returned.
METADATA = (
    Member("jwks", f"its public keys, a JWK Set with at most {MAX_GIVEN} keys for signatures; other members are left out, and named in `jwks_left_out`", fields.RFC_7591, "for methods by key, or `jwks_uri`"),
    *(
        Member(row.name, row.meaning, row.source, "optional")
        for table in (fields.CLIENT, fields.SOFTWARE)
        for row in table.by(By.CLIENT)
    ),
)  # fmt: skip
_LEFT_OUT = Member(
    "jwks_left_out",
    "an array of sentences: which members of `jwks` are not registered, and why",
    "affiant",
    "where there are some",
)
# Members of the answer next to the metadata.
_ANSWER = (
    Member("client_id", "the client's name; the server chooses it", "RFC 7591 3.2.1"),
    Member("client_id_issued_at", "time of the registration, in seconds since the epoch", "RFC 7591 3.2.1"),
    Member("client_secret", "the client's secret; no later answer has it", "RFC 7591 3.2.1", "when it was just made"),
    Member("client_secret_expires_at", "0: it does not", "RFC 7591 3.2.1", "with `client_secret`"),
    Member("registration_access_token", "authorizes reading, replacing and deleting the registration", "RFC 7592 3"),
    Member("registration_client_uri", "URL of the registration", "RFC 7592 3"),
    Member("response_types", "empty: there are no users", "RFC 7591 2"),
    _LEFT_OUT,
    Member("...", "the client metadata as registered", "RFC 7591 3.2.1"),
)  # fmt: skip
_JSON = Parameter("Content-Type", "`application/json`", "RFC 7591 3.1", "required with a body", "header")
_REQUEST = (
    "request.method",
    "request.too_large",
    "request.incomplete",
    "request.too_slow",
    "token.request",
    "limit",
    "server",
)
_BODY = ("content_type", "json", "metadata", "jwks", "jwks_uri", "scope", "redirect_uris", "software_statement", "software_statement_issuer")  # fmt: skip
_REGISTRABLE = tuple(f"registration.{name}" for name in ("token_missing", *_BODY))

REGISTER = Description(
    "Lets a client register itself.",
    "a caller with an initial access token",
    ("POST",),
    (
        Parameter("Authorization", "`Bearer` and an initial access token", "RFC 7591 3", "required", "header"),
        _JSON,
        Parameter("...", "[client metadata](metadata.md#client-metadata); members that are not known are ignored", "RFC 7591 3.1", place="JSON"),
        Parameter("client_secret", "refused: the server makes it", "RFC 7591 3.2.1", "left out", "JSON"),
        Parameter("redirect_uris", "refused, as `response_types` is unless it is empty: there are no redirects", "RFC 7591 2", "left out", "JSON"),
    ),
    ("201",),
    _ANSWER,
    (*_REQUEST, *_REGISTRABLE, "registration.initial_access_token"),
)  # fmt: skip

MANAGE = Description(
    "Reads, replaces and deletes a registration. A member that `PUT` leaves out returns to its default.",
    "a caller with the registration_access_token of the client",
    ("GET", "PUT", "DELETE"),
    (
        Parameter("client_id", "the client", "RFC 7592 2", "required", "path"),
        Parameter("Authorization", "`Bearer` and the registration_access_token", "RFC 7592 2", "required", "header"),
        _JSON,
        Parameter("client_id", "the same", "RFC 7592 2.2", "required with PUT", "JSON"),
        Parameter("client_secret", "must be the client's own; it cannot be changed", "RFC 7592 2.2", "optional with PUT", "JSON"),
        Parameter("...", "[client metadata](metadata.md#client-metadata), all of it", "RFC 7592 2.2", "with PUT", "JSON"),
    ),
    ("200", "204 for DELETE, without a body"),
    _ANSWER,
    (*_REQUEST, *_REGISTRABLE, "registration.access_token"),
)  # fmt: skip

CLIENT_KEYS = Description(
    "Rotates a client's keys. `PUT` replaces them with those of `jwks`; `POST` does one `action`.",
    "a client of `private_key_jwt` whose keys are kept here; with an active key for all but `list` and `prove`",
    ("POST", "PUT"),
    (
        Parameter("action", "`list`, `announce` (answers 201), `prove`, `retire`, `revoke` or `cancel`", "affiant", "required with POST"),
        Parameter("jwk", "the next public key, a JWK; until it has proved itself with `prove`, it can do nothing else", "RFC 7517 4", "for `announce`"),
        Parameter("not_before", "start of its validity, in seconds since the epoch; at once when left out", "affiant", "optional with `announce`"),
        Parameter("expires_at", "end of its validity, in seconds since the epoch; never when left out", "affiant", "optional with `announce`"),
        Parameter("kid", "the key, by its `kid` or its thumbprint (RFC 7638); by its thumbprint if a `kid` names several keys, ended ones included", "RFC 7517 4.5", "for `retire`, `revoke` and `cancel`"),
        Parameter("overlap", f"seconds that the key stays valid, at most {LONGEST_OVERLAP:,}; 0 when left out", "affiant", "optional with `retire`"),
        Parameter("jwks", f"the public keys, a JWK Set with at most {MAX_GIVEN} keys for signatures", "RFC 7517 5", "required with PUT"),
        *client_auth.PARAMETERS,
    ),
    ("200", "201 for `announce`"),
    (
        Member("client_id", "the client", "RFC 7591 3.2.1"),
        Member("keys", "an array; of each key `kid`, `thumbprint` (RFC 7638), `alg`, `state`, `source`, `use_count`, and in seconds since the epoch `created_at`, `not_before`, `expires_at`, `proved_at`, `retiring_at`, `revoked_at`, `last_used_at`; of one that has a successor also `safe_to_complete` and `why`", "affiant"),
        _LEFT_OUT,
    ),
    (*client_auth.REFUSES, "client_keys"),
)  # fmt: skip
