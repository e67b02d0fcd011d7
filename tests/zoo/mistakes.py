"""Mistakes that people make when they first sign a client assertion, from their questions and from other servers' issues."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from tests.zoo.caller import Names

from affiant.errors.reasons import Reason

JWT_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake, and what it is refused for.

    Attributes:
        name: what went wrong.
        reason: what the server says.
        early, at_input, at_signature: where it happens (see Caller).
        client: whose code it is in: ec, rsa, hmac, post, basic, url, kafka, disabled or two (two keys).
        clock: seconds that the caller's clock is wrong.
        again: the request was sent before, this many seconds ago.
        stranger: the caller signs with a key that nobody registered.
    """

    name: str
    reason: Reason
    early: Callable[[Names], object] = lambda _: None
    at_input: Callable[[Names], object] = lambda _: None
    at_signature: Callable[[Names], object] = lambda _: None
    client: str = "ec"
    clock: float = 0.0
    again: float | None = None
    stranger: bool = False


def _claims(**changes: object) -> Callable[[Names], object]:
    return lambda these: these["claims"].update(changes)


def _drop(part: str, name: str) -> Callable[[Names], object]:
    return lambda these: these[part].pop(name)


def _form(**changes: str) -> Callable[[Names], object]:
    return lambda these: these["form"].update(changes)


def _header(**changes: object) -> Callable[[Names], object]:
    return lambda these: these["header"].update(changes)


def _add(seconds: float, *claims: str) -> Callable[[Names], object]:
    return lambda these: these["claims"].update({name: these["claims"][name] + seconds for name in claims})


def _milliseconds(these: Names) -> None:
    these["claims"].update({name: these["claims"][name] * 1000 for name in ("iat", "exp")})


def _der(these: Names) -> None:
    r, s = these["signature"][:32], these["signature"][32:]
    these["signature"] = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _put(name: str, make: Callable[[Names], object]) -> Callable[[Names], object]:
    return lambda these: these.update({name: make(these)})


def _spaced(these: Names) -> bytes:
    head, payload = (json.dumps(these[part]).encode() for part in ("header", "claims"))
    return f"{these['encode'](head)}.{these['encode'](payload)}".encode()


def _guide(these: Names) -> None:
    these["form"] = {
        "grant_type": "client_credentials",
        "assertion": these["form"]["client_assertion"],
        "client_id": these["claims"]["iss"],
        "client_secret": "s3cret",
    }
    these["claims"]["sub"] = "unique_request"


def _kafka(these: Names) -> None:
    """As librdkafka asks: the assertion is the grant."""
    these["form"] = {"grant_type": JWT_BEARER_GRANT, "assertion": these["form"]["client_assertion"]}


def _secret_in_form(these: Names) -> None:
    """As Pulsar asks, whatever the client is registered for."""
    these["form"] = {
        "grant_type": "client_credentials",
        "client_id": these["claims"]["iss"],
        "client_secret": these["secret"],
    }


