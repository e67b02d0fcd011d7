"""docs/how-to/outbound.md: stock SDKs give our tokens to services that verify them by discovery, with PyJWT."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests import npm
from tests.e2e.outbound.relying_party import RelyingParty, Trust
from tests.loopback import free_port
from tests.process import AFFIANT, Launch, Server

from affiant.server.keys.calendar import SEEN_SECONDS

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/outbound.md").read_text("utf-8")
PROJECT = Path(__file__).parent / "outbound"
INSTALL_SECONDS = 60
ROLE = "arn:aws:iam::111122223333:role/backup"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/acme/providers/affiant"


def code_of(heading: str, language: str) -> list[str]:
    """The blocks of this language below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def partner() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory, partner: str) -> Iterator[Server]:
    """A server on which every `api new` and `client new` of the page was run."""
    with Server(tmp_path_factory.mktemp("issuer")) as server:
        for line in re.findall(r"^\$ affiant ((?:api|client) new .*)$", PAGE, re.MULTILINE):
            server.affiant(*line.replace("https://as.partner.example", partner).split())
        yield server


@pytest.fixture
def party(issuer: Server) -> Iterator[RelyingParty]:
    """The services, in which an administrator entered what the page says."""
    with RelyingParty() as party:
        party.trusts = {
            "idp_1 svc_1": Trust(issuer.issuer, "urn:acme:openai", "summaries"),
            "fdrl_1 svac_1": Trust(issuer.issuer, "urn:acme:claude", "drafts"),
            ROLE: Trust(issuer.issuer, "urn:acme:aws", "backup"),
            POOL: Trust(issuer.issuer, f"https:{POOL}", "reports"),
        }
        yield party


class Reader:
    """A reader in a folder of his own, with one client and its token file."""

    def __init__(self, issuer: Server, folder: Path, launch: Launch) -> None:
        self.issuer, self.folder, self.launch = issuer, folder, launch

    def keeps(self, name: str) -> None:
        """Run the agent of the page for this client, until the file is there."""
        (command,) = re.findall(r"^\$ affiant (agent .*)$", PAGE, re.MULTILINE)
        self.takes(name)
        (self.folder / "run").mkdir()
        child = self.launch(*AFFIANT, *command.replace("summaries", name).split())
        child.until((self.folder / "run" / "token").exists)

    def takes(self, name: str) -> None:
        (self.folder / f"{name}.affiant.json").write_bytes((self.issuer.folder / f"{name}.affiant.json").read_bytes())
        (self.folder / f"{name}.affiant.json").chmod(0o600)

    def runs(self, code: str, **addresses: str) -> dict[str, Any]:
        for documented, here in addresses.items():
            code = code.replace(f"https://{documented}", here)
        names: dict[str, Any] = {}
        exec(code, names)
        return names


