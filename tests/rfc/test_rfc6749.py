"""RFC 6749, the OAuth 2.0 framework: sections 2.3, 3.2, 3.3, 4.4, 5.1 and 5.2."""

import re
from typing import Any

import pytest
from tests.rfc.conftest import basic_of, post_raw, refusal

from affiant.jose import compact
from affiant.testing import ISSUER, Server, basic

INVALID_REQUEST, INVALID_CLIENT = (400, "invalid_request"), (401, "invalid_client")


def _by_secret(server: Server, **parameters: Any) -> dict[str, Any]:
    """A request of the client that authenticates by client_secret_post."""
    name = "client_secret_post"
    secret = server.secrets[name]
    return {"grant_type": "client_credentials", "client_id": name, "client_secret": secret, **parameters}


# Section 2.3: client authentication


@pytest.mark.rfc(6749, "2.3")
async def test_second_method_is_refused(server: Server) -> None:
    """The client MUST NOT use more than one authentication method in each request."""
    name = "client_secret_basic"
    reply = await server.post(_by_secret(server), headers=basic(name, server.secrets[name]))
    assert refusal(reply) == INVALID_REQUEST


@pytest.mark.rfc(6749, "2.3.1")
async def test_basic_is_supported(server: Server) -> None:
    """The server MUST support HTTP Basic for clients that were issued a password."""
    name = "client_secret_basic"
    reply = await server.post({"grant_type": "client_credentials"}, headers=basic(name, server.secrets[name]))
    assert reply.status_code == 200
    assert compact.parse(reply.json()["access_token"]).claims["client_id"] == name


@pytest.mark.rfc(6749, "2.3.1")
async def test_basic_is_form_decoded(server: Server) -> None:
    """Name and password were form-encoded before they were joined; an encoding that nobody needs is undone too."""
    name = "client_secret_basic"
    encoded = "".join(f"%{ord(character):02X}" for character in server.secrets[name])
    header = basic_of(f"client%5Fsecret%5fbasic:{encoded}")
    assert (await server.post({"grant_type": "client_credentials"}, headers=header)).status_code == 200


@pytest.mark.rfc(9110, "11.1")
@pytest.mark.parametrize("scheme", ["Basic ", "bASIC ", "BASIC "])
async def test_scheme_is_in_any_case(server: Server, scheme: str) -> None:
    name = "client_secret_basic"
    header = basic(name, server.secrets[name])["authorization"].replace("Basic ", scheme)
    reply = await server.post({"grant_type": "client_credentials"}, headers={"authorization": header})
    assert reply.status_code == 200, reply.text


@pytest.mark.rfc(6749, "2.3.1")
async def test_basic_password_may_have_colons(server: Server) -> None:
    """The first colon ends the name; what follows is the password, and here it is a wrong one."""
    reply = await server.post({"grant_type": "client_credentials"}, headers=basic_of("c1:a:b"))
    assert refusal(reply) == INVALID_CLIENT
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/client.authentication_failed"


@pytest.mark.rfc(6749, "2.3.1")
@pytest.mark.parametrize(
    "name", ["client_id", "client_secret", "client_assertion", "refresh_token", "authorization_details"]
)
async def test_credentials_in_url_are_refused(server: Server, name: str) -> None:
    """The parameters MUST NOT be included in the request URI."""
    reply = await server.http.post("/token", data=_by_secret(server), params={name: "x"})
    assert refusal(reply) == INVALID_REQUEST


@pytest.mark.rfc(6749, "2.3.1")
async def test_url_credentials_do_not_authenticate(server: Server) -> None:
    reply = await server.http.post("/token", data={"grant_type": "client_credentials"}, params=_by_secret(server))
    assert refusal(reply) == INVALID_REQUEST


@pytest.mark.rfc(6749, "2.3.1")
@pytest.mark.parametrize("length", [0, 42, 44])
async def test_secret_of_another_length_is_refused(server: Server, length: int) -> None:
    """A part of a secret, or more than it, is not it."""
    secret = (server.secrets["client_secret_post"] + "A")[:length]
    assert refusal(await server.post(_by_secret(server, client_secret=secret))) == INVALID_CLIENT


@pytest.mark.rfc(6749, "2.3")
@pytest.mark.parametrize("name", ["client_secret_basic", "client_secret_jwt", "c1", "nobody"])
async def test_another_method_than_registered_is_refused(server: Server, name: str) -> None:
    secret = server.secrets.get(name, "x" * 43)
    reply = await server.post(_by_secret(server, client_id=name, client_secret=secret))
    assert refusal(reply) == INVALID_CLIENT


