"""What an operator took away from a client that registered itself, it cannot register for again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from affiant.jose import keys
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import rules

MASTER, NOW = MasterKey.from_bytes(bytes(32)), 1_800_000_000
KEY = keys.generate("ES256").public()


@pytest.mark.parametrize("left", [(), ("a",)])
def test_bounds_follow_the_operator(left: tuple[str, ...]) -> None:
    made = rules.build_client("c", auth_method="private_key_jwt", master_key=MASTER, now=NOW, keys=(KEY,)).client
    both = ("a", "b")
    standing = replace(made, registered_by="i", registration_scope=both, registration_types=both, scope=both)
    changed = rules.change_client(standing, now=NOW, scope=left, details_types=left)
    assert (changed.scope, changed.registration_scope) == (left, left)
    assert (changed.authorization_details_types, changed.registration_types) == (left, left)
    assert changed.registration_grants is None
    kept = rules.change_client(standing, now=NOW, resources=())
    assert (kept.scope, kept.registration_scope, kept.registration_types) == (both, both, both)
    fewer = rules.change_client(kept, now=NOW, grant_types=("client_credentials",))
    assert (fewer.grant_types, fewer.registration_grants) == (("client_credentials",), ("client_credentials",))
    its_own = rules.change_client(replace(kept, registered_by=None), now=NOW, grant_types=("client_credentials",))
    assert its_own.registration_grants is None
