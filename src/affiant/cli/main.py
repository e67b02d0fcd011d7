"""`affiant`: finds the command, and turns every failure into one clear line and an exit code.

Exit codes: 0 done, 1 the audit log is broken, 2 usage, 3 not found, 4 refused by the server or the API, 5 network,
6 what is registered is not what the file says, 7 permission, 8 configuration, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import gc
import sys
from importlib import import_module
from typing import Any

try:
    import click
except ModuleNotFoundError:  # the client and the guard install without it
    sys.exit("The command line is not installed: pip install 'affiant[cli]' (or 'affiant[server]' for the server)")

from affiant import __version__, errors
from affiant.cli.arguments import hide_secrets, usage_message, with_thumbprints
from affiant.cli.output import Answered, show_error

COMMANDS = {
    "serve": "affiant.cli.server.serve:serve",
    "client": "affiant.cli.registry.client:client",
    "api": "affiant.cli.registry.api:api",
    "invitation": "affiant.cli.registry.invitation:invitation",
    "register": "affiant.cli.registry.register:register",
    "signing-key": "affiant.cli.server.signing_key:signing_key",
    "plan": "affiant.cli.registry.manifest.commands:plan",
    "apply": "affiant.cli.registry.manifest.commands:apply",
    "export": "affiant.cli.registry.manifest.export:export",
    "grants": "affiant.cli.operations.issued:grants",
    "issued": "affiant.cli.operations.issued:issued",
    "revoke": "affiant.cli.operations.revoke:revoke",
    "key": "affiant.cli.tokens.key_pair:key",
    "token": "affiant.cli.tokens.token:token",
    "assertion": "affiant.cli.tokens.token:assertion",
    "call": "affiant.cli.tokens.call:call",
    "inspect": "affiant.cli.diagnosis.inspect:inspect",
    "explain": "affiant.cli.diagnosis.explain:explain",
    "admin": "affiant.cli.operations.admin:admin",
    "settings": "affiant.cli.server.settings:settings",
    "audit": "affiant.cli.operations.audit:audit",
    "db": "affiant.cli.server.db:db",
    "demo": "affiant.cli.diagnosis.demo.command:demo",
}
# The list in `affiant --help`, by what one wants to do. It stands here so that the help loads no command.
GROUPS = {
    "Server": {
        "serve": "start the authorization server",
        "settings": "list the settings and their sources",
        "db": "back up, restore, check, migrate",
        "signing-key": "list, rotate and revoke the server's keys",
    },
    "Registry": {
        "client": "manage services that may ask for tokens",
        "api": "manage APIs that tokens are for",
        "invitation": "let services register themselves",
        "register": "register this machine at a server",
        "plan": "show what `apply` would change",
        "apply": "register what a file says",
        "export": "print what is registered as such a file",
        "grants": "list what each client may ask for",
    },
    "Tokens": {
        "token": "print an access token",
        "call": "call an API with a token",
        "key": "make and rotate a service's own keys",
        "assertion": "print a signed client assertion",
    },
    "Diagnose": {
        "explain": "say why a request was refused",
        "inspect": "show what a JWT says",
        "demo": "show every step on this machine",
    },
    "Operate": {
        "audit": "read, verify and export the audit log",
        "issued": "list the tokens that were issued",
        "revoke": "end tokens before their time",
        "admin": "manage who may administer the server",
    },
}
# The same for commands of a group, where a command's first sentence is longer than a line of help.
SUMMARIES = {
    "client check": "list services that strict rules would stop",
    "client disable": "refuse a service and end its tokens",
    "client key": "manage a service's public keys",
    "client key add": "add the next key",
    "client key cancel": "take the new key back",
    "client key list": "list the keys and their use",
    "client key revoke": "end a leaked key and its tokens",
    "client list": "list the services and their last use",
    "client new": "register services, write credentials files",
    "client remove": "remove a service and end its tokens",
    "client secret": "manage a service's secrets",
    "client secret new": "make the next secret",
    "client secret revoke": "end a leaked secret and its tokens",
    "client show": "show a service and its public keys",
    "api show": "show an API",
    "api update": "change an API",
    "invitation list": "list the invitations",
    "invitation revoke": "revoke an invitation",
    "signing-key list": "list the keys and their states",
    "signing-key remove": "remove a leaked key at once",
    "signing-key rotate": "announce the next key",
    "issued find": "find an access token by its jti",
    "issued refresh-tokens": "list valid refresh tokens",
    "issued revocations": "list what was revoked, newest first",
    "key cancel": "take an announced key back",
    "key list": "list the keys and their use",
    "key new": "make key pairs",
    "key put": "replace all public keys",
    "key retire": "retire another key",
    "key revoke": "end a leaked key and its tokens",
    "key rotate": "replace the key in the credentials file",
    "admin bootstrap": "register the first administrator",
    "admin grant": "give a client a role, or none",
    "audit export": "print records as JSON lines",
    "audit head": "print number and link of the newest record",
    "audit show": "show records, newest first",
    "audit verify": "check the chain of records",
    "db backup": "copy the database while the server runs",
    "db check": "look for damage in the database",
    "db migrate": "bring the database to this version",
    "db restore": "put a backup in place",
    "db restored": "say that it was restored by other means",
}
_STAYS = ("serve", "demo")  # they run for long, where pauses for a lot of garbage would be felt
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class _Lazy(click.Group):
    """Loads a command's module when it is called: `$(affiant token)` should not wait for the server's."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group, summaries in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl(list(summaries.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:  # click knows only commands that are loaded
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in _STAYS:
            # Importing makes much and drops little: looking for garbage meanwhile is a fifth of what a command takes.
            gc.set_threshold(100_000)
        module, name = COMMANDS[cmd_name].split(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("affiant"):
                raise
            raise errors.ConfigError(f"affiant {cmd_name} needs {error.name}: pip install 'affiant[server]'") from error
        _summarise(command, cmd_name)
        return command


def _summarise(command: click.Command, path: str) -> None:
    command.short_help = SUMMARIES.get(path, command.short_help)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _summarise(inner, f"{path} {name}")


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="affiant")
def affiant() -> None:
    """Let one service prove to another who it is.

    \b
    affiant demo                    the whole road, on this machine
    affiant serve                   start the authorization server
    affiant client new billing      register a service
    affiant token -c billing.affiant.json
    """


