"""T1: HTTP method, body and form. What is wrong with the form is told in full, and nothing is used up."""

import asyncio
import json
from urllib.parse import urlencode

import pytest
from tests.attacks.bench import API, OTHER_API, Bench, assertion, form, hurry, post, row
from tests.wire import FORM_TYPE, Request

from affiant.errors.reasons import Reason

GOOD = form()
QUERY, PAIRS = urlencode(GOOD).encode(), urlencode(GOOD)
EMPTY = ("client_id", "client_secret", "scope", "resource", "assertion")
MULTIPART = "".join(f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in GOOD.items())


def _typed(content_type: str, body: str = PAIRS) -> Request:
    return Request(body.encode(), headers=((b"content-type", content_type.encode()),))


REFUSED = [
    *(row(1, method, Request(method=method, query=QUERY, headers=()), Reason.METHOD, rfc="6749 3.2") for method in ("GET", "HEAD")),
    row(3, "in the URL", Request(query=QUERY), Reason.IN_QUERY, rfc="6749 2.3.1"),
    *(
        row(3, f"{name} in the URL", Request(PAIRS.encode(), query=f"{name}=x".encode()), Reason.IN_QUERY, rfc="6749 2.3.1")
        for name in (
            "client_id", "client_secret", "client_assertion", "refresh_token", "authorization_details", "scope",
            "subject_token", "actor_token",
        )
    ),
    row(5, "JSON", _typed("application/json", json.dumps(GOOD)), Reason.CONTENT_TYPE, rfc="6749 B"),
    row(5, "text", _typed("text/plain"), Reason.CONTENT_TYPE, rfc="6749 B"),
    row(6, "multipart", _typed("multipart/form-data; boundary=x", MULTIPART + "--x--\r\n"), Reason.CONTENT_TYPE, rfc="6749 B"),
    row(7, "no type", Request(PAIRS.encode(), headers=((b"content-length", b"%d" % len(PAIRS)),)), Reason.CONTENT_TYPE),
    row(7, "no type, in chunks", Request(PAIRS.encode(), headers=((b"transfer-encoding", b"chunked"),)), Reason.CONTENT_TYPE),
    row(7, "nothing at all", Request(headers=()), Reason.NO_BODY),
    row(7, "no bytes", Request(headers=((b"content-length", b"0"),)), Reason.NO_BODY),
    row(7, "two types", Request(PAIRS.encode(), headers=(FORM_TYPE, FORM_TYPE)), Reason.CONTENT_TYPE),
    row(8, "another charset", _typed("application/x-www-form-urlencoded; charset=utf-7"), Reason.CONTENT_TYPE),
    row(10, "empty", post(""), Reason.MISSING_PARAMETER),
    row(11, "too large", post("a=" + "x" * 65_535), Reason.TOO_LARGE),
    row(11, "many parameters", post("&".join(f"a{i}=1" for i in range(33))), Reason.TOO_MANY_PARAMETERS),
    row(16, "grant_type twice", post(PAIRS + "&grant_type=client_credentials"), Reason.DUPLICATE_PARAMETER),
    row(18, "client_id twice", post(PAIRS + "&client_id=c1&client_id=c2"), Reason.DUPLICATE_PARAMETER),
    row(18, "type twice", post(PAIRS + "&client_assertion_type=x"), Reason.DUPLICATE_PARAMETER),
    row(18, "empty and twice", post(PAIRS + "&client_id=&client_id=c1"), Reason.DUPLICATE_PARAMETER),
    *(
        row(18, f"{name} twice, {end!r}", post(f"{PAIRS}&{name}=x&{name}={end}"), Reason.DUPLICATE_PARAMETER, rfc="6749 3.2")
        for name in ("client_secret", "client_id", "unknown")
        for end in ("x", "")
    ),
    row(19, "scope twice", post(PAIRS + "&scope=r&scope=r"), Reason.DUPLICATE_PARAMETER, rfc="6749 3.2"),
    row(20, "semicolon", post("grant_type=client_credentials;client_id=c1"), Reason.GRANT_UNSUPPORTED),
    *(row(22, text, post(f"{PAIRS}&client_id={text}"), Reason.ENCODING, rfc="6749 B") for text in ("%zz", "%", "%f")),
    row(22, "half a character", post("client_id=%e2%82"), Reason.ENCODING),
    *(row(24, text, post(f"client_id={text}"), Reason.ENCODING, rfc="6749 B") for text in ("%ff%fe", "%c0%af", "%c3%28")),
    row(24, "no UTF-8 in a name", post("client%ff=c1"), Reason.ENCODING, rfc="6749 B"),
    row(26, "no grant_type", post(form(grant_type="absent")), Reason.MISSING_PARAMETER, rfc="6749 5.2"),
    row(26, "empty grant_type", post(form(grant_type="")), Reason.MISSING_PARAMETER, rfc="6749 3.2"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "reason"), REFUSED)
