"""Services with a store: many processes, one request; and what may not be shared."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests import certificates, redis_server
from tests.forks import FORKS
from tests.redis_server import RedisServer
from tests.unit.client.conftest import Answer, Foreign, token_answer
from tests.unit.client.stores.test_contract import KEY as STORE_KEY

from affiant import Service
from affiant.client import EncryptedFileStore, FileTokenStore, RedisStore, TokenStore
from affiant.client.cache import breaker
from affiant.errors import LocalError, RemoteError
from affiant.jose import keys
from affiant.jose.keys import PrivateKey


def _store(kind: str, folder: str) -> TokenStore:
    if kind == "redis":
        return RedisStore(f"unix://{folder}/redis.sock", key=STORE_KEY)
    return EncryptedFileStore(Path(folder, "tokens"), key=STORE_KEY)


def _ask(kind: str, folder: str, issuer: str, key: dict[str, Any], start: Any, found: Any) -> None:
    service = Service(issuer, "billing", key=key, store=_store(kind, folder), http=httpx2.Client(verify=False))
    start.wait(30)
    found.put(service.token().value)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A kind of store, and its folder."""
    kind: str = request.param
    if kind != "redis":
        yield kind, str(tmp_path)
        return
    if redis_server.PROGRAM is None:
        pytest.skip(redis_server.MISSING)
    server = RedisServer(tmp_path)
    server.start()
    yield kind, str(tmp_path)
    server.kill()


@pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.soak)])
@pytest.mark.parametrize("folder", ["encrypted", "redis"], indirect=True)
def test_processes_make_one_request(foreign: Foreign, key: PrivateKey, folder: tuple[str, str], count: int) -> None:
    foreign.delay = 0.2
    start, found = FORKS.Barrier(count), FORKS.Queue()
    running = [
        FORKS.Process(target=_ask, args=(*folder, foreign.url, key.to_jwk(), start, found)) for _ in range(count)
    ]
    for process in running:
        process.start()
    values = [found.get(timeout=60) for _ in running]
    for process in running:
        process.join(30)
    assert set(values) == {"token-1"}
    assert len(foreign.sent("/token")) == 1


def _hold(folder: str, issuer: str, key: dict[str, Any]) -> None:
    Service(issuer, "billing", key=key, store=_store("encrypted", folder), http=httpx2.Client(verify=False)).token()


def test_a_process_killed_during_its_request_holds_up_nobody(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    foreign.delay = 30
    holder = FORKS.Process(target=_hold, args=(str(tmp_path), foreign.url, key.to_jwk()))
    holder.start()
    while not foreign.sent("/token"):
        time.sleep(0.01)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    foreign.delay = 0
    service = Service(foreign.url, "billing", key=key, store=_store("encrypted", str(tmp_path)))
    begun = time.monotonic()
    assert service.token().value == "token-2"
    assert time.monotonic() - begun < 10


def test_a_refused_token_reaches_the_others(foreign: Foreign, api: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    """401 once: it is gone from the store, and whoever has it takes the next one from there."""
    mine, other = (Service(foreign.url, "billing", key=key, store=FileTokenStore(tmp_path)) for _ in range(2))
    assert {mine.token().value, other.token().value} == {"token-1"}
    api.default["/orders"] = Answer(200, {})
    api.script["/orders"] = [Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})]
    with httpx2.Client(verify=False, auth=mine.auth(origin=api.url)) as http:
        assert http.get(f"{api.url}/orders").is_success
    api.script["/orders"] = [Answer(401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})]
    with httpx2.Client(verify=False, auth=other.auth(origin=api.url)) as http:
        assert http.get(f"{api.url}/orders").is_success
    sent = [request.headers["authorization"].removeprefix("Bearer ") for request in api.sent("/orders")]
    assert sent == ["token-1", "token-2", "token-1", "token-2"]
    assert len(foreign.sent("/token")) == 2


