"""The binding of a token: the key of a DPoP proof (RFC 9449), or the client's certificate (RFC 8705 section 3).

Each process remembers used proofs for itself; nothing of them is stored. A caller that repeats a proof at another
process still needs an unused client assertion, or the secret, and gets a token bound to a key that it does not have.
"""

from __future__ import annotations

from typing import Any

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.algorithms import ASYMMETRIC
from affiant.oauth import access_token, names
from affiant.oauth.binding import dpop
from affiant.oauth.binding.dpop import DpopProof, Nonces
from affiant.oauth.binding.mtls import Certificate
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request import http
from affiant.server.request.notes import Request


class Proofs:
    """Judges the DPoP proofs of token requests.

    `urls`: of the token endpoint, its own, and its alias for mutual TLS if there is one (RFC 8705 section 5). `nonces`
    are given where every proof needs one.
    """

    def __init__(self, urls: tuple[str, ...], *, nonces: Nonces | None, algorithms: tuple[str, ...] | None) -> None:
        self._urls = urls
        self._nonces = nonces
        self._algorithms = algorithms or ASYMMETRIC
        self._replays = dpop.Replays()

    def metadata(self) -> dict[str, Any]:
        # RFC 9449 section 5.1.
        return {"dpop_signing_alg_values_supported": list(self._algorithms)}

    def verify(self, client: RegisteredClient, request: Request) -> DpopProof | None:
        """Return the proof of an authenticated client's request, or None if there is none and none is needed.

        A request that is refused here does not use up the jti of its assertion.
        """
        values, demands = http.header(request.scope, b"dpop"), client.demands
        needs_proof = client.record.dpop_bound_access_tokens or (demands.binds and not binds_certificate(client))
        if not values and not needs_proof:
            return None
        if self._nonces is not None:
            request.notes.headers = ((b"dpop-nonce", self._nonces.current(request.now).encode("ascii")),)
        if not values:
            raise Rejected(Reason.DPOP_MISSING)
        proof = dpop.verify(
            values,
            method="POST",
            urls=self._urls,
            now=request.now,
            nonces=self._nonces,
            algorithms=demands.algorithms or self._algorithms,
        )
        # From here on the proof is used, even if the request is refused.
        self._replays.claim(proof, request.now)
        request.notes.detail = f"dpop {proof.jkt}"
        return proof


def find_certificate(client: RegisteredClient, certificate: Certificate | None) -> Certificate | None:
    """Return the certificate that the token is bound to, or None; raise CERTIFICATE_MISSING."""
    if not binds_certificate(client):
        return None
    if certificate is None:
        raise Rejected(Reason.CERTIFICATE_MISSING)
    return certificate


def check(proof: DpopProof | None, certificate: Certificate | None) -> None:
    """Raise EXCHANGE_UNBOUND for a bearer token where the token that is exchanged is sender-constrained."""
    if proof is None and certificate is None:
        raise Rejected(Reason.EXCHANGE_UNBOUND)


def check_holder(confirmation: object, proof: DpopProof | None, certificate: Certificate | None) -> None:
    """Raise EXCHANGE_UNBOUND unless what is issued for a platform's token has the key of its `cnf` (RFC 7800), if any.

    Attack: who stole a sender-constrained token sends it as the grant, and gets a token without its key.
    """
    if confirmation is None:
        return
    bound = access_token.confirmation(proof, certificate) or {}
    is_held = isinstance(confirmation, dict) and all(bound.get(name) == key for name, key in confirmation.items())
    if not confirmation or not is_held:
        raise Rejected(Reason.EXCHANGE_UNBOUND, expected="a proof of the key in cnf")


def binds_certificate(client: RegisteredClient) -> bool:
    record = client.record
    return record.token_endpoint_auth_method in names.BY_TLS or record.tls_client_certificate_bound_access_tokens
