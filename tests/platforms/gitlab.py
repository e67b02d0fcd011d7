"""Tokens of GitLab CI: `id_tokens` of a job.

Claims: docs.gitlab.com ci/secrets/id_token_authentication. Ids are strings, but `runner_id` is a number.
"""

from dataclasses import dataclass
from typing import Any

from tests.platforms.token import AUDIENCE, Token

ISSUER = "https://gitlab.com"
SUBJECT = ("project_path", "ref_type", "ref")  # the parts of `sub` where a project has not changed them
_HOUR = 3600


@dataclass(frozen=True)
class Project:
    path: str = "acme/app"
    id: str = "20"
    namespace_id: str = "72"

    @property
    def namespace(self) -> str:
        return self.path.rpartition("/")[0]


APP = Project()
FORK = Project("mallory/app", "999", "666")


@dataclass(frozen=True)
class Pipeline:
    """The event that a job runs for.

    Attributes:
        ref: the branch or tag.
        kind: `branch` or `tag`.
        is_protected: written as a text.
        source: of the pipeline.
        environment: of the job.
    """

    ref: str = "main"
    kind: str = "branch"
    is_protected: bool = True
    source: str = "push"
    environment: str | None = None


BRANCH = Pipeline()


def job(
    pipeline: Pipeline = BRANCH,
    project: Project = APP,
    *,
    runs_in: Project | None = None,
    subject: tuple[str, ...] = SUBJECT,
    issuer: str = ISSUER,
    audience: str | list[str] = AUDIENCE,
    **claims: Any,
) -> Token:
    """The token of a job.

    Args:
        pipeline: what the job runs for.
        project: whose claims the token has.
        runs_in: the project whose runners and settings the job has, where that is another one.
        subject: the parts of `sub`, as in `ci_id_token_sub_claim_components`; the first is always `project_path`.
        issuer: the URL of the instance.
        audience: as in `.gitlab-ci.yml`.
        claims: others to set.
    """
    parts = {"project_path": project.path, "ref_type": pipeline.kind, "ref": pipeline.ref}
    found: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": ":".join(f"{name}:{parts[name]}" for name in subject),
        **_of_projects(project, runs_in or project),
        **_of_pipeline(pipeline, project, issuer),
        **claims,
    }
    # It lives as long as the job may last. The documented example has an hour, and nbf five seconds before iat.
    return Token("gitlab", issuer, found, f"{issuer}/oauth/discovery/keys", lifetime=_HOUR, offsets={"/nbf": -5})


def fork_merge_request(**claims: Any) -> Token:
    """A merge request from a fork, whose pipeline runs in the parent project.

    `project_*` names the fork, and `job_project_*` the parent, since GitLab 18.4 (gitlab-org/gitlab work item 563038).
    The branch has the name of the protected one, as the person who forked chooses. Which project's protection
    `ref_protected` then tells is not said.
    """
    pipeline = Pipeline(is_protected=False, source="merge_request_event")
    return job(pipeline, FORK, runs_in=APP, **claims)


def fork_merge_request_of_old_server(**claims: Any) -> Token:
    """The same before the fix: `project_*` names the parent, and there is no `job_project_*`."""
    token = job(Pipeline(is_protected=False, source="merge_request_event"), APP, **claims)
    left = {
        name: value for name, value in token.claims.items() if not name.startswith(("job_project", "job_namespace"))
    }
    return Token(token.platform, token.issuer, left, token.keys_at, token.lifetime, token.offsets)


def _of_projects(project: Project, runs_in: Project) -> dict[str, str]:
    return {
        "namespace_id": project.namespace_id,
        "namespace_path": project.namespace,
        "project_id": project.id,
        "project_path": project.path,
        "job_namespace_id": runs_in.namespace_id,
        "job_namespace_path": runs_in.namespace,
        "job_project_id": runs_in.id,
        "job_project_path": runs_in.path,
        "user_id": "1",
        "user_login": "octavia",
        "user_email": "octavia@acme.example",
        "user_access_level": "maintainer",
    }


def _of_pipeline(pipeline: Pipeline, project: Project, issuer: str) -> dict[str, Any]:
    path = f"refs/{'tags' if pipeline.kind == 'tag' else 'heads'}/{pipeline.ref}"
    environment = {
        "environment": pipeline.environment,
        "environment_protected": "true",
        "deployment_tier": "production",
    }
    return {
        "pipeline_id": "574",
        "pipeline_source": pipeline.source,
        "job_id": "302",
        "ref": pipeline.ref,
        "ref_type": pipeline.kind,
        "ref_path": path,
        "ref_protected": "true" if pipeline.is_protected else "false",
        "runner_id": 1,
        "runner_environment": "gitlab-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "ci_config_ref_uri": f"{issuer.removeprefix('https://')}/{project.path}//.gitlab-ci.yml@{path}",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        **(environment if pipeline.environment is not None else {}),
    }


def pins(project: Project = APP, *, ref: str = "main") -> dict[str, Any]:
    """The claims that tell one protected branch of a project from everything else."""
    return {"/project_id": project.id, "/ref": ref, "/ref_type": "branch", "/ref_protected": "true"}
