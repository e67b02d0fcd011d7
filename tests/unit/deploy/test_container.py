"""deploy/container and the compose files. No builder is needed: the steps of the Containerfile are done in a root of ours."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.loopback import free_port

REPO = Path(__file__).resolve().parents[3]
DEPLOY = REPO / "deploy"
COMPOSE = ("compose.yaml", "compose.postgres.yaml")
UID = 10001
CHROOT = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"


def _instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "container" / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def _of(name: str) -> list[str]:
    return [rest for each, rest in _instructions() if each == name]


def _pins(path: Path) -> dict[str, str]:
    """The packages that a lock pins, with their hashes."""
    return {
        found[1]: found[0]
        for found in re.finditer(r"^([a-z0-9.\-]+)(?:\[[^]]*\])?==.*(?:\n    .*)*", path.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_image_has_what_the_project_pins(name: str) -> None:
    """The same versions and hashes as requirements.lock, and nothing of its tests."""
    ours, all_ = _pins(DEPLOY / "container" / name), _pins(REPO / "requirements.lock")
    assert ours
    assert ours.items() <= all_.items()
    assert not {"pytest", "mypy", "playwright", "fastapi", "boto3"} & set(ours)


def test_image_runs_as_nobody_and_says_how() -> None:
    assert _of("USER") == [f"{UID}:{UID}"]
    assert _of("STOPSIGNAL") == ["SIGTERM"]
    assert _of("VOLUME") == ["/data"]
    assert json.loads(_of("ENTRYPOINT")[0]) == ["affiant"]
    assert not _of("ADD")
    assert not re.search(r"(?i)secret|password|token|master", "\n".join(_of("ARG") + _of("ENV") + _of("RUN")))
    installs = [line for line in _of("RUN") if "pip install" in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_context_has_only_what_is_copied() -> None:
    kept = {line[1:] for line in (REPO / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in _of("COPY") if not line.startswith("--from") for word in line.split()[:-1]}
    assert {re.sub(r"[a-z]+\.lock", "*.lock", word) for word in copied} == kept


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_file_is_valid_and_hardened(name: str) -> None:
    schema = json.loads(Path(__file__).with_name("compose_spec.json").read_text("utf-8"))
    found = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate({k: v for k, v in found.items() if k != "name"})
    for service, values in found["services"].items():
        if values.get("image") == "affiant" or service == "balancer":
            assert values["read_only"]
            assert values["cap_drop"] == ["ALL"]
    for path in re.findall(r"\./([\w./-]+):", (DEPLOY / name).read_text("utf-8")):
        assert (DEPLOY / path).exists()


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_balancer_repeats_only_what_no_node_has_read() -> None:
    path = DEPLOY / "container" / "haproxy.cfg"
    done = subprocess.run(["haproxy", "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"retry-on (.*)", path.read_text()) == ["conn-failure"]


@dataclass
class Root:
    """A copy of this machine's files, in which a container's steps are done at their own paths."""

    place: Path

    def run(self, words: list[str], *, cwd: str = "/", uid: int = 0, env: dict[str, str] | None = None) -> Any:
        return subprocess.Popen(
            [
                CHROOT,
                f"--userspec={uid}:{uid}",
                "--groups=",
                str(self.place),
                "sh",
                "-c",
                'cd "$0" && exec "$@"',
                cwd,
                *words,
            ],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """Needs root and overlay mounts."""
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    options = f"lowerdir=/,upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    place = tmp_path / "root"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(place)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no overlay can be mounted: {done.stderr.decode().strip()}")
    try:
        for name in ("proc", "dev"):
            subprocess.run(["mount", "--rbind", "--make-rslave", f"/{name}", str(place / name)], check=True)
        yield Root(place)
    finally:
        for name in ("proc", "dev", ""):
            subprocess.run(["umount", "--lazy", "--recursive", str(place / name)], check=True)


def _copy(root: Root, line: str, cwd: str) -> None:
    if line.startswith("--from"):  # the stages share one root: what is copied is there
        return
    *sources, target = line.split()
    into = root.place / (cwd + "/" + target if not target.startswith("/") else target).lstrip("/")
    for source in sources:
        for path in REPO.glob(source):
            if path.is_dir():
                shutil.copytree(path, into, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, into)


def _build(root: Root) -> dict[str, str]:
    """Do each RUN and COPY, and return the environment of the image."""
    cwd, env = "/", {**os.environ}
    for name, rest in _instructions():
        if name == "WORKDIR":
            cwd = rest
            (root.place / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            _copy(root, rest, cwd)
        elif name == "ENV":
            env |= dict(part.split("=", 1) for part in shlex.split(rest))
        elif name == "RUN":
            process = root.run(["sh", "-c", rest], cwd=cwd, env=env)
            said, _ = process.communicate(timeout=600)
            assert process.returncode == 0, f"{rest}: {said}"
    return env


@pytest.mark.soak
@pytest.mark.skipif(os.geteuid() != 0 or not sys.platform.startswith("linux"), reason="mounts, as root")
def test_steps_make_a_server_that_serves_from_read_only_files(root: Root) -> None:
    """Run ENTRYPOINT as the user of the image on a read-only root until HEALTHCHECK passes."""
    env = _build(root)
    env |= {"AFFIANT_ISSUER": "https://as.example"}
    python = root.place / os.path.realpath(sys.executable).lstrip("/")
    for folder in python.parents:  # an interpreter in root's home, where the base image has it in /usr
        if folder != root.place and root.place in folder.parents:
            folder.chmod(0o755)
    data = root.place / "data"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"uid={UID},gid={UID},mode=0700", "tmpfs", str(data)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root.place)], check=False)
    subprocess.run(["mount", "-o", "remount,ro", str(root.place)], check=True)
    port = free_port()
    check = json.loads(re.sub(r"^.*?CMD ", "", _of("HEALTHCHECK")[0]))
    check[-1] = check[-1].replace("8377", str(port))
    words = [*json.loads(_of("ENTRYPOINT")[0]), *json.loads(_of("CMD")[0]), "--port", str(port)]
    with root.run(words, cwd="/data", uid=UID, env=env) as server:
        try:
            _until_healthy(root, server, check, env)
            with pytest.raises(OSError, match="Read-only"):
                (root.place / "opt" / "x").touch()
        finally:
            server.terminate()
            assert server.wait(30) == 0
            subprocess.run(["umount", "--lazy", str(data)], check=True)


def _until_healthy(root: Root, server: Any, check: list[str], env: dict[str, str]) -> None:
    end = time.monotonic() + 60
    while True:
        with root.run(check, uid=UID, env=env) as healthy:
            said, _ = healthy.communicate(timeout=30)
        if healthy.returncode == 0:
            return
        assert server.poll() is None, server.stdout.read()
        assert time.monotonic() < end, said
        time.sleep(0.2)
