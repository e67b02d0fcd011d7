"""The server under attack, and what every row of the threat model demands of a refusal."""

import contextlib
import json
import logging
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import pytest
from tests import wire
from tests.key_server import LOOPBACK, KeyServer, fetcher
from tests.wire import ADDRESS, Header, Reply, Request

from affiant import testing
from affiant.errors.reasons import Reason
from affiant.jose import base64url, compact
from affiant.jose.keys import PrivateKey, PublicKey, generate
from affiant.jose.signer import Signer
from affiant.oauth import names
from affiant.oauth.assertion import digest
from affiant.oauth.binding.forwarded import Proxies
from affiant.server.published import revocations
from affiant.server.request.certificate import Certificates
from affiant.server.request.deadline import Deadline
from affiant.server.request.limits import Rates
from affiant.server.settings.options import Options
from affiant.storage.ports import Store
from affiant.storage.records import Client
from affiant.testing import ISSUER, KEY, UNLIMITED, ClientMembers, Server, messages

API, OTHER_API, FILE, PROXY = "https://api.example", "https://other.example", "affiant.db", "10.0.0.1"
BOTH_GRANTS = ("client_credentials", "refresh_token")
OTHER, STRANGER, FOREIGN = (generate(alg) for alg in ("ES256", "ES256", "Ed25519"))
BOUND, STOLEN_BY = generate("ES256"), generate("ES256")
TOKEN_URL, API_URL = f"{ISSUER}/token", f"{API}/orders"
SILENT_STEPS, MAX_ERROR, MAX_CLAIMED, PIECE = range(5, 8), 1024, 256, 20
TYPE = names.JWT_BEARER_ASSERTION_TYPE
_REGISTERED = list[tuple[Sequence[Client], dict[str, str], dict[str, Signer]]]()
_CHANGED = "UPDATE version SET number = number + 1"
# These are in sentences anyway.
_OPEN_VALUES = {TYPE, API, OTHER_API, names.CLIENT_CREDENTIALS, names.REFRESH_TOKEN}
_SPEAKABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 5.2


def row(number: int, what: str, *values: object, rfc: str = "") -> Any:
    """Return one row of a table, under its number in the threat model, and under an RFC's section: "7519 4"."""
    marks = [pytest.mark.attack(number)]
    if rfc:
        document, section = rfc.split(" ")
        marks.append(pytest.mark.rfc(int(document), section))
    return pytest.param(*values, id=f"{number}-{what}", marks=marks)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of c1's assertion with the jti "j", with these changes."""
    return messages.claims("c1", **{"jti": "j", **changes})


def assertion(signer: Signer = KEY, /, *, header: Any = None, **changes: Any) -> str:
    return compact.sign(header or {}, claims(**changes), signer)


