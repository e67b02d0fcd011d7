"""Jobs without a secret: our client at our server and a guarded API, with the tokens of each platform.

The trusts, rules and services are those of the pages in docs/how-to/federation, on one server for all jobs.
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authlib.integrations.requests_client import OAuth2Session
from tests.e2e.readers import OWN_AUDIENCE, PAGES, Readers, asked, good, run
from tests.loopback import free_port
from tests.platforms import kubernetes
from tests.platforms.issuer import Issuer
from tests.process import AFFIANT, Launch, Server, guarded_api
from tests.unit.client.platforms.conftest import PREFIXES, variables
from tests.unit.client.platforms.imitation import Platform, install_program, workload_api

from affiant import Service
from affiant.errors import Refused
from affiant.jose import compact
from affiant.oauth import names
from affiant.server.registry.directory import FRESH_SECONDS

PAGE = PAGES.parent / "platforms.md"
# What the client calls each platform, and what the trust is made with.
JOBS = {
    "github": "github",
    "gitlab": "gitlab",
    "kubernetes": "kubernetes",
    "aws": "aws",
    "google": "google",
    "azure": "entra",
    "buildkite": "buildkite",
    "circleci": "circleci",
    "spiffe": "spiffe",
    "file": "generic",
    "env:BUILD_TOKEN": "generic",
    "env:TFC_WORKLOAD_IDENTITY_TOKEN": "terraform",
    "env:BITBUCKET_STEP_OIDC_TOKEN": "bitbucket",
    "env:VERCEL_OIDC_TOKEN": "vercel",
}
AGENTS = {"buildkite": "buildkite-agent", "circleci": "circleci"}
BY_FILE = ("kubernetes", "file")
BY_HTTP = ("github", "aws", "google", "azure")
VERBS = {"orders.read": "GET", "orders.write": "POST"}
MOST_SECONDS = 5.0  # until a guard has heard: 2 s on a machine that is not busy


@dataclass(frozen=True)
class Shop:
    """The server of the readers, and an API behind the guard."""

    readers: Readers
    api: str

    @property
    def issuer(self) -> str:
        return self.readers.server.issuer

    def call(self, token: str) -> httpx2.Response:
        """What the API answers to a call that the scope of the token is for."""
        verb = VERBS[compact.parse(token).claims["scope"]]
        return httpx2.request(verb, f"{self.api}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=20)


@dataclass
class Job:
    """A job of one platform: where its client finds its tokens, and what it asks them for.

    Attributes:
        platform: as the client names it.
        preset: of its trust.
        audience: for which it asks.
        variables: what its platform sets.
    """

    platform: str
    preset: str
    audience: str
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def sign(self, audience: str) -> str:
        """What the platform answers."""
        return asked(good(self.preset), audience)

    @property
    def path(self) -> Path:
        return self.folder / "token.jwt"

    @property
    def name(self) -> str:
        return f"{self.platform}:{self.path}" if self.platform in BY_FILE else self.platform

    def start(self, asking: Platform, running: ExitStack) -> None:
        """Let the platform give tokens."""
        if self.platform in BY_FILE:
            self.path.write_text(self.sign(self.audience))
        elif self.platform in AGENTS:
            self.variables = variables(self.platform, asking, self.folder)
            install_program(self.folder, AGENTS[self.platform], f"print({self.sign(self.audience)!r})")
        elif self.platform == "spiffe":
            self.variables = {"SPIFFE_ENDPOINT_SOCKET": f"unix:{self.folder / 'agent.sock'}"}
            running.enter_context(workload_api(self.variables["SPIFFE_ENDPOINT_SOCKET"], self.sign))
        elif self.platform in BY_HTTP:
            asking.sign = self.sign
            self.variables = variables(self.platform, asking, self.folder)
        else:
            usual = "".join(c if c.isalnum() else "_" for c in self.audience.upper()) + "_ID_TOKEN"
            name = usual if self.platform == "gitlab" else self.platform.removeprefix("env:")
            self.variables = {name: self.sign(self.audience)}

    def service(self, issuer: str, **more: Any) -> Service:
        return Service.from_platform(self.name, issuer, audience=self.audience, **more)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    api = f"http://127.0.0.1:{free_port()}"
    with Server(tmp_path_factory.mktemp("shop"), workers=2) as server:
        server.add_api(api, "--scope", "orders.write")
        readers = Readers(server)
        readers.follow_all(dict.fromkeys(JOBS.values()))
        with guarded_api(tmp_path_factory.mktemp("api"), server.issuer, api):
            yield Shop(readers, api)


@pytest.fixture
def asking() -> Iterator[Platform]:
    """The endpoints that a job asks."""
    found = Platform()
    yield found
    found.close()


@pytest.fixture
def job(
    request: pytest.FixtureRequest, shop: Shop, asking: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Job]:
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        monkeypatch.delenv(name)
    preset = JOBS[request.param]
    made = Job(request.param, preset, OWN_AUDIENCE.get(preset, shop.issuer), tmp_path)
    with ExitStack() as running:
        made.start(asking, running)
        for name, value in made.variables.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
@pytest.mark.parametrize("job", JOBS, indirect=True)
def test_a_service_calls_the_api(shop: Shop, job: Job, carrier: str) -> None:
    service = job.service(shop.issuer, carrier=carrier)

    token = service.token().value

    made = shop.readers.made[job.preset]
    reply = shop.call(token)
    assert (reply.status_code, reply.json()["for"]) == (200, made["client"]["client_id"])
    assert compact.parse(token).claims["rule"] == f"{made['trust']['name']}/{made['rule']['name']}"


@pytest.mark.parametrize("job", JOBS, indirect=True)
def test_the_command_line_calls_the_api(shop: Shop, job: Job) -> None:
    words = ("--from", job.name, "--issuer", shop.issuer, "--audience", job.audience, "--header")

    done = shop.readers.server.run("token", *words)

    assert done.returncode == 0, done.stderr
    token = done.stdout.strip().removeprefix("Authorization: Bearer ")
    assert shop.call(token).status_code == 200
    assert done.stderr == (f"::add-mask::{token}\n" if job.platform == "github" else "")


@pytest.mark.parametrize("job", ["file"], indirect=True)
def test_a_file_that_is_rotated_is_read_for_each_token(shop: Shop, job: Job) -> None:
    ahead = 0
    service = job.service(shop.issuer, clock=lambda: time.time() + ahead)
    first = service.token().value
    job.path.write_text(job.sign(job.audience))
    assert service.token().value == first

    longest = good(job.preset).lifetime
    assert longest is not None
    ahead = longest - 10  # the access token lives no longer than the platform's
    second = service.token().value

    assert second != first
    assert shop.call(second).status_code == 200


@pytest.mark.parametrize("job", ["kubernetes"], indirect=True)
def test_the_agent_reads_the_rotated_file(shop: Shop, job: Job, tmp_path: Path, launch: Launch) -> None:
    """The kubelet replaces the token of a pod while `affiant agent` keeps the access token of its service."""
    kept = tmp_path / "access-token"
    agent = launch(*AFFIANT, "agent", "--from", job.name, "--issuer", shop.issuer, "--to", str(kept))
    agent.until(kept.exists)
    first = kept.read_text()

    job.path.write_text("not a token")
    agent.process.send_signal(signal.SIGHUP)
    agent.until(lambda: "kubernetes" in agent.err)
    assert kept.read_text() == first
    job.path.write_text(job.sign(job.audience))
    agent.process.send_signal(signal.SIGHUP)
    agent.until(lambda: kept.read_text() != first)

    assert shop.call(kept.read_text()).status_code == 200


@pytest.mark.parametrize("job", ["github"], indirect=True)
def test_twenty_callers_use_one_token(shop: Shop, job: Job, asking: Platform) -> None:
    service = job.service(shop.issuer)
    asking.pause = 0.2

    with ThreadPoolExecutor(20) as callers:
        tokens = set(callers.map(lambda _: service.token().value, range(20)))

    assert len(tokens) == 1
    assert len(asking.issued_tokens) == 1


@pytest.mark.parametrize("job", ["github"], indirect=True)
def test_the_code_of_the_page_calls_the_api(shop: Shop, job: Job) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}

    exec(code.replace("https://as.example", shop.issuer), found)

    assert shop.call(found["token"].value).status_code == 200


@pytest.mark.attack(329)
def test_authlib_shows_the_token_of_its_platform(shop: Shop) -> None:
    """It sends the client's name with both carriers."""
    endpoint, token = f"{shop.issuer}/token", asked(good("spiffe"), shop.issuer)
    name = shop.readers.made["spiffe"]["client"]["client_id"]
    with OAuth2Session(name, token_endpoint_auth_method="none") as client:
        granted = client.fetch_token(endpoint, grant_type=names.JWT_BEARER, assertion=token)
        shown = {"client_assertion": token, "client_assertion_type": names.JWT_SPIFFE_ASSERTION_TYPE}
        authenticated = client.fetch_token(endpoint, grant_type="client_credentials", **shown)

    assert [shop.call(found["access_token"]).status_code for found in (granted, authenticated)] == [200, 200]


