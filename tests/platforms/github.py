"""Tokens of GitHub Actions.

Claims: github/docs content/actions/reference/security/oidc.md, 2026. There all values of the example are strings, ids and
`run_number` among them. RS256 and that `sha` and `ref_protected` stand in each token are known from use, and not said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.platforms.token import AUDIENCE, Token

ISSUER = "https://token.actions.githubusercontent.com"
SHA = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"
_MINUTES_5 = 300


def enterprise_path(slug: str) -> str:
    """The issuer of an enterprise that has its own path."""
    return f"{ISSUER}/{slug}"


def data_residency(subdomain: str) -> str:
    """The issuer of an enterprise on ghe.com."""
    return f"https://token.actions.{subdomain}.ghe.com"


def enterprise_server(host: str) -> str:
    """The issuer of a GitHub Enterprise Server. Its `sub` never has ids."""
    return f"https://{host}/_services/token"


@dataclass(frozen=True)
class Repository:
    owner: str = "acme"
    owner_id: str = "65"
    name: str = "app"
    id: str = "74"
    visibility: str = "private"

    @property
    def path(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def path_with_ids(self) -> str:
        """As in the `sub` of a repository that was made, renamed, transferred or opted in since 2026-07-15."""
        return f"{self.owner}@{self.owner_id}/{self.name}@{self.id}"

    @property
    def workflow(self) -> str:
        return f"{self.path}/.github/workflows/deploy.yml@refs/heads/main"

    def renamed(self, name: str) -> "Repository":
        """The same repository by another name."""
        return replace(self, name=name)

    @property
    def recycled(self) -> "Repository":
        """Another repository, which another person made by the same names after the first one was deleted."""
        return replace(self, owner_id="90210", id="4711")


APP = Repository()


@dataclass(frozen=True)
class Run:
    """The event that a job runs for.

    Attributes:
        event: the name of the event.
        ref: the ref that triggered the run.
        subject: what `sub` ends with where no environment is named; empty for `ref:` and the ref.
        environment: of the job.
        head: the source branch of a pull request.
        base: its target branch.
        runner: `github-hosted` or `self-hosted`.
        workflow: the ref path of a reusable workflow that the job uses.
    """

    event: str = "push"
    ref: str = "refs/heads/main"
    subject: str = ""
    environment: str | None = None
    head: str = ""
    base: str = ""
    runner: str = "github-hosted"
    workflow: str | None = None

    @property
    def context(self) -> str:
        """The end of `sub`. Any ":" of a value becomes "%3A" there; that "%" is escaped is not said."""
        if self.environment is not None:
            return f"environment:{self.environment.replace(':', '%3A')}"
        return self.subject or f"ref:{self.ref.replace(':', '%3A')}"


_PULL = {"subject": "pull_request", "head": "feature", "base": "main"}

# That the two events of other people's code have the `sub` of the default branch is known from use; the page is silent.
# This is the worst case for a rule: `event_name` alone tells them from a push.
RUNS: dict[str, Run] = {
    "branch": Run(),
    "tag": Run(ref="refs/tags/v1.9"),
    "environment": Run("workflow_dispatch", environment="production"),
    "environment-with-colon": Run("workflow_dispatch", environment="Production:V1"),
    "pull-request": Run("pull_request", "refs/pull/7/merge", **_PULL),
    "pull-request-with-environment": Run("pull_request", "refs/pull/7/merge", environment="production", **_PULL),
    "pull-request-target": Run("pull_request_target", head="feature", base="main"),
    "workflow-run": Run("workflow_run"),
    "merge-group": Run("merge_group", "refs/heads/gh-readonly-queue/main/pr-7-7fd1a60b"),
    "schedule": Run("schedule"),
    "self-hosted": Run(runner="self-hosted"),
    # A branch may have an "@" in its name, so that the text has several.
    "reusable-workflow": Run(workflow="acme/ci/.github/workflows/deploy@v2.yml@refs/heads/release@2026"),
}
# Events with the ref of the default branch that a stranger's pull request can cause.
REFUSES = {"/event_name": ("pull_request_target", "workflow_run")}


def job(
    run: Run = RUNS["branch"],
    repository: Repository = APP,
    *,
    has_ids: bool = True,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    properties: Mapping[str, str] | None = None,
    **claims: str,
) -> Token:
    """The token of a job.

    Args:
        run: what the job runs for.
        repository: where.
        has_ids: whether `sub` has the ids of owner and repository.
        issuer: another one for ghe.com, Enterprise Server, or an enterprise with its own path.
        audience: as the job asks for it; the URL of the owner where it asks for none.
        properties: the custom properties of the repository. A value of the kind true/false is the text "true".
        claims: others to set.
    """
    place = repository.path_with_ids if has_ids else repository.path
    found: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": f"repo:{place}:{run.context}",
        **_of_repository(repository),
        **_of_run(run, repository),
        **{f"repo_property_{name}": value for name, value in (properties or {}).items()},
        **claims,
    }
    keys_at = f"{issuer}/.well-known/jwks"
    # The example has nbf ten minutes before iat.
    return Token("github", issuer, found, keys_at, lifetime=_MINUTES_5, offsets={"/nbf": -600})


def _of_repository(repository: Repository) -> dict[str, str]:
    return {
        "repository": repository.path,
        "repository_id": repository.id,
        "repository_owner": repository.owner,
        "repository_owner_id": repository.owner_id,
        "repository_visibility": repository.visibility,
        "actor": "octocat",
        "actor_id": "12",
    }


def _of_run(run: Run, repository: Repository) -> dict[str, str]:
    environment = {} if run.environment is None else {"environment": run.environment}
    return {
        "ref": run.ref,
        "ref_type": "tag" if run.ref.startswith("refs/tags/") else "branch",
        "ref_protected": "true" if run.ref == "refs/heads/main" else "false",
        "sha": SHA,
        "head_ref": run.head,
        "base_ref": run.base,
        "event_name": run.event,
        "run_id": "9001",
        "run_number": "10",
        "run_attempt": "2",
        "check_run_id": "31337",
        "runner_environment": run.runner,
        "workflow": "deploy",
        "workflow_ref": repository.workflow,
        "workflow_sha": SHA,
        "job_workflow_ref": run.workflow or repository.workflow,
        "job_workflow_sha": SHA,
        **environment,
    }


def pins(repository: Repository = APP, *, ref: str = "refs/heads/main") -> dict[str, Any]:
    """The claims that tell one branch of a repository from everything else, whatever it is called."""
    return {"/repository_id": repository.id, "/repository_owner_id": repository.owner_id, "/ref": ref}
