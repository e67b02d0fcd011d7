"""GitHub Actions, GitLab CI and Bitbucket Pipelines."""

from __future__ import annotations

from affiant.errors import ConfigError
from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.platforms.platform import (
    UUID,
    IssuerForm,
    Need,
    Platform,
    Question,
    Shape,
    is_one_of,
)
from affiant.storage.records import ClaimCondition, Rule, Trust

NUMBER = Shape("the digits of a number, as a text", r"[0-9]{1,20}")
YES = Shape('the text "true" or "false"', "true|false")
BRACED = Shape("a UUID in braces, such as {5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c}", rf"\{{{UUID}\}}")
_RECYCLED = "any tenant can register a name again once it is free"


_NAMED = ("sub", "repository", "repository_owner")


def _check_github(_: Trust, rule: Rule) -> None:
    for claim, values in rule.conditions:
        # Attack: `repo:acme@*` takes the place of the ids in `sub`, and matches whoever registers the name again.
        if is_one_of(claim, _NAMED) and any(
            isinstance(value, str) and value.rstrip("*").endswith("@") for value in values
        ):
            raise ConfigError(
                f"{claim} must not end in @*: that is every id, and so each tenant who registers the name again; give a"
                " condition on repository_id in its place, which holds before and after a rename"
            )


GITHUB = Platform(
    name="github",
    title="GitHub Actions",
    issuers=(
        IssuerForm("https://token.actions.githubusercontent.com"),
        IssuerForm("https://token.actions.githubusercontent.com/{slug}"),
        IssuerForm("https://token.actions.{slug}.ghe.com"),
        IssuerForm("https://{host}/_services/token"),
    ),
    is_shared=True,
    needs=(
        Need(
            ("repository_id", "repository_owner_id", "sub"),
            "repository_id=123",
            _RECYCLED,
            patterns={"sub": "repo:[^/@:]+@[0-9]+/[^/@:]+@[0-9]+:.+"},
            names=("repository", "repository_owner", "sub"),
        ),
        Need(
            ("ref", "environment", "job_workflow_ref", "sub"),
            "ref=refs/heads/main",
            "any branch, and a pull request, would have its rights",
            is_exact=False,
            patterns={"sub": "repo:[^:]+:(ref:refs/(heads|tags)/|environment:).+"},
        ),
    ),
    shapes={
        "repository_id": NUMBER,
        "repository_owner_id": NUMBER,
        "repository": Shape("OWNER/REPOSITORY", "[^/]+/[^/]+", "[^/]+/[^/]*"),
        "ref": Shape("a full ref, such as refs/heads/main", "refs/(heads|tags)/.+", "refs/(heads|tags)/.*"),
        # Attack: a pull request changes the workflow, whose ref is then that of the pull request.
        "job_workflow_ref": Shape(
            "OWNER/REPOSITORY/PATH@REF, of a branch, a tag or a commit",
            "[^/]+/[^/]+/.+@(?!refs/pull/).+",
            "[^/]+/[^/]+/.+@refs/(heads|tags)/.*",
        ),
        "sub": Shape("repo:OWNER@ID/REPOSITORY@ID:...", "repo:[^/]+/.+", "repo:[^/]+/.*|repo:[^/]+@"),
        "ref_protected": YES,
    },
    replays=(trusted_token.ONCE,),
    lifetime=900,
    longest=3600,
    algorithms=("RS256",),
    # Code of a stranger runs with the ref of the default branch.
    refuses=(ClaimCondition("event_name", ("pull_request_target", "workflow_run")),),
    questions=(
        Question("REPOSITORY", "OWNER/NAME of the repository", claim="repository", is_asked=False),
        Question("repository-id", "its number:  gh api repos/OWNER/NAME --jq .id", claim="repository_id"),
        Question(
            "owner-id", "number of its owner, as a further condition", claim="repository_owner_id", is_asked=False
        ),
        Question(
            "branch",
            "branch of the job",
            claim="ref",
            form="refs/heads/{}",
            usual="main",
            unless=("tag", "environment", "workflow"),
        ),
        Question("tag", "tag of the job", claim="ref", form="refs/tags/{}", is_asked=False),
        Question("environment", "environment of the job", claim="environment", is_asked=False),
        Question(
            "workflow",
            "reusable workflow of the job, as OWNER/NAME/PATH@REF",
            claim="job_workflow_ref",
            is_asked=False,
            is_read=False,
        ),
        Question(
            "issuer", "host of GitHub Enterprise Server, or name of the enterprise", is_issuer=True, is_asked=False
        ),
    ),
    example="acme/app --repository-id 123 --branch main --client deploy",
    check_rule=_check_github,
)