@pytest.mark.parametrize("job", ["gitlab"], indirect=True)
def test_the_one_token_of_a_job_is_taken_once(shop: Shop, job: Job) -> None:
    job.service(shop.issuer).token()

    with pytest.raises(Refused) as refused:
        job.service(shop.issuer).token()

    assert refused.value.error == "invalid_grant"
    assert os.environ[next(iter(job.variables))] not in str(refused.value)


@pytest.mark.attack(329)
def test_twenty_requests_with_one_token_give_one(shop: Shop) -> None:
    """At once, at either worker and with either carrier."""
    text = asked(good("gitlab"), shop.issuer)
    forms = [
        {"grant_type": names.JWT_BEARER, "assertion": text},
        {
            "grant_type": names.CLIENT_CREDENTIALS,
            "client_assertion": text,
            "client_assertion_type": names.JWT_BEARER_ASSERTION_TYPE,
        },
    ]

    with ThreadPoolExecutor(20) as thieves:
        replies = list(thieves.map(lambda form: shop.readers.server.token(**form), forms * 10))

    assert sum(reply.is_success for reply in replies) == 1
    assert {reply.json()["error"] for reply in replies if not reply.is_success} == {"invalid_grant", "invalid_client"}


@pytest.mark.rfc(7523, "2.1")
@pytest.mark.parametrize("audience", ["{issuer}", "{issuer}/token"])
def test_the_request_of_an_mcp_client_is_answered(shop: Shop, audience: str) -> None:
    """SEP-1933: the grant, the assertion and the resource; neither a client_id nor a scope; nor a kid in the header."""
    svid = good("spiffe").changed({"/aud": audience.format(issuer=shop.issuer)})
    token = Issuer.of(svid).sign(svid, time.time(), kid=None, typ=None)

    reply = shop.readers.server.token(grant_type=names.JWT_BEARER, assertion=token, resource=shop.api)

    assert reply.status_code == 200, reply.text
    assert reply.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert compact.parse(reply.json()["access_token"]).claims["aud"] == shop.api


