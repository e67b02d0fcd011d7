"""RFC 9068, JWT access tokens: as the server issues them, and as the guard judges them."""

from typing import Any

import httpx2
import pytest
from tests.rfc.conftest import API, OTHER_API, access_token, refusal

from affiant.jose import compact, keys
from affiant.testing import ABSENT, ISSUER, KEY, NOW, Server


async def _call(api: httpx2.AsyncClient, token: str) -> tuple[int, str]:
    """Status, and the error of the challenge; (200, "") when it passed."""
    reply = await api.get("/", headers={"authorization": f"Bearer {token}"})
    if reply.status_code == 200:
        return 200, ""
    error: str = reply.json()["error"]
    assert f'error="{error}"' in reply.headers["www-authenticate"]
    return reply.status_code, error


INVALID_TOKEN = (401, "invalid_token")

# Sections 2 and 3: the token that is issued


@pytest.mark.rfc(9068, "2.1")
async def test_header_names_type_algorithm_and_key(server: Server) -> None:
    """Typ is at+jwt; it is signed, and the key is one that the server publishes."""
    header = compact.parse((await server.token())["access_token"]).header
    (key,) = (await server.http.get("/jwks")).json()["keys"]
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": key["kid"]}


@pytest.mark.rfc(9068, "2.2")
@pytest.mark.rfc(9068, "3")
async def test_required_claims_are_there(server: Server) -> None:
    """iss, exp, aud, sub, client_id, iat and jti; without a resource owner sub is the client."""
    claims = compact.parse((await server.token(scope="read"))["access_token"]).claims
    jti = claims.pop("jti")
    assert claims.pop("client_key") == KEY.public().thumbprint  # ours: which of the client's keys obtained it
    assert claims == {
        "iss": ISSUER,
        "sub": "c1",
        "client_id": "c1",
        "aud": API,
        "exp": NOW + 600,
        "iat": NOW,
        "scope": "read",
    }
    assert isinstance(jti, str)
    assert len(jti) >= 20


@pytest.mark.rfc(8707, "2.2")
@pytest.mark.rfc(9068, "2.2.3")
async def test_every_scope_has_meaning_for_audience(server: Server) -> None:
    """The scopes of another API are not in the token, though the client may have them there."""
    await server.add_client("both", scope=("read", "other.read"), resources=(API, OTHER_API))
    for resource, scope in ((API, "read"), (OTHER_API, "other.read")):
        assertion = server.assertion("both")
        token = (await server.token(client_assertion=assertion, resource=resource))["access_token"]
        assert compact.parse(token).claims["scope"] == scope
    form = server.form(server.assertion("both"), resource=API, scope="other.read")
    assert refusal(await server.post(form)) == (400, "invalid_scope")


@pytest.mark.rfc(9068, "5")
async def test_client_assertion_is_no_access_token(server: Server, api: httpx2.AsyncClient) -> None:
    assert await _call(api, server.assertion(aud=API)) == INVALID_TOKEN


@pytest.mark.rfc(9068, "5")
async def test_access_token_is_no_client_assertion(server: Server) -> None:
    token = (await server.token())["access_token"]
    assert refusal(await server.post(server.form(token))) == (401, "invalid_client")


# Section 4: the token that is judged


@pytest.mark.rfc(9068, "4(1)")
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/at+jwt"])
async def test_its_type_is_accepted(server: Server, api: httpx2.AsyncClient, typ: str) -> None:
    assert await _call(api, await access_token(server, header={"typ": typ})) == (200, "")


@pytest.mark.attack(251)
@pytest.mark.rfc(9068, "4(1)")
@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt", "dpop+jwt", "at", "", "application/", None, 1, []])
async def test_another_type_is_refused(server: Server, api: httpx2.AsyncClient, typ: object) -> None:
    """MUST reject tokens carrying any other value."""
    assert await _call(api, await access_token(server, header={"typ": typ})) == INVALID_TOKEN
    assert await _call(api, await access_token(server, header={"typ": ABSENT})) == INVALID_TOKEN


@pytest.mark.rfc(9068, "4(2)")
async def test_encrypted_token_is_refused(api: httpx2.AsyncClient) -> None:
    assert await _call(api, "e30.e30.e30.e30.e30") == INVALID_TOKEN


@pytest.mark.attack(260)
@pytest.mark.rfc(9068, "4(3)")
@pytest.mark.parametrize("iss", [f"{ISSUER}/", "https://AS.example", "https://other.example", "", None, [ISSUER], 1])
async def test_another_issuer_is_refused(server: Server, api: httpx2.AsyncClient, iss: object) -> None:
    """The issuer identifier MUST exactly match iss."""
    assert await _call(api, await access_token(server, iss=iss)) == INVALID_TOKEN


