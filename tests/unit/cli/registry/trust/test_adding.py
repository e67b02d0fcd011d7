"""`affiant trust add`: a trust, a rule and a client in one step, or nothing; and each trap is named when it is saved."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.platforms import builds, clouds, github, gitlab, hosts, kubernetes
from tests.platforms.issuer import Issuer, signed
from tests.platforms.token import Token
from tests.platforms.traps import GOOD
from tests.unit.cli.conftest import Run

from affiant.cli.main import main
from affiant.server.registry.federation.platforms.table import PLATFORMS

USAGE, NOT_FOUND, CONFIGURATION = 2, 3, 8
# The tokens are for a server that has not run yet.
AS = "http://127.0.0.1:8377"


# The tests fetch nothing: each trust has keys from a file.
UPLOADED = ["--jwks", "uploaded.json"]


@pytest.fixture(autouse=True)
def uploaded(tmp_path: Path) -> None:
    (tmp_path / "uploaded.json").write_text(json.dumps(Issuer.of(github.job()).jwks))


def words_of(preset: str) -> list[str]:
    """The example in the help of a preset, with the keys in a file."""
    words = shlex.split(PLATFORMS[preset].example)
    if "--bundle" in words:
        del words[words.index("--bundle") : words.index("--bundle") + 2]
    return [*words[:-2], *UPLOADED, *words[-2:]]


def written(folder: Path, token: Token, name: str = "job.jwt") -> str:
    """The file with a token of this job."""
    (folder / name).write_text(signed(token) + "\n")
    return name


def keys_of(folder: Path, *tokens: Token, name: str = "keys.json") -> list[str]:
    """The option with the keys of the issuer, which no test can fetch."""
    (folder / name).write_text(json.dumps(Issuer.of(*tokens).jwks))
    return ["--jwks", name]


def notes(error: Any) -> str:
    return "\n".join([error["message"], *error.get("notes", [])])


@pytest.mark.parametrize("preset", PLATFORMS)
def test_the_example_of_each_help_saves_a_trust_and_a_rule(run_json: Run, preset: str) -> None:
    *words, _, client_id = words_of(preset)

    code, made = run_json("trust", "add", preset, *words, "--new-client", client_id)

    assert code == 0, made
    assert (made["trust"]["name"], made["trust"]["preset"]) == (preset, preset)
    assert made["trust"]["replay"] == PLATFORMS[preset].replays[0]
    assert made["rule"]["client_id"] == made["client"]["client_id"] == client_id
    assert made["client"]["token_endpoint_auth_method"] == "federated_jwt"
    assert made["job"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--jwks-uri", "https://127.0.0.1:9000/keys"], "an address that this server may not connect to"),
        (["--jwks-uri", "https://keys.invalid/"], "the host cannot be reached"),
    ],
)
def test_keys_that_cannot_be_obtained_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    """The trust is saved: a cluster may come up later. What to give instead is said with it."""
    monkeypatch.chdir(tmp_path)
    ids = ["acme/app", "--repository-id", "74", "--branch", "main", "--new-client", "job"]
    with pytest.raises(SystemExit) as ended:
        main(["trust", "add", "github", *ids, *words])
    said = capsys.readouterr().err
    assert ended.value.code == 0
    assert why in said
    assert "affiant trust update github --jwks FILE" in said


@pytest.mark.parametrize("preset", [name for name in PLATFORMS if name in GOOD])
def test_a_pasted_token_answers_the_questions(run_json: Run, tmp_path: Path, preset: str) -> None:
    token = GOOD[preset].token
    if preset not in ("entra", "vercel"):
        token = token.changed({"/aud": [AS] if isinstance(token.at("/aud"), list) else AS})
    assert run_json("api", "new", "orders", "--identifier", "https://orders.example", "--scope", "orders.read")[0] == 0
    words = ["--new-client", "job", "--scope", "orders.read", *keys_of(tmp_path, token)]

    code, made = run_json("trust", "add", preset, "--from-token", written(tmp_path, token), *words)

    assert code == 0, made
    assert made["trust"]["issuer"] == token.issuer
    assert made["token"] == ["the server would accept this token, and its signature is right"]
    names = {name for need in PLATFORMS[preset].needs for name in need.names} - {"sub"}
    assert not names & made["rule"]["conditions"].keys()


def test_the_token_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, github.job())
    with pytest.raises(SystemExit):
        main(["trust", "add", "github", "--from-token", file, "--new-client", "job", *UPLOADED])

    said = capsys.readouterr()
    assert "repository_id=74" in said.out
    assert not any(part in said.out + said.err for part in (tmp_path / file).read_text().strip().split("."))


def test_a_forged_token_is_told(run_json: Run, tmp_path: Path) -> None:
    """Its claims make the rule all the same: the operator says for which repository that is."""
    token = github.job(audience=AS)
    forged = Issuer.of(token).sign(token, by=Issuer.of(token).rotate())
    (tmp_path / "job.jwt").write_text(forged)

    code, made = run_json(
        "trust", "add", "github", "--from-token", "job.jwt", "--new-client", "job", *keys_of(tmp_path, token)
    )

    assert code == 0, made
    assert "would refuse" in made["token"][0]


def test_a_token_for_another_server_is_told(run_json: Run, tmp_path: Path) -> None:
    token = github.job(audience="https://github.com/acme")

    code, made = run_json(
        "trust",
        "add",
        "github",
        "--from-token",
        written(tmp_path, token),
        "--new-client",
        "a",
        *keys_of(tmp_path, token),
    )

    assert code == 0, made
    assert made["trust"]["audiences"] == []
    assert "would refuse" in made["token"][0]


def test_the_second_rule_uses_the_trust_that_is_there(run_json: Run) -> None:
    first = ["trust", "add", "github", "acme/app", "--repository-id"]
    assert run_json(*first, "74", "--new-client", "app", *UPLOADED)[0] == 0

    code, made = run_json(*first, "75", "--client", "app")

    assert code == 0, made
    assert (made["rule"]["name"], made["rule"]["trust"]) == ("app-2", "github")
    code, error = run_json(*first, "75", "--client", "app")
    assert code == CONFIGURATION
    assert "same trust, client and conditions" in notes(error)


def test_two_clusters_with_one_issuer_have_names_and_keys_of_their_own(run_json: Run, tmp_path: Path) -> None:
    token, other = kubernetes.pod(), kubernetes.pod()
    add = ["trust", "add", "kubernetes", "shop/orders", "--issuer", token.issuer]
    assert run_json(*add, *keys_of(tmp_path, token), "--new-client", "orders")[0] == 0
    issuer = Issuer.of(other)
    issuer.rotate(keep=False)
    (tmp_path / "b.json").write_text(json.dumps(issuer.jwks))

    code, error = run_json(*add, "--jwks", "b.json", "--new-client", "orders-b")
    assert code == CONFIGURATION
    assert "give --name" in notes(error)
    code, error = run_json(*add, *keys_of(tmp_path, token), "--name", "b", "--new-client", "orders-b")
    assert code == CONFIGURATION
    assert "same keys" in notes(error)
    code, made = run_json(*add, "--jwks", "b.json", "--name", "b", "--new-client", "orders-b")
    assert code == 0, made
    assert (made["trust"]["name"], made["rule"]["trust"]) == ("b", "b")
    code, error = run_json(*add, "--client", "orders")
    assert code == CONFIGURATION
    assert "say which one with --name" in notes(error)


ADD_GITHUB = "github acme/app --repository-id 74"
# The words of a command, and those of its refusal.
REFUSED = {
    "number": ("github acme/app --repository-id acme/app", "digits of a number"),
    "two-places": (f"{ADD_GITHUB} --branch main --tag v1", "give one of branch and tag"),
    "pull-request": (f"{ADD_GITHUB} --branch main --when ref=refs/pull/7/merge", "such as refs/heads/main"),
    "quick-fix": (f"{ADD_GITHUB} --when sub=repo:acme@*", "must not end in @*"),
    "names": ("github acme/app --branch main --when repository_id=7*", "--repository-id"),
    "default-account": ("kubernetes shop/default --issuer https://k8s.example", "kubectl create serviceaccount"),
    "private-cluster": (
        "kubernetes shop/orders --issuer https://kubernetes.default.svc.cluster.local",
        "get --raw /openid/v1/jwks",
    ),
    "legacy": ("kubernetes shop/orders --issuer kubernetes/serviceaccount", "not an issuer of Kubernetes"),
    "api-server": (
        "kubernetes shop/orders --issuer https://k8s.example --audience https://kubernetes.default.svc",
        "every pod has such a token",
    ),
    "aws-name": (f"aws deploy --issuer {clouds.AWS_ISSUER}", "ARN of a role"),
    "aws-tags": (
        f"aws {clouds.AWS_ROLE} --issuer {clouds.AWS_ISSUER} --when /https:~1~1sts.amazonaws.com~1/request_tags/a=b",
        "the caller writes it",
    ),
    "aws-issuer": (f"aws {clouds.AWS_ROLE} --issuer https://sts.amazonaws.com", "not an issuer of AWS"),
    "google-email": ("google deploy@acme-prod.iam.gserviceaccount.com", "digits of the unique id"),
    "entra-common": (f"entra {clouds.ENTRA_OBJECT} --tenant common", "not an issuer of Microsoft Entra"),
    "terraform-name": ("terraform acme/network", "an id that begins with ws-"),
    "terraform-phase": ("terraform ws-mbsd5E3Ktt5Rg2Xm --phase destroy", "plan or apply"),
    "circleci-origin": (f"circleci app --organization {builds.CIRCLECI_ORGANIZATION}", "a UUID in small letters"),
    "buildkite-slug": ("buildkite app", "a UUID in small letters"),
    "bitbucket-bare": ("bitbucket acme --repository-uuid 5c0d7b9a-1f3e-4b57-8a2c-9e6d4f1a0b2c", "in braces"),
    "vercel-name": ("vercel acme --project-id app", "an id such as prj_"),
    "spiffe-domain": ("spiffe spiffe://example.org/** --bundle https://spire.example.org/bundle", "a SPIFFE ID"),
    "spiffe-elsewhere": (
        "spiffe spiffe://example.org/a --bundle https://s.example/b --when sub=spiffe://mallory.example/a",
        "must begin with spiffe://example.org/",
    ),
    "reserved": (f"generic {github.ISSUER} --sub repo:acme/app:ref:refs/heads/main", "affiant trust add github"),
    "nobody": ("generic https://issuer.example --sub repo:**", "does not identify a workload"),
    "itself": (f"generic {AS} --sub x:1", ""),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_a_trap_is_named_and_nothing_is_saved(run_json: Run, words: str, said: str) -> None:
    assert run_json("client", "new", "there", "--auth", "client_secret_basic")[0] == 0

    code, error = run_json("trust", "add", *shlex.split(words), "--new-client", "job")

    assert code in (CONFIGURATION, USAGE), error
    assert said in notes(error)
    assert [one["client_id"] for one in run_json("client", "list")[1]] == ["there"]


TOKENS = {
    "pull-request-target": ("github", github.job(github.RUNS["pull-request-target"]), "event_name=pull_request_target"),
    "other-platform": ("gitlab", github.job(), "affiant trust add github"),
    "other-platform-of-generic": ("generic", gitlab.job(), "affiant trust add gitlab"),
    "year": ("kubernetes", kubernetes.extended(), "the one for the API server"),
    "without-end": ("kubernetes", kubernetes.legacy(), "never ends"),
    "default": ("kubernetes", kubernetes.pod(kubernetes.DEFAULT, issuer=kubernetes.eks()), "serviceaccount NAME"),
    "origin": ("aws", clouds.aws_origin(), "subject_mode=OriginIdentity"),
    "rerun": ("circleci", builds.circleci(is_ssh_rerun=True), "ssh-rerun=True"),
    "two-days": ("terraform", builds.terraform(lifetime=2 * 86_400), "this token lives 48 hours"),
    "star": ("generic", github.job().changed({"/iss": "https://ci.example", "/sub": "build:*"}), "ends in *"),
    "own": ("generic", github.job().changed({"/sub": github.ISSUER}), "no platform issued this token"),
    "global": ("vercel", hosts.vercel(is_global=True).changed({"/project_id": "app"}), "an id such as prj_"),
}


@pytest.mark.parametrize(("preset", "token", "said"), TOKENS.values(), ids=TOKENS)
def test_the_token_of_a_trap_makes_no_rule(run_json: Run, tmp_path: Path, preset: str, token: Token, said: str) -> None:
    code, error = run_json("trust", "add", preset, "--from-token", written(tmp_path, token), "--new-client", "job")

    assert code == CONFIGURATION, error
    assert said in notes(error)


@pytest.mark.parametrize("text", ["", "no-token", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "x" * 70_000])
def test_what_is_no_token_is_refused_and_not_repeated(run_json: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "job.jwt").write_text(text)

    code, error = run_json("trust", "add", "github", "--from-token", "job.jwt", "--client", "job")

    assert code == CONFIGURATION
    assert len(notes(error)) < 500


def test_names_are_taken_knowingly(run_json: Run) -> None:
    code, made = run_json("trust", "add", "github", "acme/app", "--names-only", "--new-client", "job", *UPLOADED)

    assert code == 0, made
    assert made["rule"]["names_only"]
    assert made["rule"]["conditions"] == {"repository": ["acme/app"], "ref": ["refs/heads/main"]}


def test_an_unknown_client_is_registered_on_request_only(run_json: Run) -> None:
    code, error = run_json("trust", "add", *ADD_GITHUB.split(), "--client", "job")

    assert code == NOT_FOUND
    assert "--new-client job" in notes(error)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --repository-id"),
        (["--repository-id", "74"], "give --client"),
        (["--repository-id", "74", "--client", "a", "--new-client", "b"], "give one of --client and --new-client"),
        (["--from-token", "missing.jwt", "--client", "a"], "no such file"),
    ],
)
def test_without_a_terminal_the_missing_answer_is_named(run_json: Run, words: list[str], said: str) -> None:
    code, error = run_json("trust", "add", "github", "acme/app", *words)

    assert code in (USAGE, CONFIGURATION)
    assert said in notes(error)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("preset", PLATFORMS)
def test_a_terminal_is_asked_three_questions_at_most(
    run_json: Run, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    words = shlex.split(PLATFORMS[preset].example)
    # What the example answers, in the order in which it is asked for.
    first = next(place for place, word in enumerate(words) if word.startswith("--"))
    arguments, options = iter(words[:first]), dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
    asked = [one for one in PLATFORMS[preset].questions if one.is_asked and one.usual is None]
    assert len(asked) + 1 <= 3
    needed = [one for one in asked if one.member != "jwks_uri"]
    answers = [next(arguments) if one.is_argument else options[f"--{one.name}"] for one in needed]
    assert run_json("client", "new", words[-1])[0] == 0
    monkeypatch.setattr("sys.stdin", Terminal("\n".join([*answers, words[-1]]) + "\n"))

    code, made = run_json("trust", "add", preset, *UPLOADED)

    assert code == 0, made
    assert made["rule"]["client_id"] == words[-1]
