"""The lines of docs/reference/cli.md by which a shell completes the words of `affiant`, in the shells themselves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from reference.cli import COMPLETION

# What the Tab key would do after `affiant aud`; each shell prints what it would offer.
TAB = {
    "bash": """compopt() { :; }
        COMP_WORDS=(affiant aud) COMP_CWORD=1
        set -- $(complete -p affiant)
        while [[ $1 != -F ]]; do shift; done
        "$2" affiant; echo "${COMPREPLY[@]}" """,
    "zsh": """_describe() { print -l -- "${(@P)3}" }
        words=(affiant aud) CURRENT=2
        $_comps[affiant]""",
    "fish": "complete -C 'affiant aud'",
}
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit && compinit -u -D", "fish": ""}
PLAIN = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}


@pytest.mark.parametrize("shell", COMPLETION)
def test_shell_completes_a_command(shell: str, tmp_path: Path) -> None:
    """The line is run as the page says it, and the shell then offers the one command that begins so."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: the line of the page for it is not tried")
    script = "\n".join([BEFORE[shell], COMPLETION[shell][1], TAB[shell]])
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [program, *PLAIN[shell], "-c", script],
        env=environment,
        cwd=tmp_path,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    # zsh prints the summary of a command behind its name.
    assert done.stdout.split()[0].partition(":")[0] == "audit", done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
