"""The tokens of this folder: as the platforms document them, really signed, and each trap a trap for one reason."""

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError, InvalidKeyIdError
from joserfc.jwk import KeySet
from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes
from tests.platforms.issuer import Issuer, key, signed, stranger
from tests.platforms.published import Published, running
from tests.platforms.token import ABSENT, Token, at, pointer_to, pointers
from tests.platforms.trap import Good, Refusal, Trap
from tests.platforms.traps import GOOD, TRAPS

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose.key_set import KeySet as OurKeySet
from affiant.server.registry.key_cache import Fetched
from affiant.testing.clock import NOW

TIMES = {"iat", "exp", "nbf"}
STANDARD = {"iss", "sub", "aud", "jti", *TIMES}

# What each platform documents, or answers as `claims_supported`, besides the standard ones and what test cases add.
DOCUMENTED = {
    "github": """actor actor_id base_ref check_run_id enterprise enterprise_id environment environment_node_id event_name
        head_ref issuer_scope job_workflow_ref job_workflow_sha ref ref_protected ref_type repository repository_id
        repository_owner repository_owner_id repository_visibility run_attempt run_id run_number runner_environment sha
        workflow workflow_ref workflow_sha""",
    "gitlab": """namespace_id namespace_path project_id project_path job_namespace_id job_namespace_path job_project_id
        job_project_path user_id user_login user_email user_access_level pipeline_id pipeline_source job_id ref ref_type
        ref_path ref_protected environment environment_protected deployment_tier runner_id runner_environment sha
        ci_config_ref_uri ci_config_sha""",
    "kubernetes": "kubernetes.io",
    "aws": clouds.AWS_NAMESPACE,
    "google": "azp email email_verified google",
    "entra": "oid tid idtyp ver appid appidacr azp azpacr uti",
    "terraform": """terraform_run_phase terraform_run_id terraform_workspace_id terraform_workspace_name
        terraform_project_id terraform_project_name terraform_organization_id terraform_organization_name
        terraform_full_workspace""",
    "circleci": " ".join(
        f"oidc.circleci.com/{name}"
        for name in (
            *("context-ids", "job-id", "org-id", "pipeline-definition-id", "pipeline-id", "project-id", "ssh-rerun"),
            *("vcs-origin", "vcs-ref", "workflow-id"),
        )
    ),
    "buildkite": """organization_slug organization_id pipeline_slug pipeline_id build_number build_branch build_commit
        build_source step_key job_id agent_id runner_environment""",
    "bitbucket": "workspaceUuid repositoryUuid pipelineUuid stepUuid branchName deploymentEnvironmentUuid",
    "semaphore": "org prj prj_id repo branch ref ref_type wf_id ppl_id job_id",
    "vercel": "scope owner owner_id project project_id environment",
    "fly": """app_id app_name image image_digest machine_id machine_name machine_version org_id org_name region""",
    "spiffe": "",
}

SUBJECTS = {
    "branch": "ref:refs/heads/main",
    "tag": "ref:refs/tags/v1.9",
    "environment": "environment:production",
    "environment-with-colon": "environment:Production%3AV1",
    "pull-request": "pull_request",
    "pull-request-with-environment": "environment:production",
    "pull-request-target": "ref:refs/heads/main",
    "workflow-run": "ref:refs/heads/main",
    "merge-group": "ref:refs/heads/gh-readonly-queue/main/pr-7-7fd1a60b",
    "schedule": "ref:refs/heads/main",
    "self-hosted": "ref:refs/heads/main",
    "reusable-workflow": "ref:refs/heads/main",
}


