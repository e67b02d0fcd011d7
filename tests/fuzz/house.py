"""The server in memory, at a fixed time, asked through bare ASGI, with a client of each kind."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests import wire
from tests.wire import Reply, Request, post

from affiant import testing
from affiant.errors.reasons import Reason
from affiant.jose import base64url, keys
from affiant.jose.keys import PrivateKey, SecretKey
from affiant.server.explain.hints import EXPLAINED
from affiant.testing import KEY, Server

API = "https://api.example"
STRANGER, FOREIGN = keys.generate("ES256"), keys.generate("Ed25519")
RENEW_AFTER = 5_000  # audit records, so that a night's run does not fill the memory
CODES = {reason.code for reason in Reason}
MAX_ERROR = 1024
BOTH_GRANTS = ("client_credentials", "refresh_token")


def sign(header: bytes, payload: bytes, key: PrivateKey | SecretKey) -> str:
    """Return the compact JWS of these bytes, which need not be JSON."""
    signing_input = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"


@dataclass
class House:
    """The server; use it in a `with`."""

    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
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

    @property
    def secrets(self) -> dict[str, str]:
        return self.server.secrets

    def ask(self, request: Request) -> Reply:
        return self.runner.run(wire.send(self.server.app, request))

    def judge(self, reply: Reply) -> str:
        """What every answer must be, and its one record: the reason's code, or `issued`."""
        assert reply.status in {200, 400, 401, 405, 413}, reply
        assert reply.headers["content-type"] == "application/json", reply
        assert reply.headers["cache-control"] == "no-store", reply
        assert reply.headers["content-length"] == str(len(reply.body)), reply
        assert ("www-authenticate" in reply.headers) == (reply.status == 401), reply
        members = json.loads(reply.body)
        rows = self.runner.run(self.server.store.audit_log.export(after=self.seen))
        # What the server finds out a second later about a request has a record of its own.
        records = [record for row in rows if (record := json.loads(row.record))["outcome"] != EXPLAINED]
        assert len(records) == 1, records
        self.seen = rows[-1].number
        (record,) = records
        assert reply.headers["x-trace-id"] == record["trace_id"], (reply, record)
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
        reply = self.ask(post(testing.form(self.valid())))
        assert self.judge(reply) == "issued", reply
        if self.seen >= RENEW_AFTER:
            self.runner.run(self._stack.aclose())
            self.runner.run(self._open())

    def valid(self, key: PrivateKey | SecretKey = KEY, client_id: str = "c1", **claims: Any) -> str:
        return self.server.assertion(client_id, key=key, header={"typ": "JWT"}, **claims)

    async def _open(self) -> None:
        self._stack, self.seen = AsyncExitStack(), 0
        self.server = server = await self._stack.enter_async_context(Server.in_process())
        await server.add_api(API, scope=("read", "write"), is_default=True)
        await server.add_client("c1", keys=(KEY.public(), FOREIGN.public()))
        await server.add_client("c2", grant_types=BOTH_GRANTS)
        await server.add_client("off", enabled=False)
        await server.add_client("basic", "client_secret_basic", grant_types=BOTH_GRANTS)
        await server.add_client("post", "client_secret_post")
        await server.add_client("mac", "client_secret_jwt")
        await server.add_client("guide", "client_secret_jwt", profile="guide")
