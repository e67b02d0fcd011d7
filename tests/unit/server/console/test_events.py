"""The page of one event: what it says, and how it is mended from there."""

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from tests.admin import ADMIN, ISSUER, MASTER, NOW
from tests.console import signed_in
from tests.unit.server.console.conftest import Desk

from affiant.jose import keys
from affiant.jose.keys import PrivateKey
from affiant.server.console.pages.events import languages
from affiant.server.console.show.commands import reading
from affiant.server.explain import fixes
from affiant.server.registry import clients
from affiant.storage.entries import AuditBase
from affiant.storage.records import Api, Client

HOSTILE = "<img src=x onerror=alert(1)>\"'"
ORDERS = "https://orders.example"


async def register(desk: Desk, **more: Any) -> PrivateKey:
    """A client with a key, and an API."""
    await desk.store.apis.add(Api(ORDERS, "orders", ("orders.read", "orders.write"), is_default=True, created_at=NOW))
    key = keys.generate("ES256")
    wanted = Client("billing", "private_key_jwt", scope=("orders.read",), resources=(ORDERS,))
    made = clients.build(wanted, keys=(key.public(),), master_key=MASTER, now=NOW)
    await desk.store.clients.add(replace(made.client, **more))
    return key


async def refuse(desk: Desk, reason: str, **more: str) -> None:
    await desk.record("aaaaaaaaaaaa", "refused", reason=reason, client_claimed="billing", **more)


async def test_absent(desk: Desk) -> None:
    for trace_id in ("bbbbbbbbbbbb", "a%20b", "%3Cimg%20src%3Dx%3E"):
        shown = await desk.see(f"/events/{trace_id}", status=404)
        assert "twelve characters" in shown
        assert "<img" not in shown


async def test_a_trace_of_the_time_that_is_archived(desk: Desk) -> None:
    await refuse(desk, "assertion.expired")
    await refuse(desk, "assertion.expired")
    (first, *_) = log = await desk.store.audit_log.export()
    assert len(log) > 1
    await desk.store.audit_log.drop(AuditBase(first.number, first.link, 86_400, b""))
    assert "1970-01-02" in await desk.see("/events/bbbbbbbbbbbb", status=404)
    page = await desk.see("/audit")
    assert "affiant audit verify FILE --log" in page
    assert f"Verify {len(log) - 1}" in page


async def test_reason_of_another_version(desk: Desk) -> None:
    await refuse(desk, "assertion.unheard_of")
    assert "assertion.unheard_of" in await desk.see("/events/aaaaaaaaaaaa")


async def test_short_link(desk: Desk) -> None:
    answer = await desk.http.get("/console/e/aaaaaaaaaaaa")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/events/aaaaaaaaaaaa"


async def test_why(desk: Desk) -> None:
    await register(desk)
    await refuse(desk, "assertion.audience", expected=ISSUER, got=f"{ISSUER}/token/")
    shown = await desk.see("/events/aaaaaaaaaaaa")
    assert "billing is refused: aud must be the issuer of this server, alone; expected https://as.example; got" in shown
    assert 'aria-label="failed">✗' in shown
    for line in ('claims["aud"] = ', "claims.put(", "jq -c", "affiant token -c billing.affiant.json"):
        assert line.replace('"', "&#34;") in shown, line
    assert f"{ISSUER}/errors/assertion.audience" in shown
    assert "The last 1 of" in shown


async def test_markup_is_text(desk: Desk) -> None:
    hostile = dict.fromkeys(("got", "expected", "kid", "scope", "resource", "address", "detail", "issuer"), HOSTILE)
    await desk.record("aaaaaaaaaaaa", "refused", reason="key.unknown", client_claimed=HOSTILE, **hostile)
    await desk.record("bbbbbbbbbbbb", "refused", reason="rule.none", claims=f'{{"{HOSTILE[:9]}": ["{HOSTILE[:9]}"]}}')
    await desk.record("cccccccccccc", "changed", endpoint="admin", subject=HOSTILE, before="{broken", by=HOSTILE)
    for trace_id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"):
        shown = await desk.see(f"/events/{trace_id}")
        assert "<img" not in shown
        assert "&lt;img src" in shown


async def mends(desk: Desk) -> dict[str, str]:
    """The hidden fields of the button that mends the event."""
    shown = await desk.see("/events/aaaaaaaaaaaa")
    form = re.search(
        r'<form method="post" action="/console/actions/mend" class="inline">(.*?)</form>', shown, re.DOTALL
    )
    assert form is not None, shown
    found = re.findall(r'name="(\w+)" value="(.*?)"', form[1])
    return {name: value.replace("&#34;", '"').replace("&#39;", "'") for name, value in found}


@pytest.mark.parametrize(
    ("refusal", "changed"),
    [
        ({"reason": "scope.not_allowed", "scope": "orders.write"}, {"scope": ("orders.read", "orders.write")}),
        ({"reason": "client.disabled"}, {"enabled": True}),
        (
            {"reason": "assertion.audience", "policies": "audience=legacy", "client_id": "billing"},
            {"audience_policy": "legacy"},
        ),
    ],
)
async def test_mend(desk: Desk, refusal: dict[str, str], changed: dict[str, object]) -> None:
    await register(desk, enabled="enabled" not in changed)
    await refuse(desk, **refusal)
    fields = await mends(desk)
    done = await desk.post("/actions/mend", **fields)
    assert done.status_code == 303, done.text
    found = await desk.store.clients.find("billing")
    assert {name: getattr(found, name) for name in changed} == changed
    assert "Undo" in (await desk.http.get(done.headers["location"])).text
    stale = await desk.post("/actions/mend", **fields)
    assert stale.status_code == 412


