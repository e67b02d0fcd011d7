"""A server with one API and one client, and explanations of requests to it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from affiant.jose import compact
from affiant.jose.keys import PrivateKey
from affiant.server import app
from affiant.server.explain import captured
from affiant.server.explain.explainer import Explainer
from affiant.server.explain.explanation import Explanation
from affiant.testing import ISSUER, NOW, Server

API = "https://api.example"


class Place:
    def __init__(self, server: Server, signer: PrivateKey) -> None:
        self.server, self.store, self._signer = server, server.store, signer

    @property
    def explainer(self) -> Explainer:
        return app.build_explainer(issuer=ISSUER, store=self.store, master_key=self.server.master_key)

    async def explain(self, text: str) -> Explanation:
        return await self.explainer.explain(captured.parse(text), now=NOW)

    def token(self, header: dict[str, Any] | None = None, *, key: PrivateKey | None = None, **claims: Any) -> str:
        made: dict[str, Any] = {"iss": ISSUER, "sub": "c1", "client_id": "c1", "aud": API, "jti": "t", "scope": "r"}
        made |= {"iat": NOW, "exp": NOW + 600, **claims}
        return compact.sign({"typ": "at+jwt"} if header is None else header, made, key or self._signer)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with Server.in_process() as server:
        await server.add_api(API, scope=("r",), is_default=True)
        await server.add_client("c1")
        yield Place(server, await server.signing_key())
