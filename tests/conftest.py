"""Fixtures that every test may ask for."""

import contextlib
import gc
import os
import sys
from collections.abc import Generator, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import postgres as postgres_server

LONGEST_ID = 40
WAITING = {"browser", "chaos", "e2e", "races"}  # folders of tests that start processes
REPO = Path(__file__).resolve().parent.parent

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

os.environ.pop("GITHUB_ACTIONS", None)  # in a job of GitHub, `affiant token` prints a mask, too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store", metavar="MODULE:FUNCTION", help="run tests/contract on this store (docs/how-to/testing.md)"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector, and keep what was collected from it: it stays to the end."""
    gc.disable()
    try:
        _compile_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _compile_share(config: pytest.Config) -> None:
    """Import a share of the files first, in a worker of a first run of all: their bytecode is kept for the other workers.

    To rewrite the assertions of all files takes as long as to collect them, and each worker would do it for each file.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS or sys.dont_write_bytecode:
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for file in sorted(REPO.glob("tests/**/test_*.py"))[number::count]:
        if not any((file.parent / "__pycache__").glob(f"{file.stem}.*-pytest-*.pyc")):
            with contextlib.suppress(Exception, pytest.skip.Exception):  # the collection itself reports it
                import_module(".".join(file.relative_to(REPO).with_suffix("").parts))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that wait for processes among those that compute: one waits while the other computes."""
    files = dict.fromkeys(item.path for item in items)
    place: dict[Path, float] = {}
    for waits in (True, False):
        alike = [file for file in files if WAITING.isdisjoint(file.relative_to(REPO).parts) is not waits]
        place |= {file: number / len(alike) for number, file in enumerate(alike)}
    items.sort(key=lambda item: place[item.path])


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its argument: it may be random, and each worker has to collect the same tests."""
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_ID else None


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and no variable of affiant in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("AFFIANT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of Project Wycheproof's test vectors."""
    configured = os.environ.get("AFFIANT_VECTORS")
    folder = Path(configured) if configured else REPO.parent / "shared" / "vectors" / "wycheproof"
    if not folder.is_dir():
        pytest.skip(f"Wycheproof vectors not found at {folder}: set AFFIANT_VECTORS")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Postgres]:
    """A real PostgreSQL, for all tests of a run; what they make in it is dropped at the end."""
    named = postgres_server.configured()
    server = postgres_server.Postgres(named) if named else postgres_server.make()
    if server is None:
        pytest.skip(postgres_server.MISSING)
    try:
        yield server
    finally:
        if named:
            server.drop_all()
        else:
            postgres_server.remove(server)


@pytest.fixture
def own_postgres() -> Iterator[postgres_server.Postgres]:
    """A server of this test alone, to be stopped and started."""
    server = postgres_server.make()
    if server is None:
        pytest.skip(postgres_server.MISSING)
    try:
        yield server
    finally:
        postgres_server.remove(server)


@pytest.fixture
def database(postgres: postgres_server.Postgres) -> str:
    """The URL of a new, empty database."""
    return postgres.create()


@pytest.fixture
def tables(postgres: postgres_server.Postgres) -> Iterator[str]:
    """The URL of a database with tables and no records, for tests that leave the tables as they are."""
    url = postgres.lend()
    yield url
    postgres.give_back(url)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where several processes may open one store: a path or a URL."""
    return str(tmp_path / "shared.db") if request.param == "sqlite" else request.getfixturevalue("tables")
