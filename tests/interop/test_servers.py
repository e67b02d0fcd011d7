"""Web servers, proxies and brokers that check our access tokens, as docs/how-to/interop.md configures them."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from tests.interop import envoy
from tests.interop.conftest import program
from tests.loopback import free_port, listens
from tests.process import Child, Launch, Server

pytestmark = pytest.mark.interop
ORDERS = "https://orders.example"
MODULES = Path("/usr/lib/apache2/modules")


def _ask(port: int, token: str | None) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.get(f"http://127.0.0.1:{port}/", headers=headers, timeout=20)


@pytest.fixture(scope="module")
def apis(plain: Server) -> dict[str, str]:
    """A client of two APIs, and its tokens: a good one, and one for the other API."""
    other = "https://other.example"
    plain.affiant("api", "new", "other", "--identifier", other, "--scope", "other.read")
    words = ("--scope", "orders.read", "--scope", "other.read", "--resource", ORDERS, "--resource", other)
    plain.affiant("client", "new", "two", *words)

    def token(resource: str, scope: str) -> str:
        text: str = plain.affiant("token", "-c", "two.affiant.json", "--resource", resource, "--scope", scope)[
            "access_token"
        ]
        return text

    return {"good": token(ORDERS, "orders.read"), "other": token(other, "other.read")}


def _apache(folder: Path, port: int, module: str, location: str) -> list[str]:
    loaded = ["mpm_event", "authz_core", "authn_core", "authz_user", "dir", module]
    lines = [
        f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in loaded if (MODULES / f"mod_{name}.so").exists()
    ]
    (folder / "htdocs").mkdir()
    (folder / "htdocs" / "index.html").write_text("ok")
    lines += [
        f"ServerRoot {folder}",
        "ServerName localhost",
        f"Listen 127.0.0.1:{port}",
        f"PidFile {folder}/pid",
        f"ErrorLog {folder}/error.log",
        f"DefaultRuntimeDir {folder}",
        f"DocumentRoot {folder}/htdocs",
        "User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        location,
    ]
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    (folder / "apache.conf").write_text("\n".join(lines) + "\n")
    return [program("apache2"), "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def test_apache_mod_oauth2(plain: Server, apis: dict[str, str], tmp_path: Path, start: Launch) -> None:
    if not (MODULES / "mod_oauth2.so").exists():
        pytest.skip("mod_oauth2 is not installed: apt-get install libapache2-mod-oauth2")
    port = free_port()
    location = f"""
        <Location />
            AuthType oauth2
            OAuth2TokenVerify jwks_uri {plain.issuer}/jwks
            AuthzSendForbiddenOnFailure On
            <RequireAll>
                Require oauth2_claim iss:{plain.issuer}
                Require oauth2_claim aud:{ORDERS}
                Require oauth2_claim scope:orders.read
            </RequireAll>
        </Location>"""
    start(port, *_apache(tmp_path, port, "oauth2", location))
    assert _ask(port, apis["good"]).status_code == 200
    assert _ask(port, apis["other"]).status_code == 403
    assert _ask(port, apis["good"][:-4] + "AAAA").status_code == 401
    assert _ask(port, None).status_code == 401


def test_apache_mod_auth_openidc(with_path: Server, authority: Path, tmp_path: Path, start: Launch) -> None:
    """It asks no JWK Set over http."""
    if not (MODULES / "mod_auth_openidc.so").exists():
        pytest.skip("mod_auth_openidc is not installed: apt-get install libapache2-mod-auth-openidc")
    with_path.affiant("client", "new", "openidc", "--scope", "orders.read")
    words = ("token", "-c", "openidc.affiant.json", "--scope", "orders.read")
    token = with_path.affiant(*words)["access_token"]
    port = free_port()
    location = f"""
        OIDCOAuthVerifyJwksUri {with_path.issuer}/jwks
        OIDCOAuthRemoteUserClaim sub
        OIDCCABundlePath {authority}/authority.pem
        <Location />
            AuthType oauth20
            <RequireAll>
                Require claim iss:{with_path.issuer}
                Require claim aud:{ORDERS}
            </RequireAll>
        </Location>"""
    for path in (authority, *authority.parents[:2]):
        path.chmod(0o755)
    start(port, *_apache(tmp_path, port, "auth_openidc", location))
    assert _ask(port, token).status_code == 200
    assert _ask(port, token[:-4] + "AAAA").status_code == 401
    assert _ask(port, None).status_code == 401


def test_haproxy(plain: Server, apis: dict[str, str], tmp_path: Path, start: Launch) -> None:
    """HAProxy reads no JWK Set: it is given the public key of the moment."""
    haproxy, port = program("haproxy"), free_port()
    (jwk,) = httpx2.get(f"{plain.issuer}/jwks").json()["keys"]
    key: Any = jwt.PyJWK(jwk)
    pem = key.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "as.pem").write_bytes(pem)
    (tmp_path / "haproxy.cfg").write_text(
        f"""
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend api
    bind 127.0.0.1:{port}
    http-request set-var(txn.token) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str ES256 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.typ') -m str at+jwt }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("ES256","{tmp_path}/as.pem") -m int 1 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str {plain.issuer} }}
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
    http-request deny deny_status 403 unless {{ var(txn.token),jwt_payload_query('$.aud') -m str {ORDERS} }}
    http-request return status 200
