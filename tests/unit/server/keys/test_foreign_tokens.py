"""Tokens that others wrote: keys are made there, sign there, and are erased there; what cannot be is said with a remedy."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests import tokens

USE = str(Path(__file__).with_name("use_token.py"))
NO_EC = "cannot make keys for ES256: choose one of RS256, RS384, RS512, PS256, PS384, PS512 "
NO_EDWARDS = (
    "cannot make keys for Ed25519: choose one of ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512 "
)


def use(foreign: tokens.Foreign, folder: Path, *algorithms: str) -> dict[str, str]:
    if foreign.missing:
        pytest.skip(foreign.missing)
    done = foreign.run(folder, sys.executable, USE, *algorithms)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("foreign", "able", "unable"),
    [
        (tokens.NSS, ["ES256", "ES384", "RS256", "PS256"], {"Ed25519": NO_EDWARDS}),
        (tokens.TPM, ["ES256", "ES384", "RS256"], {"Ed25519": NO_EDWARDS}),
        (tokens.OPENCRYPTOKI, ["RS256", "PS256"], {"ES256": NO_EC}),
    ],
    ids=["NSS", "TPM", "openCryptoki"],
)
def test_keys_are_made_and_used(
    tmp_path: Path, foreign: tokens.Foreign, able: list[str], unable: dict[str, str]
) -> None:
    found = use(foreign, tmp_path, *able, *unable)
    assert {alg: found[alg] for alg in able} == dict.fromkeys(able, "")
    for alg, says in unable.items():
        assert says in found[alg]


def test_nss_itself_is_loaded_through_p11_kit(tmp_path: Path) -> None:
    alone = replace(tokens.NSS, module=tokens.NSS.softoken, script='exec "$@"', is_private=False)
    assert "(ArgumentsBad): it needs an initialisation string" in use(alone, tmp_path, "ES256")["ES256"]


def test_module_whose_daemon_is_not_there_is_refused_with_that(tmp_path: Path) -> None:
    script = tokens.OPENCRYPTOKI.script.partition("pkcsslotd\n")[0] + 'exec "$@"'
    found = use(replace(tokens.OPENCRYPTOKI, script=script), tmp_path, "PS256")
    assert "start its daemon, such as pkcsslotd" in found["PS256"]
