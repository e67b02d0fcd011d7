"""The client: who I am (Service), and its token for what I call."""

from affiant.client.credentials import Credentials
from affiant.client.http_auth import WrongOrigin
from affiant.client.identity import Service
from affiant.client.token_source import Token

__all__ = ["Credentials", "Service", "Token", "WrongOrigin"]
