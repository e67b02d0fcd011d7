"""`affiant token` and `affiant call` keep their token, and ask for another one only when they must."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.process import Server

from affiant.jose import compact


def _new(server: Server, name: str, *words: str) -> tuple[str, str]:
    server.affiant("client", "new", name, "--scope", "orders.read", *words)
    return ("--credentials", f"{name}.affiant.json")


def _token(server: Server, *words: str, **environment: str) -> str:
    done = server.run("token", *words, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def _files(cache: Path) -> list[Path]:
    return [path for path in (cache / "affiant" / "tokens").iterdir() if path.suffix != ".lock"]


def test_kept_token_needs_no_server(lone_server: Server) -> None:
    """The second time nothing is asked; what is another token, or must be a new one, is."""
    wide = "https://wide.example"
    lone_server.affiant("api", "new", "wide", "--identifier", wide, "--scope", "orders.read", "--scope", "orders.write")
    who = _new(lone_server, "thrifty", "--scope", "orders.write", "--resource", wide)
    first = _token(lone_server, *who)
    narrow = _token(lone_server, *who, "--scope", "orders.read")
    assert first not in (narrow, _token(lone_server, *who, "--no-cache"))
    lone_server.stop()
    assert _token(lone_server, *who) == first
    assert _token(lone_server, *who, "--header") == f"Authorization: Bearer {first}"
    assert lone_server.affiant("token", *who)["access_token"] == first
    assert _token(lone_server, *who, "--scope", "orders.read") == narrow
    others = (["--no-cache"], ["--scope", "orders.write"], ["--resource", "x:y"], ["--min-ttl", "86400"])
    with ThreadPoolExecutor(len(others)) as pool:  # each tries for some seconds before it gives up
        assert list(pool.map(lambda other: lone_server.run("token", *who, *other).returncode, others)) == [5] * 4


def test_processes_at_once_make_one_request(server: Server) -> None:
    """Each answer of the server is another token: all have the same, so there was one answer."""
    who = _new(server, "crowd")
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: _token(server, *who), range(6)))) == 1


def test_kept_tokens_are_for_their_owner(server: Server, tmp_path: Path) -> None:
    """0700 and 0600; no refresh token is kept, for it would be worth more than what keeping it saves."""
    who = _new(server, "careful", "--grant", "client_credentials", "--grant", "refresh_token")
    done = server.run("token", *who, "--json", XDG_CACHE_HOME=str(tmp_path))
    refresh_token = json.loads(done.stdout)["data"]["refresh_token"]
    folder = tmp_path / "affiant" / "tokens"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert not any(refresh_token in path.read_text() for path in folder.iterdir())


def test_no_cache_leaves_nothing(server: Server, tmp_path: Path) -> None:
    _token(server, *_new(server, "shy"), "--no-cache", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_registered_anew_gets_a_new_token(server: Server) -> None:
    """Another key is another client, though it has the same name."""
    who = _new(server, "reborn")
    first = _token(server, *who)
    server.affiant("client", "remove", "reborn")
    (server.folder / "reborn.affiant.json").unlink()
    assert _token(server, *_new(server, "reborn")) != first


def test_folder_that_cannot_be_used_stops_nobody(server: Server, api: str, tmp_path: Path) -> None:
    """The token is fetched all the same; one line says why each time takes a request."""
    (tmp_path / "file").touch()
    who = _new(server, "homeless", "--resource", api)
    for words in (["token", *who], ["call", f"{api}/orders", *who]):
        done = server.run(*words, XDG_CACHE_HOME=str(tmp_path / "file"))
        assert done.returncode == 0
        assert done.stdout
        (line,) = done.stderr.splitlines()
        assert "tokens cannot be kept in" in line
        assert "--no-cache" in line


def test_call_uses_the_kept_token(server: Server, api: str, tmp_path: Path) -> None:
    """The same file serves both commands."""
    who = _new(server, "regular", "--resource", api)
    first = _token(server, *who, XDG_CACHE_HOME=str(tmp_path))
    assert server.run("call", f"{api}/orders", *who, XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    assert [json.loads(path.read_text())["value"] for path in _files(tmp_path)] == [first]
    assert _token(server, *who, XDG_CACHE_HOME=str(tmp_path)) == first


def test_call_drops_a_token_that_is_refused(server: Server, api: str, tmp_path: Path) -> None:
    """401 invalid_token: the kept one is forgotten, and the call is made once more with a new one."""
    who = _new(server, "persistent", "--resource", api)
    first = _token(server, *who, XDG_CACHE_HOME=str(tmp_path))
    (kept,) = _files(tmp_path)
    kept.write_text(kept.read_text().replace(first, first.rpartition(".")[0] + "." + "A" * 86))
    done = server.run("call", f"{api}/orders", *who, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"for": "persistent"}
    renewed = json.loads(kept.read_text())["value"]
    assert renewed not in (first, "")
    assert _token(server, *who, XDG_CACHE_HOME=str(tmp_path)) == renewed


def test_call_that_is_refused_twice_ends(server: Server, api: str, tmp_path: Path) -> None:
    """A new token that is refused too is reported, not tried for ever."""
    who = _new(server, "elsewhere")  # its tokens are for another API
    done = server.run("call", f"{api}/orders", *who, "--json", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["status"] == 401
    assert "invalid_token" in error["www_authenticate"]
    assert done.stderr == ""


def test_kept_token_that_cannot_be_read_is_replaced(server: Server, tmp_path: Path) -> None:
    """Neither rubbish nor a folder in its place stops the command."""
    who = _new(server, "robust")
    _token(server, *who, XDG_CACHE_HOME=str(tmp_path))
    (kept,) = _files(tmp_path)
    kept.write_bytes(b"\xff\x00")
    _token(server, *who, XDG_CACHE_HOME=str(tmp_path))
    kept.unlink()
    kept.mkdir(0o700)
    done = server.run("token", *who, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, bool(done.stdout), "tokens cannot be kept in" in done.stderr) == (0, True, True)


def test_a_token_that_was_revoked_is_not_printed_for_long(server: Server, tmp_path: Path) -> None:
    """A minute after the last look the server is asked: a revoked token is replaced, a client that is shut out fails."""
    who = _new(server, "ended")
    first = _token(server, *who, XDG_CACHE_HOME=str(tmp_path))
    (kept,) = _files(tmp_path)

    def age() -> None:
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "checked_at": 0}))

    age()
    assert _token(server, *who, XDG_CACHE_HOME=str(tmp_path)) == first, "what is good is kept"
    server.affiant("revoke", "--jti", compact.parse(first).claims["jti"])
    assert _token(server, *who, XDG_CACHE_HOME=str(tmp_path)) == first, "within the minute nothing is asked"
    age()
    assert _token(server, *who, XDG_CACHE_HOME=str(tmp_path)) != first
    server.affiant("client", "disable", "ended")
    age()
    assert server.run("token", *who, XDG_CACHE_HOME=str(tmp_path)).returncode == 4
    assert not kept.exists()


def test_a_resource_without_a_scope_asks_for_all_that_may_be_had_there(server: Server, tmp_path: Path) -> None:
    """The file's scope spans every API of the client: sent to one of them, it would be refused."""
    ledger = "https://ledger.example"
    server.affiant("api", "new", "ledger", "--identifier", ledger, "--scope", "ledger.read")
    apis = ("--resource", "https://orders.example", "--resource", ledger, "--scope", "ledger.read")
    who = _new(server, "everywhere", *apis)
    for resource, scope in (("https://orders.example", "orders.read"), (ledger, "ledger.read")):
        found = server.affiant("token", *who, "--resource", resource)
        assert (found["scope"], compact.parse(found["access_token"]).claims["aud"]) == (scope, resource)
    refused = server.run("token", *who, "--resource", ledger, "--scope", "orders.read", XDG_CACHE_HOME=str(tmp_path))
    assert (refused.returncode, "invalid_scope" in refused.stderr) == (4, True)
