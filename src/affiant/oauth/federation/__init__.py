"""Tokens of other issuers: their claims compared with conditions, and judged by the rules of a trust. No I/O."""
