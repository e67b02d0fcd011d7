"""`affiant serve`."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
import stat
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import click
import uvicorn
from cryptography import x509

from affiant.cli.arguments import FILE
from affiant.cli.connection.data import (
    ISSUER,
    find_key,
    has_data,
    load,
    open_store,
    open_vault,
    place_options,
    settle_issuer,
    shown_place,
    with_new_store,
)
from affiant.cli.output import is_json, json_option, show
from affiant.cli.server import first_link, logs, spans
from affiant.cli.server.listening import loop, port, scraped
from affiant.cli.server.listening.table import Caps, parse_networks, raise_limit
from affiant.cli.server.supervision.worker import Serving, Worker
from affiant.errors import ConfigError
from affiant.server import app, settings
from affiant.server.keys import calendar, signing_keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.published.revocations import MAX_WAITING
from affiant.server.request.audit.lines.logs import Logs
from affiant.server.request.audit.sinks import configured
from affiant.server.request.audit.sinks.relay import Relay, attach
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.ports import Store
from affiant.storage.sqlite import copies
from affiant.storage.sqlite.store import FILE_NAME
from affiant.system.files import denied
from affiant.system.version import __version__
from affiant.telemetry import Telemetry
from affiant.telemetry.board import Board, FolderBoard, open_folder

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
LIMITS_NAME = "limits"  # the file in the data folder that has the counts of all workers


@click.command()
@place_options
@click.option("--issuer", metavar="URL", help="issuer identifier, if clients reach the server by another address")
@click.option("--host", help="address to listen on (default: 127.0.0.1)")
@click.option("--port", metavar="NUMBER", help="port to listen on (default: 8377; 0: a free one)")
@click.option("--workers", metavar="NUMBER", help="processes (default: 1)")
@click.option("--tls-cert", type=FILE, help="certificate of this server, PEM: listen with TLS")
@click.option("--tls-key", type=FILE, help="its private key, PEM")
@click.option("--tls-client-ca", type=FILE, help="CA certificates (PEM): request client certificates signed by them")
@click.option("--signing-alg", metavar="ALG", help="algorithm of the first key that signs tokens (default: ES256)")
@json_option("print one JSON document when the server listens")
def serve(**options: Any) -> None:
    """Run it where its data is: it has no --url.

    \b
    affiant serve
    affiant serve --data /var/lib/affiant --issuer https://as.example --workers 2
    AFFIANT_DATABASE=postgresql://affiant@db.example/affiant affiant serve --issuer https://as.example
    """
    worker = Worker.join()
    decided = worker.decided or _decide(worker, options)
    chosen = settings.Settings.model_validate_json(decided["settings"])
    _run(worker, chosen, decided, logs.begin(chosen))


def _decide(worker: Worker, options: dict[str, Any]) -> dict[str, Any]:
    """Prepare the data, and return how all workers of this generation serve; refuse what would fail in each of them."""
    chosen = load(**options)
    given = [name for name, value in options.items() if value is not None]
    written = logs.begin(chosen)
    _check_tls(chosen)
    spans.check(chosen)
    for warning in (*settings.warnings_of_names(), *chosen.warnings):
        logs.remark(written, warning)
    chosen, place, opened = _listen(worker, chosen)
    chosen = chosen.model_copy(update={"metrics": scraped.reserve(chosen.metrics, alone=worker.is_first)})

    async def prepare(store: Store, key: MasterKey) -> tuple[str, str | None, bool]:
        _check_known(worker, chosen, is_known=await store.settings.get(ISSUER) is not None)
        return await _prepare(store, key, chosen, worker.sockets[0].getsockname()[1])

    _check_known(worker, chosen, is_known=has_data(chosen))
    if chosen.database is None and has_data(chosen):
        copies.check(chosen.data / FILE_NAME, fast=True)
    issuer, remembered, is_without_users = with_new_store(chosen, prepare, report=lambda _: None)  # _announce names it
    _warn_of_folder(chosen, written)
    if worker.is_first:
        _announce(issuer, remembered, chosen, written, pid=worker.server_pid)
        if is_without_users and chosen.console == "on" and not is_json():
            _offer_link(chosen, written)
    decided = {
        "settings": chosen.model_dump_json(),
        "issuer": issuer,
        "given": given,
        "place": place,
        "workers": chosen.workers,
        "logs_json": written.is_json,
    }
    worker.decide(decided, opened)
    return decided


def _check_known(worker: Worker, chosen: settings.Settings, *, is_known: bool) -> None:
    """Refuse that a reload begins with an empty database, to which a wrong setting leads: no client would be known."""
    if not worker.is_first and not is_known:
        raise ConfigError(f"{shown_place(chosen)} has no data yet: a reload does not begin there, and a restart does")


async def _prepare(
    store: Store, key: MasterKey, chosen: settings.Settings, number: int
) -> tuple[str, str | None, bool]:
    """Return the issuer, the remembered one, and whether the console has no user yet."""
    remembered = await store.settings.get(ISSUER)
    issuer = settle_issuer(chosen, remembered, number)
    vault, now = open_vault(chosen, key), int(time.time())
    try:
        await signing_keys.ensure(store, vault, now=now, alg=chosen.signing_alg)
        await signing_keys.check(store, vault, now=now)
    finally:
        await vault.close()
    await _check_signing(store, chosen)
    if issuer != remembered:
        await store.settings.put(ISSUER, issuer)
    return issuer, remembered, not await store.users.list(limit=1)


def _listen(
    worker: Worker, chosen: settings.Settings
) -> tuple[settings.Settings, tuple[str, int], list[socket.socket]]:
    """Have the worker listen where the settings say, or where systemd does.

    Return the settings, the place that was configured, and the sockets that the supervisor does not have.
    """
    place = (chosen.host, chosen.port)
    if worker.is_activated:
        host, number = worker.sockets[0].getsockname()[:2]
        return chosen.model_copy(update={"host": host, "port": number}), place, []
    if worker.sockets and worker.place == list(place):
        return chosen, place, []
    worker.sockets = [port.listen(chosen.host, chosen.port, option="--port")]
    return chosen, place, worker.sockets


def _build(chosen: settings.Settings, issuer: str, given: Sequence[str], written: Logs, board: Board) -> app.Server:
    key = find_key(chosen)  # the file may have changed since this generation was decided
    store = open_store(chosen, key)
    store.listeners.append(written.decisions)
    rates = Rates(
        failures=Rate(chosen.failure_burst, chosen.failure_rate), tokens=Rate(chosen.token_burst, chosen.token_rate)
    )
    tracing = spans.begin(chosen, issuer)
    built = app.build(
        issuer=issuer,
        store=store,
        master_key=key,
        vault=open_vault(chosen, key),
        # Attack: requests that wait for the feed hold their connections, and must leave most for others.
        options=replace(chosen.options, max_waiting=min(MAX_WAITING, raise_limit(chosen.max_connections) // 4)),
        limits=Limits(rates, key=app.limits_key(key), path=chosen.data / LIMITS_NAME),
        at_end=_at_end,
        settings=settings.described(chosen, options=given, issuer=issuer),
        telemetry=_measure(chosen),
        board=board,
        spans=tracing.spans,
    )
    # Imported modules are never garbage: a full collection over them stops every request for 20 to 80 ms.
    gc.freeze()
    begin = chosen.audit_sinks_begin
    relays = [Relay(sink, store, begin=begin) for sink in configured.sinks(chosen)]
    attach(built, relays)
    tracing.attach(built)
    logs.watch(built, written, _at_end)
    return built


def _measure(chosen: settings.Settings) -> Telemetry:
    """Return what measures this process, with what only its listener and its certificate know."""
    telemetry = Telemetry()
    telemetry.watch(loop.measure)
    if chosen.tls_cert is not None:
        until = x509.load_pem_x509_certificate(chosen.tls_cert.read_bytes()).not_valid_after_utc
        telemetry.set("affiant_tls_certificate_until_timestamp_seconds", number=until.timestamp())
    return telemetry


def _run(worker: Worker, chosen: settings.Settings, decided: dict[str, Any], written: Logs) -> None:
    """Serve, as was decided for all workers."""
    options: dict[str, Any] = {
        **port.options(_caps(chosen, written), worker.succession),
        "log_config": None,  # its loggers are ours, too
        # Attack: a forged X-Forwarded-For. Limits and audit use the address, so only configured proxies are trusted.
        "proxy_headers": bool(chosen.forwarding),
        "forwarded_allow_ips": chosen.forwarding or None,
        **_tls(chosen),
    }
    board = FolderBoard(open_folder(worker.server_pid, instead=chosen.data))
    built = _build(chosen, decided["issuer"], decided["given"], written, board)
    with scraped.exposed(chosen.metrics, board):
        Serving(uvicorn.Config(built, **options), worker, built.obstacles).run(sockets=worker.sockets)


def _caps(chosen: settings.Settings, written: Logs) -> Caps:
    """Raise the limit of open files, and return how many connections a process may keep open."""
    total = raise_limit(chosen.max_connections)
    if total < chosen.max_connections:
        logs.remark(
            written,
            f"the limit of open files allows {total} connections a process, not max_connections = "
            f"{chosen.max_connections}: raise the hard limit (ulimit -Hn; LimitNOFILE in systemd) or lower the setting",
        )
    proxies = parse_networks(*chosen.forwarding, chosen.client_certificate_proxies)
    return Caps(total, chosen.max_connections_per_address, proxies)


def _at_end(notify: Callable[[], None]) -> None:
    """Call this when a signal ends the process; uvicorn would call it only after the last answer."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if not callable(handler):
            continue

        def end(number: int, frame: FrameType | None, handler: Any = handler) -> None:
            loop.call_soon_threadsafe(notify)
            handler(number, frame)

        signal.signal(number, end)


