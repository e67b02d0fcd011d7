"""The OpenID conformance suite's modules for FAPI 2.0 with client_credentials, private_key_jwt and DPoP.

Ported from the descriptions of the suite; each test has the name of its module without the common beginning
`fapi2-security-profile-final-`. The suite's own conditions that every refusal must meet are in `check_error`.
"""

import time
from typing import Any

import httpx2
import pytest
from tests.conformance.suite import ABSENT, Client, Prover, check_error

NO_CLIENT = ("invalid_client", "invalid_request")
FAPI_ALGS = {"PS256", "ES256", "Ed25519", "EdDSA"}


def test_discovery_end_point_verification(client: Client) -> None:
    """The metadata are of this issuer and list what the profile allows, and nothing else."""
    document = httpx2.get(f"{client.issuer}/.well-known/oauth-authorization-server").json()
    assert document["issuer"] == client.issuer
    assert "client_credentials" in document["grant_types_supported"]
    assert "private_key_jwt" in document["token_endpoint_auth_methods_supported"]
    for endpoint in ("token", "introspection", "revocation"):
        assert document[f"{endpoint}_endpoint"].startswith(client.issuer)
        methods = document[f"{endpoint}_endpoint_auth_methods_supported"]
        assert set(methods) <= {"private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}
        assert set(document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]) == FAPI_ALGS
    assert set(document["dpop_signing_alg_values_supported"]) == FAPI_ALGS
    keys = httpx2.get(document["jwks_uri"]).json()["keys"]
    assert {key["alg"] for key in keys} <= FAPI_ALGS
    assert not any({"d", "p", "q", "k"} & set(key) for key in keys)


def test_happy_flow(client: Client, client2: Client) -> None:
    """Both clients get a token that is bound to their key, and the API takes it."""
    for each in (client, client2):
        prover = Prover.new()
        reply = each.call(each.token(prover), prover=prover)
        assert (reply.status_code, reply.json()) == (200, {"for": each.client_id})


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP", "dPoP"])
def test_access_token_type_header_case_sensitivity(client: Client, prover: Prover, scheme: str) -> None:
    """RFC 9110 section 11.1: the API takes the scheme in any case."""
    assert client.call(client.token(prover), prover=prover, scheme=scheme).status_code == 200


def test_check_dpop_proof_nbf_exp(client: Client, prover: Prover) -> None:
    """A proof may have nbf and exp: at the token endpoint, and at the API."""
    now = int(time.time())
    times: dict[str, Any] = {"nbf": now - 10, "exp": now + 60}
    reply = client.ask(prover, proof=prover.proof("POST", f"{client.issuer}/token", **times))
    assert reply.status_code == 200, reply.text
    assert client.call(reply.json()["access_token"], prover=prover, **times).status_code == 200


def _iat(client: Client, prover: Prover, seconds: int) -> None:
    iat = int(time.time()) + seconds
    reply = client.ask(prover, proof=prover.proof("POST", f"{client.issuer}/token", iat=iat))
    assert reply.status_code == 200, reply.text
    assert client.call(reply.json()["access_token"], prover=prover, iat=iat).status_code == 200


def test_ensure_dpopproof_with_iat_10seconds_before_succeeds(client: Client, prover: Prover) -> None:
    _iat(client, prover, -10)


def test_ensure_dpopproof_with_iat_10seconds_after_succeeds(client: Client, prover: Prover) -> None:
    _iat(client, prover, 10)


def test_ensure_client_id_in_token_endpoint(client: Client, client2: Client, prover: Prover) -> None:
    """The second client's name, signed with the first one's key; and the names of both in one request."""
    forged = client2.assertion(signed_by=client.key)
    reply = client2.ask(prover, client_id=client2.client_id, client_assertion=forged)
    check_error(reply, "invalid_client", "invalid_grant")
    for named, other in ((client, client2), (client2, client)):
        reply = other.ask(prover, client_id=named.client_id)
        check_error(reply, "invalid_client", "invalid_grant")
        mixed = other.assertion(sub=named.client_id)
        check_error(other.ask(prover, client_assertion=mixed), "invalid_client", "invalid_grant")


def test_ensure_holder_of_key_required(client: Client, prover: Prover) -> None:
    """Without a proof there is no token, and the assertion is not used up by that.

    The module looks at TLS as well: versions and cipher suites (BCP 195). They are those of whatever ends TLS in front of
    this server, so that half is not for here.
    """
    assertion = client.assertion()
    check_error(client.ask(None, client_assertion=assertion), "invalid_dpop_proof", "invalid_request")
    assert client.ask(prover, client_assertion=assertion).status_code == 200