# Section 3.2: the token endpoint


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_post_is_taken(server: Server, method: str) -> None:
    """The client MUST use POST."""
    reply = await server.http.request(method, "/token")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "scope", "unknown"])
@pytest.mark.parametrize("value", ["x", ""])
async def test_repeated_parameter_is_refused(server: Server, name: str, value: str) -> None:
    """Parameters MUST NOT be included more than once; neither may an empty one hide a second."""
    body = "&".join(f"{key}={text}" for key, text in _by_secret(server, scope="read", unknown="x").items())
    assert refusal(await post_raw(server, f"{body}&{name}={value}")) == INVALID_REQUEST


@pytest.mark.rfc(6749, "3.2")
async def test_unknown_parameter_is_ignored(server: Server) -> None:
    """The server MUST ignore unrecognized request parameters."""
    reply = await server.post(_by_secret(server, colour="blue", username="x", code="y"))
    assert reply.status_code == 200


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.parametrize("name", ["scope", "resource", "client_assertion", "client_assertion_type", "assertion"])
async def test_parameter_without_value_counts_as_absent(server: Server, name: str) -> None:
    """Parameters sent without a value MUST be treated as if they were omitted."""
    reply = await server.post(_by_secret(server, **{name: ""}))
    assert reply.status_code == 200
    assert reply.json()["scope"] == "read write"


@pytest.mark.rfc(6749, "3.2")
async def test_empty_grant_type_is_absent(server: Server) -> None:
    assert refusal(await server.post(_by_secret(server, grant_type=""))) == INVALID_REQUEST


@pytest.mark.rfc(6749, "3.2.1")
@pytest.mark.parametrize("parameters", [{}, {"client_id": "c1"}, {"client_id": "client_secret_post"}])
async def test_client_must_authenticate(server: Server, parameters: dict[str, str]) -> None:
    """Confidential clients MUST authenticate: a name alone is nobody."""
    reply = await server.post({"grant_type": "client_credentials", **parameters})
    assert refusal(reply) == INVALID_CLIENT


@pytest.mark.rfc(6749, "B")
@pytest.mark.parametrize("body", ["grant_type=%zz", "grant_type=%", "grant_type=%f", "%ff=1", "grant_type=%c3%28"])
async def test_form_is_utf8(server: Server, body: str) -> None:
    """Names and values are encoded as UTF-8, then form-encoded."""
    assert refusal(await post_raw(server, body)) == INVALID_REQUEST


@pytest.mark.rfc(6749, "B")
async def test_form_type_is_needed(server: Server) -> None:
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        reply = await server.http.post("/token", content=b"grant_type=x", headers={"content-type": kind})
        assert refusal(reply) == INVALID_REQUEST


# Section 3.3: scope


@pytest.mark.rfc(6749, "3.3")
@pytest.mark.parametrize("scope", ['re"ad', "re\\ad", "read  write", " read", "read ", "re\tad", "r\u00e9ad", "read\n"])
async def test_malformed_scope_is_refused(server: Server, scope: str) -> None:
    """Scope-tokens of %x21 / %x23-5B / %x5D-7E, with one space between them."""
    assert refusal(await server.post(_by_secret(server, scope=scope))) == (400, "invalid_scope")


@pytest.mark.rfc(6749, "3.3")
@pytest.mark.parametrize("scope", ["Read", "READ", "admin", "read admin"])
async def test_scope_is_case_sensitive_and_whole(server: Server, scope: str) -> None:
    assert refusal(await server.post(_by_secret(server, scope=scope))) == (400, "invalid_scope")


@pytest.mark.rfc(6749, "3.3")
async def test_order_of_scopes_does_not_matter(server: Server) -> None:
    for scope in ("read write", "write read", "write read write"):
        reply = await server.post(_by_secret(server, scope=scope))
        assert set(reply.json()["scope"].split(" ")) == {"read", "write"}


@pytest.mark.rfc(6749, "3.3")
async def test_default_scope_is_returned(server: Server) -> None:
    """If the issued scope differs from the one requested, the server MUST include it: here nothing was requested."""
    assert (await server.post(_by_secret(server))).json()["scope"] == "read write"


