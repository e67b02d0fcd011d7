"""Mutual TLS between real processes: ended by the server itself, and forwarded by a proxy."""

import json
import os
import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.certificates import lasting
from tests.loopback import free_port
from tests.process import Server, guarded_api

from affiant import Guard, Service
from affiant.errors import LocalError, Refused, Unreachable
from affiant.jose import compact
from affiant.oauth.binding import mtls

AUTHORITY, OTHERS = lasting(dn="CN=authority", is_ca=True), lasting(dn="CN=others", is_ca=True)
SERVER = lasting(dn="CN=server", dns=("localhost",), ip=("127.0.0.1",), by=AUTHORITY)
BILLING = lasting(dn="CN=billing", dns=("billing.example",), by=AUTHORITY)
STRANGER = lasting(dn="CN=stranger", dns=("billing.example",), by=OTHERS)
ELSEWHO = lasting(dn="CN=elsewho", dns=("elsewho.example",), by=AUTHORITY)
SELF = lasting(dn="CN=self")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of all certificates; their authority is trusted by every process of these tests."""
    made = tmp_path_factory.mktemp("certificates")
    made_for = {"authority": AUTHORITY, "server": SERVER, "billing": BILLING}
    made_for |= {"stranger": STRANGER, "elsewho": ELSEWHO, "self": SELF}
    for name, certificate in made_for.items():
        certificate.write(made, name)
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(made / "authority.pem")
    yield made
    if before is None:
        del os.environ["SSL_CERT_FILE"]
    else:
        os.environ["SSL_CERT_FILE"] = before


@pytest.fixture(scope="module")
def tls_server(folder: Path) -> Iterator[Server]:
    """A server that ends TLS itself."""
    words = ("--tls-cert", "server.pem", "--tls-key", "server.key", "--tls-client-ca", "authority.pem")
    with Server(folder, workers=2, origin="https://127.0.0.1", options=words) as server:
        yield server


@pytest.fixture(scope="module")
def bound_api(tls_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API whose proxy is on this machine."""
    identifier = f"http://127.0.0.1:{free_port()}"
    tls_server.add_api(identifier, "--details-type", "order", name="live")
    folder = tmp_path_factory.mktemp("api")
    with guarded_api(folder, tls_server.issuer, identifier, "--no-proxy-headers", GUARD_PROXIES="127.0.0.1"):
        yield identifier


@pytest.fixture(scope="module")
def billing(tls_server: Server, bound_api: str) -> Path:
    """The credentials of a client that is known by its certificate."""
    words = ("--auth", "tls_client_auth", "--tls-san-dns", "billing.example")
    made = tls_server.affiant(
        "client", "new", "billing", *words, "--scope", "orders.read", "--resource", bound_api, "--details-type", "order"
    )
    assert made["tls_client_auth_san_dns"] == "billing.example"
    return tls_server.folder / "billing.affiant.json"


def service(file: Path, name: str, **options: Any) -> Service:
    folder = file.parent
    return Service.from_credentials(
        file, certificate=folder / f"{name}.pem", certificate_key=folder / f"{name}.key", **options
    )


def test_metadata_tell_of_it(tls_server: Server, billing: Path) -> None:
    members = service(billing, "billing").discover().raw
    assert members["issuer"] == tls_server.issuer
    assert members["tls_client_certificate_bound_access_tokens"] is True
    assert "tls_client_auth" in members["token_endpoint_auth_methods_supported"]
    assert members["authorization_details_types_supported"] == ["order"]


def test_client_authenticates_and_calls(billing: Path, bound_api: str) -> None:
    """The API takes the token with its certificate, and with no other."""
    token = service(billing, "billing").token().value
    assert compact.parse(token).claims["cnf"] == {"x5t#S256": BILLING.thumbprint}
    bearer = {"authorization": f"Bearer {token}"}
    reply = httpx2.get(f"{bound_api}/orders", headers={**bearer, "Client-Cert": BILLING.text})
    assert reply.json() == {"for": "billing"}
    for headers in (bearer, {**bearer, "Client-Cert": ELSEWHO.text}):
        reply = httpx2.get(f"{bound_api}/orders", headers=headers)
        assert (reply.status_code, reply.json()["detail"]["error"]) == (401, "invalid_token")


