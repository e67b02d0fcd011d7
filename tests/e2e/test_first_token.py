"""The road over real HTTP, walked by other people's clients."""

import datetime
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.process import Server

from affiant import Guard, Service, testing
from affiant.resource import GuardMiddleware


def _new(server: Server, name: str, *words: str) -> dict[str, Any]:
    server.affiant("client", "new", name, "--scope", "orders.read", *words)
    return server.credentials(name)


def _signed(server: Server, name: str) -> str:
    _new(server, name)
    return server.assertion(name)


def _call(server: Server, token: str) -> int:
    async def orders(_: Request) -> JSONResponse:
        return JSONResponse({"orders": 3})

    api = GuardMiddleware(
        Starlette(routes=[Route("/orders", orders)]),
        Guard(server.issuer, audience="https://orders.example"),
        need=["orders.read"],
    )
    with TestClient(api) as client:
        return client.get("/orders", headers={"Authorization": f"Bearer {token}"}).status_code


def _guide_form(server: Server, client_id: str, client_secret: str) -> dict[str, str]:
    """The guide's snippet, as published."""
    payload = {
        "iss": client_id,
        "sub": "unique_request",
        "aud": server.issuer,
        "exp": datetime.datetime.utcnow() + datetime.timedelta(minutes=5),  # type: ignore[deprecated]  # noqa: DTZ003 - as published
    }
    token = jwt.encode(payload, client_secret, algorithm="HS256")
    return {
        "grant_type": "client_credentials",
        "assertion": token,
        "client_id": client_id,
        "client_secret": client_secret,
    }


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
def test_guide_as_published(server: Server) -> None:
    """The guide's Python and its curl get a token with the guide profile, and the API takes it."""
    secret = _new(server, "guided", "--profile", "guide")["client_secret"]
    form = _guide_form(server, "guided", secret)
    reply = server.token(**form)
    assert reply.status_code == 200, reply.text
    assert reply.headers["deprecation"]
    assert _call(server, reply.json()["access_token"]) == 200
    if shutil.which("curl"):
        curl = ["curl", "-s", "-X", "POST", f"{server.issuer}/token", "-d", urlencode(form)]
        assert b"access_token" in subprocess.run(curl, capture_output=True, check=True).stdout


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
@pytest.mark.attack(39)
def test_guide_without_profile_is_told(server: Server) -> None:
    """Any other client that sends the guide's request is refused, with the right parameters in the answer."""
    secret = _new(server, "plain", "--auth", "client_secret_jwt")["client_secret"]
    for client_id, client_secret in (("plain", secret), ("nobody", "x" * 43)):
        reply = server.token(**_guide_form(server, client_id, client_secret))
        assert reply.status_code == 400
        assert reply.json()["error"] == "invalid_request"
        assert reply.json()["error_uri"].endswith("request.assertion_in_wrong_parameter")
        assert "client_assertion_type" in reply.json()["error_description"]


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow")
def test_guide_wrong_mac_is_refused(server: Server) -> None:
    """The right secret does not make up for a wrong assertion."""
    secret = _new(server, "guided2", "--profile", "guide")["client_secret"]
    form = _guide_form(server, "guided2", secret)
    form["assertion"] = jwt.encode({"iss": "guided2", "sub": "x", "aud": server.issuer, "exp": 1}, "y" * 43)
    assert server.token(**form).status_code == 400


def test_authlib_private_key_jwt(server: Server) -> None:
    """Authlib's client, given the issuer as its audience and an end within 300 s (its own is an hour), gets a token."""
    found = _new(server, "authlib")
    key = ECKey.import_key(found["key"])
    make: Any = OAuth2Session
    with make("authlib", key, token_endpoint_auth_method="private_key_jwt", scope="orders.read") as session:
        session.register_client_auth_method(
            PrivateKeyJWT(server.issuer, alg="ES256", claims={"exp": int(time.time()) + 60})
        )
        got = session.fetch_token(f"{server.issuer}/token", grant_type="client_credentials")
    assert _call(server, got["access_token"]) == 200


