"""What is measured: affiant, another build of it, and servers by others, each with the same two clients.

KEY_CLIENT authenticates by private_key_jwt with KEY, SECRET_CLIENT by client_secret_basic. Every server signs JWTs with
ES256, and keeps what it must keep in SQLite with journal_mode=WAL and synchronous=FULL.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import generator, processes
from bench.generator import SERVER_CORE
from bench.processes import Processes
from tests.loopback import free_port

from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.jose.signer import Signer
from affiant.oauth import assertion, names

API, SCOPE = "https://api.example", "read"
KEY_CLIENT, SECRET_CLIENT = "bench-key", "bench-secret"
KEY = keys.generate("ES256")
SECRET = "bench-secret-of-a-peer-0123456789abcdef"
LIFETIME = 290  # seconds of an assertion: it is made before the run that sends it
REPO = Path(__file__).resolve().parent.parent


@dataclass
class Subject:
    """A server that can be started.

    Attributes:
        ready: the path that answers 200 as soon as it serves.
        audience: what assertions for it have as `aud`.
        secret: of SECRET_CLIENT.
    """

    name: str
    port: int
    folder: Path
    command: list[str]
    ready: str
    audience: str
    secret: str = SECRET
    token_path: str = "/token"
    environment: dict[str, str] = field(default_factory=dict)

    def serving(self, *cores: int) -> AbstractContextManager[Processes]:
        return processes.serving(
            self.command,
            ready=f"http://127.0.0.1:{self.port}{self.ready}",
            folder=self.folder,
            environment=self.environment,
            cores=list(cores) or [SERVER_CORE],
        )

    def proof(self, client_id: str, signer: Signer, **parameters: str) -> dict[str, str]:
        """Return a form with an assertion that was never used."""
        text = assertion.build(client_id, issuer=self.audience, signer=signer, now=time.time(), lifetime=LIFETIME)
        return {**parameters, "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE, "client_assertion": text}

    def by_assertion(self, count: int, client_id: str = KEY_CLIENT, signer: Signer = KEY) -> Iterator[bytes]:
        """Yield so many token requests."""
        for _ in range(count):
            form = self.proof(client_id, signer, grant_type=names.CLIENT_CREDENTIALS, scope=SCOPE)
            yield generator.post(self.token_path, form)

    def by_secret(self, count: int) -> Iterator[bytes]:
        """Yield the same, by client_secret_basic."""
        pair = base64.b64encode(f"{SECRET_CLIENT}:{self.secret}".encode()).decode()
        form = {"grant_type": names.CLIENT_CREDENTIALS, "scope": SCOPE}
        request = generator.post(self.token_path, form, f"Authorization: Basic {pair}\r\n")
        yield from (request for _ in range(count))


class Affiant(Subject):
    """affiant itself: of this checkout, or of another one (`source`), on SQLite or on the database at this URL."""

    def __init__(
        self,
        folder: Path,
        name: str = "affiant",
        *,
        source: Path = REPO,
        database: str | None = None,
        workers: int = 1,
    ) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        own = source / ".venv" / "bin" / "python"
        self.program = [str(own) if own.exists() else sys.executable, "-m", "affiant.cli.main"]
        environment = {"PYTHONPATH": str(source / "src"), "AFFIANT_TOKEN_BURST": "0"}  # one client asks for them all
        if database is not None:
            environment["AFFIANT_DATABASE"] = database
        issuer = f"http://127.0.0.1:{port}"
        command = [*self.program, "serve", "--port", str(port), "--workers", str(workers)]
        super().__init__(name, port, folder, command, "/health", issuer, environment=environment)

    def run(self, *words: str) -> Any:
        """Run a command, and return what it prints."""
        done = subprocess.run(
            [*self.program, *words, "--json"],
            cwd=self.folder,
            env={**processes.inherited(), **self.environment},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"affiant {' '.join(words)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def set_up(self) -> Affiant:
        """Register the API and the two clients."""
        self.run("api", "new", "bench", "--identifier", API, "--scope", SCOPE)
        self.register(KEY_CLIENT, KEY)
        self.secret = self.register_secret(SECRET_CLIENT, names.CLIENT_SECRET_BASIC)
        return self

    def register(self, client_id: str, key: PrivateKey, *words: str) -> None:
        """Register a client by its public key."""
        path = self.folder / f"{client_id}.jwk"
        path.write_text(json.dumps(key.public().to_jwk()))
        self.run("client", "new", client_id, "--public-key", path.name, *(words or ("--scope", SCOPE)))

    def trust(self, name: str, key: PrivateKey) -> str:
        """Trust an issuer with this key, with a rule that names KEY_CLIENT; return the issuer."""
        issuer = f"https://{name}.example"
        (self.folder / f"{name}.jwks").write_text(json.dumps({"keys": [key.public().to_jwk()]}))
        path = self.folder / f"{name}.toml"
        path.write_text(
            f'[[trusts]]\nname = "{name}"\nissuer = "{issuer}"\njwks_file = "{name}.jwks"\n\n'
            f'[[rules]]\nname = "{name}"\ntrust = "{name}"\nclient_id = "{KEY_CLIENT}"\n'
            'conditions = { sub = ["repo:acme/app:ref:refs/heads/main"], repository_id = ["42"] }\n'
        )
        self.run("apply", path.name, "--yes")
        return issuer

    def by_platform(self, count: int, issuer: str, signer: Signer) -> Iterator[bytes]:
        """Yield so many requests with tokens as a CI platform writes them: some twenty claims, each used once."""
        for _ in range(count):
            form = {
                "grant_type": names.CLIENT_CREDENTIALS,
                "scope": SCOPE,
                "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
                "client_assertion": _job_token(issuer, self.audience, signer),
            }
            yield generator.post(self.token_path, form)

    def register_secret(self, client_id: str, method: str) -> str:
        """Register a client, and return its secret."""
        self.run("client", "new", client_id, "--auth", method, "--scope", SCOPE)
        members = json.loads((self.folder / f"{client_id}.affiant.json").read_text())
        return str(members["client_secret"])


def _job_token(issuer: str, audience: str, signer: Signer) -> str:
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": "repo:acme/app:ref:refs/heads/main",
        "aud": audience,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_urlsafe(16),
        "repository_id": "42",
        "repository_owner_id": "7",
        "ref": "refs/heads/main",
        **{f"claim_{number}": "a value as platforms write it" for number in range(12)},
    }
    return compact.sign({"typ": "JWT"}, claims, signer)
