"""The mistake zoo: what explain prints first, typed as it stands, makes the next request succeed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.rsa_keys import rsa_key
from tests.zoo.caller import Caller, Clock, Request
from tests.zoo.house import House
from tests.zoo.mistakes import FOREIGN, MISTAKES, NEVER, Mistake

from affiant.errors.reasons import Reason
from affiant.jose import keys
from affiant.oauth import names
from affiant.server.explain import hints
from affiant.server.explain.fix import Fix
from affiant.server.keys import key_source

ISSUER = "http://127.0.0.1:8377"
EC, OTHER_EC, STRANGER = (keys.generate("ES256") for _ in range(3))
RSA = rsa_key()
SCOPES = ("orders.read", "orders.write")


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(hints, "SECONDS", 0.01)  # what a mistake was is found out at once
    monkeypatch.setenv(key_source.ENVIRONMENT, bytes(range(32)).hex())  # the server's, for commands
    async with House.on_folder(tmp_path, ISSUER) as made:
        await made.add_api("https://api.example", scope=(*SCOPES, "invoices.read"), is_default=True)
        await made.add_api("https://other.example", name="other", scope=SCOPES)
        await _add_clients(made)
        yield made


async def _add_clients(house: House) -> None:
    for method, name in (
        ("client_secret_jwt", "hmac"),
        ("client_secret_post", "post"),
        ("client_secret_basic", "basic"),
        ("client_secret_basic", "https://basic.example:8443/a@b"),
    ):
        await house.add_client(name, method, scope=SCOPES)
    for name in ("billing-ec", "disabled"):
        await house.add_client(name, key=EC, scope=SCOPES)
    await house.add_client("two", keys=(EC.public(), OTHER_EC.public()), scope=SCOPES)
    await house.add_client("rsa", key=RSA, scope=SCOPES, token_endpoint_auth_signing_alg="RS256")
    await house.add_client("kafka", key=EC, scope=SCOPES, grant_types=(names.JWT_BEARER,))
    await house.add_client("dpop", key=EC, scope=SCOPES, dpop_bound_access_tokens=True)
    await house.add_client("bound", key=EC, scope=SCOPES, tls_client_certificate_bound_access_tokens=True)


def _caller(house: House, mistake: Mistake) -> Caller:
    name = {"ec": "billing-ec", "url": "https://basic.example:8443/a@b"}.get(mistake.client, mistake.client)
    key = {"rsa": RSA, "hmac": None}.get(mistake.client, STRANGER if mistake.stranger else EC)
    return Caller(
        client_id=name,
        issuer=ISSUER,
        key=key.key if key is not None else None,
        clock=Clock(house.clock, mistake.clock),
        alg={"rsa": "RS256", "hmac": "HS256"}.get(mistake.client, "ES256"),
        kid=OTHER_EC.kid if mistake.client == "two" else None,
        secret=house.secrets.get(name, ""),
        early=mistake.early,  # type: ignore[arg-type]  # what a change returns is nobody's business
        at_input=mistake.at_input,  # type: ignore[arg-type]
        at_signature=mistake.at_signature,  # type: ignore[arg-type]
    )


async def _command(house: House, line: str) -> None:
    """Type a command, with the file that it asks for in its place."""
    public = STRANGER.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    file = house.folder / "public.pem"
    file.write_bytes(pem)
    await house.type(line, {"PUBLIC_KEY_FILE": file})


async def _request(house: House, caller: Caller, mistake: Mistake) -> Request:
    """The request with its mistake; where it is one of repeating, after the first."""
    request = caller.build()
    if mistake.again is None:
        return request
    assert await house.send(request) == 200
    house.clock.now += mistake.again
    # Who keeps the assertion sends the same bytes; who only keeps the jti signs anew.
    return caller.build() if "jti" in mistake.name or "same" in mistake.name else request


# What is found out by the client's keys, which the record of the request itself does not wait for.
LOOKED_INTO = ("signed", "PSS", "header says", "secret ", "kid of", "HS512", "the same assertion", "jti is the name")
FOUND_BY_KEYS = (Reason.SIGNATURE, Reason.KEY_NONE, Reason.REPLAYED, Reason.CLIENT_METHOD)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda n: MISTAKES[n].name)
async def test_first_fix_helps(house: House, number: int) -> None:
    """The trace_id says as much as the request: nobody has the assertion of a client that runs elsewhere."""
    mistake = MISTAKES[number]
    if mistake.client == "disabled":
        await _command(house, "affiant client disable disabled")
    caller = _caller(house, mistake)
    request = await _request(house, caller, mistake)
    found = await house.explain([request.as_http, request.as_curl, request.as_har][number % 3]())
    answer = await house.answer(request)
    assert answer.status_code in (400, 401, 405)
    traced = await house.trace(answer.json()["trace_id"], looks=mistake.name.startswith(LOOKED_INTO))
    assert found.reason is traced.reason is mistake.reason, found
    assert found.fix is not None
    assert traced.fix is not None
    assert mistake.reason not in FOUND_BY_KEYS or traced.fix.line == found.fix.line
    assert {other.reason for other in traced.also} <= {other.reason for other in found.also}
    await _apply(house, caller, found.fix)
    mended = caller.build()
    assert await house.send(mended) == 200, (found.fix, await house.explain(mended.as_http()))


async def _apply(house: House, caller: Caller, fix: Fix) -> None:
    if fix.line.startswith("timedatectl"):
        caller.clock.offset = 0
    elif fix.is_command:
        await _command(house, fix.line)
    else:
        caller.fixes.append(fix.line)


@pytest.mark.parametrize(("mistake", "options"), FOREIGN, ids=lambda value: getattr(value, "name", ""))
async def test_operators_remedy_helps(house: House, mistake: Mistake, options: str) -> None:
    """Code that nobody can change is let in by one command, however much of it is wrong."""
    caller = _caller(house, mistake)
    found = await house.explain(caller.build().as_http())
    assert found.reason is mistake.reason
    assert found.remedy is not None
    assert found.remedy.line == f"affiant client update {caller.client_id} {options}"
    answer = (await house.answer(caller.build())).json()
    if options.startswith("--") and "scope" not in options.partition(" ")[2]:
        told = await house.trace(answer["trace_id"], looks=False)
        assert told.remedy is not None
        assert told.remedy.line == found.remedy.line
    await _command(house, found.remedy.line)
    assert await house.send(caller.build()) == 200


@pytest.mark.parametrize("mistake", NEVER, ids=lambda mistake: mistake.name)
async def test_never_accepted(house: House, mistake: Mistake) -> None:
    request = _caller(house, mistake).build()
    answer = (await house.answer(request)).json()
    for found in (await house.explain(request.as_curl()), await house.trace(answer["trace_id"], looks=False)):
        assert found.reason is mistake.reason
        assert found.remedy is not None
        assert found.remedy.line == ""
        assert found.remedy.why.startswith("no setting lets this through: ")


class Msal:
    """A library that keeps one assertion for 540 s, and drops its token 300 s before the end of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.made_at = self.good_until = -1.0
        self.request: Request | None = None
        self.refused = list[str]()

    async def acquire(self) -> None:
        """Ask for a token, if there is none in its cache."""
        now = self.house.clock.now
        if now < self.good_until:
            return
        if self.request is None or now >= self.made_at + 540:
            mistake = Mistake("MSAL", Reason.REPLAYED, lambda t: t["claims"].update(exp=t["claims"]["iat"] + 600))
            self.made_at, self.request = now, _caller(self.house, mistake).build()
        answer = await self.house.answer(self.request)
        if answer.status_code == 200:
            self.good_until = now + answer.json()["expires_in"] - 300
        else:
            self.refused.append(answer.json()["trace_id"])


