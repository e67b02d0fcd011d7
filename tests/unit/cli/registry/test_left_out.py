"""Every command accepts a JWK Set without the members that are for others, and names each of those."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.main import main
from affiant.jose import keys

Run = Callable[..., tuple[int, dict[str, Any], str]]

pytestmark = pytest.mark.rfc(7517, "5")
MINE, NEXT = keys.generate("ES256").public(), keys.generate("ES256").public()
ODD = {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd"}
WHY = 'key 2 ("odd") of the JWK Set: the curve must be P-256, P-384, P-521 or Ed25519'
JWKS = {"keys": [MINE.to_jwk(), ODD, {**NEXT.to_jwk(), "kid": MINE.kid}]}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("set.json").write_text(json.dumps(JWKS))

    def run(*words: str) -> tuple[int, dict[str, Any], str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--json"])
        said = capsys.readouterr()
        return int(str(ended.value.code)), json.loads(said.out), said.err

    return run


def kids(document: dict[str, Any]) -> list[str]:
    return [key["kid"] for key in document["data"]["keys"]]


def test_client_new_and_update(run: Run) -> None:
    for words in (("new", "a", "--jwks", "set.json"), ("update", "a", "--jwks", "set.json")):
        code, document, warned = run("client", *words)
        assert (code, kids(document)) == (0, [MINE.kid, MINE.kid])
        assert document["warnings"] == [f"set.json: left out: {WHY}"]
        assert f"warning: set.json: left out: {WHY}\n" in warned


def test_client_new_without_a_usable_key(run: Run) -> None:
    Path("set.json").write_text(json.dumps({"keys": [ODD, {"kty": "?"}]}))
    code, document, _ = run("client", "new", "a", "--jwks", "set.json")
    assert code == 8
    assert "no key that can be used" in document["error"]["message"]
    assert 'key 1 ("odd")' in document["error"]["message"]


def test_a_private_key_refuses_the_set(run: Run) -> None:
    Path("set.json").write_text(json.dumps({"keys": [MINE.to_jwk(), {**ODD, "d": "AA"}]}))
    code, document, _ = run("client", "new", "a", "--jwks", "set.json")
    assert code == 8
    assert "key 2 of the JWK Set: the key has private members" in document["error"]["message"]


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_plan_and_apply(run: Run, suffix: str) -> None:
    """Left-out members are no drift, and each run names them."""
    if suffix == "toml":
        Path("registry.toml").write_text('[[clients]]\nclient_id = "a"\npublic_keys = ["set.json"]\n')
    else:
        Path("registry.json").write_text(json.dumps({"clients": [{"client_id": "a", "jwks": JWKS}]}))
    for words, code in ((("apply", "--yes"), 0), (("plan",), 0), (("apply", "--yes"), 0)):
        verb, *options = words
        done, document, warned = run(verb, f"registry.{suffix}", *options)
        assert done == code, document
        assert WHY in document["warnings"][0]
        assert WHY in warned
    assert kids(run("client", "show", "a")[1]) == [MINE.kid, MINE.kid]