GITLAB = Platform(
    name="gitlab",
    title="GitLab CI",
    issuers=(IssuerForm("https://gitlab.com"), IssuerForm("https://{host}"), IssuerForm("https://{host}/{path}")),
    is_shared=True,
    needs=(
        Need(
            ("project_id", "namespace_id"),
            "project_id=20",
            _RECYCLED,
            names=("project_path", "namespace_path", "sub"),
        ),
        Need(
            ("ref_protected", "environment_protected"),
            "ref_protected=true as a text",
            "whoever may push to the project, or opens a merge request from a fork, can name a branch as they like",
            patterns={"ref_protected": "true", "environment_protected": "true"},
        ),
    ),
    shapes={
        "project_id": NUMBER,
        "namespace_id": NUMBER,
        "ref_protected": YES,
        "environment_protected": YES,
        "ref": Shape("the bare name of a branch or tag, such as main", "(?!refs/).+", "(?!refs/).+"),
        "ref_path": Shape("a branch or tag, such as refs/heads/main", "refs/(heads|tags)/.+", "refs/(heads|tags)/.*"),
        "runner_id": Shape("a whole number, and not a text", kind=int),
    },
    pins=(ClaimCondition("ref_protected", ("true",)),),
    questions=(
        Question("PROJECT", "GROUP/NAME of the project", claim="project_path", is_asked=False),
        Question("project-id", "its number, on the first page of the project", claim="project_id"),
        # Attack: `ref` is the bare name. A tag that is called like the branch would have its rights.
        Question(
            "branch",
            "protected branch of the job",
            claim="ref_path",
            form="refs/heads/{}",
            usual="main",
            unless=("tag", "environment"),
        ),
        Question("tag", "protected tag of the job", claim="ref_path", form="refs/tags/{}", is_asked=False),
        Question("environment", "environment of the job", claim="environment", is_asked=False),
        Question("issuer", "URL of the instance, if it is not https://gitlab.com", is_issuer=True, is_asked=False),
    ),
    example="acme/app --project-id 20 --branch main --client deploy",
)

BITBUCKET = Platform(
    name="bitbucket",
    title="Bitbucket Pipelines",
    issuers=(IssuerForm("https://api.bitbucket.org/2.0/workspaces/{slug}/pipelines-config/identity/oidc"),),
    needs=(
        Need(
            ("repositoryUuid", "workspaceUuid"),
            "repositoryUuid={5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c}",
            "sub has the step in it and differs each time, and the name of a workspace can be registered again",
        ),
    ),
    shapes={"repositoryUuid": BRACED, "workspaceUuid": BRACED, "deploymentEnvironmentUuid": BRACED},
    replays=(trusted_token.IF_PRESENT, trusted_token.REUSED),
    longest=3600,
    questions=(
        Question("WORKSPACE", "name of the workspace", is_issuer=True),
        Question(
            "repository-uuid",
            "UUID of the repository in braces: Repository settings, OpenID Connect",
            claim="repositoryUuid",
        ),
        Question("branch", "branch of the step", claim="branchName", usual="main", is_asked=False),
        Question(
            "environment-uuid",
            "UUID of the deployment environment, in braces",
            claim="deploymentEnvironmentUuid",
            is_asked=False,
        ),
    ),
    example="acme --repository-uuid '{5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c}' --client deploy",
)
