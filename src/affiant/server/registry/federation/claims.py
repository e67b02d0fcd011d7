"""The claims of a refused token that its audit record keeps: those that a condition can name, and no credential."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from affiant.oauth.federation.conditions import parse_pointer

MAX_VERIFIED, MAX_UNVERIFIED = 2000, 700  # characters of the text in an audit record
LONGEST = 128  # characters of a value; a longer one is cut, and ends with three dots
_MAX_DEPTH, _MAX_NAME = 4, 128
# They change with each token, hold a credential or its hash, or say who a person is.
_NEVER = frozenset(
    {
        "jti", "uti", "sid", "nonce", "cnf", "at_hash", "c_hash", "s_hash", "exp", "iat", "nbf", "auth_time",
        "warnafter", "aio", "rh", "act", "may_act", "scope", "user_email", "user_login", "user_identities", "name",
        "given_name", "family_name", "preferred_username", "picture", "phone_number", "address", "birthdate", "upn",
        "unique_name",
    }
)  # fmt: skip
_OF_PERSONS = frozenset({"nonce", "at_hash", "c_hash", "auth_time", "amr", "acr", "preferred_username", "upn"})
_CREDENTIAL = re.compile(r"eyJ[A-Za-z0-9_.-]{16,}|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{40,}(?![A-Za-z0-9_-])")
# Platforms name a workload by these. Of a token that no trust has verified, only these are kept.
_NAMING = (
    "iss", "sub", "aud", "repository_id", "repository_owner_id", "repository", "ref", "environment", "event_name",
    "project_id", "namespace_id", "project_path", "ref_type", "ref_protected", "owner_id", "oid", "tid", "email",
    "/kubernetes.io/serviceaccount/uid", "/https:~1~1sts.amazonaws.com~1/aws_account", "oidc.circleci.com/project-id",
    "terraform_organization_id", "terraform_workspace_id", "terraform_run_phase", "organization_id", "pipeline_id",
    "build_branch", "repositoryUuid", "branchName", "prj_id", "app_id", "org_id",
)  # fmt: skip


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """Claims by their name or JSON Pointer; `verified` says whether a trust vouches for them."""

    verified: bool
    claims: dict[str, Any]
    of_person: bool = False  # whether it seems to identify a person

    @property
    def nested(self) -> dict[str, Any]:
        """The claims as members of each other, as the token had them; those that were cut are left out."""
        found: dict[str, Any] = {}
        for name, value in self.claims.items():
            *above, last = parse_pointer(name) if name.startswith("/") else [name]
            place = found
            for part in above:
                place = place.setdefault(part, {})
            if is_whole(value):
                place[last] = value
        return found


def shown(value: object) -> str | bool | int | float | None:
    """Return a value as a message can show it: without credentials, and cut if it is long."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)[:LONGEST]
    if isinstance(value, str):
        return shorten(_CREDENTIAL.sub("(a credential?)", value))
    kind = "an array" if isinstance(value, list) else "an object"
    return f"({kind})"


def shorten(text: str) -> str:
    return text if len(text) < LONGEST else f"{text[: LONGEST - 3]}..."


def is_whole(value: object) -> bool:
    """Whether a kept value is the value that the token has."""
    return not (isinstance(value, str) and (len(value) >= LONGEST or "(a credential?)" in value))


def plain(claim: str) -> str:
    """Return the name under which a claim is kept: a pointer to a member of the token itself is that member's name."""
    members = parse_pointer(claim) if claim.startswith("/") else [claim]
    return members[0] if len(members) == 1 and not members[0].startswith("/") else claim


def keep(claims: dict[str, Any], *, is_verified: bool) -> str:
    """Return the claims that a record keeps, as JSON text."""
    longest = MAX_VERIFIED if is_verified else MAX_UNVERIFIED
    found, of_person = dict(walk(claims)), is_of_person(claims)
    # Order: the claims that name the workload come first; later ones are dropped if there is no room.
    names = [*(name for name in _NAMING if name in found), *(found if is_verified else ())]
    kept: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        more = {**kept, name: found[name]}
        if len(_encode(Kept(is_verified, more, of_person))) <= longest:
            kept = more
    return _encode(Kept(is_verified, kept, of_person))


def parse(text: str | None) -> Kept | None:
    """Parse the text of a record; None for one that this version does not know."""
    try:
        return msgspec.json.decode(text or "", type=Kept)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def is_of_person(claims: dict[str, Any]) -> bool:
    """Whether these are claims of a person who signed in (OpenID Connect Core section 2)."""
    return not _OF_PERSONS.isdisjoint(claims) or claims.get("idtyp") == "user"


def _encode(kept: Kept) -> str:
    try:
        return msgspec.json.encode(kept).decode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        spelled = {ascii(name): ascii(one) if isinstance(one, str) else one for name, one in kept.claims.items()}
        return msgspec.json.encode(msgspec.structs.replace(kept, claims=spelled)).decode()


def walk(value: dict[str, Any], above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield each claim that a condition can be about, and `aud`, by its name or JSON Pointer."""
    for name, found in value.items():
        if name in _NEVER or len(name) > _MAX_NAME or _CREDENTIAL.search(name):
            continue
        pointer = f"{above}/{name.replace('~', '~0').replace('/', '~1')}"
        if isinstance(found, dict) and depth < _MAX_DEPTH:
            yield from walk(found, pointer, depth + 1)
        elif isinstance(found, str | bool | int) and not (isinstance(found, str) and _CREDENTIAL.fullmatch(found)):
            yield (pointer if above or name.startswith("/") else name), shown(found)
        elif name == "aud" and not above and isinstance(found, list):
            yield name, [shown(one) for one in found[:4]]