def test_a_refused_token_leaves_the_store_although_no_other_is_requested(
    foreign: Foreign, key: PrivateKey, tmp_path: Path
) -> None:
    """The process that saw the 401 may never ask again: a third one must not find the token."""
    service = Service(foreign.url, "billing", key=key, store=FileTokenStore(tmp_path))
    assert service._source.forget(service._key(None, None), service.token().value)
    end = time.monotonic() + 10
    while any(path.suffix != ".lock" for path in tmp_path.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert Service(foreign.url, "billing", key=key, store=FileTokenStore(tmp_path)).token().value == "token-2"


def test_only_the_same_client_key_and_request_share_a_token(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    """Any difference is another token: a bound one would be useless, another client's would be a mix-up."""
    store = FileTokenStore(tmp_path / "tokens")
    foreign.default["/token"] = Answer(400, {"error": "invalid_request"})
    proof, secret = keys.generate("ES256"), "a secret of this client"
    files = [certificates.lasting().write(tmp_path, name)[0] for name in ("one", "two")]
    services = [
        Service(foreign.url, "billing", key=key, store=store),
        Service(foreign.other_name, "billing", key=key, store=store),
        Service(foreign.url, "other", key=key, store=store),
        Service(foreign.url, "billing", key=keys.generate("ES256"), store=store),
        Service(foreign.url, "billing", key=key, kid="another", store=store),
        Service(foreign.url, "billing", secret=secret, store=store),
        Service(foreign.url, "billing", key=key, dpop=proof, store=store),
        Service(foreign.url, "billing", key=key, dpop=keys.generate("ES256"), store=store),
        Service(foreign.url, "billing", key=key, grant="jwt-bearer", subject="alice", store=store),
        Service(foreign.url, "billing", key=key, grant="jwt-bearer", subject="mallory", store=store),
        Service(foreign.url, "billing", key=key, claims={"tenant": "a"}, store=store),
        Service(foreign.url, "billing", key=key, token_endpoint=f"{foreign.url}/other", store=store),
        Service(foreign.url, "billing", key=key, unsafe_reach="http://127.0.0.1:1", store=store),
        Service(foreign.url, "billing", key=key, scope="a", store=store),
        Service(foreign.url, "billing", key=key, resource="https://a.example", store=store),
        *(Service(foreign.url, "billing", key=key, certificate=path, store=store) for path in files),
    ]
    names = [
        service._source._sharing._names(service._key(None, None)) for service in services if service._source._sharing
    ]
    assert len(set(names)) == len(services)
    assert not any(secret in part for name in names for part in name)
    again = Service(foreign.url, "billing", key=key, dpop=proof, store=store)
    assert again._source._sharing is not None
    assert again._source._sharing._names(again._key(None, None)) == names[6]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dpop": True}, "dpop= must be a key"),
        ({"claims": dict}, "claims= must be a mapping"),
        ({"key": None, "auth_method": "tls_client_auth"}, "name the certificate"),
    ],
)
def test_what_cannot_be_shared_is_said(
    foreign: Foreign, key: PrivateKey, http: httpx2.Client, tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(LocalError, match=why):
        Service(foreign.url, "billing", **{"key": key, "http": http, "store": FileTokenStore(tmp_path), **options})


def test_an_ended_token_is_requested_again(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    """By the clock of the reader, whatever the store says about its ttl."""
    foreign.default["/token"] = token_answer("short", 100)
    now = time.time()
    Service(foreign.url, "billing", key=key, clock=lambda: now, store=FileTokenStore(tmp_path)).token()
    foreign.default["/token"] = token_answer("next", 100)
    later = Service(foreign.url, "billing", key=key, clock=lambda: now + 95, store=FileTokenStore(tmp_path))
    assert later.token().value == "next"


def test_a_store_that_is_down_is_logged_once(
    foreign: Foreign, key: PrivateKey, http: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Every token is requested all the same. The log has no address, which may have a password."""
    pytest.importorskip("redis")
    store = RedisStore("redis://user:canary@127.0.0.1:1/0", key=STORE_KEY)
    service = Service(foreign.url, "billing", key=key, store=store, http=http)
    with caplog.at_level(logging.DEBUG):
        assert [service.token(f"https://{name}.example").value for name in "abc"] == ["token-1", "token-2", "token-3"]
    assert service._source.forget(service._key("https://a.example", None), "token-1")
    assert service.token("https://a.example").value == "token-4"
    (record,) = [record for record in caplog.records if record.name.startswith("affiant")]
    assert record.getMessage().startswith("the token store RedisStore (ConnectionError) failed")
    assert "canary" not in caplog.text
    assert "canary" not in repr(store)


def test_a_redis_that_dies_between_two_steps_fails_nobody(foreign: Foreign, key: PrivateKey, tmp_path: Path) -> None:
    """It dies while the token is requested: the lock and the value are lost, the token is not."""
    if redis_server.PROGRAM is None:
        pytest.skip(redis_server.MISSING)
    server = RedisServer(tmp_path)
    server.start()
    foreign.delay = 0.5
    service = Service(foreign.url, "billing", key=key, store=_store("redis", str(tmp_path)))
    found = list[str]()
    caller = threading.Thread(target=lambda: found.append(service.token().value))
    caller.start()
    while not foreign.sent("/token"):
        time.sleep(0.01)
    server.kill()
    caller.join(20)
    assert found == ["token-1"]
    foreign.delay = 0
    assert service.token("https://b.example").value == "token-2"
    server.start()
    assert service.token("https://c.example").value == "token-3"
    other = Service(foreign.url, "billing", key=key, store=_store("redis", str(tmp_path)))
    assert other.token("https://c.example").value == "token-3", "it is used again as soon as it is back"
    server.kill()


def test_an_unreachable_server_is_reported_as_without_a_store(key: PrivateKey, tmp_path: Path) -> None:
    foreign = Foreign()
    foreign.close()
    service = Service(foreign.url, "billing", key=key, store=FileTokenStore(tmp_path))
    with pytest.raises(RemoteError, match="it refused the connection"):
        service.token()


def test_a_token_of_another_process_does_not_say_that_the_server_works(
    foreign: Foreign, key: PrivateKey, http: httpx2.Client, tmp_path: Path
) -> None:
    """Nor does a token that a failed renewal left: after the failures in a row the server is left alone."""
    store, now = FileTokenStore(tmp_path), time.time()
    other = Service(foreign.url, "billing", key=key, http=http, store=store, clock=lambda: now)
    mine = Service(foreign.url, "billing", key=key, http=http, store=store, clock=lambda: now)
    other.discover()
    mine.discover()
    names = [f"https://{number}.example" for number in range(3)]
    for name in names:
        other.token(name)
    sent = len(foreign.sent("/token"))
    foreign.default["/token"] = Answer(500, {})
    for number in range(breaker.FAILURES + 3):
        with pytest.raises(RemoteError):
            mine.token(f"https://new-{number}.example")
        if number < len(names):
            assert mine.token(names[number]).value.startswith("token-")
    assert len(foreign.sent("/token")) == sent + breaker.FAILURES
