"""`affiant db`: a backup while the server runs, and no second use of an assertion after it was put back."""

from tests.process import Server

from affiant import testing


def test_restore_makes_nothing_usable_again(lone_server: Server) -> None:
    """The assertion was used after the backup, which therefore does not know its jti."""
    server = lone_server
    server.affiant("client", "new", "kept", "--scope", "orders.read")
    used = testing.form(server.assertion("kept", lifetime=300))
    server.affiant("db", "backup", "copy.db")
    assert server.token(**used).status_code == 200
    while_running = server.run("db", "restore", "copy.db")
    assert (while_running.returncode, "stop the server first" in while_running.stderr) == (8, True)
    server.stop()
    server.affiant("db", "restore", "copy.db")
    server.start()
    refused = server.token(**used)
    assert (refused.status_code, refused.json()["error_uri"].rpartition("/")[2]) == (401, "assertion.before_restore")
    assert server.run("audit", "verify").returncode == 0
    assert server.run("db", "check").returncode == 0


def test_a_damaged_database_is_not_served(lone_server: Server) -> None:
    """One line says what to do."""
    for number in range(3):
        lone_server.affiant("client", "new", f"client-{number}", "--scope", "orders.read")
    lone_server.stop()
    path = lone_server.folder / "affiant-data" / "affiant.db"
    with path.open("r+b") as file:
        for place in range(4096, path.stat().st_size, 4096):
            file.seek(place)
            file.write(b"\xff" * 64)
    for words in (("serve", "--port", str(lone_server.port)), ("db", "check")):
        done = lone_server.run(*words)
        assert done.returncode == 8, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "affiant db restore" in done.stderr


def test_mistakes(server: Server) -> None:
    for words, code in (
        (("db", "backup", "/nowhere/copy.db"), 3),
        (("db", "restore", "missing.db"), 8),
        (("db", "check", "--data", "nothing"), 3),
        (("db",), 0),
    ):
        done = server.run(*words)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
