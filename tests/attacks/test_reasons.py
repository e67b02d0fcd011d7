"""Every reason of the closed list comes out of the real server or guard, has its page, and stands in the reference."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attacks import (
    callers,
    test_claims,
    test_dpop,
    test_grants,
    test_jose,
    test_methods,
    test_registration,
    test_requests,
    visiting,
)
from tests.attacks.bench import (
    API,
    API_URL,
    FILE,
    OTHER_API,
    PROXY,
    STRANGER,
    Bench,
    api_proof,
    assertion,
    basic,
    dpop,
    form,
    hurry,
    post,
    proof,
    public_jwk,
    running,
    take_signing_keys,
)
from tests.attacks.federating import BY_FEDERATION, CONTROLS
from tests.attacks.registering import bearer, invite, register
from tests.attacks.test_jwks_uri import AT_A_JWKS_URI
from tests.certificates import make
from tests.unit.resource.issuer import Check, check_in_loop, check_in_thread
from tests.wire import Request

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.jose import compact, keys
from affiant.jose.keys import SecretKey
from affiant.resource import ApiKey, ApiKeys, Denied, Guard, Proved, digest_of
from affiant.server.keys.vault import signing_key_purpose
from affiant.server.request.limits import Rate, Rates
from affiant.server.token.issue import REFRESH_IDLE
from affiant.storage.entries import AuditRecord, Entry, Revocation
from affiant.storage.records import RESTORED_AT, SigningKey
from affiant.storage.sqlite import SqliteStore
from affiant.testing import ISSUER, KEY, NOW

Send = Callable[[Bench], Awaitable[Request]]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "reasons.md"
GRANT = {"grant_type": "client_credentials"}


def _about_keys(*headers: tuple[bytes, bytes], **parameters: str) -> Request:
    members = parameters if headers else form(grant_type="absent", **parameters)
    return post(members, *headers, path="/client-keys")


def _over_tls(header: tuple[bytes, bytes]) -> Request:
    return replace(post({**GRANT, "client_id": "named"}, header), peer=PROXY)


def _elsewhere() -> dict[Reason, Request]:
    """Return a request for each reason that a table of this folder has: its own test asks far more of the refusal."""
    jose = [*test_jose.ALG, *test_jose.SPELLING, *test_jose.HEADERS, *test_jose.JSON]
    found = {reason: post(form(), dpop(text)) for _, text, reason in test_dpop.NEGATIVE}
    found |= {reason: register(token) for token, reason in _values(test_registration.TOKENS)}
    found |= {reason: register("x", sent) for sent, reason in _values(test_registration.BODIES)}
    found |= {reason: post(form(text)) for text, reason in _values(jose)}
    found |= {reason: post(form(assertion(**change))) for change, reason in _values(test_claims.REFUSED)}
    tables = (test_grants.REFUSED, test_methods.REFUSED, test_requests.REFUSED)
    return found | {reason: what for table in tables for what, reason, *_ in _values(table)}


def _values(table: Iterable[Any]) -> list[tuple[Any, ...]]:
    return [case.values for case in table]


ELSEWHERE = _elsewhere()
# What must be sent, where nothing has to happen first.
PLAIN = {
    Reason.BAD_FRAMING: Request(b"a=", is_whole=False),
    Reason.CLIENT_UNKNOWN: post(form(assertion(iss="nobody", sub="nobody"))),
    Reason.CLIENT_DISABLED: post(form(assertion(iss="off", sub="off"))),
    Reason.SECRET: post({**GRANT, "client_id": "client_secret_post", "client_secret": "x"}),
    Reason.CERTIFICATE_MISSING: post(form(assertion(iss="certified", sub="certified"))),
    Reason.DETAILS_MALFORMED: post(form(authorization_details="[]")),
    Reason.DETAILS_NOT_ALLOWED: post(form(authorization_details='[{"type":"x"}]')),
    Reason.RESOURCE_CONFLICT: post(form(resource=API, audience="https://x.example")),
    Reason.KEYS_ACTION: _about_keys(action="explode"),
    Reason.KEYS_MALFORMED: _about_keys(action="announce", jwk="{}"),
    Reason.KEYS_UNKNOWN: _about_keys(action="retire", kid="nobody"),
    Reason.KEYS_CONFLICT: _about_keys(action="retire", kid=KEY.kid),
    Reason.INTROSPECTION_NOT_ALLOWED: post(form(token="x"), path="/introspect"),
    Reason.REFRESH_UNKNOWN: post(
        form(assertion(iss="refreshing", sub="refreshing"), grant_type="refresh_token", refresh_token="nobody's")
    ),
    Reason.DPOP_MISSING: post(form(assertion(iss="bound", sub="bound"))),
    Reason.DPOP_HEADERS: post(form(), dpop(proof()), dpop(proof(jti="q"))),
    Reason.CERTIFICATE_HEADER: _over_tls((b"client-cert", b"x")),
    Reason.CERTIFICATE: _over_tls(make(dns=("other.example",)).header),
    Reason.CERTIFICATE_TIME: _over_tls(make(dns=("named.example",), end=NOW - 1).header),
    Reason.REGISTRATION_ACCESS_TOKEN: replace(register("x", path="/register/c1"), method="DELETE"),
}


async def _proof_replayed(bench: Bench) -> Request:
    await bench.send(bench.signed("c1", dpop(proof())))
    return post(form(), dpop(proof()))


async def _replayed(bench: Bench) -> Request:
    await bench.send(post())
    return post()


async def _slow(bench: Bench) -> Request:
    hurry(bench)
    return Request(is_slow=True)


async def _restored(bench: Bench) -> Request:
    await bench.store.settings.put(RESTORED_AT, str(NOW))
    await bench.add_client("another")  # whatever changes the registry makes the server look again
    return post()


async def _not_explicit(bench: Bench) -> Request:
    await bench.change_client("c1", typ_policy="explicit")
    return post()


async def _no_default(bench: Bench) -> Request:
    elsewhere = (OTHER_API, "https://third.example")
    await bench.change_client("c1", resources=elsewhere)
    return post()


async def _different_algorithms(bench: Bench) -> Request:
    await bench.store.apis.update(OTHER_API, lambda api: replace(api, signing_alg="PS256"))
    await bench.change_client("c1", resources=(API, OTHER_API))
    return post(urlencode([*form(scope="r").items(), ("resource", API), ("resource", OTHER_API)]))


async def _different_types(bench: Bench) -> Request:
    await bench.store.apis.update(OTHER_API, lambda api: replace(api, access_token_typ="JWT"))
    await bench.change_client("c1", resources=(API, OTHER_API))
    return post(urlencode([*form(scope="r").items(), ("resource", API), ("resource", OTHER_API)]))


async def _not_for_fapi(bench: Bench) -> Request:
    await bench.store.apis.update(API, lambda api: replace(api, signing_alg="RS256"))
    await bench.change_client("c1", profile="fapi")
    return post(form(), dpop(proof()))


def _refresh(bench: Bench, token: str) -> Request:
    return bench.signed("refreshing", grant_type="refresh_token", refresh_token=token)


async def _first_refresh(bench: Bench) -> str:
    return str((await bench.good(bench.signed("refreshing")))["refresh_token"])


async def _over_budget(bench: Bench) -> Request:
    await bench.change_client("c1", token_budget=1, budget="enforce")
    await bench.good(post())
    return bench.signed()


async def _refresh_expired(bench: Bench) -> Request:
    token = await _first_refresh(bench)
    bench.clock.now += REFRESH_IDLE
    return _refresh(bench, token)


async def _refresh_reused(bench: Bench) -> Request:
    token = await _first_refresh(bench)
    await bench.good(_refresh(bench, token))
    bench.clock.advance(121)
    return _refresh(bench, token)


async def _refresh_revoked(bench: Bench) -> Request:
    again = await _refresh_reused(bench)
    await bench.send(again)
    return _refresh(bench, dict(again.values())["refresh_token"])


async def _no_keys(bench: Bench) -> Request:
    who = "client_secret_basic"
    return _about_keys(basic(who, bench.secrets[who]), action="list")


async def _key_elsewhere(bench: Bench) -> Request:
    """The key that signs is in a PKCS #11 token that this server is not told of."""

    def add(standing: Sequence[SigningKey]) -> list[SigningKey]:
        (key,) = standing
        inside = json.dumps({"pkcs11": "elsewhere", "jwk": {**json.loads(key.public_jwk), "kid": "k"}}).encode()
        sealed = bench.master_key.seal(inside, purpose=signing_key_purpose("k"))
        return [replace(key, kid="k", sealed=sealed, created_at=NOW + 1, active_at=NOW)]

    await bench.store.signing_keys.change(add)
    return post()


