"""`affiant completion`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from affiant.cli.output import json_option, show
from affiant.cli.shell import offers
from affiant.cli.shell.scripts import SCRIPTS
from affiant.client.credentials.file import put_private
from affiant.errors import ConfigError
from affiant.system.files import base_folder

# Under which variable, or else where in the home folder, each shell looks, and the name of the file.
_PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/affiant"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "zsh/site-functions/_affiant"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/affiant.fish"),
}
_NEXT = {
    "bash": "new shells load it, with the package bash-completion",
    "zsh": "put this line before compinit into ~/.zshrc:  fpath=({folder} $fpath)",
    "fish": "new shells load it",
}


@click.command()
@click.argument("shell", type=click.Choice(list(SCRIPTS)), required=False)
@click.option("--install", is_flag=True, help="write the script to where this user's shell looks")
@json_option()
def completion(shell: str | None, install: bool) -> None:
    """Print the script that does it. Without a shell, it is the one in SHELL.

    \b
    affiant completion bash --install
    source <(affiant completion bash)        this shell only

    The script has every command and option in it: the Tab key starts no program. Make it again after an upgrade.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in SCRIPTS:
        raise click.UsageError(f"name the shell: affiant completion {'|'.join(SCRIPTS)}")
    root = click.get_current_context().find_root().command
    script = SCRIPTS[shell](offers.build(root), offers.paths(root))
    if not install:
        show({"shell": shell, "script": script}, *script.splitlines())
        return
    path = _place(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    put_private(path, script, put=os.replace)
    show({"shell": shell, "file": str(path)}, f"{path}: {_NEXT[shell].format(folder=path.parent)}")


def _place(shell: str) -> Path:
    variable, below_home, name = _PLACES[shell]
    base = base_folder(variable, below_home)
    if base is None:
        raise ConfigError(f"neither {variable} nor HOME is set: print the script, and write it where it belongs")
    return base / name
