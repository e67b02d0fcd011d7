"""`affiant guard`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import uvicorn

from affiant.cli.arguments import FILE
from affiant.cli.output import is_json, json_option, show
from affiant.cli.server.listening import port
from affiant.cli.server.listening.table import Caps, parse_networks, raise_limit
from affiant.cli.server.routes import Rules, parse, scopes
from affiant.errors import ConfigError
from affiant.resource import Guard, Issuer, ResourceMetadata
from affiant.resource.frameworks.forward_auth.app import UNIX
from affiant.resource.frameworks.forward_auth.request import KINDS
from affiant.resource.issuer.revocations import POLICIES
from affiant.resource.options import DPOP_POLICIES, MOST_LEEWAY
from affiant.resource.replays import RedisReplays, ReplayStore, SqliteReplays
from affiant.system.text import printable
from affiant.system.urls import join_host
from affiant.telemetry import Telemetry

MAX_CONNECTIONS = 4096
REPLAYS = "AFFIANT_GUARD_REPLAYS"
_LOOPBACK = ("127.0.0.0/8", "::1")


@click.group()
def guard() -> None:
    """A proxy asks the guard about each request, and forwards what it allows.

    docs/how-to has a page for each of nginx, Caddy, Traefik and Envoy.
    """


@guard.command()
@click.option("--issuer", required=True, multiple=True, metavar="URL", help="issuer of the tokens; one or more")
@click.option("--audience", required=True, multiple=True, metavar="URL", help="identifier of the API; one or more")
@click.option("--reach", metavar="URL", help="where the guard reaches the issuer, if its identifier is another address")
@click.option("--proxy", required=True, type=click.Choice(list(KINDS)), help="the proxy that asks")
@click.option("--route", "given", multiple=True, metavar="RULE=SCOPES", help='such as "GET /orders*=orders.read"')
@click.option("--public", multiple=True, metavar="RULE", help='a route without a token, such as "GET /health"')
@click.option("--routes", type=FILE, metavar="FILE", help="the same, as a JSON object")
@click.option(
    "--listen",
    default="127.0.0.1:8400",
    metavar="ADDRESS",
    help="HOST:PORT or unix:/PATH (default: 127.0.0.1:8400)",
)
@click.option("--trust", multiple=True, metavar="ADDRESS", help="address or network of proxies (default: loopback)")
@click.option("--url", metavar="URL", help="where callers reach the API, for DPoP (default: that of the audience)")
@click.option(
    "--dpop", type=click.Choice(DPOP_POLICIES), default="optional", help="whether tokens must be bound to a key"
)
@click.option(
    "--replays", envvar=REPLAYS, metavar="PLACE", help="file or Redis URL where guards of the API share used proofs"
)
@click.option("--certificate-header", metavar="FORMAT", help="format of the client certificate that the proxy sends")
@click.option(
    "--revocations", type=click.Choice(POLICIES), default="optional", help="whether the issuer must publish them"
)
@click.option("--leeway", type=click.IntRange(0, MOST_LEEWAY), metavar="SECONDS", help="by which clocks may differ")
@click.option("--metadata", is_flag=True, help="publish the API's metadata (RFC 9728), and name them in each refusal")
@click.option("--development", is_flag=True, help="send callers the reason of a refusal")
@json_option("print one JSON document when the guard listens")
def serve(
    given: Sequence[str], public: Sequence[str], routes: Path | None, listen: str, trust: Sequence[str], **options: Any
) -> None:
    """Answer the proxies in front of an API.

    \b
    affiant guard serve --issuer https://as.example --audience https://orders.example --proxy nginx --routes FILE

    The first route that matches decides, after those of --public; a request that none matches is refused. FILE has
    them in order: {"GET /orders*": "orders.read", "POST /orders": ["orders.read", "orders.write"], "/health": null}.
    {"any_of": ["a", "b"]} needs one of the scopes, and [] any token for this API.

    Guards of one API on several machines or after a restart accept a DPoP proof once if they have the same --replays.
    A URL with a password belongs into AFFIANT_GUARD_REPLAYS, as others can see the options of a process.

    Proxies ask at /check. A load balancer probes /healthz (the process lives) and /readyz (it has the issuer's keys);
    Prometheus scrapes /metrics. The log has the reason of each refusal. With --metadata, let the proxy pass requests
    for /.well-known/oauth-protected-resource on to the guard.
    """
    address = port.parse_address(listen, option="--listen")
    trusted = _trusted(address, trust, options)
    rules = parse(public, given, routes)
    application = _guard(options, trusted, rules).forward_auth(rules, proxy=options["proxy"], trusted=trusted)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("affiant.resource").setLevel(logging.INFO)
    if isinstance(address, Path):
        listening = port.listen_at(address, option="--listen")
    else:
        listening = port.listen(*address, option="--listen")
    _announce(listening.getsockname(), options)
    networks = parse_networks(*(one for one in trusted if one != UNIX))
    caps = Caps(raise_limit(MAX_CONNECTIONS), proxies=networks)
    uvicorn.Server(uvicorn.Config(application, **port.options(caps))).run(sockets=[listening])


def _trusted(address: tuple[str, int] | Path, given: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
    """Return the proxies; if none is named, those of this machine.

    A peer that asks for itself gains nothing: it learns what its own token may do.
    """
    if isinstance(address, Path):
        if given or options["certificate_header"] is not None:
            raise ConfigError("peers of a Unix socket have no address: --trust and --certificate-header need a port")
        return (UNIX,)
    if UNIX in given:
        raise ConfigError("--trust takes addresses: a Unix socket is chosen with --listen unix:/PATH")
    if not given and not port.is_loopback(address[0]):
        raise ConfigError(f"the guard listens on {address[0]}: name the proxies that may ask, as in  --trust 10.0.0.5")
    return tuple(given) or _LOOPBACK


def _guard(options: Mapping[str, Any], trusted: Sequence[str], rules: Rules) -> Guard:
    if options["reach"] is not None and len(options["issuer"]) > 1:
        raise ConfigError("--reach is the address of one issuer: start a guard for each")
    audience = urlsplit(options["audience"][0])
    url = options["url"] or (f"{audience.scheme}://{audience.netloc}" if audience.netloc else None)
    if url is None:
        raise ConfigError("the audience is not the URL of the API: name the address that callers use, with --url")
    chosen = {name: options[name] for name in ("leeway", "certificate_header") if options[name] is not None}
    named = {name: options[name] for name in ("audience", "dpop", "development")}
    return Guard(
        [Issuer(one, reach=options["reach"], revocations=options["revocations"]) for one in options["issuer"]],
        url=url,
        certificate_proxies=trusted if "certificate_header" in chosen else (),
        replays=_store(options["replays"]),
        metadata=ResourceMetadata(scopes=scopes(rules)) if options["metadata"] else None,
        telemetry=Telemetry(),
        **named,
        **chosen,
    )


def _store(place: str | None) -> ReplayStore | None:
    if not place:
        return None
    return RedisReplays(place) if "://" in place else SqliteReplays(place)


def _announce(address: Any, options: Mapping[str, Any]) -> None:
    url, issuers, audiences = _url(address), options["issuer"], options["audience"]
    if is_json():
        show({"url": url, "issuers": issuers, "audiences": audiences, "pid": os.getpid()})
        return
    text = f"issuer {' '.join(issuers)}   audience {' '.join(audiences)}"
    click.echo(printable(f"affiant guard  {url} for {options['proxy']}   {text}"))


def _url(address: Any) -> str:
    """Return where proxies ask, as nginx writes it."""
    if isinstance(address, str):
        return f"http://unix:{address}:/check"
    return f"http://{join_host(*address[:2])}/check"
