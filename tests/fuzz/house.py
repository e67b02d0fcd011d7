"""The real server on memory, at a fixed time, asked through bare ASGI: no HTTP library tidies a request up."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from starlette.applications import Starlette

from affiant.jose import base64url, compact, keys
from affiant.jose.keys import PrivateKey, PublicKey, SecretKey
from affiant.reasons import Reason
from affiant.server import app
from affiant.server.explain.hints import EXPLAINED
from affiant.server.keys.master_key import MasterKey
from affiant.server.registry import clients
from affiant.server.request.limits import Limits, Rate, Rates
from affiant.storage.memory import MemoryStore
from affiant.storage.records import Api, Client

ISSUER, API, NOW = "https://as.example", "https://api.example", 1_800_000_000
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM_TYPE = (b"content-type", b"application/x-www-form-urlencoded")
KEY, STRANGER, FOREIGN = keys.generate("ES256"), keys.generate("ES256"), keys.generate("Ed25519")
RENEW_AFTER = 5_000  # audit records, so that a night's run does not fill the memory
CODES = {reason.code for reason in Reason}
MAX_ERROR = 1024
NO_LIMITS = Rates(failures=Rate(0, 1.0), tokens=Rate(0, 1.0))


@dataclass(frozen=True)
class Request:
    """What arrives: method, path, query, headers and the body in the pieces that the network made of it."""

    chunks: tuple[bytes, ...]
    method: str = "POST"
    path: str = "/token"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = (FORM_TYPE,)
    is_whole: bool = True

    def messages(self) -> list[dict[str, Any]]:
        sent = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in self.chunks]
        end: dict[str, Any] = {"type": "http.request", "body": b"", "more_body": False}
        return [*sent, end if self.is_whole else {"type": "http.disconnect"}]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, f"{name!r} stands twice"
        return found[0] if found else None


def sign(header: bytes, payload: bytes, key: PrivateKey | SecretKey) -> str:
    """The compact JWS of these bytes, which need not be JSON."""
    signing_input = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"


def post(form: dict[str, str], *headers: tuple[bytes, bytes]) -> Request:
    return Request((urlencode(form).encode(),), headers=(FORM_TYPE, *headers))


def assertion_form(text: str, **more: str) -> dict[str, str]:
    return {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": text, **more}


@dataclass
class House:
    """The server with a client of each kind; use it in a `with`."""

    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    secrets: dict[str, str] = field(default_factory=dict)
    serial: int = 0
    seen: int = 0

    def __enter__(self) -> Self:
        self.runner.__enter__()
        self.runner.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.runner.run(self._stack.aclose())
        self.runner.__exit__(kind, error, trace)

    def ask(self, request: Request) -> Reply:
        return self.runner.run(self._ask(request))

    def judge(self, reply: Reply) -> str:
        """What every answer must be, and its one record: the reason's code, or `issued`."""
        assert reply.status in {200, 400, 401, 405, 413}, reply
        assert reply.header(b"content-type") == b"application/json", reply
        assert reply.header(b"cache-control") == b"no-store", reply
        assert reply.header(b"content-length") == b"%d" % len(reply.body), reply
        assert (reply.header(b"www-authenticate") is not None) == (reply.status == 401), reply
        members = json.loads(reply.body)
        rows = self.runner.run(self._store.audit_log.export(after=self.seen))
        # What the server finds out a second later about a request has a record of its own.
        records = [record for row in rows if (record := json.loads(row.record))["outcome"] != EXPLAINED]
        assert len(records) == 1, records
        self.seen = rows[-1].number
        (record,) = records
        assert (reply.header(b"x-trace-id") or b"").decode() == record["trace_id"], (reply, record)
        if reply.status == 200:
            assert (record["outcome"], record.get("reason")) == ("issued", None), record
            assert members["token_type"] == "Bearer", members
            return "issued"
        assert len(reply.body) <= MAX_ERROR, reply
        assert set(members) == {"error", "error_description", "error_uri", "trace_id"}, members
        assert record["outcome"] == "refused", record
        assert record["reason"] in CODES, record
        return str(record["reason"])

    def serve_next(self) -> None:
        """Whatever came before, a valid request is served."""
        reply = self.ask(post(assertion_form(self.valid())))
        assert self.judge(reply) == "issued", reply
        if self.seen >= RENEW_AFTER:
            self.runner.run(self._stack.aclose())
            self.runner.run(self._open())

    def valid(self, key: PrivateKey | SecretKey = KEY, client_id: str = "c1", **claims: Any) -> str:
        self.serial += 1
        members = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": NOW + 60, "iat": NOW}
        return compact.sign({"typ": "JWT"}, {**members, "jti": f"valid-{self.serial}", **claims}, key)

    async def _open(self) -> None:
        self._store, self.seen, self.secrets = MemoryStore(), 0, {}
        master_key = MasterKey.from_bytes(bytes(32))
        await self._store.apis.add(Api(API, "a", ("read", "write"), is_default=True, created_at=NOW))
        both, secret = ("client_credentials", "refresh_token"), "client_secret_jwt"
        await self._register(master_key, "c1", "private_key_jwt", keys=(KEY.public(), FOREIGN.public()))
        await self._register(master_key, "c2", "private_key_jwt", keys=(KEY.public(),), grant_types=both)
        await self._register(master_key, "off", "private_key_jwt", keys=(KEY.public(),))
        await self._register(master_key, "basic", "client_secret_basic", grant_types=both)
        await self._register(master_key, "post", "client_secret_post")
        await self._register(master_key, "mac", secret)
        await self._register(master_key, "guide", secret, profile="guide")
        built: Starlette = app.build(
            issuer=ISSUER,
            store=self._store,
            master_key=master_key,
            limits=Limits(NO_LIMITS, key=bytes(32)),
            clock=lambda: float(NOW),
        )
        self._app, self._stack = built, AsyncExitStack()
        await self._stack.enter_async_context(built.router.lifespan_context(built))

    async def _register(
        self, master_key: MasterKey, name: str, method: str, keys: tuple[PublicKey, ...] = (), **members: Any
    ) -> None:
        wanted = Client(name, method, scope=("read", "write"), **members)
        made = clients.build(wanted, keys=keys, master_key=master_key, now=NOW)
        await self._store.clients.add(replace(made.client, enabled=name != "off"))
        if made.client_secret is not None:
            self.secrets[name] = made.client_secret

    async def _ask(self, request: Request) -> Reply:
        messages, sent = iter(request.messages()), list[dict[str, Any]]()

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "path": request.path,
            "raw_path": request.path.encode(),
            "root_path": "",
            "client": ("192.0.2.1", 1),
            "method": request.method,
            "query_string": request.query,
            "headers": list(request.headers),
        }
        await self._app(scope, receive, send)
        start, *bodies = sent
        return Reply(start["status"], tuple(start["headers"]), b"".join(part.get("body", b"") for part in bodies))
