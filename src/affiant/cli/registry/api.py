"""`affiant api`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from affiant.cli.data import store_options, with_store
from affiant.cli.output import json_option, show
from affiant.server.registry import rules

if TYPE_CHECKING:
    from affiant.server.keys.master_key import MasterKey
    from affiant.server.settings import Settings
    from affiant.storage.ports import Store
    from affiant.storage.records import Api


@click.group()
def api() -> None:
    """The APIs that tokens are for."""


@api.command()
@click.argument("name")
@click.option("--identifier", required=True, metavar="URL", help="what the token's aud will be")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="a scope it knows; may repeat")
@store_options
@json_option
def new(name: str, identifier: str, scopes: tuple[str, ...], chosen: Settings, as_json: bool) -> None:
    """Register an API. The first one is the default, for tokens that name none.

    \b
    affiant api new orders --identifier https://orders.example --scope orders.read --scope orders.write
    """

    async def work(store: Store, _: MasterKey) -> Api:
        first = await store.apis.default() is None
        made = rules.build_api(name, identifier=identifier, scopes=scopes, is_default=first, now=int(time.time()))
        await store.apis.add(made)
        return made

    made = with_store(chosen, work)
    show(asdict(made), f"api {name}: {identifier}{' (default)' if made.is_default else ''}", as_json=as_json)


@api.command("list")
@store_options
@json_option
def list_(chosen: Settings, as_json: bool) -> None:
    """List the APIs."""

    async def work(store: Store, _: MasterKey) -> list[Api]:
        return await store.apis.list()

    found = with_store(chosen, work)
    lines = [f"{a.name}  {a.identifier}  {' '.join(a.scopes)}{'  (default)' if a.is_default else ''}" for a in found]
    text = "\n".join(lines) or "no APIs: affiant api new NAME --identifier URL"
    show([asdict(a) for a in found], text, as_json=as_json)
