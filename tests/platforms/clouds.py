"""Tokens of AWS, Google and Microsoft Entra for their own workloads."""

from dataclasses import replace
from typing import Any

from tests.platforms.token import AUDIENCE, Token, audience, pointer_to

# AWS: the IAM user guide, "Understanding token claims", and the model of botocore 1.44.8 (sts GetWebIdentityToken).
AWS_ISSUER = "https://8a1bb6a4-31f2-4a3a-9a56-0c4a1d3f7d10.tokens.sts.global.api.aws"  # one for each account
AWS_NAMESPACE = "https://sts.amazonaws.com/"
AWS_ACCOUNT = "123456789012"
AWS_ROLE = f"arn:aws:iam::{AWS_ACCOUNT}:role/deploy"

GOOGLE_ISSUER = "https://accounts.google.com"  # of all customers

ENTRA_TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
ENTRA_OBJECT = "6f1a3c8e-1111-4222-8333-9c2b7d5e0a11"

_HOUR = 3600


def aws(
    *,
    role: str = AWS_ROLE,
    audiences: str | tuple[str, ...] = AUDIENCE,
    alg: str = "RS256",
    lifetime: int = 300,
    tags: dict[str, str] | None = None,
    **claims: Any,
) -> Token:
    """The token of a role (STS GetWebIdentityToken).

    Args:
        role: its ARN.
        audiences: 1 to 10. The example of the guide writes a single one as a text; for several there is no example.
        alg: RS256 or ES384, as the caller chooses.
        lifetime: 60 to 3600 seconds, as the caller chooses.
        tags: the caller's own, in `request_tags`: they say nothing about who calls.
        claims: others to set, at the top.
    """
    found = {"iss": AWS_ISSUER, "sub": role, "aud": audience(audiences), AWS_NAMESPACE: _of_principal(role), **claims}
    if tags is not None:
        found[AWS_NAMESPACE]["request_tags"] = dict(tags)
    keys_at = f"{AWS_ISSUER}/.well-known/jwks.json"
    return Token("aws", AWS_ISSUER, found, keys_at, lifetime=lifetime, offsets={}, alg=alg)


def aws_origin(subject: str = "deploy", *, scope: str | None = None, is_nested: bool = False) -> Token:
    """A token with SubjectMode=OriginIdentity, of the same role.

    Args:
        subject: the person or workload for whom the session acts: anything that does not begin with "arn:".
        scope: as the caller writes it; at the top, and for one audience only.
        is_nested: whether `subject_mode` is below the namespace. The model does not say where it is.
    """
    token = aws().changed({"/sub": subject} | ({} if scope is None else {"/scope": scope}))
    where = (AWS_NAMESPACE, "subject_mode") if is_nested else ("subject_mode",)
    return token.changed({pointer_to(*where): "OriginIdentity"})


def _of_principal(role: str) -> dict[str, Any]:
    return {
        "aws_account": AWS_ACCOUNT,
        "source_region": "eu-west-1",
        "org_id": "o-abc1234567",
        "ou_path": "o-abc1234567/r-ab12/ou-ab12-11111111/",
        "principal_id": role,
        "principal_tags": {"environment": "production", "team": "payments"},
    }


def aws_pins(role: str = AWS_ROLE) -> dict[str, Any]:
    """The role, and the account that has it: STS lets no other subject begin with "arn:"."""
    return {"/sub": role, pointer_to(AWS_NAMESPACE, "aws_account"): AWS_ACCOUNT}


def google(*, subject: str = "107517467455664443766", email: str = "deploy@acme-prod.iam.gserviceaccount.com") -> Token:
    """The identity token of a service account, from the metadata server with `format=full`.

    That there is no `jti`, and the members of `google`, are known from use.
    """
    instance = {
        "instance_creation_timestamp": 1_780_000_000,
        "instance_id": "1234567890123456789",
        "instance_name": "worker-1",
        "project_id": "acme-prod",
        "project_number": 104293847561,
        "zone": "europe-west1-b",
    }
    found = {
        "iss": GOOGLE_ISSUER,
        "sub": subject,
        "azp": subject,
        "aud": AUDIENCE,
        "email": email,
        "email_verified": True,
        "google": {"compute_engine": instance},
    }
    keys_at = "https://www.googleapis.com/oauth2/v3/certs"
    return Token("google", GOOGLE_ISSUER, found, keys_at, lifetime=_HOUR, offsets={}, id_claim=None)


def google_pins(subject: str = "107517467455664443766") -> dict[str, Any]:
    return {"/sub": subject, "/email": "deploy@acme-prod.iam.gserviceaccount.com", "/email_verified": True}


def entra_issuer(version: int = 1, tenant: str = ENTRA_TENANT) -> str:
    """That of version 1 ends with a slash, and that of version 2 does not."""
    if version == 1:
        return f"https://sts.windows.net/{tenant}/"
    return f"https://login.microsoftonline.com/{tenant}/v2.0"


def entra(
    *, version: int = 1, tenant: str = ENTRA_TENANT, object_id: str = ENTRA_OBJECT, aud: str = "api://affiant"
) -> Token:
    """The access token of a managed identity for an app registration; of version 1 unless the registration says 2.

    `aud` is the registration, and never another server's URL. The names are those of the claims reference of Entra;
    that `uti` stands for `jti`, and that `iat` is five minutes before the issue of the token, are seen in published
    tokens: 3900 seconds for an hour, and 86700 for the day that a managed identity has.
    """
    application = "0f5c2c5e-aaaa-4bbb-8ccc-1d2e3f405162"
    found: dict[str, Any] = {
        "iss": entra_issuer(version, tenant),
        "aud": aud,
        "sub": object_id,
        "oid": object_id,
        "tid": tenant,
        "idtyp": "app",
        "ver": f"{version}.0",
        **({"appid": application, "appidacr": "2"} if version == 1 else {"azp": application, "azpacr": "2"}),
    }
    keys_at = f"https://login.microsoftonline.com/{tenant}/discovery/{'v2.0/' if version == 2 else ''}keys"
    return Token("entra", found["iss"], found, keys_at, lifetime=24 * _HOUR + 300, id_claim="uti")


def entra_pins(tenant: str = ENTRA_TENANT, object_id: str = ENTRA_OBJECT) -> dict[str, Any]:
    return {"/oid": object_id, "/tid": tenant}


def of_user(token: Token) -> Token:
    """The same for a person who signs in at this tenant, and not for a workload."""
    return replace(token.changed({"/idtyp": "user", "/oid": "99999999-1111-4222-8333-9c2b7d5e0a11"}), lifetime=_HOUR)
