"""SPIFFE IDs: the names of workloads in a trust domain (SPIFFE-ID sections 2.1 to 2.4)."""

from __future__ import annotations

import re

SCHEME = "spiffe://"
MAX_CHARACTERS = 2048  # section 2.3
_DOMAIN = re.compile(r"spiffe://[a-z0-9._-]{1,255}")
# Attack: `..`, an empty segment, an escape or a port gives a second spelling to the name of another workload.
_ID = re.compile(rf"(?P<domain>{_DOMAIN.pattern})(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]+)*")


def find_domain(text: object) -> str | None:
    """Return the trust domain of this SPIFFE ID, as spiffe://DOMAIN; None if it is no SPIFFE ID."""
    found = _ID.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_CHARACTERS else None
    return found["domain"] if found is not None else None


def is_domain(issuer: str) -> bool:
    """Whether a trust with this issuer is a trust domain."""
    return issuer.startswith(SCHEME)
