"""`affiant completion` in the shells themselves: what the Tab key offers, without starting `affiant`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from reference.cli import commands
from tests.process import run

from affiant.cli.shell import tree
from affiant.cli.shell.scripts import SCRIPTS

# Prints what the shell would offer after the words: one word in a line, its meaning behind a colon or a tab.
TAB = {
    "bash": """compopt() { echo "files: $2"; }
        tab() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _affiant; [[ -z ${COMPREPLY[*]} ]] || printf '%s\\n' "${COMPREPLY[@]}"; }""",
    "zsh": """_describe() { print -l -- ${(M)${(@P)3}:#${words[CURRENT]}*} }
        _files() { echo "files: $1" }
        tab() { words=("$@") CURRENT=$#; _affiant }""",
    "fish": "function tab; set -l at (string join ' ' -- $argv); complete -C \"$at\"; end",
}
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit && compinit -u -D", "fish": ""}
PLAIN = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}
PLACES = {  # of one user
    "bash": ".local/share/bash-completion/completions/affiant",
    "zsh": ".local/share/zsh/site-functions/_affiant",
    "fish": ".config/fish/completions/affiant.fish",
}


class Shell:
    """A shell that has read the installed script, in a folder with one file, `file.pem`. No `affiant` is on its PATH."""

    def __init__(self, name: str, home: Path) -> None:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"{name} is not installed: its completion is not tried")
        self.name, self.home, self.program = name, home, program
        done = run(home, "completion", name, "--install", HOME=str(home), XDG_DATA_HOME="", XDG_CONFIG_HOME="")
        assert done.returncode == 0, done.stderr
        self.script = home / PLACES[name]
        (home / "file.pem").touch()

    def tabs(self, *lines: str) -> list[list[str]]:
        """Return the words that are offered after each of these lines."""
        asked = "\n".join(f"tab {line}; echo '=='" for line in lines)
        script = "\n".join([BEFORE[self.name], f"source {self.script}", TAB[self.name], asked])
        done = subprocess.run(
            [self.program, *PLAIN[self.name], "-c", script],
            env={**os.environ, "HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            cwd=self.home,
            timeout=60,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        found = done.stdout.split("==\n")[:-1]
        assert len(found) == len(lines)
        return [[line.partition("\t")[0] for line in part.splitlines() if line] for part in found]


@pytest.fixture(params=SCRIPTS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def test_tab_offers_every_command_and_option(shell: Shell) -> None:
    wanted = {}
    for context, command in commands():
        below = [str(child.info_name) for child, _ in tree.children(context, command)]
        options = [name for one in command.get_params(context) if one.param_type_name == "option" for name in one.opts]
        wanted[f"{context.command_path} -"] = options
        if below:
            wanted[f"{context.command_path} ''"] = below
    found = dict(zip(wanted, shell.tabs(*wanted), strict=True))
    for line, names in wanted.items():
        assert sorted(_word(one) for one in found[line]) == sorted(names), line


def test_tab_completes_what_was_begun(shell: Shell) -> None:
    begun, alg, file, nothing = shell.tabs(
        "affiant aud", "affiant key new --alg ES2", "affiant token -c fi", "affiant token --scope x"
    )
    assert [_word(one) for one in begun] == ["audit"]
    assert [_word(one) for one in alg] == ["ES256"]
    assert file == (["file.pem"] if shell.name == "fish" else [f"files: {'default' if shell.name == 'bash' else ''}"])
    assert nothing == []


def test_shell_of_the_user_is_meant(tmp_path: Path) -> None:
    named, unnamed = (run(tmp_path, "completion", SHELL=shell) for shell in ("/usr/bin/zsh", "/bin/dash"))
    assert named.stdout.startswith("#compdef affiant\n")
    assert (unnamed.returncode, unnamed.stderr.splitlines()[0]) == (
        2,
        "affiant: name the shell: affiant completion bash|zsh|fish",
    )


def _word(offered: str) -> str:
    """The word without what zsh prints behind it."""
    return offered.partition(":")[0]