async def _foreign(bench: Bench) -> Request:
    token = await _first_refresh(bench)
    return post(form(token=token), path="/revoke")


async def _registration_without_type(bench: Bench) -> Request:
    token = await invite(bench)
    return replace(register(token), headers=(bearer(token),))


AFTER: dict[Reason, Send] = {
    Reason.REGISTRATION_CONTENT_TYPE: _registration_without_type,
    Reason.REVOCATION_FOREIGN: _foreign,
    Reason.KEYS_ELSEWHERE: _no_keys,
    Reason.TOO_SLOW: _slow,
    Reason.SIGNER: _key_elsewhere,
    Reason.BEFORE_RESTORE: _restored,
    Reason.REPLAYED: _replayed,
    Reason.DPOP_REPLAYED: _proof_replayed,
    Reason.TYP_EXPLICIT: _not_explicit,
    Reason.RESOURCE_MISSING: _no_default,
    Reason.RESOURCE_ALGORITHMS: _different_algorithms,
    Reason.RESOURCE_TYPES: _different_types,
    Reason.RESOURCE_ALGORITHM: _not_for_fapi,
    Reason.LIMIT_BUDGET: _over_budget,
    Reason.REFRESH_EXPIRED: _refresh_expired,
    Reason.REFRESH_REUSED: _refresh_reused,
    Reason.REFRESH_REVOKED: _refresh_revoked,
}


