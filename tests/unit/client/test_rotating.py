"""A key file that is rotated while a program runs: read again once, after the server refused the old key."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from tests.unit.client.conftest import Answer, Foreign

from affiant import Service
from affiant.client.credentials.file import Credentials
from affiant.errors import Refused
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey

REFUSED = Answer(401, {"error": "invalid_client"})


def put(path: Path, key: PrivateKey) -> None:
    """As a secret store does: another file takes the name."""
    form, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    draft = path.with_suffix(".new")
    draft.write_bytes(key.key.private_bytes(serialization.Encoding.PEM, form, bare))
    draft.chmod(0o600)
    draft.replace(path)


def by_path(foreign: Foreign, path: Path) -> dict[str, Any]:
    return {"key": path}


def by_text(foreign: Foreign, path: Path) -> dict[str, Any]:
    return {"key": str(path)}


def by_scheme(foreign: Foreign, path: Path) -> dict[str, Any]:
    return {"key": f"file:{path}"}


def by_credentials(foreign: Foreign, path: Path) -> dict[str, Any]:
    return {}


@pytest.fixture(params=[by_path, by_text, by_scheme, by_credentials])
def service(
    request: pytest.FixtureRequest, foreign: Foreign, http: httpx2.Client, tmp_path: Path, key: PrivateKey
) -> Iterator[Service]:
    path = tmp_path / "billing.pem"
    put(path, key)
    given = request.param(foreign, path)
    if given:
        yield Service(foreign.url, "billing", http=http, **given)
        return
    named = tmp_path / "billing.affiant.json"
    Credentials(foreign.url, "billing", "private_key_jwt", key_file=path.name).write(named)
    yield Service.from_credentials(named, http=http)


def kids(foreign: Foreign) -> list[str | None]:
    return [compact.parse(sent.form["client_assertion"]).kid for sent in foreign.sent("/token")]


def test_it_is_read_again_once(foreign: Foreign, service: Service, key: PrivateKey, tmp_path: Path) -> None:
    successor = keys.generate("ES256")
    service.token(scope="a")
    foreign.script["/token"] = [REFUSED]
    with pytest.raises(Refused):  # the same file: no reason to ask again
        service.token(scope="b")
    put(tmp_path / "billing.pem", successor)
    foreign.script["/token"] = [REFUSED]
    assert service.token(scope="c").value
    assert kids(foreign) == [key.kid, key.kid, key.kid, successor.kid]
    foreign.script["/token"] = [REFUSED]
    with pytest.raises(Refused):
        service.token(scope="d")
    assert len(kids(foreign)) == 5


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("half"), lambda path: path.chmod(0o644)])
def test_a_file_that_is_being_replaced_leaves_the_refusal(
    foreign: Foreign, service: Service, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    service.token(scope="a")
    spoil(tmp_path / "billing.pem")
    foreign.script["/token"] = [REFUSED]
    with pytest.raises(Refused, match="invalid_client"):
        service.token(scope="b")
    successor = keys.generate("ES256")
    put(tmp_path / "billing.pem", successor)
    foreign.script["/token"] = [REFUSED]
    assert service.token(scope="c").value
    assert kids(foreign)[-1] == successor.kid


async def test_no_caller_of_many_fails(
    foreign: Foreign, service: Service, key: PrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several requests are refused at once: one of them reads the file, and the others use what it read."""
    successor, together = keys.generate("ES256"), threading.Barrier(8)
    answer = foreign.answer

    def judge(request: Any) -> Answer:
        if request.path == "/token" and compact.parse(request.form["client_assertion"]).kid == key.kid:
            together.wait(10)
            return REFUSED
        return answer(request)

    monkeypatch.setattr(foreign, "answer", judge)
    put(tmp_path / "billing.pem", successor)
    with ThreadPoolExecutor(4) as pool:
        waiting = [asyncio.wrap_future(pool.submit(service.token, scope=f"s{number}")) for number in range(4)]
        waiting += [asyncio.ensure_future(service.atoken(scope=f"a{number}")) for number in range(4)]
        assert all(token.value for token in await asyncio.gather(*waiting))


def test_a_variable_is_not_read_again(
    foreign: Foreign, http: httpx2.Client, key: PrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(tmp_path / "a.pem", key)
    monkeypatch.setenv("BILLING_KEY", (tmp_path / "a.pem").read_text())
    service = Service(foreign.url, "billing", key="env:BILLING_KEY", http=http)
    put(tmp_path / "a.pem", keys.generate("ES256"))
    monkeypatch.setenv("BILLING_KEY", (tmp_path / "a.pem").read_text())
    foreign.script["/token"] = [REFUSED]
    with pytest.raises(Refused):
        service.token()
    assert kids(foreign) == [key.kid]