def test_ensure_signed_client_assertion_with_rs256_fails(client: Client, prover: Prover) -> None:
    """RS256 with the right key, where PS256 is registered."""
    check_error(client.ask(prover, client_assertion=client.assertion(alg="RS256")), "invalid_client")


def test_ensure_client_assertion_in_token_endpoint(client: Client, prover: Prover) -> None:
    """No assertion, although the client is named."""
    nothing = {"client_assertion": ABSENT, "client_assertion_type": ABSENT}
    check_error(client.ask(prover, client_id=client.client_id, **nothing), *NO_CLIENT)


def test_ensure_client_assertion_with_exp_is_5_minutes_in_past_fails(client: Client, prover: Prover) -> None:
    now = int(time.time())
    # The suite changes exp alone. Made 10 s before it ends, nothing but its end is wrong with it.
    for times in ({"exp": now - 300}, {"exp": now - 300, "iat": now - 310}, {"exp": now - 300, "iat": ABSENT}):
        late = client.assertion(**times)
        check_error(client.ask(prover, client_assertion=late), *NO_CLIENT)


def test_ensure_client_assertion_with_wrong_aud_fails(client: Client, prover: Prover) -> None:
    """It was made for another server."""
    port = int(client.issuer.rpartition(":")[2])
    for aud in ("https://other.example", f"http://127.0.0.1:{port + 1}", f"{client.issuer}/other", ABSENT, None, ""):
        elsewhere = client.assertion(aud=aud)
        check_error(client.ask(prover, client_assertion=elsewhere), *NO_CLIENT)


def test_ensure_client_assertion_with_no_sub_fails(client: Client, prover: Prover) -> None:
    """Otherwise whatever else a client signs, such as a request object, would authenticate it."""
    for sub in (ABSENT, None, "", [client.client_id]):
        assertion = client.assertion(sub=sub)
        check_error(client.ask(prover, client_assertion=assertion), *NO_CLIENT)


def _header(**changes: Any) -> dict[str, Any]:
    return {"header": changes}


PROOFS: dict[str, dict[str, Any]] = {
    "typ missing": _header(typ=ABSENT),
    "typ JWT": _header(typ="JWT"),
    "typ of a client assertion": _header(typ="client-authentication+jwt"),
    "alg none": {"alg": "none"},
    "alg HS256": {"alg": "HS256", "signed_by": b"x" * 32},
    "alg HS256, key oct": {"alg": "HS256", "signed_by": b"x" * 32, **_header(jwk={"kty": "oct", "k": "eHh4eA"})},
    "jwk missing": _header(jwk=ABSENT),
    "jwk text": _header(jwk="key"),
    "jwk empty": _header(jwk={}),
    "jwk of another key": _header(jwk=Prover.new().jwk),
    "jti missing": {"jti": ABSENT},
    "jti empty": {"jti": ""},
    "jti number": {"jti": 7},
    "htm missing": {"htm": ABSENT},
    "htm POST": {"htm": "POST"},
    "htm lower case": {"htm": "get"},
    "htu missing": {"htu": ABSENT},
    "htu of another host": {"htu": "https://evil.example/orders"},
    "htu not a URL": {"htu": "orders"},
    "iat missing": {"iat": ABSENT},
    "iat text": {"iat": "now"},
    "iat an hour ago": {"iat": int(time.time()) - 3600},
    "iat in an hour": {"iat": int(time.time()) + 3600},
    "ath missing": {"ath": ABSENT},
    "ath wrong": {"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"},
    "ath empty": {"ath": ""},
}


def _refused(reply: httpx2.Response, *errors: str) -> None:
    assert reply.status_code == 401, reply.text
    challenge = reply.headers["www-authenticate"]
    assert any(f'error="{error}"' in challenge for error in errors), challenge


@pytest.mark.parametrize("changes", PROOFS.values(), ids=PROOFS)
def test_dpop_negative_tests(client: Client, prover: Prover, changes: dict[str, Any]) -> None:
    """Blocks 1 to 26: a proof with one fault, at the API; then the same token with a good proof."""
    token = client.token(prover)
    _refused(client.call(token, prover=prover, **changes), "invalid_dpop_proof")
    assert client.call(token, prover=prover).status_code == 200