@pytest.mark.rfc(6749, "3.3")
async def test_empty_scope_is_left_out(server: Server) -> None:
    """Scope has at least one scope-token."""
    await server.add_client("plain", scope=())
    reply = await server.post(server.form(server.assertion("plain")))
    assert reply.status_code == 200
    assert "scope" not in reply.json()


# Section 4.4: client credentials


@pytest.mark.rfc(6749, "4.4.2")
async def test_grant_type_is_compared_exactly(server: Server) -> None:
    for name in ("Client_Credentials", "client_credentials ", "client-credentials"):
        reply = await server.post(_by_secret(server, grant_type=name))
        assert refusal(reply) == (400, "unsupported_grant_type")


@pytest.mark.rfc(6749, "4.4.3")
async def test_no_refresh_token_comes_along(server: Server) -> None:
    """A refresh token SHOULD NOT be included: only clients registered for it get one."""
    assert set(await server.token()) == {"access_token", "token_type", "expires_in", "scope"}


# Section 5.1: the successful answer


@pytest.mark.rfc(6749, "5.1")
@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_jwt", "private_key_jwt"])
async def test_answer_has_these_members_and_headers(server: Server, method: str) -> None:
    """JSON, with Cache-Control: no-store and Pragma: no-cache; expires_in is a number."""
    form = _by_secret(server) if method == "client_secret_post" else server.form()
    if method == "client_secret_jwt":
        form = server.form(server.assertion(method))
    reply = await server.post({**form, "scope": "read"})
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["pragma"] == "no-cache"
    members = reply.json()
    assert members.pop("access_token").count(".") == 2
    assert members == {"token_type": "Bearer", "expires_in": 600, "scope": "read"}
    assert '"expires_in":600' in reply.text


# Section 5.2: the error answer


@pytest.mark.rfc(6749, "5.2")
async def test_missing_grant_type_is_invalid_request(server: Server) -> None:
    form = _by_secret(server)
    del form["grant_type"]
    assert refusal(await server.post(form)) == INVALID_REQUEST


@pytest.mark.rfc(6749, "5.2")
@pytest.mark.parametrize(
    "name", ["password", "authorization_code", "urn:ietf:params:oauth:grant-type:saml2-bearer", "x"]
)
async def test_unknown_grant_type_is_unsupported(server: Server, name: str) -> None:
    reply = await server.post(_by_secret(server, grant_type=name))
    assert refusal(reply) == (400, "unsupported_grant_type")


@pytest.mark.rfc(6749, "5.2")
async def test_unauthorized_grant(server: Server) -> None:
    reply = await server.post(_by_secret(server, grant_type="refresh_token", refresh_token="x"))
    assert refusal(reply) == (400, "unauthorized_client")


@pytest.mark.rfc(6749, "5.2")
@pytest.mark.parametrize("value", ["Basic !", "Basic", "Basic Og==", "Bearer x", "Digest x", "Basic YzE="])
async def test_failed_basic_gets_a_challenge(server: Server, value: str) -> None:
    """MUST respond with 401 and a WWW-Authenticate that matches the scheme."""
    reply = await server.post({"grant_type": "client_credentials"}, headers={"authorization": value})
    assert refusal(reply) == INVALID_CLIENT


@pytest.mark.rfc(6749, "5.2")
async def test_wrong_password_gets_401_and_challenge(server: Server) -> None:
    reply = await server.post({"grant_type": "client_credentials"}, headers=basic("client_secret_basic", "wrong"))
    assert refusal(reply) == INVALID_CLIENT


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


@pytest.mark.rfc(6749, "5.2")
async def test_error_uri_is_uri_that_answers(server: Server) -> None:
    body = (await server.post({"grant_type": "x"})).json()
    assert body["error_uri"] == f"{ISSUER}/errors/grant.unsupported"
    assert (await server.http.get(body["error_uri"])).status_code == 200


@pytest.mark.rfc(6749, "5.2")
async def test_unsupported_http_methods(server: Server) -> None:
    """An unknown client and a client of another method cannot be told apart."""
    seen = set()
    for name in ("nobody", "c1", "client_secret_basic", "client_secret_jwt"):
        reply = await server.post(_by_secret(server, client_id=name, client_secret="x" * 43))
        assert refusal(reply) == INVALID_CLIENT
        seen.add((reply.json()["error_description"], reply.json()["error_uri"]))
    assert len(seen) == 1


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