@pytest.fixture(scope="module")
def whole(tls_server: Server, billing: Path) -> str:
    """A credentials file that names the certificate."""
    members = json.loads(billing.read_text())
    paths = {
        name: str(tls_server.folder / f"billing.{end}")
        for name, end in (("certificate", "pem"), ("certificate_key", "key"))
    }
    file = tls_server.folder / "whole.json"
    file.write_text(json.dumps({**members, **paths}))
    file.chmod(0o600)
    return str(file)


class Looking(BaseHTTPRequestHandler):
    """An API that ends TLS itself, and answers whose certificate and whose token it saw."""

    def do_GET(self) -> None:
        shown = self.connection.getpeercert(binary_form=True)
        claims = compact.parse(self.headers["authorization"].removeprefix("Bearer ")).claims
        body = json.dumps([shown and mtls.parse(shown).thumbprint, claims["cnf"]["x5t#S256"]]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def looking(folder: Path) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "authority.pem"))
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.verify_mode = ssl.CERT_OPTIONAL
    with ThreadingHTTPServer(("127.0.0.1", 0), Looking) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def test_page_runs_as_it_is_there(
    tls_server: Server, billing: Path, bound_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy of the page is there, so that the API sees no certificate, and the token is bound to one."""
    page = Path(__file__).resolve().parents[2] / "docs/how-to/mtls.md"
    client, api = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(billing.parent)
    names: dict[str, Any] = {"Service": Service, "Guard": Guard, "httpx2": httpx2}
    exec(client.replace("https://orders.example", bound_api).replace("http.get", "reply = http.get"), names)
    assert names["reply"].status_code == 401
    exec(api.replace("https://as.example", tls_server.issuer), names)


def test_certificate_in_the_credentials_file(tls_server: Server, whole: str) -> None:
    """Then the commands need nothing more."""
    done = tls_server.affiant("token", "-c", whole, "--no-cache")
    assert compact.parse(done["access_token"]).claims["client_id"] == "billing"


@pytest.mark.parametrize("more", [(), ("--no-cache",)])
def test_call_shows_the_certificate_that_the_token_is_bound_to(
    tls_server: Server, whole: str, bound_api: str, looking: str, more: tuple[str, ...]
) -> None:
    told = tls_server.affiant("call", looking, "-c", whole, "--resource", bound_api, *more)
    assert json.loads(told["body"]) == [BILLING.thumbprint, BILLING.thumbprint]


def test_details_go_all_the_way(billing: Path) -> None:
    asking = service(billing, "billing")
    order = {"type": "order", "actions": ["read"], "identifier": "7"}
    token = asking.token(authorization_details=[order])
    assert compact.parse(token.value).claims["authorization_details"] == [order]
    assert asking.token(authorization_details=[order]).value == token.value
    assert asking.token().value != token.value
    with pytest.raises(Refused) as refused:
        asking.token(authorization_details=[{"type": "other"}])
    assert refused.value.error == "invalid_authorization_details"


def test_another_name_is_refused(billing: Path) -> None:
    with pytest.raises(Refused) as refused:
        service(billing, "elsewho").token()
    assert (refused.value.error, refused.value.status) == ("invalid_client", 401)


@pytest.mark.parametrize("name", ["stranger", "self"])
def test_certificate_of_no_authority_does_not_get_in(billing: Path, name: str) -> None:
    """TLS itself ends there."""
    with pytest.raises(Unreachable):
        service(billing, name).token()


def test_without_a_certificate_nothing_is_sent(billing: Path) -> None:
    with pytest.raises(LocalError, match="certificate="):
        Service.from_credentials(billing)
    with pytest.raises(LocalError, match="cannot be used"):
        Service.from_credentials(billing, certificate=billing).token()


def test_header_is_not_believed_from_a_client(tls_server: Server, billing: Path) -> None:
    """The server ends TLS itself and has no proxy: a header is what anybody writes."""
    form = {"grant_type": "client_credentials", "client_id": "billing"}
    context = ssl.create_default_context(cafile=str(tls_server.folder / "authority.pem"))
    with httpx2.Client(verify=context) as http:
        reply = http.post(f"{tls_server.issuer}/token", data=form, headers={"Client-Cert": BILLING.text})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


def test_bound_client_by_key(tls_server: Server, bound_api: str) -> None:
    words = ("--scope", "orders.read", "--resource", bound_api, "--certificate-bound", "required")
    tls_server.affiant("client", "new", "keyed", *words)
    file = tls_server.folder / "keyed.affiant.json"
    with pytest.raises(Refused) as refused:
        Service.from_credentials(file).token()
    assert refused.value.error == "invalid_request"
    assert "certificate.missing" in tls_server.run("explain", str(refused.value.trace_id), "--json").stdout
    token = service(file, "elsewho").token().value
    assert compact.parse(token).claims["cnf"] == {"x5t#S256": ELSEWHO.thumbprint}


def test_files_that_cannot_be_used_are_told_at_once(tls_server: Server, tmp_path: Path) -> None:
    wrong = ("--tls-cert", "server.pem", "--tls-key", "billing.key")
    done = tls_server.run("serve", "--data", str(tmp_path / "other"), *wrong)
    assert (done.returncode != 0, "--tls-key" in done.stderr) == (True, True)
    absent = ("--tls-cert", "absent.pem", "--tls-key", "server.key")
    done = tls_server.run("serve", "--data", str(tmp_path / "other"), *absent)
    assert "the file for TLS absent.pem cannot be read: No such file or directory" in done.stderr
    done = tls_server.run("serve", "--data", str(tmp_path / "other"), "--tls-cert", "server.pem")
    assert "must be set together" in done.stderr


@pytest.fixture(scope="module")
def proxied(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind a proxy on this machine, which lets in what no authority issued."""
    data = tmp_path_factory.mktemp("proxied")
    port = free_port()
    settings = (
        'trusted_proxies = "127.0.0.1"',
        'client_certificate_proxies = "127.0.0.1"',
        'client_certificate_trust = "any"',
        f'mtls_url = "http://localhost:{port}"',
    )
    (data / "affiant.toml").write_text("\n".join(settings) + "\n")
    with Server(data, port, workers=2) as server:
        server.add_api()
        words = ("--auth", "self_signed_tls_client_auth", "--certificate", str(folder / "self.pem"))
        server.affiant("client", "new", "alone", *words, "--scope", "orders.read")
        yield server


@pytest.mark.parametrize("forwarded", [None, "203.0.113.7"])
def test_proxy_tells_the_certificate(proxied: Server, forwarded: str | None) -> None:
    """Whomever it says that it forwards for, it is the proxy that speaks."""
    form = {"grant_type": "client_credentials", "client_id": "alone"}
    more = {"X-Forwarded-For": forwarded} if forwarded else {}

    def ask(text: str) -> httpx2.Response:
        return httpx2.post(f"{proxied.issuer}/token", data=form, headers={"Client-Cert": text, **more})

    reply = ask(SELF.text)
    claims = compact.parse(reply.json()["access_token"]).claims
    assert claims["cnf"] == {"x5t#S256": SELF.thumbprint}
    assert ask(lasting(dn="CN=self", key=SELF.key).text).status_code == 401
    assert ask("x").json()["error"] == "invalid_request"


@pytest.mark.rfc(8705, "5")
@pytest.mark.rfc(9449, "4.3")
def test_the_sdk_proves_its_key_at_the_alias(proxied: Server) -> None:
    """It asks where certificates are asked for, and its proof names that place."""
    asked: list[str] = []
    with httpx2.Client(
        headers={"Client-Cert": SELF.text},
        event_hooks={"request": [lambda request: asked.append(str(request.url))]},
    ) as http:
        alone = Service(proxied.issuer, "alone", auth_method="self_signed_tls_client_auth", http=http, dpop=True)
        claims = compact.parse(alone.token().value).claims
    assert asked[-1] == f"http://localhost:{proxied.port}/token"
    assert set(claims["cnf"]) == {"jkt", "x5t#S256"}


def test_address_out_of_a_header_is_no_proxy(tmp_path: Path) -> None:
    """A client whose forwarded address is that of the certificate proxy is still a client."""
    settings = ('trusted_proxies = "127.0.0.1"', 'client_certificate_proxies = "10.9.9.9"')
    (tmp_path / "affiant.toml").write_text("\n".join(settings) + "\n")
    with Server(tmp_path) as server:
        server.add_api()
        server.affiant("client", "new", "named", "--auth", "tls_client_auth", "--tls-san-dns", "billing.example")
        headers = {"Client-Cert": BILLING.text, "X-Forwarded-For": "10.9.9.9"}
        form = {"grant_type": "client_credentials", "client_id": "named"}
        reply = httpx2.post(f"{server.issuer}/token", data=form, headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
        told = server.run("explain", reply.headers["x-trace-id"], "--json").stdout
        assert "client.no_credentials" in told
