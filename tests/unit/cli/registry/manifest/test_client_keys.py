"""The file decides about the operator's keys, and about a client's own keys only with `own_keys`."""

from typing import Any

import pytest

from affiant.cli.registry.manifest import client_keys, plan
from affiant.cli.registry.manifest.plan import Found
from affiant.cli.registry.manifest.registry_file import Desired
from affiant.errors import ConfigError
from affiant.jose import keys
from affiant.jose.key_set import KeySet

OLD, NEW, NEXT = (keys.generate("ES256").public() for _ in range(3))


def _key(key: Any, state: str = "active", source: str = "operator") -> dict[str, Any]:
    return {"thumbprint": key.thumbprint, "kid": key.kid, "alg": key.alg, "state": state, "source": source}


def _plan(wanted: list[Any], standing: list[dict[str, Any]], **more: Any) -> tuple[list[plan.Step], list[str]]:
    file = Desired.model_validate(
        {"clients": [{"client_id": "billing", "jwks": KeySet(tuple(wanted)).to_jwks(), **more}]}
    )
    found = {"client_id": "billing", "token_endpoint_auth_method": "private_key_jwt", "keys": standing}
    return plan.build(file, Found([], [found])), client_keys.notes(file, [found])


@pytest.mark.parametrize("source", ["client", "registration"])
@pytest.mark.parametrize("state", ["active", "retiring"])
def test_key_that_the_client_added_is_no_drift(state: str, source: str) -> None:
    steps, notes = _plan([OLD], [_key(OLD, state), _key(NEW, source=source)])
    assert steps == []
    assert notes == [f"client billing: the client added the key {NEW.thumbprint} itself; it stays"]


def test_key_that_ended_in_a_rotation_is_reported() -> None:
    steps, notes = _plan([OLD], [_key(OLD, "revoked"), _key(NEW, source="client")])
    assert steps == []
    assert (
        notes[1]
        == f"client billing: the key {OLD.thumbprint} has ended and cannot be used again; remove it from the file"
    )


def test_a_key_of_the_operator_follows_the_file() -> None:
    """The client's own keys stay, and are not compared again before the change."""
    standing = [_key(OLD), _key(NEW, source="client")]
    (step,), _ = _plan([NEXT], standing)
    assert step.changes == (plan.Change("jwks", [OLD.thumbprint], [NEXT.thumbprint]),)
    assert (step.members["own_keys"], step.members["jwks"]) == ("keep", {"keys": [NEXT.to_jwk()]})
    assert step.is_still({"keys": [_key(OLD), _key(keys.generate("ES256").public(), source="client")]})
    assert not step.is_still({"keys": [_key(OLD), _key(NEW)]})


def test_ended_key_is_not_sent_with_a_new_one() -> None:
    (step,), _ = _plan([OLD, NEXT], [_key(OLD, "revoked"), _key(NEW, source="client")])
    assert step.members["jwks"] == {"keys": [NEXT.to_jwk()]}


def test_client_without_a_usable_key_is_refused() -> None:
    """The operator revoked its key, which the file cannot register again."""
    with pytest.raises(ConfigError, match="client billing: all of its keys have ended"):
        _plan([OLD], [_key(OLD, "revoked")])


def test_own_keys_revoke_leaves_only_the_keys_of_the_file() -> None:
    (step,), notes = _plan([OLD], [_key(OLD), _key(NEW, source="client")], own_keys="revoke")
    assert step.changes == (plan.Change("jwks", sorted([OLD.thumbprint, NEW.thumbprint]), [OLD.thumbprint]),)
    assert (step.members["own_keys"], notes) == ("revoke", [])


def test_a_key_of_the_client_that_the_file_names_is_no_drift() -> None:
    assert _plan([OLD, NEW], [_key(OLD), _key(NEW, source="client")])[0] == []
    assert _plan([OLD, NEW], [_key(OLD), _key(NEW, source="client")], own_keys="revoke")[0] == []
