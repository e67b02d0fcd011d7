import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.server.registration import metadata
from affiant.server.registration.metadata import Metadata, parse
from affiant.server.registry.kinds import VISIBLE

KEY = keys.generate("ES256").public()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _refused(members: dict[str, Any]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse(members)
    return caught.value


def test_no_member_is_no_value() -> None:
    assert parse({}) == Metadata()


def test_each_member_is_read() -> None:
    read = parse(
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "grant_types": ["client_credentials", "refresh_token", "client_credentials"],
            "scope": "write read write",
            "jwks": {"keys": [KEY.to_jwk()]},
            "client_name": "Billing Ü",
            "client_uri": "https://billing.example:8443/a?b=c#d",
            "contacts": ["ops@billing.example"],
            "software_id": "b",
            "software_version": "1",
            "dpop_bound_access_tokens": True,
            "tls_client_certificate_bound_access_tokens": True,
            "authorization_details_types": ["payment"],
            "roles": ["admin"],
        }
    )
    assert read == Metadata(
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "grant_types": ("client_credentials", "refresh_token"),
            "scope": ("write", "read"),
            "client_name": "Billing Ü",
            "dpop_bound_access_tokens": True,
            "tls_client_certificate_bound_access_tokens": True,
            "authorization_details_types": ("payment",),
        },
        {
            "client_uri": "https://billing.example:8443/a?b=c#d",
            "contacts": ("ops@billing.example",),
            "software_id": "b",
            "software_version": "1",
        },
        jwks=(KEY,),
    )


@pytest.mark.parametrize("name", sorted(metadata.MEMBERS))
@pytest.mark.parametrize("value", [1, 1.5, {}, {"a": 1}, [1], [None], "", "\0", [[]]])
def test_a_member_of_another_kind_is_refused(name: str, value: object) -> None:
    if name == metadata.STATEMENT and isinstance(value, str):
        return  # verified before, by its issuer's key
    assert _refused({name: value}).reason.value.status == 400


@pytest.mark.parametrize("name", sorted(metadata.MEMBERS))
@pytest.mark.parametrize("value", [None, []])
def test_null_and_an_empty_array_are_absent(name: str, value: object) -> None:
    assert parse({name: value}) == Metadata()


@pytest.mark.parametrize("text", ["a", "é" * 200, "Ünïcode 漢字", "a b", "<b>", "😀"])
def test_text_that_can_be_seen(text: str) -> None:
    assert VISIBLE.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "a" * 201,
            "\x00",
            "\t",
            "\x7f",
            "\x85",
            "\u200b",
            "\u200e",
            "\u202e",
            "\u2066",
            "\ufeff",
            "\u2029",
            "\ud800",
        ],
        *["\ue000", "\U000e0041", "\u0378"],
    ],
)
def test_text_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        VISIBLE.parse(text)


def test_a_certificate_has_one_name() -> None:
    method, dns = {"token_endpoint_auth_method": "tls_client_auth"}, {"tls_client_auth_san_dns": "a.example"}
    assert parse({**method, **dns}).values["tls_subject"] == ("tls_client_auth_san_dns", "a.example")
    two = {**method, **dns, "tls_client_auth_san_ip": "192.0.2.1"}
    assert _refused(two).reason is Reason.REGISTRATION_METADATA
    assert _refused({**method, "tls_client_auth_san_dns": "*.example"}).reason is Reason.REGISTRATION_METADATA


@pytest.mark.rfc(7517, "4.5")
@pytest.mark.parametrize("kids", [(None, None), ("a", None), ("a", "a")])
def test_keys_need_no_kid_of_their_own(kids: tuple[str | None, ...]) -> None:
    """A kid is OPTIONAL, and several keys may have one: each that fits is tried."""
    sent = [{**keys.generate("ES256").public().to_jwk(), "kid": kid} for kid in kids]
    read = parse({"jwks": {"keys": sent}})
    assert [key.kid for key in read.jwks] == [kid or key.thumbprint for kid, key in zip(kids, read.jwks, strict=True)]
    assert read.left_out == ()


def test_keys_that_are_left_out_are_named() -> None:
    read = parse({"jwks": {"keys": [{"kty": "XYZ", "kid": "e"}, KEY.to_jwk()]}})
    assert read.jwks == (KEY,)
    assert list(map(str, read.left_out)) == ['key 1 ("e") of the JWK Set: kty must be RSA, EC, OKP or AKP']


def test_one_key_needs_no_name() -> None:
    sent = {name: value for name, value in KEY.to_jwk().items() if name != "kid"}
    assert parse({"jwks": {"keys": [sent]}}).jwks[0].kid == KEY.thumbprint


@pytest.mark.parametrize("name", ["registration_access_token", "client_id_issued_at", "client_secret_expires_at"])
def test_a_replacement_has_nothing_that_the_server_says(name: str) -> None:
    metadata.check_replacement({"client_id": "c1"}, "c1")
    with pytest.raises(Rejected):
        metadata.check_replacement({"client_id": "c1", name: None}, "c1")


def test_a_client_cannot_choose_its_secret() -> None:
    metadata.check_new({})
    with pytest.raises(Rejected):
        metadata.check_new({"client_secret": "s" * 64})


@given(st.dictionaries(st.sampled_from(sorted(metadata.MEMBERS)), JSON, max_size=4))
def test_any_json_is_read_or_rejected(members: dict[str, Any]) -> None:
    members.pop(metadata.STATEMENT, None)
    try:
        read = parse(members)
    except Rejected as refusal:
        assert refusal.reason.value.status == 400
    else:
        assert json.dumps(read.software)
