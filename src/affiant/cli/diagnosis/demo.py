"""`affiant demo`: the steps of the guide, four refusals, the guide's own request, and a refresh.

`python -m affiant.cli.diagnosis.demo ISSUER PORT` is its guarded API, in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from affiant.cli.output import describe_jwt
from affiant.client.credentials import file as credentials
from affiant.errors import ConfigError, Error
from affiant.jose import compact, keys
from affiant.jose.keys import SecretKey
from affiant.oauth import assertion, names
from affiant.resource import Guard, GuardMiddleware

OK, REFUSED, MISPLACED = 200, 401, 400
READY_SECONDS = 20
SCOPE = "orders.read"


class _Failed(Error):
    """A step had another result."""


@click.command()
@click.option("--once", is_flag=True, help="end after the last step, on a terminal too")
def demo(once: bool) -> None:
    """The server, the API and the refusals are real."""
    begun = time.perf_counter()
    _unwind_on_end()
    is_done = False
    try:
        with set_up() as stage:
            _say("1 the basics: an authorization server and a guarded API, each its own process", begun)
            click.echo(f"    server  {stage.issuer}\n    API     {stage.api}/orders")
            _walk(stage)
            is_done = True
            click.echo("\nEvery step did what it says.")
            if sys.stdout.isatty() and not once:
                click.echo(f"Still up: {stage.issuer}/errors   Ctrl-C stops")
                while True:
                    time.sleep(3600)
    except KeyboardInterrupt:
        if not is_done:
            raise
        click.echo("\nstopped")


def _unwind_on_end() -> None:
    """Clean up after a supervisor's SIGTERM, or the end of the terminal, as after Ctrl-C."""

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleanup
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP on purpose
            signal.signal(number, end)


def _walk(stage: Stage) -> None:
    begun = time.perf_counter()
    stage.affiant("api", "new", "orders", "--identifier", stage.api, "--scope", SCOPE)
    grants = ("--grant", "client_credentials", "--grant", "refresh_token")
    stage.affiant("client", "new", "billing", "--scope", SCOPE, *grants)
    mine = credentials.read(stage.folder / "billing.affiant.json")
    key = keys.parse_private_jwk(mine.key or {})
    _say("2 registered: billing, with a key that never leaves this machine", begun)
    click.echo(f"    kid     {key.kid}  {key.alg}")
    with httpx2.Client() as http:
        Walk(stage, http, key).run()


