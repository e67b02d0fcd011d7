"""The data folder or the database, used directly by a command, with or without a running server."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from affiant.cli.arguments import FOLDER
from affiant.cli.output import json_option
from affiant.errors import ConfigError
from affiant.server import settings
from affiant.server.keys import key_source
from affiant.server.keys.master_key import SETTING, MasterKey, Rings
from affiant.server.keys.vault import Vault
from affiant.server.settings import DEFAULT_HOST, DEFAULT_PORT, Settings
from affiant.storage.ports import Store
from affiant.storage.records import NotFound
from affiant.storage.sqlite import SqliteStore
from affiant.storage.sqlite.connection import create
from affiant.storage.sqlite.store import FILE_NAME
from affiant.system.files import denied
from affiant.system.urls import LOOPBACK

Result = TypeVar("Result")
ISSUER = "issuer"
KEY_CHECK = "master_key_check"
_SQLITE = "sqlite://"


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data and --database."""
    data = click.option(
        "--data",
        type=FOLDER,
        help="data folder (default: ./affiant-data)",
    )
    database = click.option(
        "--database",
        metavar="URL",
        help="postgresql://USER@HOST/NAME instead of SQLite in the data folder. Other users of this machine see the"
        " command line: keep the password in AFFIANT_DATABASE, PGPASSWORD or a passfile",
    )
    decorated: Callable[..., Any] = data(database(command))
    return decorated


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data and --database, which reach the command as `chosen`, the settings; and --json."""

    @place_options
    @json_option()
    @functools.wraps(command)
    def run(*arguments: Any, data: Path | None, database: str | None, **options: Any) -> Any:
        return command(*arguments, chosen=load(data=data, database=database), **options)

    return run


def load(**options: object) -> Settings:
    """Return the settings; sqlite:///FOLDER becomes a data folder."""
    chosen = settings.load(**options)
    if chosen.database is None:
        return chosen
    if not chosen.database.startswith(_SQLITE):
        _postgres().parse_address(chosen.database)
        return chosen
    if options.get("data") is not None:
        raise ConfigError("give either --data or --database sqlite:///FOLDER, not both")
    return chosen.model_copy(update={"data": Path(chosen.database.removeprefix(_SQLITE)), "database": None})


def load_key(chosen: Settings) -> MasterKey:
    """Return the master key, from the source that these settings and the environment give."""
    return key_source.load(chosen.data, chosen.master_key_file)


def open_store(chosen: Settings, key: MasterKey) -> Store:
    """Return the store, not yet open."""
    if chosen.database is None:
        return SqliteStore(chosen.data / FILE_NAME, audit_key=key.audit)
    store: Store = _postgres().PostgresStore(chosen.database, audit_key=key.audit)
    return store


def _postgres() -> Any:
    try:
        from affiant.storage import postgres
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigError("PostgreSQL needs asyncpg: pip install 'affiant[postgres]'") from error
    return postgres


def open_vault(chosen: Settings, key: MasterKey) -> Vault:
    """Return the vault that makes signing keys: in the configured PKCS #11 token, else sealed in the store."""
    if chosen.pkcs11_module is None or chosen.pkcs11_token is None:
        return Vault(key)
    try:
        from affiant.signers.pkcs11 import token
    except ModuleNotFoundError as error:
        if error.name != "pkcs11":
            raise
        raise ConfigError("a PKCS #11 token needs python-pkcs11: pip install 'affiant[pkcs11]'") from error
    return Vault(key, token.load(chosen.pkcs11_module, chosen.pkcs11_token, chosen.pkcs11_pin_file))


def has_data(chosen: Settings) -> bool:
    """Whether there is a database; for a PostgreSQL URL always true, since only opening it finds out."""
    if chosen.database is not None:
        return True
    path = chosen.data / FILE_NAME
    try:
        return path.exists()
    except PermissionError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}{denied(path, error)}") from error


def shown_place(chosen: Settings) -> str:
    """Return where the data is: the full path, or the URL without a password."""
    if chosen.database is None:
        return str(chosen.data.absolute())
    return str(_postgres().parse_address(chosen.database))


def check_data(chosen: Settings) -> None:
    """Raise NotFound if there is no database: a command that only reads must not create one."""
    if not has_data(chosen):
        raise NotFound(f"there is no database in {shown_place(chosen)}: give the server's data folder with --data")


def with_store(place: Settings | Path, work: Callable[[Store, MasterKey], Awaitable[Result]]) -> Result:
    """Run this on the existing store: the configured one, or SQLite in this folder. Create nothing."""
    chosen = place
    if not isinstance(chosen, Settings):
        chosen = settings.load(data=place).model_copy(update={"database": None})
    check_data(chosen)

    async def run() -> Result:
        if chosen.database is not None and not await _postgres().is_made(chosen.database):
            raise NotFound(f"{shown_place(chosen)} has no tables of affiant: name another with --database")
        return await _run(chosen, load_key(chosen), work)

    return asyncio.run(run())


