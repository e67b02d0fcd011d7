"""A JWT that is no client assertion: an access token is judged as a guard would, others are named; no line harms."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.unit.server.explain.conftest import API, Place

from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.keys import PrivateKey
from affiant.oauth.revocations import FAMILY_MARK
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.records import Api
from affiant.testing import KEY, NOW

STRANGER = keys.generate("ES256")
JTI = f"f{FAMILY_MARK}t"
AT = {"typ": "at+jwt"}


async def test_a_good_token(place: Place) -> None:
    token = place.token()
    for text in (token, f"Bearer {token}", f"curl https://api.example/x -H 'Authorization: Bearer {token}'"):
        found = await place.explain(text)
        assert (found.reason, found.client_id) == (None, "c1")
        assert [line.mark for line in found.lines] == ["passed"] * 9
        assert "of this server, for the client 'c1' at https://api.example (exp in 600 s)" in (found.what or "")
        assert "show it to the API, not to /token" in (found.what or "")
        assert found.fix is not None
        assert found.fix.line == 'headers["Authorization"] = "Bearer " + token'


@pytest.mark.parametrize(
    ("claims", "key", "reason", "step"),
    [
        ({"exp": NOW - 31}, None, Reason.TOKEN_EXPIRED, "time"),
        ({"iat": NOW + 31}, None, Reason.TOKEN_NOT_YET_VALID, "time"),
        ({"aud": "https://other.example"}, None, Reason.TOKEN_AUDIENCE, "API"),
        ({"iss": "https://other.example"}, None, Reason.TOKEN_ISSUER, "issuer"),
        ({}, STRANGER, Reason.TOKEN_KEY, "key"),
        ({"scope": 7}, None, Reason.TOKEN_CLAIM, "claims"),
        ({"client_id": None}, None, Reason.TOKEN_CLAIM, "claims"),
        ({"cnf": {}}, None, Reason.TOKEN_BINDING, "claims"),
    ],
)
async def test_what_a_guard_refuses(
    place: Place, claims: dict[str, Any], key: PrivateKey | None, reason: Reason, step: str
) -> None:
    found = await place.explain(place.token(key=key, **claims))
    assert found.reason is reason
    assert [line.name for line in found.lines if line.mark == "failed"] == [step]
    assert found.fix is not None
    assert "client-authentication" not in found.fix.line
    assert "access token" in (found.what or "")


async def test_a_signature_that_was_changed(place: Place) -> None:
    head, payload, _ = place.token().split(".")
    other = place.token(scope="w").split(".")[2]
    assert (await place.explain(f"{head}.{payload}.{other}")).reason is Reason.TOKEN_SIGNATURE


@pytest.mark.parametrize(
    ("kind", "value"),
    [("jti", JTI), ("client", "c1"), ("api", API), ("all", ""), ("family", "f"), ("key", "k"), ("key", "c1 k")],
)
async def test_a_revoked_token(place: Place, kind: str, value: str) -> None:
    record = AuditRecord(at=NOW, trace_id="t", endpoint="admin", outcome="revoked")
    await place.store.ledger.claim(Entry(record, revocations=(Revocation(kind, value, NOW, NOW + 3600),)))
    found = await place.explain(place.token(jti=JTI, client_key="k"))
    assert found.reason is Reason.TOKEN_REVOKED


@pytest.mark.parametrize(
    ("cnf", "says"), [({"jkt": "x"}, "scheme DPoP"), ({"x5t#S256": "x"}, "mutual TLS"), ({"kid": "x"}, "no guard")]
)
async def test_a_bound_token(place: Place, cnf: dict[str, str], says: str) -> None:
    """The token does not show how a request proves its key: the explanation says so, and reports no failure."""
    found = await place.explain(place.token(cnf=cnf))
    assert (found.reason, found.lines[8].mark) == (None, "not known")
    assert says in found.lines[8].note


async def test_a_token_of_an_api_that_takes_another_typ(place: Place) -> None:
    api = Api("https://j.example", "j", (), is_default=False, created_at=NOW)
    await place.store.apis.add(replace(api, access_token_typ="JWT"))
    typ = {"typ": "JWT"}
    assert (await place.explain(place.token(typ, aud="https://j.example"))).reason is None
    expired = place.token(typ, aud="https://j.example", exp=NOW - 1)
    assert (await place.explain(expired)).reason is Reason.TOKEN_EXPIRED
    assert (await place.explain(place.token(typ))).reason is Reason.TOKEN_TYPE


async def test_an_access_token_sent_as_assertion(place: Place) -> None:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form = f"grant_type=client_credentials&client_assertion_type={kind}&client_assertion={place.token()}"
    found = await place.explain(form)
    assert found.reason is Reason.JWT_TYP
    assert found.fix is not None
    assert "show it to the API" in found.fix.why
    assert "typ" not in found.fix.line


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "Kubernetes": ({}, {"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ns:sa"}, "Kubernetes"),
    "GitHub": ({}, {"iss": "https://token.actions.githubusercontent.com", "repository": "o/r"}, "GitHub Actions"),
    "GitLab": ({}, {"iss": "https://gitlab.example", "project_path": "g/p", "pipeline_id": "1"}, "GitLab CI"),
    "Entra": ({}, {"iss": "https://login.microsoftonline.com/t/v2.0"}, "Microsoft Entra ID"),
    "Entra v1": ({}, {"iss": "https://sts.windows.net/t/"}, "Microsoft Entra ID"),
    "Google": ({}, {"iss": "https://accounts.google.com", "sub": "1"}, "Google"),
    "SPIFFE": ({}, {"sub": "spiffe://example/w"}, "SPIFFE"),
    "ID token": ({}, {"iss": "https://op.example", "nonce": "n"}, "ID token of 'https://op.example'"),
    "DPoP": ({"typ": "dpop+jwt"}, {"htm": "POST"}, "DPoP proof"),
    "introspection": ({"typ": "token-introspection+jwt"}, {}, "/introspect"),
    "revocations": ({"typ": "revocations+jwt"}, {}, "revocations"),
    "logout": ({"typ": "logout+jwt"}, {}, "logout token"),
    "request object": ({"typ": "oauth-authz-req+jwt"}, {}, "request object"),
    "access token": (AT, {"iss": "https://op.example", "sub": "u", "client_id": "x"}, "access token of another server"),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_what_is_from_elsewhere(place: Place, name: str) -> None:
    header, claims, says = OTHERS[name]
    found = await place.explain(compact.sign(header, {"sub": "x", "exp": NOW + 60, **claims}, STRANGER))
    assert says in (found.what or "")
    assert found.reason is not None
    assert found.fix is not None
    assert "client-authentication" not in found.fix.line
    assert "claims[" not in found.fix.line
    assert msgspec.to_builtins(found)["what"] == found.what


@pytest.mark.parametrize("claims", [{"iss": "c1", "sub": "c1", "nonce": "n"}, {"iss": "https://x", "sub": "c1"}])
async def test_an_assertion_of_a_registered_client_is_one(place: Place, claims: dict[str, Any]) -> None:
    assert (await place.explain(compact.sign({}, {"exp": NOW + 60, **claims}, KEY))).what is None


async def test_what_a_stranger_chose_is_quoted(place: Place) -> None:
    evil = "x\n\x1b[2J'; rm -rf ~"
    claims = {"iss": evil, "client_id": evil, "aud": evil, "sub": "system:serviceaccount:" + evil, "exp": NOW}
    for header in (AT, {}):
        found = await place.explain(compact.sign(header, claims, STRANGER))
        assert found.fix is not None
        assert "rm" not in found.fix.line
        assert "\x1b" not in (found.what or "")
