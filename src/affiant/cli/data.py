"""The data folder, as the commands use it: beside a running server or without one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from affiant.errors import ConfigError
from affiant.server.keys import master_key
from affiant.server.settings import DEFAULT_HOST, DEFAULT_PORT, Settings
from affiant.storage.sqlite import SqliteStore
from affiant.storage.sqlite.connection import create
from affiant.storage.sqlite.store import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from affiant.server.keys.master_key import MasterKey
    from affiant.storage.ports import Store

Result = TypeVar("Result")
ISSUER = "issuer"

data_option: Callable[[Any], Any] = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, readable=False),
    help="data folder (default: ./affiant-data)",
)


def open_store(data: Path, key: MasterKey) -> SqliteStore:
    """The store in this folder, not yet open."""
    return SqliteStore(data / FILE_NAME, audit_key=key.audit)


def with_store(data: Path, work: Callable[[Store, MasterKey], Awaitable[Result]]) -> Result:
    """Run this on the open store of a data folder.

    Raises:
        ConfigError: the folder cannot be used.
    """

    async def run() -> Result:
        create(data / FILE_NAME)  # and with it the folder, where the master key belongs too
        key = master_key.load(data)
        store = open_store(data, key)
        await store.open()
        try:
            return await work(store, key)
        finally:
            await store.close()

    return asyncio.run(run())


async def find_issuer(store: Store, settings: Settings) -> str:
    """The issuer that clients of this data folder should trust: set, else remembered, else the default address."""
    remembered = await store.settings.get(ISSUER)
    return settings.issuer or remembered or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"


def settle_issuer(settings: Settings, remembered: str | None, port: int) -> str:
    """The issuer to serve as.

    What was set wins. A remembered name behind a proxy stays. A remembered loopback address is just where the server
    listened last time, so the address of today replaces it.

    Raises:
        ConfigError: the server would listen to others under a name that only this machine can use.
    """
    if settings.issuer is not None:
        return settings.issuer
    if remembered is not None and remembered.startswith("https://"):
        return remembered
    if settings.host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(
            f"to listen on {settings.host}, say under which https name clients reach it: --issuer https://as.example"
        )
    host = "[::1]" if settings.host == "::1" else settings.host
    return f"http://{host}:{port}"
