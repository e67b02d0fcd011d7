"""Explain what becomes of the token of a platform: which trust, which rule, and what mends a refusal."""
