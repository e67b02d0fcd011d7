"""`affiant`: find the command, and turn every failure into one clear line and an exit code.

Exit codes: 0 done, 1 the audit log is broken or `affiant doctor` found a fault, 2 usage, 3 not found, 4 refused by the
server or the API, 5 network, 6 what is registered is not what the file says, 7 permission, 8 configuration, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import gc
import inspect
import sys
from functools import cache
from importlib import import_module
from typing import Any

from affiant.cli import NOT_INSTALLED

try:
    import click
except ModuleNotFoundError:
    sys.exit(NOT_INSTALLED)

from affiant import __version__, errors
from affiant.cli.arguments import hide_secrets, usage_message, with_thumbprints
from affiant.cli.output import Answered, show_error
from affiant.system.text import printable

# Every command by its group in the help: its module and its summary, here so that the help loads no command.
# The docstring of the command continues after the summary.
GROUPS = {
    "Server": {
        "serve": ("server.serve", "Start the authorization server."),
        "guard": ("server.guard", "Guard an API from behind a proxy."),
        "settings": ("server.settings", "List the settings and their sources."),
        "db": ("server.db", "Back up, restore, check or migrate the data."),
        "signing-key": ("server.signing_key", "Manage the keys that sign access tokens."),
    },
    "Registry": {
        "client": ("registry.client", "Manage services that may ask for tokens."),
        "team": ("registry.team", "Manage teams, which own services."),
        "api": ("registry.api", "Manage APIs that accept tokens."),
        "trust": ("registry.trust.group", "Take the tokens of platforms."),
        "rule": ("registry.trust.rule", "Say for which service a token speaks."),
        "invitation": ("registry.registration.invitation", "Let services register themselves."),
        "register": ("registry.registration.register", "Register this machine at a server."),
        "enroll": ("workload.enroll", "Register this machine with a ticket."),
        "plan": ("registry.manifest.commands", "Show what `affiant apply` would change."),
        "apply": ("registry.manifest.commands", "Register what a file says."),
        "export": ("registry.manifest.export", "Print the registry as such a file."),
        "grants": ("registry.grants", "List what each client may ask for."),
    },
    "Tokens": {
        "token": ("tokens.token", "Print an access token."),
        "call": ("tokens.call", "Call an API with a token."),
        "agent": ("workload.agent", "Keep a token file fresh."),
        "helper": ("tokens.helper.group", "Answer git, docker, pip or kubectl."),
        "proxy": ("workload.proxy", "Add tokens to the requests of programs."),
        "key": ("tokens.key", "Make, show and rotate a service's keys."),
        "who": ("tokens.who", "Show which credentials are used, and why."),
        "assertion": ("tokens.token", "Print a signed client assertion."),
    },
    "Diagnose": {
        "doctor": ("diagnosis.doctor", "Find what is wrong with a client or a server."),
        "explain": ("diagnosis.explain", "Explain why a request is refused."),
        "verify": ("diagnosis.verify", "Check an access token as a guard would."),
        "inspect": ("diagnosis.inspect", "Show what a JWT says."),
        "demo": ("diagnosis.demo", "Show every step on this machine."),
    },
    "Operate": {
        "audit": ("operations.audit", "Read, verify and export the audit log."),
        "issued": ("operations.revoke", "List the tokens that were issued."),
        "revoke": ("operations.revoke", "End tokens before they expire."),
        "master-key": ("operations.master_key", "Show and rotate the master key."),
        "admin": ("operations.admin", "Manage who may administer the server."),
        "console": ("operations.console.group", "Sign people in to the console."),
    },
    "Shell": {
        "completion": ("shell.completion", "Complete commands by the Tab key."),
        "man": ("shell.man", "Print a manual page."),
    },
}
COMMANDS = {name: found for group in GROUPS.values() for name, found in group.items()}
_LONG_LIVED = ("serve", "guard", "demo", "agent", "proxy")  # long pauses for garbage would be felt here
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class _Lazy(click.Group):
    """Load a command's module when it is called: `$(affiant token)` must not wait for the server's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group, commands in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name, summary) for name, (_, summary) in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:  # click knows only commands that are loaded
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _load(cmd_name) if cmd_name in COMMANDS else None