async def test_assertion_kept_by_a_library(house: House) -> None:
    """After five minutes in production, and never in a first test: the trace_id leads to the setting that helps."""
    await _command(house, "affiant client update billing-ec --lifetime legacy")
    msal = Msal(house)
    for _ in range(16):  # eight minutes
        await msal.acquire()
        house.clock.now += 30
    assert 0 < len(msal.refused) < 16
    found = await house.trace(msal.refused[0], looks=True)
    assert msal.request is not None
    for explanation in (found, await house.explain(msal.request.as_curl())):
        assert (explanation.reason, explanation.remedy) == (Reason.REPLAYED, None)
        assert explanation.fix is not None
        assert "keeps its assertion (MSAL does" in explanation.fix.why
        assert explanation.fix.line == "affiant client update billing-ec --access-token-lifetime 900"
    await _command(house, found.fix.line if found.fix else "")
    house.clock.now += 600
    msal.refused.clear()
    for _ in range(200):
        await msal.acquire()
        house.clock.now += 30
    assert msal.refused == []


async def test_assertion_kept_for_short_tokens(house: House) -> None:
    """The smallest lifetime counts: the client's own would change nothing."""
    await _command(house, "affiant client update billing-ec --lifetime legacy --access-token-lifetime 900")
    await _command(house, "affiant api update api --access-token-lifetime 400")
    msal = Msal(house)
    for _ in range(8):
        await msal.acquire()
        house.clock.now += 30
    found = await house.trace(msal.refused[0], looks=True)
    assert found.fix is not None
    assert found.fix.line == "affiant api update api --access-token-lifetime 900"


async def test_refused_request_spends_its_jti(house: House) -> None:
    """As a client with one fixed assertion finds out: its second request has another reason than its first."""
    caller = _caller(house, Mistake("", Reason.SCOPE_NOT_ALLOWED, lambda t: t["form"].update(scope="admin")))
    request = caller.build()
    first = (await house.answer(request)).json()
    second = (await house.answer(request)).json()
    found = await house.trace(second["trace_id"], looks=True)
    assert found.reason is Reason.REPLAYED
    assert found.fix is not None
    assert f"by the request {first['trace_id']}, which was refused for scope.not_allowed" in found.fix.why
    assert "a refused request uses up its jti" in found.fix.why


async def test_good_request_has_nothing_to_mend(house: House) -> None:
    request = _caller(house, Mistake("none", MISTAKES[0].reason)).build()
    for text in (request.as_http(), request.as_curl(), request.as_har(), request.body):
        found = await house.explain(text)
        assert (found.reason, found.fix, found.remedy, found.also) == (None, None, None, ())
        assert [line.mark for line in found.lines] == ["passed"] * 12
    assert await house.send(request) == 200  # explaining claimed nothing


def test_enough_mistakes() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 40
