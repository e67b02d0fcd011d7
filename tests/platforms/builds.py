"""Tokens of HCP Terraform, CircleCI, Buildkite, Bitbucket Pipelines and Semaphore."""

from dataclasses import replace
from typing import Any

from tests.platforms.token import AUDIENCE, Token, audience, pointer_to

# HCP Terraform: developer.hashicorp.com terraform/cloud-docs/dynamic-provider-credentials/workload-identity-tokens.
TERRAFORM_ISSUER = "https://app.terraform.io"
TERRAFORM_ORGANIZATION, TERRAFORM_WORKSPACE = "org-GRNbCjYNpBB6NEBH", "ws-mbsd5E3Ktt5Rg2Xm"

# CircleCI: circleci/circleci-docs openid-connect-tokens.adoc.
CIRCLECI_ORGANIZATION = "f0a10872-21a3-4373-940a-06233d826661"
CIRCLECI_PROJECT = "ab70c257-7c86-45e2-b988-86003f49734d"

# Buildkite: buildkite.com/docs/agent/cli/reference/oidc, and its `claims_supported`.
BUILDKITE_ISSUER = "https://agent.buildkite.com"
BUILDKITE_ORGANIZATION = "0184990a-477b-4fa8-9968-496074483cee"
BUILDKITE_PIPELINE = "0184990a-4777-4b2e-9f6c-2d8f1b0a5c33"

# Bitbucket: support.atlassian.com integrate-pipelines-with-resource-servers-using-oidc.
BITBUCKET_ISSUER = "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc"
BITBUCKET_AUDIENCE = "ari:cloud:bitbucket::workspace/8c92e1f0-6b5a-4a3c-9d3e-0a4f5a1b2c3d"
BITBUCKET_REPOSITORY = "{5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c}"

# Semaphore: semaphoreio/semaphore docs/docs/reference/openid.md.
SEMAPHORE_ISSUER = "https://acme.semaphoreci.com"
SEMAPHORE_PROJECT = "936a5312-a3b8-4921-8b3f-2cec8baac574"

COMMIT = "714a629c0b401fdce83e847fc9589983fc6f46bc"
_HOUR = 3600


def terraform(phase: str = "apply", *, workspace: str = TERRAFORM_WORKSPACE, lifetime: int = 24 * _HOUR) -> Token:
    """The one token that all processes of a phase share; it may live as long as the phase, at most a day."""
    full = "organization:acme:project:Default Project:workspace:network"
    found = {
        "iss": TERRAFORM_ISSUER,
        "aud": AUDIENCE,
        "sub": f"{full}:run_phase:{phase}",
        "terraform_run_phase": phase,
        "terraform_run_id": "run-X3n1AUXNGWbfECsJ",
        "terraform_workspace_id": workspace,
        "terraform_workspace_name": "network",
        "terraform_project_id": "prj-7hQ5Zt1VxX2s9k3B",
        "terraform_project_name": "Default Project",
        "terraform_organization_id": TERRAFORM_ORGANIZATION,
        "terraform_organization_name": "acme",
        "terraform_full_workspace": full,
    }
    keys_at = f"{TERRAFORM_ISSUER}/.well-known/jwks"
    return Token("terraform", TERRAFORM_ISSUER, found, keys_at, lifetime=lifetime, offsets={"/nbf": -5})


def terraform_pins() -> dict[str, Any]:
    return {
        "/terraform_organization_id": TERRAFORM_ORGANIZATION,
        "/terraform_workspace_id": TERRAFORM_WORKSPACE,
        "/terraform_run_phase": "apply",
    }


def circleci_issuer(organization: str = CIRCLECI_ORGANIZATION) -> str:
    return f"https://oidc.circleci.com/org/{organization}"


def circleci(
    *, organization: str = CIRCLECI_ORGANIZATION, is_ssh_rerun: bool = False, has_origin: bool = True, aud: str = ""
) -> Token:
    """The token of a job.

    Args:
        organization: the default audience, too, a bare UUID.
        is_ssh_rerun: whether a person can be inside the job.
        has_origin: whether `sub` names the repository, as that of CIRCLE_OIDC_TOKEN_V2 does.
        aud: what `circleci run oidc get` asked for, if anything.
    """
    user, origin, ref = "3c1f0a4e-2222-4333-8444-5a6b7c8d9e0f", "github.com/acme/app", "refs/heads/main"
    subject = f"org/{organization}/project/{CIRCLECI_PROJECT}/user/{user}"
    extra = {
        "context-ids": ["a74579f1-2e7d-451e-b009-5c082ad2729e"],
        "job-id": "0b7a5ac7-1111-4222-8333-1f2e3d4c5b6a",
        "org-id": organization,
        "pipeline-definition-id": "70b80fd1-b928-5fbf-817d-75ab416ccc87",
        "pipeline-id": "9b8a7c6d-1111-4222-8333-445566778899",
        "project-id": CIRCLECI_PROJECT,
        "ssh-rerun": is_ssh_rerun,
        "vcs-origin": origin,
        "vcs-ref": ref,
        "workflow-id": "1a2b3c4d-1111-4222-8333-99aabbccddee",
    }
    issuer = circleci_issuer(organization)
    found = {
        "iss": issuer,
        "aud": aud or organization,
        "sub": f"{subject}/vcs-origin/{origin}/vcs-ref/{ref}" if has_origin else subject,
        **{f"oidc.circleci.com/{name}": value for name, value in extra.items()},
    }
    keys_at = f"{issuer}/.well-known/jwks-pub.json"
    # The page lists no jti and no nbf.
    return Token("circleci", issuer, found, keys_at, lifetime=_HOUR, offsets={}, id_claim=None)


