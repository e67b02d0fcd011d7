"""The commands that register services and APIs."""

from affiant.cli.registry.client import client
from affiant.cli.registry.policies import check, update

__all__ = ["check", "client", "update"]
