"""The debugger: what it reads, what it says, and that whatever is pasted into it is text."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.admin import ISSUER, NOW
from tests.unit.server.console.conftest import Desk
from tests.unit.server.console.test_events import ORDERS, register
from tests.zoo.caller import Caller, Clock
from tests.zoo.mistakes import MISTAKES

from affiant import testing
from affiant.jose import base64url, compact
from affiant.jose.keys import PrivateKey

HOSTILE = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def build(key: PrivateKey, **changes: Any) -> str:
    claims = {"iss": "billing", "sub": "billing", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "j1"} | changes
    return compact.sign({"alg": key.alg, "kid": key.kid}, claims, key)


def form(jwt: str) -> str:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return urlencode({"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": jwt})


async def judge(desk: Desk, text: str, *, status: int = 200, **more: str) -> str:
    answer = await desk.post("/debugger", request=text, **more)
    assert answer.status_code == status, answer.text
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    return answer.text


async def test_form_is_there(desk: Desk) -> None:
    assert "Nothing is stored" in await desk.see("/debugger")


WRITE: dict[str, Callable[[str], str]] = {
    "jwt": lambda jwt: jwt,
    "header": lambda jwt: f"Authorization: Bearer {jwt}",
    "form": form,
    "curl": lambda jwt: f"curl -X POST {ISSUER}/token -d '{form(jwt)}'",
    "http": lambda jwt: f"POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{form(jwt)}",
    "har": lambda jwt: json.dumps(
        {
            "request": {
                "method": "POST",
                "url": f"{ISSUER}/token",
                "headers": [{"name": "Content-Type", "value": "application/x-www-form-urlencoded"}],
                "postData": {"text": form(jwt)},
            }
        }
    ),
}


@pytest.mark.parametrize("kind", WRITE)
async def test_read_every_form(desk: Desk, kind: str) -> None:
    key = await register(desk)
    shown = await judge(desk, WRITE[kind](build(key)))
    assert "<h2>Accepted</h2>" in shown
    assert "billing gets orders.read at https://orders.example" in shown


async def test_nothing_is_claimed(desk: Desk) -> None:
    key = await register(desk)
    text = build(key)
    for _ in range(2):
        assert "<h2>Accepted</h2>" in await judge(desk, text)
    assert (await desk.store.audit_log.head()).number == 0


async def test_wrong_claims_are_outlined(desk: Desk) -> None:
    key = await register(desk)
    shown = await judge(desk, build(key, aud=f"{ISSUER}/token/"))
    assert "Refused: <code>assertion.audience</code>" in shown
    row = shown.split('<tr class="wrong">')[1].split("</tr>")[0]
    assert "aud" in row
    assert "/token/" in row


async def test_time(desk: Desk) -> None:
    key = await register(desk)
    text = build(key, iat=NOW + 1800, exp=NOW + 1860)
    now = await judge(desk, text)
    assert "assertion.issued_in_future" in now
    assert "✓ +30 min" in now
    assert "✓ +30 min 59 s (exp)" in now
    assert "✗ at that time" in now
    assert "<h2>Accepted</h2>" in await judge(desk, text, offset="1810")
    assert "<h2>Accepted</h2>" in await judge(desk, text, at=str(NOW + 1800))
    assert "<h2>Accepted</h2>" in await judge(desk, text, at="2027-01-15T08:30:10Z")
    assert "is no time" in await judge(desk, text, at="soon", status=422)
    for odd in ("1e400", "-1", "nan", "9" * 400):
        await judge(desk, text, at=odd, status=422)
    await judge(desk, text, offset="9" * 400)


async def test_access_token(desk: Desk) -> None:
    key = await register(desk)
    claims = {"iss": ISSUER, "aud": ORDERS, "client_id": "billing", "scope": "orders.read", "exp": NOW + 60, "iat": NOW}
    shown = await judge(desk, compact.sign({"alg": key.alg, "kid": "k", "typ": "at+jwt"}, claims, key))
    assert "This is an access token of this server" in shown
    assert "token.unknown_key" in shown
    assert ORDERS in shown


ODD = (HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, 10**300, -1, 1.5e300, None, True, "\ud800", "")


async def test_hostile_claims(desk: Desk) -> None:
    head = base64url.encode(json.dumps({"alg": "ES256", "kid": HOSTILE, "typ": HOSTILE}).encode())
    for member in ("iss", "sub", "aud", "jti", "exp", "more"):
        for value in ODD:
            claims = {"iss": "a", "sub": "a", "aud": ISSUER, "exp": NOW, "jti": "j", member: value, HOSTILE: HOSTILE}
            payload = base64url.encode(json.dumps(claims).encode())
            await judge(desk, f"{head}.{payload}.{base64url.encode(bytes(64))}")


BROKEN = (
    HOSTILE, "a.b.c", "..", "{", "{}", '{"log": {"entries": []}}', "curl '", "curl -d @secret.json https://as.example",
    f"POST {HOSTILE} HTTP/1.1\n\n", f"curl 'http://[{HOSTILE}'", "\x00", "a" * 59_000, "." * 59_000, "=" * 20_000,
    "{" * 20_000, f"client_id={HOSTILE}", "GET / HTTP/1.1\n\n", "[" * 20_000, "Bearer x", "client_id=a&client_id=b",
)  # fmt: skip


async def test_broken_input(desk: Desk) -> None:
    for text in BROKEN:
        answer = await desk.post("/debugger", request=text)
        assert answer.status_code in (200, 422), answer.text
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert 'id="judged"' in answer.text, text[:40]


ZOO = [one for one in MISTAKES if one.client == "ec" and one.again is None and not one.stranger]


async def test_common_mistakes(desk: Desk) -> None:
    """The page gives the reason of every mistake of one client's code that people make."""
    key = await register(desk)
    clock = testing.Clock(NOW)
    for mistake in ZOO:
        caller: Any = Caller("billing", ISSUER, key.key, Clock(clock, mistake.clock))
        caller.early, caller.at_input, caller.at_signature = mistake.early, mistake.at_input, mistake.at_signature
        shown = await judge(desk, caller.build().as_http())
        assert f"Refused: <code>{mistake.reason.code}</code>" in shown, mistake.name


async def test_too_large(desk: Desk) -> None:
    answer = await desk.post("/debugger", request="a" * 65_536)
    assert answer.status_code == 413
    assert "larger than 64 KiB" in answer.text
    assert (await desk.post("/debugger", request="a" * 60_001)).status_code == 422


async def test_not_in_a_url(desk: Desk) -> None:
    """A pasted assertion may be in no URL: those are logged."""
    key = await register(desk)
    text = build(key)
    shown = await desk.see(f"/debugger?request={text}")
    assert text not in shown