def test_pyjwt_by_hand(server: Server) -> None:
    """An assertion made by hand with PyJWT, without kid or typ of ours, gets a token."""
    found = _new(server, "byhand")
    now = int(time.time())
    claims = {"iss": "byhand", "sub": "byhand", "aud": server.issuer, "exp": now + 60, "jti": "1"}
    key: Any = ECAlgorithm(ECAlgorithm.SHA256).from_jwk(found["key"])
    assert server.token(**testing.form(jwt.encode(claims, key, "ES256"))).status_code == 200


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_every_secret_method(server: Server, method: str) -> None:
    """Our client gets a token by each method that it can be registered for."""
    _new(server, method, "--auth", method)
    service = Service.from_credentials(server.folder / f"{method}.affiant.json")
    assert _call(server, service.token().value) == 200


@pytest.mark.attack(131)
def test_fifty_copies_one_token(server: Server) -> None:
    """One assertion posted 50 times at once to two workers: one token."""
    form = testing.form(_signed(server, "racer"))
    with ThreadPoolExecutor(50) as pool:
        statuses = [reply.status_code for reply in pool.map(lambda _: server.token(**form), range(50))]
    assert sorted(statuses) == [200] + [401] * 49


@pytest.mark.attack(133)
def test_same_jti_of_two_clients(server: Server) -> None:
    """A jti belongs to its client: another's use of the same one is no replay."""
    first, second = _new(server, "twin1"), _new(server, "twin2")
    for found in (first, second):
        assert server.token(**testing.form(server.assertion(found["client_id"], jti="same"))).status_code == 200


@pytest.mark.attack(138)
def test_stranger_cannot_burn_a_jti(server: Server) -> None:
    """A bad signature with a jti leaves the jti to its owner."""
    found = _new(server, "owner")
    good = server.assertion(found["client_id"], jti="mine")
    head, claims, signature = good.split(".")
    bad = f"{head}.{claims}.{'A' * (len(signature) - 2)}AA"
    assert server.token(**testing.form(bad)).status_code == 401
    assert server.token(**testing.form(good)).status_code == 200


def test_disabled_client_is_refused_within_a_second(server: Server) -> None:
    """Both workers see that a client was disabled."""
    found = _new(server, "fired")
    server.affiant("client", "disable", "fired")
    time.sleep(0.2)  # the promise is 1 s
    for _ in range(10):
        assert server.token(**testing.form(server.assertion(found["client_id"]))).status_code == 401


def test_refresh(server: Server) -> None:
    """A refresh token comes only where it was registered, and a repeated use gives the same successor."""
    found = _new(server, "fresh", "--grant", "client_credentials", "--grant", "refresh_token")
    first = server.token(**testing.form(server.assertion(found["client_id"]))).json()["refresh_token"]
    refresh = {"grant_type": "refresh_token", "refresh_token": first}
    replies = [server.token(**testing.form(server.assertion(found["client_id"]), **refresh)).json() for _ in range(2)]
    assert replies[0]["refresh_token"] == replies[1]["refresh_token"] != first
    assert replies[0]["access_token"] != replies[1]["access_token"]
    assert "refresh_token" not in server.token(**testing.form(_signed(server, "stale"))).json()


def test_killed_between_two_tokens(lone_server: Server) -> None:
    """After kill -9 the old assertion is still refused, and the old token still verifies."""
    found = _new(lone_server, "survivor")
    used = testing.form(lone_server.assertion(found["client_id"]))
    token = lone_server.token(**used).json()["access_token"]
    lone_server.kill()
    lone_server.start()
    assert lone_server.token(**used).status_code == 401
    assert _call(lone_server, token) == 200
    assert lone_server.token(**testing.form(lone_server.assertion(found["client_id"]))).status_code == 200
