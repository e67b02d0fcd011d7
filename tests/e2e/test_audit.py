"""The audit log of a real server: found out when it is changed, and with nothing in it that must not be."""

import base64
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from tests.process import AFFIANT, Server

from affiant import testing
from affiant.jose import compact, keys

HOSTILE = 'x\x00\n\r\x1b[2J\x7f\x85\x9b31m\u2028\u202e"\\'
PIECE = 20


@pytest.fixture(scope="module")
def credentials(server: Server) -> dict[str, Any]:
    """A client whose six requests are in the log."""
    server.affiant("client", "new", "audited", "--scope", "orders.read")
    found = server.credentials("audited")
    replies = [server.token(**testing.form(server.assertion(found["client_id"]))).status_code for _ in range(3)]
    used = testing.form(server.assertion(found["client_id"]))
    replies += [server.token(**used).status_code for _ in range(2)]
    replies.append(server.token(**testing.form(server.assertion(found["client_id"]), scope="nothing")).status_code)
    assert replies == [200, 200, 200, 200, 401, 400]
    return found


@pytest.fixture
def copied(server: Server, credentials: dict[str, Any], tmp_path: Path) -> Path:
    """The data folder as it is now, to be changed."""
    folder, live = tmp_path / "copy", server.folder / "affiant-data"
    folder.mkdir(mode=0o700)
    shutil.copy(live / "master.key", folder)
    source, target = sqlite3.connect(live / "affiant.db"), sqlite3.connect(folder / "affiant.db")
    source.backup(target)
    source.close()
    target.close()
    return folder


def _change(folder: Path, *statements: str) -> None:
    other = sqlite3.connect(folder / "affiant.db")
    for statement in statements:
        other.execute(statement)
    other.commit()
    other.close()


def _trace(folder: Path, number: int) -> str:
    other = sqlite3.connect(folder / "affiant.db")
    (trace_id,) = other.execute("SELECT trace_id FROM audit WHERE number = ?", (number,)).fetchone()
    other.close()
    return str(trace_id)


def test_the_log_of_a_running_server_holds(server: Server, credentials: dict[str, Any]) -> None:
    found = server.affiant("audit", "verify")
    assert found["number"] >= 6
    again = server.run("audit", "verify", "--expect", found["head"])
    assert again.returncode == 0, again.stderr
    assert server.affiant("audit", "head")["number"] >= found["number"]


@pytest.mark.attack(298)
@pytest.mark.parametrize(
    ("change", "number", "code"),
    [
        ("UPDATE audit SET record = CAST(replace(record, 'token', 'nekot') AS BLOB) WHERE number = 2", 2, "edited"),
        ("UPDATE audit SET link = zeroblob(32) WHERE number = 2", 2, "edited"),
        ("DELETE FROM audit WHERE number = 1", 1, "deleted"),
        ("DELETE FROM audit WHERE number = 3", 3, "deleted"),
        ("DELETE FROM audit WHERE number >= 5", 5, "cut"),
        ("DELETE FROM audit", 1, "cut"),
        ("INSERT INTO audit VALUES (-1, 'x', x'7b7d', x'00')", -1, "inserted"),
        ("UPDATE audit SET number = number + 1000 WHERE number = 2", 2, "reordered"),
    ],
)
def test_the_first_wrong_record_is_named(server: Server, copied: Path, change: str, number: int, code: str) -> None:
    """Exit 1, with number and trace id."""
    trace_id = _trace(copied, number) if code in ("edited", "reordered") else None
    _change(copied, change)
    done = server.run("audit", "verify", "--data", str(copied), "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["exit_code"]) == (1, 1)
    assert (error["code"], error["number"]) == (f"audit.{code}", number)
    if trace_id is not None:
        assert error["trace_id"] == trace_id


def test_a_person_is_told_in_one_line(server: Server, copied: Path) -> None:
    _change(copied, "DELETE FROM audit WHERE number = 3")
    told = server.run("audit", "verify", "--data", str(copied))
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == (
        f"affiant: the audit log is broken: record 3 is missing before record 4 (trace {_trace(copied, 4)}): deleted\n"
    )


def test_a_cut_that_hides_its_number_shows_against_a_head(server: Server, copied: Path) -> None:
    data = ("--data", str(copied))
    noted = server.affiant("audit", "head", *data)["head"]
    _change(
        copied,
        "DELETE FROM audit WHERE number > 3",
        "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'",
    )
    assert server.run("audit", "verify", *data).returncode == 0
    done = server.run("audit", "verify", "--expect", noted, *data)
    assert done.returncode == 1
    assert "records 4 to" in done.stderr


def test_another_master_key_says_so(server: Server, copied: Path) -> None:
    done = server.run("audit", "verify", "--data", str(copied), AFFIANT_MASTER_KEY="0" * 64)
    assert done.returncode == 8
    assert "made under another master key" in done.stderr


def test_an_export_can_be_verified_later(server: Server, copied: Path, tmp_path: Path) -> None:
    data = ("--data", str(copied))
    exported = server.run("audit", "export", *data).stdout
    lines = exported.splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(1, len(lines) + 1))
    file = tmp_path / "audit.jsonl"
    file.write_text(exported)
    assert server.affiant("audit", "verify", str(file), *data)["number"] == len(lines)
    for broken, number in (
        (lines[:2] + lines[3:], 3),
        ([lines[1], lines[0], *lines[2:]], 1),
        ([lines[0], lines[1].replace('"outcome"', '"emoctuo"'), *lines[2:]], 2),
    ):
        file.write_text("\n".join(broken))
        done = server.run("audit", "verify", str(file), *data, "--json")
        assert (done.returncode, json.loads(done.stdout)["error"]["number"]) == (1, number)
    file.write_text("{}\n")
    assert server.run("audit", "verify", str(file), *data).returncode == 8


