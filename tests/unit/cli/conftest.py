"""The authorization server and the key of the client's tests."""

from tests.unit.client.conftest import foreign, key

__all__ = ["foreign", "key"]
