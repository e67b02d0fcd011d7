"""The hand-over of a client whose owner has the private key: the data that the owner needs to get tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from affiant.client.credentials import VERSION, file_name
from affiant.oauth import names

_IN_FILE = ("issuer", "client_id", "auth_method", "alg", "kid", "scope")


def build(registered: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """Return the members to hand over; none of them is secret."""
    keys = [key for key in registered["keys"] if key["state"] != "revoked"]
    method = registered["token_endpoint_auth_method"]
    alg = registered["token_endpoint_auth_signing_alg"] or (keys[0]["alg"] if keys else None)
    found = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "client_id": registered["client_id"],
        "auth_method": method,
        "audience": issuer if method == names.PRIVATE_KEY_JWT else None,
        "alg": alg if method == names.PRIVATE_KEY_JWT else None,
        "kid": keys[0]["kid"] if len(keys) == 1 else None,
        "scope": " ".join(registered["scope"]) or None,
        "resources": registered["resources"] or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def render(found: Mapping[str, Any]) -> list[str]:
    """Return the hand-over as lines for a mail, with an example."""
    lines = ["hand this to the owner of the key; none of it is secret:", ""]
    lines += [f"  {name:<16}{_plain(value)}" for name, value in found.items()]
    if found["auth_method"] == names.PRIVATE_KEY_JWT:
        lines += ["", *_example(found), "", *_file(found)]
    return lines


def _example(found: Mapping[str, Any]) -> list[str]:
    header = {name: found[name] for name in ("alg", "kid") if name in found}
    claims = f'{{"iss": "{found["client_id"]}", "sub": "{found["client_id"]}", "aud": "{found["audience"]}",'
    wanted = {"grant_type": names.CLIENT_CREDENTIALS}
    wanted |= {"scope": found["scope"].replace(" ", "+")} if "scope" in found else {}
    form = "&".join(f"{name}={value}" for name, value in wanted.items())
    return [
        "with any OAuth library (private_key_jwt, RFC 7523), or by hand:",
        "",
        f"  POST {found['token_endpoint']}",
        f"  {form}&client_assertion_type={names.JWT_BEARER_ASSERTION_TYPE}&client_assertion=JWT",
        "",
        f"  header of the JWT  {json.dumps(header)}",
        f'  its claims         {claims} "iat": now, "exp": now + 60, "jti": "a new random string"}}',
    ]


def _file(found: Mapping[str, Any]) -> list[str]:
    members = {"affiant": VERSION, "key_file": "private.pem"}
    members |= {name: found[name] for name in _IN_FILE if name in found}
    if len(found.get("resources", ())) == 1:
        members["resource"] = found["resources"][0]
    lines = [f"  {line}" for line in json.dumps(members, indent=2).splitlines()]
    return [f"with affiant, in {file_name(found['client_id'])} (mode 0600), next to the private key:", "", *lines]


def _plain(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
