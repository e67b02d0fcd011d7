"""The audit record as it is written, and what never shows."""

import hmac
from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from affiant.storage.entries import GENESIS, AuditRecord, RefreshToken, chain
from affiant.storage.records import SigningKey, StoredSecret

AUDIT = AuditRecord(at=1.5, trace_id="t", endpoint="token", outcome="issued", scope="a", milliseconds=2.0)


def test_members_have_a_fixed_order_and_none_is_null() -> None:
    assert AUDIT.to_json() == (
        b'{"at":1.5,"trace_id":"t","endpoint":"token","outcome":"issued","scope":"a","milliseconds":2.0}'
    )
    assert b'"got":""' in replace(AUDIT, got="").to_json()


@pytest.mark.parametrize(
    "hostile", ["\x00", "\n", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b31m", "\u2028", "\u202e", 'a"b\\']
)
def test_controls_are_escaped_and_come_back(hostile: str) -> None:
    written = replace(AUDIT, got=hostile).to_json()
    assert written.decode().isprintable()
    assert msgspec.json.decode(written)["got"] == hostile


def test_half_a_surrogate_pair_is_spelled() -> None:
    """JSON that was received may hold one; the record of it must be written all the same."""
    written = replace(AUDIT, got="a\ud800b").to_json()
    assert written == replace(AUDIT, got="a\\ud800b").to_json()


def test_a_refusal_keeps_the_request() -> None:
    assert AUDIT.refused("assertion.replayed") == replace(AUDIT, outcome="refused", reason="assertion.replayed")


def test_a_link_is_a_keyed_digest() -> None:
    assert chain(GENESIS, b"{}", b"key") == hmac.new(b"key", bytes(32) + b"{}", sha256).digest()
    assert chain(GENESIS, b"{}") == chain(GENESIS, b"{}", b"") != chain(GENESIS, b"{}", b"key")


def test_secrets_stay_out_of_repr() -> None:
    token = RefreshToken(b"hidden", "f", "c", (), "", 0, 0, 0, successor=b"hidden")
    shown = repr((StoredSecret(b"hidden", b"hidden", 0, None), SigningKey("k", "ES256", "{}", b"hidden", 0), token))
    assert "hidden" not in shown
