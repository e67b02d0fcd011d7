"""Answers make a trust and a rule, and the claims of a token make answers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes

from affiant.errors import ConfigError
from affiant.oauth.federation import conditions
from affiant.server.registry.federation.platforms import proposal
from affiant.server.registry.federation.platforms.table import PLATFORMS

# The preset, the answer that is the issuer or a part of it, and the issuer.
ISSUERS = {
    "github": ("github", {}, github.ISSUER),
    "github-server": ("github", {"issuer": "github.acme.example"}, github.enterprise_server("github.acme.example")),
    "github-enterprise": ("github", {"issuer": "acme"}, github.enterprise_path("acme")),
    "github-data-residency": ("github", {"issuer": github.data_residency("acme")}, github.data_residency("acme")),
    "gitlab": ("gitlab", {}, gitlab.ISSUER),
    "gitlab-host": ("gitlab", {"issuer": "gitlab.acme.example"}, "https://gitlab.acme.example"),
    "gitlab-url": ("gitlab", {"issuer": "https://acme.example/gitlab"}, "https://acme.example/gitlab"),
    "kubernetes-aks": ("kubernetes", {"issuer": kubernetes.aks()}, kubernetes.aks()),
    "kubernetes-gke": ("kubernetes", {"issuer": kubernetes.gke()}, kubernetes.gke()),
    "aws-uuid": ("aws", {"issuer": clouds.AWS_ISSUER[8:44]}, clouds.AWS_ISSUER),
    "google": ("google", {}, clouds.GOOGLE_ISSUER),
    "entra": ("entra", {"tenant": clouds.ENTRA_TENANT}, clouds.entra_issuer()),
    "entra-2": ("entra", {"tenant": clouds.entra_issuer(2)}, clouds.entra_issuer(2)),
    "terraform-eu": ("terraform", {"issuer": "https://app.eu.terraform.io"}, "https://app.eu.terraform.io"),
    "circleci": ("circleci", {"organization": builds.CIRCLECI_ORGANIZATION}, builds.circleci_issuer()),
    "bitbucket": ("bitbucket", {"WORKSPACE": "acme"}, builds.BITBUCKET_ISSUER),
    "vercel": ("vercel", {"TEAM": "acme"}, "https://oidc.vercel.com/acme"),
    "spiffe": ("spiffe", {"ID": "spiffe://example.org/orders/api"}, "spiffe://example.org"),
    "generic": ("generic", {"ISSUER": "https://issuer.example/"}, "https://issuer.example/"),
}


@pytest.mark.parametrize(("preset", "answers", "issuer"), ISSUERS.values(), ids=ISSUERS)
def test_the_issuer_is_made_from_its_part(preset: str, answers: dict[str, str], issuer: str) -> None:
    assert proposal.find_issuer(PLATFORMS[preset], answers) == issuer


@pytest.mark.parametrize(
    ("preset", "answers"),
    [
        ("github", {"issuer": "https://github.acme.example"}),
        ("github", {"issuer": "http://github.acme.example/_services/token"}),
        ("gitlab", {"issuer": "gitlab.acme.example/group"}),
        ("aws", {"issuer": "123456789012"}),
        ("entra", {"tenant": "organizations"}),
        ("circleci", {"organization": "gh/acme"}),
        ("bitbucket", {"WORKSPACE": "acme/app"}),
        ("vercel", {"TEAM": "acme.example/x"}),
        ("kubernetes", {"issuer": "kubernetes/serviceaccount"}),
        ("spiffe", {"ID": "Example.org/orders"}),
    ],
)
def test_what_is_no_issuer_is_refused(preset: str, answers: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is not an issuer of"):
        proposal.find_issuer(PLATFORMS[preset], answers)


def conditions_of(preset: str, *, names_only: bool = False, **answers: str) -> dict[str, Any]:
    platform = PLATFORMS[preset]
    given_ = {name.replace("_", "-") if name.islower() else name: answer for name, answer in answers.items()}
    return proposal.make_conditions(platform, proposal.with_usual(platform, given_), names_only=names_only)


def test_another_place_takes_that_of_the_branch() -> None:
    assert conditions_of("github", repository_id="74") == {"repository_id": ["74"], "ref": ["refs/heads/main"]}
    assert conditions_of("github", repository_id="74", tag="v1") == {"repository_id": ["74"], "ref": ["refs/tags/v1"]}
    both = conditions_of("github", repository_id="74", environment="prod", branch="release/2")
    assert both == {"repository_id": ["74"], "environment": ["prod"], "ref": ["refs/heads/release/2"]}


def test_the_tenant_of_entra_is_a_condition_as_its_id() -> None:
    found = conditions_of("entra", OBJECT_ID=clouds.ENTRA_OBJECT, tenant=clouds.entra_issuer(2))

    assert found == {"oid": [clouds.ENTRA_OBJECT], "tid": [clouds.ENTRA_TENANT]}


@pytest.mark.parametrize("account", ["shop/orders", "shop:orders"])
def test_a_service_account_has_a_slash_or_a_colon(account: str) -> None:
    assert conditions_of("kubernetes", ACCOUNT=account) == {"sub": ["system:serviceaccount:shop:orders"]}


def test_tokens_of_vercel_are_for_the_team() -> None:
    made = proposal.make_trust(PLATFORMS["vercel"], {"TEAM": "acme"})
    for_all = proposal.make_trust(PLATFORMS["vercel"], {"TEAM": hosts.VERCEL_GLOBAL})

    assert made["audiences"] == ["https://vercel.com/acme"]
    assert "audiences" not in for_all


@given(preset=st.sampled_from(sorted(PLATFORMS)), text=st.text(max_size=8), data=st.data())
def test_no_token_makes_a_condition_that_another_meets(preset: str, text: str, data: st.DataObject) -> None:
    """Attack: a token is made so that the rule that comes of it is wider than the token."""
    platform = PLATFORMS[preset]
    texts = st.sampled_from([text, f"{text}*", f"{text}**", f"refs/heads/{text}*", "system:serviceaccount:a:b*", "*"])
    claims = {
        question.claim: data.draw(texts) for question in platform.questions if question.claim and question.is_read
    }
    issuer = platform.issuers[0].text if platform.issuers else "https://issuer.example"
    try:
        answers = proposal.read(platform, issuer, claims)
        made = proposal.make_conditions(platform, answers, names_only=data.draw(st.booleans()))
    except ConfigError:
        return
    assert not [value for values in made.values() for value in values if conditions.is_prefix(value)]
