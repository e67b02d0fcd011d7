"""Every platform once as it should be, and every trap: a token that looks like the good one and must not get its rights.

A trap stands beside the token that the same trust and rule accept, so that a test cannot pass by refusing everything.
"""

from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes
from tests.platforms.token import ABSENT, AUDIENCE, Token, pointer_to
from tests.platforms.trap import Good, Refusal, Trap

OTHER_AUDIENCE = "https://other.example"

GOOD: dict[str, Good] = {
    good.platform: good
    for good in (
        Good(github.job(), github.pins(), refuses=github.REFUSES),
        Good(gitlab.job(), gitlab.pins()),
        Good(kubernetes.pod(), kubernetes.pins(), replay="reused"),
        Good(clouds.aws(), clouds.aws_pins()),
        Good(clouds.google(), clouds.google_pins(), replay="if-present"),
        Good(clouds.entra(), clouds.entra_pins(), audience="api://affiant", longest=86_700, replay="if-present"),
        Good(builds.terraform(), builds.terraform_pins(), longest=86_400),
        Good(
            builds.circleci(),
            builds.circleci_pins(),
            audience=builds.CIRCLECI_ORGANIZATION,
            replay="if-present",
            refuses=builds.CIRCLECI_REFUSES,
        ),
        Good(builds.buildkite(), builds.buildkite_pins()),
        Good(builds.bitbucket(), builds.bitbucket_pins(), audience=builds.BITBUCKET_AUDIENCE, replay="if-present"),
        Good(builds.semaphore(), builds.semaphore_pins(), audience=builds.SEMAPHORE_ISSUER),
        Good(hosts.vercel(), hosts.vercel_pins(), audience="https://vercel.com/acme", replay="if-present"),
        Good(hosts.fly(), hosts.fly_pins()),
        Good(hosts.svid(), hosts.svid_pins(), replay="reused"),
    )
}


def _trap(name: str, token: Token, by: Refusal, why: str, where: str = "", good: Good | None = None) -> Trap:
    return Trap(name, token, by, why, where, good or GOOD[token.platform])


def _rule(name: str, token: Token, where: str, why: str, good: Good | None = None) -> Trap:
    return _trap(name, token, Refusal.RULE, why, where, good)


_GITHUB = (
    _rule(
        "github-recycled-name",
        github.job(repository=github.APP.recycled, has_ids=False),
        "/repository_id",
        "the names of a deleted repository were registered again: `sub` without ids is the same, the ids are not",
    ),
    _rule(
        "github-recycled-name-with-ids",
        github.job(repository=github.APP.recycled),
        "/repository_id",
        "the same with the ids in `sub`",
    ),
    _trap(
        "github-pull-request-target",
        github.job(github.RUNS["pull-request-target"]),
        Refusal.TRUST,
        "code of a stranger runs with the ref of the default branch",
        "/event_name",
    ),
    _trap(
        "github-workflow-run",
        github.job(github.RUNS["workflow-run"]),
        Refusal.TRUST,
        "the run was caused by another workflow, which a stranger's pull request can start",
        "/event_name",
    ),
    _rule(
        "github-pull-request",
        github.job(github.RUNS["pull-request"]),
        "/ref",
        "a pull request is not the branch into which it would go",
    ),
    _rule("github-tag", github.job(github.RUNS["tag"]), "/ref", "a tag is not the branch"),
    _rule(
        "github-branch-with-prefix",
        github.job(github.Run(ref="refs/heads/main-2")),
        "/ref",
        "a branch whose name begins as the pinned one",
    ),
    _rule(
        "github-other-case",
        github.job(github.Run(ref="refs/heads/Main")),
        "/ref",
        "branches differ by case, and so do claims",
    ),
    _rule(
        "github-property-false",
        github.job(properties={"is_critical": "false"}),
        "/repo_property_is_critical",
        "custom properties are texts, and the text false is not empty",
        Good(github.job(properties={"is_critical": "true"}), {**github.pins(), "/repo_property_is_critical": "true"}),
    ),
    _rule(
        "github-workflow-of-other-ref",
        github.job(
            github.Run(workflow="acme/ci/.github/workflows/deploy@v2.yml@refs/heads/evil@refs/heads/release@2026")
        ),
        "/job_workflow_ref",
        "several @ in the path of a reusable workflow: the last part looks like the pinned one",
        Good(
            github.job(github.RUNS["reusable-workflow"]),
            {**github.pins(), "/job_workflow_ref": "acme/ci/.github/workflows/deploy@v2.yml@refs/heads/release@2026"},
        ),
    ),
    _rule(
        "github-environment-with-percent",
        github.job(github.Run("workflow_dispatch", environment="Production%3AV1")),
        "/environment",
        "`sub` writes a colon as %3A, and does not tell it from an environment that is called so",
        Good(
            github.job(github.RUNS["environment-with-colon"]),
            {"/repository_id": "74", "/repository_owner_id": "65", "/environment": "Production:V1"},
        ),
    ),
    _trap(
        "github-enterprise-path",
        github.job(issuer=github.enterprise_path("acme")),
        Refusal.ISSUER,
        "the issuer of an enterprise is not the one of everybody",
        "/iss",
    ),
    _trap(
        "github-other-server",
        github.job(has_ids=False, issuer=github.enterprise_server("github.mallory.example")),
        Refusal.ISSUER,
        "another server gives the same ids to its own repositories",
        "/iss",
    ),
    _trap(
        "github-data-residency",
        github.job(issuer=github.data_residency("mallory")),
        Refusal.ISSUER,
        "ids of ghe.com are those of another realm",
        "/iss",
    ),
    _trap(
        "github-default-audience",
        github.job(audience="https://github.com/acme"),
        Refusal.AUDIENCE,
        "every token that asks for no audience has that of the owner, and is sent to others",
        "/aud",
    ),
)

