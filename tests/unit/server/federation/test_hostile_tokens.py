"""Tokens that a trusted issuer's key signed, and that no platform would write: each gets its reason, and nobody a token.

The tenant of a platform chooses names, branches, tags and more of what stands in its tokens.
"""

import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.platforms import github, gitlab, hosts, kubernetes
from tests.platforms.issuer import Issuer, signed, stranger
from tests.platforms.token import ABSENT, AUDIENCE, put
from tests.platforms.trap import Good
from tests.platforms.traps import GOOD
from tests.unit.server.federation.registering import add, ask, audited, form, refused, trusting

from affiant.testing import Server
from affiant.testing.clock import NOW

ACTIONS = Issuer.of(github.job())
TEXT = json.dumps(github.job().issued())
SPOKEN = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6749 section 5.2: of an error_description
NOBODYS = "assertion.issuer_subject"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with trusting(GOOD["github"], GOOD["gitlab"], GOOD["spiffe"]) as made:
        yield made


def _claims(**changes: Any) -> str:
    claims = github.job().issued()
    for name, value in changes.items():
        put(claims, f"/{name}", value)
    return ACTIONS.sign_claims(claims)


def _with(more: str) -> bytes:
    return f"{TEXT[:-1]}, {more}}}".encode()


@pytest.mark.parametrize(
    "payload",
    [
        _with('"repository_id": "75"'),
        _with('"iss": "https://gitlab.com"'),
        _with('"x": NaN'),
        _with('"x": 1e400'),
        _with('"x": "\\ud800"'),
        TEXT.replace('"74"', '"74\\ud800"').encode(),
        _with(f'"x": {"[" * 200}{"]" * 200}'),
        _with('"x": "\xff"').replace("\xff".encode(), b"\xff"),
        f"[{TEXT}]".encode(),
        f"\ufeff{TEXT}".encode(),
        f"{TEXT} x".encode(),
        b'"x"',
        b"",
    ],
    ids=itertools.count(),
)
async def test_payload_that_two_readers_read_differently_is_refused(server: Server, payload: bytes) -> None:
    assert await refused(server, ACTIONS.sign_claims(payload)) == "assertion.json"


@pytest.mark.parametrize(
    "value",
    [
        *("74\n", "\n74", "74\0", " 74", "74 ", "7\uff14", "74.0", "074", "+74", "74*", "*", "%37%34", ""),
        *(74, 74.0, 74.5, True, None, ["74"], {"74": "74"}, [74], 10**400),
    ],
    ids=repr,
)
async def test_value_that_only_looks_like_the_pinned_one(server: Server, value: object) -> None:
    assert await refused(server, _claims(repository_id=value)) == "rule.none"


@pytest.mark.parametrize("ref", ["refs/heads/main\n", "refs/heads/Main", "refs/heads/main/..", "refs%2Fheads%2Fmain"])
async def test_ref_that_only_looks_like_the_pinned_one(server: Server, ref: str) -> None:
    assert await refused(server, signed(github.job(github.Run(ref=ref)))) == "rule.none"


@pytest.mark.rfc(7523, "3(1)")
@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        (f"{github.ISSUER}/", "trust.unknown"),
        (f"{github.ISSUER}\n", "trust.unknown"),
        (f"{github.ISSUER}:443", "trust.unknown"),
        (f"{github.ISSUER}/%2e", "trust.unknown"),
        (f"{github.ISSUER}#", "trust.unknown"),
        ("http://token.actions.githubusercontent.com", "trust.unknown"),
        ("https://TOKEN.actions.githubusercontent.com", "trust.unknown"),
        ("https://x@token.actions.githubusercontent.com", "trust.unknown"),
        ("https://tokenˑactions.githubusercontent.com", "trust.unknown"),
        ("token.actions.githubusercontent.com", NOBODYS),
        ("", NOBODYS),
        (None, NOBODYS),
        (5, NOBODYS),
        ([github.ISSUER], NOBODYS),
        (ABSENT, NOBODYS),
        (gitlab.ISSUER, "trust.key_unknown"),
        (AUDIENCE, "trust.unknown"),
    ],
)
async def test_issuer_is_compared_as_it_is_written(server: Server, issuer: object, reason: str) -> None:
    assert await refused(server, _claims(iss=issuer)) == reason