"""
    )
    start(port, haproxy, "-f", str(tmp_path / "haproxy.cfg"))
    assert _ask(port, apis["good"]).status_code == 200
    assert _ask(port, apis["other"]).status_code == 403
    assert _ask(port, apis["good"][:-4] + "AAAA").status_code == 401
    assert _ask(port, None).status_code == 401


def test_envoy_jwt_authn(plain: Server, apis: dict[str, str], tmp_path: Path, start: Launch) -> None:
    command, port = program("envoy"), free_port()
    manager = f"""
http_filters:
- name: envoy.filters.http.jwt_authn
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
    providers:
      affiant:
        issuer: {plain.issuer}
        audiences: ["{ORDERS}"]
        remote_jwks: {{http_uri: {{uri: "{plain.issuer}/jwks", cluster: as, timeout: 5s}}, cache_duration: 300s}}
    rules: [{{match: {{prefix: /}}, requires: {{provider_name: affiant}}}}]
- name: envoy.filters.http.router
  typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"""
    clusters = {"as": plain.port}
    arguments = envoy.configure(tmp_path, manager, port, route="direct_response: {status: 200}", **clusters)
    start(port, command, *arguments)
    assert _ask(port, apis["good"]).status_code == 200
    assert _ask(port, apis["other"]).status_code == 403
    assert _ask(port, apis["good"][:-4] + "AAAA").status_code == 401
    assert _ask(port, None).status_code == 401


def test_prometheus(plain: Server, tmp_path: Path, start: Launch) -> None:
    """Its scrape of a target brings our token."""
    prometheus, port, target = program("prometheus"), free_port(), free_port()
    plain.affiant("client", "new", "prometheus", "--auth", "client_secret_basic", "--scope", "orders.read")
    (tmp_path / "target.py").write_text(
        f"""
from http.server import BaseHTTPRequestHandler, HTTPServer

class Target(BaseHTTPRequestHandler):
    def do_GET(self):
        with open("seen", "a") as file:
            file.write(self.headers.get("authorization", "-") + chr(10))
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(b"up_here 1" + bytes([10]))

HTTPServer(("127.0.0.1", {target}), Target).serve_forever()
"""
    )
    oauth2 = {
        "client_id": "prometheus",
        "client_secret": plain.credentials("prometheus")["client_secret"],
        "token_url": f"{plain.issuer}/token",
        "scopes": ["orders.read"],
        "endpoint_params": {"resource": ORDERS},
    }
    job: dict[str, Any] = {"job_name": "orders", "scrape_interval": "1s", "oauth2": oauth2, "scrape_timeout": "1s"}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
    start(target, sys.executable, "target.py")
    words = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb")
    child = start(port, prometheus, *words, f"--web.listen-address=127.0.0.1:{port}")
    seen = tmp_path / "seen"
    child.until(lambda: seen.exists() and "Bearer eyJ" in seen.read_text())


def test_rabbitmq(with_path: Server, authority: Path, tmp_path: Path) -> None:
    rabbitmq = program("rabbitmq-server")
    with_path.affiant(
        *("api", "new", "rabbit", "--identifier", "urn:rabbitmq", "--scope", "urn:rabbitmq.read:*/*"),
        *("--scope", "urn:rabbitmq.configure:*/*", "--scope", "urn:rabbitmq.tag:administrator"),
    )
    scopes = ("--scope", "urn:rabbitmq.read:*/*", "--scope", "urn:rabbitmq.configure:*/*")
    with_path.affiant(
        "client",
        "new",
        "broker-job",
        *scopes,
        "--scope",
        "urn:rabbitmq.tag:administrator",
        "--resource",
        "urn:rabbitmq",
    )
    token = with_path.affiant("token", "-c", "broker-job.affiant.json", "--resource", "urn:rabbitmq")["access_token"]
    amqp, management, distribution = free_port(), free_port(), free_port()
    (tmp_path / "rabbitmq.conf").write_text(
        f"""
