"""`affiant doctor`: each fault is found by the check that is for it, and the finding says what to do."""

import contextlib
import json
import re
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import authority
from tests.loopback import free_port
from tests.process import Server, run
from tests.unit.client.conftest import Answer, Foreign, foreign, key, metadata_answer

from affiant.jose.keys import PrivateKey

__all__ = ["foreign", "key"]
Examine = Callable[..., dict[str, dict[str, str]]]
DISCOVERY = "/.well-known/oauth-authorization-server"
CANARY = "canary-Zk3_9sX0qVtYw7LmN2pR5uB8cD1eF4gH6iJ0kAo"
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "doctor.md").read_text("utf-8")


@pytest.fixture
def members(foreign: Foreign, key: PrivateKey) -> dict[str, Any]:
    who = {"affiant": 1, "issuer": foreign.url, "client_id": "billing", "auth_method": "private_key_jwt"}
    return {**who, "key": key.to_jwk(), "scope": "orders.read"}


@pytest.fixture
def examine(tmp_path: Path, members: dict[str, Any]) -> Examine:
    """Run the doctor, and return what is not good, by name."""
    path = tmp_path / "billing.json"
    path.touch(0o600)

    def doctor(*words: str, **environment: str) -> dict[str, dict[str, str]]:
        path.write_text(json.dumps(members))
        done = run(tmp_path, "doctor", "-c", str(path), *words, "--json", **environment)
        secret = str(members.get("key", {}).get("d") or members.get("client_secret"))
        assert secret not in done.stdout + done.stderr
        data = json.loads(done.stdout)["data"]
        wrong = {found["name"]: found for found in data["findings"] if found["state"] != "good"}
        assert data["is_well"] is not any(found["state"] == "bad" for found in data["findings"])
        assert done.returncode == (0 if data["is_well"] else 1)
        assert all(found["fix"] for found in wrong.values())
        return wrong

    return doctor


@pytest.fixture
def tls_server() -> Iterator[int]:
    """A port where TLS begins, with a certificate that ends in less than six days, and nothing follows."""
    listening = socket.create_server(("127.0.0.1", 0))
    context = authority().serve("localhost", days=6)

    def serve() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:  # the end of the test
                return
            with contextlib.suppress(OSError), connection, context.wrap_socket(connection, server_side=True):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


def test_healthy_client(server: Server, api: str) -> None:
    """All is good at a real server and a guarded API, and the list has a line for each check."""
    server.affiant("client", "new", "healthy", "--scope", "orders.read", "--resource", api)
    done = server.run("doctor", "-c", "healthy.affiant.json", "--api", f"{api}/orders")
    assert (done.returncode, done.stderr) == (0, "")
    names = re.findall(r"^ \u2713 (\w+) ", done.stdout, re.MULTILINE)
    assert names == [
        "credentials",
        "key",
        "name",
        "tls",
        "discovery",
        "clock",
        "metadata",
        "token",
        "scope",
        "api",
        "call",
    ]
    assert len(names) == done.stdout.count("\n")
    assert server.credentials("healthy")["key"]["d"] not in done.stdout


