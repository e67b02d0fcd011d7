"""client_secret_basic and client_secret_post: a secret that is recognised by its keyed digest (RFC 6749 2.3.1)."""

from __future__ import annotations

import binascii
import hmac
import json
from base64 import b64decode
from urllib.parse import quote_plus, unquote_plus

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth import names
from affiant.server.client_auth.method import Judging, Method, SelfNamed, Sent
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.caller import Caller

_SCHEMES = ("Basic", "Bearer", "DPoP", "Digest", "Negotiate")
_NO_DIGEST = bytes(32)


class Secret(SelfNamed, frozen=True):
    """A client secret, and the method by which it came."""

    HIDDEN = frozenset({"secret"})
    profile = None

    name: str
    client_id: str
    secret: str

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.name,)

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:
        digest = judging.master_key.digest(self.secret)
        live = [s for s in client.record.secrets if s.digest and (s.expires_at is None or s.expires_at > judging.now)]
        # Attack: every live secret is compared, and one for a client without any, so that the time says nothing.
        digests = [secret.digest or _NO_DIGEST for secret in live] or [_NO_DIGEST]
        matches = [hmac.compare_digest(stored, digest) for stored in digests]
        if not live or not any(matches):
            raise Rejected(Reason.SECRET)
        return Caller(client, self.name, thumbprint=live[matches.index(True)].id or None)

    def refused(self, refusal: Rejected) -> Rejected:
        return refusal


def _marks(sent: Sent) -> list[str]:
    # Only the scheme of the header may be recorded.
    found = [f"Authorization: {_scheme(value)}" for value in _authorization(sent)]
    return found if sent.form.get("client_secret") is None else [*found, "client_secret"]


def _shows(sent: Sent) -> Secret | None:
    authorization, client_id = _authorization(sent), sent.form.get("client_id")
    if authorization:
        return _basic(authorization[0], client_id)
    secret = sent.form.get("client_secret")
    if secret is None or client_id is None:
        return None
    return Secret(names.CLIENT_SECRET_POST, client_id, secret)


def _authorization(sent: Sent) -> list[bytes]:
    """Return the Authorization headers, without an access token next to a client_id and its secret.

    A token authenticates no client, so it is no second method (RFC 6749 section 2.3). PyIceberg sends its expired token
    with the secret. Two headers are not ignored: which one counts would be a guess. Nor is a header next to an
    assertion (RFC 7521 section 4.2.1): it may be a second assertion.
    """
    values, form = sent.header(b"authorization"), sent.form
    if not values:
        return values
    is_post = form.get("client_secret") is not None and form.get("client_id") is not None
    has_jwt = form.get("client_assertion") is not None or form.get("assertion") is not None
    if is_post and not has_jwt and len(values) == 1 and _scheme(values[0]) in ("Bearer", "DPoP"):
        return []
    return values


def _scheme(value: bytes) -> str:
    name = value.partition(b" ")[0].lower()
    return next((known for known in _SCHEMES if known.lower().encode() == name), "another scheme")


def _basic(value: bytes, client_id: str | None) -> Secret:
    scheme, _, encoded = value.partition(b" ")
    try:
        if scheme.lower() != b"basic":
            raise ValueError("scheme")
        user, colon, password = b64decode(encoded, validate=True).decode("utf-8").partition(":")
        # RFC 6749 section 2.3.1: both were form-encoded before they were joined.
        name, secret = unquote_plus(user, errors="strict"), unquote_plus(password, errors="strict")
    except (binascii.Error, ValueError):
        raise Rejected(Reason.BASIC_MALFORMED, detail=_scheme(value)) from None
    if not (colon and name and secret):
        raise Rejected(Reason.BASIC_MALFORMED)
    if client_id is not None and client_id != name:
        raise Rejected(Reason.MULTIPLE_METHODS)
    return Secret(names.CLIENT_SECRET_BASIC, name, secret)


def _code(name: str, client_id: str) -> str:
    if name == names.CLIENT_SECRET_POST:
        members = f'{{"client_id": {json.dumps(client_id)}, "client_secret": secret}}'
        return f'headers.pop("Authorization", None); form |= {members}'
    # RFC 6749 section 2.3.1: a colon in the client_id is form-encoded, so that it does not end it.
    encoded = json.dumps(quote_plus(client_id))
    pair = f"base64.b64encode(({encoded} + ':' + secret).encode()).decode()"
    return f'form.pop("client_secret", None); headers["Authorization"] = "Basic " + {pair}'


METHOD = Method(
    places={
        names.CLIENT_SECRET_BASIC: "client_secret_basic (Authorization header)",
        names.CLIENT_SECRET_POST: "client_secret_post (client_secret in the form)",
    },
    marks=_marks,
    shows=_shows,
    code=_code,
)