def _tls(chosen: settings.Settings) -> dict[str, Any]:
    """Return the TLS options of uvicorn; a client certificate is optional."""
    if chosen.tls_cert is None:
        return {}
    options: dict[str, Any] = {"ssl_certfile": str(chosen.tls_cert), "ssl_keyfile": str(chosen.tls_key)}
    if chosen.tls_client_ca is not None:
        options |= {"ssl_ca_certs": str(chosen.tls_client_ca), "ssl_cert_reqs": ssl.CERT_OPTIONAL}
    return options


def _check_tls(chosen: settings.Settings) -> None:
    """Raise ConfigError now; otherwise each worker would fail, again and again."""
    if chosen.tls_cert is None or chosen.tls_key is None:
        return
    for file in filter(None, (chosen.tls_cert, chosen.tls_key, chosen.tls_client_ca)):
        _check_readable(file)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # With a password, so that OpenSSL does not ask for one at the terminal.
        context.load_cert_chain(chosen.tls_cert, chosen.tls_key, password="")
        if chosen.tls_client_ca is not None:
            context.load_verify_locations(chosen.tls_client_ca)
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not PEM"
        raise ConfigError(f"the files for TLS cannot be used ({why}): --tls-cert, --tls-key, --tls-client-ca") from None


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"the file for TLS {file} cannot be read: {error.strerror}{denied(file, error)}") from None


