"""The real server at a fixed time, asked through bare ASGI, and what every row of the attack catalogue demands."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from starlette.applications import Starlette

from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PublicKey
from affiant.jose.signer import Signer
from affiant.oauth.assertion import digest
from affiant.reasons import Reason
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.request.certificate import PEER
from affiant.server.request.deadline import Deadline
from affiant.storage.ports import Store
from affiant.storage.records import Client

ISSUER, API, OTHER_API, NOW = "https://as.example", "https://api.example", "https://other.example", 1_800_000_000
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM_TYPE = (b"content-type", b"application/x-www-form-urlencoded")
PROXY = "10.0.0.1"
ADDRESS, ABSENT, FILE = "203.0.113.7", "absent", "affiant.db"
KEY, OTHER, STRANGER, FOREIGN = (keys.generate(alg) for alg in ("ES256", "ES256", "ES256", "Ed25519"))
SILENT_STEPS, MAX_ERROR, MAX_CLAIMED, PIECE = range(5, 8), 1024, 256, 20
_CHANGED = "UPDATE version SET number = number + 1"
_SECRET_PARAMETERS = {"client_assertion", "assertion", "client_secret", "refresh_token"}
_OPEN_VALUES = {TYPE, API, OTHER_API, "client_credentials", "refresh_token"}  # they stand in sentences anyway
_SPEAKABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 5.2


@dataclass(frozen=True)
class Request:
    """What arrives.

    Attributes:
        pieces: where the body comes in several.
        is_whole: unless the sender goes away before its end.
        is_slow: the sender stays, and sends no more.
        peer: where the connection comes from, if the server notes that: PROXY for the one that tells of certificates.
    """

    body: bytes = b""
    method: str = "POST"
    path: str = "/token"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = (FORM_TYPE,)
    pieces: tuple[bytes, ...] = ()
    is_whole: bool = True
    is_slow: bool = False
    peer: str | None = None
    address: str = ADDRESS

    def sensitive(self) -> list[str]:
        """What of it must never be written down or sent back."""
        found = [value for name, value in self.values() if name in _SECRET_PARAMETERS]
        return found + [value.decode("latin-1") for name, value in self.headers if name == b"authorization"]

    def values(self) -> list[tuple[str, str]]:
        sent = (self.body + b"&" + self.query).decode("utf-8", "replace")
        return parse_qsl(sent, errors="replace")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        members: dict[str, Any] = json.loads(self.body)
        return members


def row(number: int, what: str, *values: object) -> Any:
    """One row of a table, under its number in the catalogue."""
    return pytest.param(*values, id=f"{number}-{what}", marks=pytest.mark.attack(number))


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good assertion of c1, with these changes."""
    members = {"iss": "c1", "sub": "c1", "aud": ISSUER, "exp": NOW + 60, "iat": NOW, "jti": "j", **changes}
    return {name: value for name, value in members.items() if value != ABSENT}


def assertion(signer: Signer = KEY, /, *, header: Any = None, **changes: Any) -> str:
    return compact.sign(header or {}, claims(**changes), signer)


def raw(header: object = None, payload: object = None, *, sign: Callable[[bytes], bytes] = KEY.sign) -> str:
    """A JWS of these very bytes, or of this JSON, whatever sense it makes; the signature holds unless `sign` lies."""
    parts = [{"alg": "ES256", "kid": KEY.kid} if header is None else header, claims() if payload is None else payload]
    text = ".".join(base64url.encode(p if isinstance(p, bytes) else json.dumps(p).encode()) for p in parts)
    return f"{text}.{base64url.encode(sign(text.encode()))}"


def form(text: str | None = None, **changes: str) -> dict[str, str]:
    """The form of a good request with this assertion, with these changes."""
    members = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": assertion() if text is None else text,
        **changes,
    }
    return {name: value for name, value in members.items() if value != ABSENT}


def post(members: dict[str, str] | str | None = None, *headers: tuple[bytes, bytes]) -> Request:
    """A form, or a body as it stands; a good request when nothing is given."""
    body = members if isinstance(members, str) else urlencode(form() if members is None else members)
    return Request(body.encode(), headers=(FORM_TYPE, *headers))


def basic(client_id: str, secret: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode())


def piece_of(text: str, sensitive: Iterable[str]) -> str | None:
    """Twenty characters that stand in the text and in what is sensitive."""
    pieces = {text[i : i + PIECE] for i in range(len(text) - PIECE + 1)}
    cut = (secret[i : i + PIECE] for secret in sensitive for i in range(len(secret) - PIECE + 1))
    return next((found for found in cut if found in pieces), None)


