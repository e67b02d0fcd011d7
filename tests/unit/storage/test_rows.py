"""Rows of the registry: only what differs from a default is stored."""

import msgspec

from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry.clients import build
from affiant.storage.records import Client, ClientKey
from affiant.storage.registry import CLIENTS

# SQLite keeps a row of a table without a rowid in its page up to about 1,000 bytes; a longer one takes a page more.
IN_PAGE = 1000


def test_a_client_fits_into_its_page() -> None:
    client = Client("billing", "private_key_jwt", scope=("orders.read", "orders.write"), team="payments", contact="x")
    master_key = MasterKey.from_bytes(bytes(32))
    made = build(client, master_key=master_key, now=1_800_000_000, keys=(keys.generate("ES256").public(),)).client
    assert len(CLIENTS.encode(made)) < IN_PAGE
    assert CLIENTS.decode(CLIENTS.encode(made)) == made


def test_defaults_come_back() -> None:
    """Also in the records within a record, and from a row of a version that stored them."""
    client = Client("a", "none", keys=(ClientKey("k", "{}", 1),), observe=("audience",), enabled=False)
    assert b"revoked_at" not in CLIENTS.encode(client)
    assert CLIENTS.decode(CLIENTS.encode(client)) == CLIENTS.decode(msgspec.json.encode(client)) == client
