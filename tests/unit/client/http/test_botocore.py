"""botocore: a client of a service that takes bearer tokens, here one with the interface of API Gateway's management."""

import io
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import httpx2
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.unit.client.conftest import Answer, Foreign, token_answer

from affiant import Service
from affiant.client import NoTls, WrongOrigin
from affiant.errors import LocalError
from affiant.jose.keys import PrivateKey

PATH = "/@connections/c1"
INVALID = Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
CANARY = "canary-token-77de"


@pytest.fixture
def service(foreign: Foreign, api: Foreign, key: PrivateKey, http: httpx2.Client) -> Service:
    api.default[PATH] = Answer(200, {})
    return Service(foreign.url, "billing", key=key, http=http)


def _client(url: str, auth: Any) -> Any:
    config = Config(signature_version=UNSIGNED, proxies={})
    made = boto3.client("apigatewaymanagementapi", endpoint_url=url, region_name="eu-central-1", config=config)
    return auth.botocore(made)


def _status(client: Any, data: Any = b"order") -> int:
    try:
        done = client.post_to_connection(ConnectionId="c1", Data=data)
    except ClientError as error:
        done = error.response
    status: int = done["ResponseMetadata"]["HTTPStatusCode"]
    return status


def _tokens(api: Foreign) -> list[str | None]:
    return [request.headers.get("authorization") for request in api.sent(PATH)]


def test_token_is_sent_and_cached(api: Foreign, foreign: Foreign, service: Service) -> None:
    client = _client(api.url, service.auth(api.url))
    assert [_status(client), _status(client)] == [200, 200]
    assert _tokens(api) == ["Bearer token-1"] * 2
    assert len(foreign.sent("/token")) == 1


def test_refused_token_is_renewed_once(api: Foreign, service: Service) -> None:
    api.script[PATH] = [INVALID]
    assert _status(_client(api.url, service.auth(api.url))) == 200
    assert _tokens(api) == ["Bearer token-1", "Bearer token-2"]
    assert [request.body for request in api.sent(PATH)] == [b"order", b"order"]


@pytest.mark.attack(275)
def test_second_refusal_is_the_callers(api: Foreign, foreign: Foreign, service: Service) -> None:
    api.default[PATH] = INVALID
    client = _client(api.url, service.auth(api.url))
    assert [_status(client), _status(client)] == [401, 401]
    assert len(_tokens(api)) == 3
    assert len(foreign.sent("/token")) == 2


def test_stream_is_not_sent_twice(api: Foreign, service: Service) -> None:
    api.default[PATH] = INVALID
    assert _status(_client(api.url, service.auth(api.url)), io.BytesIO(b"order")) == 401
    assert len(_tokens(api)) == 1


def test_retries_of_botocore_have_the_token(api: Foreign, service: Service) -> None:
    """It repeats a request by itself when the server fails."""
    api.script[PATH] = [Answer(500, {}), INVALID]
    assert _status(_client(api.url, service.auth(api.url))) == 200
    assert _tokens(api) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_token_goes_to_no_other_origin(api: Foreign, service: Service) -> None:
    for resource, error in (("https://orders.example", WrongOrigin), ("urn:orders", LocalError)):
        with pytest.raises(error):
            _status(_client(api.url, service.auth(resource)))
    with pytest.raises(NoTls):
        _status(_client("http://orders.internal", service.auth("http://orders.internal")))
    assert not api.requests


def test_threads_share_a_client_and_a_token(api: Foreign, foreign: Foreign, service: Service) -> None:
    foreign.delay = 0.1
    client = _client(api.url, service.auth(api.url))
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda _: _status(client), range(20))) == [200] * 20
    assert len(foreign.sent("/token")) == 1


@pytest.mark.attack(278)
def test_debug_logs_have_no_token(
    api: Foreign, foreign: Foreign, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Botocore logs the headers of a request, so the token is added after that."""
    caplog.set_level(logging.DEBUG)
    foreign.script["/token"] = [token_answer(CANARY)]
    api.script[PATH] = [INVALID]
    assert _status(_client(api.url, service.auth(api.url))) == 200
    assert _tokens(api)[0] == f"Bearer {CANARY}"
    assert "Sending http request" in caplog.text
    assert CANARY not in caplog.text
