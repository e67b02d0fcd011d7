"""The application of docs/how-to/fastapi.md under uvicorn: what comes over the wire, and what happens at its start."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.loopback import free_port
from tests.process import Child
from tests.unit.resource.listening import ListeningIssuer, listening
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "fastapi.md"
LIVE = """

from fastapi import WebSocket

@app.websocket("/live")
async def live(socket: WebSocket, caller: Annotated[Caller, guard("orders.read")]) -> None:
    await socket.accept()
    await socket.send_text(caller.client_id)
"""
PLACE = "/.well-known/oauth-protected-resource"


@pytest.fixture(scope="module")
def issuer() -> Iterator[ListeningIssuer]:
    with listening() as issuer:
        issuer.now = time.time()
        yield issuer


@pytest.fixture(scope="module")
def api(issuer: ListeningIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("orders"), free_port()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE))
    url = f"http://127.0.0.1:{port}"
    written = code.replace("https://as.example", issuer.url).replace("https://orders.example", url)
    (folder / "orders.py").write_text(written + LIVE, "utf-8")
    command = (sys.executable, "-m", "uvicorn", "orders:app", "--app-dir", str(folder), "--port", str(port))
    with Child.start(folder, *command) as child:
        child.until_listening(port)
        yield url


def _bearer(issuer: ListeningIssuer, url: str, scope: str = "orders.read") -> dict[str, str]:
    return {"Authorization": issuer.token(aud=url, scope=scope).decode()}


def test_keys_are_fetched_before_the_first_request(issuer: ListeningIssuer, api: str) -> None:
    issuer.await_requests("/jwks", 1)
    fetched = issuer.count("/jwks")
    assert httpx2.get(f"{api}/orders", headers=_bearer(issuer, api)).json() == {"orders of": "c"}
    assert issuer.count("/jwks") == fetched


def test_refusal_names_metadata_that_are_served(issuer: ListeningIssuer, api: str) -> None:
    refused = httpx2.get(f"{api}/orders")
    assert (refused.status_code, set(refused.json())) == (401, {"error_description"})
    challenge = refused.headers["WWW-Authenticate"]
    assert 'scope="orders.read"' in challenge
    named = re.search(r'resource_metadata="([^"]+)"', challenge)
    assert named is not None
    document = httpx2.get(named[1]).json()
    assert (document["resource"], document["authorization_servers"]) == (api, [issuer.url])
    assert httpx2.get(f"{api}/orders", headers=_bearer(issuer, api, "x")).json()["error"] == "insufficient_scope"


def test_openapi_has_scopes_and_refusals(api: str) -> None:
    operation = httpx2.get(f"{api}/openapi.json").json()["paths"]["/orders"]["get"]
    assert list(operation["security"][0].values()) == [["orders.read"]]
    assert set(operation["responses"]) == {"200", "401", "403", "503"}


def test_websocket_is_refused_with_its_challenge(issuer: ListeningIssuer, api: str) -> None:
    address = f"{api.replace('http', 'ws')}/live"
    with connect(address, additional_headers=_bearer(issuer, api)) as socket:
        assert socket.recv() == "c"
    for headers, status in (({}, 401), (_bearer(issuer, api, "x"), 403)):
        with pytest.raises(InvalidStatus) as denied, connect(address, additional_headers=headers):
            pass
        answer = denied.value.response
        assert answer.status_code == status
        assert "Bearer " in answer.headers["WWW-Authenticate"]
        assert "error_description" in json.loads(answer.body or b"{}")


@pytest.mark.parametrize("target", ["//orders", "/orders%2F", "/./orders", "/admin/../orders"])
def test_spelling_of_a_path_is_no_way_in(api: str, target: str) -> None:
    """The dependency is part of the route, whatever path led there."""
    assert httpx2.get(f"{api}{target}", follow_redirects=True).status_code in (401, 404)
