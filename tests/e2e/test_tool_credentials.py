"""The programs of docs/how-to/tool-credentials.md get tokens from `affiant helper`, and a guarded host lets them in."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import certificates
from tests.loopback import free_port
from tests.process import Child, Server, run, uvicorn

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/tool-credentials.md").read_text("utf-8")


@dataclass
class Host:
    """A host that only tokens open, and the machine of a user who has programs for it."""

    home: Path
    authority: str
    files: Path
    issuer: str

    def serve(self, port: int, *words: str) -> Child:
        guard = {"GUARD_ISSUER": self.issuer, "GUARD_AUDIENCE": f"http://{self.authority}", "FILES": str(self.files)}
        return uvicorn(self.home, "guarded_files", port, *words, **guard)

    def shell(self, script: str, *, fails: bool = False, **environment: str) -> str:
        """Run a script in bash with the names of the page replaced; what it printed."""
        for name in ("git", "index", "registry", "npm", "orders"):
            script = script.replace(f"https://billing@{name}.example", f"http://billing@{self.authority}")
            script = script.replace(f"https://{name}.example", f"http://{self.authority}")
            script = script.replace(f"{name}.example", self.authority)
        script = script.replace("/etc/billing.affiant.json", str(self.home / "billing.affiant.json"))
        mine = {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache"), "GIT_TERMINAL_PROMPT": "0"}
        path = f"{self.home / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.home,
            env={**os.environ, **mine, "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def program(self, name: str, script: str) -> None:
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script.replace("affiant helper", f"{sys.executable} -m affiant.cli.main helper"))
        path.chmod(0o755)
        for named in ("registry", "index"):
            path.write_text(path.read_text().replace(f"{named}.example", self.authority))
        path.write_text(path.read_text().replace("/etc/billing.affiant.json", str(self.home / "billing.affiant.json")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: other tests register a client of the name on the page."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        server.add_api()
        yield server


@pytest.fixture(scope="module")
def host(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    home, files = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("files")
    authority = f"127.0.0.1:{free_port()}"
    server.add_api(f"http://{authority}", name="files")
    server.affiant("client", "new", "billing", "--resource", f"http://{authority}", "--scope", "orders.read")
    (server.folder / "billing.affiant.json").rename(home / "billing.affiant.json")
    _fill(files, home)
    made = Host(home, authority, files, server.issuer)
    with made.serve(int(authority.partition(":")[2])):
        yield made


def _fill(files: Path, home: Path) -> None:
    """A repository for git without its own server, and an index with one package for pip."""
    git = [
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@a.example",
        "-c",
        "init.defaultBranch=main",
        "-C",
        str(files),
    ]
    for words in (["init", "-q", "orders"], ["-C", "orders", "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True, env={**os.environ, "HOME": str(home)})
    subprocess.run([*git, "clone", "-q", "--bare", "orders", "orders.git"], check=True)
    subprocess.run([*git, "-C", "orders.git", "update-server-info"], check=True)
    wheel = files / "simple" / "orders" / "orders-1-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("orders.py", "")
        archive.writestr("orders-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: orders\nVersion: 1\n")
        archive.writestr("orders-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("orders-1.dist-info/RECORD", "")
    (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')


def block(heading: str, number: int = 0) -> str:
    """A block of code under a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].partition("\n## ")[0]
    found: list[str] = re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return found[number]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: its helper is not tried with it")


def test_git_clones(host: Host) -> None:
    assert "could not read Username" in host.shell("git clone https://git.example/orders.git refused", fails=True)
    host.shell(block("git"))
    assert (host.home / "orders" / ".git").is_dir()


def test_git_is_answered_for_no_other_host(host: Host) -> None:
    other = host.shell(
        "affiant helper git -c /etc/billing.affiant.json --host git.example get <<<$'protocol=http\\nhost=127.0.0.1:9'"
    )
    assert other == ""


def test_git_has_a_new_token_after_a_refusal(host: Host) -> None:
    helper = "affiant helper git -c /etc/billing.affiant.json"
    asked = "protocol=http\nhost=git.example\n"
    first, same = (_of(host.shell(f"{helper} get <<<'{asked}'")) for _ in range(2))
    assert first == same
    host.shell(f"{helper} erase <<<'{asked}password={first['password']}'")
    assert _of(host.shell(f"{helper} get <<<'{asked}'"))["password"] != first["password"]


def test_git_of_today_gets_a_bearer(host: Host) -> None:
    asked = "capability[]=authtype\ncapability[]=state\nprotocol=http\nhost=git.example\nwwwauth[]=Bearer realm=x\n"
    found = _of(host.shell(f"affiant helper git -c /etc/billing.affiant.json get <<<'{asked}'"))
    assert list(found) == ["capability[]", "authtype", "credential", "password_expiry_utc"]
    assert found["authtype"] == "Bearer"
    basic = asked.replace("wwwauth[]=Bearer", "wwwauth[]=Basic")
    assert list(_of(host.shell(f"affiant helper git -c /etc/billing.affiant.json get <<<'{basic}'"))) == [
        "username",
        "password",
        "password_expiry_utc",
    ]


def _of(answer: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in answer.splitlines())


