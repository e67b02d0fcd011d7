"""The search box of clients: words such as ``unused:90d team:payments disabled``, and whether a client fits them.

A word that begins with the name of no filter is searched in names: ids such as ``urn:app:billing`` have colons, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from affiant.server.console.show.times import duration
from affiant.system.values import Value

Client = Mapping[str, Any]  # the document of the admin API
Fits = Callable[[Client], bool]
_DURATION = re.compile(r"<?([0-9]{1,4})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_MOST_WORDS = 20
_SEARCHED = ("client_id", "client_name", "owner")


class Search(Value, frozen=True):
    """The conditions of a search box, which must all be met, and the words that it could not read."""

    conditions: tuple[Fits, ...]
    mistakes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not self.conditions

    def fits(self, client: Client) -> bool:
        return all(fits(client) for fits in self.conditions)


def parse(text: str, *, now: float) -> Search:
    """Return the search; of too many words, the first ones count."""
    conditions, mistakes = list[Fits](), list[str]()
    for word in text.split()[:_MOST_WORDS]:
        name, colon, value = word.partition(":")
        if word in _STATES:
            conditions.append(_STATES[word])
        elif colon and name in FILTERS:
            try:
                conditions.append(FILTERS[name](value, now))
            except ValueError as error:
                mistakes.append(f"{word}: {error}")
        else:
            conditions.append(_named(word))
    return Search(tuple(conditions), tuple(mistakes))


def keys_in_use(client: Client) -> Sequence[Mapping[str, Any]]:
    """Return the keys that are not revoked."""
    return [key for key in client["keys"] if key["state"] != "revoked"]


def _named(word: str) -> Fits:
    wanted = word.casefold()
    return lambda client: any(wanted in (client[name] or "").casefold() for name in _SEARCHED)


def _seconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("write a number and m, h, d or w, such as 90d")
    return int(found[1]) * _SECONDS[found[2]]


def _unused(text: str, now: float) -> Fits:
    since = now - _seconds(text)
    # A client that is younger than that had no time to be unused.
    return lambda client: (client["last_used_at"] or client["created_at"]) < since


def _key_expires(text: str, now: float) -> Fits:
    until = now + _seconds(text)
    return lambda client: any((key["expires_at"] or until) < until for key in keys_in_use(client))


def _key_older(text: str, now: float) -> Fits:
    since = now - _seconds(text)
    return lambda client: any(key["created_at"] < since for key in keys_in_use(client))


def _alg(text: str, _: float) -> Fits:
    wanted = _given(text).upper()

    def fits(client: Client) -> bool:
        only = client["token_endpoint_auth_signing_alg"]
        algs = [only] if only else [key["alg"] for key in keys_in_use(client)]
        return any((alg or "").upper() == wanted for alg in algs)

    return fits


def _equal(member: str) -> Callable[[str, float], Fits]:
    def build(text: str, _: float) -> Fits:
        wanted = _given(text)
        return lambda client: bool(client[member] == wanted)

    return build


def _among(member: str) -> Callable[[str, float], Fits]:
    def build(text: str, _: float) -> Fits:
        wanted = _given(text)
        return lambda client: wanted in client[member]

    return build


def _given(text: str) -> str:
    if not text:
        raise ValueError("write a value after the colon")
    return text


_STATES: dict[str, Fits] = {
    "disabled": lambda client: not client["enabled"],
    "enabled": lambda client: bool(client["enabled"]),
}
FILTERS: dict[str, Callable[[str, float], Fits]] = {
    "unused": _unused,
    "key-expires": _key_expires,
    "key-older": _key_older,
    "alg": _alg,
    "method": _equal("token_endpoint_auth_method"),
    "kind": _equal("kind"),
    "owner": _equal("owner"),
    "team": _equal("team"),
    "label": _among("labels"),
    "scope": _among("scope"),
    "api": _among("resources"),
}
EXAMPLES = (
    ("disabled", "disabled"),
    ("unused:90d", f"not used for {duration(90 * 86_400)}"),
    ("key-expires:30d", f"a key ends within {duration(30 * 86_400)}"),
    ("key-older:365d", "a key is older than a year"),
    ("alg:HS256", "signs with HS256"),
    ("method:client_secret_basic", "sends its secret"),
    ("scope:orders.write", "may request this scope"),
    ("team:payments", "of this team"),
    ("label:env=prod", "with this label"),
)
