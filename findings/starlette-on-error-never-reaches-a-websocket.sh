#!/usr/bin/env bash
# Starlette's AuthenticationMiddleware calls on_error for a WebSocket and throws its response away
#
# Guess:   the response of on_error, with its 401 and challenge, is what a refused WebSocket gets, where the server has
#          the extension websocket.http.response; otherwise the close code is one of a refusal (1008).
# Version: starlette 1.10.0
# Seen:    on_error is called, its response is not sent, and the WebSocket is closed with 1000, "normal closure".
# So:      refuse WebSockets in middleware of ASGI, or in the endpoint.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with starlette==1.10.0

cat > seen.py <<'PY'
import asyncio

from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import Response


class Refusing(AuthenticationBackend):
    async def authenticate(self, conn):
        raise AuthenticationError


def on_error(connection, error):
    print("on_error is called")
    return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})


async def main():
    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        print("sent", message)

    scope = {"type": "websocket", "path": "/", "headers": [], "extensions": {"websocket.http.response": {}}}
    await AuthenticationMiddleware(None, backend=Refusing(), on_error=on_error)(scope, receive, send)


asyncio.run(main())
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
on_error is called
sent {'type': 'websocket.close', 'code': 1000}
SEEN
