"""`affiant serve`."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import click
import uvicorn
from uvicorn.supervisors import Multiprocess

from affiant.cli.data import ISSUER, load, open_store, place_options, settle_issuer, shown_place, with_store
from affiant.errors import ConfigError
from affiant.server import app, settings
from affiant.server.keys import master_key, signing_keys
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.sqlite import copies
from affiant.storage.sqlite.store import FILE_NAME

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from affiant.server.keys.master_key import MasterKey
    from affiant.storage.ports import Store

_SERVE = "_AFFIANT_SERVE"  # how a worker process learns what its parent decided
DRAIN_SECONDS = 10
LIMITS_NAME = "limits"  # the file in the data folder by which the workers count together


@click.command()
@place_options
@click.option("--issuer", metavar="URL", help="issuer identifier, when clients reach the server by another address")
@click.option("--host", help="address to listen on (default: 127.0.0.1)")
@click.option("--port", type=int, help="port to listen on (default: 8377; 0: a free one)")
@click.option("--workers", type=int, help="processes (default: 1)")
@click.option("--signing-alg", metavar="ALG", help="algorithm of the first key that signs tokens (default: ES256)")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document when the server listens")
def serve(as_json: bool, **options: Any) -> None:
    """Start the authorization server.

    \b
    affiant serve
    affiant serve --data /var/lib/affiant --issuer https://as.example --workers 2
    AFFIANT_DATABASE=postgresql://affiant@db.example/affiant affiant serve --issuer https://as.example
    """
    chosen = load(**options)
    listening = _listen(chosen.host, chosen.port)
    port: int = listening.getsockname()[1]

    async def prepare(store: Store, key: MasterKey) -> tuple[str, str | None]:
        remembered = await store.settings.get(ISSUER)
        issuer = settle_issuer(chosen, remembered, port)
        await signing_keys.ensure(store, key, now=int(time.time()), alg=chosen.signing_alg)
        if issuer != remembered:
            await store.settings.put(ISSUER, issuer)
        return issuer, remembered

    if chosen.database is None and (chosen.data / FILE_NAME).exists():
        copies.check(chosen.data / FILE_NAME, fast=True)
    issuer, remembered = with_store(chosen, prepare)
    _announce(issuer, remembered, chosen, as_json=as_json)
    _run(chosen, issuer, listening)


def application() -> Starlette:
    """The application of a worker, as its parent decided."""
    decided = json.loads(os.environ[_SERVE])
    if decided["parent"] is not None:
        threading.Thread(target=_follow, args=(decided["parent"],), daemon=True).start()
    return _build(settings.Settings.model_validate_json(decided["settings"]), decided["issuer"])


def _build(chosen: settings.Settings, issuer: str) -> Starlette:
    key = master_key.load(chosen.data)
    rates = Rates(
        failures=Rate(chosen.failure_burst, chosen.failure_rate), tokens=Rate(chosen.token_burst, chosen.token_rate)
    )
    return app.build(
        issuer=issuer,
        store=open_store(chosen, key),
        master_key=key,
        options=app.Options(
            access_token_lifetime=chosen.access_token_lifetime,
            calendar=chosen.calendar,
            dpop_nonces=chosen.dpop_nonces,
        ),
        limits=Limits(rates, key=app.limits_key(key), path=chosen.data / LIMITS_NAME),
    )


def _run(chosen: settings.Settings, issuer: str, listening: socket.socket) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        # Nobody's word about another address is taken unless the operator says whose: limits and audit go by it.
        "proxy_headers": bool(chosen.trusted_proxies),
        "forwarded_allow_ips": chosen.trusted_proxies or None,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "h11_max_incomplete_event_size": 65_536,
    }
    if chosen.workers == 1:
        config = uvicorn.Config(_build(chosen, issuer), **options)
        uvicorn.Server(config).run(sockets=[listening])
        return
    decided = {"settings": chosen.model_dump_json(), "issuer": issuer, "parent": os.getpid()}
    os.environ[_SERVE] = json.dumps(decided)
    config = uvicorn.Config("affiant.cli.serve:application", factory=True, workers=chosen.workers, **options)
    workers = _Workers(config, sockets=[listening])
    workers.run()
    if workers.is_interrupted:  # ends like one worker does
        raise KeyboardInterrupt


class _Workers(Multiprocess):
    """uvicorn's, which does not tell what ended it."""

    is_interrupted = False

    def handle_int(self) -> None:
        self.is_interrupted = True
        super().handle_int()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another with --port"
        ) from error
    listening.set_inheritable(True)
    return listening


def _announce(issuer: str, remembered: str | None, chosen: settings.Settings, *, as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps({"ok": True, "data": {"issuer": issuer, "data": shown_place(chosen), "pid": os.getpid()}})
        )
        return
    if remembered is not None and remembered != issuer:
        click.echo(f"! the issuer was {remembered}: credentials files that name it must be made anew", err=True)
    click.echo(f"affiant  issuer {issuer}   data {shown_place(chosen)}   workers {chosen.workers}   Ctrl-C stops")
    click.echo("next     affiant api new orders --identifier https://orders.example --scope orders.read")
    click.echo("         affiant client new billing --scope orders.read")


def _follow(parent: int) -> None:
    """End when the parent has died: an orphan would keep the port from the server that replaces it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