_GITLAB = (
    _rule(
        "gitlab-fork",
        gitlab.fork_merge_request(),
        "/project_id",
        "a merge request from a fork runs in the parent project",
    ),
    _rule(
        "gitlab-fork-of-old-server",
        gitlab.fork_merge_request_of_old_server(),
        "/ref_protected",
        "before the fix the token names the parent project, and only the ref is not protected",
    ),
    _rule(
        "gitlab-unprotected",
        gitlab.job(gitlab.Pipeline(is_protected=False)),
        "/ref_protected",
        "a branch of that name that everybody may push to",
    ),
    _rule("gitlab-tag", gitlab.job(gitlab.Pipeline(kind="tag")), "/ref_type", "a tag that is called main"),
    _rule(
        "gitlab-id-as-number",
        gitlab.job().changed({"/project_id": 20}),
        "/project_id",
        "ids are texts; a number is not the text of its digits",
    ),
    _rule(
        "gitlab-runner-as-text",
        gitlab.job().changed({"/runner_id": "1"}),
        "/runner_id",
        "the id of the runner is a number; a text of its digits is not",
        Good(gitlab.job(), {**gitlab.pins(), "/runner_id": 1}),
    ),
    _rule(
        "gitlab-customised-sub",
        gitlab.job(subject=("project_path",)),
        "/sub",
        "a project has changed the parts of its `sub`",
        Good(gitlab.job(), {"/project_id": "20", "/sub": "project_path:acme/app:ref_type:branch:ref:main"}),
    ),
    _trap(
        "gitlab-other-instance",
        gitlab.job(issuer="https://gitlab.mallory.example"),
        Refusal.ISSUER,
        "another instance has a project of that id, too",
        "/iss",
    ),
)