def test_a_selection_is_exported_and_verified(server: Server, credentials: dict[str, Any], tmp_path: Path) -> None:
    words = ("audit", "export", "--client", "audited")
    refused = [json.loads(line) for line in server.run(*words, "--reason", "assertion.replayed").stdout.splitlines()]
    assert [line["record"]["outcome"] for line in refused] == ["refused"]
    at = refused[0]["record"]["at"]
    assert server.run(*words, "--since", str(int(at) + 3600)).stdout == ""
    assert server.run(*words, "--until", "1970-01-02").stdout == ""
    assert len(server.run(*words, "--since", "2020-01-01", "--until", "9999999999").stdout.splitlines()) == 6
    file = tmp_path / "some.jsonl"
    file.write_text(server.run(*words).stdout)
    assert server.run("audit", "verify", str(file), "--gaps").returncode == 0
    file.write_text(file.read_text().replace('"refused"', '"issued"'))
    assert server.run("audit", "verify", str(file), "--gaps").returncode == 1


def test_the_newest_records_are_shown(server: Server, credentials: dict[str, Any]) -> None:
    reply = server.token(**testing.form(server.assertion("audited"), scope=HOSTILE))
    trace_id = reply.json()["trace_id"]
    assert len(server.run("audit", "show", "-n", "2").stdout.splitlines()) == 2
    newest = server.run("audit", "show", "-n", "20").stdout.splitlines()
    # The explanation of an earlier refusal is recorded when it is ready, perhaps after this request.
    assert trace_id in [line for line in newest if ".hint" not in line][-1]
    assert server.affiant("audit", "show", trace_id)["scope"] == HOSTILE
    one = server.run("audit", "show", trace_id).stdout
    assert all(line.isprintable() for line in one.split("\n"))
    assert len(server.affiant("audit", "show", "-n", "3")) == 3


def test_records_are_shown_by_what_they_say(server: Server, credentials: dict[str, Any]) -> None:
    words = ("audit", "show", "--client", "audited", "-n", "1000")
    refused = server.affiant(*words, "--refused", "--since", "2h")
    assert {row["record"]["outcome"] for row in refused} == {"refused"}
    assert refused == server.affiant(*words, "--outcome", "refused", "--until", "now")
    (replayed,) = server.affiant(*words, "--reason", "assertion.replayed", "--since", "yesterday")
    assert replayed in refused
    exported = server.run("audit", "export", "--refused", "--client", "audited").stdout.splitlines()
    assert [json.loads(line)["number"] for line in exported] == [row["number"] for row in refused]
    assert server.affiant(*words, "--until", "1d") == server.affiant(*words, "--outcome", "none-such") == []
    assert server.run("audit", "show", "--client", "nobody").stdout == "no record matches\n"