AFTER |= BY_FEDERATION


@pytest.mark.parametrize("name", CONTROLS)
async def test_an_exchange_that_breaks_no_rule_is_granted(bench: Bench, name: str) -> None:
    await bench.good(await CONTROLS[name](bench))


@pytest.mark.parametrize("reason", [*PLAIN, *AFTER], ids=lambda reason: reason.code)
async def test_reason_is_reached(bench: Bench, reason: Reason) -> None:
    """The answer and the one record have it."""
    what = PLAIN[reason] if reason in PLAIN else await AFTER[reason](bench)
    before = await bench.audited()
    reply = await bench.send(what)
    assert (reply.status, reply.json()["error"]) == (reason.value.status, reason.value.error)
    (line,) = (await bench.audited())[len(before) :]
    assert (json.loads(line)["reason"], json.loads(line)["outcome"]) == (reason.code, "refused")


async def _too_many_failures(bench: Bench) -> Request:
    await bench.send(post(""))
    return post("")


async def _too_many_tokens(bench: Bench) -> Request:
    await bench.send(post())
    return bench.signed()


async def _store_away(bench: Bench) -> Request:
    await bench.store.close()
    return post()


async def _without_nonce(_: Bench) -> Request:
    return post(form(), dpop(proof()))


async def _no_signing_key(bench: Bench) -> Request:
    assert bench.folder is not None
    take_signing_keys(bench.folder)
    return post()


# What the answer alone has: these are counted, or cannot be written down (test_t16_operations.py).
ANSWERED: dict[Reason, Send] = {
    Reason.LIMIT_FAILURES: _too_many_failures,
    Reason.LIMIT_TOKENS: _too_many_tokens,
    Reason.STORE: _store_away,
    Reason.DPOP_NONCE: _without_nonce,
    Reason.UNEXPECTED: _no_signing_key,
}


