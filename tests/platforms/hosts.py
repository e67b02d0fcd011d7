"""Tokens of Vercel and Fly.io for what they run, and of SPIFFE."""

from typing import Any

from tests.platforms.token import AUDIENCE, Token

# Vercel: vercel.com/docs/oidc/reference. The hour, and that nbf is iat, are known from use.
VERCEL_GLOBAL = "https://oidc.vercel.com"
VERCEL_OWNER, VERCEL_PROJECT = "team_7Gw5ZMzpQA8h90F832KGp7nw", "prj_7Gw5ZMBvQA8h9F832KGp7nwbuh3"

# Fly.io: fly.io/docs/security/openid-connect. The fifteen minutes are its text; the issuer is one of the organisation.
FLY_ISSUER = "https://oidc.fly.io/acme"
FLY_APP = "3671581"

# SPIFFE: JWT-SVID, and the JWT-SVID profile: no iss, no jti; `sub` is the SPIFFE ID, `aud` and `exp` are required.
TRUST_DOMAIN = "example.org"

_HOUR = 3600


def vercel(environment: str = "production", *, team: str = "acme", is_global: bool = False, aud: str = "") -> Token:
    """The token of a deployment.

    Args:
        environment: production, preview or development.
        team: its slug.
        is_global: whether the issuer is the one of all teams.
        aud: https://vercel.com/TEAM where none is asked for.
    """
    issuer = VERCEL_GLOBAL if is_global else f"{VERCEL_GLOBAL}/{team}"
    found = {
        "iss": issuer,
        "aud": aud or f"https://vercel.com/{team}",
        "sub": f"owner:{team}:project:app:environment:{environment}",
        "scope": f"owner:{team}:project:app:environment:{environment}",
        "owner": team,
        "owner_id": VERCEL_OWNER,
        "project": "app",
        "project_id": VERCEL_PROJECT,
        "environment": environment,
    }
    return Token("vercel", issuer, found, f"{issuer}/.well-known/jwks", lifetime=_HOUR, id_claim=None)


def vercel_pins() -> dict[str, Any]:
    return {"/owner_id": VERCEL_OWNER, "/project_id": VERCEL_PROJECT, "/environment": "production"}


def fly(app: str = "orders", app_id: str = FLY_APP) -> Token:
    """The token of a Machine, whose `sub` is organisation, app and Machine."""
    machine = "snowy-water-1234"
    found = {
        "iss": FLY_ISSUER,
        "aud": AUDIENCE,
        "sub": f"acme:{app}:{machine}",
        "app_id": app_id,
        "app_name": app,
        "image": "registry.example/orders:v1.9",
        "image_digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "machine_id": "3d8d9014b32d68",
        "machine_name": machine,
        "machine_version": "01HZXXAD6K4YFQ5GXJZ9R2C7WB",
        "org_id": "29873298",
        "org_name": "acme",
        "region": "yyz",
    }
    return Token("fly", FLY_ISSUER, found, f"{FLY_ISSUER}/.well-known/jwks", lifetime=900)


def fly_pins() -> dict[str, Any]:
    return {"/org_id": "29873298", "/app_id": FLY_APP}


def svid(
    path: str = "/orders", *, trust_domain: str = TRUST_DOMAIN, audiences: tuple[str, ...] = (AUDIENCE,), **claims: Any
) -> Token:
    """A JWT-SVID; its keys are those of the bundle of its trust domain. SPIRE writes iat, and five minutes."""
    found = {"sub": f"spiffe://{trust_domain}{path}", "aud": list(audiences), **claims}
    # Where a bundle endpoint is, is configured and never derived.
    keys_at = f"https://spire.{trust_domain}/bundle"
    issuer = f"spiffe://{trust_domain}"
    return Token("spiffe", issuer, found, keys_at, alg="ES256", offsets={}, id_claim=None)


def svid_pins(path: str = "/orders") -> dict[str, Any]:
    return {"/sub": f"spiffe://{TRUST_DOMAIN}{path}"}
