"""A job of a platform that shows its token, and the person who changes it as the messages say."""

import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import yaml
from tests.platforms import builds, github, gitlab, kubernetes
from tests.platforms.issuer import Issuer, key
from tests.platforms.token import Token
from tests.zoo.caller import Request
from tests.zoo.platforms import Mistake

from affiant import testing
from affiant.oauth import names

_AUDIENCE = re.compile(r"""(?:getIDToken\(|aud(?:ience)?s?[":]*[ =:{\[]+)"?(https?://[^"\s})\]]+)""")


def issuer_of(mistake: Mistake) -> Issuer:
    """The keys of the platform, for every algorithm of its tokens here."""
    good = mistake.good.token
    algs = sorted({good.alg, mistake.sent.alg})
    return Issuer(good.issuer, good.keys_at, [key(good.issuer, alg) for alg in algs])


@dataclass
class Job:
    """The job, with the changes since its mistake.

    Attributes:
        mistake: what is wrong.
        clock: of the server.
        platform: whose keys sign.
        token: what the platform writes.
        made: when.
        form: parameters on top of the usual ones.
        lines: of Python, which change the request.
        keeps: whether it keeps its access token in place of a second exchange.
    """

    mistake: Mistake
    clock: testing.Clock
    platform: Issuer
    token: Token = field(init=False)
    made: float = field(init=False)
    form: dict[str, str | None] = field(init=False)
    carrier: str = field(init=False)
    lines: list[str] = field(default_factory=list)
    keeps: bool = False

    def __post_init__(self) -> None:
        self.token, self.form, self.carrier = self.mistake.sent, dict(self.mistake.form), self.mistake.carrier
        self.made = self.clock.now - self.mistake.late
        self._text = self.platform.sign(self.token, self.made)

    @property
    def text(self) -> str:
        return self._text

    def build(self) -> Request:
        """The request, with the changes typed since."""
        grant = names.JWT_BEARER if self.carrier == "assertion" else names.CLIENT_CREDENTIALS
        form: dict[str, Any] = {"grant_type": grant}
        if grant == names.CLIENT_CREDENTIALS:
            form["client_assertion_type"] = names.JWT_BEARER_ASSERTION_TYPE
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.mistake.header:
            headers["Authorization"] = f"Bearer {self._text}"
            del form["client_assertion_type"]
        else:
            form[self.carrier] = self._text
        form |= self.form
        for line in self.lines:
            exec(line, {"form": form, "headers": headers, "token": self._text})
        sent = {name: value for name, value in form.items() if value is not None}
        return Request("POST", f"{testing.ISSUER}/token", headers, urlencode(sent))

    def change(self, line: str) -> None:
        """Change the job as this line of its configuration or program says."""
        if line.startswith(("form[", "headers.")):
            self.lines.append(line)
        elif line.startswith("Keep the access token"):
            self.keeps = True
        else:
            self.token = self._changed(line)
            self.run_again()

    def run_again(self) -> None:
        """The platform writes another token."""
        self.made = self.clock.now
        self._text = self.platform.sign(self.token, self.made)

    def _changed(self, line: str) -> Token:
        if line.startswith("affiant token --from"):
            token = self.mistake.good.token if "nonce" in self.token.claims else self.token
            return token.changed({"/aud": testing.ISSUER})
        if line == "permissions: {id-token: write}":
            self.form = {}
            return self.token
        if line == "Run the job again without SSH.":
            return builds.circleci()
        if (found := _AUDIENCE.search(line)) is not None and not line.startswith("serviceAccountToken"):
            return self.token.changed({"/aud": found[1]})
        return _of_yaml(yaml.safe_load(line), self.token)


def _of_yaml(wanted: dict[Any, Any], token: Token) -> Token:
    """The token of a job with this part of its configuration."""
    ((name, value),) = wanted.items()
    if name == "environment":
        return github.job(github.Run("workflow_dispatch", environment=value))
    if name is True:  # `on` is a truth of YAML 1.1
        return github.job(github.Run("push", ref=f"refs/heads/{value['push']['branches'][0]}"))
    if name == "rules":
        assert value[0]["if"] == '$CI_COMMIT_REF_PROTECTED == "true"'
        return gitlab.job()
    if name == "serviceAccountName":
        return kubernetes.pod(replace(kubernetes.ORDERS, name=value))
    assert name == "serviceAccountToken"
    return kubernetes.pod(audiences=(value["audience"],), lifetime=value["expirationSeconds"])