def with_new_store(
    chosen: Settings,
    work: Callable[[Store, MasterKey], Awaitable[Result]],
    *,
    report: Callable[[str], None] = lambda made: click.echo(f"affiant: made {made}", err=True),
) -> Result:
    """Run this on the configured store, and create it if it does not exist; `report` gets the path of what was made."""

    async def run() -> Result:
        has_data(chosen)  # raises if this user may not enter the folder
        before = {path for path in _paths(chosen) if path.exists()}
        create_folder(chosen)
        # Order: the key before the first page of the database, so that a second process that finds one finds both.
        may_be_new = chosen.database is not None or _is_empty(chosen.data / FILE_NAME)
        made = key_source.make(chosen.data, chosen.master_key_file) if may_be_new else False
        new = [str(path.absolute()) for path in _paths(chosen) if path not in before and path.exists()]
        if new:
            report(new[0])
        try:
            return await _run(chosen, load_key(chosen), work)
        except _OtherKey:
            if made:
                key_source.take_back(chosen.data)
                load_key(chosen)  # raises: it is missing
            raise

    return asyncio.run(run())


def _paths(chosen: Settings) -> tuple[Path, ...]:
    """Return the paths that may be created, the folder first."""
    files = (key_source.FILE_NAME,) if chosen.database is not None else (FILE_NAME, key_source.FILE_NAME)
    return (chosen.data, *(chosen.data / name for name in files))


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


async def _run(chosen: Settings, key: MasterKey, work: Callable[[Store, MasterKey], Awaitable[Result]]) -> Result:
    store = open_store(chosen, key)
    await store.open()
    try:
        opened = key.opened(Rings.parse(await store.settings.get(SETTING)))
        if opened.audit != key.audit:  # the store must chain with the key of the ring
            await store.close()
            store = open_store(chosen, opened)
            await store.open()
        await _check_key(store, opened)
        return await work(store, opened)
    finally:
        await store.close()


def find_key(chosen: Settings) -> MasterKey:
    """Return the master key, with the ring of the database if there is one."""

    async def work(_: Store, key: MasterKey) -> MasterKey:
        return key

    return with_store(chosen, work) if has_data(chosen) else load_key(chosen)


def create_folder(chosen: Settings) -> None:
    """Create the data folder if it is missing; with a database elsewhere it still has the master key."""
    if chosen.database is None:
        create(chosen.data / FILE_NAME)
        return
    try:
        chosen.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        remedy = denied(chosen.data, error) or ": choose another with --data"
        raise ConfigError(f"the data folder {chosen.data} cannot be made ({error.strerror}){remedy}") from error


class _OtherKey(ConfigError):
    """The database was made under another master key."""


async def _check_key(store: Store, key: MasterKey) -> None:
    """Reject another master key than the database was created with: no key could read both halves."""
    mark = await store.settings.get(KEY_CHECK)
    if mark is None:
        await store.settings.put(KEY_CHECK, _mark(key))
    else:
        check_mark(mark, key)


def check_mark(mark: str, key: MasterKey) -> None:
    """Reject a master key that did not leave this mark in a database."""
    if mark != _mark(key):
        raise _OtherKey(
            f"this database was made under another master key than {key.fingerprint}: put its {key_source.FILE_NAME}"
            f" into the data folder, or set {key_source.ENVIRONMENT} or {key_source.SETTING}; a backup needs the key of"
            " its time"
        )


def _mark(key: MasterKey) -> str:
    return key.digest(KEY_CHECK).hex()


async def find_issuer(store: Store, settings: Settings) -> str:
    """Return the issuer of this data: set, else remembered, else the default address."""
    remembered = await store.settings.get(ISSUER)
    return settings.issuer or remembered or f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"


async def is_issuer_known(store: Store, settings: Settings) -> bool:
    """Whether `find_issuer` does not fall back on the default address."""
    return settings.issuer is not None or await store.settings.get(ISSUER) is not None


def settle_issuer(settings: Settings, remembered: str | None, port: int) -> str:
    """Return the issuer to serve as.

    The setting wins, then a remembered name behind a proxy. A remembered loopback address is only where the server
    listened last time, so the address of today replaces it.
    """
    if settings.issuer is not None:
        return settings.issuer
    was_here = settings.tls_cert is not None and urlsplit(remembered or "").hostname in LOOPBACK
    if remembered is not None and remembered.startswith("https://") and not was_here:
        return remembered
    if settings.host not in LOOPBACK:
        raise ConfigError(
            f"to listen on {settings.host}, set the https name that clients reach it by: --issuer https://as.example"
        )
    host = "[::1]" if settings.host == "::1" else settings.host
    return f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"
