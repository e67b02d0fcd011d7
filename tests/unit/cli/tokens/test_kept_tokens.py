"""Kept tokens of the command line: their identity, and the modules that reading one loads."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant.cli.tokens.kept_tokens import KeptTokens
from affiant.client.credentials.file import Credentials
from affiant.client.token import TokenKey
from affiant.errors import Unreachable
from affiant.jose import keys
from affiant.jose.keys import PrivateKey

ANY = TokenKey(None, None)
WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache"


@pytest.fixture
def mine(foreign: Foreign, key: PrivateKey) -> Credentials:
    return Credentials(foreign.url, "billing", "private_key_jwt", kid=key.kid, key=key.to_jwk(), scope="a")


@pytest.mark.usefixtures("cache")
def test_kept_tokens_differ_by_client_scope_and_api(foreign: Foreign, mine: Credentials) -> None:
    """A scope or API that the credentials file implies is the same as a given one; any difference is another token."""
    first = KeptTokens(mine).get(ANY).value
    assert KeptTokens(mine).get(TokenKey(None, "a")).value == first
    assert KeptTokens(replace(mine, resource="x:y")).get(TokenKey("x:y", "a")).value == "token-2"
    assert KeptTokens(mine).get(TokenKey("x:y", None)).value == "token-2"
    other = keys.generate("ES256").to_jwk()
    changes: list[dict[str, Any]] = [{"client_id": "other"}, {"scope": "b"}, {"kid": "other"}, {"key": other}]
    assert len({KeptTokens(replace(mine, **change)).get(ANY).value for change in changes}) == len(changes)
    assert len(foreign.sent("/token")) == 2 + len(changes)


@pytest.mark.usefixtures("cache")
def test_kept_tokens_differ_by_the_way_to_the_server_and_the_account(foreign: Foreign, mine: Credentials) -> None:
    grant = replace(mine, grant="jwt-bearer", subject="alice")
    several = [
        mine,
        grant,
        replace(grant, subject="bob"),
        replace(mine, token_endpoint=f"{foreign.url}/token"),
        replace(mine, reach=foreign.url),
        replace(mine, unsafe_reach=foreign.url),
        replace(mine, unsafe_audience="token_endpoint"),
    ]
    assert len({KeptTokens(one).get(ANY).value for one in several}) == len(several)
    assert len({KeptTokens(one).get(ANY).value for one in several}) == len(foreign.sent("/token"))


@pytest.mark.usefixtures("cache")
def test_forgotten_token_is_fetched_again(mine: Credentials) -> None:
    kept = KeptTokens(mine)
    kept.forget(ANY, kept.get(ANY).value)
    assert kept.get(ANY).value == "token-2"
    kept.forget(ANY, "another")
    assert asyncio.run(kept.aget(ANY)).value == "token-2"


@pytest.mark.parametrize("named", ["", "relative/path"])
def test_cache_is_in_the_home_by_default(
    cache: Path, mine: Credentials, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A relative XDG_CACHE_HOME is ignored (XDG Base Directory Specification)."""
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.chdir(cache.parent)
    KeptTokens(mine).get(ANY)
    assert (cache.parent / "home" / ".cache" / "affiant" / "tokens").is_dir()
    assert not (cache.parent / "relative").exists()


@pytest.mark.usefixtures("cache")
def test_unreachable_server_is_reported_once(
    foreign: Foreign, mine: Credentials, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server is asked once, and the message says that it is unreachable."""
    foreign.close()
    with pytest.raises(Unreachable):
        KeptTokens(mine).get(ANY)
    assert capsys.readouterr().err == ""


def test_kept_token_loads_little(cache: Path, mine: Credentials) -> None:
    """Shell scripts run `$(affiant token)`: a kept token loads no module that signs or speaks HTTP."""
    path = cache.parent / "billing.affiant.json"
    mine.write(path)
    token = KeptTokens(mine).get(ANY).value
    program = """
import sys
from affiant.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules)
"""
    command = [sys.executable, "-c", program, "token", "-c", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    printed, loaded = done.stdout.splitlines()
    assert printed == token
    assert not {"cryptography", "httpx2", "asyncio", "ssl", "socket"} & set(loaded.split())


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("broken", [Answer(404), Answer(503), Answer(200, raw=b"not a feed")])
def test_a_server_whose_feed_cannot_be_read_keeps_the_token(
    foreign: Foreign, mine: Credentials, monkeypatch: pytest.MonkeyPatch, broken: Answer
) -> None:
    """An outage must not stop a script that has a token."""
    foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, revocations_uri=f"{foreign.url}/revocations")
    foreign.default["/revocations"] = broken
    first = KeptTokens(mine).get(ANY).value
    monkeypatch.setattr("affiant.client.cache.stores.kept.CHECK_SECONDS", 0.0)
    assert KeptTokens(mine).get(ANY).value == first
    assert len(foreign.sent("/revocations")) == 1
    foreign.default.clear()
    assert KeptTokens(mine).get(ANY).value == first, "a server without a feed"