def main(arguments: list[str] | None = None) -> None:
    """Run, and leave with the exit code of what happened."""
    words = _with_help(sys.argv[1:] if arguments is None else arguments)
    code: Any = 0
    try:
        _check_text(words)
        code = affiant.main(with_thumbprints(words), prog_name="affiant", standalone_mode=False) or 0
    except click.exceptions.Abort as stop:
        _fail("stopped", 130, words, error=stop)
    except KeyboardInterrupt:  # where click does not look
        _fail("stopped", 130, words)
    except click.exceptions.NoArgsIsHelpError as error:  # `affiant client` asks what there is, and that is no mistake
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(usage_message(error, words), 2, words, hint=_help_line(error))
    except errors.Error as error:
        _fail(hide_secrets(str(error)), exit_code(error), words, error=error)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:  # a name that no file can have, a disk that is full: the system's own words
        _fail(hide_secrets(f"{error.filename or 'output'}: {error.strerror}"), _code_of(error) or 8, words)
    sys.exit(code if isinstance(code, int) else 0)


def _with_help(words: list[str]) -> list[str]:
    """`affiant help client new` asks what `affiant client new --help` does."""
    return [*words[1:], "--help"] if words[:1] == ["help"] else words


def _check_text(words: list[str]) -> None:
    """Every command may take its arguments for text: bytes that are none came as halves of surrogate pairs."""
    for place, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:  # the word itself is not shown: it may be a secret
            raise click.UsageError(f"argument {place} is not text in UTF-8") from None


def exit_code(error: errors.Error) -> int:
    """The exit code of this failure's class."""
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
    # One kid of 64 begins with a hyphen, as a thumbprint is base64url.
    takes_names = any(isinstance(parameter, click.Argument) for parameter in context.command.params)
    if isinstance(error, click.NoSuchOption) and not error.option_name.startswith("--") and takes_names:
        see += "\nA name that begins with a hyphen goes after two:  -- -NAME"
    return see


def _fail(message: str, code: int, words: list[str], *, hint: str = "", error: Exception | None = None) -> None:
    if "--json" in words:
        show_error(message, code, error)
    else:
        print("\n".join([f"affiant: {message}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
        if isinstance(error, errors.Refused) and error.error_uri:
            print(f"Explained at: {error.error_uri}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
