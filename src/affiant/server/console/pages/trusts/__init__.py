"""The pages of trusts and their rules: the tokens of platforms that the server takes."""

from affiant.server.console.pages.trusts import adding, trusts

__all__ = ["adding", "trusts"]