@pytest.mark.parametrize("reason", ANSWERED, ids=lambda reason: reason.code)
async def test_reason_is_answered(
    reason: Reason, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that lets one request fail, one client have one token, and no proof come without its nonce."""
    one = Rates(failures=Rate(1, 0.1), tokens=Rate(1, 0.1))
    async with running(SqliteStore(tmp_path / FILE), caplog, monkeypatch, one, dpop_nonces="on") as bench:
        bench.folder = tmp_path
        reply = await bench.send(await ANSWERED[reason](bench))
    assert (reply.status, reply.json()["error"]) == (reason.value.status, reason.value.error)
    assert reply.json()["error_uri"] == f"{ISSUER}/errors/{reason.code}"


async def _signed(bench: Bench, header: dict[str, Any] | None = None, **changes: Any) -> list[bytes]:
    """The Authorization header with an access token under the server's own key."""
    return _bearer(await bench.access_token(header=header, **{"sub": "c1", "client_id": "c1", "aud": API, **changes}))


async def _altered(bench: Bench) -> list[bytes]:
    header, payload, signature = (await _signed(bench))[0].split(b".")
    assert signature
    return [b".".join([header, payload, b"A" * 86])]


async def _unbound(bench: Bench) -> list[bytes]:
    return [(await _signed(bench))[0].replace(b"Bearer", b"DPoP")]


async def _other_hash(bench: Bench) -> tuple[list[bytes], Proved]:
    (value,) = await _signed(bench, cnf={"jkt": keys.parse_public_jwk(public_jwk()).thumbprint})
    made = api_proof("another token").encode()
    return [value.replace(b"Bearer", b"DPoP")], Proved("GET", API_URL, (made,))


async def _revoked(bench: Bench) -> list[bytes]:
    ended = Revocation("jti", "ended", NOW, NOW + 600)
    told = AuditRecord(at=NOW, trace_id="ended", endpoint="revoke", outcome="revoked")
    await bench.store.ledger.claim(Entry(told, revocations=(ended,)))
    return await _signed(bench, jti="ended", scope="w")


def _bearer(text: str) -> list[bytes]:
    return [b"Bearer " + text.encode()]


AT_AN_API: dict[Reason, Callable[[Bench], Any]] = {
    Reason.TOKEN_REQUEST: lambda _: [b"Bearer x", b"Bearer x"],
    Reason.TOKEN_MISSING: lambda _: [],
    Reason.TOKEN_MALFORMED: lambda _: _bearer("x"),
    Reason.TOKEN_TYPE: lambda bench: _signed(bench, {"typ": "JWT"}),
    Reason.TOKEN_ALGORITHM: lambda _: _bearer(compact.sign({}, {}, SecretKey(bytes(32)))),
    Reason.TOKEN_KEY: lambda _: _bearer(compact.sign({}, {}, STRANGER)),
    Reason.TOKEN_SIGNATURE: _altered,
    Reason.TOKEN_ISSUER: lambda bench: _signed(bench, iss="https://evil.example"),
    Reason.TOKEN_AUDIENCE: lambda bench: _signed(bench, aud=OTHER_API),
    Reason.TOKEN_EXPIRED: lambda bench: _signed(bench, exp=NOW - 30),
    Reason.TOKEN_NOT_YET_VALID: lambda bench: _signed(bench, nbf=NOW + 31),
    Reason.TOKEN_CLAIM: lambda bench: _signed(bench, sub="absent"),
    Reason.TOKEN_BINDING: lambda bench: _signed(bench, cnf={"jkt": "x"}),
    Reason.TOKEN_UNBOUND: _unbound,
    Reason.DPOP_TOKEN_HASH: _other_hash,
    Reason.TOKEN_REVOKED: _revoked,
    Reason.SCOPE_INSUFFICIENT: lambda bench: _signed(bench, scope="r"),
}


@pytest.mark.parametrize("check", [check_in_loop, check_in_thread])
@pytest.mark.parametrize("reason", AT_AN_API, ids=lambda reason: reason.code)
async def test_reason_is_reached_at_api(bench: Bench, reason: Reason, check: Check) -> None:
    """By the real guard, which fetches the keys from the real server."""
    made = AT_AN_API[reason](bench)
    made = made if isinstance(made, list) else await made
    values, proved = made if isinstance(made, tuple) else (made, None)
    guard = Guard(ISSUER, audience=API, http=bench.http, clock=bench.clock)
    with pytest.raises(Rejected) as caught:
        await check(guard, values, need=["w"], proved=proved)
    assert caught.value.reason is reason
    denied = guard.deny(caught.value, values)
    assert (denied.status, denied.error, denied.reason) == (reason.value.status, reason.value.error, reason)
    # RFC 6750 section 3.1: without credentials there is no error.
    assert json.loads(denied.body).get("error", "") == ("" if reason is Reason.TOKEN_MISSING else reason.value.error)
    scheme = "DPoP" if values and values[0].startswith(b"DPoP") else "Bearer"
    assert denied.headers["WWW-Authenticate"].startswith(f"{scheme} ")


API_KEY = "a key of this API"
# The clients whose keys have ended, and the key that comes.
WITH_A_KEY: dict[Reason, tuple[set[str], str]] = {
    Reason.TOKEN_API_KEY: (set(), "another key"),
    Reason.TOKEN_API_KEY_ENDED: ({"c1"}, API_KEY),
}


@pytest.mark.parametrize("reason", WITH_A_KEY, ids=lambda reason: reason.code)
async def test_reason_is_reached_with_an_api_key(reason: Reason) -> None:
    ended, key = WITH_A_KEY[reason]
    guard = Guard(ISSUER, audience=API, api_keys=ApiKeys([ApiKey("c1", digest_of(API_KEY))], only_token=ended))
    denied = await guard.check_request("GET", "/", {"X-Api-Key": key})
    assert isinstance(denied, Denied)
    assert (denied.status, denied.error, denied.reason) == (reason.value.status, reason.value.error, reason)


# Who asks the admin API for what.
AT_THE_ADMIN_API: dict[Reason, tuple[Any, ...]] = {
    Reason.ADMIN_QUERY: ("viewer", "GET /clients?sort=name"),
    Reason.ADMIN_CURSOR: ("viewer", "GET /clients?cursor=x"),
    Reason.ADMIN_JSON: ("owner", "POST /clients", b"[]"),
    Reason.ADMIN_INVALID: ("owner", "POST /clients", {}),
    Reason.ADMIN_NOT_FOUND: ("viewer", "GET /clients/nobody"),
    Reason.ADMIN_EXISTS: ("owner", "POST /apis", {"identifier": API, "name": "a"}),
    Reason.ADMIN_CHANGED: ("operator", "PATCH /clients/c1", {}, (b"if-match", b'"x"')),
    Reason.ADMIN_OWNER_ONLY: ("operator", "PATCH /clients/owner", {}),
    Reason.ADMIN_TEAM: (callers.OF_TEAM, "POST /revocations", {"kind": "all"}),
    Reason.ADMIN_LAST_OWNER: ("owner", f"DELETE /apis/{callers.ADMIN}"),
}


@pytest.mark.parametrize("reason", AT_THE_ADMIN_API, ids=lambda reason: reason.code)
async def test_reason_is_reached_at_admin_api(bench: Bench, reason: Reason) -> None:
    await callers.hire(bench)
    who, what, *sent = AT_THE_ADMIN_API[reason]
    target, _, query = what.partition("?")
    reply = await callers.ask(bench, who, target, *sent, query=query)
    assert (reply.status, reply.json()["reason"]) == (reason.value.status, reason.code)
    record = await bench.store.audit_log.find(reply.json()["trace_id"])
    assert record is not None
    assert (record["outcome"], record["reason"], record["by"]) == ("refused", reason.code, who)


# What its caller has not caused, and so is not written down.
UNWRITTEN = {Reason.ADMIN_BUSY: ("viewer", "GET /clients")}


@pytest.mark.parametrize("reason", UNWRITTEN, ids=lambda reason: reason.code)
async def test_reason_that_is_not_written_down(bench: Bench, reason: Reason, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affiant.server.admin.reads.OPEN", 0)
    monkeypatch.setattr("affiant.server.admin.reads.WAIT_SECONDS", 0.0)
    await callers.hire(bench)
    reply = await callers.ask(bench, *UNWRITTEN[reason])
    assert (reply.status, reply.json()["reason"]) == (reason.value.status, reason.code)
    assert reply.headers["retry-after"] == "1"
    assert await bench.store.audit_log.find(reply.json()["trace_id"]) is None


AT_THE_CONSOLE: dict[Reason, Request] = {
    Reason.ADMIN_CSRF: visiting.form("/sign-in"),
    Reason.CONSOLE_LINK: visiting.form("/sign-in", visiting.ORIGIN, token="x"),
    Reason.CONSOLE_PASSKEY: visiting.script("/sign-in/passkey", b"{}", visiting.ORIGIN),
}


@pytest.mark.parametrize("reason", AT_THE_CONSOLE, ids=lambda reason: reason.code)
async def test_reason_is_reached_at_the_console(bench: Bench, reason: Reason) -> None:
    reply = await bench.send(AT_THE_CONSOLE[reason])
    assert (reply.status, reply.headers["x-trace-id"].encode() in reply.body) == (reason.value.status, True)
    record = await bench.store.audit_log.find(reply.headers["x-trace-id"])
    assert record is not None
    assert (record["endpoint"], record["outcome"], record["reason"]) == ("console", "refused", reason.code)


def test_every_reason_is_tested() -> None:
    tables: list[dict[Reason, Any]] = [
        ELSEWHERE,
        PLAIN,
        AFTER,
        ANSWERED,
        AT_A_JWKS_URI,
        AT_AN_API,
        WITH_A_KEY,
        AT_THE_ADMIN_API,
        AT_THE_CONSOLE,
        UNWRITTEN,
    ]
    assert set().union(*tables) == set(Reason)
    assert sum(map(len, tables)) == len(Reason)


@pytest.mark.rfc(6749, "5.2")
async def test_every_reason_has_its_page(bench: Bench) -> None:
    """Whatever error_uri names is there, says what happened and what to do, and loads nothing from elsewhere."""
    for reason in Reason:
        page = await bench.send(Request(method="GET", path=f"/errors/{reason.code}", headers=()))
        text = page.body.decode()
        assert page.status == 200
        assert escape(reason.value.sentence) in text
        assert escape(reason.value.fix) in text
        assert "http" not in text.split("</style>")[1].replace(escape(reason.value.fix), "")
        assert "script" not in text
    generic = await bench.send(Request(method="GET", path="/errors/client.authentication_failed", headers=()))
    nothing = await bench.send(Request(method="GET", path="/errors/nothing", headers=()))
    assert (generic.status, nothing.status) == (200, 404)


def test_reference_has_every_reason() -> None:
    headings = re.findall(r"^### `(.+)`$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(reason.code for reason in Reason)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_row_is_in_order(reason: Reason) -> None:
    row = reason.value
    assert [other for other in Reason if other.code == row.code] == [reason]
    assert Reason.from_code(row.code) is reason
    assert re.fullmatch(r"[a-z]+(?:_[a-z]+)*\.[a-z0-9]+(?:_[a-z0-9]+)*", row.code)
    # RFC 6749 section 5.2: what error_description may have.
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", row.sentence)
    assert not row.sentence.endswith(".")
    assert row.fix.endswith(".")
    assert row.source
    assert 0 <= row.step <= 11
    if row.code.startswith("dpop."):  # RFC 9449 section 5: not the client's authentication, but its proof
        assert (row.error in ("invalid_dpop_proof", "use_dpop_nonce"), row.step in (0, 10)) == (True, True)
        return
    if row.step >= 2 and row.status == 401:
        assert row.error == "invalid_client"
    if row.step >= 3:
        assert row.status == 401
