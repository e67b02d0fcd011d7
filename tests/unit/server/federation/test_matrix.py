"""Every platform and every trap, at the real application: the right client with the right ceiling, or the right reason."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes
from tests.platforms.issuer import Issuer, signed, stranger
from tests.platforms.token import AUDIENCE, Token
from tests.platforms.trap import Good, Refusal, Trap
from tests.platforms.traps import GOOD, TRAPS
from tests.unit.server.federation.registering import API, CARRIERS, CEILING, add, ask, form, refused, rule, trusting

from affiant.oauth import names
from affiant.testing import Server

REASONS = {
    Refusal.ISSUER: "trust.unknown",
    Refusal.AUDIENCE: "trust.audience",
    Refusal.LIFETIME: "trust.lifetime",
    Refusal.TRUST: "trust.refuses",
    Refusal.RULE: "rule.none",
}
NOBODYS = "assertion.issuer_subject"  # where `iss` is no URL, or `sub` no text, a client may as well have signed


def _reason(trap: Trap) -> str:
    is_platforms = "://" in trap.token.issuer and isinstance(trap.token.at("/sub"), str)
    return REASONS[trap.by] if is_platforms else NOBODYS


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """It trusts all platforms at once: none of them may get what is another's."""
    async with trusting(*GOOD.values()) as made:
        yield made


@pytest.fixture
async def actions() -> AsyncIterator[Server]:
    async with trusting(GOOD["github"]) as made:
        yield made


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("platform", GOOD)
async def test_good_token_gets_its_own_client(server: Server, platform: str, carrier: str) -> None:
    good = GOOD[platform]
    found = await ask(server, signed(good.token), carrier)
    assert (found["client_id"], found["sub"], found["rule"]) == (platform, platform, f"{platform}/{platform}")
    assert (found["scope"], found["aud"]) == (" ".join(CEILING), API)
    assert found["exp"] - found["iat"] == found["expires_in"] == 200
    assert not {"refresh_token", "src", "act", "email", "subject_mode"} & set(found)


@pytest.mark.attack(328)
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
async def test_trap_is_refused_beside_the_good_token(trap: Trap) -> None:
    async with trusting(trap.beside) as server:
        for carrier in CARRIERS:
            assert await refused(server, signed(trap.token), carrier) == _reason(trap)
        assert (await ask(server, signed(trap.beside.token)))["client_id"] == trap.platform


@pytest.mark.parametrize("platform", GOOD)
async def test_token_ends_no_later_than_the_platforms(platform: str) -> None:
    good = GOOD[platform]
    async with trusting(good) as server:
        text = signed(good.token)
        server.clock.advance(good.token.lifetime or 0)
        server.clock.advance(-50)
        assert (await ask(server, text))["expires_in"] == 50


@pytest.mark.parametrize("platform", GOOD)
async def test_expired_token_is_refused(platform: str) -> None:
    good = GOOD[platform]
    async with trusting(good) as server:
        text = signed(good.token)
        server.clock.advance((good.token.lifetime or 0) + 31)
        assert await refused(server, text) == "assertion.expired"


@pytest.mark.parametrize("platform", GOOD)
async def test_more_than_the_ceiling_is_not_had(server: Server, platform: str) -> None:
    reply = await server.post(
        {
            "grant_type": names.JWT_BEARER,
            "assertion": signed(GOOD[platform].token),
            "scope": "orders.admin",
        }
    )
    assert reply.json()["error"] == "invalid_scope"


@pytest.mark.parametrize("platform", GOOD)
async def test_key_of_another_is_refused(server: Server, platform: str) -> None:
    """Its kid names a key of the issuer, then its own key, then none."""
    token = GOOD[platform].token
    issuer = Issuer.of(token)
    other = stranger(token.alg)
    for kid, reason in (
        (issuer.keys[-1].kid, "signature.invalid"),
        (other.kid, "trust.key_unknown"),
        (None, "signature.invalid"),
    ):
        assert await refused(server, issuer.sign(token, by=other, kid=kid)) == reason


@pytest.mark.parametrize("victim", GOOD)
async def test_key_of_one_platform_speaks_for_no_other(server: Server, victim: str) -> None:
    """Attack: an issuer that is trusted signs tokens in the name of another one."""
    token = GOOD[victim].token
    for name, good in GOOD.items():
        if name != victim:
            theirs = Issuer.of(good.token).keys[-1]
            reason = await refused(server, Issuer.of(token).sign(token, by=theirs))
            assert reason in {"trust.key_unknown", "trust.keys_unavailable"}


