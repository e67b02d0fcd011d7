"""`affiant man`: the pages have every command, and no formatter warns of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from reference.cli import commands
from reference.pages import MANUAL

from affiant.cli import main
from affiant.cli.main import main as affiant
from affiant.cli.shell import roff


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Made by a process of its own: click keeps the help option of commands that other tests called by themselves."""
    program = "import json; from affiant.cli.shell import man; print(json.dumps(man.pages()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_pages_have_every_command_and_option(pages: dict[str, str]) -> None:
    for context, command in commands():
        page = pages["-".join(context.command_path.split()[:2]) + ".1"]
        assert f"\\fB{context.command_path}\\fP".replace("-", "\\-") in page
        for option in (one for one in command.params if isinstance(one, click.Option)):
            assert option.opts[-1].replace("-", "\\-") in page, (context.command_path, option.opts)
    assert len(pages) == len(main.COMMANDS) + 1


def test_pages_of_the_wheel_are_those_of_the_help(pages: dict[str, str]) -> None:
    kept = {path.name: path.read_text("utf-8") for path in MANUAL.iterdir()}
    assert kept == pages, "run: python -m reference"


def test_command_that_is_not_installed_names_its_extra() -> None:
    program = "import sys; sys.modules['pydantic'] = None; from affiant.cli.main import main; main(['man', 'client'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'affiant[server]'" in done.stderr) == (8, True), done.stderr


def test_pages_are_formatted_without_a_warning(pages: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed: the manual pages are not formatted")
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-c", *pages], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert "affiant token - Print an access token" in " ".join(done.stdout.split()).replace("affiant-", "affiant ")


def test_text_is_no_request_of_roff() -> None:
    @click.command(help=".so /etc/passwd\n\n'x \\fIy\\fP — z\n\n\b\n.de a\n  b-c")
    def affiant() -> None:
        pass

    (page,) = roff.pages(affiant, codes=".ab").values()
    assert "\n.so" not in page
    assert "\\&.so /etc/passwd" in page
    assert "\\&'x \\efIy\\efP \\[u2014] z" in page
    assert ".EX\n\\&.de a\n  b\\-c\n.EE" in page
    assert "\n\\&.ab\n" in page


def test_page_of_a_command_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["man", "key"], ["man", "key", "new"], ["man", "--to", str(tmp_path / "man1")]):
        with pytest.raises(SystemExit) as end:
            affiant(words)
        assert end.value.code == 0
    printed = capsys.readouterr().out
    written = (tmp_path / "man1" / "affiant-key.1").read_text("utf-8")
    assert printed.startswith(written * 2)


def test_unknown_command_has_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        affiant(["man", "nothing"])
    assert end.value.code == 2
    assert "there is no such command" in capsys.readouterr().err
