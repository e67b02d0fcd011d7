"""Glewlwyd (Debian, Ubuntu: glewlwyd) with one scope and clients of private_key_jwt, set up through its own API."""

import gzip
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import httpx2
from tests.rsa_keys import rsa_key

SCHEMA = Path("/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz")
MODULES = Path("/usr/lib/glewlwyd")
MISSING = "glewlwyd is not installed: apt-get install glewlwyd to test against it"
_LOGIN = {"username": "admin", "password": "password"}  # of its schema


def is_installed() -> bool:
    return shutil.which("glewlwyd") is not None and SCHEMA.exists()


def configure(folder: Path, port: int) -> list[str]:
    """Write its database and configuration into this folder, and return the command that starts it."""
    database = folder / "glewlwyd.sqlite"
    with sqlite3.connect(database) as connection:
        connection.executescript(gzip.decompress(SCHEMA.read_bytes()).decode())
    lines = [
        f"port={port}",
        f'external_url="http://127.0.0.1:{port}/"',
        'api_prefix="api"',
        'log_mode="console"',
        'log_level="WARNING"',
        'session_key="GLEWLWYD2_SESSION_ID"',
        'admin_scope="g_admin"',
        'profile_scope="g_profile"',
        *(
            f'{name}_module_path="{MODULES / folder_name}"'
            for name, folder_name in (
                ("user", "user"),
                ("client", "client"),
                ("user_auth_scheme", "scheme"),
                ("plugin", "plugin"),
            )
        ),
        'hash_algorithm="SHA512"',
        f'database = {{ type = "sqlite3" path = "{database}" }};',
    ]
    (folder / "glewlwyd.conf").write_text("\n".join(lines) + "\n")
    return ["glewlwyd", f"--config-file={folder / 'glewlwyd.conf'}"]


def register(port: int, given: dict[str, Any]) -> None:
    """Register an issuer, the scope and the clients, as its administrator."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/api/", timeout=30) as http:
        http.post("auth/", json=_LOGIN).raise_for_status()
        http.post("mod/plugin/", json=_plugin(given)).raise_for_status()
        scope = {"name": given["scope"], "display_name": given["scope"], "password_required": False, "scheme": {}}
        http.post("scope/", json=scope).raise_for_status()
        for one in given["clients"]:
            http.post("client/", json=_client(one, given["scope"])).raise_for_status()


def _plugin(given: dict[str, Any]) -> dict[str, Any]:
    server = rsa_key()
    grants = ("code", "token", "implicit", "none", "password", "refresh", "device")
    parameters = {
        "iss": given["issuer"],
        "jwt-type": "rsa",
        "jwt-key-size": "256",
        "jwks-private": json.dumps({"keys": [{**server.to_jwk(), "kid": "server"}]}),
        "default-kid": "server",
        "access-token-duration": 600,
        "refresh-token-duration": 600,
        "code-duration": 60,
        "allow-non-oidc": True,
        "auth-type-client-enabled": True,
        **{f"auth-type-{name}-enabled": False for name in grants},
        "request-parameter-allow": True,
        "request-maximum-exp": 3600,
        "client-pubkey-parameter": "pubkey",
        "client-jwks-parameter": "jwks",
        "client-jwks_uri-parameter": "jwks_uri",
        "oauth-dpop-allowed": True,
        "oauth-dpop-iat-duration": 60,
        "oauth-dpop-nonce-mandatory": True,
        "oauth-dpop-nonce-counter": 100,
        "resource-allowed": True,
        "resource-scope": {given["scope"]: [given["api"]]},
    }
    return {"module": "oidc", "name": "oidc", "display_name": "oidc", "parameters": parameters, "order_rank": 0}


def _client(one: dict[str, Any], scope: str) -> dict[str, Any]:
    return {
        "client_id": one["client_id"],
        "name": one["client_id"],
        "confidential": True,
        "enabled": True,
        "authorization_type": ["client_credentials"],
        "scope": [scope],
        "token_endpoint_auth_method": ["private_key_jwt"],
        "jwks": {"keys": [one["key"]]},
    }