@pytest.mark.attack(329)
@pytest.mark.parametrize("platform", GOOD)
async def test_second_use_is_as_the_trust_says(server: Server, platform: str) -> None:
    good = GOOD[platform]
    text = signed(good.token)
    await ask(server, text)
    for carrier in CARRIERS:
        if good.replay == "once":
            assert await refused(server, text, carrier) == "assertion.replayed"
        else:
            assert (await ask(server, text, carrier))["client_id"] == platform


@pytest.mark.parametrize("platform", ["kubernetes", "spiffe"])
async def test_token_that_is_reused_by_design_is_taken_fifty_times(server: Server, platform: str) -> None:
    text = signed(GOOD[platform].token)
    found = [await ask(server, text, CARRIERS[number % 2]) for number in range(50)]
    assert {one["client_id"] for one in found} == {platform}
    assert len({one["jti"] for one in found}) == 50


@pytest.mark.attack(329)
@pytest.mark.parametrize(("platform", "taken"), [("github", 1), ("kubernetes", 20)])
async def test_one_token_many_times_at_once(server: Server, platform: str, taken: int) -> None:
    """Attack: whoever sees a token races its owner, by the other carrier too."""
    text = signed(GOOD[platform].token)
    replies = await asyncio.gather(*(server.post(form(text, CARRIERS[number % 2])) for number in range(20)))
    assert sorted(reply.status_code == 200 for reply in replies) == [False] * (20 - taken) + [True] * taken
    reasons = {reply.json()["error_uri"].rpartition("/")[2] for reply in replies if reply.status_code != 200}
    assert reasons <= {"assertion.replayed"}


# --- GitHub


@pytest.mark.parametrize("has_ids", [False, True], ids=["names", "ids"])
@pytest.mark.parametrize("name", github.RUNS)
async def test_github_runs(actions: Server, name: str, has_ids: bool) -> None:
    run = github.RUNS[name]
    text = signed(github.job(run, has_ids=has_ids))
    if run.event in github.REFUSES["/event_name"]:
        assert await refused(actions, text) == "trust.refuses"
    elif run.ref != "refs/heads/main":
        assert await refused(actions, text) == "rule.none"
    else:
        assert (await ask(actions, text))["client_id"] == "github"


async def test_github_renamed_repository_keeps_its_rights(actions: Server) -> None:
    renamed = github.APP.renamed("shop")
    for has_ids in (False, True):
        assert (await ask(actions, signed(github.job(repository=renamed, has_ids=has_ids))))["client_id"] == "github"
        recycled = signed(github.job(repository=github.APP.recycled, has_ids=has_ids))
        assert await refused(actions, recycled) == "rule.none"


async def test_github_rule_on_names_gives_the_recycled_repository_all() -> None:
    """Why names alone are not enough; with the ids in `sub` the same rule ends on the day of the change."""
    by_name = Good(github.job(has_ids=False), {"/sub": "repo:acme/app:ref:refs/heads/main"})
    async with trusting(by_name) as server:
        recycled = signed(github.job(repository=github.APP.recycled, has_ids=False))
        assert (await ask(server, recycled))["client_id"] == "github"
        assert await refused(server, signed(github.job())) == "rule.none"


@pytest.mark.parametrize(
    "issuer",
    [
        github.enterprise_path("acme"),
        github.data_residency("acme"),
        github.enterprise_server("github.acme.example"),
    ],
)
async def test_github_issuers_are_trusted_apart(issuer: str) -> None:
    own = Good(github.job(issuer=issuer, has_ids=False), github.pins(), refuses=github.REFUSES)
    async with trusting(own) as server:
        assert (await ask(server, signed(own.token)))["client_id"] == "github"
        assert await refused(server, signed(github.job())) == "trust.unknown"


# --- GitLab


async def test_gitlab_customised_subject_changes_nothing_where_ids_are_pinned() -> None:
    async with trusting(GOOD["gitlab"]) as server:
        for subject in (("project_path",), ("project_path", "ref_type"), gitlab.SUBJECT):
            assert (await ask(server, signed(gitlab.job(subject=subject))))["client_id"] == "gitlab"