@dataclass
class Bench:
    """A server in this process."""

    app: Starlette
    store: Store
    master_key: MasterKey
    now: list[float]
    log: pytest.LogCaptureFixture
    secrets: dict[str, str] = field(default_factory=dict)
    serial: int = 0
    folder: Path | None = None  # of its database
    taken: int = 0  # bytes that the server read of the last body

    async def register(
        self,
        client_id: str,
        auth_method: str = "private_key_jwt",
        *,
        keys: tuple[PublicKey, ...] | None = None,
        **members: Any,
    ) -> None:
        """Register a client, with KEY where the method takes keys; its secret is then in `secrets`."""
        if keys is None:
            keys = (KEY.public(),) if auth_method == "private_key_jwt" else ()
        wanted = Client(client_id, auth_method, **{"scope": ("r",), **members})
        made = clients.build(wanted, keys=keys, master_key=self.master_key, now=NOW)
        await self.store.clients.add(made.client)
        if made.client_secret is not None:
            self.secrets[client_id] = made.client_secret

    def mac(self, client_id: str) -> Signer:
        return keys.SecretKey(self.secrets[client_id].encode())

    async def send(self, what: Request, replies: list[Reply] | None = None) -> Reply:
        """Ask; the reply is put into `replies` too, for who expects the server to raise after it."""
        pieces, sent, answered = list(what.pieces or (what.body,)), [], asyncio.Event()
        self.taken = 0

        async def receive() -> dict[str, Any]:
            if not pieces:
                if what.is_slow:
                    await asyncio.Event().wait()
                # Who has sent a whole request stays for the answer.
                await (answered.wait() if what.is_whole else asyncio.sleep(0))
                return {"type": "http.disconnect"}
            self.taken += len(pieces[0])
            body = pieces.pop(0)
            return {
                "type": "http.request",
                "body": body,
                "more_body": bool(pieces) or what.is_slow or not what.is_whole,
            }

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        scope: dict[str, Any] = {
            "type": "http",
            "method": what.method,
            "path": what.path,
            "raw_path": what.path.encode(),
        }
        scope |= {"query_string": what.query, "headers": list(what.headers), "client": (what.address, 4711)}
        scope |= {"scheme": "https", "server": ("as.example", 443), "http_version": "1.1", "root_path": "", "asgi": {}}
        scope[PEER] = what.peer
        try:
            await self.app(scope, receive, send)
        finally:
            if replies is not None:
                replies.append(_whole(sent))
        return _whole(sent)

    async def audited(self) -> list[str]:
        # What the server finds out a second later about a request has a record of its own.
        rows = await self.store.audit_log.export(limit=10_000)
        return [row.record.decode() for row in rows if b'"outcome":"explained"' not in row.record]

    async def used_up(self, jti: str, client_id: str = "c1") -> bool:
        return await self.store.ledger.find_claim(client_id, digest(jti, whole=b"")) is not None

    async def refused(
        self, what: Request, reason: Reason, *, claimed: str | None = None, uses_up: bool = False, jti: str | None = "j"
    ) -> Reply:
        """Send what must be refused for this reason, and look at all that the catalogue looks at.

        Args:
            what: the request.
            reason: the one reason.
            claimed: the client_id that the record must name; where None, c1 from the look-up on.
            uses_up: whether it uses up its jti.
            jti: the jti of c1 that it shows, if it has one: afterwards it must be good, or a replay.
        """
        version, before = await self.store.version(), await self.audited()
        reply = await self.send(what)
        check_answer(reply, reason, what)
        (line,) = (await self.audited())[len(before) :]
        self._check_record(line, what)
        shown = json.loads(line)
        assert (shown["reason"], shown["outcome"], shown["trace_id"]) == (
            reason.code,
            "refused",
            reply.json()["trace_id"],
        )
        proved = "c1" if reason.value.step > 4 or (reason.value.step == 0 and reason.value.status == 400) else None
        assert shown.get("client_claimed") == (claimed or (None if reason is Reason.GRANT_UNSUPPORTED else proved)), (
            line
        )
        assert await self.store.version() == version
        if jti is not None:
            assert await self.used_up(jti) == uses_up, "used up" if not uses_up else "not used up"
            then = await self.send(post(form(assertion(jti=jti, **self._fresh_times()))))
            assert then.status == (401 if uses_up else 200), then.body
            assert not uses_up or then.json()["error_uri"].endswith(Reason.REPLAYED.code)
        assert (await self.send(post(form(self.fresh())))).status == 200
        return reply

    async def issued(
        self, what: Request, *, client_id: str = "c1", aud: object = API, jti: str | None = "j"
    ) -> dict[str, Any]:
        """Send what must get a token, and look at token, record and jti; then it is a replay."""
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
        shown = json.loads(line)
        assert (shown["outcome"], shown["client_id"], shown.get("reason")) == ("issued", client_id, None)
        if jti is not None:
            assert await self.used_up(jti, client_id)
            check_answer(await self.send(what), Reason.REPLAYED, what)
        return members

    def fresh(self) -> str:
        """A good assertion of c1 that was never used."""
        self.serial += 1
        return assertion(jti=f"fresh{self.serial}", **self._fresh_times())

    def _fresh_times(self) -> dict[str, int]:
        return {"iat": int(self.now[0]), "exp": int(self.now[0]) + 60}

    def _check_record(self, line: str, what: Request, *more: str) -> None:
        """G3: one line of JSON that says who, where and when, and in which no piece of a credential stands."""
        shown = json.loads(line)
        assert line.isprintable(), line
        assert shown["at"] == self.now[0]
        assert (shown["address"], shown["endpoint"]) == (ADDRESS, "token")
        assert len(shown.get("client_claimed", "")) <= MAX_CLAIMED
        sensitive = [*what.sensitive(), *self.secrets.values(), *more, KEY.to_jwk()["d"], KEY.to_jwk()["x"]]
        for text in (line, self.log.text):
            assert (found := piece_of(text, sensitive)) is None, f"{found} stands in {text}"


