#!/usr/bin/env bash
# Glewlwyd refuses a client assertion for its issuer with 403 and an empty body
#
# Guess:   aud may be the issuer, as FAPI 2.0 demands, or a list that has the token endpoint (RFC 7519 section 4.1.3). A
#          refusal is 400 or 401 with a JSON object whose error is invalid_client (RFC 6749 section 5.2).
# Version: Debian's glewlwyd 2.7.5-3+deb12u1
# Seen:    only the token endpoint as one string is taken. The issuer, and a list of that one string, are 403 without a
#          body, as if a proxy had refused; Glewlwyd's log has the reason, "invalid jwt assertion content".
# So:      take aud from token_endpoint of the metadata, and count an empty 403 of a token endpoint as invalid_client.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
debian_with glewlwyd=2.7.5-3+deb12u1 glewlwyd-common=2.7.5-3+deb12u1 libhoel1.4 libiddawc1.1 liboath0 liborcania2.3 \
    librhonabwy1.1 libulfius2.7 libyder2.0 libmicrohttpd12 libconfig9 libcbor0.8 libjansson4 libmariadb3 libpq5 \
    libldap-2.5-0 libcurl3-gnutls librtmp1 libssh2-1 libnghttp2-14 libpsl5 libbrotli1 libsasl2-2
python_with pyjwt==2.15.1 cryptography==50.0.0 requests==2.34.2

cat > seen.py <<'PY'
import gzip, json, os, socket, sqlite3, subprocess, time, uuid
from pathlib import Path

import jwt, requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa

here = Path.cwd()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
BASE = f"http://127.0.0.1:{port}"
ISSUER = f"{BASE}/issuer"


def write_configuration():
    schema = here / "root/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz"
    with sqlite3.connect("glewlwyd.sqlite") as database:
        database.executescript(gzip.decompress(schema.read_bytes()).decode())
    modules = {"user": "user", "client": "client", "user_auth_scheme": "scheme", "plugin": "plugin"}
    texts = {
        "external_url": BASE, "api_prefix": "api", "log_mode": "console", "log_level": "WARNING", "session_key": "S",
        "admin_scope": "g_admin", "profile_scope": "g_profile", "hash_algorithm": "SHA512",
        **{f"{name}_module_path": f"{here}/root/usr/lib/glewlwyd/{folder}" for name, folder in modules.items()},
    }
    lines = [f"port={port}", *(f'{name}="{text}"' for name, text in texts.items())]
    lines.append(f'database = {{ type = "sqlite3" path = "{here}/glewlwyd.sqlite" }};')
    Path("glewlwyd.conf").write_text("\n".join(lines) + "\n")


def register(public):
    own = jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    own |= {"kid": "server", "alg": "RS256"}
    parameters = {
        "iss": ISSUER, "jwt-type": "rsa", "jwt-key-size": "256", "jwks-private": json.dumps({"keys": [own]}),
        "default-kid": "server", "access-token-duration": 600, "refresh-token-duration": 600, "code-duration": 60,
        "allow-non-oidc": True, "auth-type-client-enabled": True, "request-parameter-allow": True,
        "request-maximum-exp": 3600, "client-pubkey-parameter": "pubkey", "client-jwks-parameter": "jwks",
        "client-jwks_uri-parameter": "jwks_uri",
        **{f"auth-type-{one}-enabled": False for one in "code token implicit none password refresh device".split()},
    }
    plugin = {"module": "oidc", "name": "oidc", "display_name": "oidc", "parameters": parameters, "order_rank": 0}
    scope = {"name": "read", "display_name": "read", "password_required": False, "scheme": {}}
    client = {
        "client_id": "billing", "name": "billing", "confidential": True, "enabled": True, "scope": ["read"],
        "authorization_type": ["client_credentials"], "token_endpoint_auth_method": ["private_key_jwt"],
        "jwks": {"keys": [public]},
    }
    with requests.Session() as admin:
        admin.trust_env = False
        admin.post(f"{BASE}/api/auth/", json={"username": "admin", "password": "password"}).raise_for_status()
        for path, body in (("mod/plugin", plugin), ("scope", scope), ("client", client)):
            admin.post(f"{BASE}/api/{path}/", json=body).raise_for_status()


def ask(key, endpoint, audience):
    now = int(time.time())
    claims = {"iss": "billing", "sub": "billing", "aud": audience, "iat": now, "exp": now + 60, "jti": uuid.uuid4().hex}
    form = {
        "grant_type": "client_credentials", "scope": "read",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(claims, key, "ES256", {"kid": "1"}),
    }
    return requests.post(endpoint, form)


write_configuration()
libraries = f"{here}/root/usr/lib/x86_64-linux-gnu"
command = [f"{here}/root/usr/bin/glewlwyd", f"--config-file={here}/glewlwyd.conf"]
with open("log", "w") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "LD_LIBRARY_PATH": libraries})
try:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < end and process.poll() is None, Path("log").read_text()
            time.sleep(0.05)
    key = ec.generate_private_key(ec.SECP256R1())
    register(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "1", "alg": "ES256"})
    found = requests.get(f"{BASE}/api/oidc/.well-known/openid-configuration").json()
    endpoint = found["token_endpoint"]
    assert found["issuer"] == ISSUER
    audiences = {"token endpoint": endpoint, "[token endpoint]": [endpoint], "issuer": ISSUER}
    for name, audience in audiences.items():
        answer = ask(key, endpoint, audience)
        print(f"aud {name}: {answer.status_code},", "a token" if "access_token" in answer.text else repr(answer.text))
finally:
    process.terminate(), process.wait()
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
aud token endpoint: 200, a token
aud [token endpoint]: 403, ''
aud issuer: 403, ''
SEEN
