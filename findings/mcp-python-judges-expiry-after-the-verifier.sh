#!/usr/bin/env bash
# The MCP SDK for Python checks a token's end again after its verifier, without leeway
#
# Guess:   a TokenVerifier decides. What it returns is the caller, so a verifier that allows for clocks that differ may
#          accept a token that ended some seconds ago.
# Version: mcp 2.3.0
# Seen:    the server compares AccessToken.expires_at with its clock after the verifier, and answers 401 one second
#          after the end. With expires_at=None the verifier alone decides.
# So:      a verifier that has judged the times itself adds its leeway to expires_at, or leaves it out.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with mcp==2.3.0

cat > seen.py <<'PY'
import asyncio, time

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.provider import AccessToken
from starlette.requests import HTTPConnection


async def is_caller(expires_at):
    class Verifier:
        async def verify_token(self, token: str) -> AccessToken | None:
            return AccessToken(token=token, client_id="agent", scopes=[], expires_at=expires_at)

    request = HTTPConnection({"type": "http", "headers": [(b"authorization", b"Bearer t")]})
    return await BearerAuthBackend(Verifier()).authenticate(request) is not None


now = int(time.time())
for name, expires_at in (("in a minute", now + 60), ("10 s ago", now - 10), ("None", None)):
    print(name, "caller" if asyncio.run(is_caller(expires_at)) else "401")
PY
"$python" seen.py > now.txt
expect now.txt <<'SEEN'
in a minute caller
10 s ago 401
None caller
SEEN
