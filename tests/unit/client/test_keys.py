"""The response to a change of the client's keys."""

import httpx2
import pytest
from tests.unit.client.conftest import Answer, Foreign, metadata_answer

from affiant.client.credentials.rotation import KeyRing
from affiant.errors import RemoteError
from affiant.jose.keys import PrivateKey

WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"[" * 200_000,
        b'{"keys":' * 20_000,
        b'{"keys":{}}',
        b'{"keys":[7]}',
        b'{"keys":[{}]}',
        b'{"keys":[{"kid":7}]}',
        b'{"keys":[],"keys":[]}',
    ],
)
def test_an_answer_that_has_no_keys(foreign: Foreign, http: httpx2.Client, key: PrivateKey, raw: bytes) -> None:
    url = f"{foreign.url}/client-keys"
    foreign.default[WELL_KNOWN] = metadata_answer(foreign.url, client_keys_endpoint=url)
    foreign.default["/client-keys"] = Answer(200, raw=raw)
    with pytest.raises(RemoteError, match="did not answer with the client's keys"):
        KeyRing(foreign.url, "billing", http).ask(key, action="list")


def test_a_server_without_such_an_endpoint(foreign: Foreign, http: httpx2.Client, key: PrivateKey) -> None:
    with pytest.raises(RemoteError, match="does not let clients change their keys"):
        KeyRing(foreign.url, "billing", http).ask(key, action="list")
    assert foreign.sent("/client-keys") == []
