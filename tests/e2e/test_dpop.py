"""DPoP whole: a server of two workers that demands nonces, an API that demands its own, our client and a foreign one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests
from tests.e2e.test_node_clients import _run, node_project
from tests.loopback import free_port
from tests.process import Server, guarded_api

from affiant import Service
from affiant.client.credentials import file as credentials
from affiant.errors import Refused
from affiant.jose import compact, keys

__all__ = ["node_project"]  # a fixture
NONCE_KEY = "of this API, for tests"


@pytest.fixture(scope="module")
def bound_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Nonces are demanded; the workers share nothing but the data folder."""
    folder = tmp_path_factory.mktemp("bound")
    (folder / "affiant.toml").write_text('dpop_nonces = "on"\n')
    with Server(folder, workers=2) as server:
        server.add_api()
        yield server


@pytest.fixture(scope="module")
def bound_api(bound_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API of two workers that demands nonces too."""
    identifier = f"http://127.0.0.1:{free_port()}"
    bound_server.add_api(identifier, name="live")
    folder = tmp_path_factory.mktemp("api")
    with guarded_api(folder, bound_server.issuer, identifier, "--workers", "2", GUARD_NONCE_KEY=NONCE_KEY):
        yield identifier


@pytest.fixture(scope="module")
def file(bound_server: Server, bound_api: str) -> Path:
    """The credentials of a client whose tokens must be bound."""
    words = ("--scope", "orders.read", "--resource", bound_api, "--dpop", "required")
    assert bound_server.affiant("client", "new", "billing", *words)["dpop_bound_access_tokens"] is True
    return bound_server.folder / "billing.affiant.json"


def test_client_calls_the_api(bound_api: str, file: Path) -> None:
    """Nonces of both sides are learnt on the way; then every call goes through at once, at whichever worker."""
    service = Service.from_credentials(file, dpop=True)
    sent: list[int] = []
    hooks = {"response": [lambda response: sent.append(response.status_code)]}
    with httpx2.Client(auth=service.auth(), event_hooks=hooks) as http:
        replies = [http.get(f"{bound_api}/orders", params={"page": page}) for page in range(20)]
    assert [reply.json() for reply in replies] == [{"for": "billing"}] * 20
    assert sent == [401, *[200] * 20]
    assert service.token().token_type == "DPoP"


@pytest.mark.parametrize("library", ["httpx", "requests"])
def test_other_libraries_call_the_api(bound_api: str, file: Path, library: str) -> None:
    auth = Service.from_credentials(file, dpop=keys.generate("Ed25519")).auth()
    libraries: dict[str, Any] = {"httpx": httpx, "requests": requests}
    for _ in range(2):
        assert libraries[library].get(f"{bound_api}/orders", auth=auth).json() == {"for": "billing"}


async def test_async_client_calls_the_api(bound_api: str, file: Path) -> None:
    service = Service.from_credentials(file, dpop=True)
    async with httpx2.AsyncClient(auth=service.auth()) as http:
        assert [(await http.get(f"{bound_api}/orders")).status_code for _ in range(5)] == [200] * 5


def test_stolen_token_is_useless(bound_api: str, file: Path) -> None:
    """As a bearer, and with a proof of another key."""
    mine, thief = (Service.from_credentials(file, dpop=True) for _ in range(2))
    token = mine.token().value
    assert compact.parse(token).claims["cnf"]
    reply = httpx2.get(f"{bound_api}/orders", headers={"authorization": f"Bearer {token}"})
    assert (reply.status_code, reply.json()["detail"]["error"]) == (401, "invalid_token")
    assert "DPoP algs=" in reply.headers["www-authenticate"]
    thief._source._add(thief._key(None, None), 0.0).token = mine.token()
    challenges: list[str] = []
    hooks = {"response": [lambda response: challenges.append(response.headers.get("www-authenticate", ""))]}
    with httpx2.Client(auth=thief.auth(), event_hooks=hooks) as http:
        assert http.get(f"{bound_api}/orders").is_success
    assert [challenge.partition('error="')[2].partition('"')[0] for challenge in challenges] == [
        "use_dpop_nonce",
        "invalid_token",
        "",  # with a token of its own
    ]
    assert thief.token().value != token


def test_client_without_a_proof_gets_nothing(bound_server: Server, file: Path) -> None:
    with pytest.raises(Refused) as refused:
        Service.from_credentials(file).token()
    assert (refused.value.error, refused.value.status) == ("invalid_dpop_proof", 400)
    assert refused.value.trace_id
    assert "dpop.missing" in bound_server.run("explain", refused.value.trace_id, "--json").stdout


def test_command_calls_the_api(bound_server: Server, bound_api: str, file: Path) -> None:
    done = bound_server.affiant("call", f"{bound_api}/orders", "-c", str(file), "--dpop")
    assert done["status"] == 200
    assert "invalid_dpop_proof" in bound_server.run("call", f"{bound_api}/orders", "-c", str(file)).stderr


def test_command_changes_what_a_client_must(bound_server: Server, bound_api: str) -> None:
    bound_server.affiant("client", "new", "changing", "--scope", "orders.read", "--resource", bound_api)
    path = bound_server.folder / "changing.affiant.json"
    assert Service.from_credentials(credentials.read(path)).token().token_type == "Bearer"
    for policy, is_bound in (("required", True), ("optional", False)):
        bound_server.affiant("client", "update", "changing", "--dpop", policy)
        assert bound_server.affiant("client", "show", "changing")["dpop_bound_access_tokens"] is is_bound
    bound_server.affiant("client", "update", "changing", "--dpop", "required")
    bound_server.affiant("client", "update", "changing", "--scope", "orders.read")
    assert bound_server.affiant("client", "show", "changing")["dpop_bound_access_tokens"] is True


def test_node_client_calls_the_api(bound_api: str, file: Path, node_project: Path) -> None:
    """oauth4webapi learns both nonces, gets a bound token and uses it; as a bearer the same token is refused."""
    got = _run(node_project, "dpop", str(file), bound_api, "orders.read")
    assert (got["status"], got["body"], got["type"]) == (200, {"for": "billing"}, "dpop")
    assert (got["asked"], got["called"], got["stolen"]) == (2, 2, 401)