@pytest.mark.rfc(7523, "3.1")
@pytest.mark.parametrize("wrong", ["audience", "expired", "signature"])
def test_the_request_of_an_mcp_client_is_refused(shop: Shop, wrong: str) -> None:
    token = {
        "audience": lambda: asked(good("spiffe"), "https://wrong.example"),
        "expired": lambda: asked(good("spiffe").lasting(-120), shop.issuer),
        "signature": lambda: asked(good("spiffe"), shop.issuer)[:-4] + "AAAA",
    }[wrong]()

    reply = shop.readers.server.token(grant_type=names.JWT_BEARER, assertion=token, resource=shop.api)

    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")


GRANTS = "--grant client_credentials --grant urn:ietf:params:oauth:grant-type:token-exchange"
ENDINGS = {
    "rule-change": "rule update {0} --scope orders.read",
    "rule-disable": "rule disable {0}",
    "rule-remove": "rule remove {0}",
    "trust-change": "trust update {0} --max-lifetime 7200",
    "trust-disable": "trust disable {0}",
    "trust-remove": "trust remove {0} --with-rules",
}


def cluster(shop: Shop, name: str, folder: Path) -> Service:
    """A service whose pods run in a cluster of this name, which has a trust and a rule for it."""
    pod = kubernetes.pod(issuer=f"https://{name}.example")
    (folder / "keys.json").write_text(json.dumps(Issuer.of(pod).jwks))
    (folder / "token.jwt").write_text(asked(pod, shop.issuer))
    data = f" --data {shop.readers.server.data}"
    run(f"client new {name} --auth federated_jwt --scope orders.read {GRANTS}{data}".split())
    trust = f"trust add kubernetes shop/orders --issuer {pod.issuer} --name {name} --jwks {folder}/keys.json"
    run(f"{trust} --client {name} --rule {name}{data}".split())
    time.sleep(1.2 * FRESH_SECONDS)  # until the server looks again at what is registered
    return cluster_service(shop, folder)


def cluster_service(shop: Shop, folder: Path) -> Service:
    return Service.from_platform(f"kubernetes:{folder}/token.jwt", shop.issuer, carrier="client_assertion")


@pytest.mark.attack(331)
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_a_rule_or_a_trust_gave_ends_with_it(shop: Shop, ending: str, tmp_path: Path) -> None:
    """At a guard in a process of its own: the token, and the one for a task that was made of it."""
    service = cluster(shop, ending, tmp_path)
    tokens = [service.token().value, service.task_token("invoice-4711", lifetime=300).access_token]
    other = shop.readers.sent(good("spiffe"))[1]["access_token"]
    assert [shop.call(token).status_code for token in (*tokens, other)] == [200] * 3

    run(f"{ENDINGS[ending].format(ending)} --data {shop.readers.server.data}".split())
    begun = time.monotonic()
    while (found := [shop.call(token).status_code for token in tokens]) != [401] * 2:
        assert time.monotonic() - begun < MOST_SECONDS, found
        time.sleep(0.02)

    print(f"{ending}: refused after {time.monotonic() - begun:.2f} s")
    assert shop.call(other).status_code == 200
    if ending.endswith("-change"):
        while shop.call(cluster_service(shop, tmp_path).token().value).status_code != 200:
            assert time.monotonic() - begun < 2 * MOST_SECONDS, "nothing works any more"
            time.sleep(0.1)
        print(f"{ending}: new tokens taken after {time.monotonic() - begun:.2f} s")
    else:
        with pytest.raises(Refused):
            cluster_service(shop, tmp_path).token()
