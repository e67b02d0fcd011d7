"""RFC 6749, the OAuth 2.0 framework: what no row of tests/attacks asks (test_requests, test_methods, test_grants)."""

import re
from typing import Any

import pytest
from tests.rfc.conftest import basic_of, refusal

from affiant.jose import compact
from affiant.testing import Server, basic


def _by_secret(server: Server, **parameters: Any) -> dict[str, Any]:
    """A request of the client that authenticates by client_secret_post."""
    name = "client_secret_post"
    secret = server.secrets[name]
    return {"grant_type": "client_credentials", "client_id": name, "client_secret": secret, **parameters}


@pytest.mark.rfc(6749, "2.3.1")
async def test_basic_is_form_decoded(server: Server) -> None:
    """Name and password were form-encoded before they were joined; an encoding that nobody needs is undone too."""
    name = "client_secret_basic"
    encoded = "".join(f"%{ord(character):02X}" for character in server.secrets[name])
    header = basic_of(f"client%5Fsecret%5fbasic:{encoded}")
    assert (await server.post({"grant_type": "client_credentials"}, headers=header)).status_code == 200


@pytest.mark.rfc(6749, "2.3.1")
@pytest.mark.parametrize("length", [0, 42, 44])
async def test_secret_of_another_length_is_refused(server: Server, length: int) -> None:
    """A part of a secret, or more than it, is not it."""
    secret = (server.secrets["client_secret_post"] + "A")[:length]
    assert refusal(await server.post(_by_secret(server, client_secret=secret))) == (401, "invalid_client")


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.parametrize("name", ["scope", "resource", "client_assertion", "client_assertion_type", "assertion"])
async def test_parameter_without_value_counts_as_absent(server: Server, name: str) -> None:
    """Parameters sent without a value MUST be treated as if they were omitted."""
    reply = await server.post(_by_secret(server, **{name: ""}))
    assert reply.status_code == 200
    assert reply.json()["scope"] == "read write"


@pytest.mark.rfc(6749, "3.3")
async def test_order_of_scopes_does_not_matter(server: Server) -> None:
    for scope in ("read write", "write read", "write read write"):
        reply = await server.post(_by_secret(server, scope=scope))
        assert set(reply.json()["scope"].split(" ")) == {"read", "write"}


@pytest.mark.rfc(6749, "5.2")
@pytest.mark.parametrize("evil", ['"', "\\", "\n", "\r", "\x00", "\t", "\x7f", "\u20ac", "\u2028"])
async def test_description_has_only_its_characters(server: Server, evil: str) -> None:
    """Error and error_description MUST NOT include characters outside %x20-21 / %x23-5B / %x5D-7E."""
    allowed = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
    told = server.form(server.assertion(aud=f"x{evil}x"))
    named = server.form(server.assertion(sub=f"c1{evil}"))
    for form in (told, named, {"grant_type": evil}, {"grant_type": "client_credentials", "assertion": evil}):
        body = (await server.post(form)).json()
        assert allowed.fullmatch(body["error"])
        assert allowed.fullmatch(body["error_description"])


@pytest.mark.rfc(6749, "A.1")
@pytest.mark.parametrize(
    "name",
    [
        "urn:app:billing",
        "https://client.example/id?v=1&w=2",
        "spiffe://x/ns/a",
        "a+b=c@d",
        "https://x.example/" + "long/" * 46,
    ],
)
async def test_client_id_of_another_system_authenticates(server: Server, name: str) -> None:
    """By each method; in Basic it is form-encoded (section 2.3.1), so that a colon in it parts nothing."""
    for method in ("client_secret_basic", "client_secret_post"):
        await server.add_client(f"{name}"[:250] + method[-5:], method)
    basic_id, post_id = f"{name[:250]}basic", f"{name[:250]}_post"
    headers = basic(basic_id, server.secrets[basic_id])
    assert (await server.post({"grant_type": "client_credentials"}, headers=headers)).status_code == 200
    form = {"grant_type": "client_credentials", "client_id": post_id, "client_secret": server.secrets[post_id]}
    assert (await server.post(form)).status_code == 200
    await server.add_client(name)
    reply = await server.post(server.form(server.assertion(name)))
    assert compact.parse(reply.json()["access_token"]).claims["client_id"] == name
    record = await server.store.audit_log.find(reply.headers["x-trace-id"])
    assert record is not None
    assert record["client_id"] == name
    refused = await server.post(server.form(server.assertion(name, aud="x")))
    record = await server.store.audit_log.find(refused.json()["trace_id"])
    assert record is not None
    assert record["client_claimed"] == name