ELSEWHERE = ["/other", "/orders/", "/orders/x", "/ORDERS", "/", "", "/orders%2F", "/x/orders"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_dpop_negative_tests_htu_of_another_path(client: Client, prover: Prover, path: str) -> None:
    """At the same API, so that nothing but the path is another."""
    token = client.token(prover)
    _refused(client.call(token, prover=prover, htu=f"{client.api}{path}"), "invalid_dpop_proof")
    assert client.call(token, prover=prover, htu=f"{client.api}/orders").status_code == 200


def test_dpop_negative_tests_htu_of_another_origin(client: Client, prover: Prover) -> None:
    """Another scheme, another port, another name of the same host: each alone."""
    token = client.token(prover)
    host, port = client.api.removeprefix("http://").split(":")
    for origin in (
        f"https://{host}:{port}",
        f"http://{host}:{int(port) + 1}",
        f"http://{host}",
        f"http://localhost:{port}",
    ):
        _refused(client.call(token, prover=prover, htu=f"{origin}/orders"), "invalid_dpop_proof")


@pytest.mark.parametrize("htu", ["{}/orders?a=b", "{}/orders#c", "{}/x/../orders", "{}/%6Frders"])
def test_dpop_htu_is_compared_without_what_does_not_count(client: Client, prover: Prover, htu: str) -> None:
    """RFC 9449 section 4.3: query and fragment are passed over, and URLs are brought into one form first."""
    token = client.token(prover)
    assert client.call(token, prover=prover, htu=htu.format(client.api)).status_code == 200
    upper = htu.format(client.api.replace("http:", "HTTP:"))
    assert client.call(token, prover=prover, htu=upper).status_code == 200


def test_dpop_negative_tests_private_jwk(client: Client, prover: Prover) -> None:
    """Block 28: the private key in the header."""
    _refused(client.call(client.token(prover), prover=prover, **_header(jwk=prover.private_jwk)), "invalid_dpop_proof")


def test_dpop_negative_tests_bad_signature(client: Client, prover: Prover) -> None:
    """Block 29: signed by another key than the one in the header."""
    token = client.token(prover)
    _refused(client.call(token, prover=prover, signed_by=Prover.new().key), "invalid_dpop_proof")


def test_dpop_negative_tests_reuse(client: Client, prover: Prover) -> None:
    """Block 30: the same proof a second time."""
    token = client.token(prover)
    proof = prover.proof("GET", f"{client.api}/orders", token=token)
    assert client.call(token, proof).status_code == 200
    _refused(client.call(token, proof), "invalid_dpop_proof")
    jti = "the same in two proofs"
    assert client.call(token, prover=prover, jti=jti).status_code == 200
    _refused(client.call(token, prover=prover, jti=jti, iat=int(time.time()) - 1), "invalid_dpop_proof")


def test_dpop_negative_tests_of_another_token(client: Client, prover: Prover) -> None:
    """The proof that was made for one token of the client goes with no other."""
    first, second = client.token(prover), client.token(prover)
    proof = prover.proof("GET", f"{client.api}/orders", token=first)
    _refused(client.call(second, proof), "invalid_dpop_proof")
    assert client.call(first, proof).status_code == 200


def test_dpop_negative_tests_another_key(client: Client, prover: Prover) -> None:
    """Block 31: a proof that is right in itself, by another key than the token is bound to."""
    _refused(client.call(client.token(prover), prover=Prover.new()), "invalid_token", "invalid_dpop_proof")


def test_dpop_negative_tests_several_headers(client: Client, prover: Prover) -> None:
    """Block 32: two proofs, and none."""
    token = client.token(prover)
    url = f"{client.api}/orders"
    both = [prover.proof("GET", url, token=token) for _ in range(2)]
    _refused(client.call(token, *both), "invalid_dpop_proof")
    _refused(client.call(token), "invalid_dpop_proof", "invalid_token")


def test_dpop_negative_tests_bearer_downgrade(client: Client, prover: Prover) -> None:
    """The bound token as a bearer token, with and without its proof."""
    token = client.token(prover)
    proof = prover.proof("GET", f"{client.api}/orders", token=token)
    _refused(client.call(token, proof, scheme="Bearer"), "invalid_token")
    _refused(client.call(token, scheme="Bearer"), "invalid_token")