async def test_refused(bench: Bench, what: Request, reason: Reason) -> None:
    reply = await bench.refused(what, reason)
    assert reply.headers.get("allow") == ("POST" if reason is Reason.METHOD else None)
    if reason is Reason.CONTENT_TYPE:
        assert "application/x-www-form-urlencoded" in reply.json()["error_description"]


@pytest.mark.parametrize(
    "what",
    [
        row(8, "charset", _typed("application/x-www-form-urlencoded; charset=UTF-8")),
        row(8, "upper case", _typed('Application/X-WWW-Form-Urlencoded;charset="utf-8"')),
        row(25, "unknown parameters", post({**GOOD, "foo": "bar", "username": "x", "code": "y"}), rfc="6749 3.2"),
        row(25, "empty is absent", post({**GOOD, **dict.fromkeys(EMPTY, "")}), rfc="6749 3.2"),
    ],
)
async def test_issued(bench: Bench, what: Request) -> None:
    await bench.issued(what)


@pytest.mark.rfc(6749, "3.2")
@pytest.mark.rfc(7009, "2")
@pytest.mark.rfc(9110, "15.5.6")
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        *((path, "POST") for path in ("/token", "/introspect", "/revoke", "/register")),
        ("/register/c1", "GET, PUT, DELETE"),
        ("/client-keys", "POST, PUT"),
    ],
)
async def test_other_methods(bench: Bench, path: str, allowed: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed.split(", ")):
        reply = await bench.send(Request(method=method, path=path, headers=()))
        assert (reply.status, reply.headers["allow"]) == (405, allowed), method


@pytest.mark.attack(1)
@pytest.mark.attack(3)
async def test_query_is_in_no_log(bench: Bench) -> None:
    for what in (Request(method="GET", query=QUERY, headers=()), Request(query=QUERY)):
        await bench.send(what)
    assert "grant_type" not in bench.log.text + "".join(await bench.audited())


@pytest.mark.attack(11)
async def test_large_body_is_not_read_whole(bench: Bench) -> None:
    """Of a megabyte no more is taken than the limit and the piece that passes it."""
    pieces = (b"a=" + b"x" * 16_382, *[b"x" * 16_384] * 63)
    await bench.refused(Request(pieces=pieces), Reason.TOO_LARGE)
    reply = await bench.send(Request(pieces=pieces))
    assert (reply.status, reply.taken <= 65_536 + 16_384) == (413, True)


@pytest.mark.attack(13)
async def test_body_without_its_end(bench: Bench) -> None:
    """Who goes away within its body has sent nothing."""
    await bench.refused(Request(pieces=(PAIRS.encode(),), is_whole=False), Reason.BAD_FRAMING)


@pytest.mark.attack(14)
async def test_slow_bodies(bench: Bench) -> None:
    """Fifty senders who stop within their bodies are let go in time, and hold nobody up (a socket: tests/e2e)."""
    hurry(bench)
    slow = Request(pieces=(PAIRS.encode()[:99],), is_slow=True)
    waiting = [asyncio.create_task(bench.send(slow)) for _ in range(50)]
    await asyncio.sleep(0)
    assert (await bench.send(bench.signed())).status == 200
    assert not any(task.done() for task in waiting)
    assert {reply.status for reply in await asyncio.gather(*waiting)} == {408}
    await bench.refused(slow, Reason.TOO_SLOW)


@pytest.mark.attack(19)
@pytest.mark.rfc(8707, "2")
async def test_resource_twice(bench: Bench) -> None:
    text = assertion(iss="both", sub="both")
    body = urlencode([*form(text).items(), ("resource", API), ("resource", OTHER_API)])
    await bench.issued(post(body), client_id="both", aud=[API, OTHER_API])