def _whole(sent: list[Any]) -> Reply:
    headers = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    assert len(headers) == len(sent[0]["headers"]), "a header stands twice"
    return Reply(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


def _check_headers(reply: Reply) -> None:
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["cache-control"], reply.headers["pragma"]) == ("no-store", "no-cache")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert int(reply.headers["content-length"]) == len(reply.body)


def check_answer(reply: Reply, reason: Reason, what: Request) -> None:
    """G1 and G5: status and code of the reason, and nothing that was sent or could be used."""
    table, members = reason.value, reply.json()
    assert (reply.status, members.get("error")) == (table.status, table.error), reply.body
    assert set(members) == {"error", "error_description", "error_uri", "trace_id"}
    silent = table.step in SILENT_STEPS
    assert members["error_uri"] == f"{ISSUER}/errors/{'client.authentication_failed' if silent else table.code}", (
        reply.body
    )
    assert members["error_description"].startswith("client authentication failed" if silent else table.sentence)
    assert _SPEAKABLE.fullmatch(members["error_description"])
    _check_headers(reply)
    assert len(reply.body) <= MAX_ERROR
    # RFC 9110 section 15.5.2 wants the challenge with every 401; the catalogue's "only with Authorization" gives way.
    assert reply.headers.get("www-authenticate") == (f'Basic realm="{ISSUER}"' if reply.status == 401 else None)
    text = reply.body.decode()
    assert piece_of(text, what.sensitive()) is None
    assert "; got " not in members["error_description"] or not 0 < table.step < 8
    if table.step < 8:  # who has proved who it is, is told what came
        assert not [v for _, v in what.values() if len(v) > 5 and v not in _OPEN_VALUES and v in text]


def hurry(bench: Bench) -> None:
    """Give requests a fifth of a second, so that nobody waits for who is slow."""
    server: Any = bench.app
    for endpoint in server._endpoints.values():
        endpoint._deadline = Deadline(0.2)


def alter(folder: Path, *statements: str) -> None:
    """Do to the database of the durable bench what no operator should."""
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


def take_signing_keys(folder: Path) -> None:
    """Leave the server keys that are none: what it then runs into is nothing that it foresaw."""
    spoilt = "UPDATE signing_key SET record = CAST('{}' AS BLOB)"
    alter(folder, "CREATE TABLE away AS SELECT * FROM signing_key", spoilt, _CHANGED)


def give_signing_keys_back(folder: Path) -> None:
    back = "INSERT INTO signing_key SELECT * FROM away"
    alter(folder, "DELETE FROM signing_key", back, "DROP TABLE away", _CHANGED)