def _claims(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def _matches(token: Token, pins: Any) -> list[str]:
    """The pins that do not hold: equal and of the same type, or one of several that are."""

    def same(came: Any, wanted: Any) -> bool:
        return type(came) is type(wanted) and came == wanted

    return [
        pointer
        for pointer, wanted in pins.items()
        if not any(same(token.at(pointer), one) for one in (wanted if isinstance(wanted, tuple) else (wanted,)))
    ]


def _is_for(token: Token, audience: str) -> bool:
    return token.claims.get("aud") in (audience, [audience])


def _ends(token: Token, good: Good) -> bool:
    return token.lifetime is not None and token.lifetime <= good.longest


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_claims_are_documented(good: Good) -> None:
    found = set(good.token.issued()) - STANDARD
    assert found <= set(DOCUMENTED[good.platform].split())
    assert set(json.loads(json.dumps(good.token.issued()))) == found | STANDARD & set(good.token.issued())


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_token_is_signed_by_its_issuer(good: Good) -> None:
    issuer = Issuer.of(good.token)
    text = issuer.sign(good.token)
    keys = [{**one, "use": "sig"} for one in issuer.jwks["keys"]]  # a trust domain says jwt-svid
    found = jws.deserialize_compact(text, KeySet.import_key_set({"keys": keys}), [good.token.alg])
    claims = json.loads(found.payload)
    assert claims["exp"] - claims["iat"] == good.token.lifetime
    assert claims.get("iss", good.token.issuer) == good.token.issuer
    assert found.protected.get("typ") == good.token.typ
    assert jwt.PyJWKSet.from_dict(issuer.jwks).keys[0].key_id == found.protected["kid"]


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_our_own_key_set_takes_these_keys(good: Good) -> None:
    parsed = OurKeySet.parse_given(Issuer.of(good.token).jwks, is_bundle=good.platform == "spiffe")
    assert [good.token.alg in one.algorithms for one in parsed.keys] == [True]


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_every_token_differs_where_the_platform_says_so(good: Good) -> None:
    first, second = good.token.issued(), good.token.issued()
    assert (first != second) == (good.token.id_claim is not None)
    assert good.token.issued(NOW + 1)["exp"] == first["exp"] + 1


def test_issuers_are_distinct() -> None:
    issuers = [good.token.issuer for good in GOOD.values()]
    assert len(set(issuers)) == len(issuers)
    assert sorted(GOOD) == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", github.RUNS)
def test_github_subject(name: str) -> None:
    assert len(github.RUNS) == len(SUBJECTS) == 12
    run = github.RUNS[name]
    names, ids = github.job(run, has_ids=False), github.job(run)
    assert names.claims["sub"] == f"repo:acme/app:{SUBJECTS[name]}"
    assert ids.claims["sub"] == f"repo:acme@65/app@74:{SUBJECTS[name]}"
    assert {**names.claims, "sub": ""} == {**ids.claims, "sub": ""}
    assert all(isinstance(value, str) for value in ids.claims.values())


def test_github_repository_keeps_its_ids() -> None:
    old, new = github.job(has_ids=False), github.job(repository=github.APP.renamed("shop"))
    assert new.claims["sub"] == "repo:acme@65/shop@74:ref:refs/heads/main"
    assert old.at("/repository_id") == new.at("/repository_id")
    recycled = github.job(repository=github.APP.recycled, has_ids=False)
    assert old.claims["sub"] == recycled.claims["sub"]
    assert old.at("/repository_id") != recycled.at("/repository_id")


def test_gitlab_fork_names_both_projects() -> None:
    fork, old = gitlab.fork_merge_request(), gitlab.fork_merge_request_of_old_server()
    assert (fork.at("/project_id"), fork.at("/job_project_id")) == ("999", "20")
    assert (old.at("/project_id"), old.at("/job_project_id")) == ("20", ABSENT)
    assert gitlab.job(subject=("project_path",)).claims["sub"] == "project_path:acme/app"
    assert [p for p in pointers(fork.claims) if isinstance(fork.at(p), int)] == ["/runner_id"]


def test_kubernetes_year_and_legacy() -> None:
    year = kubernetes.extended().issued()
    assert year["exp"] - year["iat"] == 31_536_000
    assert at(year, "/kubernetes.io/warnafter") - year["iat"] == 3607
    legacy = kubernetes.legacy().issued()
    assert not {"aud", "jti", *TIMES} & set(legacy)
    assert kubernetes.aks().endswith("/")
    assert "typ" not in jwt.get_unverified_header(signed(kubernetes.pod(alg="ES256")))


def test_aws_claims_are_nested() -> None:
    token = clouds.aws(alg="ES384", audiences=("a", "b"))
    assert token.at("/https:~1~1sts.amazonaws.com~1/aws_account") == clouds.AWS_ACCOUNT
    assert jwt.get_unverified_header(signed(token))["alg"] == "ES384"
    origin = clouds.aws_origin(scope="orders.write")
    assert (origin.at("/sub"), origin.at("/scope"), origin.at("/subject_mode")) == (
        *("deploy", "orders.write"),
        "OriginIdentity",
    )
    assert origin.at(pointer_to(clouds.AWS_NAMESPACE, "principal_id")) == clouds.AWS_ROLE


def test_subjects_that_never_come_twice() -> None:
    assert builds.buildkite(commit="1" * 40).claims["sub"] != builds.buildkite().claims["sub"]
    assert builds.buildkite(subject_claim="pipeline_id").claims["sub"] == builds.BUILDKITE_PIPELINE
    assert builds.bitbucket().claims["sub"].count(":") == 1
    assert builds.bitbucket(environment="{e}").claims["sub"].count(":") == 2


def test_spiffe_has_neither_issuer_nor_id() -> None:
    claims = hosts.svid().issued()
    assert not {"iss", "jti"} & set(claims)
    assert claims["sub"] == "spiffe://example.org/orders"


@pytest.mark.parametrize("good", [*GOOD.values(), *(trap.beside for trap in TRAPS.values())])
def test_good_token_is_good(good: Good) -> None:
    assert _matches(good.token, good.pins) == []
    assert _is_for(good.token, good.audience)
    assert _ends(good.token, good)
    assert len(_matches(good.token, good.refuses)) == len(good.refuses)
    assert good.replay != "once" or good.token.id_claim == "jti"


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_trap_is_one_for_its_reason_alone(trap: Trap) -> None:
    """No earlier question refuses it."""
    good, token = trap.beside, trap.token
    came = token.claims.get("iss", token.issuer)
    refused = {
        Refusal.ISSUER: came != good.token.claims.get("iss", good.token.issuer),
        Refusal.AUDIENCE: not _is_for(token, good.audience),
        Refusal.LIFETIME: not _ends(token, good),
        Refusal.TRUST: len(_matches(token, good.refuses)) < len(good.refuses),
        Refusal.RULE: bool(_matches(token, good.pins)),
    }
    assert next(by for by, is_refused in refused.items() if is_refused) == trap.by
    assert trap.by != Refusal.RULE or trap.where in _matches(token, good.pins)
    assert not trap.where or token.at(trap.where) != good.token.at(trap.where)
    assert trap.token != good.token


def test_every_platform_has_a_trap() -> None:
    assert {trap.platform for trap in TRAPS.values()} == set(GOOD)


def test_rotated_key_signs_and_the_old_one_stays() -> None:
    issuer = Issuer.of(github.job())
    first = issuer.sign(github.job())
    issuer.rotate()
    second = issuer.sign(github.job())
    kids = [one["kid"] for one in issuer.jwks["keys"]]
    assert [jwt.get_unverified_header(text)["kid"] for text in (first, second)] == kids
    issuer.rotate(keep=False)
    assert len(issuer.jwks["keys"]) == 1
    kept = KeySet.import_key_set({"keys": issuer.jwks["keys"]})
    jws.deserialize_compact(issuer.sign(github.job()), kept, ["RS256"])
    for forged in (first, issuer.sign(github.job(), by=stranger(), kid=issuer.keys[-1].kid)):
        with pytest.raises((BadSignatureError, InvalidKeyIdError)):
            jws.deserialize_compact(forged, kept, ["RS256"])


def test_anything_can_be_signed() -> None:
    issuer = Issuer.of(github.job())
    text = issuer.sign_claims(b'{"sub":"a","sub":"b"}', kid=None, typ=None)
    assert set(jwt.get_unverified_header(text)) == {"alg"}
    assert _claims(issuer.sign(github.job().changed({"/exp": 1})))["exp"] == NOW + 300


@pytest.fixture(scope="module")
def published() -> Iterator[Published]:
    with running(*(Issuer.of(good.token) for good in GOOD.values())) as found:
        yield found


def _json(fetched: Fetched) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(fetched.body)
    return members


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
async def test_keys_are_published_under_the_names_of_the_platform(good: Good, published: Published) -> None:
    issuer, fetch = Issuer.of(good.token), published.reach()
    if good.platform != "spiffe":
        found = _json(await fetch(issuer.discovery_url))
        assert found["issuer"] == good.token.issuer
        assert found["jwks_uri"] == good.token.keys_at
    assert _json(await fetch(good.token.keys_at)) == issuer.jwks


async def test_name_without_a_certificate_is_not_reached(published: Published) -> None:
    with pytest.raises(Rejected) as caught:
        await published.reach()("https://mallory.example/jwks")
    assert caught.value.reason == Reason.JWKS_TLS


async def test_own_address_is_reached_where_it_is_allowed(published: Published) -> None:
    own = Issuer(published.url("/ci"), published.url("/ci/keys"), [key("ci", "ES256")])
    published.issuers.append(own)
    published.extra[published.url("/broken")] = (200, b"{")
    fetch = published.reach("127.0.0.1")
    assert _json(await fetch(own.discovery_url))["jwks_uri"] == own.keys_at
    assert (await fetch(published.url("/broken"))).body == b"{"
    with pytest.raises(Rejected) as caught:
        await published.reach()(own.keys_at)
    assert caught.value.reason == Reason.JWKS_BLOCKED
