"""Presets: the rules that identify one workload are taken, and those that do not are refused, with what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes
from tests.platforms.token import pointer_to
from tests.platforms.trap import Good
from tests.platforms.traps import GOOD

from affiant.errors import ConfigError
from affiant.server.registry.federation import fields, platforms
from affiant.server.registry.federation.platforms.table import PLATFORMS, find_owner
from affiant.storage.records import ClaimCondition, Rule, Trust

Conditions = dict[str, Any]
ISSUERS = {
    "affiant": "https://as.example",
    "github": github.ISSUER,
    "gitlab": gitlab.ISSUER,
    "kubernetes": kubernetes.eks(),
    "aws": clouds.AWS_ISSUER,
    "google": clouds.GOOGLE_ISSUER,
    "entra": clouds.entra_issuer(),
    "terraform": builds.TERRAFORM_ISSUER,
    "circleci": builds.circleci_issuer(),
    "buildkite": builds.BUILDKITE_ISSUER,
    "bitbucket": builds.BITBUCKET_ISSUER,
    "vercel": f"{hosts.VERCEL_GLOBAL}/acme",
    "spiffe": f"spiffe://{hosts.TRUST_DOMAIN}",
    "generic": "https://issuer.example",
}
STS = pointer_to(clouds.AWS_NAMESPACE)
ROLE = clouds.AWS_ROLE
SSH, CIRCLECI_PROJECT = "oidc.circleci.com/ssh-rerun", "oidc.circleci.com/project-id"


NEEDED: dict[str, Conditions] = {
    "spiffe": {"jwks_uri": "https://spire.example.org/bundle"},
    "entra": {"audiences": ["api://affiant"]},
}


def trust(preset: str, **members: Any) -> Trust:
    given = {**platforms.usual(preset), **NEEDED.get(preset, {}), **members}
    issuer = given.pop("issuer", ISSUERS[preset])
    return fields.TRUST.put(Trust(preset, issuer, preset), given)


def rule(conditions: Mapping[str, Any], *, names_only: bool = False) -> Rule:
    typed = [
        ClaimCondition(claim, value if isinstance(value, tuple) else (value,)) for claim, value in conditions.items()
    ]
    return Rule("deploy", "ci", "deploy", tuple(typed), names_only=names_only)


def refusal(check: Callable[..., None], *given: Trust | Rule) -> str:
    with pytest.raises(ConfigError) as caught:
        check(*given)
    return str(caught.value)


@pytest.mark.parametrize("preset", PLATFORMS)
def test_the_usual_trust_of_each_preset_is_taken(preset: str) -> None:
    platforms.check_trust(trust(preset))


@pytest.mark.parametrize(
    "good", [good for good in GOOD.values() if good.platform in PLATFORMS], ids=lambda g: g.platform
)
def test_the_right_pins_of_each_platform_are_taken(good: Good) -> None:
    keys = {"jwks_uri": "https://keys.acme.example/jwks"} if good.token.issuer == kubernetes.ISSUER else {}
    found = trust(good.platform, issuer=good.token.issuer, **keys)

    platforms.check_trust(found)
    platforms.check_rule(found, rule(good.pins))
    assert list(platforms.warnings(found, rule(good.pins))) == []


TAKEN = {
    "sub-with-ids": ("github", {"sub": "repo:acme@65/app@74:ref:refs/heads/main"}),
    "environment-and-owner": ("github", {"repository_owner_id": "65", "environment": "production"}),
    "workflow": (
        "github",
        {"repository_id": "74", "job_workflow_ref": "acme/ci/.github/workflows/deploy.yml@refs/heads/**"},
    ),
    "tags-of-a-repository": ("github", {"repository_id": "74", "ref": "refs/tags/v*"}),
    "protected-environment": ("gitlab", {"project_id": "20", "environment_protected": "true"}),
    "accounts-of-a-namespace": ("kubernetes", {"sub": "system:serviceaccount:shop:orders-*"}),
    "roles-with-a-prefix": ("aws", {"sub": f"arn:aws:iam::{clouds.AWS_ACCOUNT}:role/deploy-*"}),
    "principal-id": ("aws", {f"{STS}/principal_id": ROLE}),
    "application": ("entra", {"azp": clouds.ENTRA_OBJECT}),
    "pointer-to-a-name-with-a-slash": ("circleci", {pointer_to(CIRCLECI_PROJECT): builds.CIRCLECI_PROJECT}),
    "subject-claim": ("buildkite", {"sub": builds.BUILDKITE_PIPELINE}),
    "workloads-below-a-path": ("spiffe", {"sub": "spiffe://example.org/orders/*"}),
    "number": ("generic", {"account": 42}),
    "prefix": ("generic", {"sub": "build:app:*"}),
}


@pytest.mark.parametrize(("preset", "conditions"), TAKEN.values(), ids=TAKEN)
def test_other_rules_that_identify_are_taken(preset: str, conditions: Conditions) -> None:
    platforms.check_rule(trust(preset), rule(conditions))


MAIN = {"ref": "refs/heads/main"}
# The preset, the conditions, and words of the refusal: what to add, or what is wrong.
BAD = {
    "nothing": ("github", {}, "repository_id=123"),
    "audience-alone": ("generic", {"aud": "https://as.example"}, "does not identify a workload"),
    "nothing-of-anybody": ("generic", {}, "does not identify a workload"),
    "issuer-alone": ("generic", {"iss": "https://issuer.example", "/aud": "x"}, "does not identify a workload"),
    "flag-alone": ("generic", {"email_verified": True, "is_prod": True}, "does not identify a workload"),
    "kind-alone": ("generic", {"sub": "repo:**"}, "does not identify a workload"),
    "scheme-alone": ("generic", {"sub": "https://*"}, "does not identify a workload"),
    "letter-alone": ("generic", {"sub": "d*"}, "does not identify a workload"),
    "one-of-two-too-wide": ("generic", {"sub": ("build:app:1", "build:**")}, "does not identify a workload"),
    "branch-alone": ("github", MAIN, "repository_id"),
    "names": ("github", {"repository": "acme/app", **MAIN}, "names_only"),
    "sub-without-ids": ("github", {"sub": "repo:acme/app:ref:refs/heads/main"}, "repository_id"),
    "quick-fix": ("github", {"sub": "repo:acme@*"}, "must not end in @*"),
    "quick-fix-of-repository": ("github", {"sub": "repo:acme@65/app@**"}, "must not end in @*"),
    "quick-fix-beside-names": ("github", {"/sub": "repo:acme@**", "repository": "acme/app", **MAIN}, "@*"),
    "id-with-star": ("github", {"repository_id": "7*", **MAIN}, "digits of a number"),
    "id-as-number": ("github", {"repository_id": 74, **MAIN}, "as a text, and not 74"),
    "repository-without-branch": ("github", {"repository_id": "74"}, "ref or environment or job_workflow_ref"),
    "bare-branch": ("github", {"repository_id": "74", "ref": "main"}, "such as refs/heads/main"),
    "every-ref": ("github", {"repository_id": "74", "ref": "refs/**"}, "such as refs/heads/main"),
    "pull-request": ("github", {"repository_id": "74", "ref": "refs/pull/7/merge"}, "such as refs/heads/main"),
    "workflow-of-pull-requests": (
        "github",
        {"repository_id": "74", "job_workflow_ref": "acme/ci/.github/workflows/deploy.yml@refs/**"},
        "of a branch, a tag or a commit",
    ),
    "workflow-of-a-pull-request": (
        "github",
        {"repository_id": "74", "job_workflow_ref": "acme/ci/.github/workflows/deploy.yml@refs/pull/7/merge"},
        "of a branch, a tag or a commit",
    ),
    "sub-of-every-branch": ("github", {"repository_id": "74", "sub": "repo:acme/app:**"}, "refs/heads/main"),
    "actor": ("github", {"actor": "octocat", **MAIN}, "repository_id"),
    "gitlab-path": ("gitlab", {"project_path": "acme/app", "ref_protected": "true"}, "project_id"),
    "gitlab-any-branch": ("gitlab", {"project_id": "20", "ref": "main"}, "ref_protected"),
    "gitlab-unprotected": ("gitlab", {"project_id": "20", "ref_protected": "false"}, "ref_protected"),
    "gitlab-boolean": ("gitlab", {"project_id": "20", "ref_protected": True}, 'the text "true"'),
    "gitlab-runner-as-text": ("gitlab", {**gitlab.pins(), "runner_id": "1"}, "a whole number"),
    "gitlab-full-ref": ("gitlab", {**gitlab.pins(), "/ref": "refs/heads/main"}, "bare name of a branch"),
    "default-account": ("kubernetes", {"sub": "system:serviceaccount:shop:default"}, "kubectl create serviceaccount"),
    "default-by-prefix": ("kubernetes", {"sub": "system:serviceaccount:shop:d*"}, "default"),
    "namespace": ("kubernetes", {"sub": "system:serviceaccount:shop:*"}, "NAMESPACE:NAME"),
    "every-account": ("kubernetes", {"sub": "system:serviceaccount:**"}, "NAMESPACE:NAME"),
    "node": ("kubernetes", {"sub": "system:node:worker-1"}, "NAMESPACE:NAME"),
    "namespace-claim": ("kubernetes", {"/kubernetes.io/namespace": "shop"}, "needs a condition on sub"),
    "aws-account": ("aws", {f"{STS}/aws_account": clouds.AWS_ACCOUNT}, "needs a condition on sub"),
    "aws-request-tags": ("aws", {"sub": ROLE, f"{STS}/request_tags/team": "payments"}, "the caller writes it"),
    "aws-request-tags-whole": ("aws", {"sub": ROLE, f"{STS}/request_tags": "x"}, "the caller writes it"),
    "aws-scope": ("aws", {"sub": ROLE, "scope": "orders.write"}, "the caller writes it"),
    "aws-origin": ("aws", {"sub": "deploy"}, "ARN of a role"),
    "aws-every-role": ("aws", {"sub": f"arn:aws:iam::{clouds.AWS_ACCOUNT}:role/**"}, "ARN of a role"),
    "google-email": ("google", {"email": "deploy@acme-prod.iam.gserviceaccount.com"}, "condition on sub"),
    "google-number": ("google", {"sub": 107517467455664443766}, "as a text"),
    "entra-tenant": ("entra", {"tid": clouds.ENTRA_TENANT}, "oid"),
    "terraform-names": ("terraform", {"sub": "organization:acme:**", "terraform_run_phase": "apply"}, "names_only"),
    "terraform-any-phase": ("terraform", {"terraform_workspace_id": builds.TERRAFORM_WORKSPACE}, "run_phase"),
    "terraform-both-phases": (
        "terraform",
        {"terraform_workspace_id": builds.TERRAFORM_WORKSPACE, "terraform_run_phase": "*y"},
        "plan or apply",
    ),
    "circleci-origin": ("circleci", {"oidc.circleci.com/vcs-origin": "github.com/acme/app"}, "project-id"),
    "circleci-flag-as-text": (
        "circleci",
        {CIRCLECI_PROJECT: builds.CIRCLECI_PROJECT, SSH: "false"},
        "true or false, and not a text",
    ),
    "buildkite-sub": ("buildkite", {"sub": builds.buildkite().at("/sub")}, "pipeline_id"),
    "bitbucket-sub": ("bitbucket", {"sub": builds.bitbucket().at("/sub")}, "repositoryUuid"),
    "bitbucket-bare": ("bitbucket", {"repositoryUuid": "5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c"}, "in braces"),
    "vercel-without-environment": ("vercel", {"project_id": hosts.VERCEL_PROJECT, "owner_id": hosts.VERCEL_OWNER}, "environment=production"),
    "vercel-any-environment": ("vercel", {"project_id": hosts.VERCEL_PROJECT, "environment": "pre*"}, "environment"),
    "spiffe-domain": ("spiffe", {"sub": "spiffe://example.org/**"}, "SPIFFE ID"),
    "spiffe-other-domain": ("spiffe", {"sub": "spiffe://mallory.example/orders"}, "spiffe://example.org/"),
}  # fmt: skip


@pytest.mark.attack(328)
@pytest.mark.parametrize(("preset", "conditions", "words"), BAD.values(), ids=BAD)
def test_a_rule_that_identifies_no_workload_is_refused(preset: str, conditions: Conditions, words: str) -> None:
    found = trust(preset)

    assert words in refusal(platforms.check_rule, found, rule(conditions))


NAMES = {
    "github": {"repository": "acme/app", **MAIN},
    "github-sub": {"sub": "repo:acme/app:ref:refs/heads/main"},
    "gitlab": {"project_path": "acme/app", "ref_protected": "true"},
    "terraform": {"terraform_organization_name": "acme", "terraform_run_phase": "apply"},
    "buildkite": {"pipeline_slug": "app"},
    "vercel": {"owner": "acme", "project": "app", "environment": "production"},
}


@pytest.mark.parametrize("name", NAMES)
def test_names_pass_with_names_only_and_a_warning(name: str) -> None:
    found = trust(name.partition("-")[0])

    platforms.check_rule(found, rule(NAMES[name], names_only=True))
    (warning,) = platforms.warnings(found, rule(NAMES[name], names_only=True))
    assert "rests on names" in warning


@pytest.mark.parametrize(
    ("preset", "conditions"),
    [
        ("github", {"actor": "octocat"}),
        ("github", MAIN),
        ("github", {"sub": "repo:acme/app:**"}),
        ("google", {"email": "deploy@acme-prod.iam.gserviceaccount.com"}),
        ("kubernetes", {"/kubernetes.io/namespace": "shop"}),
        ("vercel", {"owner": "acme"}),
        ("generic", {"aud": "https://as.example"}),
    ],
)
def test_names_only_is_no_way_around_the_other_checks(preset: str, conditions: Conditions) -> None:
    refusal(platforms.check_rule, trust(preset), rule(conditions, names_only=True))


def test_a_rule_must_rule_out_what_the_trust_refuses_no_more() -> None:
    lax = trust("github", refuses={"event_name": ["workflow_run"]})

    assert "event_name" in refusal(platforms.check_rule, lax, rule({"repository_id": "74", **MAIN}))
    platforms.check_rule(lax, rule({"repository_id": "74", **MAIN, "event_name": "push"}))


BAD_TRUSTS = {
    "github-as-generic": ("generic", {"issuer": github.ISSUER}, "affiant trust add github"),
    "ghe-as-generic": ("generic", {"issuer": github.data_residency("acme")}, "affiant trust add github"),
    "upper-case": ("generic", {"issuer": "https://GITLAB.com"}, "affiant trust add gitlab"),
    "trailing-dot": ("generic", {"issuer": "https://accounts.google.com."}, "affiant trust add google"),
    "with-port": ("generic", {"issuer": "https://app.terraform.io:443"}, "affiant trust add terraform"),
    "with-user": ("generic", {"issuer": "https://x@oidc.vercel.com/acme"}, "affiant trust add vercel"),
    "google-as-gitlab": ("gitlab", {"issuer": clouds.GOOGLE_ISSUER}, "affiant trust add google"),
    "aws-as-kubernetes": ("kubernetes", {"issuer": clouds.AWS_ISSUER}, "affiant trust add aws"),
    "unknown-preset": ("nobody", {}, "one of: github, gitlab"),
    "github-with-slash": ("github", {"issuer": f"{github.ISSUER}/"}, "token.actions.githubusercontent.com"),
    "lookalike": ("github", {"issuer": "https://token.actions.githubusercontent.com.mallory.example"}, "the issuer of"),
    "plain-http": ("gitlab", {"issuer": "http://gitlab.acme.example"}, "the issuer of"),
    "entra-every-tenant": ("entra", {"issuer": "https://login.microsoftonline.com/common/v2.0"}, "{uuid}"),
    "entra-without-slash": ("entra", {"issuer": clouds.entra_issuer()[:-1]}, "{uuid}/"),
    "entra-without-audience": ("entra", {"audiences": []}, "api://affiant"),
    "legacy-account": ("kubernetes", {"issuer": kubernetes.LEGACY_ISSUER}, "the issuer of Kubernetes"),
    "unreachable-cluster": ("kubernetes", {"issuer": kubernetes.ISSUER}, "get --raw /openid/v1/jwks"),
    "for-the-api-server": ("kubernetes", {"audiences": [kubernetes.API_SERVER]}, "every pod has such a token"),
    "for-its-own-issuer": ("kubernetes", {"audiences": [kubernetes.eks()]}, "every pod has such a token"),
    "pods-once": ("kubernetes", {"replay": "once"}, "the same token until it expires"),
    "jobs-again": ("github", {"replay": "reused"}, "a second one is a stolen one"),
    "google-once": ("google", {"replay": "once"}, "writes no jti"),
    "a-day-of-github": ("github", {"max_lifetime": 86_400}, "3600 at most"),
    "spiffe-without-keys": ("spiffe", {"jwks_uri": None}, "bundle endpoint"),
    "spiffe-with-path": ("spiffe", {"issuer": "spiffe://example.org/orders"}, "spiffe://{domain}"),
    "circleci-of-nobody": ("circleci", {"issuer": "https://oidc.circleci.com/org/acme"}, "{uuid}"),
}


@pytest.mark.parametrize(("preset", "members", "words"), BAD_TRUSTS.values(), ids=BAD_TRUSTS)
def test_a_trust_that_cannot_work_or_is_of_another_preset_is_refused(
    preset: str, members: dict[str, Any], words: str
) -> None:
    changes: Conditions = {name: tuple(value) if isinstance(value, list) else value for name, value in members.items()}
    changes["preset"] = preset
    found = replace(trust(preset if preset in PLATFORMS else "generic"), **changes)

    assert words in refusal(platforms.check_trust, found)


@pytest.mark.parametrize(
    "issuer",
    [
        "https://gitlab.acme.example",
        "https://github.acme.example/_services/token",
        "https://notgitlab.com",
        "https://gitlab.com.acme.example",
        "https://[::1",
        "kubernetes/serviceaccount",
        "spiffe://example.org",
    ],
)
def test_hosts_that_are_nobodys_are_free(issuer: str) -> None:
    assert find_owner(issuer) is None
    platforms.check_trust(trust("generic", issuer=issuer))


@pytest.mark.parametrize("issuer", [github.enterprise_path("acme"), github.enterprise_server("github.acme.example")])
def test_other_issuers_of_a_platform_are_taken(issuer: str) -> None:
    platforms.check_trust(trust("github", issuer=issuer))


def test_strangers_are_told_apart_by_a_whole_value_of_an_id() -> None:
    shared = [platform for platform in PLATFORMS.values() if platform.is_shared]

    assert len(shared) == 6
    for platform in shared:
        need = platform.needs[0]
        assert need.is_exact
        assert not set(need.claims) & set(need.names) - {"sub"}, platform.name


@pytest.mark.parametrize("issuer", ["accounts.google.com", "https://accounts.google.com", "Accounts.Google.com./"])
def test_an_issuer_without_a_scheme_is_of_its_platform(issuer: str) -> None:
    assert find_owner(issuer) is PLATFORMS["google"]
