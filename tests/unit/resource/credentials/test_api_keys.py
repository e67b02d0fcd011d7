"""API keys next to access tokens: decisions and counts; no key is ever shown."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.resource.frameworks.faces import FACES, PATH, Asked, Face
from tests.unit.resource.issuer import API, NOW, Issuer
from tests.unit.resource.listening import ListeningIssuer, listening

from affiant.errors import ConfigError
from affiant.errors.reasons import Reason
from affiant.resource import ApiKey, ApiKeys, Caller, Denied, Guard, digest_of
from affiant.telemetry import Telemetry
from affiant.telemetry.exposition import render

KEY, OTHER = "k3y-of-billing-0123456789abcdef", "k3y-of-reports-0123456789abcdef"
PAGE = "https://api.example/from-api-keys"
ROWS = (ApiKey("c", digest_of(KEY), "read"), ApiKey("reports", digest_of(OTHER), "list"))
END = datetime.fromtimestamp(NOW, UTC) + timedelta(days=30)


def guard_of(issuer: Issuer, **options: Any) -> tuple[Guard, ApiKeys]:
    api_keys = ApiKeys(ROWS, page=PAGE, **options)
    return issuer.guard(revocations="off", api_keys=api_keys), api_keys


async def ask(guard: Guard, *headers: tuple[str, str], need: str = "read") -> Caller | Denied:
    return await guard.check_request("GET", "/orders", headers, need)


def reason_of(found: Caller | Denied) -> Reason | None:
    assert isinstance(found, Denied)
    return found.reason


def ways(api_keys: ApiKeys) -> dict[tuple[str, str], int]:
    return {(one.client_id, one.way): one.requests for one in api_keys.usage()}


async def test_key_is_the_same_caller_as_the_token() -> None:
    issuer = Issuer()
    guard, api_keys = guard_of(issuer)
    by_key = await ask(guard, ("X-API-Key", KEY))
    by_token = await ask(guard, ("Authorization", issuer.token(scope="read").decode()))
    assert isinstance(by_key, Caller)
    assert isinstance(by_token, Caller)
    assert [(one.client_id, one.sub, one.scopes, one.issuer) for one in (by_key, by_token)] == [
        ("c", "c", frozenset({"read"}), guard.issuer)
    ] * 2
    assert (by_key.token_id, by_token.token_id) == ("", "1")
    assert ways(api_keys) == {("c", "key"): 1, ("c", "token"): 1}
    assert api_keys.usage()[0].last == NOW


@pytest.mark.parametrize("value", ["", "k3y", KEY + " ", KEY.upper(), digest_of(KEY), "x" * 5000, KEY + "\x00"])
async def test_other_text_is_no_key(value: str) -> None:
    guard, api_keys = guard_of(Issuer())
    assert reason_of(await ask(guard, ("X-API-Key", value))) is Reason.TOKEN_API_KEY
    assert api_keys.usage() == []


async def test_two_keys_are_refused() -> None:
    guard, _ = guard_of(Issuer())
    found = await ask(guard, ("X-API-Key", KEY), ("x-api-key", KEY))
    assert reason_of(found) is Reason.TOKEN_API_KEY


async def test_no_credentials_is_as_without_keys() -> None:
    guard, _ = guard_of(Issuer())
    assert reason_of(await ask(guard)) is Reason.TOKEN_MISSING


async def test_key_has_its_own_scope() -> None:
    guard, _ = guard_of(Issuer())
    assert reason_of(await ask(guard, ("X-API-Key", OTHER))) is Reason.SCOPE_INSUFFICIENT


async def test_token_decides_alone() -> None:
    """Attack: a key opens what an expired token, or the token of another client, does not."""
    issuer = Issuer()
    guard, api_keys = guard_of(issuer)
    key = ("X-API-Key", KEY)
    expired = await ask(guard, key, ("Authorization", issuer.token(scope="read", exp=NOW - 60).decode()))
    assert reason_of(expired) is Reason.TOKEN_EXPIRED
    assert reason_of(await ask(guard, key, ("Authorization", "bearer x"))) is Reason.TOKEN_MALFORMED
    narrow = await ask(guard, key, ("Authorization", issuer.token(scope="list").decode()))
    assert reason_of(narrow) is Reason.SCOPE_INSUFFICIENT
    good = await ask(guard, ("X-API-Key", OTHER), ("Authorization", issuer.token(scope="read").decode()))
    assert isinstance(good, Caller)
    assert good.client_id == "c"
    assert ways(api_keys) == {("c", "both"): 1}


async def test_another_scheme_leaves_the_key() -> None:
    """A proxy in front may have an Authorization header of its own."""
    guard, _ = guard_of(Issuer())
    assert isinstance(await ask(guard, ("X-API-Key", KEY), ("Authorization", "Basic eDp5")), Caller)


async def test_switch_over_and_rollback_of_one_client() -> None:
    switched = {"c"}
    guard, api_keys = guard_of(Issuer(), only_token=switched)
    refused = await ask(guard, ("X-API-Key", KEY))
    assert isinstance(refused, Denied)
    assert (refused.reason, refused.status) == (Reason.TOKEN_API_KEY_ENDED, 401)
    body = json.loads(refused.body)
    assert (body["error"], body["error_uri"]) == ("invalid_api_key", PAGE)
    assert f'error_uri="{PAGE}"' in refused.headers["WWW-Authenticate"]
    assert isinstance(await ask(guard, ("X-API-Key", OTHER), need="list"), Caller)
    switched.clear()
    assert isinstance(await ask(guard, ("X-API-Key", KEY)), Caller)
    assert ways(api_keys) == {("c", "refused"): 1, ("c", "key"): 1, ("reports", "key"): 1}


async def test_deadline() -> None:
    issuer = Issuer()
    guard, _ = guard_of(issuer, until=END)
    found = await ask(guard, ("X-API-Key", KEY))
    assert isinstance(found, Caller)
    assert dict(found.notices) == {"Sunset": "Sun, 14 Feb 2027 08:00:00 GMT", "Link": f'<{PAGE}>; rel="sunset"'}
    issuer.now = END.timestamp()
    assert reason_of(await ask(guard, ("X-API-Key", KEY))) is Reason.TOKEN_API_KEY_ENDED


async def test_digests_with_a_secret() -> None:
    secret = bytes(range(16))
    api_keys = ApiKeys([ApiKey("c", digest_of(KEY, secret=secret), "read")], secret=secret, header="Key")
    guard = Issuer().guard(revocations="off", api_keys=api_keys)
    assert isinstance(await ask(guard, ("Key", KEY)), Caller)
    assert reason_of(await ask(guard, ("Key", OTHER))) is Reason.TOKEN_API_KEY
    assert reason_of(await ask(guard, ("X-API-Key", KEY))) is Reason.TOKEN_MISSING


async def test_table_is_searched_by_what_no_sender_knows() -> None:
    """Attack: timing. Two processes look for one key under different names, and neither is its digest."""
    first, second = ApiKeys(ROWS), ApiKeys(ROWS)
    assert not set(first._keys) & set(second._keys)
    assert bytes.fromhex(digest_of(KEY)) not in first._keys


def test_a_name_that_no_key_has_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt name would leave the key of its client working, unseen."""
    guard_of(Issuer(), only_token={"misspelt", "c"})
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "only_token= has misspelt, of which the table has no key: is it misspelt?"
    ]


