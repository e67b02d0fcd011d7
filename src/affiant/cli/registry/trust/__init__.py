"""The commands for trusts and rules: which tokens of other issuers the server takes, and for which client."""
