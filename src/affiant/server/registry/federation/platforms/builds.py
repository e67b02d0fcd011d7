"""HCP Terraform, CircleCI, Buildkite and Vercel."""

from __future__ import annotations

from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.platforms.platform import DAY, UUID, IssuerForm, Need, Platform, Question, Shape
from affiant.storage.records import ClaimCondition

_ID = Shape("a UUID in small letters", UUID)
_RECYCLED = "any tenant can register a name again once it is free"
_SSH = "oidc.circleci.com/ssh-rerun"
_PROJECT = "oidc.circleci.com/project-id"


def _prefixed(prefix: str) -> Shape:
    return Shape(f"an id that begins with {prefix}", f"{prefix}[A-Za-z0-9]+")


TERRAFORM = Platform(
    name="terraform",
    title="HCP Terraform",
    issuers=(
        IssuerForm("https://app.terraform.io"),
        IssuerForm("https://app.eu.terraform.io"),
        IssuerForm("https://{host}"),
    ),
    is_shared=True,
    needs=(
        Need(
            ("terraform_workspace_id", "terraform_project_id", "terraform_organization_id"),
            "terraform_workspace_id=ws-mbsd5E3Ktt5Rg2Xm",
            _RECYCLED,
            names=("terraform_organization_name", "terraform_full_workspace", "sub"),
        ),
        Need(
            ("terraform_run_phase",),
            "terraform_run_phase=apply",
            "a plan runs before a person has looked at it, and may not do what an apply may",
        ),
    ),
    shapes={
        "terraform_workspace_id": _prefixed("ws-"),
        "terraform_project_id": _prefixed("prj-"),
        "terraform_organization_id": _prefixed("org-"),
        "terraform_run_phase": Shape("plan or apply", "plan|apply"),
    },
    lifetime=DAY,
    algorithms=("RS256",),
    questions=(
        Question("WORKSPACE_ID", "of the workspace, on its first page", claim="terraform_workspace_id"),
        Question("phase", "of the run: plan or apply", claim="terraform_run_phase", usual="apply"),
        Question("organization-id", "as a further condition", claim="terraform_organization_id", is_asked=False),
        Question("issuer", "if it is not https://app.terraform.io", is_issuer=True, is_asked=False),
    ),
    example="ws-mbsd5E3Ktt5Rg2Xm --phase apply --client deploy",
)

CIRCLECI = Platform(
    name="circleci",
    title="CircleCI",
    issuers=(IssuerForm("https://oidc.circleci.com/org/{uuid}"),),
    needs=(
        Need(
            (_PROJECT,),
            f"{_PROJECT}=ab70c257-7c86-45e2-b988-86003f49734d",
            "every project of the organisation has the same issuer",
        ),
    ),
    shapes={_PROJECT: _ID, _SSH: Shape("true or false, and not a text", kind=bool)},
    pins=(ClaimCondition(_SSH, (False,)),),
    replays=(trusted_token.IF_PRESENT, trusted_token.REUSED),
    longest=3600,
    algorithms=("RS256",),
    refuses=(ClaimCondition(_SSH, (True,)),),  # a person is inside the job
    questions=(
        Question("PROJECT_ID", "of the project: Project Settings, Overview", claim=_PROJECT),
        Question("organization", "id of the organisation: Organization Settings, Overview", is_issuer=True),
    ),
    example="ab70c257-7c86-45e2-b988-86003f49734d --organization f0a10872-21a3-4373-940a-06233d826661 --client deploy",
)

BUILDKITE = Platform(
    name="buildkite",
    title="Buildkite",
    issuers=(IssuerForm("https://agent.buildkite.com"),),
    is_shared=True,
    needs=(
        Need(
            ("pipeline_id", "organization_id", "sub"),
            "pipeline_id=0184990a-4777-4b2e-9f6c-2d8f1b0a5c33",
            f"the usual sub has the commit in it and differs each time, and {_RECYCLED}",
            patterns={"sub": UUID},
            names=("pipeline_slug", "organization_slug", "sub"),
        ),
    ),
    shapes={"pipeline_id": _ID, "organization_id": _ID},
    lifetime=900,
    questions=(
        Question("PIPELINE_ID", "UUID of the pipeline: Settings, General", claim="pipeline_id"),
        Question("branch", "branch of the build", claim="build_branch", usual="main"),
        Question("organization-id", "as a further condition", claim="organization_id", is_asked=False),
    ),
    example="0184990a-4777-4b2e-9f6c-2d8f1b0a5c33 --branch main --client deploy",
)

VERCEL = Platform(
    name="vercel",
    title="Vercel",
    issuers=(IssuerForm("https://oidc.vercel.com/{slug}"), IssuerForm("https://oidc.vercel.com")),
    is_shared=True,
    needs=(
        Need(
            ("project_id", "owner_id"),
            "project_id=prj_7GwZM5ZMBvQA8h9F832KGp7nwbuh",
            _RECYCLED,
            names=("project", "owner", "sub"),
        ),
        Need(
            ("environment",),
            "environment=production",
            "every branch has a preview, which would have the rights of production",
        ),
    ),
    # Old ids have no prefix.
    shapes={
        "project_id": Shape("an id such as prj_7Gw5ZMBvQA8h9F832KGp7nwbuh3", "(?:prj_)?[A-Za-z0-9]{20,}"),
        "owner_id": Shape("an id such as team_7Gw5ZMzpQA8h90F832KGp7nw", "(?:team_)?[A-Za-z0-9]{20,}"),
    },
    audience="https://vercel.com/{}",
    replays=(trusted_token.REUSED, trusted_token.IF_PRESENT),
    questions=(
        Question("TEAM", "slug of the team, as in the address of its pages", is_issuer=True),
        Question("project-id", "of the project: Settings, General", claim="project_id"),
        Question("environment", "of the deployment", claim="environment", usual="production", is_asked=False),
        Question("owner-id", "of the team, as a further condition", claim="owner_id", is_asked=False),
    ),
    example="acme --project-id prj_7Gw5ZMBvQA8h9F832KGp7nwbuh3 --client shop",
)
