"""Trusts and their rules: the tokens of platforms that the server takes."""
