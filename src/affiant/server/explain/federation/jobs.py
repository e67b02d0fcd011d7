"""The jobs of each platform, one row each: how they ask for a token, for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from affiant.server.registry.federation.platforms import GENERIC

_ENTRA = re.compile(r"https://(login\.microsoftonline\.com|sts\.windows\.net|login\.windows\.net)/")
_GITHUB = re.compile(r"https://token\.actions\.|https://[^/]+/_services/token$")
_AUDIENCE = "{audience}"  # where a line has the audience that the server wants
NO_ID_TOKEN = "permissions: {id-token: write}"  # noqa: S105 - of a GitHub workflow


class Job(NamedTuple):
    """The jobs of one platform."""

    name: str  # of its preset
    what: str  # its tokens, in words
    shown: str  # the claim that says to a person which job it is
    # From iss, sub, and the names of the claims.
    fits: Callable[[str, str, Collection[str]], bool]
    # A line of the job's configuration or program that asks for the audience; empty where a job cannot choose it.
    audience: str = ""
    source: str = ""  # for `affiant token --from`, which asks for another token each time
    has_one: bool = False  # whether a job has one token, and cannot get another

    def ask(self, audience: str) -> str:
        return self.audience.replace(_AUDIENCE, audience)


JOBS = (
    Job(
        "github",
        "an ID token of GitHub Actions",
        "repository",
        lambda iss, _, __: _GITHUB.match(iss) is not None,
        'core.getIDToken("{audience}")',
        "github",
    ),
    Job(
        "gitlab",
        "an ID token of a GitLab CI job",
        "project_path",
        lambda _, __, claims: {"project_path", "pipeline_id"} <= set(claims) or "project_path" in claims,
        'id_tokens: {AFFIANT_ID_TOKEN: {aud: "{audience}"}}',
        has_one=True,
    ),
    Job(
        "kubernetes",
        "a service account token of Kubernetes",
        "sub",
        lambda _, sub, claims: "kubernetes.io" in claims or sub.startswith("system:serviceaccount:"),
        'serviceAccountToken: {audience: "{audience}", expirationSeconds: 3600, path: token}',
        "kubernetes",
    ),
    Job(
        "aws",
        "a web identity token of AWS",
        "sub",
        lambda iss, _, __: iss.endswith(".tokens.sts.global.api.aws"),
        "aws sts get-web-identity-token --audience {audience} --signing-algorithm RS256",
        "aws",
    ),
    Job(
        "google",
        "an ID token of Google",
        "sub",
        lambda iss, _, __: iss.removeprefix("https://").startswith("accounts.google.com"),
        "gcloud auth print-identity-token --audiences={audience}",
        "google",
    ),
    Job(
        "entra",
        "a token of Microsoft Entra ID",
        "iss",
        lambda iss, _, __: _ENTRA.match(iss) is not None,
        source="azure",
    ),
    Job(
        "terraform",
        "a workload identity token of HCP Terraform",
        "sub",
        lambda _, __, claims: "terraform_workspace_id" in claims,
        "TFC_WORKLOAD_IDENTITY_AUDIENCE={audience}",
        has_one=True,
    ),
    Job(
        "circleci",
        "an OIDC token of CircleCI",
        "sub",
        lambda iss, _, __: iss.startswith("https://oidc.circleci.com/org/"),
        """circleci run oidc get --claims '{"aud": "{audience}"}'""",
        "circleci",
    ),
    Job(
        "buildkite",
        "an OIDC token of Buildkite",
        "sub",
        lambda iss, _, __: iss == "https://agent.buildkite.com",
        "buildkite-agent oidc request-token --audience {audience}",
        "buildkite",
    ),
    Job(
        "bitbucket",
        "an OIDC token of Bitbucket Pipelines",
        "sub",
        lambda iss, _, __: iss.startswith("https://api.bitbucket.org/2.0/workspaces/"),
        'oidc: {audiences: ["{audience}"]}',
        has_one=True,
    ),
    Job(
        "vercel",
        "an OIDC token of Vercel",
        "sub",
        lambda iss, _, __: iss.startswith("https://oidc.vercel.com"),
        has_one=True,
    ),
    Job(
        "spiffe",
        "a JWT-SVID of SPIFFE",
        "sub",
        lambda _, sub, __: sub.startswith("spiffe://"),
        "spire-agent api fetch jwt -audience {audience}",
        "spiffe",
    ),
)
_OTHER = Job(GENERIC, "a token of another issuer", "sub", lambda _, __, ___: True)


def find(issuer: str, subject: str, claims: Collection[str]) -> Job:
    """Return the platform that seems to have issued a token."""
    return next((job for job in JOBS if job.fits(issuer, subject, claims)), _OTHER)


def named(preset: str) -> Job | None:
    return next((job for job in JOBS if job.name == preset), None)