def test_docker_reads_a_manifest(host: Host) -> None:
    needs("docker")
    read = "docker manifest inspect --insecure registry.example/orders:latest"
    (host.home / ".docker").mkdir(exist_ok=True)
    assert "no basic auth credentials" in host.shell(read, fails=True, DOCKER_CLI_EXPERIMENTAL="enabled")
    host.program("docker-credential-billing", block("docker", 0))
    config = block("docker", 1).replace("registry.example", host.authority)
    (host.home / ".docker" / "config.json").write_text(config)
    assert json.loads(host.shell(read))["schemaVersion"] == 2


def test_docker_is_answered_in_its_protocol(host: Host) -> None:
    """By the program of the package, which has its credentials in the environment."""
    code = "from affiant.cli.tokens.helper.docker import main; main()"
    ask = f"{sys.executable} -c '{code}'"
    mine = str(host.home / "billing.affiant.json")
    got = json.loads(host.shell(f"{ask} get <<<registry.example", AFFIANT_CREDENTIALS=mine))
    assert got.keys() == {"ServerURL", "Username", "Secret"}
    assert (got["ServerURL"], got["Username"]) == (host.authority, "billing")
    assert json.loads(host.shell(f"{ask} list", AFFIANT_CREDENTIALS=mine)) == {host.authority: "billing"}
    host.shell(f"{ask} erase <<<registry.example", AFFIANT_CREDENTIALS=mine)
    again = json.loads(host.shell(f"{ask} get <<<http://{host.authority}", AFFIANT_CREDENTIALS=mine))
    assert again["Secret"] != got["Secret"]
    other = host.shell(f"{ask} get <<<other.example", fails=True, AFFIANT_CREDENTIALS=mine)
    assert other == "credentials not found in native keychain\n"
    assert "docker login is not needed" in host.shell(f"{ask} store <<<{{}}", fails=True, AFFIANT_CREDENTIALS=mine)


def test_pip_installs(host: Host) -> None:
    host.program("keyring", block("pip", 0))
    words = "--quiet --no-cache-dir --disable-pip-version-check --no-input --target installed"
    install = (
        block("pip", 1).replace("pip install", f"{sys.executable} -m pip install {words}").replace("PACKAGE", "orders")
    )
    host.shell(install, PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="", PIP_EXTRA_INDEX_URL="")
    assert (host.home / "installed" / "orders.py").exists()


def test_pip_is_answered_as_by_keyring(host: Host) -> None:
    ask = "affiant helper pip -c /etc/billing.affiant.json"
    (token,) = host.shell(f"{ask} get http://{host.authority}/simple/ billing").splitlines()
    assert host.shell(f"{ask} get index.example --mode creds").splitlines() == ["billing", token]
    for words in ("get http://other.example/ billing", f"set http://{host.authority}/ billing"):
        assert host.shell(f"{ask} {words}", fails=True) == ""


def test_npm_has_the_token(host: Host) -> None:
    needs("npm")
    (host.home / ".npmrc").write_text(block("npm", 0).replace("npm.example", host.authority))
    who = block("npm", 1).replace("npm install", "npm whoami --registry https://npm.example --loglevel error")
    assert host.shell(who).strip() == "billing"


def test_curl_has_the_token(host: Host) -> None:
    needs("curl")
    for number in range(2):
        said = json.loads(
            host.shell(block("curl", number).replace("https://orders.example/orders", "https://orders.example/version"))
        )
        assert said["username"] == "billing"


def test_kubectl_asks_its_cluster(host: Host) -> None:
    """By TLS: without it, kubectl sends no credentials."""
    needs("kubectl")
    authority = certificates.make_authority()
    certificate, key = certificates.lasting(dn="CN=k", ip=("127.0.0.1",), by=authority).write(host.home, "cluster")
    authority.write(host.home, "authority")
    port = free_port()
    user = block("kubectl").replace("cluster.example:6443", f"127.0.0.1:{port}")
    user = user.replace("/etc/billing.affiant.json", str(host.home / "billing.affiant.json"))
    where = f"server: 'https://127.0.0.1:{port}', certificate-authority: authority.pem"
    cluster = f"clusters: [{{name: c, cluster: {{{where}}}}}]"
    context = "contexts: [{name: c, context: {cluster: c, user: billing}}]\ncurrent-context: c"
    (host.home / "kubeconfig").write_text(f"apiVersion: v1\nkind: Config\n{cluster}\n{context}\n{user}")
    with host.serve(port, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)):
        said = json.loads(host.shell("kubectl --kubeconfig kubeconfig get --raw /version"))
    assert said["username"] == "billing"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_kubectl_is_answered_with_an_exec_credential(host: Host, version: str) -> None:
    asked = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "kind": "ExecCredential",
        "spec": {"cluster": {"server": f"http://{host.authority}"}, "interactive": False},
    }
    words = ("helper", "kubectl", "-c", "billing.affiant.json")
    answer = json.loads(run(host.home, *words, KUBERNETES_EXEC_INFO=json.dumps(asked)).stdout)
    assert (answer["apiVersion"], answer["kind"]) == (asked["apiVersion"], "ExecCredential")
    assert answer["status"].keys() == {"token", "expirationTimestamp"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["status"]["expirationTimestamp"])
    other = json.dumps({**asked, "spec": {"cluster": {"server": "https://other.example"}}})
    for question, why in ((other, "this cluster gets no token"), ("", "provideClusterInfo: true")):
        refused = run(host.home, *words, KUBERNETES_EXEC_INFO=question)
        assert (refused.returncode, refused.stdout) == (8, "")
        assert why in refused.stderr