async def test_gitlab_job_cannot_exchange_its_one_token_twice() -> None:
    async with trusting(GOOD["gitlab"]) as server:
        text = signed(gitlab.job())
        await ask(server, text)
        server.clock.advance(1800)
        assert await refused(server, text) == "assertion.replayed"


@pytest.mark.parametrize("pinned", [1, "1", True])
@pytest.mark.parametrize("came", [1, "1", True, 1.0, [1], None])
async def test_gitlab_number_is_compared_by_its_type(pinned: object, came: object) -> None:
    good = Good(gitlab.job().changed({"/runner_id": pinned}), {"/project_id": "20", "/runner_id": pinned})
    async with trusting(good) as server:
        text = signed(gitlab.job().changed({"/runner_id": came}))
        if type(came) is type(pinned):
            assert (await ask(server, text))["client_id"] == "gitlab"
        else:
            assert await refused(server, text) == "rule.none"


# --- Kubernetes


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
@pytest.mark.parametrize("issuer", [kubernetes.ISSUER, kubernetes.eks(), kubernetes.gke(), kubernetes.aks()])
async def test_kubernetes_issuers(issuer: str, alg: str) -> None:
    good = Good(kubernetes.pod(issuer=issuer, alg=alg), kubernetes.pins(), replay="reused")
    async with trusting(good) as server:
        assert (await ask(server, signed(good.token)))["client_id"] == "kubernetes"
        slash = issuer.removesuffix("/") if issuer.endswith("/") else f"{issuer}/"
        assert await refused(server, signed(good.token.changed({"/iss": slash}))) == "trust.unknown"


async def test_kubernetes_several_audiences_where_the_trust_allows_them() -> None:
    good = GOOD["kubernetes"]
    async with trusting() as server:
        await add(server, good, several_audiences=True)
        text = signed(kubernetes.pod(audiences=("https://api.example", AUDIENCE)))
        assert (await ask(server, text))["client_id"] == "kubernetes"
        assert await refused(server, signed(kubernetes.pod(audiences=("https://a.example", "b")))) == "trust.audience"
        assert await refused(server, signed(kubernetes.pod(audiences=()))) == "trust.audience"


async def test_kubernetes_projected_token_of_the_kubelet_is_taken() -> None:
    """3,607 seconds, as the kubelet asks for: the usual limit of an hour has the leeway of clocks."""
    async with trusting(GOOD["kubernetes"]) as server:
        assert (await ask(server, signed(kubernetes.pod(lifetime=3607))))["client_id"] == "kubernetes"
        assert await refused(server, signed(kubernetes.pod(lifetime=3631))) == "trust.lifetime"


async def test_two_clusters_with_one_issuer_are_told_apart_by_their_keys() -> None:
    good = GOOD["kubernetes"]
    cluster = Issuer.of(good.token)
    new = cluster.rotate(keep=False)
    async with trusting(good) as server:
        other = Good(good.token, {"/sub": kubernetes.ORDERS.subject}, replay="reused")
        await add(server, other, name="second", jwks=cluster.jwks)
        assert (await ask(server, signed(good.token)))["client_id"] == "kubernetes"
        assert (await ask(server, cluster.sign(good.token, by=new)))["client_id"] == "second"


@pytest.mark.attack(330)
async def test_two_trusts_with_one_issuer_and_one_key_are_ambiguous() -> None:
    good = GOOD["kubernetes"]
    async with trusting(good) as server:
        await add(server, good, name="second")
        assert await refused(server, signed(good.token)) == "trust.ambiguous"


# --- Clouds


@pytest.mark.parametrize("alg", ["RS256", "ES384"])
@pytest.mark.parametrize("audiences", [AUDIENCE, (AUDIENCE,)])
async def test_aws_algorithms_and_audiences(alg: str, audiences: str | tuple[str, ...]) -> None:
    good = Good(clouds.aws(alg=alg, audiences=audiences), clouds.aws_pins())
    async with trusting(good) as server:
        assert (await ask(server, signed(good.token)))["client_id"] == "aws"


async def test_aws_scope_and_tags_of_the_caller_are_never_read() -> None:
    """Even where a rule takes an origin identity, the scope that the caller wrote gives nothing."""
    token = clouds.aws_origin(scope="orders.admin orders.write")
    async with trusting(Good(token, {"/sub": "deploy"})) as server:
        found = await ask(server, signed(token))
        assert found["scope"] == " ".join(CEILING)
        assert "request_tags" not in str(found)


