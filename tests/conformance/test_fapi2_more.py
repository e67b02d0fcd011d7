"""Modules of the suite's other FAPI 2.0 plans that fit a server for client_credentials.

Where a module speaks to the endpoint for pushed authorization requests, which is not here, its assertion goes to the token
endpoint: FAPI 2.0 holds both to the same rules (section 5.3.2.1 items 6, 8, 9 and 13).
"""

import time
from typing import Any

import pytest
from tests.conformance.suite import ABSENT, Client, Prover, check_error
from tests.process import Server

NO_CLIENT = ("invalid_client", "invalid_request")


def test_par_test_array_as_audience_fails(client: Client, prover: Prover) -> None:
    """The issuer as a string, and in no array."""
    for aud in ([client.issuer], [client.issuer, f"{client.issuer}/token"]):
        check_error(client.ask(prover, client_assertion=client.assertion(aud=aud)), *NO_CLIENT)


def test_par_test_token_endpoint_url_as_audience_fails(client: Client, prover: Prover) -> None:
    check_error(client.ask(prover, client_assertion=client.assertion(aud=f"{client.issuer}/token")), *NO_CLIENT)


def test_par_test_par_endpoint_url_as_audience_fails(client: Client, prover: Prover) -> None:
    check_error(client.ask(prover, client_assertion=client.assertion(aud=f"{client.issuer}/par")), *NO_CLIENT)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted(
    client: Client, prover: Prover, claim: str
) -> None:
    """Clocks differ: 0 to 10 s ahead MUST be taken."""
    times: dict[str, Any] = {claim: int(time.time()) + 8}
    ahead = client.assertion(**times)
    assert client.ask(prover, client_assertion=ahead).status_code == 200


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_par_ensure_jwt_client_assertions_nbf_over_60_seconds_in_the_future_fails(
    client: Client, prover: Prover, claim: str
) -> None:
    """More than 60 s ahead MUST be refused."""
    now = int(time.time())
    times: dict[str, Any] = {claim: now + 65, "exp": now + 120}
    ahead = client.assertion(**times)
    check_error(client.ask(prover, client_assertion=ahead), *NO_CLIENT)


def test_refresh_token(client: Client, client2: Client, prover: Prover) -> None:
    """Without client authentication, and by another client, it is refused; by its own it is good, and stays so."""
    first = client2.ask(prover).json()
    use = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    nothing = {"client_assertion": ABSENT, "client_assertion_type": ABSENT, "client_id": client2.client_id}
    check_error(client2.ask(prover, **use, **nothing), *NO_CLIENT)
    check_error(client.ask(prover, **use), "invalid_grant", "unauthorized_client")
    for _ in range(2):
        reply = client2.ask(prover, **use)
        assert reply.status_code == 200, reply.text
        assert "refresh_token" not in reply.json()  # no rotation (item 9): the client keeps what it has
        assert client2.call(reply.json()["access_token"], prover=prover).status_code == 200
    check_error(client2.ask(None, **use), "invalid_dpop_proof", "invalid_request")


def test_secrets_cannot_be_registered(fapi_server: Server, client: Client) -> None:
    """Nor can the guide's clients, nor a key that could only sign otherwise, nor a server that signs with RS256 start."""
    for words in (("--auth", "client_secret_basic"), ("--profile", "guide"), ("--alg", "RS256"), ("--alg", "ES384")):
        done = fapi_server.run("client", "new", "refused", *words, AFFIANT_FAPI="on")
        assert done.returncode != 0
    assert "refused" not in fapi_server.run("client", "list").stdout
    assert fapi_server.run("client", "update", "first", "--profile", "fapi").returncode == 0
    done = fapi_server.run("serve", "--port", "0", "--data", "other", "--signing-alg", "RS256", AFFIANT_FAPI="on")
    assert done.returncode != 0
    assert "PS256" in done.stderr
