"""`affiant`, the program. It prints a kept token itself, and leaves everything else to `main`.

To load click and what a command needs takes several times as long as to start Python, and scripts run
`$(affiant token)` for each request. Order: whatever is not exactly as usual here is `None`, and `main` decides.
tests/unit/cli/tokens/test_entry.py compares what both print.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # slower to load than the rest of this module
    from typing import Any

_VALUES = {
    "-c": "file",
    "--credentials": "file",
    "--scope": "scope",
    "--resource": "resource",
    "--min-ttl": "min_ttl",
}
_FLAGS = {"--header": "form", "--env": "form", "--json": "json"}
_SIMPLE = {"affiant", "issuer", "client_id", "auth_method", "alg", "kid", "scope", "resource", "client_secret"}
_SIMPLE |= {"registration_client_uri", "registration_access_token"}
_KEYS = {"key", "next_key", "old_key"}
_METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post", "client_secret_jwt")
_PARTS = ("AFFIANT_CLIENT_ID", "AFFIANT_KEY", "AFFIANT_CLIENT_SECRET", "AFFIANT_CLIENT_SECRET_FILE")
_MOST_BYTES = 1 << 20


def main() -> None:
    """Print a kept token, supervise a server, or run the command."""
    if sys.argv[1:2] == ["serve"]:
        _serve(sys.argv[1:])
    line = find_line(sys.argv[1:])
    if line is not None and sys.stdout is not None:  # None: the caller closed it
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except OSError:  # `main` meets it too, and reports it
            pass
        else:
            sys.exit(0)
    from affiant.cli.main import main as run

    run()


def _serve(words: list[str]) -> None:
    """Supervise the workers of a server; return in a worker."""
    from affiant.cli.server import supervision

    if not supervision.is_wanted(words):
        return
    from affiant.cli.server.supervision.master import supervise

    try:
        sys.exit(supervise(words))
    except (Exception, KeyboardInterrupt) as failure:  # noqa: BLE001 - reported like that of a command
        from affiant.cli.main import main as run

        run(words, failure=failure)


def find_line(words: list[str]) -> str | None:
    """Return what `affiant WORDS` prints, if that is a kept token and its usual output; None otherwise."""
    wanted = _parse(words)
    if wanted is None:
        return None
    from affiant.client.cache.stores import kept

    try:
        members = _read(wanted.get("file") or _search())
        folder = kept.folder("tokens")
        if members is None or folder is None:
            return None
        found = kept.parse(kept.read_own(f"{folder}/{_name(members, wanted)}"))
    except (OSError, ValueError, RecursionError):
        return None
    import time

    now = time.time()
    if found is None or found["renew_at"] or not kept.serves(found, now, int(wanted.get("min_ttl", "60"))):
        return None
    return _show(found, wanted) if kept.is_checked(found, now) else None


def _parse(words: list[str]) -> dict[str, str] | None:
    """Return the options; None unless each is spelt out, at most once, with a plain value."""
    if words[:1] != ["token"] or os.environ.get("GITHUB_ACTIONS") == "true":  # there, `main` masks the token
        return None
    found: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, value = _FLAGS.get(word), word
        if name is None:
            name, value = _VALUES.get(word), next(rest, "")
            if not value or value.startswith("-") or not value.isprintable():
                return None
        if name is None or name in found:
            return None
        found[name] = value
    seconds = found.get("min_ttl", "60")
    return found if seconds.isascii() and seconds.isdigit() and len(seconds) < 10 else None  # noqa: PLR2004 - an int


def _search() -> str | None:
    """Return the credentials file that credentials/search.py would find."""
    named = os.environ.get("AFFIANT_CREDENTIALS", "")
    if any(os.environ.get(name) for name in _PARTS):
        return None
    if named:
        # As it is, or a secret store may have quoted or encoded it.
        return named if named.isprintable() and named[0] in "./" and named.endswith(".json") else None
    for folder in filter(None, (os.environ.get("CREDENTIALS_DIRECTORY"), "/run/secrets")):
        for name in ("affiant", "affiant.json"):
            if os.path.lexists(f"{folder}/{name}"):
                return f"{folder}/{name}"
    config = os.environ.get("XDG_CONFIG_HOME", "")
    folder = f"{config if config.startswith('/') else os.path.expanduser('~/.config')}/affiant"  # noqa: PTH111
    files = [name for name in os.listdir(folder) if name.endswith(".affiant.json") and name[0] != "."]  # noqa: PTH208
    return f"{folder}/{files[0]}" if len(files) == 1 else None


def _read(path: str | None) -> dict[str, Any] | None:
    """Return the members of a credentials file of this user alone, with a key or a secret in it."""
    if path is None:
        return None
    import json

    from affiant.client.cache.stores.kept import read_own

    members = json.loads(read_own(os.path.realpath(path), _MOST_BYTES).decode())
    if not isinstance(members, dict) or members.get("affiant") != 1 or not members.keys() <= _SIMPLE | _KEYS:
        return None
    is_whole = "issuer" in members and "client_id" in members and members.get("auth_method") in _METHODS
    if not is_whole or ("key" in members) == ("client_secret" in members):
        return None
    right = all(
        isinstance(value, dict) if name in _KEYS else isinstance(value, str) and value.isprintable()
        for name, value in members.items()
        if name != "affiant"
    )
    return members if right else None


def _name(members: dict[str, Any], wanted: dict[str, str]) -> str:
    """Return the name of the file that KeptTokens keeps this token in."""
    from affiant.client.cache.stores import kept

    resource, scope = wanted.get("resource"), wanted.get("scope")
    if scope is None and resource not in (None, members.get("resource")):
        members = {**members, "scope": None}  # as cli/tokens/options.py does
    mark = kept.mark_of(members["key"]) if "key" in members else ""
    return kept.digest(kept.names_of(members, mark, resource, scope))


def _show(found: dict[str, Any], wanted: dict[str, str]) -> str | None:
    value, scope = found["value"], found["scope"]
    # As a JWT is written: a terminal and a shell take it as it is.
    if not value.isascii() or not value.replace(".", "").replace("-", "").replace("_", "").isalnum():
        return None
    if "json" in wanted:
        import json

        data = {"access_token": value, "expires_at": int(found["expires_at"]), "scope": scope}
        return json.dumps({"ok": True, "data": data}) + "\n"
    form = wanted.get("form")
    start = "" if form is None else "export ACCESS_TOKEN=" if form == "--env" else "Authorization: Bearer "
    return f"{start}{value}\n"


if __name__ == "__main__":
    main()
