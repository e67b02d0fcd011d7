"""`affiant proxy`."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import uvicorn

from affiant.cli.arguments import FILE
from affiant.cli.output import json_option, show
from affiant.cli.server.listening import port
from affiant.cli.tokens.options import credentials_option, find, open_service, resource_option, scope_option
from affiant.cli.tokens.platform import platform_options
from affiant.cli.workload.forwarding import Forwarding
from affiant.cli.workload.incoming import Incoming
from affiant.cli.workload.request import Admission, Target
from affiant.client.credentials.file import Credentials
from affiant.errors import ConfigError
from affiant.system.files import read_private
from affiant.system.network import async_http_client
from affiant.system.urls import LOOPBACK, join_host

_MOST = 512  # requests at once
_LEAST_SECRET = 16  # characters


@click.command()
@click.option("--to", required=True, metavar="URL", help="the API; with a path, all requests go below it")
@click.option("--listen", required=True, metavar="ADDRESS", help="127.0.0.1:PORT, [::1]:PORT or unix:/PATH")
@platform_options
@credentials_option
@scope_option
@resource_option
@click.option("--dpop", is_flag=True, help="use tokens that are bound to a key of this process (RFC 9449)")
@click.option(
    "--timeout",
    "silence",
    type=click.FloatRange(1, 3600),
    default=60.0,
    metavar="SECONDS",
    help="without a byte from the API (default: 60)",
)
@click.option("--host", "hosts", multiple=True, metavar="HOST:PORT", help="another name that programs call it by")
@click.option(
    "--require-secret",
    "secret_file",
    type=FILE,
    help="its text must come as  Authorization: Bearer, the API key of many programs",
)
@click.option("--unsafe-http", is_flag=True, help="send the token without TLS to another machine, too")
@click.option("--unsafe-listen", is_flag=True, help="listen for other machines, which can use the token then")
@json_option("print one JSON document when the proxy listens")
def proxy(
    to: str,
    listen: str,
    credentials: Path | Credentials | None,
    scope: str | None,
    resource: str | None,
    dpop: bool,
    silence: float,
    hosts: tuple[str, ...],
    secret_file: Path | None,
    unsafe_http: bool,
    unsafe_listen: bool,
) -> None:
    """For programs without an SDK, and for agents that must not see a token: they call the proxy without one.

    \b
    affiant proxy -c billing.affiant.json --to https://api.example --listen 127.0.0.1:8500
    affiant proxy -c billing.affiant.json --to https://api.example/v1 --listen unix:/run/billing/api.sock --dpop

    Requests go to that API and nowhere else; redirects are not followed. Credentials that a program sends are replaced.
    Requests of web pages and WebSockets are refused, and nothing is logged. A port of loopback is open to every user of
    this machine, unless --require-secret is given; a Unix socket has mode 0600.
    """
    address = port.parse_address(listen, option="--listen")
    target = Target.parse(to, unsafe_http=unsafe_http)
    if not isinstance(address, Path) and not port.is_loopback(address[0]) and not (unsafe_listen and hosts):
        raise ConfigError(
            "other machines could use the token: listen on 127.0.0.1 or on unix:/PATH, or say --unsafe-listen, and"
            " --host for each name that they call"
        )
    service = open_service(credentials, resource, scope, dpop=dpop)
    verify = service.tls() if find(credentials).certificate is not None else True
    auth = service.auth(resource, scope or "", origin=target.origin, unsafe_http=unsafe_http)
    secret = _read_secret(secret_file) if secret_file is not None else None
    listening = _listen(address)
    admission = Admission(_names(listening, hosts), secret)
    asyncio.run(_serve(listening, target, admission, auth=auth, verify=verify, silence=silence))


def _listen(address: tuple[str, int] | Path) -> socket.socket:
    if isinstance(address, Path):
        return port.listen_at(address, option="--listen", mode=0o600)
    return port.listen(*address, option="--listen")


def _read_secret(path: Path) -> bytes:
    try:
        secret = read_private(path, what="the secret", variable="another file").strip()
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist: make it with  umask 077; openssl rand -hex 32 > FILE") from error
    if len(secret) < _LEAST_SECRET or not secret.isascii():
        raise ConfigError(f"{path} has no secret of {_LEAST_SECRET} characters or more: openssl rand -hex 32")
    return secret


def _names(listening: socket.socket, hosts: Sequence[str]) -> frozenset[bytes] | None:
    """Return the names that a request may have in Host, or None for a Unix socket."""
    if listening.family == socket.AF_UNIX:
        return None
    host, number = listening.getsockname()[:2]
    known = {host, *LOOPBACK} if port.is_loopback(host) else {host}
    names = {join_host(one, number) for one in known} | set(hosts)
    return frozenset(name.lower().encode("ascii", "replace") for name in names)


async def _serve(
    listening: socket.socket,
    target: Target,
    admission: Admission,
    *,
    auth: Any,
    verify: ssl.SSLContext | bool,
    silence: float,
) -> None:
    async with async_http_client(verify=verify, follow_redirects=False) as http:
        application = Forwarding(target, auth, http, admission, silence)
        config = uvicorn.Config(
            application,
            http=Incoming,
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST,
            timeout_graceful_shutdown=port.DRAIN_SECONDS,
        )
        _announce(listening, target)
        await uvicorn.Server(config).serve(sockets=[listening])


def _announce(listening: socket.socket, target: Target) -> None:
    at = listening.getsockname()
    url = f"unix:{at}" if isinstance(at, str) else f"http://{join_host(*at[:2])}"
    shown = target.origin + target.prefix.decode("ascii")
    show({"url": url, "to": shown, "pid": os.getpid()}, f"affiant proxy  {url} for {shown}")