@pytest.fixture
def reader(issuer: Server, tmp_path: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    return Reader(issuer, tmp_path, launch)


def exports(heading: str) -> dict[str, str]:
    (script,) = code_of(heading, "sh")
    return dict(re.findall(r"([A-Z_]+)=(\S+)", script))


def test_openai_without_its_sdk(reader: Reader, party: RelyingParty) -> None:
    reader.takes("summaries")
    (code,) = code_of("OpenAI", "python")
    answer = reader.runs(code, **{"auth.openai.com": party.url})["answer"]
    claims = party.issued[answer["access_token"]]
    assert (claims["iss"], claims["sub"], claims["aud"]) == (reader.issuer.issuer, "summaries", "urn:acme:openai")
    assert claims["exp"] - claims["iat"] == 300


def test_boto3_assumes_the_role(reader: Reader, party: RelyingParty, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.keeps("backup")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    here = {"AWS_ENDPOINT_URL_STS": party.url, "AWS_CONFIG_FILE": os.devnull}
    for name, value in {**exports("AWS"), **here, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    (code,) = code_of("AWS", "python")
    assert reader.runs(code)["identity"]["Arn"].endswith("assumed-role/backup")
    (policy,) = code_of("AWS", "json")
    (condition,) = [one["Condition"]["StringEquals"] for one in json.loads(policy)["Statement"]]
    trust = party.trusts[ROLE]
    assert condition == {"as.example:aud": trust.audience, "as.example:sub": trust.subject}


def test_google_auth_exchanges_the_token(reader: Reader, party: RelyingParty) -> None:
    reader.keeps("reports")
    (file,) = code_of("Google Cloud", "json")
    (reader.folder / "google.json").write_text(file.replace("https://sts.googleapis.com", party.url))
    (code,) = code_of("Google Cloud", "python")
    credentials = reader.runs(code)["credentials"]
    assert party.issued[credentials.token]["sub"] == "reports"


def test_authlib_takes_the_token_as_a_grant(reader: Reader, partner: str, launch: Launch) -> None:
    reader.keeps("billing")
    environment = {"HERE": partner, "TRUSTED": reader.issuer.issuer, "SUBJECT": "billing"}
    child = launch(AFFIANT[0], str(PROJECT / "authlib_grant.py"), **environment)
    child.until_listening(int(partner.rpartition(":")[2]))
    (code,) = code_of("Another authorization server", "python")
    token = reader.runs(code, **{"as.partner.example": partner})["token"]
    assert token.value
    assert token.scope == "orders.read"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.install(PROJECT, tmp_path_factory.mktemp("outbound") / "project", seconds=INSTALL_SECONDS)


# OpenAI's SDK takes no other address for the exchange.
ELSEWHERE = """
const fetched = globalThis.fetch;
globalThis.fetch = (url, init) => fetched(String(url).replace("https://auth.openai.com", process.env.PARTY), init);
"""


@pytest.mark.parametrize(("heading", "client"), [("OpenAI", "summaries"), ("Claude", "drafts")])
def test_sdk_for_node(reader: Reader, party: RelyingParty, packages: Path, heading: str, client: str) -> None:
    """The model that the service lists has the name of the client that it saw."""
    reader.keeps(client)
    (code,) = code_of(heading, "javascript")
    script = packages / f"{client}.mjs"
    script.write_text(f"{code}console.log(models.data[0].id)\n")
    (packages / "elsewhere.mjs").write_text(ELSEWHERE)
    bases = {"PARTY": party.url, "OPENAI_BASE_URL": f"{party.url}/v1", "ANTHROPIC_BASE_URL": party.url}
    done = subprocess.run(
        ["node", "--import", str(packages / "elsewhere.mjs"), str(script)],
        cwd=reader.folder,
        env={**os.environ, **bases, **exports("Claude")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, client), done.stderr
    assert [claims["sub"] for claims in party.issued.values()] == [client]


@pytest.fixture(scope="module")
def plain(issuer: Server) -> str:
    """A token for an API of no options: RFC 9068, signed with ES256."""
    issuer.affiant("api", "new", "plain", "--identifier", "urn:acme:plain")
    issuer.affiant("client", "new", "plain", "--resource", "urn:acme:plain")
    return _token(issuer, "plain")


def _token(issuer: Server, name: str, *words: str) -> str:
    token: str = issuer.affiant("token", "-c", f"{name}.affiant.json", *words)["access_token"]
    return token


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"audience": "urn:acme:other"}, "Audience"),
        ({"subject": "billing"}, "subject"),
        ({"issuer": "elsewhere"}, "issuer"),
        ({"longest": 60}, "lives too long"),
        ({"algorithms": ("PS256",)}, "supports none of PS256"),
    ],
)
def test_token_for_another_purpose(issuer: Server, party: RelyingParty, wrong: dict[str, Any], why: str) -> None:
    trust, token = party.trusts["idp_1 svc_1"], _token(issuer, "summaries")
    assert party.verify(trust, token)["sub"] == "summaries"
    if "issuer" in wrong:
        wrong = {"issuer": issuer.issuer.replace("127.0.0.1", "localhost")}
    with pytest.raises(jwt.PyJWTError, match=why):
        party.verify(replace(trust, **wrong), token)


def test_options_of_the_api_are_needed(issuer: Server, party: RelyingParty, plain: str) -> None:
    """Without them a strict service refuses the type, and one that takes RS256 alone the algorithm."""
    trust = Trust(issuer.issuer, "urn:acme:plain", "plain")
    with pytest.raises(jwt.InvalidTokenError, match="typ"):
        party.verify(trust, plain)
    issuer.affiant("api", "update", "plain", "--token-typ", "JWT")
    token = _token(issuer, "plain", "--no-cache")
    with pytest.raises(jwt.InvalidAlgorithmError):
        party.verify(trust, token)
    assert party.verify(replace(trust, algorithms=("ES256",)), token)["aud"] == "urn:acme:plain"


def test_service_that_takes_a_token_once(issuer: Server, party: RelyingParty) -> None:
    """`affiant token` keeps its token; `--no-cache` makes another one."""
    trust = replace(party.trusts["fdrl_1 svac_1"], once=True)
    party.verify(trust, _token(issuer, "drafts"))
    with pytest.raises(jwt.InvalidTokenError, match="used before"):
        party.verify(trust, _token(issuer, "drafts"))
    party.verify(trust, _token(issuer, "drafts", "--no-cache"))


def test_service_keeps_up_with_a_rotation(issuer: Server, party: RelyingParty) -> None:
    """It keeps the keys that it fetched, and fetches them again for a key that it does not know."""
    trust, before = party.trusts["idp_1 svc_1"], _token(issuer, "summaries", "--no-cache")
    party.verify(trust, before)
    issuer.affiant("signing-key", "rotate", "--for", "RS256", "--now")
    time.sleep(SEEN_SECONDS)
    after = _token(issuer, "summaries", "--no-cache")
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    for token in (before, after):
        assert party.verify(trust, token)["sub"] == "summaries"
