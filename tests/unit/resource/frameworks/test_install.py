"""`guard.install(app)`: the metadata are served, every challenge has their URL, and the keys are fetched at the start."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.unit.resource.issuer import API, ISSUER, Issuer
from tests.unit.resource.listening import METADATA, ListeningIssuer, listening, until

from affiant.errors import ConfigError
from affiant.resource import Guard, ResourceMetadata

PLACE = "/.well-known/oauth-protected-resource"
APPS = pytest.mark.parametrize("make", [Starlette, FastAPI])


class Derived(FastAPI):
    """An application may have a class of its own."""


def _challenge(guard: Guard) -> str:
    found = guard.check_environ({})
    return str(getattr(found, "headers", {})["WWW-Authenticate"])


@pytest.mark.parametrize("make", [Starlette, FastAPI, Derived])
def test_metadata_that_a_challenge_names_are_served(make: Any) -> None:
    guard = Issuer().guard(metadata=ResourceMetadata(name="orders"))
    app = make()
    guard.install(app)
    reply = TestClient(app, base_url=API).get(PLACE)
    assert reply.json()["resource_name"] == "orders"
    assert f'resource_metadata="{API}{PLACE}"' in _challenge(guard)


@APPS
def test_metadata_are_minimal_without_any(make: Any) -> None:
    guard, app = Issuer().guard(), make()
    assert "resource_metadata" not in _challenge(guard)
    guard.install(app)
    document = TestClient(app).get(PLACE).json()
    assert (document["resource"], document["authorization_servers"]) == (API, [ISSUER])
    assert f'resource_metadata="{API}{PLACE}"' in _challenge(guard)


def test_audience_that_is_no_url_has_no_metadata() -> None:
    guard, app = Guard(ISSUER, audience="urn:orders"), Starlette()
    guard.install(app)
    assert TestClient(app).get(PLACE).status_code == 404
    assert "resource_metadata" not in _challenge(guard)


@pytest.mark.parametrize("root_path", ["", "/v1"])
def test_metadata_are_found_behind_a_proxy(root_path: str) -> None:
    """A server that has a root_path puts it in front of each path."""
    guard, app = Issuer().guard(), FastAPI()
    guard.install(app)
    client = TestClient(app, root_path=root_path)
    assert client.get(f"{root_path}{PLACE}").status_code == 200
    assert client.get(PLACE).status_code == 200


@pytest.fixture
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        yield issuer


@APPS
def test_keys_are_fetched_at_the_start(issuer: ListeningIssuer, make: Any) -> None:
    guard, app = issuer.guard(), make()
    guard.install(app)
    with TestClient(app):
        issuer.await_requests("/jwks", 1)
    assert issuer.count("/jwks") == 1


@APPS
def test_revocations_are_followed_from_the_start(issuer: ListeningIssuer, make: Any) -> None:
    issuer.metadata["revocations_uri"] = f"{issuer.url}/revocations"
    guard, app = issuer.guard(revocations="optional"), make()
    guard.install(app)
    with TestClient(app):
        issuer.await_requests("/revocations", 1)


@APPS
def test_application_starts_without_its_issuer(
    issuer: ListeningIssuer, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.statuses[METADATA] = 500
    guard, app = issuer.guard(), make()
    guard.install(app)
    with TestClient(app) as client:
        assert client.get("/").status_code == 404
        until(lambda: f"the keys of {issuer.url} cannot be fetched yet" in caplog.text)


@APPS
def test_lifespan_of_the_application_runs(make: Any) -> None:
    seen = list[str]()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[dict[str, int]]:
        seen.append("start")
        yield {"pool": 1}
        seen.append("end")

    app = make(lifespan=lifespan)
    Issuer().guard(revocations="off").install(app)
    with TestClient(app) as client:
        assert client.app_state == {"pool": 1}
    assert seen == ["start", "end"]


@pytest.mark.parametrize("app", [object(), lambda: None])
def test_other_application_is_an_error(app: object) -> None:
    with pytest.raises(ConfigError, match="aiohttp, fastapi, flask, litestar, starlette"):
        Issuer().guard().install(app)