def _secret_in_header(these: Names) -> None:
    """As Prometheus and Databricks ask first."""
    pair = f"{these['claims']['iss']}:{these['secret']}".encode()
    these["form"] = {"grant_type": "client_credentials"}
    these["headers"]["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"


def _by_query(these: Names) -> None:
    these["query"], these["form"] = these["form"], {}


def _get(these: Names) -> None:
    _by_query(these)
    these["method"] = "GET"


def _use(alg: str) -> Callable[[Names], object]:
    def change(these: Names) -> None:
        these["alg"] = these["header"]["alg"] = alg

    return change


def _named(name: str) -> Callable[[Names], object]:
    return _claims(iss=name, sub=name)


_TIMES = [
    Mistake("times in milliseconds", Reason.IAT_FUTURE, _milliseconds),
    Mistake(
        "exp is a string", Reason.EXP_MISSING, lambda these: these["claims"].update(exp=str(these["claims"]["exp"]))
    ),
    Mistake("exp is how long it lives", Reason.EXPIRED, _claims(exp=300)),
    Mistake("no exp", Reason.EXP_MISSING, _drop("claims", "exp")),
    Mistake("an hour, a library's default", Reason.LIFETIME, _add(3540, "exp")),
    Mistake("a day", Reason.LIFETIME, _add(86_400, "exp")),
    Mistake("local time for UTC, ahead", Reason.IAT_FUTURE, _add(7200, "iat", "exp")),
    Mistake("local time for UTC, behind", Reason.EXPIRED, _add(-18_000, "iat", "exp")),
    Mistake("local time of half an hour's zone", Reason.IAT_FUTURE, _add(19_800, "iat", "exp")),
    Mistake("clock 43 s ahead", Reason.IAT_FUTURE, clock=43),
    Mistake("clock 400 s behind", Reason.EXPIRED, clock=-400),
    Mistake("nbf in the future", Reason.NOT_YET, lambda t: t["claims"].update(nbf=t["claims"]["iat"] + 50)),
    Mistake("iat is a string", Reason.TIME_CLAIM, _claims(iat="now")),
    Mistake("iat is the service's start", Reason.IAT_OLD, _add(-86_000, "iat")),
    Mistake("the same assertion again", Reason.REPLAYED, _claims(jti="always"), again=1),
    Mistake("an assertion kept for ten minutes", Reason.EXPIRED, again=600),
    Mistake("no jti", Reason.JTI, _drop("claims", "jti")),
    Mistake("jti is a number", Reason.JTI, _claims(jti=1)),
    Mistake("jti is the name of the service", Reason.REPLAYED, _claims(jti="ec"), again=90),
]
_NAMES = [
    Mistake("aud with a slash at its end", Reason.AUDIENCE, lambda t: t["claims"].update(aud=t["claims"]["aud"] + "/")),
    Mistake("aud is the endpoint", Reason.AUDIENCE, lambda t: t["claims"].update(aud=t["claims"]["aud"] + "/token")),
    Mistake(
        "aud is a list of both",
        Reason.AUDIENCE,
        lambda t: t["claims"].update(aud=[t["claims"]["aud"], t["claims"]["aud"] + "/token"]),
    ),
    Mistake("no aud", Reason.AUDIENCE, _drop("claims", "aud")),
    Mistake("aud is the API", Reason.AUDIENCE, _claims(aud="https://api.example")),
    Mistake("sub is the guide's", Reason.ISS_SUB, _claims(sub="unique_request")),
    Mistake("iss is a URL", Reason.TRUST_UNKNOWN, _claims(iss="https://billing.example")),
    Mistake("no sub", Reason.ISS_SUB, _drop("claims", "sub")),
    Mistake("client_id of another", Reason.CLIENT_ID, _form(client_id="hmac")),
    Mistake("a name in capitals", Reason.CLIENT_UNKNOWN, _named("BILLING-EC")),
    Mistake("a name with a letter too many", Reason.CLIENT_UNKNOWN, _named("billing-ecc")),
    Mistake("a client that was disabled", Reason.CLIENT_DISABLED, client="disabled"),
    Mistake("registered for a secret", Reason.CLIENT_METHOD, client="post"),
    Mistake("Pulsar: the secret in the form", Reason.CLIENT_METHOD, _secret_in_form, client="basic"),
    Mistake("Prometheus: the secret in the header", Reason.CLIENT_METHOD, _secret_in_header, client="post"),
    Mistake("a client named by a URL", Reason.CLIENT_METHOD, _secret_in_form, client="url"),
]
_PROOFS = [
    Mistake("DER signature", Reason.SIGNATURE, at_signature=_der),
    Mistake("librdkafka: ES256 in DER", Reason.SIGNATURE, _kafka, at_signature=_der, client="kafka"),
    Mistake(
        "signature in base64url twice",
        Reason.SIGNATURE,
        at_signature=_put("signature", lambda t: base64.urlsafe_b64encode(t["signature"]).rstrip(b"=")),
    ),
    Mistake(
        "signature in hexadecimal",
        Reason.SIGNATURE,
        at_signature=_put("signature", lambda t: t["signature"].hex().encode()),
    ),
    Mistake(
        "signature in base64 twice",
        Reason.SIGNATURE,
        at_signature=_put("signature", lambda t: base64.b64encode(t["signature"])),
    ),
    Mistake("PSS for PKCS #1", Reason.SIGNATURE, _put("alg", lambda _: "PS256"), client="rsa"),
    Mistake("header says RS256, key is for ES256", Reason.KEY_NONE, _header(alg="RS256")),
    Mistake(
        "signed a hash",
        Reason.SIGNATURE,
        at_input=_put("signing_input", lambda t: hashlib.sha256(t["signing_input"]).digest()),
    ),
    Mistake(
        "signed the payload alone",
        Reason.SIGNATURE,
        at_input=_put("signing_input", lambda t: t["signing_input"].split(b".")[1]),
    ),
    Mistake("signed other JSON than was sent", Reason.SIGNATURE, at_input=_put("signing_input", _spaced)),
    Mistake("kid of another key", Reason.SIGNATURE, client="two"),
    Mistake("a kid that was made up", Reason.KEY_UNKNOWN, _header(kid="key-1")),
    Mistake("a key that was never registered", Reason.SIGNATURE, stranger=True),
    Mistake("HS256 with the public key", Reason.KEY_NONE, _use("HS256")),
    Mistake("alg none", Reason.KEY_NONE, _use("none")),
    Mistake(
        "secret in hexadecimal",
        Reason.SIGNATURE,
        _put("key", lambda t: t["secret"].encode().hex().encode()),
        client="hmac",
    ),
    Mistake(
        "secret decoded from base64",
        Reason.SIGNATURE,
        _put("key", lambda t: base64.urlsafe_b64decode(t["secret"] + "=")),
        client="hmac",
    ),
    Mistake("secret with a line's end", Reason.SIGNATURE, _put("secret", lambda t: t["secret"] + "\n"), client="hmac"),
    Mistake("secret in quotation marks", Reason.SIGNATURE, _put("secret", lambda t: f'"{t["secret"]}"'), client="hmac"),
    Mistake("HS512 under the name HS256", Reason.SIGNATURE, _put("alg", lambda _: "HS512"), client="hmac"),
]
_SPELLINGS = [
    Mistake(
        "base64 for base64url",
        Reason.JWT_CHARACTERS,
        _put("encode", lambda _: lambda data: base64.b64encode(data).decode()),
    ),
    Mistake(
        "padding left on",
        Reason.JWT_CHARACTERS,
        _put("encode", lambda _: lambda data: base64.urlsafe_b64encode(data).decode()),
    ),
    Mistake("a line's end behind it", Reason.JWT_CHARACTERS, _form(client_assertion="{token}\n")),
    Mistake("quotation marks around it", Reason.JWT_CHARACTERS, _form(client_assertion='"{token}"')),
    Mistake("Bearer before it", Reason.JWT_CHARACTERS, _form(client_assertion="Bearer {token}")),
    Mistake(
        "only the payload",
        Reason.JWT_PARTS,
        _put("token", lambda t: t["encode"](t["write"](t["claims"]))),
    ),
    Mistake("typ of an access token", Reason.JWT_TYP, _header(typ="at+jwt")),
    Mistake("crit", Reason.JWT_CRIT, _header(crit=["exp"])),
    Mistake("kid is a number", Reason.JWT_KID, _header(kid=7)),
]
_REQUESTS = [
    Mistake("the guide's parameter", Reason.MISPLACED_ASSERTION, _guide),
    Mistake("assertion type of the grant", Reason.ASSERTION_TYPE, _form(client_assertion_type=JWT_BEARER_GRANT)),
    Mistake("no assertion type", Reason.HALF_ASSERTION, _drop("form", "client_assertion_type")),
    Mistake("a secret beside it", Reason.ASSERTION_AND_OTHER, _form(client_secret="s3cret")),
    Mistake(
        "Basic beside it", Reason.ASSERTION_AND_OTHER, lambda t: t["headers"].update(Authorization="Basic YmlsbGluZzp4")
    ),
    Mistake("JSON", Reason.CONTENT_TYPE, lambda t: t["headers"].update({"Content-Type": "application/json"})),
    Mistake("nothing at all", Reason.NO_BODY, lambda t: t.update(form={}, headers={})),
    Mistake("GET", Reason.METHOD, _get),
    Mistake("in the query", Reason.IN_QUERY, _by_query),
    Mistake("no grant_type", Reason.MISSING_PARAMETER, _drop("form", "grant_type")),
    Mistake("the grant of RFC 7523 section 2.1", Reason.MISSING_PARAMETER, _form(grant_type=JWT_BEARER_GRANT)),
    Mistake("no credentials", Reason.NO_CREDENTIALS, _put("form", lambda _: {"grant_type": "client_credentials"})),
    Mistake("a scope it may not have", Reason.SCOPE_NOT_ALLOWED, _form(scope="orders.read admin")),
    Mistake("scopes with commas", Reason.SCOPE_NOT_ALLOWED, _form(scope="orders.read,orders.write")),
    Mistake("scopes with two spaces", Reason.SCOPE_MALFORMED, _form(scope="orders.read  orders.write")),
    Mistake("an API that is not registered", Reason.RESOURCE_NOT_ALLOWED, _form(resource="https://other.example")),
    Mistake("an API without its scheme", Reason.RESOURCE_MALFORMED, _form(resource="api.example")),
]


def _both(*changes: Callable[[Names], object]) -> Callable[[Names], object]:
    return lambda these: [change(these) for change in changes]


_ENDPOINT = _NAMES[1].early
_POST, _BASIC = "--auth client_secret_post", "--auth client_secret_basic"
# Code that cannot be changed, and the options of `affiant client update` that let it in.
FOREIGN = [
    (_NAMES[1], "--audience legacy"),
    (Mistake("an hour", Reason.LIFETIME, _add(3540, "exp")), "--lifetime legacy"),
    (Mistake("no jti", Reason.JTI, _drop("claims", "jti")), "--jti legacy"),
    (Mistake("jti is a number", Reason.JTI, _claims(jti=1)), "--jti legacy"),
    (Mistake("Maskinporten: no sub", Reason.ISS_SUB, _drop("claims", "sub")), "--subject legacy"),
    (Mistake("Pulsar: the secret in the form", Reason.CLIENT_METHOD, _secret_in_form, client="basic"), _POST),
    (Mistake("Prometheus: the secret in the header", Reason.CLIENT_METHOD, _secret_in_header, client="post"), _BASIC),
    (
        Mistake("MSAL: the endpoint, for 540 s", Reason.AUDIENCE, _both(_ENDPOINT, _add(480, "exp"))),
        "--audience legacy --lifetime legacy",
    ),
    (
        Mistake("all of it", Reason.AUDIENCE, _both(_ENDPOINT, _add(480, "exp"), _drop("claims", "jti"))),
        "--audience legacy --lifetime legacy --jti legacy",
    ),
    (
        Mistake("and a scope more", Reason.AUDIENCE, _both(_ENDPOINT, _form(scope="orders.read invoices.read"))),
        "--audience legacy --scope orders.read --scope orders.write --scope invoices.read",
    ),
    (
        Mistake("a scope more", Reason.SCOPE_NOT_ALLOWED, _form(scope="invoices.read")),
        "--scope orders.read --scope orders.write --scope invoices.read",
    ),
    (
        Mistake("another API", Reason.RESOURCE_NOT_ALLOWED, _form(resource="https://other.example")),
        "--resource https://api.example --resource https://other.example",
    ),
    (Mistake("no proof", Reason.DPOP_MISSING, client="dpop"), "--dpop optional"),
    (Mistake("no certificate", Reason.CERTIFICATE_MISSING, client="bound"), "--certificate-bound optional"),
    (
        Mistake("another grant", Reason.GRANT_NOT_ALLOWED, _kafka),
        "--grant client_credentials --grant urn:ietf:params:oauth:grant-type:jwt-bearer",
    ),
]
# Code that no setting lets in.
NEVER = [
    Mistake("Salesforce", Reason.AUDIENCE, _claims(aud="https://login.salesforce.com", exp="1800000180")),
    Mistake("Box", Reason.AUDIENCE, _claims(aud="https://api.box.com/oauth2/token")),
    Mistake("Auth0", Reason.CONTENT_TYPE, lambda t: t["headers"].update({"Content-Type": "application/json"})),
    Mistake("a day", Reason.LIFETIME, _add(86_400, "exp")),
    Mistake("exp is a string", Reason.EXP_MISSING, lambda t: t["claims"].update(exp=str(t["claims"]["exp"]))),
    Mistake("the endpoint, for a day", Reason.AUDIENCE, _both(_ENDPOINT, _add(86_400, "exp"))),
]
MISTAKES = [*_TIMES, *_NAMES, *_PROOFS, *_SPELLINGS, *_REQUESTS]
