"""The commands that register services and APIs."""

from affiant.cli.registry.client import client
from affiant.cli.registry.policies import check, update
from affiant.cli.registry.rotation import key, secret

__all__ = ["check", "client", "key", "secret", "update"]
