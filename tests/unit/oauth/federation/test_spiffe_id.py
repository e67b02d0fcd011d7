import pytest
from hypothesis import given
from hypothesis import strategies as st
from spiffe import SpiffeId

from affiant.oauth.federation import spiffe_id

DOMAIN = "spiffe://acme.example"


@pytest.mark.parametrize(
    "text",
    [
        DOMAIN,
        f"{DOMAIN}/billing",
        f"{DOMAIN}/ns/prod/sa/api-1_2.v3",
        f"{DOMAIN}/.hidden/...",
        f"{DOMAIN}/{'x' * (2048 - len(DOMAIN) - 1)}",
    ],
)
def test_id_names_its_trust_domain(text: str) -> None:
    assert spiffe_id.find_domain(text) == DOMAIN
    assert str(SpiffeId(text)) == text


@pytest.mark.attack(318)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://",
        "spiffe:///billing",
        f"{DOMAIN}/",
        f"{DOMAIN}/billing/",
        f"{DOMAIN}//billing",
        f"{DOMAIN}/a/../billing",
        f"{DOMAIN}/./billing",
        f"{DOMAIN}/billing/..",
        f"{DOMAIN}/%62illing",
        f"{DOMAIN}/billing\n",
        f"{DOMAIN}\n",
        f"{DOMAIN}/bill ing",
        f"{DOMAIN}/bílling",
        f"{DOMAIN}/billing?x",
        f"{DOMAIN}/billing#x",
        f"{DOMAIN}:443/billing",
        "spiffe://user@acme.example/billing",
        "spiffe://ACME.example/billing",
        "SPIFFE://acme.example/billing",
        "https://acme.example/billing",
        f" {DOMAIN}/billing",
        f"spiffe://{'x' * 256}/billing",
        f"{DOMAIN}/{'x' * 2048}",
        None,
        5,
        [DOMAIN],
    ],
)
def test_text_that_only_resembles_one(text: object) -> None:
    assert spiffe_id.find_domain(text) is None


@given(st.from_regex(r"spiffe://[a-zA-Z0-9._:@%-]{0,8}(/[a-z.%~A-Z0-9]{0,4}){0,4}", fullmatch=True))
def test_no_id_of_ours_is_another_one_to_the_library_of_spiffe(text: str) -> None:
    domain = spiffe_id.find_domain(text)
    if domain is not None:
        theirs = SpiffeId(text)
        assert (str(theirs), theirs.trust_domain.as_spiffe_id()) == (text, domain)
