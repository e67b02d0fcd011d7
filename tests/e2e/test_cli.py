"""What a person at a terminal meets: one clear line, and the exit code of its class."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.process import Server, run


def _run(
    folder: Path, *words: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "affiant.cli.main", *words]
    settings = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), **environment}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=60)


def test_demo_ends_well(tmp_path: Path) -> None:
    """The demo walks every step."""
    done = _run(tmp_path, "demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every step did what it says." in done.stdout
    assert done.stderr == ""
    assert not list(tmp_path.iterdir()), "it left something, or used the person's own cache"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["client", "new", "x", "--scpe", "y"], 2, "--scope"),
        (["clint"], 2, "clint"),
        (["--nope"], 2, "--nope"),
        (["token", "--min-ttl", "-1"], 2, "--min-ttl"),
        (["serve", "--port", "80x"], 8, "--port: write a whole number from 0 to 65535, not '80x'"),
        (["inspect", "\udcff"], 2, "argument 2 is not text"),
        (["client", "new", "x" * 300], 8, "1 to 256"),
        (["client", "list", "--data", "file"], 2, "file"),
        (["client", "list", "--data", "file/data"], 3, "file/data: give the server's data folder with --data"),
        (["token", "-c", "loop"], 8, "symbolic links"),
        (["token", "-c", "open.json"], 8, "chmod 600"),
        (["token", "-c", "broken.json"], 8, "not JSON"),
        (["serve", "--host", "203.0.113.9", "--issuer", "https://as.example"], 8, "203.0.113.9:8377"),
        (["token"], 8, "AFFIANT_CREDENTIALS"),
        (["token", "-c", "nowhere.json"], 3, "nowhere.json"),
        (["client", "show", "billing"], 3, "affiant-data: give the server's data folder with --data"),
        (["client", "new", "a b"], 8, "1 to 256"),
        (["serve", "--port", "0", "--data", "/proc/nowhere"], 3, "--data"),
        (["serve", "--issuer", "http://as.example"], 8, "https://"),
        (["serve", "--port", "99999"], 8, "--port: write a whole number from 0 to 65535, not '99999'"),
        (["inspect", "no.jwt"], 8, "not a signed JWT"),
        (["client", "new", "z", "--auth", "client_secret_basic", "--alg", "ES256"], 8, "no algorithm"),
    ],
)
def test_mistakes_give_one_line(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    """One line says what is wrong, perhaps others where to look or read more; no mistake gives a traceback."""
    for name, mode in (("file", 0o600), ("open.json", 0o644), ("broken.json", 0o600)):
        (tmp_path / name).touch(mode)
    (tmp_path / "loop").symlink_to("loop")
    done = run(tmp_path, *words)
    assert done.returncode == code, done.stderr
    first, *more = [line for line in done.stderr.splitlines() if not line.startswith("affiant: made ")]
    assert says.lower() in first.lower()
    assert all(line.startswith(("See: ", "  AFFIANT_", "  $", "  /")) for line in more), more
    as_json = run(tmp_path, *words, "--json")
    assert json.loads(as_json.stdout)["error"]["exit_code"] == as_json.returncode == code


@pytest.mark.parametrize("words", [["client", "list"], ["serve", "--port", "0"], ["audit", "verify"], ["settings"]])
def test_a_settings_file_that_cannot_be_read_is_no_broken_audit_log(tmp_path: Path, words: list[str]) -> None:
    """It was a traceback with exit code 1, which is what `audit verify` ends with when the log is broken."""
    (tmp_path / "affiant.toml").write_text("port = \n")
    done = run(tmp_path, *words)
    says = f"affiant: {tmp_path / 'affiant.toml'}, line 1, column 8: Invalid value\n"
    assert (done.returncode, done.stderr, done.stdout) == (8, says, "")
    as_json = run(tmp_path, *words, "--json")
    assert json.loads(as_json.stdout)["error"]["exit_code"] == as_json.returncode == 8


def _as_anyone() -> tuple[str, ...]:
    """What takes root's power over modes away, where the tests run as root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may read and write anything")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search")


