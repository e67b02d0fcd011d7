"""The guarded host of these tests: `uvicorn --factory guarded_files:build`, with a folder of files in FILES.

It takes the token as Bearer, and as git, pip and docker send it: as the password of HTTP Basic.
"""

import os
from base64 import b64decode
from hashlib import sha256
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from affiant import Guard

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}'
DIGEST = f"sha256:{sha256(CONFIG).hexdigest()}"


async def manifest(_: Any) -> JSONResponse:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(CONFIG), "digest": DIGEST}
    return JSONResponse(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}, media_type=MANIFEST
    )


async def config(_: Any) -> Response:
    return Response(CONFIG)


async def empty(_: Any) -> JSONResponse:
    return JSONResponse({})


async def whoami(request: Any) -> JSONResponse:
    return JSONResponse({"username": request.scope["affiant.caller"].client_id, "major": "1", "minor": "32"})


def build() -> Any:
    guard = Guard(os.environ["GUARD_ISSUER"], audience=os.environ["GUARD_AUDIENCE"])
    routes = [
        Route("/v2/", empty),
        Route("/v2/orders/manifests/latest", manifest),
        Route(f"/v2/orders/blobs/{DIGEST}", config),
        Route("/-/whoami", whoami),
        Route("/version", whoami),
        Mount("/", StaticFiles(directory=os.environ["FILES"], html=True)),
    ]
    guarded = guard.asgi(Starlette(routes=routes), need="orders.read")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [_as_bearer(*header) for header in scope["headers"]]}

        async def challenge(message: Any) -> None:
            if message.get("status") == 401:
                others = [one for one in message["headers"] if one[0].lower() != b"www-authenticate"]
                message = {**message, "headers": [*others, (b"www-authenticate", b'Basic realm="orders"')]}
            await send(message)

        await guarded(scope, receive, challenge)

    return app


def _as_bearer(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"authorization" or not value.startswith(b"Basic "):
        return name, value
    return name, b"Bearer " + b64decode(value[6:]).partition(b":")[2]
