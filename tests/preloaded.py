"""Imports of a fork (forks.py): the command line, the server, the guard and the client."""

import gc
from importlib import import_module

from affiant.cli.main import COMMANDS

for _module, _ in COMMANDS.values():
    import_module(f"affiant.cli.{_module}")
for _module in (
    "affiant.client.cache.owner",
    "affiant.client.protocol.credential",
    "affiant.client.protocol.flow",
    "affiant.client.protocol.server",
    "affiant.client.protocol.transport",
    "affiant.server.admin.app",
    "affiant.server.app",
    "affiant.resource",
    "cryptography.hazmat.primitives.ciphers.aead",
    "fastapi",
    "redis.backoff",
    "tests.e2e.forked",
    "uvicorn.protocols.http.auto",
):
    import_module(_module)
gc.freeze()  # or a collection in a fork would copy it all
