"""Each platform's token becomes an access token, at a server that verifies it; what is wrong is said in one sentence."""

import asyncio
import itertools
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.unit.client.conftest import Answer
from tests.unit.client.platforms.conftest import variables
from tests.unit.client.platforms.imitation import (
    IDENTITY_HEADER,
    ISSUER,
    REQUEST_TOKEN,
    SUBJECT,
    Platform,
    Trusting,
    aws_error,
    install_program,
    issue,
)

from affiant import Service
from affiant.client import FileTokenStore
from affiant.client.platforms import google
from affiant.errors import LocalError, Refused
from affiant.jose import keys

BY_HTTP = ("github", "google", "azure", "app-service", "aws")


def _name(case: str) -> str:
    return "azure" if case == "app-service" else case


@pytest.fixture
def job(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A job of GitHub Actions that may have tokens."""
    for name, value in variables("github", platform, tmp_path).items():
        monkeypatch.setenv(name, value)
    return platform


@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
@pytest.mark.parametrize("case", BY_HTTP)
def test_endpoint_gives_a_token(
    case: str, carrier: str, platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(case, platform, tmp_path).items():
        monkeypatch.setenv(name, value)
    service = Service.from_platform(_name(case), server.url, carrier=carrier, scope="deploy")
    assert service.token().value == "token-1"
    assert server.mistakes == []
    form = server.sent("/token")[0].form
    assert form["scope"] == "deploy"
    assert form[carrier] == platform.issued_tokens[0]
    assert "client_id" not in form


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    "case", ["kubernetes:{path}", "file:{path}", "env:MY_TOKEN", "gitlab:MY_TOKEN", "gitlab", "azure"]
)
def test_file_or_variable_gives_a_token(
    case: str, ending: str, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = issue(server.url) + ending
    (tmp_path / "token").write_text(text)
    monkeypatch.setenv("MY_TOKEN", text)
    usual = "".join(c if c.isalnum() else "_" for c in server.url.upper()) + "_ID_TOKEN"
    monkeypatch.setenv(usual, text)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    name = case.format(path=tmp_path / "token")
    assert Service.from_platform(name, server.url, client_id="deploy").token().value == "token-1"
    assert server.sent("/token")[0].form["client_id"] == "deploy"


@pytest.mark.parametrize(("name", "program"), [("buildkite", "buildkite-agent"), ("circleci", "circleci")])
def test_agent_program_gives_a_token(
    name: str, program: str, platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", variables(name, platform, tmp_path)["PATH"])
    install_program(
        tmp_path, program, f"open('words', 'w').write(' '.join(sys.argv[1:])); print({issue(server.url)!r})"
    )
    assert Service.from_platform(name, server.url).token().value == "token-1"
    assert server.url in (tmp_path / "words").read_text()


def test_failing_program_is_quoted_without_its_token(
    platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", variables("buildkite", platform, tmp_path)["PATH"])
    token = issue(server.url)
    install_program(tmp_path, "buildkite-agent", f"sys.exit('no such pipeline {token}')")
    with pytest.raises(LocalError, match="buildkite-agent oidc request-token ended with 1: no such pipeline") as caught:
        Service.from_platform("buildkite", server.url).token()
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    "script", ["time.sleep(60)", "while True: print('x' * 1000)", "import subprocess; subprocess.run(['sleep', '60'])"]
)
def test_endless_program_ends(
    script: str, platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", variables("circleci", platform, tmp_path)["PATH"])
    monkeypatch.setattr("affiant.client.platforms.commands.SECONDS", 1.0)
    install_program(tmp_path, "circleci", script)
    started = time.monotonic()
    with pytest.raises(LocalError, match=r"took more than 1 s|printed more than 16384 bytes"):
        Service.from_platform("circleci", server.url).token()
    assert time.monotonic() - started < 5


def test_missing_program_is_named(server: Trusting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="circleci cannot be run"):
        Service.from_platform("circleci", server.url).token()


@pytest.mark.parametrize("url", ["/idtoken", "/idtoken?", "/idtoken?api-version=2.0&empty=", "/idtoken?audience=other"])
def test_github_query_is_merged(url: str, job: Platform, server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", job.url + url)
    assert Service.from_platform("github", server.url).token().value == "token-1"
    asked = job.requests[0].path
    assert asked.count("?") == 1
    assert asked.count("audience=") == 1
    assert ("empty=" in asked) == ("empty=" in url)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_platform_is_asked_once_more(status: int, job: Platform, server: Trusting) -> None:
    job.replies = [Answer(status, {"message": "canary-body"})]
    assert Service.from_platform("github", server.url).token().value == "token-1"
    assert len(job.requests) == 2


FAULTS = {
    "busy twice": ([Answer(503, {}), Answer(503, {})], "answered 503, twice"),
    "refuses": ([Answer(403, {"message": "canary-body"})], "answered 403"),
    "redirects": ([Answer(302, {}, {"Location": "http://127.0.0.1:1/"})], "a redirect, which is not followed"),
    "huge": ([Answer(200, raw=b"x" * 70_000)], "more than 65536 bytes"),
    "no JSON": ([Answer(200, raw=b"canary-body")], 'the answer has no "value"'),
    "no value": ([Answer(200, {"token": "canary-body"})], 'the answer has no "value"'),
    "no JWT": ([Answer(200, {"value": "canary-body"})], "not a JWT: it must be the token alone, on one line"),
    "quotes": ([Answer(200, {"value": '"e30.e30.x"'})], "without quotes and without Bearer"),
    "line break": ([Answer(200, {"value": "e30.e30.x\r\nX: y"})], "not a JWT"),
    "no claims": ([Answer(200, {"value": "canary.body.body"})], "its claims cannot be read"),
    "large token": ([Answer(200, {"value": "e30." + "A" * 20_000 + ".x"})], "more than 16384 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_strange_platform_is_an_error_that_shows_nothing(fault: str, job: Platform, server: Trusting) -> None:
    job.replies, words = FAULTS[fault]
    job.replies = list(job.replies)
    with pytest.raises(LocalError) as caught:
        Service.from_platform("github", server.url).token()
    assert words in str(caught.value)
    assert str(caught.value).startswith("github: ")
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.sent("/token") == []


CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": 1_700_000_000}, "the token expired at 2023-11-14 22:13:20 UTC"),
    "no exp": ({"exp": None}, "no time of expiry"),
    "exp is text": ({"exp": "9999999999"}, "no time of expiry"),
    "exp is true": ({"exp": True}, "no time of expiry"),
    "other aud": ({"aud": "https://other.example"}, "the token is for https://other.example, and not for http://"),
    "list of others": ({"aud": ["https://a.example", "x"]}, 'the token is for ["https://a.example", "x"], and not'),
    "no aud": ({"aud": None}, "the token names no audience"),
    "aud is a part": ({"aud": "http://127.0.0.1"}, "and not for"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_token_that_would_be_refused_is_not_sent(
    case: str, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, words = CLAIMS[case]
    token = issue(server.url, **claims)
    monkeypatch.setenv("MY_TOKEN", token)
    with pytest.raises(LocalError) as caught:
        Service.from_platform("env:MY_TOKEN", server.url).token()
    assert words in str(caught.value)
    assert token not in str(caught.value)
    assert server.requests == [] or server.sent("/token") == []


def test_audience_in_a_list_is_found(job: Platform, server: Trusting) -> None:
    job.audience = lambda asked: ["https://other.example", asked]
    assert Service.from_platform("github", server.url).token().value == "token-1"


def test_audience_of_its_own_is_asked_for(job: Platform, server: Trusting) -> None:
    server.audience = "api://deploy"
    assert Service.from_platform("github", server.url, audience="api://deploy").token().value == "token-1"
    assert "audience=api%3A%2F%2Fdeploy" in job.requests[0].path


def test_entra_token_of_version_2_names_the_bare_id(
    platform: Platform, server: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", platform.url)
    platform.audience = lambda asked: asked.removeprefix("api://")
    server.audience = "0000-11"
    assert Service.from_platform("azure", server.url, audience="api://0000-11").token().value == "token-1"


@pytest.mark.parametrize("case", ["google", "azure", "github"])
def test_hanging_platform_ends_in_time(
    case: str, platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(case, platform, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("affiant.client.platforms.asking.SECONDS", 0.5)
    monkeypatch.setattr("affiant.client.platforms.azure._IMDS_SECONDS", 0.5)
    platform.pause = 1.5
    started = time.monotonic()
    with pytest.raises(LocalError, match=f"{case}: "):
        Service.from_platform(case, server.url).token()
    assert time.monotonic() - started < 1.4


MISSING = {
    "github": "ACTIONS_ID_TOKEN_REQUEST_URL is not set",
    "gitlab": "id_tokens:\n",
    "kubernetes": "serviceAccountToken: {path: affiant, audience: http://127.0.0.1",
    "file": "write file:PATH",
    "env": "write env:NAME",
    "file:/nowhere/token": "/nowhere/token cannot be read (No such file or directory)",
    "env:NOT_SET": "the variable NOT_SET is not set",
    "aws": "the region is missing: set AWS_REGION",
    "spiffe": "SPIFFE_ENDPOINT_SOCKET",
    "spiffe:tcp://127.0.0.1:80": "no other kind is taken",
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_platform_says_what_to_do(name: str, server: Trusting) -> None:
    with pytest.raises(LocalError) as caught:
        Service.from_platform(name, server.url).token()
    assert MISSING[name] in str(caught.value)


def test_github_job_without_permission_is_told_the_line(server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(LocalError) as caught:
        Service.from_platform("github", server.url).token()
    assert "permissions: id-token: write" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gitlab_error_is_the_yaml(server: Trusting) -> None:
    with pytest.raises(LocalError) as caught:
        Service.from_platform("gitlab", "https://as.example.org", token_endpoint=f"{server.url}/token").token()
    assert str(caught.value).endswith(
        "add to the job:\n  id_tokens:\n    HTTPS___AS_EXAMPLE_ORG_ID_TOKEN:\n      aud: https://as.example.org"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("OutboundWebIdentityFederationDisabled", "aws iam enable-outbound-web-identity-federation"),
        ("OutboundWebIdentityFederationDisabledException", "aws iam enable-outbound-web-identity-federation"),
        ("JWTPayloadSizeExceededException", "fewer tags"),
        ("SessionDurationEscalationException", "renew it"),
        ("AccessDenied", "sts:GetWebIdentityToken"),
        ("Strange", "AWS gives no token (Strange)"),
    ],
)
def test_aws_errors_are_translated(
    code: str, words: str, platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables("aws", platform, tmp_path).items():
        monkeypatch.setenv(name, value)
    platform.replies = [aws_error(code)]
    with pytest.raises(LocalError) as caught:
        Service.from_platform("aws", server.url).token()
    assert words in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://example.com/idtoken"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://[broken/idtoken"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary\r\nX-Evil: 1"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-\xe9"),
    ],
)
def test_variable_that_cannot_be_used_is_no_secret_told(
    variable: str, value: str, job: Platform, server: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(LocalError) as caught:
        Service.from_platform("github", server.url).token()
    assert "canary" not in str(caught.value)
    assert job.requests == []


def test_azure_header_goes_to_no_other_machine(server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://example.com/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    with pytest.raises(LocalError, match="neither an https URL nor on this machine"):
        Service.from_platform("azure", server.url).token()


def test_proxy_does_not_see_the_metadata_server(
    platform: Platform, server: Trusting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables("google", platform, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "nobody.example")
    assert google.fetch(server.url, "") == platform.issued_tokens[-1]


def test_other_server_is_not_googles(platform: Platform, server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", platform.url.removeprefix("http://"))
    platform.replies = [Answer(200, raw=issue(server.url).encode())]
    with pytest.raises(LocalError, match="is not Google's metadata server"):
        Service.from_platform("google", server.url).token()


def test_rotated_file_is_read_for_each_request(server: Trusting, tmp_path: Path) -> None:
    path = tmp_path / "token"
    service = Service.from_platform(f"kubernetes:{path}", server.url)
    for number in range(1, 4):
        path.write_text(issue(server.url))
        assert service.token(scope=f"s{number}").value == f"token-{number}"
    assert server.mistakes == []


def test_callers_share_one_token(job: Platform, server: Trusting) -> None:
    service = Service.from_platform("github", server.url)
    server.delay = 0.1

    async def race() -> list[str]:
        return [token.value for token in await asyncio.gather(*(service.atoken() for _ in range(20)))]

    assert asyncio.run(race()) == ["token-1"] * 20
    assert len(job.requests) == len(server.sent("/token")) == 1


def test_each_attempt_has_a_new_token_if_there_is_one(job: Platform, server: Trusting) -> None:
    server.replies = [Answer(502, {})]
    assert Service.from_platform("github", server.url).token().value == "token-1"
    first, second = (request.form["assertion"] for request in server.sent("/token"))
    assert first != second


@pytest.mark.parametrize(("status", "attempts"), [(502, 1), (504, 1), (503, 2)])
def test_only_token_is_sent_again_only_if_it_was_not_taken(
    status: int, attempts: int, server: Trusting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", issue(server.url))
    server.replies = [Answer(status, {})]
    service = Service.from_platform("gitlab:MY_TOKEN", server.url)
    if attempts == 1:
        with pytest.raises(Exception, match=str(status)):
            service.token()
    else:
        assert service.token().value == "token-1"
    assert len(server.sent("/token")) == attempts


def test_only_token_is_not_sent_again_for_the_clock(server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", issue(server.url))
    refusal = Answer(400, {"error": "invalid_grant"}, {"Date": "Thu, 01 Jan 2037 00:00:00 GMT"})
    server.replies = [refusal]
    with pytest.raises(Refused, match="set the one that is wrong"):
        Service.from_platform("env:MY_TOKEN", server.url).token()
    assert len(server.sent("/token")) == 1


@pytest.mark.parametrize("carrier", ["assertion", "client_assertion"])
def test_refusal_says_what_the_token_said(carrier: str, job: Platform, server: Trusting) -> None:
    server.subject = "somebody else"
    with pytest.raises(Refused) as caught:
        Service.from_platform("github", server.url, carrier=carrier).token()
    said = str(caught.value)
    assert f"sent: a token of github as {carrier}: iss {ISSUER}, sub {SUBJECT}, aud {server.url}" in said
    assert "let the server trust this issuer and audience, and give this sub a client" in said
    assert job.issued_tokens[0] not in said


def test_dpop_binds_the_token(job: Platform, server: Trusting) -> None:
    token = Service.from_platform("github", server.url, dpop=True).token()
    assert token.token_type == "DPoP"
    proof = jwt.get_unverified_header(server.sent("/token")[0].headers["dpop"])
    assert proof["typ"] == "dpop+jwt"


def test_spiffe_type_is_its_own(server: Trusting, tmp_path: Path, spiffe_agent: Any) -> None:
    server.subject = "spiffe://example.org/app"
    service = Service.from_platform(f"spiffe:{spiffe_agent}", server.url, carrier="client_assertion")
    assert service.token().value == "token-1"
    assert server.sent("/token")[0].form["client_assertion_type"].endswith(":jwt-spiffe")


def test_silent_spiffe_agent_ends_in_time(server: Trusting, spiffe_agent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIFFE_TEST_SILENT", "1")
    monkeypatch.setattr("affiant.client.platforms.spiffe._SECONDS", 0.3)
    with pytest.raises(LocalError, match="the agent gave no SVID"):
        Service.from_platform(f"spiffe:{spiffe_agent}", server.url).token()


def test_missing_spiffe_socket_is_named(server: Trusting, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spiffe")
    monkeypatch.setattr("affiant.client.platforms.spiffe._START_SECONDS", 0.1)
    with pytest.raises(LocalError, match=r"there is no socket /nowhere/agent\.sock"):
        Service.from_platform("spiffe:unix:///nowhere/agent.sock", server.url).token()


def test_workloads_that_share_a_store_share_no_token(server: Trusting, tmp_path: Path, monkeypatch: Any) -> None:
    store = FileTokenStore(tmp_path / "kept")
    server.is_once = False

    def ask(subject: str) -> str:
        server.subject = subject
        monkeypatch.setenv("MY_TOKEN", issue(server.url, sub=subject))
        return Service.from_platform("env:MY_TOKEN", server.url, store=store).token().value

    assert [ask("a"), ask("b"), ask("a"), ask("b")] == ["token-1", "token-2", "token-1", "token-2"]


def test_token_that_named_the_workload_is_the_one_sent(job: Platform, server: Trusting, tmp_path: Path) -> None:
    service = Service.from_platform("github", server.url, store=FileTokenStore(tmp_path / "kept"))
    assert service.token().value == "token-1"
    assert len(job.requests) == 1


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ("github:here", {}, "takes no such place"),
        ("jenkins", {}, "is not known: one of github, gitlab"),
        ("github", {"carrier": "header"}, "carrier='header' is not known"),
        ("github", {"audience": ""}, "the audience is empty"),
        ("github", {"lifetime": 60}, "lifetime= is for assertions that the service signs"),
        ("github", {"profile": "smart"}, "profile= is for assertions"),
    ],
)
def test_wrong_argument_is_refused_at_once(words: str, options: Any, said: str) -> None:
    with pytest.raises(LocalError) as caught:
        Service.from_platform(words, "https://as.example", **options)
    assert said in str(caught.value)


def test_no_secret_is_told(
    job: Platform, server: Trusting, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    events: list[Any] = []
    service = Service.from_platform("github", server.url, on_event=events.append)
    server.subject = "somebody else"
    said = []
    for _ in itertools.repeat(None, 2):
        with pytest.raises(Refused) as caught:
            service.token()
        said += [str(caught.value), repr(caught.value), repr(caught.value.__context__)]
    texts = [*said, repr(service), repr(vars(service)), caplog.text, repr(events), *capfd.readouterr()]
    for secret in (REQUEST_TOKEN, job.issued_tokens[0], job.issued_tokens[0].split(".")[2]):
        assert not [text for text in texts if secret in text]


def _locals(error: BaseException | None) -> str:
    """The local variables of every frame of affiant's own that an exception and its causes lead to."""
    found: list[str] = []
    while error is not None:
        at = error.__traceback__
        while at is not None:
            if "/src/affiant/" in at.tb_frame.f_code.co_filename:
                found += map(repr, at.tb_frame.f_locals.values())
            at = at.tb_next
        error = error.__cause__ or error.__context__
    return "\n".join(found)


@pytest.mark.parametrize("fault", [*FAULTS, "expired"])
def test_no_frame_of_an_error_has_a_secret(fault: str, job: Platform, server: Trusting) -> None:
    job.claims = {"exp": 1}
    job.replies = list(FAULTS[fault][0]) if fault in FAULTS else []
    with pytest.raises(LocalError) as caught:
        Service.from_platform("github", server.url).token()
    seen = _locals(caught.value)
    assert "github" in seen
    assert not [secret for secret in ("canary", *job.issued_tokens) if secret in seen]


def test_no_other_variable_is_changed(job: Platform, server: Trusting) -> None:
    before = dict(os.environ)
    Service.from_platform("github", server.url).token()
    assert dict(os.environ) == before


def test_proof_key_and_platform_go_together(job: Platform, server: Trusting) -> None:
    key = keys.generate("ES256")
    service = Service.from_platform("github", server.url, dpop=key, client_id="deploy")
    assert service.token().value == "token-1"
    assert repr(service) == f"Service({server.url!r}, 'deploy')"