@pytest.mark.rfc(7523, "3(2)")
@pytest.mark.parametrize("subject", ["", None, 5, ["a"], {"a": "b"}, "x" * 2049])
async def test_token_of_nobody_is_refused(server: Server, subject: object) -> None:
    """RFC 7523 section 3 item 2: a subject must be there, whatever the rule is about."""
    assert await refused(server, _claims(sub=subject)) == NOBODYS
    assert await refused(server, _claims(sub=ABSENT)) == "client.unknown"  # read as an assertion of old clients


async def test_subject_that_is_the_issuer_is_an_assertion_of_an_unknown_client(server: Server) -> None:
    """Attack: a tenant whose `sub` can be anything makes its token one that a client would have signed itself."""
    assert await refused(server, _claims(sub=github.ISSUER)) == "client.unknown"
    assert await refused(server, _claims(sub="github", iss="github")) == "client.method"


async def test_subject_of_a_trust_domain_needs_the_keys_of_the_domain(server: Server) -> None:
    """Attack: the tenant of another platform writes a SPIFFE ID. It stays a token of that platform."""
    svid = hosts.svid().issued()
    assert (await ask(server, signed(hosts.svid())))["client_id"] == "spiffe"
    assert await refused(server, ACTIONS.sign_claims(svid)) == "trust.key_unknown"
    assert await refused(server, ACTIONS.sign_claims({**svid, "iss": github.ISSUER, "jti": "a"})) == "rule.none"


@pytest.mark.parametrize(
    "audience",
    [
        *("", None, 5, True, [], {AUDIENCE: 1}, [AUDIENCE, None], [AUDIENCE, AUDIENCE], [[AUDIENCE]]),
        *(f"{AUDIENCE}/", AUDIENCE.upper(), f"{AUDIENCE}\n", f"{AUDIENCE}/token", f"{AUDIENCE} {AUDIENCE}", ABSENT),
    ],
)
async def test_audience_is_the_expected_one_alone(server: Server, audience: object) -> None:
    assert await refused(server, _claims(aud=audience)) == "trust.audience"


@pytest.mark.rfc(7523, "3(3)")
@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize(
    ("expected", "taken"),
    [
        ((), {AUDIENCE, f"{AUDIENCE}/token"}),
        (("api://affiant",), {"api://affiant"}),
        (("api://affiant", AUDIENCE), {"api://affiant", AUDIENCE}),
    ],
)
async def test_audiences_of_a_trust(expected: tuple[str, ...], taken: set[str], is_list: bool) -> None:
    """The issuer identifier and the token endpoint unless the trust names others."""
    async with trusting() as server:
        await add(server, GOOD["github"], audiences=list(expected))
        for audience in (AUDIENCE, f"{AUDIENCE}/token", "api://affiant", "https://other.example"):
            text = signed(github.job().changed({"/aud": [audience] if is_list else audience}))
            if audience in taken:
                assert (await ask(server, text))["client_id"] == "github"
            else:
                assert await refused(server, text) == "trust.audience"


async def test_legacy_token_is_refused_where_its_issuer_is_trusted() -> None:
    """Its operator can trust an issuer that is no URL; RFC 7523 section 3 wants an audience and an end."""
    legacy = kubernetes.legacy()
    good = Good(legacy.changed({"/aud": AUDIENCE}).lasting(600), {"/sub": kubernetes.ORDERS.subject}, replay="reused")
    async with trusting(good) as server:
        assert (await ask(server, signed(good.token)))["client_id"] == "kubernetes"
        assert await refused(server, signed(legacy)) == "trust.audience"
        assert await refused(server, signed(legacy.changed({"/aud": AUDIENCE}))) == "assertion.exp"


@pytest.mark.parametrize("jti", ["", None, 5, ["a"], "x" * 1025, ABSENT])
async def test_token_without_an_id_that_can_be_remembered(server: Server, jti: object) -> None:
    assert await refused(server, _claims(jti=jti)) == "assertion.jti"


