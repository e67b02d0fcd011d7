"""Promises of a release: one version everywhere, stable public names, safe files for the forge."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from reference import public_names, release, sbom
from tests import versions
from tests.admin import asking

import affiant
from affiant.cli.main import affiant as command
from affiant.storage.memory import MemoryStore
from affiant.system.version import __version__

REPO = Path(__file__).resolve().parent.parent
FORGE = REPO / ".github"
WORKFLOWS = sorted(FORGE.glob("workflows/*.yml"))
PIN = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def test_public_names_change_on_purpose() -> None:
    """A removed name breaks its users: docs/reference/stability.md says when one may be removed."""
    assert public_names.FILE.read_text() == public_names.build(), "run: python -m reference, and say why in the commit"


def test_names_tell_of_a_parameter() -> None:
    line = next(line for line in public_names.build().splitlines() if line.startswith("affiant.Guard.__init__("))
    assert "issuer, *, audience, algorithms=..." in line


async def test_version_is_written_once(tmp_path: Path) -> None:
    """Each place that shows a version reads the one in version.py: the package, the command, the admin API, the metadata."""
    written = [
        path.relative_to(REPO)
        for path in [*(REPO / "src").rglob("*.py"), REPO / "pyproject.toml", *(REPO / "docs" / "man").iterdir()]
        if re.search(rf'"{re.escape(__version__)}"', path.read_text("utf-8"))
    ]
    assert written == [Path("src/affiant/system/version.py")]
    assert affiant.__version__ == __version__
    assert CliRunner().invoke(command, ["--version"]).output.strip() == f"affiant, version {__version__}"
    async with asking(MemoryStore()) as admin:
        assert (await admin.get("/status")).json()["version"] == __version__
    charts = [yaml.safe_load(path.read_text()) for path in (REPO / "deploy").rglob("Chart.yaml")]
    assert [str(chart["appVersion"]) for chart in charts] == [__version__] * len(charts)


def test_release_writes_version_and_changelog(tmp_path: Path) -> None:
    """On a copy, twice: the second run changes nothing."""
    for name in ("CHANGELOG.md", "changelog.d", "deploy"):
        source = REPO / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)
    file = tmp_path / "src" / "affiant" / "system" / "version.py"
    file.parent.mkdir(parents=True)
    shutil.copy(REPO / "src" / "affiant" / "system" / "version.py", file)
    release.main(["9.8.7"], tmp_path)
    first = (file.read_text(), (tmp_path / "CHANGELOG.md").read_text())
    assert '__version__ = "9.8.7"' in first[0]
    charts = [yaml.safe_load(path.read_text()) for path in (tmp_path / "deploy").rglob("Chart.yaml")]
    assert charts
    assert {str(chart[name]) for chart in charts for name in ("version", "appVersion")} == {"9.8.7"}
    release.main(["9.8.7"], tmp_path)
    assert (file.read_text(), (tmp_path / "CHANGELOG.md").read_text()) == first


def test_bill_of_materials_is_what_the_lock_pins() -> None:
    document = json.loads(sbom.FILE.read_text())
    names = {one["name"] for one in document["components"]}
    assert {"cryptography", "msgspec", "starlette", "uvicorn", "pydantic", "httpx2"} <= names
    assert not {"pytest", "mypy", "fastapi", "boto3"} & names
    lock = (REPO / "requirements.lock").read_text()
    assert all(f"{one['name']}=={one['version']} " in lock for one in document["components"])
    if sys.version_info[:2] == (3, 11):  # the closure is read from what is installed, as in the lock's first version
        assert sbom.FILE.read_text() == sbom.build(), "run: python -m reference"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_pinned_and_has_few_rights(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert not [one for one in used if not PIN.fullmatch(one)]
    workflow: Any = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in text
    assert "secrets." not in text
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert not [
        step["run"] for step in steps if "${{" in step.get("run", "")
    ]  # Attack: a name of a branch is a command
    checkouts = [step for step in steps if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_workflows_call_targets_that_exist() -> None:
    made = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    called = {target for path in WORKFLOWS for target in re.findall(r"run: make (\w+)", path.read_text())}
    assert called <= made
    tested = yaml.safe_load((FORGE / "workflows" / "ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"][
        "python"
    ]
    assert tuple(tested) == versions.SUPPORTED
    project = (REPO / "pyproject.toml").read_text()
    assert re.findall(r"Python :: (3\.\d+)", project) == list(versions.SUPPORTED)
    required = re.search(r'requires-python = "(.*)"', project)
    assert required
    assert [version for version in ("3.10", *versions.SUPPORTED) if version in SpecifierSet(required[1])] == tested


def test_tag_of_a_release_is_its_version() -> None:
    """The workflow's own check, run by a shell."""
    steps = yaml.safe_load((FORGE / "workflows" / "release.yml").read_text())["jobs"]["build"]["steps"]
    (check,) = [step["run"] for step in steps if step.get("name") == "The tag is the version"]
    codes = [
        subprocess.run(
            ["sh", "-c", check], cwd=REPO, env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}, check=False
        ).returncode
        for tag in (f"v{__version__}", __version__, "v9.8.7")
    ]
    assert codes == [0, 1, 1]


@pytest.mark.parametrize("name", ["bug.yml", "question.yml"])
def test_forms_warn_of_secrets(name: str) -> None:
    form = yaml.safe_load((FORGE / "ISSUE_TEMPLATE" / name).read_text())
    assert "**Paste no secret**" in form["body"][0]["attributes"]["value"]


def test_hooks_call_the_tools_of_the_lock() -> None:
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lock = (REPO / "requirements.lock").read_text()
    for hook in hooks:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert program == "python" or f"\n{program}==" in lock
