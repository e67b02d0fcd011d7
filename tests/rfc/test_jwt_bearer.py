"""RFC 7523 section 2.1: the JWT as the grant, from clients that speak for themselves."""

from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API, refusal

from affiant import Service
from affiant.errors import Refused
from affiant.jose import compact, keys
from affiant.oauth import names
from affiant.testing import ISSUER, KEY, Server, basic

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture
async def kafka(server: Server) -> Server:
    """The server, with the client `kafka` that is registered for this grant alone."""
    await server.add_client("kafka", grant_types=(GRANT,))
    return server


def _form(server: Server, **changes: Any) -> dict[str, Any]:
    claims = {"iss": "kafka", "sub": "kafka", **changes}
    return {"grant_type": GRANT, "assertion": server.assertion(key=claims.pop("key", KEY), **claims)}


def _invalid_grant(reply: httpx2.Response) -> bool:
    """Section 3.1: invalid_grant, which is no failed authentication and so has no challenge."""
    return (reply.status_code, reply.json()["error"]) == (
        400,
        "invalid_grant",
    ) and "www-authenticate" not in reply.headers


@pytest.mark.rfc(7523, "2.1")
async def test_assertion_is_grant(kafka: Server) -> None:
    reply = await kafka.post(_form(kafka))
    assert reply.status_code == 200, reply.text
    claims = compact.parse(reply.json()["access_token"]).claims
    assert (claims["sub"], claims["client_id"]) == ("kafka", "kafka")
    assert "refresh_token" not in reply.json()


@pytest.mark.rfc(7523, "2.1")
async def test_our_client_has_the_grant(kafka: Server) -> None:
    with kafka.blocking_http() as http:
        service = Service(ISSUER, "kafka", key=KEY, grant="jwt-bearer", http=http, clock=kafka.clock)
        assert (await service.atoken(scope="read")).scope == "read"
        key = keys.generate("ES256")
        stranger = Service(ISSUER, "kafka", key=key, grant="jwt-bearer", http=http, clock=kafka.clock)
        with pytest.raises(Refused, match="invalid_grant") as caught:
            await stranger.atoken()
    assert caught.value.hint == ""  # the operator can look the trace_id up