async def test_aws_token_with_many_tags_fits() -> None:
    token = clouds.aws(tags={f"tag-{number}": "x" * 128 for number in range(50)})
    async with trusting(GOOD["aws"]) as server:
        text = signed(token)
        assert 8192 < len(text) < 16_384
        assert (await ask(server, text))["client_id"] == "aws"


@pytest.mark.parametrize("version", [1, 2])
async def test_entra_versions_are_two_issuers(version: int) -> None:
    good = Good(clouds.entra(version=version), clouds.entra_pins(), "api://affiant", 86_700, "if-present")
    async with trusting(good) as server:
        assert (await ask(server, signed(good.token)))["client_id"] == "entra"
        assert await refused(server, signed(clouds.entra(version=3 - version))) == "trust.unknown"


@pytest.mark.parametrize("platform", ["google", "entra", "circleci", "bitbucket", "vercel"])
async def test_token_without_jti_is_refused_where_the_trust_takes_each_once(platform: str) -> None:
    good = GOOD[platform]
    async with trusting() as server:
        await add(server, good, replay="once")
        assert await refused(server, signed(good.token)) == "assertion.jti"


# --- Builds and hosts


async def test_terraform_phase_of_a_day_only_where_the_trust_allows_a_day() -> None:
    async with trusting() as server:
        await add(server, GOOD["terraform"], max_lifetime=3600)
        assert await refused(server, signed(builds.terraform())) == "trust.lifetime"
        assert (await ask(server, signed(builds.terraform(lifetime=3600))))["client_id"] == "terraform"


async def test_terraform_processes_share_one_token() -> None:
    async with trusting(GOOD["terraform"]) as server:
        text = signed(builds.terraform())
        assert (await ask(server, text))["client_id"] == "terraform"
        assert await refused(server, text) == "assertion.replayed"


@pytest.mark.parametrize(
    "token",
    [builds.circleci(has_origin=False), builds.buildkite(commit="1" * 40), builds.bitbucket(environment="{e}")],
    ids=lambda token: token.platform,
)
async def test_subject_that_differs_each_time_needs_no_condition(server: Server, token: Token) -> None:
    assert (await ask(server, signed(token)))["client_id"] == token.platform


async def test_buildkite_subject_of_one_claim() -> None:
    token = builds.buildkite(subject_claim="pipeline_id")
    async with trusting(Good(token, {"/sub": builds.BUILDKITE_PIPELINE})) as server:
        assert (await ask(server, signed(token)))["client_id"] == "buildkite"


async def test_spiffe_prefix_covers_one_segment() -> None:
    async with trusting(
        Good(hosts.svid("/shop/orders"), {"/sub": "spiffe://example.org/shop/*"}, replay="reused")
    ) as s:
        assert (await ask(s, signed(hosts.svid("/shop/orders"))))["client_id"] == "spiffe"
        for path in ("/shop/orders/evil", "/shop", "/shopping/orders"):
            assert await refused(s, signed(hosts.svid(path))) == "rule.none", path
        assert await refused(s, signed(hosts.svid("/shop/"))) == "trust.spiffe_id"


async def test_spiffe_token_with_an_issuer_is_of_its_trust_domain() -> None:
    """SPIRE writes `iss` where it is told to; the keys stay those of the domain that `sub` names."""
    async with trusting(GOOD["spiffe"]) as server:
        text = signed(hosts.svid(iss="https://spire.example.org"))
        assert (await ask(server, text))["client_id"] == "spiffe"


# --- One token, one client


@pytest.mark.attack(330)
async def test_two_rules_are_ambiguous_until_the_client_is_named(server: Server) -> None:
    """A matrix of rules: one for the branch, and a wider one for the repository with a client of its own."""
    await server.add_client("wide", names.FEDERATED_JWT)
    await server.store.rules.add(
        replace(rule(Good(github.job(), {"/repository_id": "74"}), "github"), name="wide", client_id="wide")
    )
    assert await refused(server, signed(github.job())) == "trust.ambiguous"
    assert (await ask(server, signed(github.job()), client_id="github"))["rule"] == "github/github"
    assert (await ask(server, signed(github.job(github.RUNS["tag"]))))["rule"] == "github/wide"
    assert await refused(server, signed(github.job()), client_id="gitlab") == "rule.none"