async def test_register_key(desk: Desk) -> None:
    await register(desk)
    await refuse(desk, "key.unknown", expected="a", got="b", client_id="billing")
    assert "Register the key" in await desk.see("/events/aaaaaaaaaaaa")
    added = keys.generate("ES256")
    import json

    for given, status in (("{", 422), ("x", 422), (json.dumps(added.to_jwk()), 422), ("[" * 9000, 422)):
        answer = await desk.post("/actions/client.key.add", client_id="billing", public_key=given)
        assert answer.status_code == status, answer.text
    done = await desk.post(
        "/actions/client.key.add", client_id="billing", public_key=json.dumps(added.public().to_jwk())
    )
    assert done.status_code == 303, done.text
    found = await desk.store.clients.find("billing")
    assert found is not None
    assert added.kid in [json.loads(key.jwk)["kid"] for key in found.keys]


async def test_change_without_ladder(desk: Desk) -> None:
    await desk.record(
        "aaaaaaaaaaaa", "changed", endpoint="admin", by="ann", subject="client billing", before='{"a": 1}'
    )
    shown = await desk.see("/events/aaaaaaaaaaaa")
    assert "ann: client billing was changed." in shown
    assert "Undo this change" in shown
    assert "Checks, in their order" not in shown


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf /", "affiant", "affiant client delete billing", "affiant client new x --public-key F", "affiant 'client",
        "affiant client update billing", "affiant client update billing --scope", "affiant client update b --public-key F",
        "affiant signing-key rotate now x", "affiant api update x --is-default yes", "",
    ],
)  # fmt: skip
async def test_only_known_commands_run(desk: Desk, line: str) -> None:
    assert reading.read(line) is None
    assert (await desk.post("/actions/mend", command=line)).status_code == 422


async def test_api_is_named(desk: Desk) -> None:
    await register(desk)
    line = "affiant api update orders --access-token-lifetime 900"
    assert (await desk.post("/actions/mend", command=line)).status_code == 303
    found = await desk.store.apis.find(ORDERS)
    assert found is not None
    assert found.access_token_lifetime == 900
    assert ADMIN not in line


def test_languages() -> None:
    line = 'claims["iat"] = int(time.time()); claims["exp"] = claims["iat"] + 60; claims.pop("nbf", None)'
    assert languages.write(line, "js", None) == (
        'claims["iat"] = Math.floor(Date.now() / 1000);\nclaims["exp"] = claims.iat + 60;\ndelete claims["nbf"];'
    )
    assert languages.write('form["client_id"] = claims["iss"]', "go", None) == 'form.Set("client_id", claims["iss"])'
    assert languages.write('form["scope"] = "a b"', "cli", "billing") == (
        "affiant token -c billing.affiant.json --scope 'a b'"
    )
    assert languages.write("affiant client enable billing", "cli", None) == "affiant client enable billing"
    assert languages.write("affiant client enable billing", "java", None) is None
    assert languages.write("encode = lambda data: data", "java", None) is None
    assert languages.write("claims[" * 5000, "java", None) is None


def test_most_fixes_are_in_every_language() -> None:
    """The lines that do not depend on the request; three are about the shape of the whole request."""
    lines = {row.code for row in fixes._ROWS.values() if isinstance(row.code, str)}
    left = {line for line in lines for name in languages.NAMES if languages.write(line, name, "billing") is None}
    assert all("query" in line or line.startswith("encode") for line in left), left
    moved = languages.write('form["client_assertion"] = form.pop("assertion")', "js", None)
    assert moved == 'form.set("client_assertion", form.get("assertion"));\nform.delete("assertion");'


def test_curl_quotes() -> None:
    """A shell reads the line as it is meant, whatever the value is."""
    hostile = 'it\'s "$(touch x)" `id` \\'
    line = languages.write(f'claims["aud"] = {json.dumps(hostile)}', "curl", None)
    form = languages.write(f'form["scope"] = {json.dumps(hostile)}', "curl", None)
    assert line is not None
    assert form is not None
    assert shlex.split(form) == ["--data-urlencode", f"scope={hostile}"]
    program = shlex.split(line.partition("jq -c ")[2].partition(" <<<")[0])
    assert program == [f".aud = {json.dumps(hostile)}"]


async def test_viewer_mends_nothing(desk: Desk) -> None:
    await register(desk, enabled=False)
    await refuse(desk, "client.disabled")
    cookies, csrf = await signed_in(desk.context, "vera", role="viewer")
    headers = {"cookie": "=".join(*cookies.items()), "origin": ISSUER}
    shown = (await desk.http.get("/console/events/aaaaaaaaaaaa", headers=headers)).text
    assert "affiant client enable billing" in shown
    assert "A viewer cannot change this" in shown
    assert "Do it" not in shown
    form = {"csrf": csrf, "command": "affiant client enable billing"}
    answer = await desk.http.post("/console/actions/mend", data=form, headers=headers)
    assert answer.status_code == 403
    found = await desk.store.clients.find("billing")
    assert found is not None
    assert not found.enabled
