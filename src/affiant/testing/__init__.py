"""Test support: a real server in this process, and builders for the requests of clients.

`Server.in_process()` is the authorization server itself, on memory and without a network. `assertion`, `form`, `proof`,
`basic` and `bearer` build requests, good ones and bad ones. docs/how-to/testing.md shows both sides: testing an API
behind a Guard, and testing a Service.
"""

from affiant.testing.clock import NOW, Clock
from affiant.testing.messages import ABSENT, ISSUER, KEY, assertion, basic, bearer, form, proof
from affiant.testing.server import UNLIMITED, ClientMembers, Server

__all__ = [
    "ABSENT",
    "ISSUER",
    "KEY",
    "NOW",
    "UNLIMITED",
    "ClientMembers",
    "Clock",
    "Server",
    "assertion",
    "basic",
    "bearer",
    "form",
    "proof",
]
