"""The commands that register services and APIs."""

from affiant.cli.registry.client.credentials import key, secret
from affiant.cli.registry.client.policies import check, update
from affiant.cli.registry.client.registration import client

__all__ = ["check", "client", "key", "secret", "update"]
