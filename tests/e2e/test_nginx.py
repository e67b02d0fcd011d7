"""A real nginx that ends TLS, before the server and before an API: the certificate that it forwards, and no other."""

import contextlib
import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.certificates import Made, lasting
from tests.loopback import free_port
from tests.process import Child, Server, guarded_api

from affiant.jose import compact

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")

AUTHORITY = lasting(dn="CN=authority", is_ca=True)
SERVER = lasting(dn="CN=server", dns=("localhost",), ip=("127.0.0.1",), by=AUTHORITY)
BILLING_NAME = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "GB"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ex, Inc"),
        x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "PSDGB-FCA-123456"),
        x509.NameAttribute(NameOID.COMMON_NAME, "Billing"),
    ]
)
BILLING = lasting(dn=BILLING_NAME, by=AUTHORITY)
OTHER = lasting(dn="CN=other", by=AUTHORITY)
STRANGER = lasting(dn=BILLING_NAME, by=lasting(dn="CN=others", is_ca=True))
# As openssl x509 -subject prints it.
REGISTERED = 'C = GB, O = "Ex, Inc", organizationIdentifier = PSDGB-FCA-123456, CN = billing'

# What docs/how-to/mtls.md shows, twice.
CONFIGURATION = """
{user}daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/authority.pem;
    ssl_verify_client optional;
    proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
    server {{ listen 127.0.0.1:{as_port} ssl; location / {{ proxy_pass {authorization_server}; }} }}
    server {{ listen 127.0.0.1:{api_port} ssl; location / {{ proxy_pass {api}; }} }}
}}
"""


class Fronted(NamedTuple):
    """The addresses at which nginx listens, and the folder of the certificates."""

    server: Server
    token: str
    api: str
    folder: Path

    def client(self, certificate: Made | None, name: str = "client") -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.folder / "authority.pem"))
        if certificate is not None:
            context.load_cert_chain(*certificate.write(self.folder, name))
        return httpx2.Client(verify=context)

    def ask(self, certificate: Made | None, **headers: str) -> httpx2.Response:
        with self.client(certificate) as http:
            form = {"grant_type": "client_credentials", "client_id": "billing"}
            return http.post(self.token, data=form, headers=headers)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronted]:
    folder = tmp_path_factory.mktemp("fronted")
    for name, made in {"authority": AUTHORITY, "server": SERVER}.items():
        made.write(folder, name)
    settings = ('client_certificate_proxies = "127.0.0.1"', 'client_certificate_header = "nginx"')
    (folder / "affiant.toml").write_text("\n".join(settings) + "\n")
    ports = (free_port(), free_port())
    identifier = f"https://127.0.0.1:{ports[1]}"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(folder))
        server.add_api(identifier)
        words = ("--auth", "tls_client_auth", "--tls-subject-dn", REGISTERED)
        server.affiant("client", "new", "billing", *words, "--scope", "orders.read")
        environment = {"GUARD_PROXIES": "127.0.0.1", "GUARD_CERTIFICATE_HEADER": "nginx"}
        port = free_port()
        api = guarded_api(folder, server.issuer, identifier, "--no-proxy-headers", port=port, **environment)
        stack.enter_context(api)
        nginx = stack.enter_context(start_nginx(folder, server.issuer, f"http://127.0.0.1:{port}", ports))
        nginx.until(lambda: is_open(folder, ports[0]))
        yield Fronted(server, f"https://127.0.0.1:{ports[0]}/token", f"{identifier}/orders", folder)


def start_nginx(folder: Path, authorization_server: str, api: str, ports: tuple[int, int]) -> Child:
    user = "user root;\n" if os.getuid() == 0 else ""  # the folders of a test are its user's alone
    text = CONFIGURATION.format(
        user=user,
        folder=folder,
        authorization_server=authorization_server,
        api=api,
        as_port=ports[0],
        api_port=ports[1],
    )
    (folder / "nginx.conf").write_text(text)
    return Child.start(folder, str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), name="nginx")


def is_open(folder: Path, port: int) -> bool:
    try:
        context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
        return httpx2.get(f"https://127.0.0.1:{port}/health", verify=context, timeout=5).is_success
    except httpx2.TransportError:
        return False


def test_client_is_known_by_the_certificate_that_nginx_forwards(fronted: Fronted) -> None:
    """And so at the API, whose guard reads the same header."""
    token = fronted.ask(BILLING).json()["access_token"]
    assert compact.parse(token).claims["cnf"] == {"x5t#S256": BILLING.thumbprint}
    bearer = {"authorization": f"Bearer {token}"}
    with fronted.client(BILLING) as http:
        assert http.get(fronted.api, headers=bearer).json() == {"for": "billing"}
    forged = {"ssl-client-cert": escaped(BILLING), "client-cert": BILLING.text}
    for certificate, more in ((OTHER, {}), (None, {}), (OTHER, forged), (None, forged)):
        with fronted.client(certificate) as http:
            assert http.get(fronted.api, headers={**bearer, **more}).status_code == 401


def escaped(made: Made) -> str:
    return quote(made.certificate.public_bytes(Encoding.PEM).decode(), safe="")


@pytest.mark.rfc(9700, "4.13")
@pytest.mark.parametrize("shown", [None, OTHER], ids=["none", "another"])
@pytest.mark.parametrize(
    "name", ["ssl-client-cert", "SSL-Client-Cert", "ssl_client_cert", "client-cert", "x-forwarded-client-cert"]
)
def test_header_of_the_client_is_not_forwarded(fronted: Fronted, name: str, shown: Made | None) -> None:
    reply = fronted.ask(shown, **{name: escaped(BILLING)})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


def test_certificate_of_no_authority_does_not_get_through(fronted: Fronted) -> None:
    assert fronted.ask(STRANGER).status_code == 400


def test_explain_shows_the_registered_name_and_the_one_that_came(fronted: Fronted) -> None:
    reply = fronted.ask(OTHER)
    told = fronted.server.run("explain", reply.headers["x-trace-id"]).stdout
    assert "tls_client_auth_subject_dn CN=billing,organizationIdentifier=PSDGB-FCA-123456,O=Ex\\, Inc,C=GB" in told
    assert "tls_client_auth_subject_dn CN=other" in told
    assert "CN=" not in reply.text
