"""`affiant helper git`: a credential helper of git (gitcredentials(7), git-credential(1))."""

from __future__ import annotations

import click

from affiant.cli.tokens.helper.holder import Holder, holder_options, read_question


@click.command()
@click.argument("action")
@holder_options
def git(holder: Holder, action: str) -> None:
    """Answer git, as its credential helper.

    ACTION is what git adds: get, store or erase.

    \b
    git config credential.https://git.example.helper \\
    '!affiant helper git -c billing.affiant.json --host git.example'

    The token is the password. Where the server asks for Bearer, git 2.46 and newer send it as that. After a refusal,
    the next command gets a new token.
    """
    asked = _parse(read_question())
    host = f"{_one(asked, 'protocol')}://{_one(asked, 'host')}"
    wanted = _one(asked, "username")
    if not holder.serves(host) or (wanted and holder.named and wanted != holder.named):
        return
    if action == "get":
        click.echo("\n".join(_answer(holder, asked)))
    elif action == "erase":
        holder.forget(_one(asked, "credential") or _one(asked, "password"))


def _answer(holder: Holder, asked: dict[str, list[str]]) -> list[str]:
    token = holder.token()
    end = f"password_expiry_utc={int(token.expires_at)}"
    may_bearer = "authtype" in asked.get("capability[]", ())
    if may_bearer and any(one.lower().startswith("bearer") for one in asked.get("wwwauth[]", ())):
        return ["capability[]=authtype", "authtype=Bearer", f"credential={token.value}", end]
    return [f"username={_one(asked, 'username') or holder.username}", f"password={token.value}", end]


def _parse(text: str) -> dict[str, list[str]]:
    """Return the values of each name, up to the first empty line."""
    found: dict[str, list[str]] = {}
    for line in text.partition("\n\n")[0].split("\n"):
        name, _, value = line.partition("=")
        found.setdefault(name, []).append(value)
    return found


def _one(asked: dict[str, list[str]], name: str) -> str:
    return asked.get(name, [""])[-1]
