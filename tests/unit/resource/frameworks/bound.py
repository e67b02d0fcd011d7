"""A token that is bound to a key, with a proof for each request."""

from tests.unit.resource.listening import ListeningIssuer

from affiant.jose import keys
from affiant.oauth.binding import dpop


class Bound:
    def __init__(self, issuer: ListeningIssuer, *, scope: str) -> None:
        self._issuer, self._key = issuer, dpop.ProofKey.of(keys.generate("ES256"))
        self._token = issuer.token("bound", cnf={"jkt": self._key.thumbprint}, scope=scope)[7:].decode()

    def headers(self, url: str, *, method: str = "GET", nonce: str | None = None) -> dict[str, str]:
        """Return the headers of one request."""
        now, token = int(self._issuer.now), self._token
        proof = dpop.build(self._key, method=method, url=url, now=now, access_token=token, nonce=nonce)
        return {"Authorization": f"DPoP {token}", "DPoP": proof}
