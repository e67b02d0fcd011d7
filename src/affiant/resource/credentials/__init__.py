"""Credentials of a request other than access tokens: transaction tokens, and API keys until clients have tokens."""