_KUBERNETES = (
    _rule(
        "kubernetes-made-again",
        kubernetes.pod(kubernetes.ORDERS.made_again),
        pointer_to("kubernetes.io", "serviceaccount", "uid"),
        "a service account that was made again has the same `sub`",
    ),
    _rule(
        "kubernetes-default-account",
        kubernetes.pod(kubernetes.DEFAULT),
        "/sub",
        "every pod that names no account has this one",
    ),
    _rule(
        "kubernetes-colon",
        kubernetes.pod(kubernetes.Account("shop:orders", "x", kubernetes.ORDERS.uid)),
        "/sub",
        "a namespace that seems to end where the account begins",
    ),
    _trap(
        "kubernetes-for-the-api-server",
        kubernetes.extended(),
        Refusal.AUDIENCE,
        "the token that every pod has is for the API server",
        "/aud",
    ),
    _trap(
        "kubernetes-of-a-year",
        kubernetes.extended(audiences=(AUDIENCE,)),
        Refusal.LIFETIME,
        "the extended token lives a year, whatever `warnafter` says",
    ),
    _trap(
        "kubernetes-several-audiences",
        kubernetes.pod(audiences=(AUDIENCE, kubernetes.API_SERVER)),
        Refusal.AUDIENCE,
        "a token for two can be used by either at the other",
        "/aud",
    ),
    _trap("kubernetes-legacy", kubernetes.legacy(), Refusal.ISSUER, "no URL, no audience, no end", "/iss"),
    _trap(
        "kubernetes-no-audience",
        kubernetes.pod().changed({"/aud": ABSENT}),
        Refusal.AUDIENCE,
        "a token for nobody is one for everybody",
        "/aud",
    ),
    _trap(
        "kubernetes-other-cluster",
        kubernetes.pod(issuer=kubernetes.eks()),
        Refusal.ISSUER,
        "another cluster has an account of that name",
        "/iss",
    ),
)

_CLOUDS = (
    _rule(
        "aws-origin-identity",
        clouds.aws_origin(),
        "/sub",
        "`sub` is what another identity provider wrote",
    ),
    _rule("aws-origin-identity-nested", clouds.aws_origin(is_nested=True), "/sub", "the same"),
    _rule(
        "aws-origin-scope",
        clouds.aws_origin(scope="orders.write"),
        "/sub",
        "the caller wrote the scope",
    ),
    _rule(
        "aws-other-role",
        clouds.aws(role=f"arn:aws:iam::{clouds.AWS_ACCOUNT}:role/deploy-2"),
        "/sub",
        "a role whose name begins as the pinned one",
    ),
    _rule(
        "aws-account-at-the-top",
        clouds.aws(aws_account=clouds.AWS_ACCOUNT).changed({pointer_to(clouds.AWS_NAMESPACE, "aws_account"): "9"}),
        pointer_to(clouds.AWS_NAMESPACE, "aws_account"),
        "a claim of the right name at the wrong place",
    ),
    _rule(
        "aws-request-tag",
        clouds.aws(tags={"team": "payments"}).changed({pointer_to(clouds.AWS_NAMESPACE, "principal_tags"): {}}),
        pointer_to(clouds.AWS_NAMESPACE, "principal_tags", "team"),
        "the caller tags its own request as it likes",
        Good(
            clouds.aws(), {**clouds.aws_pins(), pointer_to(clouds.AWS_NAMESPACE, "principal_tags", "team"): "payments"}
        ),
    ),
    _trap(
        "aws-two-audiences",
        clouds.aws(audiences=(AUDIENCE, OTHER_AUDIENCE)),
        Refusal.AUDIENCE,
        "a token for two can be used by either at the other",
        "/aud",
    ),
    _trap(
        "aws-ten-audiences",
        clouds.aws(audiences=(AUDIENCE, *(f"https://{n}.example" for n in range(9)))),
        Refusal.AUDIENCE,
        "the same with as many as there may be",
        "/aud",
    ),
    _rule(
        "google-made-again",
        clouds.google(subject="999999999999999999999"),
        "/sub",
        "the address of a deleted service account can be had again; the number cannot",
    ),
    _rule(
        "google-number",
        clouds.google().changed({"/sub": 107517467455664443766}),
        "/sub",
        "the number is written as a text; JSON numbers of that size are not exact",
    ),
    _trap(
        "entra-other-version",
        clouds.entra(version=2),
        Refusal.ISSUER,
        "version 2 has another issuer than version 1",
        "/iss",
    ),
    _trap(
        "entra-no-slash",
        clouds.entra().changed({"/iss": clouds.entra_issuer().removesuffix("/")}),
        Refusal.ISSUER,
        "the issuer of version 1 ends with a slash",
        "/iss",
    ),
    _trap(
        "entra-other-tenant",
        clouds.entra(tenant="aaaaaaaa-0000-4000-8000-00000000000a"),
        Refusal.ISSUER,
        "an object of that id in another tenant",
        "/iss",
    ),
    _rule("entra-person", clouds.of_user(clouds.entra()), "/oid", "a person of the same tenant"),
    _trap(
        "entra-other-registration",
        clouds.entra(aud="api://other"),
        Refusal.AUDIENCE,
        "a token for another app registration of the tenant",
        "/aud",
    ),
)

