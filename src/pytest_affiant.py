"""The pytest plugin of affiant: the fixture `affiant_issuer`.

pytest loads this module in every run of an environment that has affiant. It lies outside the package, so that a run
which does not use the fixture loads nothing of affiant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the fixture loads them
    from affiant.resource import Guard
    from affiant.testing import FakeIssuer


@pytest.fixture
def affiant_issuer() -> Iterator[Callable[..., FakeIssuer]]:
    """Return a function that takes over guards for the test: ``affiant_issuer(guard)`` is a FakeIssuer."""
    from affiant.testing import FakeIssuer  # noqa: PLC0415 - only tests with this fixture load affiant

    made: dict[tuple[Guard, ...], FakeIssuer] = {}
    with ExitStack() as stack:

        def take_over(*guards: Guard) -> FakeIssuer:
            if guards not in made:
                made[guards] = stack.enter_context(FakeIssuer(*guards))
            return made[guards]

        yield take_over
