"""`affiant call`: what an API answers, as people see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.unit.client.conftest import Answer, Foreign

from affiant.cli.output import Answered
from affiant.cli.tokens.call import call

if TYPE_CHECKING:
    from pathlib import Path

    from affiant.jose.keys import PrivateKey


@pytest.mark.parametrize("control", ["\x1b[2J", "\x9bK", "\x7f"])
def test_a_challenge_is_shown_without_what_a_terminal_obeys(
    foreign: Foreign, key: PrivateKey, tmp_path: Path, control: str
) -> None:
    path = tmp_path / "billing.affiant.json"
    who = {"affiant": 1, "issuer": foreign.url, "client_id": "billing", "auth_method": "private_key_jwt"}
    path.write_text(json.dumps({**who, "key": key.to_jwk()}))
    path.chmod(0o600)
    challenge = f'Bearer error="insufficient_scope{control}"'
    foreign.standing["/orders"] = Answer(403, {}, {"WWW-Authenticate": challenge})
    done = CliRunner().invoke(call, [f"{foreign.url}/orders", "-c", str(path), "--no-cache"])
    assert isinstance(done.exception, Answered)
    assert str(done.exception).startswith(f'{foreign.url}/orders answered 403 Bearer error="insufficient_scope')
    assert str(done.exception).isprintable()
    assert done.exception.details["www_authenticate"] == challenge
