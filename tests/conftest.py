"""Fixtures that every test may ask for."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of Project Wycheproof's test vectors."""
    configured = os.environ.get("AFFIANT_VECTORS")
    folder = Path(configured) if configured else REPO.parent / "shared" / "vectors" / "wycheproof"
    if not folder.is_dir():
        pytest.skip(f"Wycheproof vectors not found at {folder}: set AFFIANT_VECTORS")
    return folder
