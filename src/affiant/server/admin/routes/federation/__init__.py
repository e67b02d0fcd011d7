"""Trusts and rules: which tokens of other issuers this server takes, and for which client each speaks."""
