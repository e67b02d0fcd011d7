"""Compare the keys of a registered client with those of the file.

The keys of the file are the operator's. A client may add keys by itself, when it rotates or registers itself: with
`own_keys = "keep"` these are no drift; with "revoke" the client keeps only the keys of the file. An ended key never
becomes valid again: "keep" reports it, "revoke" rejects it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from affiant.cli.registry.manifest.registry_file import KEEP, Desired
from affiant.errors import ConfigError
from affiant.jose.key_set import KeySet
from affiant.jose.keys import PublicKey

OWN_KEYS = "own_keys"
_BY_OPERATOR = "operator"


def wanted(client_id: str, jwks: Any, found: Mapping[str, Any], *, own_keys: str) -> dict[str, Any]:
    """Return the members of a change that gives a registered client these keys; raise if no change can."""
    keys = KeySet.parse(jwks).keys
    _check_names(client_id, keys, found)
    if own_keys == KEEP:
        lasting = _lasting(keys, found)
        if not lasting and not _live(found):
            raise ConfigError(
                f"client {client_id}: all of its keys have ended and cannot be used again: put a new one into the file"
            )
        if not lasting:
            return {}
        keys = lasting
    return {"jwks": KeySet(keys).to_jwks(), OWN_KEYS: own_keys}


def judged(found: Mapping[str, Any], members: Mapping[str, Any]) -> list[str]:
    """Return the thumbprints of the registered keys that this change decides about."""
    live, named = _live(found), set(thumbprints(members["jwks"]))
    if members[OWN_KEYS] != KEEP:
        return sorted(live)
    return sorted(name for name, key in live.items() if key["source"] == _BY_OPERATOR or name in named)


def thumbprints(jwks: Any) -> list[str]:
    """Return the thumbprints of these keys, in order."""
    return sorted(key.thumbprint for key in KeySet.parse(jwks).keys)


def notes(desired: Desired, clients: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return notes for the plan about keys that the file does not mention, or that have ended."""
    registered = {client["client_id"]: client for client in clients}
    return [
        f"client {each.client_id}: {note}"
        for each in desired.clients
        if each.jwks is not None and each.own_keys in (None, KEEP) and each.client_id in registered
        for note in _notes(KeySet.parse(each.jwks).keys, registered[each.client_id])
    ]


def _notes(keys: Sequence[PublicKey], found: Mapping[str, Any]) -> Iterator[str]:
    live, named = _live(found), {key.thumbprint for key in keys}
    for name, key in live.items():
        if key["source"] != _BY_OPERATOR and name not in named:
            yield f"the client added the key {name} itself; it stays"
    lasting = _lasting(keys, found)
    for ended in keys:
        if ended not in lasting:
            yield f"the key {ended.thumbprint} has ended and cannot be used again; remove it from the file"


def _lasting(keys: Sequence[PublicKey], found: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """Return the keys without those that ended."""
    live, known = _live(found), {key["thumbprint"] for key in found.get("keys", ())}
    return tuple(key for key in keys if key.thumbprint in live or key.thumbprint not in known)


def _live(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {key["thumbprint"]: key for key in found.get("keys", ()) if key["state"] != "revoked"}


def _check_names(client_id: str, keys: Sequence[PublicKey], found: Mapping[str, Any]) -> None:
    """Raise if a key is registered under another kid or alg: the server would refuse what the client signs."""
    live = [record for record in found.get("keys", ()) if record["state"] != "revoked"]
    for key in keys:
        said = key.to_jwk()
        for name in ("kid", "alg"):
            known = [record.get(name) for record in live if record["thumbprint"] == key.thumbprint]
            # A key without a kid is named by its thumbprint.
            if known and None not in known and said.get(name) not in (None, key.thumbprint, *known):
                raise ConfigError(
                    f"client {client_id}: the {name} of the key {key.thumbprint} is {known[0]} and"
                    f" cannot change: for {said[name]}, give the client a new key"
                )
