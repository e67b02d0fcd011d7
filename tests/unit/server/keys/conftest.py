"""A PKCS #11 token for the tests of this folder."""

import os
from collections.abc import Iterator

import pytest
from tests import softhsm


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[softhsm.SoftHsm]:
    """One for all tests of a process: the module reads its configuration once."""
    made = softhsm.make(tmp_path_factory.mktemp("softhsm"))
    if made is None:
        pytest.skip(softhsm.MISSING)
    before = os.environ.get(softhsm.CONFIGURATION)
    os.environ[softhsm.CONFIGURATION] = str(made.configuration)
    yield made
    if before is None:
        del os.environ[softhsm.CONFIGURATION]
    else:
        os.environ[softhsm.CONFIGURATION] = before
