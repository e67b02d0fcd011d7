"""A token is pasted, a trust and a rule come of it, and every trap of the platform gets nothing.

The road of `affiant trust add PLATFORM --from-token`: the answers that the claims give, the usual ones for the rest, and
the admin API that judges what is made of them.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.admin import asking
from tests.platforms import github, gitlab
from tests.platforms.issuer import Issuer, signed
from tests.platforms.trap import Good, Refusal
from tests.platforms.traps import GOOD, TRAPS
from tests.unit.server.federation.registering import API, CEILING, SCOPE, ask, refused

from affiant.oauth import names
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.table import PLATFORMS
from affiant.testing import Server

# Platforms that have no preset: any other issuer, with the conditions that its operator writes.
GENERIC = {name: good.pins for name, good in GOOD.items() if name not in PLATFORMS}
REASONS = {
    Refusal.ISSUER: {"trust.unknown", "assertion.issuer_subject"},
    Refusal.AUDIENCE: {"trust.audience"},
    Refusal.LIFETIME: {"trust.lifetime"},
    Refusal.TRUST: {"trust.refuses"},
    # The preset of AWS refuses what a rule on `sub` would not match, before any rule is asked.
    Refusal.RULE: {"rule.none", "trust.refuses", "assertion.issuer_subject"},
}
# They need a condition that no preset asks for, or concern none: the ARN of a role has the account in it.
BEYOND = {name for name, trap in TRAPS.items() if trap.beside is not GOOD[trap.platform]} | {"aws-account-at-the-top"}


@asynccontextmanager
async def proposed(good: Good, **answers: str) -> AsyncIterator[Server]:
    """A server with the trust and the rule that come of this token, made over the admin API."""
    async with Server.in_process() as server:
        await server.add_api(API, scope=SCOPE, is_default=True)
        await server.add_client(good.platform, names.FEDERATED_JWT)
        trust, rule = propose(good, answers)
        async with asking(server.store) as admin:
            for path, members in (("/trusts", trust), ("/rules", rule)):
                reply = await admin.post(path, json=members)
                assert reply.status_code == 201, reply.text
        yield server


def propose(good: Good, more: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of the trust and of the rule."""
    token = good.token
    platform = PLATFORMS.get(good.platform, PLATFORMS["generic"])
    answers = proposal.with_usual(platform, {**proposal.read(platform, token.issuer, token.issued()), **more})
    conditions: Mapping[str, Any] = proposal.make_conditions(platform, answers, names_only=False)
    if good.platform in GENERIC:
        conditions = {claim: [value] for claim, value in GENERIC[good.platform].items()}
    jwks = Issuer.of(token).jwks
    trust = {**proposal.make_trust(platform, answers), "name": good.platform, "audiences": [good.audience]}
    trust = {name: value for name, value in trust.items() if name != "jwks_uri"} | {"jwks": jwks}
    rule = {"name": "deploy", "trust": good.platform, "client_id": good.platform, "conditions": conditions}
    return trust, {**rule, "scope": list(CEILING)}


@pytest.mark.parametrize("platform", GOOD)
async def test_pasted_token_and_its_like_get_the_client(platform: str) -> None:
    good = GOOD[platform]
    async with proposed(good) as server:
        first = await ask(server, signed(good.token))
        assert (first["client_id"], first["scope"]) == (platform, " ".join(CEILING))
        server.clock.advance(3600)
        assert (await ask(server, signed(good.token, server.clock.now)))["client_id"] == platform


@pytest.mark.attack(328)
@pytest.mark.parametrize("name", [name for name in TRAPS if name not in BEYOND])
async def test_trap_gets_nothing_from_the_preset(name: str) -> None:
    trap = TRAPS[name]
    async with proposed(trap.beside) as server:
        reason = await refused(server, signed(trap.token))
        assert reason in REASONS[trap.by], reason
        assert (await ask(server, signed(trap.beside.token)))["client_id"] == trap.platform


@pytest.mark.parametrize("is_tag", [False, True])
async def test_gitlab_branch_and_tag_of_one_name_are_two(is_tag: bool) -> None:
    branch, tag = gitlab.job(), gitlab.job(gitlab.Pipeline(kind="tag"))
    mine, other = (tag, branch) if is_tag else (branch, tag)
    async with proposed(Good(mine, {})) as server:
        assert (await ask(server, signed(mine)))["client_id"] == "gitlab"
        assert await refused(server, signed(other)) == "rule.none"


@pytest.mark.parametrize("name", ["branch", "tag", "environment", "environment-with-colon"])
async def test_github_job_of_any_kind_can_be_pasted(name: str) -> None:
    """And a renamed repository, with `sub` in either format, keeps what it had."""
    run = github.RUNS[name]
    async with proposed(Good(github.job(run), {})) as server:
        for has_ids in (False, True):
            for repository in (github.APP, github.APP.renamed("shop")):
                token = github.job(run, repository, has_ids=has_ids)
                assert (await ask(server, signed(token)))["client_id"] == "github"
            recycled = github.job(run, github.APP.recycled, has_ids=has_ids)
            assert await refused(server, signed(recycled)) == "rule.none"
