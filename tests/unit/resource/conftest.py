"""Both ways to check a request; the tests of a verdict run with each."""

from typing import Any

import pytest
from tests.unit.resource import issuer
from tests.unit.resource.issuer import Check


@pytest.fixture(params=[issuer.check_in_loop, issuer.check_in_thread], ids=["loop", "thread"])
def check(request: Any) -> Check:
    found: Check = request.param
    return found
