"""Keys in files and in mounts, against a real server of two workers."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from tests.process import Server

from affiant import Service
from affiant.errors import Refused
from affiant.jose import keys
from affiant.jose.keys import PrivateKey

CALLERS = 6
needs_mount = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let root mount a file system: run where unshare -m works",
)


def _put(path: Path, key: PrivateKey) -> None:
    """As a secret store does: another file takes the name."""
    draft = path.with_suffix(".new")
    draft.write_bytes(key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    draft.chmod(0o600)
    draft.replace(path)


def _publish(server: Server, name: str, key: PrivateKey) -> str:
    public = key.public().key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (server.folder / name).write_bytes(public)
    return name


def test_no_caller_fails_when_its_key_file_is_rotated(server: Server, tmp_path: Path) -> None:
    """The old key is revoked at once: every caller is refused with it, and goes on with the new one."""
    old, new, path = keys.generate("ES256"), keys.generate("ES256"), tmp_path / "rotated.pem"
    server.affiant(
        "client", "new", "rotated", "--public-key", _publish(server, "old.pem", old), "--scope", "orders.read"
    )
    _put(path, old)
    services = [Service(server.issuer, "rotated", key=path) for _ in range(CALLERS)]
    assert services[0].token().value
    _put(path, new)
    server.affiant("client", "key", "add", "rotated", "--public-key", _publish(server, "new.pem", new))
    server.affiant("client", "key", "complete", "rotated", old.kid)
    with pytest.raises(Refused, match="invalid_client"):
        Service(server.issuer, "rotated", key=old).token()
    with ThreadPoolExecutor(2 * CALLERS) as pool:
        asked = [pool.submit(service.token, scope=scope) for service in services for scope in (None, "orders.read")]
        assert all(future.result().value for future in asked)


def test_a_kept_token_needs_neither_the_password_nor_cryptography(server: Server, tmp_path: Path) -> None:
    """The key is read when a token is requested, and not before."""
    key, folder = keys.generate("ES256"), tmp_path / "config" / "affiant"
    server.affiant("client", "new", "kept", "--public-key", _publish(server, "kept.pem", key), "--scope", "orders.read")
    folder.mkdir(parents=True)
    private: Any = key.key
    made = pkcs12.serialize_key_and_certificates(b"k", private, None, None, BestAvailableEncryption(b"canary"))
    members = {"affiant": 1, "issuer": server.issuer, "client_id": "kept", "auth_method": "private_key_jwt"}
    for name, data in {"k.p12": made, "k.affiant.json": json.dumps({**members, "key_file": "k.p12"}).encode()}.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    here = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def token(**more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-X", "importtime", "-m", "affiant.cli.main", "token"]
        return subprocess.run(words, env={**os.environ, **here, **more}, capture_output=True, text=True, check=False)

    for password, said in ((None, "give its password"), ("wrong", "the password does not open")):
        done = token(**({} if password is None else {"AFFIANT_KEY_PASSWORD": password}))
        assert (done.returncode, said in done.stderr) == (8, True)
    first, second = token(AFFIANT_KEY_PASSWORD="canary"), token()
    assert (first.returncode, second.stdout) == (0, first.stdout)
    assert "cryptography" in first.stderr
    assert "cryptography" not in second.stderr


@needs_mount
def test_commands_find_what_docker_and_systemd_mount(server: Server, tmp_path: Path) -> None:
    """A secret in /run/secrets, and one in $CREDENTIALS_DIRECTORY, both of root and on a read-only mount."""
    server.affiant("client", "new", "mounted", "--scope", "orders.read")
    text = (server.folder / "mounted.affiant.json").read_bytes()
    (tmp_path / "affiant").write_bytes(text)
    (tmp_path / "affiant").chmod(0o444)
    here = f"mount --bind {tmp_path} {tmp_path}; mount -o remount,bind,ro {tmp_path}"
    docker = f"mkdir -p /run/secrets; {here}; mount --bind {tmp_path} /run/secrets"
    cases = {docker: {}, here: {"CREDENTIALS_DIRECTORY": str(tmp_path)}}
    for script, environment in cases.items():
        command = f'{script}; exec "$0" -m affiant.cli.main token --no-cache'
        if script is docker:  # a mount for this process alone, whether the folder exists or not
            command = f"mount -t tmpfs none /run; {command}"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-ec", command, sys.executable],
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("ey")
