"""Services of one process share what they learn of a server."""

import time
from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest
from tests import certificates
from tests.unit.client.conftest import Answer, Foreign

from affiant import Service
from affiant.errors import RemoteError
from affiant.jose.keys import PrivateKey

NOBODY = "https://127.0.0.1:1"


class Clock:
    """A clock of a caller's own."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> float:
        return time.time()


def test_clock_offset_is_that_of_the_issuer(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(401, {"error": "invalid_client"}, {"Date": formatdate(time.time() + 400)})]
    first, second = (Service(foreign.url, name, key=key, http=http) for name in ("billing", "shop"))
    first.token()
    second.token()
    at = [request.assertion["iat"] - time.time() for request in foreign.sent("/token")]
    assert [round(offset / 100) for offset in at] == [0, 4, 4]


def test_retry_after_is_for_every_object_of_the_client(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    foreign.script["/token"] = [Answer(429, {}, {"Retry-After": "3600"})]
    first, second, other = (Service(foreign.url, name, key=key, http=http) for name in ("billing", "billing", "shop"))
    for service in (first, second, first):
        with pytest.raises(RemoteError, match="429"):
            service.token()
    assert len(foreign.sent("/token")) == 1
    assert other.token().value  # the limit may be that of one client


def test_another_way_to_the_server_has_nothing_in_common(foreign: Foreign, key: PrivateKey) -> None:
    """A broken HTTP client of the caller's own must not stop the others."""
    foreign.script["/token"] = [Answer(503, {}, {"Retry-After": "3600"})]
    with httpx2.Client(verify=False) as one, httpx2.Client(verify=False) as two:
        first, second = (Service(foreign.url, "billing", key=key, http=http) for http in (one, two))
        with pytest.raises(RemoteError, match="503"):
            first.token()
        assert second.token().value


def test_clock_that_cannot_be_a_key_is_no_obstacle(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    assert Service(foreign.url, "billing", key=key, http=http, clock=Clock()).token().value


def test_certificate_that_is_refused_does_not_stop_another_one(key: PrivateKey, tmp_path: Path) -> None:
    """A rotation that failed in one object: the other one of this client goes on."""
    files = [str(certificates.lasting().write(tmp_path, name)[0]) for name in ("old", "new")]
    services = [Service(NOBODY, "billing", key=key, certificate=file) for file in (*files, files[0])]
    breakers = [service._source._breaker for service in services]
    assert breakers[0] is breakers[2]
    assert breakers[0] is not breakers[1]


def test_clock_of_another_way_is_not_taken_over(foreign: Foreign, key: PrivateKey) -> None:
    """A proxy of one caller that answers with a Date of its own must not make the others sign for another time."""
    foreign.script["/token"] = [Answer(401, {"error": "invalid_client"}, {"Date": formatdate(time.time() + 400)})]
    with httpx2.Client(verify=False) as one, httpx2.Client(verify=False) as two:
        first, second = (Service(foreign.url, "billing", key=key, http=http) for http in (one, two))
        first.token()
        second.token()
    at = [request.assertion["iat"] - time.time() for request in foreign.sent("/token")]
    assert [round(offset / 100) for offset in at] == [0, 4, 0]
