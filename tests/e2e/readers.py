"""Run the commands of the pages in docs/how-to/federation, all on one server, as a reader would.

Nothing is fetched: each command gets the keys of its platform from a file.
"""

import contextlib
import io
import json
import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.platforms import builds, clouds, kubernetes
from tests.platforms.issuer import Issuer, signed
from tests.platforms.token import AUDIENCE, Token
from tests.platforms.traps import GOOD
from tests.process import Server

from affiant.cli.main import main
from affiant.oauth import names
from affiant.server.registry.directory import FRESH_SECONDS

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "federation"
ISSUER = "https://issuer.example"
GENERIC = Token("generic", ISSUER, {"iss": ISSUER, "sub": "build:42", "aud": AUDIENCE}, f"{ISSUER}/jwks")
# Audiences of tokens of jobs that ask for one for this server; two platforms have a usual one.
ASKED = (AUDIENCE, builds.CIRCLECI_ORGANIZATION, builds.BITBUCKET_AUDIENCE)
# The audience is that of the app registration, or of the team: jobs there ask for no other.
OWN_AUDIENCE = {"entra": "api://affiant", "vercel": "https://vercel.com/acme"}


def commands(page: str) -> list[list[str]]:
    """The commands of a page that add a trust."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (PAGES / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("affiant trust add")]


def run(words: list[str]) -> Any:
    """Run a command of a reader, and return the data that it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    document = json.loads(said.getvalue())
    assert ended.value.code == 0, document
    return document["data"]


def good(preset: str) -> Token:
    """The token of the right workload."""
    if preset == "generic":
        return GENERIC
    return kubernetes.pod(issuer=kubernetes.eks()) if preset == "kubernetes" else GOOD[preset].token


def keys_of(preset: str) -> dict[str, Any]:
    """The keys of the issuer; AWS has two algorithms."""
    return Issuer.of(good(preset), *([clouds.aws(alg="ES384")] if preset == "aws" else [])).jwks


def asked(token: Token, audience: str) -> str:
    """The token, signed now, of a job that asks for one for this audience."""
    aud = token.at("/aud")
    found = [audience if one in ASKED else one for one in (aud if isinstance(aud, list) else [aud])]
    return signed(token.changed({"/aud": found if isinstance(aud, list) else found[0]}), time.time())


class Readers:
    """One server with the trust, rule and service of each page."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made: dict[str, Any] = {}

    def follow_all(self, presets: Iterable[str]) -> None:
        """Follow the pages of these, until the server sees what they registered."""
        with contextlib.chdir(self.server.folder):
            (self.server.folder / "cluster-b.json").write_text(json.dumps(Issuer.of(kubernetes.pod()).jwks))
            for preset in presets:
                (self.server.folder / f"{preset}.json").write_text(json.dumps(keys_of(preset)))
                self._follow(preset)
        time.sleep(1.2 * FRESH_SECONDS)  # until the server looks again at what is registered

    def _follow(self, preset: str) -> None:
        first, *more = commands(preset)
        for words, name in ((first, preset), *((words, f"{preset}-b") for words in more)):
            mine = list(words)
            mine[mine.index("--new-client") + 1] += f"-{name}"  # pages have the same names
            if "--bundle" in mine:
                del mine[mine.index("--bundle") : mine.index("--bundle") + 2]
            if "--jwks" not in mine:
                mine += ["--jwks", f"{preset}.json"]
            self.made[name] = run([*mine, "--data", str(self.server.data)])

    def sent(self, token: Token) -> tuple[int, Any]:
        """The answer to a token of a job that asks for one of this server."""
        text = asked(token, self.server.issuer)
        reply = self.server.token(grant_type=names.JWT_BEARER, assertion=text)
        return reply.status_code, reply.json()
