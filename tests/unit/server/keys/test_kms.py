"""Signing keys in a KMS (an imitation of Vault): an operator names them, and the server never replaces one by itself."""

import asyncio
import base64
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import msgspec
import pytest
from tests.forked_signature import sign_in_a_child
from tests.kms import server as imitations
from tests.kms import vault
from tests.kms.vault import Vault as VaultServer

from affiant import Guard
from affiant.errors import ConfigError, StoreError
from affiant.errors.reasons import Reason
from affiant.jose import compact
from affiant.jose.keys import parse_public_jwk
from affiant.server import app
from affiant.server.keys import calendar as rules
from affiant.server.keys import kms, signing_keys
from affiant.server.keys.calendar import DAY, RETIRING_SECONDS, Calendar
from affiant.server.keys.kms import KmsKey
from affiant.server.keys.master_key import MasterKey
from affiant.server.keys.vault import Vault, signing_key_purpose
from affiant.signers import opening, threads
from affiant.storage.records import SigningKey
from affiant.testing import ISSUER, Server

API = "https://api.example"
FIRST, SECOND = "vault:teams/transit/ES256:1", "vault:teams/transit/ES256:2"
MASTER = MasterKey.from_bytes(bytes(range(32)))
WELL = {"status": "ok"}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[VaultServer]:
    """The KMS, with two versions of each key."""
    with VaultServer() as imitation:
        imitation.versions = 2
        monkeypatch.setenv("VAULT_ADDR", imitation.url)
        monkeypatch.setenv("VAULT_TOKEN", vault.TOKEN)
        yield imitation


class Served:
    """A server with an API and a client."""

    def __init__(self, served: Server, held: Vault) -> None:
        self.server, self.vault = served, held
        self.http, self.store, self.clock = served.http, served.store, served.clock
        # Without the feed of revocations, which the server signs with the same key.
        self.guard = Guard(ISSUER, audience=API, http=served.http, clock=served.clock, revocations="off")

    @property
    def now(self) -> int:
        return int(self.clock.now)

    async def rotate(self, key: str | None = None, *, delay: int = 7 * DAY, **more: Any) -> SigningKey:
        return await signing_keys.rotate(
            self.store, self.vault, now=self.now, delay=delay, by="a test", key=key, **more
        )

    async def remove(self, kid: str) -> SigningKey | None:
        return await signing_keys.remove(self.store, self.vault, kid, now=self.now, by="a test")

    async def keep(self) -> None:
        await signing_keys.keep(self.store, self.vault, now=self.now, calendar=Calendar())

    async def keys(self) -> list[SigningKey]:
        return await self.store.signing_keys.list()

    async def ask(self) -> httpx2.Response:
        return await self.server.post(self.server.form())

    async def kid(self) -> str:
        """Of a token that a guard has accepted."""
        reply = await self.ask()
        assert reply.status_code == 200, reply.text
        token: str = reply.json()["access_token"]
        await self.guard.check([f"Bearer {token}".encode()])
        return str(compact.parse(token).kid)

    async def refused(self) -> dict[str, Any]:
        reply = await self.ask()
        members: dict[str, Any] = reply.json()
        assert (reply.status_code, members["error"]) == (503, "temporarily_unavailable"), members
        assert members["error_uri"] == f"{ISSUER}/errors/{Reason.SIGNER.code}"
        return members


