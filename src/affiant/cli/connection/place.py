"""The place that a command administers: the data on this machine, or the server of another issuer.

The data is administered through the admin API too, called in this process: no network and no token, since a user who
can read the data folder is an owner. A remote server gets the same requests over HTTP.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import structs

from affiant.cli.arguments import FILE
from affiant.cli.connection import data as data_folder
from affiant.cli.connection.admin import Admin
from affiant.cli.output import json_option
from affiant.server.settings import Settings
from affiant.system.values import Value

Result = TypeVar("Result")


class Place(Value, frozen=True):
    """The data of these settings, or the server at `url`."""

    chosen: Settings
    url: str | None = None
    credentials: Path | None = None  # of a client of the remote admin API
    options: tuple[str, ...] = ()  # names of the settings given on the command line
    may_be_new: bool = False

    @property
    def is_remote(self) -> bool:
        return self.url is not None

    def or_new(self) -> Place:
        """Return the place with data that is created if it does not exist, for commands that can be the first."""
        return structs.replace(self, may_be_new=True)

    def run(self, work: Callable[[Admin], Awaitable[Result]]) -> Result:
        """Run this with the admin API."""
        if self.url is not None:
            from affiant.cli.connection import remote

            return remote.run(self.url, self.credentials, work)
        from affiant.cli.connection import local

        return local.run(self.chosen, work, options=self.options, may_be_new=self.may_be_new)

    # One request each:

    def get(self, path: str, **query: Any) -> Any:
        return self.run(lambda api: api.get(path, **query))

    def all(self, path: str, **query: Any) -> list[Any]:
        return self.run(lambda api: api.all(path, **query))

    def post(self, path: str, members: dict[str, Any] | None = None) -> Any:
        return self.run(lambda api: api.post(path, members))

    def patch(self, path: str, members: dict[str, Any]) -> Any:
        return self.run(lambda api: api.patch(path, members))

    def delete(self, path: str) -> Any:
        return self.run(lambda api: api.delete(path))


def admin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data, --database, --url and --credentials, which reach the command as `place`; and --json."""

    @data_folder.place_options
    @click.option("--url", metavar="ISSUER", help="administer this server, over its admin API")
    @click.option(
        "-c",
        "--credentials",
        type=FILE,
        help="with --url: credentials file of a client of its admin API (default: what `affiant who` finds)",
    )
    @json_option()
    @functools.wraps(command)
    def run(
        *arguments: Any,
        data: Path | None,
        database: str | None,
        url: str | None,
        credentials: Path | None,
        **options: Any,
    ) -> Any:
        if url is not None and (data is not None or database is not None):
            raise click.UsageError("give either --url for a remote server, or --data or --database for local data")
        if url is None and credentials is not None:
            raise click.UsageError("--credentials goes with --url: local data needs none")
        given = tuple(name for name, value in (("data", data), ("database", database)) if value is not None)
        place = Place(data_folder.load(data=data, database=database), url, credentials, given)
        return command(*arguments, place=place, **options)

    return run
