"""`affiant revoke`, `issued`, `grants` and `settings` on a data folder, from the words to the exit code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from affiant.cli.main import main

Run = Callable[..., tuple[int, Any]]

API = "https://orders.example"


@pytest.fixture
def run(run_json: Run) -> Run:
    """Run a command in a folder with a client and an API."""
    run_json("api", "new", "orders", "--identifier", API, "--scope", "read")
    run_json("client", "new", "billing", "--scope", "read", "--scope", "other")
    return run_json


@pytest.mark.parametrize(
    ("words", "kind", "value"),
    [
        (("--jti", "4f9d2c8a"), "jti", "4f9d2c8a"),
        (("--family", "f1"), "family", "f1"),
        (("--client", "billing"), "client", "billing"),
        (("--api", API), "api", API),
        (("--all", "--yes"), "all", ""),
    ],
)
def test_revocation_is_listed_and_audited(run: Run, words: tuple[str, ...], kind: str, value: str) -> None:
    code, ended = run("revoke", *words)
    assert (code, ended["kind"], ended["value"]) == (0, kind, value)
    ended.pop("note", None)
    assert run("issued", "revocations") == (0, [ended])
    record = run("audit", "show", "-n", "1")[1][0]["record"]
    assert (record["outcome"], record["subject"]) == ("revoked", f"tokens {kind} {value}".strip())
    assert record["by"].startswith("cli")


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (("--client", "biling"), "no client biling is registered now: is billing meant?"),
        (("--client", "Billing"), "no client Billing is registered now: is billing meant?"),
        (("--client", "biling", "--key", "k"), "no client biling is registered now: is billing meant?"),
        (("--client", "zzz"), "no client zzz is registered now"),
        (("--client", ".."), "no client .. is registered now"),
        (("--api", f"{API}/"), f"no API {API}/ is registered now: is {API} meant?"),
        (("--api", "https://nope"), "no API https://nope is registered now"),
        (("--jti", "4f9d2c8a"), "no live token has the jti 4f9d2c8a"),
        (("--jti", ".."), "no live token has the jti .."),
        (("--family", "f1"), "no live refresh token is of the family f1"),
    ],
)
def test_unknown_name_is_revoked_with_a_note(
    run: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], note: str
) -> None:
    """It may have been removed and its tokens live; but mostly the name is misspelt, and the tokens did not end."""
    code, ended = run("revoke", *words)
    assert (code, ended["note"]) == (0, note)
    assert len(run("issued", "revocations")[1]) == 1
    with pytest.raises(SystemExit) as done:
        main(["revoke", *words])
    said = capsys.readouterr()
    assert done.value.code == 0
    assert said.out.startswith("revoked  ")
    assert said.err == f"affiant: {note}\n"


def test_registered_name_is_revoked_without_a_note(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--client", "billing"), ("--client", "billing", "--key", "k"), ("--api", API)):
        assert "note" not in run("revoke", *words)[1]
        with pytest.raises(SystemExit):
            main(["revoke", *words])
        assert capsys.readouterr().err == ""


def test_a_key_is_a_clients_own(run: Run) -> None:
    code, ended = run("revoke", "--client", "billing", "--key", "thumb")
    assert (code, ended["kind"]) == (0, "key")
    assert "billing" in ended["value"]
    assert run("revoke", "--key", "thumb")[0] == 2


@pytest.mark.parametrize(
    "words",
    [(), ("--all",), ("--client", "a", "--jti", "b"), ("--client", "a", "--key", "k", "--api", API), ("--jti", "")],
)
def test_revoke_needs_one_choice_and_a_confirmation_for_all(run: Run, words: tuple[str, ...]) -> None:
    assert run("revoke", *words)[0] == 2
    assert run("issued", "revocations") == (0, [])


def test_grants_are_listed(run: Run) -> None:
    (grant,) = run("grants")[1]
    assert (grant["client_id"], grant["resource"], grant["scope"]) == ("billing", API, ["read"])
    assert run("grants", "--api", API, "--client", "billing") == (0, [grant])
    assert run("grants", "--client", "nobody") == (0, [])


def test_issued_tokens_are_listed(run: Run) -> None:
    assert run("issued", "refresh-tokens") == (0, [])
    assert run("issued", "find", "4f9d2c8a")[0] == 3


def test_settings_name_their_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFIANT_PORT", "9999")
    Path("affiant.toml").write_text("workers = 3\n")
    found = {row["name"]: (row["value"], row["source"]) for row in run("settings", "--data", "affiant-data")[1]}
    assert found["port"] == (9999, "environment")
    assert found["workers"] == (3, "file")
    assert found["data"] == ("affiant-data", "option")
    assert found["failure_burst"][1] == "default"


@pytest.mark.parametrize("trace", ["head", "export", "verification", "", "..", "aaaaaaaaaaaa", "a b"])
def test_only_a_record_is_shown(run: Run, trace: str) -> None:
    """Other documents of the log in the admin API are not shown."""
    code, error = run("audit", "show", trace)
    assert code == 3
    assert error["message"].startswith(f"there is no record with the trace id {trace}")


@pytest.mark.parametrize("words", [("client", "show"), ("signing-key", "remove"), ("invitation", "revoke")])
@pytest.mark.parametrize("name", ["", ".", ".."])
def test_name_that_no_path_can_have_is_not_found(run: Run, words: tuple[str, ...], name: str) -> None:
    assert run(*words, name) == (3, {"message": f"there is nothing named {name!r}", "exit_code": 3})
