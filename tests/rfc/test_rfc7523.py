"""RFC 7521 and RFC 7523 with draft-ietf-oauth-rfc7523bis: JWT client assertions."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, refusal

from affiant.jose import compact, keys
from affiant.testing import ABSENT, ISSUER, KEY, NOW, Server, basic

INVALID_REQUEST, INVALID_CLIENT = (400, "invalid_request"), (401, "invalid_client")


async def _answer(server: Server, assertion: str, **parameters: Any) -> tuple[int, str]:
    """Status and error; (200, "") for a token."""
    reply = await server.post(server.form(assertion, **parameters))
    return (200, "") if reply.status_code == 200 else refusal(reply)


# RFC 7521 section 4.2: the parameters


@pytest.mark.rfc(7523, "2.2")
async def test_an_assertion_authenticates(server: Server) -> None:
    token = (await server.token())["access_token"]
    assert compact.parse(token).claims["client_id"] == "c1"


@pytest.mark.rfc(7521, "4.2")
@pytest.mark.parametrize("missing", ["client_assertion", "client_assertion_type"])
async def test_both_parameters_are_required(server: Server, missing: str) -> None:
    form = server.form()
    del form[missing]
    assert refusal(await server.post(form)) == INVALID_REQUEST


@pytest.mark.rfc(7523, "2.2")
@pytest.mark.parametrize(
    "kind",
    [
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "URN:IETF:params:oauth:client-assertion-type:jwt-bearer",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer ",
        "jwt-bearer",
    ],
)
async def test_the_type_is_exactly_jwt_bearer(server: Server, kind: str) -> None:
    assert await _answer(server, server.assertion(), client_assertion_type=kind) == INVALID_REQUEST


@pytest.mark.rfc(7523, "2.2")
@pytest.mark.parametrize("joint", [" ", ",", "\n", ".", ""])
async def test_there_is_one_jwt_only(server: Server, joint: str) -> None:
    """MUST NOT contain more than one JWT."""
    assert await _answer(server, joint.join((server.assertion(), server.assertion()))) == INVALID_CLIENT


@pytest.mark.rfc(7521, "4.2")
async def test_a_client_id_must_be_the_same(server: Server) -> None:
    """Unnecessary, but if present it MUST identify the same client."""
    assert await _answer(server, server.assertion(), client_id="c1") == (200, "")
    for other in ("refreshing", "C1", "c1 ", "nobody"):
        assert await _answer(server, server.assertion(), client_id=other) == INVALID_CLIENT


@pytest.mark.rfc(7521, "4.2.1")
async def test_a_second_mechanism_is_an_invalid_client(server: Server) -> None:
    """More than one mechanism: the error code MUST be invalid_client."""
    assert await _answer(server, server.assertion(), client_secret="x") == INVALID_CLIENT
    for headers in (basic("c1", "x"), {"authorization": "Bearer x"}):
        assert refusal(await server.post(server.form(), headers=headers)) == INVALID_CLIENT


# RFC 7523 section 3: each numbered item


@pytest.mark.rfc(7523, "3(1)")
@pytest.mark.parametrize("iss", ["C1", "c1/", "https://c1", "nobody", "", 1, None, ["c1"], {"c1": 1}, True])
async def test_iss_is_the_client(server: Server, iss: object) -> None:
    """REQUIRED, compared as a simple string (RFC 3986 section 6.2.1)."""
    assert await _answer(server, server.assertion(iss=iss)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(2)")
@pytest.mark.parametrize("sub", ["C1", "refreshing", "nobody", "", 1, None, ["c1"]])
async def test_sub_is_the_client(server: Server, sub: object) -> None:
    """For client authentication the subject MUST be the client_id."""
    assert await _answer(server, server.assertion(sub=sub)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3")
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp"])
async def test_a_required_claim_may_not_be_missing(server: Server, name: str) -> None:
    assert await _answer(server, server.assertion(None, **dict[str, Any]({name: ABSENT}))) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize("aud", [ISSUER, [ISSUER]])
async def test_aud_is_the_issuer(server: Server, aud: object) -> None:
    assert await _answer(server, server.assertion(aud=aud)) == (200, "")


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize(
    "aud",
    [
        f"{ISSUER}/token",
        f"{ISSUER}/",
        f"{ISSUER}:443",
        "HTTPS://as.example",
        "http://as.example",
        "https://other.example",
        [ISSUER, f"{ISSUER}/token"],
        [ISSUER, ISSUER],
        [f"{ISSUER}/token"],
        [[ISSUER]],
        [],
        "",
        None,
        1,
        {"aud": ISSUER},
    ],
)
async def test_any_other_aud_is_refused(server: Server, aud: object) -> None:
    """The server MUST reject a JWT without itself as audience; in rfc7523bis section 4 as the only one."""
    assert await _answer(server, server.assertion(aud=aud)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(4)")
async def test_an_expired_assertion_is_refused(server: Server) -> None:
    """The skew allowed is 30 s, and ends on the second."""
    assert await _answer(server, server.assertion(exp=NOW - 29, iat=NOW - 89)) == (200, "")
    assert await _answer(server, server.assertion(exp=NOW - 30)) == INVALID_CLIENT
    assert await _answer(server, server.assertion(exp=0)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(4)")
async def test_an_unreasonably_far_exp_is_refused(server: Server) -> None:
    assert await _answer(server, server.assertion(exp=NOW + 330)) == (200, "")
    assert await _answer(server, server.assertion(exp=NOW + 331)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(5)")
async def test_nbf_is_honoured(server: Server) -> None:
    """The JWT MUST NOT be accepted before it."""
    assert await _answer(server, server.assertion(nbf=NOW)) == (200, "")
    assert await _answer(server, server.assertion(nbf=NOW + 30)) == (200, "")
    assert await _answer(server, server.assertion(nbf=NOW + 31)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(6)")
async def test_an_old_iat_is_refused(server: Server) -> None:
    assert await _answer(server, server.assertion(iat=NOW - 330)) == (200, "")
    assert await _answer(server, server.assertion(iat=NOW - 331)) == INVALID_CLIENT
    assert await _answer(server, server.assertion(iat=ABSENT)) == (200, "")


@pytest.mark.rfc(7523, "3(7)")
async def test_a_jti_is_good_once(server: Server) -> None:
    """No second use, neither of the same JWT nor of the same jti in another."""
    assertion = server.assertion(jti="once")
    assert await _answer(server, assertion) == (200, "")
    assert await _answer(server, assertion) == INVALID_CLIENT
    assert await _answer(server, server.assertion(jti="once", iat=NOW - 1)) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(7)")
async def test_a_jti_is_remembered_while_its_jwt_is_valid(server: Server) -> None:
    assertion = server.assertion(exp=NOW + 300)
    assert await _answer(server, assertion) == (200, "")
    for second in (29, 60, 299, 300, 329):
        server.clock.now = NOW + second
        await server.store.ledger.purge(NOW + second)
        reply = await server.post(server.form(assertion))
        assert refusal(reply) == INVALID_CLIENT
        assert reply.json()["error_uri"] == f"{ISSUER}/errors/assertion.replayed"


@pytest.mark.rfc(7523, "3(7)")
async def test_two_clients_may_have_the_same_jti(server: Server) -> None:
    assert await _answer(server, server.assertion(jti="same")) == (200, "")
    other = server.assertion("refreshing", jti="same")
    assert await _answer(server, other) == (200, "")


@pytest.mark.rfc(7523, "3(8)")
async def test_other_claims_are_ignored(server: Server) -> None:
    """And none of them reaches the access token."""
    foreign: dict[str, Any] = {
        "scope": "admin",
        "client_id": "refreshing",
        "cnf": {"jkt": "x"},
        "act": {"sub": "x"},
        "colour": "blue",
    }
    token = (await server.token(client_assertion=server.assertion(**foreign)))["access_token"]
    claims = compact.parse(token).claims
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "client_key", "scope"}
    assert (claims["client_id"], claims["scope"]) == ("c1", "read write")


@pytest.mark.rfc(7523, "3(9)")
async def test_a_signature_must_hold(server: Server) -> None:
    """MUST reject JWTs with an invalid signature."""
    head, payload, signature = server.assertion().split(".")
    other = server.assertion().split(".")[2]
    flipped = f"{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for bad in ("", other, flipped, signature[:-4]):
        assert await _answer(server, f"{head}.{payload}.{bad}") == INVALID_CLIENT
    assert await _answer(server, f"{head}.{payload}.{signature}") == (200, "")


@pytest.mark.rfc(7523, "3(9)")
async def test_a_mac_must_hold(server: Server) -> None:
    name = "client_secret_jwt"
    good = server.assertion(name)
    wrong = server.assertion(name, key=keys.SecretKey(b"x" * 43))
    assert await _answer(server, wrong) == INVALID_CLIENT
    assert await _answer(server, good[:-2]) == INVALID_CLIENT
    assert await _answer(server, good) == (200, "")


@pytest.mark.rfc(7523, "3(9)")
async def test_the_key_of_another_client_is_refused(server: Server) -> None:
    await server.add_client("c2", keys=(keys.generate("ES256").public(),))
    assert await _answer(server, server.assertion("c2")) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(10)")
@pytest.mark.parametrize(
    "claims",
    [{"exp": "1800000060"}, {"exp": None}, {"exp": True}, {"iat": "now"}, {"nbf": []}, {"jti": 1}, {"jti": ""}],
)
async def test_a_jwt_invalid_in_another_respect_is_refused(server: Server, claims: dict[str, Any]) -> None:
    """MUST reject a JWT that is not valid in all other respects per RFC 7519."""
    assert await _answer(server, server.assertion(**claims)) == INVALID_CLIENT


# RFC 7523 sections 3.2 and 5


@pytest.mark.rfc(7523, "3.2")
@pytest.mark.parametrize("junk", ["x", "a.b.c", "...", "{}", "\x00", "e30.e30.", "e30.e30.e30.e30.e30"])
async def test_what_is_no_jwt_is_an_invalid_client(server: Server, junk: str) -> None:
    """If the JWT is not valid, error MUST be invalid_client."""
    assert await _answer(server, junk) == INVALID_CLIENT


@pytest.mark.rfc(7523, "5")
async def test_rs256_is_implemented(server: Server) -> None:
    """RS256 is mandatory to implement."""
    key = keys.generate("RS256")
    await server.add_client("rsa", key=key)
    assert await _answer(server, server.assertion("rsa", key=key)) == (200, "")


@pytest.mark.rfc(7523, "3")
@pytest.mark.parametrize("typ", ["client-authentication+jwt", "JWT", "Application/Client-Authentication+JWT"])
async def test_a_type_of_client_assertions_is_taken(server: Server, typ: str) -> None:
    """rfc7523bis section 4: the type is explicit, and servers take it in any case."""
    assert await _answer(server, server.assertion(header={"typ": typ})) == (200, "")


@pytest.mark.rfc(7523, "3(3)")
async def test_a_legacy_client_may_name_the_endpoint(server: Server) -> None:
    """Alone or beside the issuer; and only where the operator allowed it for this client."""
    record = await server.store.clients.find("c1")
    assert record is not None
    await server.store.clients.add(replace(record, client_id="old", audience_policy="legacy"))
    await server.store.clients.add(replace(record, client_id="fapi", audience_policy="string"))

    async def answer(name: str, aud: object) -> tuple[int, str]:
        return await _answer(server, server.assertion(name, key=KEY, aud=aud))

    assert await answer("old", f"{ISSUER}/token") == (200, "")
    assert await answer("old", ISSUER) == (200, "")
    assert await answer("old", [ISSUER, f"{ISSUER}/token"]) == (200, "")
    assert await answer("old", f"{ISSUER}/") == (200, "")
    assert await answer("old", [ISSUER, "https://other.example"]) == INVALID_CLIENT
    assert await answer("c1", f"{ISSUER}/") == INVALID_CLIENT
    assert await answer("fapi", ISSUER) == (200, "")
    assert await answer("fapi", [ISSUER]) == INVALID_CLIENT


@pytest.mark.rfc(7523, "3(7)")
async def test_the_log_has_the_digest_that_its_page_says(server: Server) -> None:
    """docs/reference/audit.md: an operator who has a jti, or a whole assertion without one, finds its request."""
    await server.store.clients.update("client_secret_jwt", lambda client: replace(client, jti_policy="legacy"))
    without = server.assertion("client_secret_jwt", jti=ABSENT)
    for text, named in ((server.assertion(jti="known"), "jti:known"), (without, f"jws:{without}")):
        reply = await server.post(server.form(text))
        record = await server.store.audit_log.find(reply.headers["x-trace-id"])
        assert record is not None
        assert record["jti_digest"] == sha256(named.encode()).hexdigest()


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize("path", ["/revoke", "/introspect"])
async def test_aud_is_the_issuer_at_every_endpoint(server: Server, path: str) -> None:
    """rfc7523bis section 4: never the endpoint that it is sent to, which a client may have from somebody else."""
    await server.add_client("api", introspects=(API,))

    async def answer(aud: object) -> httpx2.Response:
        signed = server.assertion("api", aud=aud)
        return await server.http.post(path, data={**server.form(signed), "token": "x"})

    assert (await answer(ISSUER)).status_code == 200
    for aud in (f"{ISSUER}{path}", f"{ISSUER}/token", [ISSUER, f"{ISSUER}{path}"], None):
        assert refusal(await answer(aud)) == INVALID_CLIENT