class Walk:
    """Steps 3 to 7."""

    def __init__(self, stage: Stage, http: httpx2.Client, key: keys.PrivateKey) -> None:
        self._stage = stage
        self._http = http
        self._key = key

    def run(self) -> None:
        """Print what each step sends and gets; fail at the first with another result."""
        begun = time.perf_counter()
        first = self._assertion()
        _say("3 a client assertion, signed", begun)
        _show(first)
        token = self._expect("4 an access token for it", OK, lambda: self._post(_form(first)))
        _show(token["access_token"], title="5 the answer, stored until it expires")
        click.echo(f"    expires in {token['expires_in']} s, scope {token['scope']}")
        self._call(token["access_token"], "6 called the API")
        self._refusals(first)
        self._guide()
        form = {**_form(self._assertion()), "grant_type": names.REFRESH_TOKEN, "refresh_token": token["refresh_token"]}
        renewed = self._expect("7 refreshed", OK, lambda: self._post(form))
        self._call(renewed["access_token"], "  and the API takes the new token")

    def _refusals(self, used: str) -> None:
        click.echo("\nand it refuses:")
        self._expect("  a replayed assertion", REFUSED, lambda: self._post(_form(used)))
        elsewhere = self._assertion(audience=f"{self._stage.issuer}/token")
        self._expect("  the wrong audience", REFUSED, lambda: self._post(_form(elsewhere)))
        head, _, signature = self._assertion().split(".")
        tampered = f"{head}.{used.split('.')[1]}.{signature}"
        self._expect("  a tampered payload", REFUSED, lambda: self._post(_form(tampered)))
        misplaced = {"grant_type": names.CLIENT_CREDENTIALS, "assertion": self._assertion(), "client_id": "billing"}
        self._expect("  the guide's misplaced parameter", MISPLACED, lambda: self._post(misplaced))

    def _guide(self) -> None:
        click.echo("\nunless the client has the guide profile:")
        self._stage.affiant("client", "new", "guided", "--profile", "guide", "--scope", SCOPE)
        secret = credentials.read(self._stage.folder / "guided.affiant.json").client_secret or ""
        claims = {
            "iss": "guided",
            "sub": "unique_request",
            "aud": self._stage.issuer,
            "exp": int(time.time()) + 300,
        }
        text = compact.sign({"typ": "JWT"}, claims, SecretKey(secret.encode()))
        form = {
            "grant_type": names.CLIENT_CREDENTIALS,
            "assertion": text,
            "client_id": "guided",
            "client_secret": secret,
        }
        token = self._expect("  the guide's own request", OK, lambda: self._post(form))
        self._call(token["access_token"], "  and the API takes its token")

    def _assertion(self, *, audience: str | None = None) -> str:
        return assertion.build("billing", issuer=audience or self._stage.issuer, signer=self._key, now=time.time())

    def _post(self, form: dict[str, str]) -> httpx2.Response:
        return self._http.post(f"{self._stage.issuer}/token", data=form)

    def _call(self, token: str, what: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._expect(what, OK, lambda: self._http.get(f"{self._stage.api}/orders", headers=headers))

    def _expect(self, what: str, status: int, send: Callable[[], httpx2.Response]) -> dict[str, Any]:
        begun = time.perf_counter()
        reply = send()
        if reply.status_code != status:
            raise _Failed(f"{what.strip()}: expected {status}, got {reply.status_code} {reply.text}")
        _say(what, begun)
        members: dict[str, Any] = reply.json()
        said = members.get("error_description") or ("" if "access_token" in members else reply.text)
        code = f"{members['error']}: " if "error" in members else ""
        click.echo(f"    {reply.request.method} {reply.request.url} → {status} {code}{said}".rstrip())
        return members


def _form(text: str) -> dict[str, str]:
    return {
        "grant_type": names.CLIENT_CREDENTIALS,
        "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
        "client_assertion": text,
    }


def _say(what: str, begun: float) -> None:
    click.echo(f"✓ {what:<66} {(time.perf_counter() - begun) * 1000:7.1f} ms")


def _show(jwt: str, *, title: str | None = None) -> None:
    if title:
        click.echo(f"✓ {title}")
    read = compact.parse(jwt)
    for line in describe_jwt(read.header, read.claims):
        click.echo(f"    {line}")
    click.echo(f"    {jwt[:24]}…  (signature cut)")


@dataclass(frozen=True, slots=True)
class Stage:
    """The addresses of the parts."""

    folder: Path
    issuer: str
    api: str

    def affiant(self, *words: str) -> dict[str, Any]:
        """Run a command as a user would, in the demo's folder."""
        command = [sys.executable, "-m", "affiant.cli.main", *words, "--json"]
        done = subprocess.run(  # noqa: S603 - ourselves
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ConfigError(f"affiant {' '.join(words[:2])} failed: {done.stdout or done.stderr}")
        data: dict[str, Any] = json.loads(done.stdout)["data"]
        return data

    def environment(self) -> dict[str, str]:
        """Return the environment without the user's settings, and with a cache in the demo's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AFFIANT_")}
        return {**kept, "XDG_CACHE_HOME": str(self.folder / "cache")}


@contextlib.contextmanager
def set_up() -> Iterator[Stage]:
    """Start both processes and wait until they answer; stop them and remove the folder afterwards."""
    with TemporaryDirectory(prefix="affiant-demo-") as folder, contextlib.ExitStack() as stack:
        server, api = _free_port(), _free_port()
        stage = Stage(Path(folder), f"http://127.0.0.1:{server}", f"http://127.0.0.1:{api}")
        stack.enter_context(_process(stage, "affiant.cli.main", "serve", "--port", str(server)))
        _wait(stage.issuer)
        stack.enter_context(_process(stage, __name__, stage.issuer, str(api)))
        _wait(stage.api)
        yield stage


@contextlib.contextmanager
def _process(stage: Stage, *words: str) -> Iterator[None]:
    process: subprocess.Popen[bytes] | None = None
    log = (stage.folder / f"{words[0]}.log").open("w+b")
    try:
        with _undisturbed():
            # In its own session: Ctrl-C at the terminal reaches only the demo, which ends its processes in order.
            process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", *words],
                cwd=stage.folder,
                env=stage.environment(),
                stdout=subprocess.DEVNULL,
                stderr=log.fileno(),
                start_new_session=True,
            )
        yield
    except ConfigError as error:
        log.seek(0)
        raise ConfigError(f"{error}: {log.read().decode('utf-8', 'replace')}") from None
    finally:
        log.close()
        if process is not None:
            _end(process)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay signals, or a process that was started and is not known yet would be left behind."""
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for caught in came:
            signal.raise_signal(caught)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(base: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{base}/health").is_success:
                return
        time.sleep(0.05)
    raise ConfigError(f"{base} did not start within {READY_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def application(issuer: str, audience: str) -> GuardMiddleware:
    """Return the application: one route, which needs the scope to read orders."""

    async def orders(request: Request) -> JSONResponse:
        return JSONResponse({"orders": 3, "for": request.scope["affiant.caller"].client_id})

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    app = Starlette(routes=[Route("/orders", orders), Route("/health", health)])
    return GuardMiddleware(app, Guard(issuer, audience=audience), need=[SCOPE], public=["/health"])


if __name__ == "__main__":
    port = int(sys.argv[2])
    config = uvicorn.Config(
        application(sys.argv[1], f"http://127.0.0.1:{port}"), port=port, log_level="warning", access_log=False
    )
    uvicorn.Server(config).run()