@pytest.mark.parametrize(
    ("closed", "mode", "words", "says"),
    [
        ("sealed.affiant.json", 0o000, ["token", "-c", "sealed.affiant.json"], "sealed.affiant.json"),
        ("affiant-data", 0o000, ["client", "list"], "affiant-data"),
        ("affiant-data/master.key", 0o000, ["client", "list"], "master.key"),
        (
            ".",
            0o500,
            ["api", "new", "a", "--identifier", "https://a.example", "--scope", "x", "--data", "new"],
            "--data",
        ),
        (".", 0o500, ["client", "new", "other"], "other.affiant.json"),
    ],
)
def test_what_may_not_be_used_is_named(tmp_path: Path, closed: str, mode: int, words: list[str], says: str) -> None:
    """Exit 7 where the file system says no, with the name of what it is about."""
    before = _as_anyone()
    assert run(tmp_path, "client", "new", "sealed").returncode == 0
    (tmp_path / closed).chmod(mode)
    try:
        done = _run(tmp_path, *words, before=before)
    finally:
        (tmp_path / closed).chmod(0o700)
    assert done.returncode == 7, done.stderr
    (line,) = done.stderr.splitlines()
    assert says in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own files for others: run as root")
@pytest.mark.parametrize("words", [["client", "list"], ["serve", "--port", "0"], ["db", "check"]])
def test_the_files_of_another_user_are_named_with_their_owner(tmp_path: Path, words: list[str]) -> None:
    assert run(tmp_path, "client", "new", "first").returncode == 0
    for path in (*(tmp_path / "affiant-data").iterdir(), tmp_path / "affiant-data"):
        os.chown(path, 65534, 65534)
    done = _run(tmp_path, *words, before=_as_anyone())
    assert done.returncode == 7, done.stderr
    (line,) = done.stderr.splitlines()
    assert "affiant-data belongs to nobody and this process runs as root: run it with  sudo -u nobody" in line


@pytest.mark.parametrize(("words", "heading"), [([], "Server:"), (["client"], "Commands:"), (["api"], "Commands:")])
def test_no_verb_lists_the_verbs(tmp_path: Path, words: list[str], heading: str) -> None:
    """Asking what there is is no mistake."""
    done = run(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert heading in done.stdout


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk is an error; a reader that has gone is none."""
    assert run(tmp_path, "client", "new", "first").returncode == 0
    words = (sys.executable, "-m", "affiant.cli.main", "client", "list")
    full = subprocess.run(["sh", "-c", '"$@" > /dev/full', "-", *words], cwd=tmp_path, capture_output=True, check=False)
    assert full.returncode == 8
    assert len(full.stderr.splitlines()) == 1
    gone = subprocess.run(["sh", "-c", '"$@" | true', "-", *words], cwd=tmp_path, capture_output=True, check=False)
    assert gone.stderr == b""


def test_jwt_from_standard_input_need_not_be_text(tmp_path: Path) -> None:
    """Bytes that are no text are no JWT, and nothing else."""
    command = [sys.executable, "-m", "affiant.cli.main", "inspect", "-"]
    done = subprocess.run(command, cwd=tmp_path, input=b"\xff\xfe", capture_output=True, check=False)
    assert done.returncode == 8
    assert len(done.stderr.splitlines()) == 1


def test_taken_port(server: Server, tmp_path: Path) -> None:
    """A port that is taken is named."""
    done = run(tmp_path, "serve", "--port", str(server.port))
    assert done.returncode == 8
    assert f"127.0.0.1:{server.port}" in done.stderr


def test_refusal_is_told(server: Server) -> None:
    """What the server refuses is printed with its trace."""
    server.affiant("client", "new", "narrow", "--scope", "orders.read")
    done = server.run("token", "-c", "narrow.affiant.json", "--scope", "orders.write")
    assert done.returncode == 4
    assert "invalid_scope" in done.stderr
    assert "trace" in done.stderr


def test_credentials_are_private(server: Server) -> None:
    """The file is 0600; one that others may read is refused; the secret is in no listing."""
    made = server.affiant("client", "new", "closed", "--auth", "client_secret_post")
    path = server.folder / "closed.affiant.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made["client_secret"] not in json.dumps(server.affiant("client", "list"))
    path.chmod(0o644)
    assert "chmod 600" in server.run("token", "-c", str(path)).stderr


def test_client_without_server(tmp_path: Path) -> None:
    """Client and api commands need no running server."""
    assert run(tmp_path, "api", "new", "a", "--identifier", "https://a.example").returncode == 0
    assert run(tmp_path, "client", "new", "c").returncode == 0
    assert "c  private_key_jwt" in run(tmp_path, "client", "list").stdout
    assert run(tmp_path, "client", "new", "c").returncode == 8


def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(server: Server) -> None:
    server.affiant("client", "new", "mistypable", "--scope", "orders.read")
    for words in (("client", "show", "mistpyable"), ("client", "disable", "mistypabel")):
        done = server.run(*words)
        assert (done.returncode, "did you mean mistypable?" in done.stderr) == (3, True), done.stderr
    assert "did you mean orders?" in server.run("api", "update", "ordres", "--scope", "orders.read").stderr
    assert "did you mean" not in server.run("client", "show", "zzzzzzzz").stderr