async def test_no_key_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    caplog.set_level(logging.DEBUG)
    guard, api_keys = guard_of(issuer, only_token={"reports"})
    answers = [
        await ask(guard, ("X-API-Key", KEY)),
        await ask(guard, ("X-API-Key", OTHER)),
        await ask(guard, ("X-API-Key", "guessed-secret")),
    ]
    shown = caplog.text + repr(answers) + repr(ROWS) + repr(api_keys.usage()) + guard.metrics().text()
    assert "client c: first request in this process by key" in caplog.text
    for secret in (KEY, OTHER, "guessed-secret", digest_of(KEY)):
        assert secret not in shown


async def test_use_is_counted_by_a_callable_too(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of on_use is logged, and changes no decision. A client outside the table is not counted."""
    seen: list[tuple[str, str]] = []

    def on_use(client_id: str, way: str) -> None:
        seen.append((client_id, way))
        raise RuntimeError("the metric is broken")

    issuer = Issuer()
    guard, _ = guard_of(issuer, on_use=on_use)
    assert isinstance(await ask(guard, ("X-API-Key", KEY)), Caller)
    token = issuer.token(scope="read", client_id="stranger", sub="stranger").decode()
    assert isinstance(await ask(guard, ("Authorization", token)), Caller)
    assert seen == [("c", "key")]
    assert "the metric is broken" in caplog.text


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([ApiKey("c", KEY)], {}),
        ([ApiKey("c", digest_of(KEY).upper())], {}),
        ([ApiKey("c", digest_of(KEY)), ApiKey("d", digest_of(KEY))], {}),
        ([ApiKey("c", digest_of(KEY), "a  b")], {}),
        (ROWS, {"header": "Authorization"}),
        (ROWS, {"header": "X_Api_Key"}),
        (ROWS, {"secret": b"short"}),
        (ROWS, {"until": datetime(2027, 3, 1)}),  # noqa: DTZ001 - the mistake
        (ROWS, {"page": 'https://x.example/"'}),
        (ROWS, {"only_token": "c"}),
    ],
)
def test_mistake_is_refused(rows: list[ApiKey], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        ApiKeys(rows, **options)
    assert KEY not in str(error.value)


def test_keys_and_bound_tokens_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="bound to nothing"):
        Guard("https://as.example", audience=API, dpop="required", api_keys=ApiKeys(ROWS))


@pytest.fixture(scope="module")
def shared() -> Any:
    with listening() as issuer:
        yield issuer


@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
async def test_each_framework(face: Face, shared: ListeningIssuer) -> None:
    api_keys = ApiKeys(ROWS, until=END, page=PAGE)
    guard = shared.guard(api_keys=api_keys)
    async with face(guard) as call:
        good = await call(Asked([("X-Api-Key", KEY)], path=PATH))
        unknown = await call(Asked([("X-Api-Key", "guessed")], path=PATH))
        narrow = await call(Asked([("X-Api-Key", OTHER)], path=PATH))
        token = await call(Asked([("Authorization", shared.token(scope="read").decode())], path=PATH))
    assert (good.status, good.body.strip(b'"')) == (200, b"c")
    assert good.headers["sunset"] == "Sun, 14 Feb 2027 08:00:00 GMT"
    assert [unknown.status, narrow.status, token.status] == [401, 403, 200]
    assert "sunset" not in token.headers
    assert ways(api_keys) == {("c", "key"): 1, ("c", "token"): 1, ("reports", "key"): 1}


async def test_metrics_have_the_share_of_keys_and_no_client() -> None:
    issuer, telemetry = Issuer(), Telemetry()
    guard = issuer.guard(revocations="off", api_keys=ApiKeys(ROWS, only_token={"reports"}), telemetry=telemetry)
    by_key, by_token = ("X-API-Key", KEY), ("Authorization", issuer.token(scope="read").decode())
    for headers in ((by_key,), (by_key,), (by_token,), (by_key, by_token), (("X-API-Key", OTHER),), ()):
        await ask(guard, *headers)
    await ask(guard, by_key, ("Authorization", "Bearer " + KEY))
    assert telemetry.samples()["affiant_guard_credentials_total"] == {
        (API, "key", "accepted"): 2,
        (API, "key", "refused"): 1,
        (API, "token", "accepted"): 1,
        (API, "both", "accepted"): 1,
        (API, "both", "refused"): 1,
    }
    issuer.guard(telemetry=telemetry)  # one that takes no keys counts none
    text = render(telemetry).text.decode()
    assert f'affiant_guard_credentials_total{{api="{API}",credential="key",outcome="accepted"}} 2.0' in text
    assert not any(secret in text for secret in (KEY, OTHER, ROWS[0].digest, "reports"))
