"""Tokens of service accounts of Kubernetes.

Claims: kubernetes.io reference/access-authn-authz/service-accounts-admin, and the tokens shown in public reports. That a
header has no `typ`, and the shape of a legacy token, are known from the source of pkg/serviceaccount.
"""

from dataclasses import dataclass, replace
from typing import Any

from tests.platforms.token import AUDIENCE, Token

ISSUER = "https://kubernetes.default.svc.cluster.local"  # of every cluster whose operator chose no other
LEGACY_ISSUER = "kubernetes/serviceaccount"
API_SERVER = "https://kubernetes.default.svc.cluster.local"  # the audience of the token that every pod has
WARN_AFTER = 3607
YEAR = 365 * 86_400
_HOUR = 3600


def eks(cluster: str = "EXAMPLED539D4633E53DE1B716D3041E", region: str = "eu-west-1") -> str:
    return f"https://oidc.eks.{region}.amazonaws.com/id/{cluster}"


def gke(project: str = "acme-prod", location: str = "europe-west1", cluster: str = "prod") -> str:
    return f"https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{cluster}"


def aks(
    tenant: str = "72f988bf-86f1-41af-91ab-2d7cd011db47",
    cluster: str = "00000000-0000-0000-0000-000000000042",
    region: str = "westeurope",
) -> str:
    """It ends with a slash."""
    return f"https://{region}.oic.prod-aks.azure.com/{tenant}/{cluster}/"


def keys_of(issuer: str) -> str:
    """The `jwks_uri` of an issuer. Those of GKE and AKS are read from their discovery, so that these are guesses."""
    if issuer.startswith("https://oidc.eks."):
        return f"{issuer}/keys"
    if issuer.startswith("https://container.googleapis.com/"):
        return f"{issuer}/jwks"
    return f"{issuer.removesuffix('/') if issuer.startswith('https://') else ISSUER}/openid/v1/jwks"


@dataclass(frozen=True)
class Account:
    namespace: str = "shop"
    name: str = "orders"
    uid: str = "e6a8680e-d103-4cce-80ea-03acbbeacf7d"

    @property
    def subject(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    @property
    def made_again(self) -> "Account":
        """Deleted and made again: the same `sub`, and another uid."""
        return replace(self, uid="5b1f2c3d-0000-4000-8000-000000000002")


ORDERS = Account()
DEFAULT = Account(name="default", uid="11111111-2222-4333-8444-555555555555")  # of every pod that names no other


def pod(
    account: Account = ORDERS,
    *,
    issuer: str = ISSUER,
    audiences: tuple[str, ...] = (AUDIENCE,),
    lifetime: int = _HOUR,
    alg: str = "RS256",
    **claims: Any,
) -> Token:
    """The token of a projected volume: bound to its pod, its node, its audience and its time.

    Args:
        account: the service account.
        issuer: of the cluster.
        audiences: always a list in `aud`; managed clusters may write several.
        lifetime: seconds, from 600 on.
        alg: RS256 or ES256, as the key of the cluster is.
        claims: others to set.
    """
    found = {"iss": issuer, "aud": list(audiences), "sub": account.subject, "kubernetes.io": _bound(account), **claims}
    return Token("kubernetes", issuer, found, keys_of(issuer), lifetime=lifetime, alg=alg, typ=None)


def extended(account: Account = ORDERS, *, issuer: str = ISSUER, audiences: tuple[str, ...] = (API_SERVER,)) -> Token:
    """The token that every pod has already: for the API server, and good for a year, though a warning comes sooner."""
    token = pod(account, issuer=issuer, audiences=audiences, lifetime=YEAR)
    return replace(token, offsets={**token.offsets, "/kubernetes.io/warnafter": WARN_AFTER})


def legacy(account: Account = ORDERS) -> Token:
    """The token of a Secret: `iss` is no URL, no audience, no end, and flat claims with a slash in their names."""
    prefix = "kubernetes.io/serviceaccount"
    found = {
        "iss": LEGACY_ISSUER,
        "sub": account.subject,
        f"{prefix}/namespace": account.namespace,
        f"{prefix}/secret.name": f"{account.name}-token-x7f2p",
        f"{prefix}/service-account.name": account.name,
        f"{prefix}/service-account.uid": account.uid,
    }
    return Token(
        "kubernetes",
        LEGACY_ISSUER,
        found,
        keys_of(LEGACY_ISSUER),
        lifetime=None,
        offsets={},
        typ=None,
        id_claim=None,
    )


def _bound(account: Account) -> dict[str, Any]:
    return {
        "namespace": account.namespace,
        "node": {"name": "worker-1", "uid": "517eb86e-b863-451b-bf70-86cb61439a3a"},
        "pod": {"name": f"{account.name}-5d8", "uid": "0d8b260e-ef0e-45fb-be8e-ff44f97722e8"},
        "serviceaccount": {"name": account.name, "uid": account.uid},
    }


def pins(account: Account = ORDERS) -> dict[str, Any]:
    return {"/sub": account.subject, "/kubernetes.io/serviceaccount/uid": account.uid}