def test_page_line_by_line(server: Server, api: str) -> None:
    server.affiant("client", "new", "billing", "--scope", "orders.read", "--resource", api)
    lines = re.findall(r"^affiant (doctor .*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        done = server.run(*shlex.split(line.replace("https://orders.example", api)))
        assert (done.returncode, done.stderr) == (0, "")


def test_key_of_another_client(examine: Examine, foreign: Foreign, key: PrivateKey) -> None:
    """The server says invalid_client alone; the finding has the thumbprint to compare."""
    foreign.default["/token"] = Answer(401, {"error": "invalid_client"})
    wrong = examine()
    assert set(wrong) == {"token"}
    assert key.public().thumbprint in wrong["token"]["fix"]
    assert "affiant client show billing" in wrong["token"]["fix"]


def test_refusal_that_says_why_has_the_fix_of_its_reason(examine: Examine, foreign: Foreign) -> None:
    uri = "https://as.example/errors/assertion.expired"
    foreign.default["/token"] = Answer(401, {"error": "invalid_client", "error_uri": uri})
    assert examine()["token"]["fix"].startswith("Compare the clocks of both machines")


def test_metadata_of_another_issuer(examine: Examine, foreign: Foreign) -> None:
    foreign.default[DISCOVERY] = metadata_answer("https://as.example")
    wrong = examine()
    assert set(wrong) == {"discovery"}
    assert "of another issuer: 'https://as.example'" in wrong["discovery"]["text"]
    assert wrong["discovery"]["fix"].startswith('correct "issuer"')
    assert wrong["discovery"]["fix"].endswith(f"curl -v {foreign.url}{DISCOVERY}")


def test_method_and_algorithm_that_the_server_lacks(examine: Examine, foreign: Foreign) -> None:
    foreign.default[DISCOVERY] = metadata_answer(
        foreign.url,
        token_endpoint_auth_methods_supported=["client_secret_basic"],
        scopes_supported=["other"],
    )
    wrong = examine()
    assert set(wrong) == {"metadata"}
    foreign.default[DISCOVERY] = metadata_answer(
        foreign.url, token_endpoint_auth_signing_alg_values_supported=["RS256", "PS256"]
    )
    assert "RS256, PS256" in examine()["metadata"]["fix"]


@pytest.mark.parametrize(("seconds", "state"), [(-20, "warning"), (3600, "bad"), (-3600, "bad")])
def test_clock(examine: Examine, foreign: Foreign, seconds: int, state: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    foreign.default[DISCOVERY] = Answer(200, metadata_answer(foreign.url).members, {"Date": date})
    found = examine()["clock"]
    assert found["state"] == state
    assert ("behind" if seconds > 0 else "ahead of") in found["text"]


def test_less_scope_than_asked(examine: Examine, foreign: Foreign) -> None:
    wrong = examine("--scope", "orders.read orders.write")
    assert wrong == {}
    token = {"access_token": CANARY, "token_type": "Bearer", "expires_in": 60, "scope": "orders.read"}
    foreign.default["/token"] = Answer(200, token)
    found = examine("--scope", "orders.read orders.write")["scope"]
    assert (found["state"], found["text"]) == ("warning", "orders.write was asked for and not granted")


def test_credentials(members: dict[str, Any], examine: Examine, tmp_path: Path) -> None:
    absent = examine("-c", "absent.json")
    assert (set(absent), absent["credentials"]["fix"][:11]) == ({"credentials"}, "affiant who")
    (tmp_path / "billing.json").chmod(0o644)
    assert "chmod 600" in examine()["credentials"]["text"]
    (tmp_path / "billing.json").chmod(0o600)
    members["profle"], members["x" * 23 + CANARY] = "smart", ""
    assert "profle, xxx" in examine()["credentials"]["text"]
    assert CANARY not in str(examine())
    del members["profle"], members["x" * 23 + CANARY]
    members["issuer"] = f"http://127.0.0.1:{free_port()}"
    assert set(examine()) == {"discovery"}
    members["key"] = {**members["key"], "d": CANARY}
    assert set(examine()) == {"key"}


def test_proxy_is_named_without_its_password(examine: Examine, members: dict[str, Any]) -> None:
    members["issuer"] = "https://as.example"
    proxy = f"http://me:{CANARY}@127.0.0.1:{free_port()}"
    wrong = examine(HTTPS_PROXY=proxy, NO_PROXY="")
    assert set(wrong) == {"discovery"}
    assert "NO_PROXY=as.example" in wrong["discovery"]["text"]
    assert CANARY not in str(wrong)


@pytest.mark.parametrize("issuer", ["https://[::1", "https://as.example:99999", "as.example", "", "http://as.example"])
def test_impossible_issuer(examine: Examine, members: dict[str, Any], issuer: str) -> None:
    """Nothing is asked for."""
    members["issuer"] = issuer
    assert set(examine()) == {"credentials"}


def test_name_that_is_not_known(examine: Examine, members: dict[str, Any]) -> None:
    members["issuer"] = "https://as.invalid"
    wrong = examine(NO_PROXY="*")
    assert {"name", "tls", "discovery"} == set(wrong)
    assert wrong["name"]["fix"] == "getent hosts as.invalid"


def test_certificate_of_the_server(tls_server: int, examine: Examine, members: dict[str, Any], tmp_path: Path) -> None:
    """One of an authority that is not known here; and one that ends soon."""
    members["issuer"] = f"https://localhost:{tls_server}"
    assert "not trusted here" in examine(NO_PROXY="*")["tls"]["text"]
    trusted, _ = authority().write(tmp_path, "authority")
    found = examine(NO_PROXY="*", SSL_CERT_FILE=str(trusted))["tls"]
    assert (found["state"], "for 5 days" in found["text"]) == ("warning", True)


def test_api(examine: Examine, foreign: Foreign) -> None:
    """A route without a guard; an API that trusts another server, or has another name; one that refuses the token."""
    foreign.default["/open"] = Answer(200, {})
    assert set(examine("--api", f"{foreign.url}/open")) == {"api"}
    place = f"{foreign.url}/.well-known/oauth-protected-resource"
    challenge = {"WWW-Authenticate": f'Bearer resource_metadata="{place}"'}
    foreign.default["/orders"] = Answer(401, {}, challenge)
    published = {"resource": foreign.url, "authorization_servers": ["https://as.example"]}
    foreign.default["/.well-known/oauth-protected-resource"] = Answer(200, published)
    wrong = examine("--api", f"{foreign.url}/orders")
    assert set(wrong) == {"resource", "call"}
    assert f"it trusts https://as.example, and not {foreign.url}" in wrong["resource"]["text"]
    assert "affiant verify" in wrong["call"]["fix"]
    published["authorization_servers"] = [foreign.url]
    wrong = examine("--api", f"{foreign.url}/orders", "--resource", "https://orders.example")
    assert wrong["resource"]["fix"] == f"ask for its token: --resource {foreign.url}"
    published["resource"] = "https://orders.example/$(reboot)"  # the API chose it, and someone pastes it
    wrong = examine("--api", f"{foreign.url}/orders", "--resource", "https://orders.example")
    assert wrong["resource"]["fix"] == "ask for its token: --resource 'https://orders.example/$(reboot)'"
    foreign.default["/orders"] = Answer(401, {}, {"WWW-Authenticate": 'Bearer resource_metadata="http://10.0.0.1/x"'})
    assert "at another origin" in examine("--api", f"{foreign.url}/orders")["resource"]["text"]
    foreign.default["/orders"] = Answer(401, {}, {"WWW-Authenticate": 'Bearer resource_metadata="http://[::1"'})
    assert "at another origin" in examine("--api", f"{foreign.url}/orders")["resource"]["text"]
    for url in ("http://[::1", "https://api.example:99999", "ftp://api.example", "api.example", ""):
        assert set(examine("--api", url)) == {"api"}
    gone = examine("--api", f"http://127.0.0.1:{free_port()}/orders")
    assert set(gone) == {"api"}