def test_new_records_are_followed(server: Server, credentials: dict[str, Any]) -> None:
    """Those that fit, each once and in order, until it is stopped; and one that is stopped says so by its exit code."""
    words = ("audit", "show", "--client", "audited", "--refused", "-n", "1", "--follow", "--json")
    following = subprocess.Popen([*AFFIANT, *words], cwd=server.folder, stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        asked = []
        for number in range(3):
            server.token(**testing.form(server.assertion("audited")))
            asked.append(
                server.token(**testing.form(server.assertion("audited"), scope=f"none{number}")).json()["trace_id"]
            )
        rows = [json.loads(following.stdout.readline()) for _ in asked]
        assert [row["record"]["trace_id"] for row in rows] == asked
        assert sorted({first["number"], *(row["number"] for row in rows)}) == [
            first["number"], *(row["number"] for row in rows)
        ]  # fmt: skip
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
    finally:
        following.kill()
        following.communicate()


def test_an_empty_log(server: Server, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "new"))
    for words in (("verify",), ("head",), ("show",), ("export",)):
        assert server.run("audit", *words, *data).returncode == 3  # no log at all is not an empty one
    assert not (tmp_path / "new").exists()
    server.affiant("db", "migrate", *data)
    assert server.affiant("audit", "verify", *data)["number"] == 0
    assert server.affiant("audit", "head", *data)["head"] == f"0:{'0' * 64}"
    assert server.run("audit", "export", *data).stdout == ""
    assert server.affiant("audit", "show", *data) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("verify", "--expect", "1:2"), 2),
        (("verify", "--gaps"), 2),
        (("verify", "nowhere.jsonl"), 3),
        (("export", "--since", "someday"), 2),
        (("export", "--format", "csv"), 2),
        (("show", "nowhere"), 3),
        (("show", "-n", "0"), 2),
        (("show", "--refused", "--outcome", "issued"), 2),
        (("show", "abcdefghijkl", "--client", "audited"), 2),
        (("show", "abcdefghijkl", "--follow"), 2),
        (("show", "--follow", "--until", "now"), 2),
    ],
)
def test_mistakes(server: Server, credentials: dict[str, Any], words: tuple[str, ...], code: int) -> None:
    done = server.run("audit", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert 1 <= len(done.stderr.splitlines()) <= 2


def test_a_reader_that_went_away_is_no_broken_chain(server: Server, credentials: dict[str, Any]) -> None:
    """Neither a message, nor the exit code that means a broken chain."""
    for words in ("verify", "export", "show"):
        command = [sys.executable, "-m", "affiant.cli.main", "audit", words]
        script = '{ sleep 0.1; "$@"; echo $? >&2; } | true'
        done = subprocess.run(
            ["sh", "-c", script, "-", *command], cwd=server.folder, capture_output=True, text=True, check=False
        )
        assert done.stderr == "0\n", words


def _pieces(text: str) -> set[str]:
    return {text[start : start + PIECE] for start in range(len(text) - PIECE + 1)}


def _basic(client_id: str, secret: str) -> str:
    return base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def _guide_form(server: Server, client_id: str, secret: str, **more: str) -> dict[str, str]:
    claims = {"iss": client_id, "sub": "request-1", "aud": server.issuer, "exp": int(time.time()) + 60}
    return {
        "grant_type": "client_credentials",
        "assertion": jwt.encode(claims, secret, "HS256"),
        "client_id": client_id,
        "client_secret": secret,
        **more,
    }


class _Caller:
    """Sends requests of every method, and keeps whatever of them is secret."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.secret: set[str] = {(server.folder / "affiant-data" / "master.key").read_text().strip()}
        self.statuses: list[int] = []

    def post(self, form: dict[str, str], basic: tuple[str, str] | None = None) -> None:
        headers = {"authorization": f"Basic {_basic(*basic)}"} if basic else {}
        reply = httpx2.post(f"{self.server.issuer}/token", data=form, headers=headers, timeout=20)
        names = ("client_secret", "client_assertion", "assertion", "refresh_token")
        self.secret |= {form[name] for name in names if name in form}
        self.secret |= {_basic(*basic), basic[1]} if basic else set()
        answer = reply.json()
        self.secret |= {answer[name] for name in ("access_token", "refresh_token") if name in answer}
        self.statuses.append(reply.status_code)

    def everywhere(self, secret: str, make: Callable[[], dict[str, str]]) -> None:
        """Put a secret where it does not belong."""
        for name in ("client_id", "scope", "resource", "grant_type"):
            self.post({**make(), name: secret})


def _by_key(caller: _Caller) -> None:
    server = caller.server
    server.affiant(
        *("client", "new", "by_key", "--scope", "orders.read"),
        *("--grant", "client_credentials", "--grant", "refresh_token"),
    )
    found = server.credentials("by_key")
    caller.secret.add(found["key"]["d"])

    def good() -> dict[str, str]:
        return testing.form(server.assertion(found["client_id"]))

    used = good()
    first = server.token(**good()).json()
    caller.secret |= {first["access_token"], first["refresh_token"]}
    for refresh_token in (first["refresh_token"], first["refresh_token"], "w" * 43):
        caller.post({**good(), "grant_type": "refresh_token", "refresh_token": refresh_token})
    for form in (
        used,
        used,
        testing.form(server.assertion("by_key", key=keys.generate("ES256"))),
        testing.form(used["client_assertion"][:-4]),
        testing.form("nonsense" * 9),
    ):
        caller.post(form)
    caller.post({**good(), "client_secret": "s" * 43})
    for secret in (first["access_token"], first["refresh_token"], used["client_assertion"]):
        caller.everywhere(secret, good)


def _by_secret(caller: _Caller, method: str) -> None:
    server = caller.server
    server.affiant("client", "new", f"by_{method}", "--auth", method, "--scope", "orders.read")
    name, secret = f"by_{method}", server.credentials(f"by_{method}")["client_secret"]
    wrong = "Wr0ng-" + secret[::-1]
    caller.secret |= {secret, wrong}
    plain = {"grant_type": "client_credentials"}
    for sent in (secret, wrong):
        caller.post({**plain, "client_id": name, "client_secret": sent})
        caller.post(plain, basic=(name, sent))
        caller.post(_guide_form(server, name, sent))
        now = int(time.time())
        claims = {"iss": name, "sub": name, "aud": server.issuer, "exp": now + 60, "iat": now, "jti": sent[:9]}
        caller.post(testing.form(jwt.encode(claims, sent, "HS256")))
    caller.everywhere(secret, lambda: {**plain, "client_id": name, "client_secret": secret})


def _guided(caller: _Caller) -> None:
    server = caller.server
    server.affiant("client", "new", "by_guide", "--profile", "guide", "--scope", "orders.read")
    secret = server.credentials("by_guide")["client_secret"]
    caller.secret.add(secret)
    caller.post(_guide_form(server, "by_guide", secret))
    caller.post(_guide_form(server, "by_guide", "Wr0ng-" + secret[::-1]))
    caller.everywhere(secret, lambda: _guide_form(server, "by_guide", secret))


def test_no_secret_is_ever_written_down(server: Server) -> None:
    """Not 20 characters of a key, a secret, an assertion or a token, of whatever request, good or bad."""
    caller = _Caller(server)
    _by_key(caller)
    for method in ("client_secret_basic", "client_secret_post", "client_secret_jwt"):
        _by_secret(caller, method)
    _guided(caller)
    assert {200, 400, 401} <= set(caller.statuses) <= {200, 400, 401}
    assert caller.statuses.count(200) >= 7  # by every method
    assert server.child is not None
    exported = server.run("audit", "export").stdout
    assert len(exported.splitlines()) >= len(caller.statuses)
    written = exported + server.run("audit", "show", "-n", "1000").stdout + server.child.out + server.child.err
    secret = set().union(*map(_pieces, caller.secret))
    leaking = [line for line in written.splitlines() if _pieces(line) & secret]
    assert not leaking, "\n".join(leaking)


def test_what_a_terminal_would_obey_is_escaped(server: Server, credentials: dict[str, Any]) -> None:
    """In every member that a caller chooses; and every record is one line."""
    key = keys.parse_private_jwk(credentials["key"])
    now = int(time.time())
    claims = {"iss": "audited", "sub": "audited", "aud": HOSTILE, "exp": now + 60, "iat": now, "jti": HOSTILE}
    before = server.affiant("audit", "head")["number"]
    forms = [
        testing.form(server.assertion("audited"), scope=HOSTILE, resource=f"https://x/{HOSTILE}"),
        testing.form(server.assertion("audited"), client_id=HOSTILE),
        testing.form(server.assertion("audited"), grant_type=HOSTILE),
        testing.form(compact.sign({"kid": HOSTILE}, claims, key)),
        testing.form(compact.sign({"typ": HOSTILE}, claims, key)),
        testing.form(compact.sign({}, claims, key)),
        {"grant_type": "client_credentials", "client_id": HOSTILE, "client_secret": HOSTILE},
    ]
    assert {server.token(**form).status_code for form in forms} <= {400, 401}
    lines = server.run("audit", "export").stdout.split("\n")
    assert lines.pop() == ""
    assert len(lines) >= before + len(forms)
    assert all(line.isprintable() for line in lines)
    assert sum("\\u001b[2J" in line for line in lines[before:]) >= 5
    assert all(json.loads(line)["record"]["trace_id"] for line in lines)


def test_reading_the_folder_waits_for_no_writer(server: Server, credentials: dict[str, Any]) -> None:
    """The write lock is never free while these run, as on a server that is very busy."""
    held = sqlite3.connect(server.folder / "affiant-data" / "affiant.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    try:
        for words in (("audit", "verify"), ("audit", "show"), ("audit", "head"), ("client", "list"), ("api", "list")):
            done = server.run(*words)
            assert done.returncode == 0, done.stderr
        assert server.run("audit", "export").stdout.count("\n") >= 6
    finally:
        held.execute("ROLLBACK")
        held.close()
