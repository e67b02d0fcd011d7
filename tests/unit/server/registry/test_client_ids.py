"""The names of clients: each can be addressed in a path, and none means anything to a shell, a URL or a file system."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.admin import ADMIN, MASTER, NOW, asking

from affiant.errors import ConfigError
from affiant.server.registry import clients, kinds
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Client

FOREIGN = [
    "urn:app:billing",
    "https://client.example/id.json?v=1&w=2",
    "spiffe://example.org/ns/prod/sa/billing",
    "system:serviceaccount:prod:billing",
    "billing@project.iam.example",
    "@!1111.2222!0008!ABCD",
    "a/b",
    "a//b/",
    "a+b=c,d",
    "x" * 256,
]


@pytest.mark.parametrize("name", [".", "..", "./a", "../a", "a/..", "a/./b", "a/../b", "/..", "https://a.example/.."])
def test_no_client_has_a_name_that_no_path_can_address(name: str) -> None:
    """RFC 3986 section 5.2.4: these segments are taken out of a path, wherever a proxy decodes the slash before them."""
    assert not kinds.is_client_id(name)
    with pytest.raises(ConfigError, match=r"without a segment \. or \.\."):
        clients.build(Client(name, "client_secret_basic"), master_key=MASTER, now=NOW)


@pytest.mark.rfc(6749, "A.1")
@pytest.mark.parametrize("name", ["...", ".a", "a.", "..a", "a", "-", "~", "_", "a/...", "a/.b", *FOREIGN])
def test_other_names_are_names(name: str) -> None:
    assert kinds.is_client_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 257,
        ".\n",
        "a\n",
        "%2e",
        "a%2Fb",
        "a b",
        "\u0661",
        "a\x7f",
        *(f"a{c}b" for c in "\"'`\\<>{}|^#$();*[]"),
    ],
)
def test_these_are_no_names(name: str) -> None:
    assert not kinds.is_client_id(name)


@given(st.text())
def test_every_name_is_visible_ascii(name: str) -> None:
    assert not kinds.is_client_id(name) or all("!" <= character <= "~" for character in name)


@pytest.mark.parametrize("name", FOREIGN)
async def test_the_admin_api_addresses_each_by_its_encoded_name(name: str) -> None:
    wanted: dict[str, Any] = {"client_id": name, "token_endpoint_auth_method": "client_secret_basic"}
    url = f"{ADMIN}/clients/{quote(name, safe='')}"
    async with asking(MemoryStore()) as http:
        assert (await http.post(f"{ADMIN}/clients", json=wanted)).status_code == 201
        assert (await http.get(url)).json()["client_id"] == name
        assert (await http.patch(url, json={"client_name": "N"})).json()["client_name"] == "N"
        assert (await http.get(f"{url}/keys")).status_code == 200
        assert (await http.post(f"{url}/secrets", json={})).status_code == 201
        assert [one["client_id"] for one in (await http.get(f"{ADMIN}/clients")).json()["items"]] == [name]
        assert (await http.delete(url)).status_code == 204
        assert (await http.get(url)).status_code == 404


@pytest.mark.attack(244)
async def test_a_name_is_never_a_route_below_another() -> None:
    """Attack: an encoded slash turns the client a/keys into the keys of the client a, or the reverse."""
    async with asking(MemoryStore()) as http:
        for name in ("a", "a/keys"):
            wanted = {"client_id": name, "token_endpoint_auth_method": "client_secret_basic"}
            assert (await http.post(f"{ADMIN}/clients", json=wanted)).status_code == 201
        assert (await http.get(f"{ADMIN}/clients/a%2Fkeys")).json()["client_id"] == "a/keys"
        assert "client_id" not in (await http.get(f"{ADMIN}/clients/a/keys")).json()
        assert (await http.delete(f"{ADMIN}/clients/a%2Fkeys")).status_code == 204
        assert (await http.get(f"{ADMIN}/clients/a")).status_code == 200
        for path in ("a%252Fkeys", "a%2fsecrets", "%ff", "a%00", "a%2F..%2Fa"):
            assert (await http.get(f"{ADMIN}/clients/{path}")).status_code == 404, path
