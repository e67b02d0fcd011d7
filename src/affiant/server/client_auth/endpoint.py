"""The base of the endpoints whose callers authenticate as clients."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar

from affiant.oauth.parameters import form
from affiant.oauth.parameters.form import Form
from affiant.server.client_auth.ladder import Authenticator
from affiant.server.request import http
from affiant.server.request.caller import Caller
from affiant.server.request.endpoint import Context, Endpoint
from affiant.server.request.notes import Request


class ClientEndpoint(Endpoint):
    """An endpoint for clients that authenticate in the form they send."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)  # of HTTP
    # Attack: the token of a short job changes what outlives it, such as the keys of its client.
    takes_platform_tokens: ClassVar[bool] = False

    def __init__(self, context: Context, authenticator: Authenticator) -> None:
        super().__init__(context)
        self.authenticator = authenticator

    def metadata(self) -> dict[str, Any]:
        names = {"introspect": "introspection", "revoke": "revocation"}
        name = f"{names.get(self.name, self.name)}_endpoint"
        return {name: f"{self._issuer}/{self.name}", **self.authenticator.metadata(name)}

    async def read_form(self, request: Request) -> Form:
        """Step 1."""
        http.check_form(request.scope, *self.methods)
        body = await http.read_body(request.receive)
        found = form.parse(body)
        request.notes.is_read = True
        return found

    def authenticate(self, form: Form, request: Request, *, proves_key: bool = False) -> Awaitable[Caller]:
        """Steps 2 to 10: return the client, and note it for the record."""
        return self.authenticator.authenticate(form, request, proves_key=proves_key, by_rule=self.takes_platform_tokens)