_BUILDS = (
    _rule("terraform-plan", builds.terraform("plan"), "/terraform_run_phase", "a plan may not do what an apply may"),
    _rule(
        "terraform-other-workspace",
        builds.terraform(workspace="ws-Mallory000000000"),
        "/terraform_workspace_id",
        "names of workspaces can be had again",
    ),
    _trap(
        "terraform-of-two-days",
        builds.terraform(lifetime=2 * 86_400),
        Refusal.LIFETIME,
        "a day is the most that the platform gives",
    ),
    _trap(
        "circleci-ssh-rerun",
        builds.circleci(is_ssh_rerun=True),
        Refusal.TRUST,
        "a person is inside the job",
        pointer_to("oidc.circleci.com/ssh-rerun"),
    ),
    _rule(
        "circleci-ssh-rerun-as-text",
        builds.circleci().changed({pointer_to("oidc.circleci.com/ssh-rerun"): "false"}),
        pointer_to("oidc.circleci.com/ssh-rerun"),
        "the claim is a boolean, and the text false is not false",
    ),
    _rule(
        "circleci-other-project",
        builds.other_project(builds.circleci(), pointer_to("oidc.circleci.com/project-id")),
        pointer_to("oidc.circleci.com/project-id"),
        "another project of the organisation",
    ),
    _trap(
        "circleci-other-organization",
        builds.circleci(organization="00000000-0000-0000-0000-000000000000", aud=builds.CIRCLECI_ORGANIZATION),
        Refusal.ISSUER,
        "every organisation, made up ones too, has the same keys",
        "/iss",
    ),
    _rule(
        "buildkite-other-branch",
        builds.buildkite().changed({"/build_branch": "main/evil"}),
        "/build_branch",
        "a branch whose name begins as the pinned one",
    ),
    _rule(
        "buildkite-other-pipeline",
        builds.other_project(builds.buildkite(), "/pipeline_id"),
        "/pipeline_id",
        "another pipeline of the organisation",
    ),
    _rule(
        "bitbucket-other-repository",
        builds.other_project(builds.bitbucket(), "/repositoryUuid"),
        "/repositoryUuid",
        "another repository of the workspace",
    ),
    _trap(
        "bitbucket-several-audiences",
        builds.bitbucket(audiences=(builds.BITBUCKET_AUDIENCE, OTHER_AUDIENCE)),
        Refusal.AUDIENCE,
        "a token for two can be used by either at the other",
        "/aud",
    ),
    _rule(
        "semaphore-pull-request",
        builds.semaphore(kind="pr", ref="refs/pull/7/merge"),
        "/ref_type",
        "a pull request of a stranger",
    ),
)

_HOSTS = (
    _rule("vercel-preview", hosts.vercel("preview"), "/environment", "every branch has a preview"),
    _trap(
        "vercel-global-issuer",
        hosts.vercel(is_global=True),
        Refusal.ISSUER,
        "the issuer of all teams is not the one of this team",
        "/iss",
    ),
    _rule("fly-other-app", hosts.fly("orders-2", "999"), "/app_id", "another app of the organisation"),
    _rule("spiffe-other-workload", hosts.svid("/orders/evil"), "/sub", "a workload below the pinned one"),
    _trap(
        "spiffe-several-audiences",
        hosts.svid(audiences=(AUDIENCE, OTHER_AUDIENCE)),
        Refusal.AUDIENCE,
        "a token for two can be used by either at the other",
        "/aud",
    ),
    _trap(
        "spiffe-other-trust-domain",
        hosts.svid(trust_domain="mallory.example"),
        Refusal.ISSUER,
        "another trust domain may name its workloads as it likes",
        "/sub",
    ),
)

TRAPS: dict[str, Trap] = {trap.name: trap for trap in (*_GITHUB, *_GITLAB, *_KUBERNETES, *_CLOUDS, *_BUILDS, *_HOSTS)}
