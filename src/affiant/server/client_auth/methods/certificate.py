"""tls_client_auth and self_signed_tls_client_auth: the certificate of the TLS connection (RFC 8705 section 2).

TLS has already proved that the sender has the key of the certificate.
"""

from __future__ import annotations

import hmac
import json
from typing import ClassVar

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.oauth.binding import mtls, subject
from affiant.oauth.binding.mtls import Certificate
from affiant.server.client_auth.method import Judging, Method, SelfNamed, Sent
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.key_cache import Wanted
from affiant.server.request.caller import Caller

_NO_SUBJECT = (subject.SAN_DNS, "unknown.invalid")


class OverTls(SelfNamed, frozen=True):
    """A certificate, and the client that claims it."""

    methods: ClassVar[tuple[str, ...]] = names.BY_TLS
    name = "a client certificate"
    profile = None

    client_id: str
    certificate: Certificate

    async def judge(self, client: RegisteredClient, judging: Judging) -> Caller:
        if client.record.jwks_uri is not None:
            client = await judging.remote_keys.complete(client, self._wanted(), now=judging.now)
        mtls.check_time(self.certificate, judging.now)
        if client.record.token_endpoint_auth_method == names.SELF_SIGNED_TLS_CLIENT_AUTH:
            key: PublicKey | None = self._find_key(client, judging.now)
        else:
            key = None
            self._check_subject(client)
        return Caller(
            client,
            client.record.token_endpoint_auth_method,
            kid=key.kid if key is not None else None,
            # A registered key is revoked by its thumbprint, and its tokens with it.
            thumbprint=key.thumbprint if key is not None else self.certificate.thumbprint,
            observed=tuple(reason.code for reason in client.observed),
        )

    def refused(self, refusal: Rejected) -> Rejected:
        return refusal

    def _wanted(self) -> Wanted:
        # RFC 8705 section 2.2: the key with this certificate, in the client's key set.
        der = self.certificate.der
        return Wanted(self.certificate.thumbprint, lambda key: key.certificate == der)

    def _find_key(self, client: RegisteredClient, now: float) -> PublicKey:
        # Section 2.2.2: exactly the registered certificate; its contents do not matter.
        for key in client.keys.usable(now):
            if key.certificate is not None and hmac.compare_digest(key.certificate, self.certificate.der):
                return key
        raise Rejected(Reason.CERTIFICATE, expected="a certificate in x5c of a registered key")

    def _check_subject(self, client: RegisteredClient) -> None:
        member, value = client.record.tls_subject or _NO_SUBJECT
        if not subject.has_subject(self.certificate, member, value) or client.record.tls_subject is None:
            expected = subject.show(member, value)
            raise Rejected(Reason.CERTIFICATE, expected=expected, got=subject.show_found(self.certificate, member))


def _marks(_: Sent) -> tuple[str, ...]:
    # Next to an assertion or a secret, a certificate is no second method: it is there to bind tokens (RFC 8705 3).
    return ()


def _shows(sent: Sent) -> OverTls | None:
    if sent.certificate is None:
        return None
    client_id = sent.form.get("client_id")
    if client_id is None:  # RFC 8705 section 2: only this parameter names the client
        raise Rejected(Reason.NO_CREDENTIALS, expected="client_id")
    return OverTls(client_id, sent.certificate)


METHOD = Method(
    places={
        names.TLS_CLIENT_AUTH: "tls_client_auth (a certificate of the client, by its name)",
        names.SELF_SIGNED_TLS_CLIENT_AUTH: "self_signed_tls_client_auth (a certificate of the client, by its key)",
    },
    marks=_marks,
    is_last=True,
    shows=_shows,
    code=lambda _, client_id: (
        'form.pop("client_secret", None); headers.pop("Authorization", None); '
        f'form["client_id"] = {json.dumps(client_id)}'
    ),
)
