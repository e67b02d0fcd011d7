"""The guarded API of these tests: `uvicorn --factory guarded_api:build`, with its issuer and audience in the environment."""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from affiant import Caller, Guard


def build() -> FastAPI:
    nonce_key = os.environ.get("GUARD_NONCE_KEY", "").encode() or None
    guard = Guard(os.environ["GUARD_ISSUER"], audience=os.environ["GUARD_AUDIENCE"], nonce_key=nonce_key)
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

    return app