@pytest.mark.rfc(7523, "2.1")
async def test_scope_may_be_asked_for(kafka: Server) -> None:
    assert (await kafka.post({**_form(kafka), "scope": "read"})).json()["scope"] == "read"
    refused = await kafka.post({**_form(kafka), "scope": "admin"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


@pytest.mark.rfc(7523, "2.1")
@pytest.mark.parametrize(
    ("signed", "sent", "granted"),
    [
        ("read", None, "read"),  # as Google's libraries send it
        ("read write", "write", "write"),
        ("", "read", "read"),
        (None, "read", "read"),
        ("", None, "read write"),
    ],
)
async def test_scope_in_the_grant(kafka: Server, signed: str | None, sent: str | None, granted: str) -> None:
    """What the client signed is what it asks for; the parameter may ask for less."""
    claims = {"scope": signed} if signed is not None else {}
    form = _form(kafka, **claims) | ({"scope": sent} if sent else {})
    reply = await kafka.post(form)
    assert (reply.status_code, reply.json().get("scope")) == (200, granted)


@pytest.mark.rfc(7523, "2.1")
@pytest.mark.parametrize(
    ("signed", "sent"), [("read", "write"), ("read", "read write"), ("admin", None), ("admin", "read")]
)
async def test_scope_is_not_widened(kafka: Server, signed: str, sent: str | None) -> None:
    """Whoever got hold of the grant on its way gets no more of it than was signed; nor does the client than it may have."""
    reply = await kafka.post(_form(kafka, scope=signed) | ({"scope": sent} if sent else {}))
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_scope")


@pytest.mark.rfc(6749, "3.3")
@pytest.mark.parametrize("scope", [7, ["read"], {"a": "read"}, "read  write", " ", True, None])
async def test_scope_in_the_grant_is_text(kafka: Server, scope: object) -> None:
    reply = await kafka.post(_form(kafka, scope=scope))
    if scope is None:  # JSON's null is nothing
        assert reply.status_code == 200
    else:
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_scope")


@pytest.mark.rfc(7523, "2.1")
@pytest.mark.parametrize(
    ("signed", "sent", "aud"),
    [
        (OTHER_API, {}, OTHER_API),  # as Maskinporten's clients send it
        ([OTHER_API], {}, OTHER_API),
        ([API, OTHER_API], {}, [API, OTHER_API]),
        ([API, OTHER_API], {"resource": OTHER_API}, OTHER_API),
        ([API, OTHER_API], {"audience": OTHER_API}, OTHER_API),
        ("", {}, API),
        (None, {}, API),
        ([], {"resource": OTHER_API}, OTHER_API),
        (API, {"resource": OTHER_API}, None),
        (API, {"resource": [API, OTHER_API]}, None),
        (API, {"audience": OTHER_API}, None),
        ("https://unknown.example", {}, None),
        ("orders", {}, None),
        (7, {}, None),
        (0, {}, None),
        (False, {}, None),
        ({}, {}, None),
        ([7], {}, None),
        ({"a": API}, {}, None),
        ([API] * 33, {}, None),
    ],
)
async def test_resource_in_the_grant(server: Server, signed: object, sent: Any, aud: Any) -> None:
    """What the client signed is what it asks for; a parameter may ask for less, and never for more."""
    await server.add_client("kafka", grant_types=(GRANT,), scope=("read", "other.read"), resources=(API, OTHER_API))
    reply = await server.post(_form(server, resource=signed) | sent)
    if aud is None:
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_target")
    else:
        assert compact.parse(reply.json()["access_token"]).claims["aud"] == aud


@pytest.mark.rfc(7521, "4.1.1")
@pytest.mark.rfc(7523, "3.1")
@pytest.mark.parametrize(
    "changes",
    [{"aud": "https://other.example"}, {"exp": 0}, {"jti": ""}, {"sub": "x"}, {"iss": "nobody", "sub": "nobody"}],
)
async def test_bad_assertion_is_an_invalid_grant(kafka: Server, changes: dict[str, Any]) -> None:
    assert _invalid_grant(await kafka.post(_form(kafka, **changes)))


@pytest.mark.rfc(7523, "3.1")
async def test_unproved_assertion_gets_the_uniform_answer(kafka: Server) -> None:
    """A wrong signature and a client that does not exist: the same bytes."""
    answers = [
        await kafka.post(_form(kafka, key=keys.generate("ES256"))),
        await kafka.post(_form(kafka, iss="nobody", sub="nobody")),
    ]
    told = [{**reply.json(), "trace_id": ""} for reply in answers]
    assert told[0] == told[1]


@pytest.mark.rfc(7523, "3(7)")
async def test_it_is_used_once(kafka: Server) -> None:
    """As the grant, and as a client assertion: one jti, one token."""
    form = _form(kafka)
    assert (await kafka.post(form)).status_code == 200
    assert _invalid_grant(await kafka.post(form))
    assert (await kafka.post(kafka.form(form["assertion"]))).status_code == 401


@pytest.mark.rfc(7521, "4.1")
@pytest.mark.parametrize("more", [{"client_secret": "x"}, {"client_assertion": "a.b.c", "client_assertion_type": "x"}])
async def test_nothing_else_authenticates_beside_it(kafka: Server, more: dict[str, str]) -> None:
    assert (await kafka.post({**_form(kafka), **more})).status_code in (400, 401)
    assert (await kafka.post(_form(kafka), headers=basic("kafka", "x"))).status_code == 400


@pytest.mark.rfc(7521, "4.2.1")
@pytest.mark.parametrize("secret", [{}, {"client_secret": "x"}])
@pytest.mark.parametrize("signed", [True, False])
async def test_client_assertion_with_the_grant(kafka: Server, secret: dict[str, str], *, signed: bool) -> None:
    """MUST: two ways with a client assertion among them. The grant itself was not judged, so it is not called invalid."""
    text = kafka.assertion(iss="kafka", sub="kafka") if signed else "x"
    more = {"client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE, "client_assertion": text, **secret}
    assert refusal(await kafka.post({**_form(kafka), **more})) == (401, "invalid_client")
    header = basic("kafka", "x")
    assert refusal(await kafka.post({**_form(kafka), **more}, headers=header)) == (401, "invalid_client")


@pytest.mark.rfc(7521, "4.1")
async def test_no_refresh_token_comes_of_it(server: Server) -> None:
    """SHOULD NOT, although this client gets one by client_credentials: it makes an assertion when it needs a token."""
    await server.add_client("all", grant_types=("client_credentials", "refresh_token", GRANT))
    assert "refresh_token" in await server.token("all")
    reply = await server.post({"grant_type": GRANT, "assertion": server.assertion("all")})
    assert reply.status_code == 200
    assert "refresh_token" not in reply.json()


@pytest.mark.rfc(7523, "2.1")
async def test_assertion_is_required(kafka: Server) -> None:
    reply = await kafka.post({"grant_type": GRANT})
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
    assert ISSUER in reply.json()["error_uri"]