def circleci_pins() -> dict[str, Any]:
    return {
        pointer_to("oidc.circleci.com/project-id"): CIRCLECI_PROJECT,
        pointer_to("oidc.circleci.com/ssh-rerun"): False,
    }


CIRCLECI_REFUSES = {pointer_to("oidc.circleci.com/ssh-rerun"): (True,)}


def buildkite(*, subject_claim: str = "", step: str = "deploy", commit: str = COMMIT, aud: str = AUDIENCE) -> Token:
    """The token of a job.

    Args:
        subject_claim: as in `--subject-claim pipeline_id`: `sub` is the value of that claim.
        step: its key; part of the usual `sub`, as is the commit.
        commit: built.
        aud: https://buildkite.com/ORGANIZATION where none is asked for.
    """
    found: dict[str, Any] = {
        "iss": BUILDKITE_ISSUER,
        "aud": aud,
        "sub": f"organization:acme:pipeline:app:ref:refs/heads/main:commit:{commit}:step:{step}",
        "organization_slug": "acme",
        "organization_id": BUILDKITE_ORGANIZATION,
        "pipeline_slug": "app",
        "pipeline_id": BUILDKITE_PIPELINE,
        "build_number": 42,
        "build_branch": "main",
        "build_commit": commit,
        "build_source": "webhook",
        "step_key": step,
        "job_id": "0184990a-477b-4fa8-9968-496074483cee",
        "agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff",
        "runner_environment": "self-hosted",
    }
    if subject_claim:
        found["sub"] = found[subject_claim]
    return Token("buildkite", BUILDKITE_ISSUER, found, f"{BUILDKITE_ISSUER}/.well-known/jwks")


def buildkite_pins() -> dict[str, Any]:
    """No `sub`: it differs with every commit."""
    return {
        "/organization_id": BUILDKITE_ORGANIZATION,
        "/pipeline_id": BUILDKITE_PIPELINE,
        "/build_branch": "main",
    }


def bitbucket(*, audiences: str | tuple[str, ...] = BITBUCKET_AUDIENCE, environment: str = "") -> Token:
    """The token of a step.

    Args:
        audiences: up to 10 of its own; the workspace where none are declared.
        environment: the UUID of a deployment environment, in braces.

    The page shows `sub`; the names of the further claims, which are UUIDs in braces, and the hour are known from use.
    """
    step = "{0e4b6a1d-1111-4222-8333-7c8d9e0f1a2b}"
    found = {
        "iss": BITBUCKET_ISSUER,
        "aud": audience(audiences),
        "sub": ":".join(part for part in (BITBUCKET_REPOSITORY, environment, step) if part),
        "workspaceUuid": "{8c92e1f0-6b5a-4a3c-9d3e-0a4f5a1b2c3d}",
        "repositoryUuid": BITBUCKET_REPOSITORY,
        "pipelineUuid": "{6a7b8c9d-1111-4222-8333-0f1e2d3c4b5a}",
        "stepUuid": step,
        "branchName": "main",
        **({"deploymentEnvironmentUuid": environment} if environment else {}),
    }
    keys_at = f"{BITBUCKET_ISSUER}/keys.json"
    return Token("bitbucket", BITBUCKET_ISSUER, found, keys_at, lifetime=_HOUR, offsets={}, id_claim=None)


def bitbucket_pins() -> dict[str, Any]:
    """No `sub`: it differs with every step."""
    return {"/repositoryUuid": BITBUCKET_REPOSITORY, "/branchName": "main"}


def semaphore(*, kind: str = "branch", ref: str = "refs/heads/main") -> Token:
    """The token of a job; `kind` is branch, pr or tag. The page gives no lifetime: an hour is a guess."""
    found = {
        "iss": SEMAPHORE_ISSUER,
        "aud": SEMAPHORE_ISSUER,
        "sub": f"org:acme:project:{SEMAPHORE_PROJECT}:repo:web:ref_type:{kind}:ref:{ref}",
        "org": "acme",
        "prj": "web",
        "prj_id": SEMAPHORE_PROJECT,
        "repo": "web",
        "branch": ref.rpartition("/")[2],
        "ref": ref,
        "ref_type": kind,
        "wf_id": "65c398bb-57ab-4459-90b5-1a2b3c4d5e6f",
        "ppl_id": "1e705d2f-1111-4222-8333-a1b2c3d4e5f6",
        "job_id": "c63ce0fb-1111-4222-8333-0a9b8c7d6e5f",
    }
    return Token("semaphore", SEMAPHORE_ISSUER, found, f"{SEMAPHORE_ISSUER}/.well-known/jwks.json", lifetime=_HOUR)


def semaphore_pins() -> dict[str, Any]:
    return {"/prj_id": SEMAPHORE_PROJECT, "/ref_type": "branch", "/ref": "refs/heads/main"}


def other_project(token: Token, pointer: str) -> Token:
    """The same job of another project of the same tenant."""
    return replace(token.changed({pointer: "00000000-0000-4000-8000-00000000000f"}))