@pytest.mark.rfc(9068, "4(4)")
@pytest.mark.parametrize("aud", [API, [API], [OTHER_API, API], [1, API]])
async def test_audience_with_this_api_is_accepted(server: Server, api: httpx2.AsyncClient, aud: object) -> None:
    assert await _call(api, await access_token(server, aud=aud)) == (200, "")


@pytest.mark.attack(249)
@pytest.mark.rfc(9068, "4(4)")
@pytest.mark.parametrize(
    "aud", [OTHER_API, f"{API}/", f"{API}.evil.example", [OTHER_API], [], [[API]], "", None, {API: 1}, 1]
)
async def test_audience_without_this_api_is_refused(server: Server, api: httpx2.AsyncClient, aud: object) -> None:
    """The token MUST be rejected if aud does not contain the API."""
    assert await _call(api, await access_token(server, aud=aud)) == INVALID_TOKEN


@pytest.mark.rfc(9068, "4(4)")
async def test_token_for_another_api_is_refused(server: Server, api: httpx2.AsyncClient) -> None:
    """As it was really issued."""
    await server.add_client("elsewhere", scope=("read",), resources=(OTHER_API,))
    token = (await server.token("elsewhere"))["access_token"]
    assert await _call(api, token) == INVALID_TOKEN


@pytest.mark.attack(252)
@pytest.mark.rfc(9068, "4(5)")
async def test_bad_signature_is_refused(server: Server, api: httpx2.AsyncClient) -> None:
    """MUST validate the signature, with the keys of the server."""
    good = await access_token(server)
    head, payload, signature = good.split(".")
    other = (await access_token(server, client_id="c2")).split(".")
    strange = compact.sign({"typ": "at+jwt"}, compact.parse(good).claims, keys.generate("ES256"))
    for token in (f"{head}.{payload}.", f"{head}.{payload}.{other[2]}", f"{head}.{other[1]}.{signature}", strange):
        assert await _call(api, token) == INVALID_TOKEN


@pytest.mark.attack(252)
@pytest.mark.rfc(9068, "4(5)")
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "HS256", "es256", "RS256"])
async def test_another_algorithm_is_refused(server: Server, api: httpx2.AsyncClient, alg: str) -> None:
    """MUST reject any JWT in which alg is none."""
    token = await access_token(server)
    (key,) = (await server.http.get("/jwks")).json()["keys"]

    class Naming:
        kid = key["kid"]

        def __init__(self) -> None:
            self.alg = alg

        def sign(self, data: bytes) -> bytes:
            return bytes({"none": 0, "hs256": 32, "rs256": 256}.get(alg.lower(), 64))

    parsed = compact.parse(token)
    forged = compact.sign({"typ": "at+jwt"}, parsed.claims, Naming())
    assert await _call(api, forged) == INVALID_TOKEN


@pytest.mark.attack(256)
@pytest.mark.rfc(9068, "4(6)")
async def test_expired_token_is_refused(server: Server, api: httpx2.AsyncClient) -> None:
    """The current time MUST be before exp; 30 s of skew are allowed."""
    assert await _call(api, await access_token(server, exp=NOW - 29)) == (200, "")
    assert await _call(api, await access_token(server, exp=NOW - 30)) == INVALID_TOKEN


@pytest.mark.attack(256)
@pytest.mark.rfc(9068, "2.2")
@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
async def test_token_without_required_claim_is_refused(server: Server, api: httpx2.AsyncClient, name: str) -> None:
    assert await _call(api, await access_token(server, **{name: ABSENT})) == INVALID_TOKEN


@pytest.mark.rfc(9068, "2.2")
@pytest.mark.parametrize(
    "claims", [{"exp": "x"}, {"exp": True}, {"iat": None}, {"nbf": "x"}, {"jti": 1}, {"sub": 1}, {"scope": 1}]
)
async def test_claim_of_another_kind_is_refused(
    server: Server, api: httpx2.AsyncClient, claims: dict[str, Any]
) -> None:
    assert await _call(api, await access_token(server, **claims)) == INVALID_TOKEN


@pytest.mark.rfc(9068, "4")
async def test_too_few_rights_are_insufficient_scope(server: Server, api: httpx2.AsyncClient) -> None:
    for scope in ("write", "Read", "readx"):
        assert await _call(api, await access_token(server, scope=scope)) == (403, "insufficient_scope")
    assert await _call(api, await access_token(server, scope=ABSENT)) == (403, "insufficient_scope")


@pytest.mark.rfc(7800, "3.1")
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None])
async def test_bound_token_is_no_bearer_token(server: Server, api: httpx2.AsyncClient, cnf: object) -> None:
    """Shown without its proof, it is a stolen one."""
    assert await _call(api, await access_token(server, cnf=cnf)) == INVALID_TOKEN
