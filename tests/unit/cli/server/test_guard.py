"""The options of `affiant guard serve`: what is wrong or missing is an error before it listens."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from affiant.cli.main import main
from affiant.cli.server import guard, routes
from affiant.cli.server.listening import port
from affiant.errors import ConfigError
from affiant.oauth.parameters.need import any_of
from affiant.resource.replays import RedisReplays, SqliteReplays

IDENTITY = ("--issuer", "https://as.example", "--audience", "https://orders.example")
ROUTE = ("--route", "GET /orders*=orders.read")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((*IDENTITY, *ROUTE), 2, "Choose from: nginx, caddy"),
        ((*IDENTITY, "--proxy", "apache", *ROUTE), 2, "apache"),
        ((*IDENTITY, "--proxy", "nginx"), 8, "no route is named"),
        ((*IDENTITY, "--proxy", "nginx", "--route", "GET /orders*="), 2, 'like "GET /items*=items.read"'),
        ((*IDENTITY, "--proxy", "nginx", "--route", "GET /orders*"), 2, 'like "GET /items*=items.read"'),
        ((*IDENTITY, "--proxy", "nginx", "--route", "orders=a"), 8, "is no route"),
        ((*IDENTITY, "--proxy", "nginx", "--route", '/orders=a"b'), 8, "scope"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, *ROUTE), 8, "named twice"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--public", "GET /orders*"), 8, "named twice"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "8400"), 2, "127.0.0.1:8400"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "127.0.0.1:84000"), 2, "127.0.0.1:8400"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "0.0.0.0:0"), 8, "--trust 10.0.0.5"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "guard.example:0"), 8, "--trust 10.0.0.5"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "unix:guard.sock"), 2, "unix:/run"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "unix:/no/such/folder/x"), 3, "cannot listen on /no"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "unix:/x", "--trust", "::1"), 8, "no address"),
        (
            (*IDENTITY, "--proxy", "nginx", *ROUTE, "--listen", "unix:/x", "--certificate-header", "nginx"),
            8,
            "no address",
        ),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--trust", "unix"), 8, "takes addresses"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--trust", "10.0.0.1/8"), 8, "is 10.0.0.0/8 meant"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--certificate-header", "pem"), 8, "is no format"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--url", "api.example"), 8, "is not where an API listens"),
        (("--issuer", "as", *IDENTITY[2:], "--proxy", "nginx", *ROUTE), 8, "cannot be an issuer"),
        ((*IDENTITY, "--issuer", "https://b", "--reach", "https://c", "--proxy", "nginx", *ROUTE), 8, "one issuer"),
        ((*IDENTITY, "--reach", "http://c", "--proxy", "nginx", *ROUTE), 8, "https"),
        ((*IDENTITY, "--issuer", IDENTITY[1], "--proxy", "nginx", *ROUTE), 8, "twice"),
        (
            (*IDENTITY[:2], "--audience", "urn:a", "--url", "https://a", "--metadata", "--proxy", "nginx", *ROUTE),
            8,
            "URL",
        ),
        ((*IDENTITY[:2], "--audience", "urn:orders", "--proxy", "nginx", *ROUTE), 8, "--url"),
        ((*IDENTITY, "--proxy", "nginx", "--routes", "missing.json"), 3, "missing.json"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--replays", "no/folder.db"), 3, "folder.db cannot be opened"),
        ((*IDENTITY, "--proxy", "nginx", *ROUTE, "--replays", "http://h"), 8, "a URL like redis://HOST"),
    ],
)
def test_mistake_is_named(
    words: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["guard", "serve", *words])
    assert (ended.value.code, message in capsys.readouterr().err) == (code, True)


def test_file_of_routes(tmp_path: Path) -> None:
    file = tmp_path / "routes.json"
    rules = {"/a": "x", "/b": ["x", "y"], "/c": {"any_of": ["x", "y"]}, "/d": ["x", {"any_of": ["y"]}], "/e": None}
    file.write_text(json.dumps(rules))
    assert dict(routes.read(file)) == {**rules, "/c": any_of("x", "y"), "/d": ["x", any_of("y")]}
    for text in ('{"/a": "x", "/a": null}', "[]", "{"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"routes\.json is no JSON object"):
            list(routes.read(file))


@pytest.mark.parametrize("value", [7, True, {"any": ["x"]}, {"any_of": "x"}, {"any_of": []}, ["x", None], [7], "", {}])
def test_what_is_no_scope_in_the_file_opens_no_route(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    file = tmp_path / "routes.json"
    file.write_text(json.dumps({"/a": value}))
    with pytest.raises(SystemExit) as ended:
        main(["guard", "serve", *IDENTITY, "--proxy", "nginx", "--routes", str(file)])
    assert (ended.value.code, "scope" in capsys.readouterr().err) == (8, True)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8400", ("::1", 8400)), ("localhost:1", ("localhost", 1))],
)
def test_address(text: str, address: tuple[str, int]) -> None:
    assert port.parse_address(text, option="--listen") == address


@pytest.mark.parametrize("text", ["", ":8400", "::1:8400", "a@b:1", "a:b", "a:1/x", "[a]:1", "http://a:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(click.BadParameter):
        port.parse_address(text, option="--listen")


@pytest.mark.parametrize(
    ("place", "store"),
    [("replays.db", SqliteReplays), ("redis://h", RedisReplays), ("", type(None)), (None, type(None))],
)
def test_store_of_used_proofs(tmp_path: Path, monkeypatch: Any, place: str | None, store: type) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(guard._store(place), store)