async def _check_signing(store: Store, chosen: settings.Settings) -> None:
    signer = calendar.find_signer(calendar.of_line(await store.signing_keys.list(), ""), time.time())
    if signer is not None and not chosen.demands.allows_algorithm(signer.alg):
        raise ConfigError(
            f"the signing key is of {signer.alg}, which FAPI 2.0 does not allow:"
            " affiant signing-key rotate --alg ES256  first"
        )


def _announce(issuer: str, remembered: str | None, chosen: settings.Settings, written: Logs, *, pid: int) -> None:
    where = {"issuer": issuer, "data": shown_place(chosen), "workers": chosen.workers}
    if written.is_json:
        logs.log.info("affiant %s listens", __version__, extra={"members": where})
    if is_json():
        named = {"metrics": f"http://{chosen.metrics}{scraped.PATH}"} if chosen.metrics else {}
        show({"issuer": issuer, "data": shown_place(chosen), "pid": pid, **named})
        return
    if remembered is not None and remembered != issuer:
        logs.remark(written, f"the issuer was {remembered}: credentials files that name it must be made again")
    if not logs.speaks_to_people(written):
        return
    stops = "   Ctrl-C stops" if sys.stdout.isatty() else ""
    click.echo(f"affiant  issuer {issuer}   data {shown_place(chosen)}   workers {chosen.workers}{stops}")
    if chosen.metrics:
        click.echo(f"metrics  http://{chosen.metrics}{scraped.PATH}")
    if remembered is None:  # the first start
        click.echo("next     affiant api new orders --identifier https://orders.example --scope orders.read")
        click.echo("         affiant client new billing --scope orders.read")


def _offer_link(chosen: settings.Settings, written: Logs) -> None:
    if logs.speaks_to_people(written):
        first_link.offer(chosen)
    else:
        logs.log.info("the console has no user yet: %s", first_link.hint(chosen))


def _warn_of_folder(chosen: settings.Settings, written: Logs) -> None:
    folder = chosen.data.absolute()
    if chosen.database is None and folder.stat().st_mode & _OTHERS_WRITE:
        mode = f"{stat.S_IMODE(folder.stat().st_mode):04o}"
        logs.remark(written, f"other users may replace the files in {folder} (mode {mode}): run  chmod 700 {folder}")