@pytest.fixture
async def served(service: VaultServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(app, "PROVE_SECONDS", 3600.0)
    held = Vault(MASTER)
    async with Server.in_process(vault=held) as made:
        await made.add_api(API, scope=("r",), is_default=True)
        await made.add_client("c1")
        yield Served(made, held)


async def test_named_key_is_announced_and_signs_after_seven_days(served: Served, service: VaultServer) -> None:
    (local,) = await served.keys()
    made = await served.rotate(FIRST)
    assert (made.kid, made.alg, made.kms, made.active_at) == (_thumbprint(made), "ES256", FIRST, served.now + 7 * DAY)
    published = (await served.http.get("/jwks")).json()["keys"]
    assert {key["kid"] for key in published} == {local.kid, made.kid}
    assert await served.kid() == local.kid
    served.clock.now += 7 * DAY
    before = len(service.requests)
    assert await served.kid() == made.kid
    assert len(service.requests) == before + 2, "the key is described once, and signs once"
    assert await served.kid() == made.kid
    assert len(service.requests) == before + 3
    plain = json.loads(MASTER.unseal(made.sealed, purpose=signing_key_purpose(made.kid)))
    assert plain == {"kms": FIRST, "jwk": json.loads(made.public_jwk)}
    told = [msgspec.json.decode(row.record) for row in await served.store.audit_log.export()]
    (announced,) = [record for record in told if record.get("outcome") == "announced"]
    assert FIRST in announced["detail"]
    assert announced["detail"].endswith("by a test")


def _thumbprint(key: SigningKey) -> str:
    return parse_public_jwk(json.loads(key.public_jwk)).thumbprint.lstrip("-")


async def test_calendar_never_replaces_it(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """It signs on, the log reminds the operator once a day, and the next one is again named by hand."""
    made = await served.rotate(FIRST, delay=2)
    served.clock.now += 2
    assert rules.due_at(made, Calendar()) == made.active_at + 83 * DAY
    served.clock.now += 82 * DAY
    await served.keep()
    assert not [record for record in caplog.records if record.name.startswith("affiant")]
    served.clock.now += 20 * DAY
    for _ in range(3):
        await served.keep()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert (
        f"{made.kid} in a KMS ({FIRST}) should be followed by another key: affiant signing-key rotate --key" in told[0]
    )
    served.clock.now += 300 * DAY
    await served.keep()
    assert [key.kid for key in rules.live(await served.keys(), served.now)] == [made.kid]
    assert await served.kid() == made.kid
    with pytest.raises(
        ConfigError, match=f"{made.kid} is in a KMS .*: name the key that follows it, affiant signing-key"
    ):
        await served.rotate()
    following = await served.rotate(SECOND)
    served.clock.now += 7 * DAY
    assert await served.kid() == following.kid


async def test_operator_goes_back_to_keys_that_the_server_makes(served: Served) -> None:
    await served.rotate(FIRST, delay=2)
    served.clock.now += 100
    back = await served.rotate(signing_keys.NEW, delay=2)
    served.clock.now += 2
    assert (back.kms, await served.kid()) == ("", back.kid)
    served.clock.now += 83 * DAY
    await served.keep()
    announced = rules.find_announced(await served.keys(), served.now)
    assert announced is not None
    assert announced.kms == ""


async def test_key_after_an_emergency_has_the_algorithm_of_the_one_before(served: Served) -> None:
    lost = await served.rotate("vault:teams/transit/RSA:1", alg="PS256", delay=2)
    served.clock.now += 10
    assert lost.alg == "PS256"
    await served.kid()
    await served.remove(lost.kid)
    back = await served.rotate(signing_keys.NEW)
    assert (back.alg, back.kms, await served.kid()) == ("PS256", "", back.kid)


async def test_key_that_the_calendar_announced_gives_way_to_a_named_one(served: Served) -> None:
    local = await served.rotate()
    named = await served.rotate(FIRST)
    states = {key.kid: rules.state(key, await served.keys(), served.now) for key in await served.keys()}
    assert (states[local.kid], states[named.kid]) == ("removed", "announced")
    with pytest.raises(ConfigError, match=f"{named.kid} is announced already"):
        await served.rotate(SECOND)
    with pytest.raises(ConfigError, match=f"{named.kid} is announced already"):
        await served.rotate(signing_keys.NEW)
    sooner = await served.rotate(delay=2)
    assert (sooner.kid, sooner.active_at) == (named.kid, served.now + 2)
    served.clock.now += 2
    assert await served.kid() == named.kid


async def test_after_an_emergency_no_key_signs_until_the_operator_names_one(served: Served) -> None:
    (local,) = await served.keys()
    lost = await served.rotate(FIRST, delay=2)
    served.clock.now += 10
    assert await served.kid() == lost.kid
    assert await served.remove(lost.kid) is None
    for _ in range(2):
        await served.refused()
        await served.keep()
        served.clock.now += DAY
    assert {key.kid for key in await served.keys()} == {local.kid, lost.kid}
    with pytest.raises(ConfigError, match=f"{lost.kid} is removed already: make a new key in the KMS"):
        await served.rotate(FIRST)
    with pytest.raises(ConfigError, match="name the key that follows it"):
        await served.rotate()
    named = await served.rotate(SECOND)
    assert (named.active_at, await served.kid()) == (served.now, named.kid)
    served.clock.now += RETIRING_SECONDS * 2
    await served.keep()
    assert await served.kid() == named.kid


async def test_announced_key_that_is_taken_back_leaves_the_calendar_as_it_was(served: Served) -> None:
    (local,) = await served.keys()
    named = await served.rotate(FIRST)
    served.clock.now += DAY
    await served.remove(named.kid)
    served.clock.now += 90 * DAY
    await served.keep()
    assert await served.kid() == local.kid
    following = rules.find_announced(await served.keys(), served.now)
    assert following is not None
    assert following.kms == ""


Spoil = Callable[[VaultServer], object]


def _other_key(service: VaultServer) -> None:
    other = imitations.key_for("ES256", 99)
    made = imitations.raw("ES256", imitations.sign_message(other, "ES256", b"x"))
    text = base64.urlsafe_b64encode(made).decode().rstrip("=")
    service.spoil = lambda members: {**members, "data": {**members["data"], "signature": f"vault:v1:{text}"}}


def _set(name: str, value: Any) -> Spoil:
    return lambda service: setattr(service, name, value)


WRONG = {
    "another key": _other_key,
    "no signature": _set("spoil", lambda members: {**members, "data": {"signature": "vault:v1:"}}),
    "another version": _set("spoil", lambda members: {**members, "data": {"signature": "vault:v2:AAAA"}}),
    "no member": _set("spoil", lambda _: {}),
    "not JSON": _set("broken", (200, b"<html>")),
    "sealed": _set("broken", (503, b'{"errors":["Vault is sealed"]}')),
    "refused": _set("broken", (403, b'{"errors":["permission denied hvs.secret"]}')),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
async def test_wrong_answer_is_503_and_never_a_wrong_token(
    served: Served, service: VaultServer, monkeypatch: pytest.MonkeyPatch, what: str, is_warm: bool
) -> None:
    monkeypatch.setattr("affiant.signers.held.REFUSED_SECONDS", 0.0)
    made = await served.rotate(FIRST, delay=2)
    served.clock.now += 10
    if is_warm:
        await served.kid()
    WRONG[what](service)
    members = await served.refused()
    assert vault.TOKEN not in json.dumps(members)
    record = await served.store.audit_log.find(members["trace_id"])
    assert record is not None
    assert record["reason"] == Reason.SIGNER.code
    assert "hvs." not in json.dumps(record)
    service.spoil, service.broken = (lambda members: members), None
    assert await served.kid() == made.kid


async def test_kms_that_hangs_is_503_within_the_deadline(
    served: Served, service: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind as many calls as there are threads, others are refused at once; and it goes on when they return."""
    await served.rotate(FIRST, delay=2)
    served.clock.now += 10
    assert await served.kid()
    monkeypatch.setattr(threads, "SIGN_SECONDS", 0.5)
    back = threading.Event()
    service.spoil = lambda members: members if back.wait(30) else {}
    loop = asyncio.get_running_loop()
    began = loop.time()
    for reply in await asyncio.gather(*(served.ask() for _ in range(20))):
        assert reply.status_code == 503
    assert loop.time() - began < 15
    back.set()
    monkeypatch.setattr(threads, "SIGN_SECONDS", 20.0)
    for _ in range(100):
        if (await served.ask()).status_code == 200:
            return
        await asyncio.sleep(0.05)
    pytest.fail("it does not come back")


async def test_health_counts_it(served: Served, service: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good signature is proof for a minute, since each one is billed; a failure is noticed at once."""
    monkeypatch.setattr("affiant.signers.held.REFUSED_SECONDS", 0.0)
    await served.rotate(FIRST, delay=2)
    served.clock.now += 10
    await served.kid()
    opened = served.vault.open(next(key for key in await served.keys() if key.kms))
    assert isinstance(opened.signer, KmsKey)
    await opened.signer.prove()
    before = len(service.requests)
    for _ in range(20):
        await opened.signer.prove()
    assert len(service.requests) == before
    service.broken = (503, b"{}")
    with pytest.raises(StoreError):
        await opened.signer.sign(b"x")
    with pytest.raises(StoreError, match="Vault cannot sign now"):
        await opened.signer.prove()
    service.broken = None
    await opened.signer.prove()


@pytest.mark.parametrize(
    ("name", "alg", "says"),
    [
        ("pkcs11:token=x;object=y?module-path=/tmp/evil.so", None, "named by its KMS: awskms:..., azurekv:"),
        ("/etc/passwd", None, "named by its KMS"),
        ("awskms:alias/tokens", None, "an alias can be moved"),
        ("awskms:arn:aws:kms:eu-central-1:111122223333:alias/tokens", None, "an alias can be moved"),
        ("vault:teams/transit/ES256", None, "name this one, such as vault:teams/transit/ES256:1"),
        ("vault:teams/transit/nothing:1", None, "not announced: .*Vault has no key"),
        ("vault:teams/transit/ES256:7", None, "not announced: .*no version 7"),
        (FIRST, "PS256", "not announced: .*is a key for ES256, not for PS256"),
    ],
)
async def test_key_that_cannot_sign_is_not_announced(served: Served, name: str, alg: str | None, says: str) -> None:
    before = await served.keys()
    with pytest.raises(ConfigError, match=says) as told:
        await served.rotate(name, alg=alg)
    assert vault.TOKEN not in str(told.value)
    assert await served.keys() == before


async def test_key_whose_first_signature_is_wrong_is_not_announced(served: Served, service: VaultServer) -> None:
    _other_key(service)
    with pytest.raises(ConfigError, match=r"not announced: .*does not verify"):
        await served.rotate(FIRST)
    assert len(await served.keys()) == 1


async def test_of_two_operators_one_announces_it(served: Served) -> None:
    done = await asyncio.gather(*(served.rotate(FIRST) for _ in range(4)), return_exceptions=True)
    assert [type(one) for one in done].count(SigningKey) == 1
    assert [key.kms for key in await served.keys()].count(FIRST) == 1


@pytest.mark.attack(14)
async def test_record_that_was_altered_in_the_store_is_not_used(served: Served) -> None:
    """Without its name, the calendar would take the key for one of its own, and make the next one."""
    made = await served.rotate(FIRST)
    for altered in (replace(made, kms=""), replace(made, kms=SECOND)):
        with pytest.raises(StoreError, match="was altered"):
            served.vault.open(altered)


async def test_line_of_an_api_has_a_key_of_its_own(served: Served) -> None:
    await served.server.add_api("https://ledger.example", name="ledger", scope=("r",), signing_alg="ES384")
    await signing_keys.ensure(served.store, served.vault, now=served.now, line="ES384")
    with pytest.raises(ConfigError, match="is a key for ES256, not for ES384"):
        await served.rotate(FIRST, line="ES384")
    made = await served.rotate("vault:teams/transit/ES384:1", line="ES384", delay=2)
    assert (made.line, made.alg) == ("ES384", "ES384")
    served.clock.now += 200 * DAY
    await served.keep()
    lines = {
        key.line: key.kms
        for key in await served.keys()
        if rules.state(key, await served.keys(), served.now) == "active"
    }
    assert lines == {"": "", "ES384": "vault:teams/transit/ES384:1"}
    # The API takes another algorithm, and comes back: the key in the KMS goes on.
    await served.store.apis.update("https://ledger.example", lambda stored: replace(stored, signing_alg=None))
    await served.keep()
    await served.store.apis.update("https://ledger.example", lambda stored: replace(stored, signing_alg="ES384"))
    await served.keep()
    kept = next(key for key in await served.keys() if key.kid == made.kid)
    assert (kept.retiring_at, kept.removed_at) == (None, None)


async def test_start_tells_what_an_operator_must_correct_and_waits_for_the_rest(
    served: Served, service: VaultServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await served.rotate(FIRST, delay=2)
    served.clock.now += 10
    await signing_keys.check(served.store, Vault(MASTER), now=served.now)
    service.broken = (503, b"{}")
    await signing_keys.check(served.store, Vault(MASTER), now=served.now)
    assert "no token is issued until its KMS answers" in caplog.text
    monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(ConfigError, match=r"cannot be used: .*the token is missing"):
        await signing_keys.check(served.store, Vault(MASTER), now=served.now)


def test_every_kms_of_the_client_is_one_of_the_server() -> None:
    assert set(kms.SCHEMES) == set(opening._SCHEMES) - {"pkcs11"}


async def test_nodes_of_one_store_sign_with_it_and_stop_together(served: Served) -> None:
    async with Server.in_process(store=served.store, clock=served.clock, vault=Vault(MASTER)) as other:
        node = Served(other, Vault(MASTER))
        other.signers = served.server.signers
        made = await node.rotate(FIRST, delay=2)
        served.clock.now += 2
        assert (await served.kid(), await node.kid()) == (made.kid, made.kid)
        await served.remove(made.kid)
        await node.refused()
        await node.keep()
        await served.refused()
        back = await node.rotate(signing_keys.NEW)
        assert (await served.kid(), await node.kid()) == (back.kid, back.kid)


async def test_child_that_was_forked_calls_from_threads_of_its_own(served: Served) -> None:
    made = await served.rotate(FIRST)
    opened = served.vault.open(made)
    await compact.sign_with("JWT", {}, opened.signer)
    text = await sign_in_a_child(opened.signer)
    assert compact.verify(compact.parse(text), opened.public).claims == {"by": "child"}


async def test_key_that_was_made_anew_is_not_opened_for_each_request(
    served: Served, service: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a client asks on, and each request costs a new client of the KMS. It heals when the key is back."""
    monkeypatch.setattr(kms, "REFUSED_SECONDS", 1.0)
    made = await served.rotate(FIRST, delay=2)
    served.clock.now += 2
    kept, before = imitations.key_for, len(service.requests)
    monkeypatch.setattr(imitations, "key_for", lambda alg, number=1: kept(alg, number + 7))
    for _ in range(5):
        assert "another key than that of" not in str(await served.refused())  # the log has it, and not the client
    assert len(service.requests) == before + 1
    monkeypatch.setattr(imitations, "key_for", kept)
    await asyncio.sleep(1.0)
    assert await served.kid() == made.kid