def raw(header: object = None, payload: object = None, *, sign: Callable[[bytes], bytes] = KEY.sign) -> str:
    """Return a JWS of these very bytes, or of this JSON, whatever sense it makes."""
    parts = [{"alg": "ES256", "kid": KEY.kid} if header is None else header, claims() if payload is None else payload]
    text = ".".join(base64url.encode(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in parts)
    return f"{text}.{base64url.encode(sign(text.encode()))}"


def form(text: str | None = None, **changes: str) -> dict[str, str]:
    return testing.form(assertion() if text is None else text, **changes)


def post(members: dict[str, str] | str | None = None, *headers: Header, path: str = "/token") -> Request:
    return wire.post(form() if members is None else members, *headers, path=path)


def basic(client_id: str, secret: str) -> Header:
    return wire.headers(testing.basic(client_id, secret))[0]


def proof(key: PrivateKey = BOUND, /, *, by: Signer | None = None, **changes: Any) -> str:
    """Return the DPoP proof with the jti "p"."""
    return testing.proof(key, signer=by, **{"jti": "p", **changes})


def api_proof(token: str, key: PrivateKey = BOUND, /, **changes: Any) -> str:
    return proof(key, method="GET", url=API_URL, access_token=token, **changes)


def dpop(text: str) -> Header:
    return b"dpop", text.encode()


def public_jwk(key: PrivateKey = BOUND) -> dict[str, Any]:
    return {name: value for name, value in key.public().to_jwk().items() if name not in ("kid", "alg")}


def piece_of(text: str, sensitive: Iterable[str]) -> str | None:
    """Return twenty characters of what is sensitive that are in the text."""
    pieces = {text[i : i + PIECE] for i in range(len(text) - PIECE + 1)}
    cut = (secret[i : i + PIECE] for secret in sensitive for i in range(len(secret) - PIECE + 1))
    return next((found for found in cut if found in pieces), None)


class Bench(Server):
    """A server in this process, asked through bare ASGI."""

    log: pytest.LogCaptureFixture
    folder: Path | None = None  # of its database

    async def add_client(
        self,
        client_id: str,
        token_endpoint_auth_method: str = names.PRIVATE_KEY_JWT,
        *,
        key: PrivateKey | None = None,
        keys: tuple[PublicKey, ...] | None = None,
        **members: Unpack[ClientMembers],
    ) -> None:
        members.setdefault("scope", ("r",))
        await super().add_client(client_id, token_endpoint_auth_method, key=key, keys=keys, **members)

    async def change_client(self, client_id: str, **changes: Any) -> None:
        """Change these fields of a stored client."""
        await self.store.clients.update(client_id, lambda client: replace(client, **changes))

    async def send(self, what: Request, replies: list[Reply] | None = None) -> Reply:
        return await wire.send(self.app, what, replies)

    def signed(self, client_id: str = "c1", /, *headers: Header, path: str = "/token", **parameters: str) -> Request:
        """Return a good request of this client with these parameters, never sent before."""
        return post(testing.form(self.assertion(client_id), **parameters), *headers, path=path)

    async def good(self, what: Request) -> dict[str, Any]:
        """Return the members of the answer, which must be 200."""
        reply = await self.send(what)
        assert reply.status == 200, (reply.body, (await self.audited())[-1])
        members: dict[str, Any] = reply.json()
        return members

    async def denied(self, what: Request, reason: Reason) -> tuple[Reply, dict[str, Any]]:
        """Return the answer and the record of a request that must be refused for this reason."""
        before = len(await self.audited())
        reply = await self.send(what)
        check_answer(reply, reason, what)
        (line,) = (await self.audited())[before:]
        record = json.loads(line)
        assert (record["reason"], record["outcome"]) == (reason.code, "refused")
        assert piece_of(line, what.sensitive()) is None
        return reply, record

    async def audited(self) -> list[str]:
        # What the server finds out a second later about a request has a record of its own.
        rows = await self.store.audit_log.export(limit=10_000)
        return [row.record.decode() for row in rows if b'"outcome":"explained"' not in row.record]

    async def last(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((await self.audited())[-1])
        return record

    async def used_up(self, jti: str, client_id: str = "c1") -> bool:
        return await self.store.ledger.find_claim(client_id, digest(jti, whole=b"")) is not None

    async def refused(
        self, what: Request, reason: Reason, *, claimed: str | None = None, uses_up: bool = False, jti: str | None = "j"
    ) -> Reply:
        """Send what must be refused for this reason, and check all that the threat model says of a refusal.

        Args:
            what: the request.
            reason: the one reason.
            claimed: the client_id that the record must have; c1 from the look-up on, where None.
            uses_up: whether it uses up its jti.
            jti: of c1; afterwards it must be good, or a replay.
        """
        version, before = await self.store.version(), await self.audited()
        reply = await self.send(what)
        check_answer(reply, reason, what)
        (line,) = (await self.audited())[len(before) :]
        self._check_record(line, what)
        record, trace_id = json.loads(line), reply.json()["trace_id"]
        assert (record["reason"], record["outcome"], record["trace_id"]) == (reason.code, "refused", trace_id)
        proved = "c1" if reason.value.step > 4 or (reason.value.step == 0 and reason.value.status == 400) else None
        expected = claimed or (None if reason is Reason.GRANT_UNSUPPORTED else proved)
        assert record.get("client_claimed") == expected, line
        assert await self.store.version() == version
        if jti is not None:
            assert await self.used_up(jti) == uses_up, "used up" if not uses_up else "not used up"
            then = await self.send(post(testing.form(self.assertion("c1", jti=jti))))
            assert then.status == (401 if uses_up else 200), then.body
            assert not uses_up or then.json()["error_uri"].endswith(Reason.REPLAYED.code)
        await self.good(self.signed())
        return reply

    async def issued(
        self, what: Request, *, client_id: str = "c1", aud: object = API, jti: str | None = "j"
    ) -> dict[str, Any]:
        """Send what must get a token, check token, record and jti; then it is a replay."""
        before = await self.audited()
        reply = await self.send(what)
        assert reply.status == 200, reply.body
        _check_headers(reply)
        members = reply.json()
        token = compact.parse(members["access_token"]).claims
        assert set(token) == {"iss", "sub", "client_id", "aud", "exp", "iat", "jti", "scope", "client_key"}
        assert (token["iss"], token["sub"], token["client_id"]) == (ISSUER, client_id, client_id)
        assert (token["aud"], members["token_type"]) == (aud, "Bearer")
        (line,) = (await self.audited())[len(before) :]
        self._check_record(line, what, members["access_token"], members.get("refresh_token", ""))
        record = json.loads(line)
        assert (record["outcome"], record["client_id"], record.get("reason")) == ("issued", client_id, None)
        if jti is not None:
            assert await self.used_up(jti, client_id)
            check_answer(await self.send(what), Reason.REPLAYED, what)
        return members

    def _check_record(self, line: str, what: Request, *more: str) -> None:
        """The record says who, where and when; no piece of a credential is in it or in the log."""
        record = json.loads(line)
        assert line.isprintable(), line
        assert record["at"] == self.clock.now
        assert (record["address"], record["endpoint"]) == (ADDRESS, "token")
        assert len(record.get("client_claimed", "")) <= MAX_CLAIMED
        sensitive = [*what.sensitive(), *self.secrets.values(), *more, KEY.to_jwk()["d"], KEY.to_jwk()["x"]]
        for text in (line, self.log.text):
            assert (found := piece_of(text, sensitive)) is None, f"{found} is in {text}"


def _check_headers(reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert int(reply.headers["content-length"]) == len(reply.body)


def check_answer(reply: Reply, reason: Reason, what: Request) -> None:
    """Status and code are the reason's; nothing that was sent, or could be used, is in the answer."""
    table, members = reason.value, reply.json()
    assert (reply.status, members.get("error")) == (table.status, table.error), reply.body
    assert set(members) == {"error", "error_description", "error_uri", "trace_id"}
    silent = table.step in SILENT_STEPS
    code = "client.authentication_failed" if silent else table.code
    assert members["error_uri"] == f"{ISSUER}/errors/{code}", reply.body
    assert members["error_description"].startswith("client authentication failed" if silent else table.sentence)
    assert _SPEAKABLE.fullmatch(members["error_description"])
    _check_headers(reply)
    assert len(reply.body) <= MAX_ERROR
    # RFC 9110 section 15.5.2: the challenge comes with every 401.
    assert reply.headers.get("www-authenticate") == (f'Basic realm="{ISSUER}"' if reply.status == 401 else None)
    text = reply.body.decode()
    assert piece_of(text, what.sensitive()) is None
    assert "; got " not in members["error_description"] or not 0 < table.step < 8
    if table.step < 8:  # a client that has proved who it is, is told what came
        assert not [v for _, v in what.values() if len(v) > 5 and v not in _OPEN_VALUES and v in text]


@asynccontextmanager
async def running(
    store: Store,
    log: pytest.LogCaptureFixture,
    patch: pytest.MonkeyPatch,
    rates: Rates = UNLIMITED,
    *,
    dpop_nonces: str = "off",
    publisher: KeyServer | None = None,
) -> AsyncIterator[Bench]:
    """Run the server with two APIs and a client of each kind; it may connect to the publisher of keys alone."""
    connect = socket.socket.connect

    def refuse(itself: socket.socket, place: Any) -> None:
        if publisher is None or place != (LOOPBACK, publisher.port):
            raise AssertionError(f"a connection to {place}")
        connect(itself, place)

    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(revocations, "MOST_SECONDS", 0.0)  # what is revoked is in the feed at once
    log.set_level(logging.DEBUG)
    options = Options(dpop_nonces=dpop_nonces, transaction_tokens="on", certificates=Certificates(Proxies.parse(PROXY)))
    fetch = fetcher(names=publisher.names if publisher else None)
    async with Bench.in_process(store=store, rates=rates, options=options, fetch=fetch) as bench:
        bench.log = log
        await bench.add_api(API, name="a", scope=("r", "w"), is_default=True)
        await bench.add_api(OTHER_API, name="o", scope=("r",))
        await _add_clients(bench)
        yield bench


async def _add_clients(bench: Bench) -> None:
    """Register them once in a run: every bench has the same records, secrets and keys."""
    if not _REGISTERED:
        await _register_clients(bench)
        _REGISTERED.append((await bench.store.clients.list(), dict(bench.secrets), dict(bench.signers)))
        return
    ((clients, secrets, signers),) = _REGISTERED
    for client in clients:
        await bench.store.clients.add(client)
    bench.secrets, bench.signers = dict(secrets), dict(signers)


async def _register_clients(bench: Bench) -> None:
    await bench.add_client("c1")
    await bench.add_client("c2", key=OTHER)
    await bench.add_client("off", enabled=False)
    await bench.add_client("ed", key=FOREIGN)
    await bench.add_client("both", resources=(API, OTHER_API))
    await bench.add_client("refreshing", grant_types=BOTH_GRANTS)
    for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        await bench.add_client(method, method)
    await bench.add_client("bound", dpop_bound_access_tokens=True)
    await bench.add_client("certified", tls_client_certificate_bound_access_tokens=True)
    await bench.add_client("named", "tls_client_auth", tls_subject=("tls_client_auth_san_dns", "named.example"))
    await bench.add_client("guide", "client_secret_jwt", profile="guide")


def hurry(bench: Bench) -> None:
    """Give requests a fifth of a second, so that the tests of slow ones end soon."""
    server: Any = bench.app
    for endpoint in server._endpoints.values():
        endpoint._deadline = Deadline(0.2)


def alter(folder: Path, *statements: str) -> None:
    """Change the database of the durable bench behind the server's back."""
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


def take_signing_keys(folder: Path) -> None:
    """Make the server fail in a way that it does not foresee."""
    spoilt = "UPDATE signing_key SET record = CAST('{}' AS BLOB)"
    alter(folder, "CREATE TABLE away AS SELECT * FROM signing_key", spoilt, _CHANGED)


def give_signing_keys_back(folder: Path) -> None:
    back = "INSERT INTO signing_key SELECT * FROM away"
    alter(folder, "DELETE FROM signing_key", back, "DROP TABLE away", _CHANGED)
