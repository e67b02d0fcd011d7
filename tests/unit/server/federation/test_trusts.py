"""Rules about several members of a trust, and about several trusts."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests import certificates
from tests.admin import ISSUER, NOW

from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.server.registry.federation import trusts
from affiant.server.registry.federation.fields import TRUST
from affiant.storage.records import Rule, Trust

CI = "https://ci.example"
DOMAIN = "spiffe://prod.example"
KEYS = f"{CI}/keys"
ONE, TWO = ({"keys": [keys.generate("ES256").public().to_jwk()]} for _ in range(2))


def build(issuer: str = CI, name: str = "ci", **members: Any) -> Trust:
    return trusts.build(TRUST.put(Trust(name, issuer), members), issuer=ISSUER, now=NOW)


@pytest.fixture(scope="module")
def ca() -> str:
    return certificates.make_authority().pem.decode()


def test_usual_values() -> None:
    assert build() == Trust("ci", CI, created_at=NOW)
    assert build(max_lifetime=0).max_lifetime == 3600
    assert build(max_lifetime=86_400).max_lifetime == 86_400


@pytest.mark.rfc(8414, "2")
@pytest.mark.parametrize(
    "issuer",
    [
        f"{CI}?tenant=1", f"{CI}/#", "https://user@ci.example", "https://", "https://ci.example:22", "https://ci .example",
        "http://ci.example", "kubernetes/serviceaccount", "SPIFFE://prod.example", "",
        "spiffe://", "spiffe://Prod", "spiffe://prod.example/", "spiffe://prod.example/a", "spiffe://a:1",
    ],
)  # fmt: skip
def test_an_issuer_whose_keys_cannot_be_found(issuer: str) -> None:
    with pytest.raises(ConfigError):
        build(issuer)


@pytest.mark.parametrize("issuer", ["kubernetes/serviceaccount", "http://ci.example", "https://ci.example/?a"])
def test_only_uploaded_keys_serve_an_issuer_that_is_no_https_url(issuer: str) -> None:
    if issuer.startswith("https"):
        with pytest.raises(ConfigError):
            build(issuer, jwks=ONE)
        return
    assert build(issuer, jwks=ONE).issuer == issuer
    with pytest.raises(ConfigError, match="no https URL needs jwks"):
        build(issuer, jwks_uri=KEYS)


def test_a_trust_domain_needs_its_bundle() -> None:
    with pytest.raises(ConfigError, match="bundle endpoint"):
        build(DOMAIN)
    with pytest.raises(ConfigError, match="bundle endpoint"):
        build(DOMAIN, discovery_url=KEYS)
    assert build(DOMAIN, jwks_uri=KEYS).jwks_uri == KEYS
    assert build(DOMAIN, jwks=ONE).jwks_at == NOW


def test_this_server_does_not_trust_itself() -> None:
    with pytest.raises(ConfigError, match="does not trust itself"):
        build(ISSUER)


@pytest.mark.parametrize("name", ["", "CI", "a b", "-a", "a/b", "a" * 65, "a\n"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ConfigError, match="name must be"):
        build(name=name)


def test_keys_come_from_one_place() -> None:
    for sources in ({"jwks": ONE, "jwks_uri": KEYS}, {"jwks_uri": KEYS, "discovery_url": KEYS}):
        with pytest.raises(ConfigError, match="give one of"):
            build(**sources)
        with pytest.raises(ConfigError, match="give one of"):
            trusts.change(build(), sources, now=NOW)


def test_private_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="jwks must be a JWK Set with public keys alone"):
        build(jwks={"keys": [keys.generate("ES256").to_jwk()]})


def test_a_new_source_of_keys_replaces_the_one_before() -> None:
    stored = build(jwks_uri=KEYS)
    uploaded = trusts.change(stored, {"jwks": ONE}, now=NOW + 5)
    assert (uploaded.jwks_uri, uploaded.jwks_at, json.loads(uploaded.jwks or "")) == (None, NOW + 5, ONE)
    assert trusts.change(uploaded, {"jwks": ONE, "replay": "reused"}, now=NOW + 9).jwks_at == NOW + 5
    assert trusts.change(uploaded, {"jwks": TWO}, now=NOW + 9).jwks_at == NOW + 9
    found = trusts.change(uploaded, {"discovery_url": KEYS}, now=NOW + 9)
    assert (found.jwks, found.jwks_at, found.discovery_url) == (None, None, KEYS)
    assert trusts.change(found, {"audiences": ["a"]}, now=NOW).discovery_url == KEYS


def test_an_authority_is_for_keys_that_are_fetched(ca: str) -> None:
    with pytest.raises(ConfigError, match="ca is for keys that are fetched"):
        build(ca=ca, jwks=ONE)
    stored = build(ca=ca)
    assert trusts.change(stored, {"jwks_uri": KEYS}, now=NOW).ca == ca
    assert trusts.change(stored, {"jwks": ONE}, now=NOW).ca is None
    assert trusts.change(stored, {"ca": ""}, now=NOW).ca is None


def test_a_private_key_beside_the_authority_is_refused() -> None:
    made = certificates.make_authority()
    for text in (made.pem + made.key_pem, made.key_pem + made.pem, made.key_pem):
        with pytest.raises(ConfigError, match="certificates alone") as refused:
            build(ca=text.decode())
        assert "MII" not in str(refused.value)


def test_every_trust_can_be_disabled() -> None:
    stored = replace(build(), issuer="of an older version")
    with pytest.raises(ConfigError):
        trusts.change(stored, {"replay": "reused"}, now=NOW)
    off = trusts.change(stored, {"enabled": False}, now=NOW)
    assert not off.enabled
    with pytest.raises(ConfigError):
        trusts.change(off, {"enabled": True}, now=NOW)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ({}, {}, False),
        ({}, {"discovery_url": f"{CI}/.well-known/openid-configuration"}, False),
        ({}, {"discovery_url": KEYS}, True),
        ({"jwks_uri": KEYS}, {"jwks_uri": KEYS}, False),
        ({"jwks_uri": KEYS}, {"jwks_uri": f"{KEYS}/2"}, True),
        ({"jwks": ONE}, {"jwks": ONE}, False),
        ({"jwks": ONE}, {"jwks": {"keys": [*TWO["keys"], *ONE["keys"]]}}, False),
        ({"jwks": ONE}, {"jwks": TWO}, True),
        ({"jwks": ONE}, {}, True),
    ],
)
def test_trusts_of_one_issuer_have_keys_of_their_own(one: Any, other: Any, *, apart: bool) -> None:
    stored, wanted = build(name="a", **one), build(name="b", **other)
    if not apart:
        for first, second in ((stored, wanted), (wanted, stored)):
            with pytest.raises(ConfigError, match="same issuer and the same keys"):
                trusts.check_apart(first, [second])
    else:
        trusts.check_apart(wanted, [stored, wanted])
    trusts.check_apart(replace(wanted, issuer="https://other.example"), [stored])


def test_number_of_trusts() -> None:
    others = [Trust(f"t{number}", f"https://{number}.example") for number in range(trusts.MAX_TRUSTS)]
    trusts.check_apart(others[3], others)
    with pytest.raises(ConfigError, match="256 trusts, the most"):
        trusts.check_apart(build(), others)


def test_a_trust_with_rules_is_not_removed() -> None:
    rules = [Rule(f"r{number}", "ci", "c") for number in range(5)]
    with pytest.raises(ConfigError, match=r"\(r0, r1, r2 and 2 more\)"):
        trusts.check_removable(build(), rules)
    trusts.check_removable(build(name="other"), rules)