listeners.tcp.default = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
auth_backends.1 = rabbit_auth_backend_oauth2
auth_oauth2.resource_server_id = urn:rabbitmq
auth_oauth2.jwks_url = {with_path.issuer}/jwks
auth_oauth2.https.peer_verification = verify_peer
auth_oauth2.https.cacertfile = {authority}/authority.pem
"""
    )
    (tmp_path / "plugins").write_text("[rabbitmq_management,rabbitmq_auth_backend_oauth2].\n")
    for path in (tmp_path, *tmp_path.parents[:2], authority):
        path.chmod(0o755)
    environment = {
        "RABBITMQ_NODENAME": f"affiant{amqp}@localhost",
        "RABBITMQ_CONFIG_FILE": str(tmp_path / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "mnesia"),
        "RABBITMQ_LOG_BASE": str(tmp_path / "log"),
        "RABBITMQ_DIST_PORT": str(distribution),
        "HOME": str(tmp_path),
    }
    child = Child.start(tmp_path, rabbitmq, name="rabbitmq", **environment)
    try:
        end = time.monotonic() + 90
        while not listens(management):
            assert time.monotonic() < end, child.out + child.err
            assert child.process.poll() is None, child.out + child.err
            time.sleep(0.2)
        basic = base64.b64encode(f"any:{token}".encode()).decode()
        who = httpx2.get(f"http://127.0.0.1:{management}/api/whoami", headers={"Authorization": f"Basic {basic}"})
        assert who.status_code == 200, who.text
        assert who.json()["name"] == "broker-job"
        wrong = httpx2.get(f"http://127.0.0.1:{management}/api/whoami", headers={"Authorization": "Basic YW55OmV5Sg=="})
        assert wrong.status_code == 401
    finally:
        child.stop()
        subprocess.run(["pkill", "-f", f"affiant{amqp}@localhost"], check=False)


def test_dovecot(plain: Server, tmp_path: Path) -> None:
    """It validates locally, by PEM files named for alg and kid, and takes typ JWT alone."""
    dovecot, mail = program("dovecot"), "https://mail.example"
    plain.affiant("api", "new", "mail", "--identifier", mail, "--scope", "imap", "--token-typ", "JWT")
    plain.affiant("client", "new", "mailer", "--scope", "imap", "--resource", mail)
    token = plain.affiant("token", "-c", "mailer.affiant.json", "--resource", mail, "--scope", "imap")["access_token"]
    keys = tmp_path / "keys" / "default"
    for jwk in httpx2.get(f"{plain.issuer}/jwks").json()["keys"]:
        key: Any = jwt.PyJWK(jwk)
        pem = key.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (keys / jwk["alg"]).mkdir(parents=True, exist_ok=True)
        (keys / jwk["alg"] / jwk["kid"]).write_bytes(pem)
    (tmp_path / "oauth2.conf").write_text(
        f"""
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={tmp_path}/keys/
issuers = {plain.issuer}
username_attribute = sub
"""
    )
    (tmp_path / "dovecot.conf").write_text(
        f"""
base_dir = {tmp_path}/run
state_dir = {tmp_path}/state
log_path = {tmp_path}/log
ssl = no
protocols =
auth_mechanisms = oauthbearer
default_internal_user = root
default_login_user = nobody
first_valid_uid = 0
passdb {{
  driver = oauth2
  mechanisms = oauthbearer
  args = {tmp_path}/oauth2.conf
}}
userdb {{
  driver = static
  args = uid=0 gid=0 home=/tmp
}}
service auth {{
  unix_listener auth-client {{
    mode = 0600
  }}
}}
"""
    )
    child = Child.start(tmp_path, dovecot, "-F", "-c", str(tmp_path / "dovecot.conf"), name="dovecot")
    try:
        path = tmp_path / "run" / "auth-client"
        child.until(path.exists)
        assert _login(path, "mailer", token).startswith(b"OK\t1\tuser=mailer")
        assert not _login(path, "mailer", token[:-4] + "AAAA").startswith(b"OK")
    finally:
        child.stop()


def _login(path: Path, user: str, token: str) -> bytes:
    """What Dovecot answers over its authentication protocol."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        with connection.makefile("rwb") as lines:
            lines.write(b"VERSION\t1\t2\nCPID\t%d\n" % (os.getpid() + len(token)))
            lines.flush()
            while not lines.readline().startswith(b"DONE"):
                pass
            response = base64.b64encode(f"n,a={user},\x01auth=Bearer {token}\x01\x01".encode())
            lines.write(b"AUTH\t1\tOAUTHBEARER\tservice=imap\tresp=" + response + b"\n")
            lines.flush()
            return lines.readline()


def test_scitokens_cpp(with_path: Server, authority: Path) -> None:
    """It trusts the authorities of the system, so ours is put in their place for this process alone."""
    program("scitokens-test-access"), program("unshare")
    data = "https://cpp.example"
    with_path.affiant("api", "new", "cpp", "--identifier", data, "--scope", "read:/data")
    with_path.affiant("client", "new", "cpp", "--scope", "read:/data", "--resource", data)
    words = ("token", "-c", "cpp.affiant.json", "--resource", data, "--scope", "read:/data")
    token = with_path.affiant(*words)["access_token"]

    def may(audience: str, verb: str) -> bool:
        script = (
            f"mount --bind {authority}/authority.pem /etc/ssl/certs/ca-certificates.crt && exec scitokens-test-access"
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f'{script} "$@"', "sh", token, with_path.issuer, audience, verb, "/data"],
            env={**os.environ, "HOME": str(with_path.folder), "XDG_CACHE_HOME": str(with_path.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if "unshare failed" in done.stderr or "mount:" in done.stderr:
            pytest.skip("no mount namespace can be made here: scitokens-cpp cannot be given the authority")
        return done.returncode == 0

    assert may(data, "read")
    assert not may("https://other.example", "read")
    assert not may(data, "write")
