"""tls_client_auth and self_signed_tls_client_auth: a client that is recognised by its certificate (RFC 8705 section 2).

That the sender holds the key of the certificate, TLS has proved before the request came.
"""

from __future__ import annotations

import hmac

from affiant.errors import Rejected
from affiant.jose.keys import PublicKey
from affiant.oauth import names
from affiant.oauth.binding import mtls, subject
from affiant.oauth.binding.mtls import Certificate
from affiant.reasons import Reason
from affiant.server.registry.directory import RegisteredClient
from affiant.server.registry.remote_keys import Wanted

METHODS = names.BY_TLS
_NOBODY = (subject.SAN_DNS, "nobody.invalid")
SHOWN = "a client certificate"  # what a request by one of them shows


def wanted(certificate: Certificate) -> Wanted:
    """The key of which it must be the certificate, at the jwks_uri of a client (RFC 8705 section 2.2)."""
    return Wanted(certificate.thumbprint, lambda key: key.certificate == certificate.der)


def verify(client: RegisteredClient | None, certificate: Certificate, *, now: float) -> PublicKey | None:
    """Check that the certificate is the client's, with the same work when there is no client."""
    mtls.check_time(certificate, now)
    if client is not None and client.record.token_endpoint_auth_method == names.SELF_SIGNED_TLS_CLIENT_AUTH:
        return _find_key(client, certificate, now)
    member, value = (client.record.tls_subject if client is not None else None) or _NOBODY
    if not subject.has_subject(certificate, member, value) or client is None:
        expected = subject.show(member, value) if client is not None else ""
        raise Rejected(Reason.CERTIFICATE, expected=expected, got=subject.show_found(certificate, member))
    return None


def _find_key(client: RegisteredClient, certificate: Certificate, now: float) -> PublicKey:
    # Section 2.2.2: the very certificate that is registered, whatever it says of itself.
    for key in client.keys.usable(now):
        if key.certificate is not None and hmac.compare_digest(key.certificate, certificate.der):
            return key
    raise Rejected(Reason.CERTIFICATE, expected="a certificate in x5c of a registered key")
