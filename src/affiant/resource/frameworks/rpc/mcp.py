"""The guard as the token verifier of an MCP server: of the MCP SDK, and of FastMCP's `RemoteAuthProvider`."""

from __future__ import annotations

from mcp.server.auth.provider import AccessToken
from pydantic import Field

from affiant.errors import Rejected, RemoteError
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks


class VerifiedToken(AccessToken):
    """The caller, as the MCP SDK describes one. Its repr shows neither the token nor the claims."""

    token: str = Field(repr=False)
    claims: dict[str, object] | None = Field(default=None, repr=False)


class GuardTokenVerifier:
    """A `TokenVerifier` of the MCP SDK, and the `token_verifier` of FastMCP's `RemoteAuthProvider`.

    FastMCP reads the attributes. They are empty: the scopes are in the settings of the MCP server, which checks them
    and answers 403.
    """

    def __init__(self, guard: Checks) -> None:
        self._guard = guard
        self.required_scopes: list[str] = []
        self.scopes_supported: list[str] = []

    async def verify_token(self, token: str) -> VerifiedToken | None:
        """Return the caller of a bearer token, or None if the guard refuses it: the MCP server then answers 401.

        A bound token is refused: no verifier gets the proof or the certificate of the request. The log has the reason
        of each refusal.

        Raises:
            RemoteError: the issuer cannot be asked. The MCP server then answers 500; after a 401 the client would throw
                a good token away.
        """
        # Text that is not ASCII is no token: the guard rejects it.
        authorization = [b"Bearer " + token.encode("ascii", "replace")]
        try:
            caller = await self._guard.check(authorization)
        except (Rejected, RemoteError) as error:
            self._guard.deny(error, authorization)  # for the log
            if isinstance(error, RemoteError):
                raise
            return None
        return _token(token, caller, self._guard.audience)


def _token(token: str, caller: Caller, audience: str) -> VerifiedToken:
    expires_at = caller.claims.get("exp")
    return VerifiedToken(
        token=token,
        client_id=caller.client_id,
        scopes=sorted(caller.scopes),
        expires_at=int(expires_at) if isinstance(expires_at, int | float) else None,
        resource=audience,
        subject=caller.sub,
        claims=caller.claims,
    )