@cache
def _load(name: str) -> click.Command:
    if name not in _LONG_LIVED:
        # Importing creates many objects and drops few: garbage collections are a fifth of a command's time.
        gc.set_threshold(100_000)
    module, summary = COMMANDS[name]
    try:
        found = import_module(f"affiant.cli.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("affiant"):
            raise
        raise errors.ConfigError(f"affiant {name} needs {error.name}: pip install 'affiant[server]'") from error
    command: click.Command = getattr(found, name.replace("-", "_"))
    command.help = f"{summary}\n\n{inspect.cleandoc(command.help or '')}".rstrip()
    return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="affiant")
def affiant() -> None:
    """Let one service prove to another who it is.

    \b
    affiant demo                    every step, on this machine
    affiant serve                   start the authorization server
    affiant client new billing      register a service
    affiant token -c billing.affiant.json
    """


def main(arguments: list[str] | None = None, *, failure: BaseException | None = None) -> None:
    """Run the command and exit with its exit code; after a failure, only report it."""
    words = _with_help(sys.argv[1:] if arguments is None else arguments)
    code: Any = 0
    try:
        code = _work(words, failure) or 0
    except click.exceptions.Abort as stop:
        _fail("stopped", 130, words, error=stop)
    except KeyboardInterrupt:  # where click does not look
        _fail("stopped", 130, words)
    except click.exceptions.NoArgsIsHelpError as error:  # `affiant client` asks for its help: no mistake
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(usage_message(error, words), 2, words, hint=_help_line(error))
    except errors.Error as error:
        _fail(hide_secrets(str(error)), exit_code(error), words, error=error)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:  # such as an invalid file name or a full disk
        _fail(hide_secrets(f"{error.filename or 'output'}: {error.strerror}"), _code_of(error) or 8, words)
    sys.exit(code if isinstance(code, int) else 0)


def _work(words: list[str], failure: BaseException | None) -> Any:
    if failure is not None:
        raise failure
    _check_text(words)
    return affiant.main(with_thumbprints(words), prog_name="affiant", standalone_mode=False)


def _with_help(words: list[str]) -> list[str]:
    """Turn `affiant help client new` into `affiant client new --help`."""
    return [*words[1:], "--help"] if words[:1] == ["help"] else words


def _check_text(words: list[str]) -> None:
    """Reject arguments that are not text: Python passes their bytes on as halves of surrogate pairs."""
    for place, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:  # the word may be a secret
            raise click.UsageError(f"argument {place} is not text in UTF-8") from None


def exit_code(error: errors.Error) -> int:
    if code := _code_of(error.__cause__):
        return code
    if type(error).__name__ == "NotFound":
        return 3
    if isinstance(error, errors.Refused | Answered):
        return 4
    return 5 if isinstance(error, errors.RemoteError) else 8


def _code_of(error: BaseException | None) -> int | None:
    if not isinstance(error, OSError):
        return None
    return 7 if error.errno in _DENIED else 3 if error.errno == errno.ENOENT else None


def _help_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    see = f"See: {context.command_path} --help"
    # One kid of 64 begins with a hyphen: a thumbprint is base64url.
    takes_names = any(isinstance(parameter, click.Argument) for parameter in context.command.params)
    if isinstance(error, click.NoSuchOption) and not error.option_name.startswith("--") and takes_names:
        see += "\nA name that begins with a hyphen goes after two:  -- -NAME"
    return see


def _fail(message: str, code: int, words: list[str], *, hint: str = "", error: Exception | None = None) -> None:
    if "--json" in words:
        show_error(message, code, error)
    else:
        text = "\n".join([f"affiant: {message}", *getattr(error, "__notes__", ())])
        # Attack: a server has names with control characters, and a message quotes them to the terminal.
        print("\n".join(map(printable, text.split("\n"))), file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
        if isinstance(error, errors.Refused) and error.error_uri:
            print(f"Explained at: {error.error_uri}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    from affiant.cli.entry import main as enter

    enter()
