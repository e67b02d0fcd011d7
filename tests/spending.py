"""A token request of a client that has proved itself, for tests of counts and budgets."""

from affiant.oauth.assertion import Rules
from affiant.server.registry.credentials.keys import ClientKeys
from affiant.server.registry.directory import RegisteredClient
from affiant.server.request.caller import Caller
from affiant.server.request.notes import Request
from affiant.storage.records import Client


def token_request(client: Client, now: float) -> Request:
    rules = Rules(issuer="https://as.example", token_endpoint="https://as.example/token")
    request = Request("token", "192.0.2.1", now)
    request.notes.admit(Caller(RegisteredClient(client, ClientKeys(()), (), rules), client.token_endpoint_auth_method))
    return request
