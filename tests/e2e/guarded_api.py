"""The guarded API of these tests: `uvicorn --factory guarded_api:build`, with its issuer and audience in the environment."""

import os
from typing import Annotated

import httpx2
from fastapi import Depends, FastAPI, Request

from affiant import Caller, Guard
from affiant.client import Assertion
from affiant.client.credentials import search
from affiant.jose import keys
from affiant.resource import Introspection


def _introspection() -> Introspection | None:
    """Where GUARD_CREDENTIALS is the credentials file of this API."""
    if "GUARD_CREDENTIALS" not in os.environ:
        return None
    mine = search.find(os.environ["GUARD_CREDENTIALS"])
    return Introspection(mine.client_id, Assertion(keys.parse_private_jwk(mine.key or {})), signed=True)


def build() -> FastAPI:
    nonce_key = os.environ.get("GUARD_NONCE_KEY", "").encode() or None
    proxies = os.environ.get("GUARD_PROXIES", "").split()
    guard = Guard(
        os.environ["GUARD_ISSUER"],
        audience=os.environ["GUARD_AUDIENCE"],
        nonce_key=nonce_key,
        certificate_proxies=proxies,
        certificate_header=os.environ.get("GUARD_CERTIFICATE_HEADER", "rfc9440"),
        revocations=os.environ.get("GUARD_REVOCATIONS", "optional"),
        introspection=_introspection(),
        http=httpx2.AsyncClient(),
    )
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/orders")
    async def orders(caller: Annotated[Caller, Depends(guard("orders.read"))]) -> dict[str, str]:
        return {"for": caller.client_id}

    @app.post("/orders")
    async def order(caller: Annotated[Caller, Depends(guard("orders.write"))], request: Request) -> dict[str, str]:
        return {"for": caller.client_id, "body": (await request.body()).decode()}

    @app.post("/@connections/{connection}")  # as clients of AWS API Gateway write it
    async def connection(caller: Annotated[Caller, Depends(guard("orders.read"))], connection: str) -> None:
        pass

    return app