async def test_id_of_another_trust_uses_nothing_up(server: Server) -> None:
    """Attack: the tenant of one platform burns the ids of another one's tokens."""
    claims = {**gitlab.job().issued(), "jti": "shared"}
    assert (await ask(server, _claims(jti="shared")))["client_id"] == "github"
    assert (await ask(server, Issuer.of(gitlab.job()).sign_claims(claims)))["client_id"] == "gitlab"
    assert await refused(server, _claims(jti="shared")) == "assertion.replayed"


async def test_refused_token_is_not_used_up(server: Server) -> None:
    """Order: the id is claimed last. Who sees a token must not be able to end it by sending it wrongly."""
    text = _claims(jti="kept")
    assert await refused(server, text, client_id="gitlab") == "rule.none"
    assert await refused(server, text[:-4] + "AAAA") == "signature.invalid"
    assert (await ask(server, text))["client_id"] == "github"


@pytest.mark.rfc(7523, "3(4)")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": str(NOW + 300)}, "assertion.exp"),
        ({"exp": True}, "assertion.exp"),
        ({"exp": None}, "assertion.exp"),
        ({"exp": 10**16}, "assertion.exp"),
        ({"exp": -1}, "assertion.expired"),
        ({"exp": NOW - 30}, "assertion.expired"),
        ({"exp": 1e308}, "trust.lifetime"),
        ({"exp": NOW + 10**12}, "trust.lifetime"),
        ({"iat": -1}, "trust.lifetime"),
        ({"iat": ABSENT, "nbf": ABSENT, "exp": NOW + 3631}, "trust.lifetime"),
        ({"iat": NOW + 31}, "assertion.issued_in_future"),
        ({"nbf": NOW + 31}, "assertion.not_yet_valid"),
        ({"iat": NOW + 20, "exp": NOW + 10}, "assertion.time_claim"),
        ({"iat": None}, "assertion.time_claim"),
        ({"nbf": "0"}, "assertion.time_claim"),
    ],
    ids=str,
)
async def test_times_that_are_none(server: Server, changes: dict[str, Any], reason: str) -> None:
    assert await refused(server, _claims(**changes)) == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "at+jwt"}, "assertion.type"),
        ({"typ": "dpop+jwt"}, "assertion.type"),
        ({"typ": "client-authentication+jwt"}, "assertion.type"),
        ({"kid": "x" * 9000}, "assertion.kid"),
        ({"crit": ["exp"], "exp": 1}, "assertion.critical_header"),
        ({"jku": "https://mallory.example/jwks"}, ""),
        ({"jwk": stranger().public_jwk}, ""),
        ({"x5c": ["AA"]}, ""),
        ({"typ": "JOSE"}, ""),
        ({"typ": "application/JWT"}, ""),
        ({"typ": None}, ""),
    ],
)
async def test_header(server: Server, header: dict[str, Any], reason: str) -> None:
    """A key that a header brings or points at is never used: the published one has to verify it."""
    if reason:
        assert await refused(server, ACTIONS.sign(github.job(), **header)) == reason
        return
    forged = ACTIONS.sign(github.job(), by=stranger(), kid=ACTIONS.keys[-1].kid, **header)
    assert await refused(server, forged) == "signature.invalid"
    assert (await ask(server, ACTIONS.sign(github.job(), **header)))["client_id"] == "github"


@pytest.mark.parametrize(
    "text", ["\u202egnp.exe", "\x1b[31mred", 'a"b\\c', "a\r\nset-cookie: x=1", "é" * 600, "x" * 2000]
)
@pytest.mark.parametrize("claim", ["sub", "iss", "ref", "event_name", "aud"])
async def test_text_of_a_tenant_is_never_spoken_as_it_came(server: Server, claim: str, text: str) -> None:
    """Neither in the answer nor in a header, whichever claim it stands in; and the log keeps a part of it."""
    value = f"https://mallory.example/{text}" if claim == "iss" else text
    changes = {claim: value} if claim == "iss" else {claim: value, "repository_id": "0"}
    reply = await server.post(form(_claims(**changes)))
    answer = reply.json()
    assert (reply.status_code, answer["error"]) == (400, "invalid_grant")
    assert SPOKEN.fullmatch(answer["error_description"])
    assert not any("mallory" in header or "cookie" in header for header in reply.headers)
    record = await audited(server, answer["trace_id"])
    assert len(json.dumps(record)) < 20_000
