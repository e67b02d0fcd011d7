"""Whatever a visitor sends, the console answers it: no request makes it fail."""

from dataclasses import replace

import pytest
from tests.admin import ISSUER, NOW
from tests.attacks.test_teams import KEY, fill
from tests.unit.server.console.conftest import Desk
from tests.unit.server.console.visits import CSRF, Visit, text, visit

from affiant.jose import compact, keys
from affiant.server.admin.app import OPERATIONS
from affiant.server.admin.roles import Role
from affiant.server.console.actions.action import ACTIONS
from affiant.server.console.api import at
from affiant.server.console.pages.page import PAGES
from affiant.storage.memory import MemoryStore

NESTED = "[" * 15_000
SURROGATE = '{"keys": [{"kty": "EC", "crv": "P-256", "x": "\\ud800", "y": "a"}]}'
DIGITS = "9" * 4400  # more than Python reads as a number
VALUES = ("\0é", DIGITS, SURROGATE, NESTED, "0001-01-01T00:00+23:59")
NAMED = {
    "client_id": "payments-client", "identifier": "https://payments.example", "trust": "payments-trust",
    "rule": "payments-rule", "team": "payments", "user": "zzz-user", "kid": KEY.thumbprint, "trace_id": "payments-change",
    "by": "paste", "kind": "jti", "do": "label", "command": f"affiant client update payments-client --token-budget {DIGITS}",
}  # fmt: skip
FIELDS = (
    "at", "before", "days", "expect", "id", "if_match", "jwks", "label", "labels", "max_lifetime", "name", "offset",
    "overlap", "public_key", "request", "resources", "role", "scope", "teams", "then", "token", "uses", "value", "when",
    "token_budget", *NAMED,
)  # fmt: skip
QUERY = ("after", "client_id", "cursor", "done", "for", "format", "from", "kind", "language", "list", "of", "platform",
         "q", "since", "span", "tab", "until", "url", "value", "with")  # fmt: skip


@pytest.fixture
async def visitor() -> Visit:
    store = MemoryStore()
    await fill(store)
    return visit(store)


@pytest.mark.parametrize("name", sorted(ACTIONS))
async def test_no_value_makes_an_action_fail(visitor: Visit, name: str) -> None:
    for value in VALUES:
        known = dict.fromkeys(FIELDS, value) | NAMED
        for form in (known, dict.fromkeys(FIELDS, value)):
            answer = await visitor.act(name, **form) if len(str(form)) < 60_000 else None
            assert answer is None or answer.status_code < 500, (value[:50], text(answer))
    for form in (NAMED, NAMED | {"as_command": "1"}, NAMED | {"jwks": NESTED}):
        assert (await visitor.act(name, **form)).status_code < 500


@pytest.mark.parametrize(
    "path", sorted({page.pattern.pattern for page in PAGES if "stream" not in page.pattern.pattern})
)
async def test_no_query_makes_a_page_fail(visitor: Visit, path: str) -> None:
    for name in ("head", "%ED%A0%80"):
        where = path.replace("\\", "").split("(?P")[0] + (name if "(?P" in path else "")
        for value in VALUES:
            answer = await visitor.http.get(f"/console{where}", params=dict.fromkeys(QUERY, value[:500]))
            assert answer.status_code < 500, (where, value[:50], text(answer))


@pytest.mark.parametrize("teams", [None, frozenset({"payments"})])
async def test_tokens_of_platforms_are_judged(teams: frozenset[str] | None) -> None:
    """With enabled, disabled and no rules, by callers of all teams and of one."""
    store = MemoryStore()
    await fill(store)
    visitor = visit(store, Role.OPERATOR, teams=teams)
    claims = {"iss": "https://payments-issuer.example", "sub": "job", "aud": ISSUER, "iat": NOW, "exp": NOW + 60}
    token = compact.sign({"alg": "ES256"}, claims, keys.generate("ES256"))
    for change in ("nothing", "disabled", "removed"):
        if change == "disabled":
            await store.rules.update("payments-rule", lambda rule: replace(rule, enabled=False))
        elif change == "removed":
            await store.rules.remove("payments-rule")
        pasted = await visitor.post("/debugger", request=token, trust="payments-trust")
        tested = await visitor.post("/trusts/payments-trust/tested", token=token)
        assert (pasted.status_code, tested.status_code) == (200, 200), change
        if change != "removed":
            assert "payments-rule" in text(pasted)
            assert "payments-rule" in text(tested)


async def test_a_thousand_fields_are_the_most(visitor: Visit) -> None:
    many = {"csrf": CSRF, **{f"field-{number}": "x" for number in range(1000)}}
    for path in ("/clients", "/sign-in"):
        assert (await visitor.http.get(f"/console{path}", params=many)).status_code == 400
        assert (await visitor.post(path, **many)).status_code == 400


async def test_a_name_is_no_other_route(visitor: Visit) -> None:
    """A record named as another read of the log is none: that would read all of it, by a link."""
    for name in ("head", "export", "verification"):
        assert (await visitor.get(f"/events/{name}")).status_code == 404
        assert (await visitor.get(f"/clients?done={name}")).status_code == 200
    for operation in OPERATIONS:
        for segment in filter(None, operation.path.split("/")):
            found = [
                one for one in OPERATIONS if one.pattern.fullmatch(at("/audit/{}", segment)) and "{" not in one.path
            ]
            assert found == []


async def test_a_browser_that_goes_away_is_no_fault(desk: Desk) -> None:
    """A page whose lists are not read to the end has no answer, and the log has no fault."""
    sent = list[object]()

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    for path in ("/clients", "/audit"):
        raw, headers = f"/console{path}", [(b"cookie", desk.cookie.encode()), (b"host", b"as.example")]
        scope = {"type": "http", "method": "GET", "path": raw, "raw_path": raw.encode(), "query_string": b"",
                 "headers": headers, "client": ("192.0.2.1", 1), "asgi": {}}  # fmt: skip
        await desk.console(scope, gone, send)
    assert not sent
    assert "No record matches" in await desk.see("/activity?outcome=refused")
